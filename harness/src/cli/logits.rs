//! `sweep logits`: the scores of a model, to hold them against another implementation.

use ledger::Tokens;
use runtime::backend::cpu::CpuDevice;
use runtime::backend::cuda::CudaDevice;
use runtime::backend::{self, Backend};
use runtime::engine::{Drafts, Engine, Flow, Round, SequenceError, Turn};
use runtime::engine_dir::EngineDir;
use runtime::generate::sample::{Sampler, Sampling};
use runtime::ops::argmax;
use runtime::plan::{Device, KvCacheType, Precision, RuntimeOptions};
use serde::Serialize;

use super::arguments::LogitsArguments;
use super::print::table;
use super::{CliError, Printer, build};
use crate::record::acceptance_length;
use crate::scenario::{self, LmHead};
use crate::verdict::ExitCode;

/// Scores that a row of the table shows.
const SHOWN: usize = 5;

/// What `--json` prints.
#[derive(Serialize)]
struct Scores {
    /// Scores of the vocabulary behind the last token of the prompt.
    prompt_logits: Vec<f32>,
    /// One row for each token that was fed after it.
    steps: Vec<Step>,
    /// The tokens that were fed.
    ids: Vec<u32>,
    /// The most likely token in place of each that was fed, and one more.
    greedy: Vec<u32>,
    /// The id that each score belongs to, where the vocabulary has been trimmed; otherwise its place is its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_ids: Option<Vec<u32>>,
}

#[derive(Serialize)]
struct Step {
    /// The token that was fed.
    id: u32,
    /// Scores behind it.
    logits: Vec<f32>,
}

/// Runs a prompt and some steps, and prints what the model scored.
pub(super) fn logits(arguments: &LogitsArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    // The exact path is for comparisons: it keeps the table as the checkpoint has it.
    let (precision, lm_head, kv_cache_type) = match arguments.precision {
        scenario::Precision::Exact => (Precision::Exact, LmHead::F16, KvCacheType::F32),
        scenario::Precision::Fast => (Precision::Fast, LmHead::Int8, KvCacheType::F16),
    };
    let device = backend::resolve(arguments.device)?;
    let folder = build::engine(&arguments.source, &arguments.pack, lm_head, printer)?;
    let steps = arguments.steps.unwrap_or(arguments.force.len());
    let tokens = |count: usize| Tokens(u32::try_from(count).unwrap_or(u32::MAX));
    let mut options = RuntimeOptions::new(tokens(arguments.ids.len().max(1)), arguments.threads.resolve());
    let drafts = arguments.draft.unwrap_or(0);
    // The last round may make more tokens than were asked for.
    options.max_kv_cache_capacity =
        tokens(arguments.ids.len().saturating_add(steps).saturating_add(drafts as usize).max(1));
    options.mtp = drafts > 0;
    options.max_verify_tree_size = drafts.max(1) + 1;
    options.draft_vocab = arguments.draft_vocab;
    options.gdn_prefill_max_seq = Tokens(arguments.prefill_chunk);
    options.device = device;
    options.precision = precision;
    options.kv_cache_type = kv_cache_type;
    let directory = EngineDir::open(&folder)?;
    options.check(&directory.manifest().config)?;
    match device {
        Device::Cpu => print::<CpuDevice>(&directory, &options, arguments, steps, printer),
        Device::Cuda { .. } => print::<CudaDevice>(&directory, &options, arguments, steps, printer),
    }
}

/// Loads the engine and prints what it scores, or the rounds of its drafts.
fn print<B: Backend>(
    directory: &EngineDir,
    options: &RuntimeOptions,
    arguments: &LogitsArguments,
    steps: usize,
    printer: &Printer,
) -> Result<ExitCode, CliError> {
    let engine =
        Engine::<B>::load(directory, options).map_err(|error| CliError::Runtime(error.to_string()))?;
    if arguments.draft.is_some() {
        let drafted = draft(&engine, arguments, steps)?;
        match arguments.json {
            true => printer.json_line(&drafted)?,
            false => printer.text(&rounds_text(&drafted))?,
        }
        return Ok(ExitCode::Pass);
    }
    let scores = run(&engine, arguments, steps)?;
    match arguments.json {
        true => printer.json_line(&scores)?,
        false => printer.text(&text(&scores))?,
    }
    Ok(ExitCode::Pass)
}

/// What `--draft K --json` prints.
#[derive(Serialize)]
struct Drafted {
    /// The tokens that were made, the one behind the prompt first.
    ids: Vec<u32>,
    /// Every round.
    rounds: Vec<DraftRound>,
    /// Drafts in all rounds.
    drafted: usize,
    /// Drafts that the target agreed with.
    accepted: usize,
    /// Tokens a round: accepted drafts and one more. `null` without a round.
    acceptance_length: Option<f64>,
}

#[derive(Serialize)]
struct DraftRound {
    drafts: Vec<u32>,
    accepted: usize,
    emitted: Vec<u32>,
}

