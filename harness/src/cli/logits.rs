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
    let prompt = engine.rows_of(&arguments.ids).map_err(said)?;
    let forced = engine.rows_of(&arguments.force).map_err(said)?;
    engine.prefill(&mut sequence, &prompt, &mut || Flow::Continue).map_err(said)?;
    let prompt_logits = engine.logits(&sequence).into_owned();
    // Rows of the table; ids once everything has run.
    let mut greedy = vec![largest(&prompt_logits)];
    let (mut ids, mut rows) = (Vec::new(), Vec::new());
    for step in 0..steps {
        let likeliest = greedy[step];
        let row = forced.get(step).copied().unwrap_or(likeliest);
        engine.decode(&mut sequence, row).map_err(said)?;
        let id = engine.id_of(row);
        let logits = engine.logits(&sequence).into_owned();
        greedy.push(largest(&logits));
        ids.push(id);
        rows.push(Step { id, logits });
    }
    greedy.iter_mut().for_each(|row| *row = engine.id_of(*row));
    Ok(Scores { prompt_logits, steps: rows, ids, greedy, kept_ids: engine.kept_ids() })
}

fn said(error: SequenceError) -> CliError {
    match error {
        SequenceError::Memory(cause) => CliError::Runtime(cause.to_string()),
        error => CliError::Prompt(error),
    }
}

/// The row with the highest score; the first of several.
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
