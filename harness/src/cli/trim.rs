//! `sweep trim`: the rows of a table that a corpus uses most, as a vocabulary map.

use ledger::Bytes;
use runtime::config::ModelConfig;
use runtime::engine_dir::LmHead;
use runtime::generate::compiled_tokenizer;
use runtime::generate::tokenizer::Tokenizer;
use runtime::vocabulary::{VocabError, always_kept, count_tokens, most_frequent, write_ids};
use serde::Serialize;

use super::arguments::TrimArguments;
use super::{CliError, Printer};
use crate::engines::EngineError;
use crate::verdict::ExitCode;

/// Version of the JSON form.
const FORMAT_VERSION: u32 = 1;

/// What was chosen, and what it costs and saves.
#[derive(Debug, Serialize)]
struct Trimmed {
    format_version: u32,
    /// The map that was written.
    output: String,
    /// Rows that are kept.
    rows: usize,
    /// Rows of the checkpoint's table.
    original_rows: usize,
    /// Rows among those kept that no corpus can drop: added tokens, ends and bytes.
    always_kept: usize,
    /// Tokens of the corpus.
    corpus_tokens: u64,
    /// How many of these have an id that is kept.
    covered_tokens: u64,
    /// Tokens of the corpus as the trimmed tokenizer encodes it.
    reencoded_tokens: u64,
    /// Smaller by so much in memory; tied embeddings have one table, others a table and a head.
    saved_bytes: Saved,
}

/// Bytes saved with each form of the table.
#[derive(Debug, Serialize)]
struct Saved {
    int8: Bytes,
    int4: Bytes,
    f16: Bytes,
}

/// Counts tokens, chooses rows, writes the map and says what it is worth.
pub(super) fn trim(arguments: &TrimArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let config = ModelConfig::read(&arguments.checkpoint).map_err(|error| EngineError::from_cause(&error))?;
    let tokenizer = compiled_tokenizer(&arguments.checkpoint).map_err(VocabError::from)?;
    let Some(tokenizer) = tokenizer else {
        return Err(VocabError::NoTokenizer { path: arguments.checkpoint.clone() }.into());
    };
    let counts = count_tokens(&tokenizer, &arguments.corpus)?;
    let corpus_tokens: u64 = counts.iter().sum();
    if corpus_tokens == 0 {
        return Err(VocabError::EmptyCorpus.into());
    }
    let always = always_kept(&config, Some(&tokenizer));
    let kept = most_frequent(&counts, &always, arguments.rows.0 as usize, config.vocab_size);
    let covered_tokens = kept.iter().filter_map(|id| counts.get(*id as usize)).sum();
    let shorter = Tokenizer::open(tokenizer.trimmed(&kept)).map_err(|cause| {
        VocabError::from(runtime::generate::TextFilesError::Table {
            path: arguments.checkpoint.clone(),
            cause,
        })
    })?;
    let reencoded_tokens = count_tokens(&shorter, &arguments.corpus)?.iter().sum();
    write_ids(&arguments.output, &kept)?;
    let saved = |lm_head: LmHead| saved(&config, lm_head, kept.len());
    let trimmed = Trimmed {
        format_version: FORMAT_VERSION,
        output: arguments.output.display().to_string(),
        rows: kept.len(),
        original_rows: config.vocab_size,
        always_kept: always.len(),
        corpus_tokens,
        covered_tokens,
        reencoded_tokens,
        saved_bytes: Saved {
            int8: saved(LmHead::Int8)?,
            int4: saved(LmHead::Int4)?,
            f16: saved(LmHead::F16)?,
        },
    };
    match arguments.json {
        true => printer.json(&trimmed)?,
        false => printer.text(&text(&trimmed))?,
    }
    Ok(ExitCode::Pass)
}

/// What a table of `rows` rows is smaller by than the whole one.
fn saved(config: &ModelConfig, lm_head: LmHead, rows: usize) -> Result<Bytes, CliError> {
    let tables = if config.tie_word_embeddings { 1 } else { 2 };
    let bytes = |rows: usize| {
        lm_head.table_bytes(rows, config.hidden_size).map_err(|cause| CliError::Runtime(cause.to_string()))
    };
    Ok(Bytes(tables * (bytes(config.vocab_size)?.0 - bytes(rows)?.0)))
}

fn text(trimmed: &Trimmed) -> String {
    let percent = |part: u64| 100.0 * part as f64 / trimmed.corpus_tokens as f64;
    let Saved { int8, int4, f16 } = &trimmed.saved_bytes;
    format!(
        "{}: {} of {} rows, {} of them whatever the corpus\n\
         corpus: {} tokens, {:.2} % of them kept; encoded again {} tokens, {:.2} % of before\n\
         saved: {:.1} MiB of an int8 table, {:.1} MiB of int4, {:.1} MiB of f16\n",
        trimmed.output,
        trimmed.rows,
        trimmed.original_rows,
        trimmed.always_kept,
        trimmed.corpus_tokens,
        percent(trimmed.covered_tokens),
        trimmed.reencoded_tokens,
        percent(trimmed.reencoded_tokens),
        int8.as_mib(),
        int4.as_mib(),
        f16.as_mib(),
    )
}
