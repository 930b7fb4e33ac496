//! `sweep score`: what a configuration costs in quality, over a text.

use std::path::Path;

use ledger::Tokens;
use runtime::backend::cpu::CpuDevice;
use runtime::backend::cuda::CudaDevice;
use runtime::backend::{self, Backend};
use runtime::engine::Engine;
use runtime::engine_dir::EngineDir;
use runtime::plan::{Device, KvCacheType, Precision, RuntimeOptions};

use super::arguments::ScoreArguments;
use super::print::table;
use super::{CliError, Printer};
use crate::engines::{ScoreRequest, WINDOW, runtime_options, score as score_engines};
use crate::interrupt::Interrupt;
use crate::record::QualityReading;
use crate::verdict::ExitCode;

/// Tokens that a greedy continuation takes beside a window, and more.
const ROOM: u32 = 64;

/// Scores an engine and prints what it came to.
pub(super) fn score(arguments: &ScoreArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let text = std::fs::read_to_string(&arguments.text)
        .map_err(|source| CliError::Environment { what: "read the text that is scored", source })?;
    let device = backend::resolve(arguments.settings.device)?;
    let reading = match device {
        Device::Cpu => score_on::<CpuDevice>(device, &text, arguments),
        Device::Cuda { .. } => score_on::<CudaDevice>(device, &text, arguments),
    }?;
    match arguments.json {
        true => printer.json(&reading)?,
        false => printer.text(&in_words(&reading))?,
    }
    Ok(ExitCode::Pass)
}

fn score_on<B: Backend>(
    device: Device,
    text: &str,
    arguments: &ScoreArguments,
) -> Result<QualityReading, CliError> {
    let interrupt = Interrupt::listen(|_| {})
        .map_err(|source| CliError::Environment { what: "listen for signals", source })?;
    let room = Tokens(WINDOW.0 + ROOM);
    let options = runtime_options(&arguments.settings.settings());
    // A window is read token by token, whatever the longest prompt of the configuration; bytes are measured elsewhere.
    let options = RuntimeOptions { device, max_input_len: room, max_kv_cache_capacity: room, ..options };
    let exact = RuntimeOptions {
        device,
        max_kv_cache_capacity: room,
        precision: Precision::Exact,
        kv_cache_type: KvCacheType::F32,
        ..RuntimeOptions::new(room, options.threads)
    };
    let of_reference = arguments.reference.as_deref().unwrap_or(&arguments.engine);
    let (reference, _) = load::<B>(of_reference, &exact)?;
    let (tested, synthetic) = load::<B>(&arguments.engine, &options)?;
    let request =
        ScoreRequest { text, tokens: Tokens(arguments.tokens), continuations: arguments.continuations };
    score_engines(&reference, &tested, request, synthetic, &|| interrupt.is_asked()).map_err(CliError::Score)
}

/// The engine in `folder`, and whether its weights were made from a seed.
fn load<B: Backend>(folder: &Path, options: &RuntimeOptions) -> Result<(Engine<B>, bool), CliError> {
    let directory = EngineDir::open(folder)?;
    options.check(&directory.manifest().config)?;
    let engine = Engine::load(&directory, options).map_err(|error| CliError::Runtime(error.to_string()))?;
    Ok((engine, directory.manifest().is_synthetic()))
}

fn in_words(reading: &QualityReading) -> String {
    let part = |part: f64| format!("{:.2} %", 100.0 * part);
    let mut rows = vec![
        ("perplexity", format!("{:.4}", reading.perplexity)),
        ("of the exact path", format!("{:.4}", reading.reference_perplexity)),
        ("growth", part(reading.ppl_increase())),
        ("mean KL nats", format!("{:.6}", reading.mean_kl_nats)),
        ("largest KL nats", format!("{:.4}", reading.largest_kl_nats)),
        ("same top-1", part(reading.top1_agreement)),
    ];
    rows.extend(reading.token_match.map(|matched| ("token match", part(matched))));
    rows.extend(reading.acceptance_length.map(|length| ("acceptance length", format!("{length:.3}"))));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let synthetic = match reading.synthetic_weights {
        true => "synthetic weights: this says nothing about a trained model\n",
        false => "",
    };
    format!("{}\n{} positions of {} tokens\n{synthetic}", table(&rows), reading.positions, reading.tokens.0)
}
