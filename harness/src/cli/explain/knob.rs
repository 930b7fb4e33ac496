//! `sweep explain KNOB`: what each value of a knob takes in bytes, and what it costs in quality.
//!
//! Two engines run side by side over the same ids, the exact one and one that differs from it by the knob alone, and are compared
//! position by position: no more than two rows of scores are ever held.

use std::path::Path;

use ledger::{BufferClass, Bytes, MemoryPlan, Phase, Tokens};
use runtime::backend::cpu::CpuDevice;
use runtime::backend::cuda::CudaDevice;
use runtime::backend::{self, Backend};
use runtime::engine::{self, Engine, SequenceError};
use runtime::engine_dir::EngineDir;
use runtime::plan::{Device, DeviceChoice, Precision, RuntimeOptions};
use serde::Serialize;

use crate::cli::arguments::{Knob, PackArguments, SourceArguments};
use crate::cli::print::table;
use crate::cli::progress::Screen;
use crate::cli::{CliError, Printer, build};
use crate::engines::{
    BuiltinEngines, Divergence, EngineError, EngineErrorKind, EngineProvider, QualityRecord, feed,
};
use crate::interrupt::Interrupt;
use crate::scenario::{BuildOptions, KvCacheType, LmHead, ModelSource, Threads};
use crate::trial::prompt;
use crate::verdict::ExitCode;

/// Version of the JSON form.
const FORMAT_VERSION: u32 = 1;

/// Decides the ids that are fed.
const SEED: u64 = 1;

/// Tokens of context at which bytes are given.
const CONTEXT: Tokens = Tokens(4096);

/// What was asked for.
#[derive(Clone, Copy)]
pub(super) struct KnobArguments<'a> {
    pub(super) knob: Knob,
    pub(super) source: &'a SourceArguments,
    pub(super) pack: &'a PackArguments,
    pub(super) device: DeviceChoice,
    pub(super) tokens: u32,
    pub(super) threads: Threads,
    pub(super) json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Explanation {
    format_version: u32,
    knob: &'static str,
    /// The value that the others are held against: the exact one, which is the largest, too.
    reference: &'static str,
    seed: u64,
    tokens: Tokens,
    context_tokens: Tokens,
    synthetic_weights: bool,
    values: Vec<Price>,
}

/// One value of the knob.
#[derive(Serialize)]
struct Price {
    /// Bytes of the buffer classes that the knob is about.
    takes_bytes: Bytes,
    /// What the whole plan loses against the largest value.
    saves_bytes: i64,
    #[serde(flatten)]
    quality: QualityRecord,
}

/// A value with what it takes to run it.
struct Variant {
    device: Device,
    value: &'static str,
    directory: EngineDir,
    kv_cache_type: KvCacheType,
}

/// Measures every value of a knob, the largest first.
pub(super) fn explain(arguments: &KnobArguments<'_>, printer: &Printer) -> Result<ExitCode, CliError> {
    check(arguments)?;
    match backend::resolve(arguments.device)? {
        device @ Device::Cpu => explain_on::<CpuDevice>(device, arguments, printer),
        device @ Device::Cuda { .. } => explain_on::<CudaDevice>(device, arguments, printer),
    }
}

fn explain_on<B: Backend>(
    device: Device,
    arguments: &KnobArguments<'_>,
    printer: &Printer,
) -> Result<ExitCode, CliError> {
    let variants = variants(arguments, device, printer)?;
    let interrupt = Interrupt::listen(|_| {})
        .map_err(|source| CliError::Environment { what: "listen for signals", source })?;
    let reference = &variants[0];
    let ids = ids(reference.directory.path(), arguments, *printer, &interrupt)?;
    let exact = load::<B>(reference, arguments)?;
    let mut values = Vec::with_capacity(variants.len());
    for variant in &variants {
        printer.note(&format!("{}: {}", arguments.knob.name(), variant.value));
        let divergence = measure(&exact, &load(variant, arguments)?, &ids, &interrupt)?;
        let quality = record(arguments, variant, reference, &divergence)?;
        if let Err(error) = quality.clone().save(variant.directory.path()) {
            printer.note(&format!("warning: not kept in {}: {error}", variant.directory.path().display()));
        }
        let saves = total(reference).signed_difference(total(variant));
        values.push(Price { takes_bytes: takes(arguments.knob, variant), saves_bytes: saves, quality });
    }
    let explanation = Explanation {
        format_version: FORMAT_VERSION,
        knob: arguments.knob.name(),
        reference: reference.value,
        seed: SEED,
        tokens: Tokens(arguments.tokens),
        context_tokens: CONTEXT,
        synthetic_weights: reference.directory.manifest().is_synthetic(),
        values,
    };
    match arguments.json {
        true => printer.json(&explanation)?,
        false => printer.text(&text(&explanation))?,
    }
    Ok(ExitCode::Pass)
}