/// Runs a prompt and rounds of drafts behind it, greedily.
fn draft<B: Backend>(
    engine: &Engine<B>,
    arguments: &LogitsArguments,
    steps: usize,
) -> Result<Drafted, CliError> {
    let mut sampler = Sampler::new(Sampling::GREEDY);
    let mut sequence = engine.open_sequence().map_err(said)?;
    let prompt = engine.rows_of(&arguments.ids).map_err(said)?;
    engine.prefill(&mut sequence, &prompt, &mut || Flow::Continue).map_err(said)?;
    let as_ids = |rows: &[u32]| rows.iter().map(|row| engine.id_of(*row)).collect::<Vec<u32>>();
    // Rows of the table; ids once they are reported.
    let mut made = vec![engine.sample(&sequence, &mut sampler).map_err(said)?];
    let mut rounds = Vec::new();
    while made.len() <= steps {
        let token = made[made.len() - 1];
        let drafts = Drafts::Head(usize::MAX);
        let turn = Turn { sequence: &mut sequence, token, drafts, sampler: &mut sampler };
        for Round { drafts, accepted, emitted } in engine.round(&mut [turn]).map_err(said)? {
            made.extend(&emitted);
            let (drafts, emitted) = (as_ids(&drafts), as_ids(&emitted));
            rounds.push(DraftRound { drafts, accepted, emitted });
        }
    }
    let drafted = rounds.iter().map(|round| round.drafts.len()).sum();
    let accepted: usize = rounds.iter().map(|round| round.accepted).sum();
    let acceptance_length = acceptance_length(rounds.len() as u64, accepted as u64);
    Ok(Drafted { ids: as_ids(&made), rounds, drafted, accepted, acceptance_length })
}

fn rounds_text(drafted: &Drafted) -> String {
    let words = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let mut rows = vec![["round", "drafts", "accepted", "tokens"].map(str::to_owned).to_vec()];
    rows.extend(drafted.rounds.iter().enumerate().map(|(index, round)| {
        vec![(index + 1).to_string(), words(&round.drafts), round.accepted.to_string(), words(&round.emitted)]
    }));
    let length =
        drafted.acceptance_length.map_or_else(|| "unknown".to_owned(), |length| format!("{length:.2}"));
    format!(
        "{}\n{} of {} drafts accepted, acceptance length {length}\n",
        table(&rows),
        drafted.accepted,
        drafted.drafted
    )
}

fn run<B: Backend>(
    engine: &Engine<B>,
    arguments: &LogitsArguments,
    steps: usize,
) -> Result<Scores, CliError> {
    let mut sequence = engine.open_sequence().map_err(said)?;
    let prompt = engine.rows_of(&arguments.ids).map_err(said)?;
    let forced = engine.rows_of(&arguments.force).map_err(said)?;
    engine.prefill(&mut sequence, &prompt, &mut || Flow::Continue).map_err(said)?;
    let prompt_logits = engine.logits(&sequence);
    // Rows of the table; ids once everything has run.
    let mut greedy = vec![argmax(&prompt_logits)];
    let (mut ids, mut rows) = (Vec::new(), Vec::new());
    for step in 0..steps {
        let likeliest = greedy[step];
        let row = forced.get(step).copied().unwrap_or(likeliest);
        engine.decode(&mut sequence, row).map_err(said)?;
        let id = engine.id_of(row);
        let logits = engine.logits(&sequence);
        greedy.push(argmax(&logits));
        ids.push(id);
        rows.push(Step { id, logits });
    }
    greedy.iter_mut().for_each(|row| *row = engine.id_of(*row));
    Ok(Scores { prompt_logits, steps: rows, ids, greedy, kept_ids: engine.kept_ids() })
}

fn said(error: SequenceError) -> CliError {
    match error {
        SequenceError::Memory(_) | SequenceError::Device(_) | SequenceError::Sample(_) => {
            CliError::Runtime(error.to_string())
        }
        error => CliError::Prompt(error),
    }
}

fn text(scores: &Scores) -> String {
    let mut rows = vec![vec!["after".to_owned(), "likeliest tokens with their scores".to_owned()]];
    let likeliest = |logits: &[f32]| likeliest(logits, scores.kept_ids.as_deref());
    rows.push(vec!["prompt".to_owned(), likeliest(&scores.prompt_logits)]);
    rows.extend(scores.steps.iter().map(|step| vec![step.id.to_string(), likeliest(&step.logits)]));
    table(&rows)
}

fn likeliest(logits: &[f32], kept_ids: Option<&[u32]>) -> String {
    let mut rows: Vec<usize> = (0..logits.len()).collect();
    rows.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let id_of = |row: usize| kept_ids.map_or(row, |ids| ids[row] as usize);
    let shown: Vec<String> =
        rows.iter().take(SHOWN).map(|row| format!("{} {:.3}", id_of(*row), logits[*row])).collect();
    shown.join("  ")
}
