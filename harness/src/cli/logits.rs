//! `sweep logits`: the scores of a model, to hold them against another implementation.

use ledger::Tokens;
use runtime::engine::{Engine, Flow, SequenceError};
use runtime::engine_dir::EngineDir;
use runtime::plan::{KvCacheType, Precision, RuntimeOptions};
use serde::Serialize;

use super::arguments::{LogitsArguments, PrecisionArgument};
use super::print::table;
use super::{CliError, Printer, build, serve};
use crate::scenario::LmHead;
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
        PrecisionArgument::Exact => (Precision::Exact, LmHead::F16, KvCacheType::F32),
        PrecisionArgument::Fast => (Precision::Fast, LmHead::Int8, KvCacheType::F16),
    };
    let folder = build::engine(&arguments.source, &arguments.pack, lm_head, printer)?;
    let steps = arguments.steps.unwrap_or(arguments.force.len());
    let tokens = |count: usize| Tokens(u32::try_from(count).unwrap_or(u32::MAX));
    let mut options =
        RuntimeOptions::new(tokens(arguments.ids.len().max(1)), serve::threads(arguments.threads));
    options.max_kv_cache_capacity = tokens(arguments.ids.len().saturating_add(steps).max(1));
    options.gdn_prefill_max_seq = Tokens(arguments.prefill_chunk);
    options.precision = precision;
    options.kv_cache_type = kv_cache_type;
    let directory = EngineDir::open(&folder)?;
    options.check(&directory.manifest().config)?;
    let engine = Engine::load(&directory, &options).map_err(|error| CliError::Runtime(error.to_string()))?;
    let scores = run(&engine, arguments, steps)?;
    match arguments.json {
        true => printer.json_line(&scores)?,
        false => printer.text(&text(&scores))?,
    }
    Ok(ExitCode::Pass)
}

fn run(engine: &Engine, arguments: &LogitsArguments, steps: usize) -> Result<Scores, CliError> {
    let mut sequence = engine.open_sequence().map_err(said)?;
    engine.prefill(&mut sequence, &arguments.ids, &mut || Flow::Continue).map_err(said)?;
    let prompt_logits = engine.logits(&sequence).into_owned();
    let mut greedy = vec![largest(&prompt_logits)];
    let (mut ids, mut rows) = (Vec::new(), Vec::new());
    for step in 0..steps {
        let likeliest = greedy[step];
        let id = arguments.force.get(step).copied().unwrap_or(likeliest);
        engine.decode(&mut sequence, id).map_err(said)?;
        let logits = engine.logits(&sequence).into_owned();
        greedy.push(largest(&logits));
        ids.push(id);
        rows.push(Step { id, logits });
    }
    Ok(Scores { prompt_logits, steps: rows, ids, greedy })
}

fn said(error: SequenceError) -> CliError {
    match error {
        SequenceError::Memory(_) | SequenceError::Stream(_) => CliError::Runtime(error.to_string()),
        error => CliError::Prompt(error),
    }
}

/// The token with the highest score; the first of several.
fn largest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, score) in logits.iter().enumerate() {
        if *score > logits[best] {
            best = id;
        }
    }
    best as u32
}

fn text(scores: &Scores) -> String {
    let mut rows = vec![vec!["after".to_owned(), "likeliest tokens with their scores".to_owned()]];
    rows.push(vec!["prompt".to_owned(), likeliest(&scores.prompt_logits)]);
    rows.extend(scores.steps.iter().map(|step| vec![step.id.to_string(), likeliest(&step.logits)]));
    table(&rows)
}

fn likeliest(logits: &[f32]) -> String {
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    ids.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let shown: Vec<String> = ids.iter().take(SHOWN).map(|id| format!("{id} {:.3}", logits[*id])).collect();
    shown.join("  ")
}