/// What cannot be varied is said before anything is built.
fn check(arguments: &KnobArguments<'_>) -> Result<(), CliError> {
    let refuse = |what, hint| Err(CliError::Knob { what, hint });
    match (arguments.knob, &arguments.source.engine, arguments.pack.lm_head) {
        (Knob::LmHead, Some(_), _) => refuse(
            "lmHead is decided when an engine is built, so one engine has one value of it",
            "name what it is built from, with --checkpoint or --synthetic",
        ),
        (Knob::LmHead, None, Some(_)) => {
            refuse("lmHead is what varies here, so it cannot be fixed", "leave --lm-head out")
        }
        _ => Ok(()),
    }
}

/// Every value, the one that is exact first.
fn variants(
    arguments: &KnobArguments<'_>,
    device: Device,
    printer: &Printer,
) -> Result<Vec<Variant>, CliError> {
    let built = |lm_head| -> Result<EngineDir, CliError> {
        let folder = build::engine(arguments.source, arguments.pack, lm_head, printer)?;
        Ok(EngineDir::open(&folder)?)
    };
    let mut variants = Vec::new();
    match arguments.knob {
        Knob::LmHead => {
            for lm_head in [LmHead::F16, LmHead::Int8, LmHead::Int4] {
                variants.push(Variant {
                    device,
                    value: lm_head.name(),
                    directory: built(lm_head)?,
                    kv_cache_type: KvCacheType::F32,
                });
            }
        }
        Knob::KvCacheType => {
            for kv_cache_type in [KvCacheType::F32, KvCacheType::F16, KvCacheType::Int8] {
                variants.push(Variant {
                    device,
                    value: kv_cache_type.name(),
                    directory: built(LmHead::F16)?,
                    kv_cache_type,
                });
            }
        }
    }
    Ok(variants)
}

/// The ids that every engine is fed: they follow from the seed and the vocabulary.
fn ids(
    folder: &Path,
    arguments: &KnobArguments<'_>,
    printer: Printer,
    interrupt: &Interrupt,
) -> Result<Vec<u32>, CliError> {
    let engines = BuiltinEngines::new(&arguments.pack.engines);
    let source = ModelSource::Engine(folder.to_string_lossy().into_owned());
    let engine = engines.ensure(&source, &BuildOptions::default(), &Screen::new(printer, interrupt))?;
    Ok(prompt(SEED, 0, Tokens(arguments.tokens), &engine))
}

fn load<B: Backend>(variant: &Variant, arguments: &KnobArguments<'_>) -> Result<Engine<B>, CliError> {
    let mut options = RuntimeOptions::new(Tokens(arguments.tokens), arguments.threads.resolve());
    options.max_kv_cache_capacity = Tokens(arguments.tokens);
    options.device = variant.device;
    options.precision = Precision::Exact;
    options.kv_cache_type = variant.kv_cache_type.in_runtime();
    options.check(&variant.directory.manifest().config)?;
    Engine::load(&variant.directory, &options).map_err(|error| CliError::Runtime(error.to_string()))
}

/// Feeds `ids` to both engines, one after the other, and compares the scores behind each.
fn measure<B: Backend>(
    exact: &Engine<B>,
    tried: &Engine<B>,
    ids: &[u32],
    interrupt: &Interrupt,
) -> Result<Divergence, CliError> {
    let mut of_exact = exact.open_sequence().map_err(said)?;
    let mut of_tried = tried.open_sequence().map_err(said)?;
    let mut divergence = Divergence::default();
    for id in exact.rows_of(ids).map_err(CliError::Prompt)?.iter() {
        if interrupt.is_asked() {
            let what = "interrupted: what was measured before is kept".to_owned();
            return Err(CliError::Engine(EngineError {
                what,
                hint: None,
                kind: EngineErrorKind::Interrupted,
            }));
        }
        feed(exact, &mut of_exact, *id).map_err(said)?;
        feed(tried, &mut of_tried, *id).map_err(said)?;
        let (expected, found) = (exact.logits(&of_exact), tried.logits(&of_tried));
        divergence.add(&expected, &found).map_err(|error| CliError::Runtime(error.to_string()))?;
    }
    Ok(divergence)
}

fn said(error: SequenceError) -> CliError {
    CliError::Runtime(error.to_string())
}

fn record(
    arguments: &KnobArguments<'_>,
    variant: &Variant,
    reference: &Variant,
    divergence: &Divergence,
) -> Result<QualityRecord, CliError> {
    let nothing = || CliError::Output("no position was compared".to_owned());
    let manifest = variant.directory.manifest();
    Ok(QualityRecord {
        knob: arguments.knob.name().to_owned(),
        value: variant.value.to_owned(),
        engine_sha256: manifest.sha256.clone(),
        reference_sha256: reference.directory.manifest().sha256.clone(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: SEED,
        tokens: Tokens(arguments.tokens),
        mean_kl_nats: divergence.mean().ok_or_else(nothing)?,
        largest_kl_nats: divergence.largest().ok_or_else(nothing)?,
        top1_agreement: divergence.agreement().ok_or_else(nothing)?,
        synthetic_weights: manifest.is_synthetic(),
    })
}

/// The plan of a variant as it would be served at [`CONTEXT`].
fn plan_of(variant: &Variant) -> MemoryPlan {
    // Neither class nor difference depends on the threads.
    let mut options = RuntimeOptions::new(CONTEXT, 1);
    options.max_kv_cache_capacity = CONTEXT;
    options.kv_cache_type = variant.kv_cache_type.in_runtime();
    options.device = variant.device;
    engine::plan_of(&variant.directory, &options)
}

fn total(variant: &Variant) -> Bytes {
    plan_of(variant).total_in(Phase::Decode, CONTEXT)
}

/// Bytes of the buffer classes that a knob is about.
fn takes(knob: Knob, variant: &Variant) -> Bytes {
    let by_class = plan_of(variant).by_class(Phase::Decode, CONTEXT);
    let classes: &[BufferClass] = match knob {
        Knob::LmHead => &[BufferClass::WeightsEmbedding, BufferClass::WeightsLmHead],
        Knob::KvCacheType => &[BufferClass::KvCache],
    };
    classes.iter().filter_map(|class| by_class.get(class)).copied().sum()
}

fn text(explanation: &Explanation) -> String {
    let head = ["takes MiB", "saves MiB", "mean KL nats", "largest KL nats", "same top-1 %"];
    let mut rows = vec![std::iter::once(explanation.knob).chain(head).map(str::to_owned).collect::<Vec<_>>()];
    rows.extend(explanation.values.iter().map(|price| {
        let QualityRecord { mean_kl_nats, largest_kl_nats, top1_agreement, .. } = price.quality;
        vec![
            price.quality.value.clone(),
            mib(price.takes_bytes.0 as f64),
            mib(price.saves_bytes as f64),
            nats(mean_kl_nats),
            nats(largest_kl_nats),
            format!("{:.1}", 100.0 * top1_agreement),
        ]
    }));
    let synthetic = match explanation.synthetic_weights {
        true => "synthetic weights: sizes are real, and what it costs says nothing about a trained model\n",
        false => "",
    };
    format!(
        "{}\nexact arithmetic, {} {} against the value in each row; bytes at {} tokens of context, scores behind {} ids of seed {}\n{synthetic}",
        table(&rows),
        explanation.knob,
        explanation.reference,
        explanation.context_tokens.0,
        explanation.tokens.0,
        explanation.seed
    )
}

fn mib(bytes: f64) -> String {
    format!("{:.2}", bytes / f64::from(1 << 20))
}

fn nats(divergence: f64) -> String {
    if divergence == 0.0 { "0".to_owned() } else { format!("{divergence:.2e}") }
}
