//! `tokenizer.json` and `tokenizer_config.json` in, a table out.

use std::collections::HashMap;

use serde_json::Value;
use thiserror::Error;

use super::byte_level::token_bytes;
use super::source::{AddedToken, ModelKind, Text, TokenizerConfig, TokenizerFile};
use super::table::{self, ADDED_NORMALISED, ADDED_SPECIAL, AddedEntry, Merge, TableParts};

/// Ids have to stay below this; the largest vocabularies in use have some 260,000 entries.
const MAX_ROWS: u32 = 1 << 22;

/// GPT-2's split pattern, which a `ByteLevel` pre-tokeniser with `use_regex` stands for.
const GPT2_SPLIT: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Why a checkpoint's tokenizer files cannot be used.
#[derive(Debug, Error)]
pub enum CompileError {
    /// A file is not the JSON that it should be.
    #[error("{file} cannot be read: {source}")]
    Json {
        /// The file's name in the checkpoint.
        file: &'static str,
        /// What the JSON reader says, with line and column.
        source: serde_json::Error,
    },
    /// The tokenizer works in a way that this runtime does not.
    #[error("tokenizer.json is not supported: {what}; byte-level BPE with an NFC or no normaliser is")]
    Unsupported {
        /// The part that is not supported, by its name in the file.
        what: String,
    },
    /// The files contradict themselves.
    #[error("tokenizer.json is inconsistent: {what}; download the checkpoint's tokenizer files again")]
    Inconsistent {
        /// What does not hold.
        what: String,
    },
}

fn unsupported(what: impl Into<String>) -> CompileError {
    CompileError::Unsupported { what: what.into() }
}

fn inconsistent(what: impl Into<String>) -> CompileError {
    CompileError::Inconsistent { what: what.into() }
}

/// Makes the table of [`super::Tokenizer`] from the contents of a checkpoint's `tokenizer.json` and, where there is one,
/// `tokenizer_config.json`.
///
/// # Errors
/// When a file is not valid, contradicts itself, or asks for something other than byte-level BPE; the error names it.
pub fn compile(tokenizer_json: &[u8], tokenizer_config: Option<&[u8]>) -> Result<Vec<u8>, CompileError> {
    let json = |source| CompileError::Json { file: "tokenizer.json", source };
    let kind = serde_json::from_slice::<ModelKind>(tokenizer_json).map_err(json)?.model.kind;
    if let Some(kind) = kind.filter(|kind| kind != "BPE") {
        return Err(unsupported(format!("model type `{kind}`")));
    }
    let file: TokenizerFile<'_> = serde_json::from_slice(tokenizer_json).map_err(json)?;
    let config = match tokenizer_config {
        None => TokenizerConfig::default(),
        Some(text) => serde_json::from_slice(text)
            .map_err(|source| CompileError::Json { file: "tokenizer_config.json", source })?,
    };
    check_model(&file)?;
    check_surroundings(&file, &config)?;
    let normalise_nfc = normalises_to_nfc(file.normalizer.as_ref())?;
    let split = split_pattern(file.pre_tokenizer.as_ref())?;
    super::split::Splitter::new(&split)
        .map_err(|error| unsupported(format!("pre_tokenizer pattern: {error}")))?;

    let added = added_tokens(file.added_tokens, config.added_tokens_decoder)?;
    let tokens = token_rows(&file.model.vocab, &added)?;
    let byte_ids = byte_ids(&file.model.vocab)?;
    let id_of = |entry: &str| {
        let id = file.model.vocab.get(&Text(entry.into())).copied();
        id.ok_or_else(|| inconsistent(format!("a merge names `{entry}`, which is not in the vocabulary")))
    };
    let mut merges = Vec::with_capacity(file.model.merges.len());
    for (rank, pair) in file.model.merges.iter().enumerate() {
        let result = id_of(&format!("{}{}", pair.left, pair.right))?;
        merges.push((id_of(&pair.left)?, id_of(&pair.right)?, Merge { rank: rank as u32, result }));
    }
    // Where a pair is listed twice, the reference keeps the later one.
    merges.sort_by_key(|(left, right, merge)| (*left, *right, std::cmp::Reverse(merge.rank)));
    merges.dedup_by_key(|(left, right, _)| (*left, *right));

    let entries: Vec<AddedEntry> = added
        .iter()
        .map(|token| AddedEntry {
            id: token.id,
            flags: u32::from(token.special) * ADDED_SPECIAL + u32::from(token.normalized) * ADDED_NORMALISED,
        })
        .collect();
    Ok(table::write(&TableParts {
        normalise_nfc,
        tokens: &tokens,
        merges: &merges,
        byte_ids: &byte_ids,
        added: &entries,
        split: &split,
    }))
}

fn check_model(file: &TokenizerFile<'_>) -> Result<(), CompileError> {
    let model = &file.model;
    if model.byte_fallback {
        return Err(unsupported("`byte_fallback`"));
    }
    if model.ignore_merges {
        return Err(unsupported("`ignore_merges`"));
    }
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(unsupported("`dropout`"));
    }
    for (name, value) in [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if value.as_deref().is_some_and(|value| !value.is_empty()) {
            return Err(unsupported(format!("`{name}`")));
        }
    }
    Ok(())
}

/// Refuses whatever would add tokens to a text or change it on the way out.
fn check_surroundings(file: &TokenizerFile<'_>, config: &TokenizerConfig) -> Result<(), CompileError> {
    for (name, part) in [("post_processor", &file.post_processor), ("decoder", &file.decoder)] {
        if let Some(kind) = part.as_ref().map(kind_of).filter(|kind| *kind != "ByteLevel") {
            return Err(unsupported(format!("{name} `{kind}`")));
        }
    }
    for (name, value) in [
        ("add_bos_token", config.add_bos_token),
        ("add_eos_token", config.add_eos_token),
        ("add_prefix_space", config.add_prefix_space),
        ("split_special_tokens", config.split_special_tokens),
    ] {
        if value == Some(true) {
            return Err(unsupported(format!("`{name}` in tokenizer_config.json")));
        }
    }
    Ok(())
}

/// The `type` of a part of the file.
fn kind_of(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or("of no type")
}

fn normalises_to_nfc(normalizer: Option<&Value>) -> Result<bool, CompileError> {
    match normalizer.map(|part| (kind_of(part), part)) {
        None => Ok(false),
        Some(("NFC", _)) => Ok(true),
        Some(("Sequence", part)) => {
            match part.get("normalizers").and_then(Value::as_array).map(Vec::as_slice) {
                Some([]) => Ok(false),
                Some([only]) => normalises_to_nfc(Some(only)),
                _ => Err(unsupported("a sequence of normalisers")),
            }
        }
        Some((kind, _)) => Err(unsupported(format!("normalizer `{kind}`"))),
    }
}

/// The pattern of the pre-tokeniser: a `Split` followed by `ByteLevel`, or `ByteLevel` with its own pattern.
fn split_pattern(pre_tokenizer: Option<&Value>) -> Result<String, CompileError> {
    let Some(part) = pre_tokenizer else { return Err(unsupported("no pre_tokenizer")) };
    let steps = match kind_of(part) {
        "Sequence" => {
            part.get("pretokenizers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
        }
        _ => std::slice::from_ref(part),
    };
    let (split, bytes) = match steps {
        [split, bytes] if kind_of(split) == "Split" => (Some(split), bytes),
        [bytes] => (None, bytes),
        _ => return Err(unsupported("a pre_tokenizer other than Split and ByteLevel")),
    };
    if kind_of(bytes) != "ByteLevel" {
        return Err(unsupported(format!("pre_tokenizer `{}`", kind_of(bytes))));
    }
    let set = |name: &str| bytes.get(name).and_then(Value::as_bool).unwrap_or(true);
    if set("add_prefix_space") {
        return Err(unsupported("pre_tokenizer ByteLevel with `add_prefix_space`"));
    }
    match (split, set("use_regex")) {
        (None, true) => Ok(GPT2_SPLIT.to_owned()),
        (None, false) => Ok(String::new()),
        (Some(_), true) => Err(unsupported("pre_tokenizer Split followed by ByteLevel with `use_regex`")),
        (Some(split), false) => {
            let isolated = split.get("behavior").and_then(Value::as_str) == Some("Isolated");
            if !isolated || split.get("invert").and_then(Value::as_bool) == Some(true) {
                return Err(unsupported("pre_tokenizer Split with a behaviour other than `Isolated`"));
            }
            let pattern =
                split.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str);
            pattern
                .map(str::to_owned)
                .ok_or_else(|| unsupported("pre_tokenizer Split without a `Regex` pattern"))
        }
    }
}

/// The added tokens of both files; one that only the configuration names counts as well.
fn added_tokens(
    listed: Vec<AddedToken>,
    configured: std::collections::BTreeMap<u32, AddedToken>,
) -> Result<Vec<AddedToken>, CompileError> {
    let mut added = listed;
    for (id, token) in configured {
        match added.iter().find(|known| known.id == id || known.content == token.content) {
            None => added.push(AddedToken { id, ..token }),
            Some(known) if known.id == id && known.content == token.content => {}
            Some(known) => {
                return Err(inconsistent(format!(
                    "added token {} `{}` is {id} `{}` in tokenizer_config.json",
                    known.id, known.content, token.content
                )));
            }
        }
    }
    for token in &added {
        if token.lstrip || token.rstrip || token.single_word {
            let what = format!("added token `{}` with `lstrip`, `rstrip` or `single_word`", token.content);
            return Err(unsupported(what));
        }
    }
    added.retain(|token| !token.content.is_empty());
    Ok(added)
}

/// The bytes of each token by id.
fn token_rows(vocab: &HashMap<Text<'_>, u32>, added: &[AddedToken]) -> Result<Vec<Vec<u8>>, CompileError> {
    let ids = vocab.values().copied().chain(added.iter().map(|token| token.id));
    let Some(last) = ids.max() else { return Err(inconsistent("the vocabulary is empty")) };
    if last >= MAX_ROWS {
        return Err(inconsistent(format!("id {last} is beyond any vocabulary")));
    }
    let mut rows = vec![Vec::new(); last as usize + 1];
    for (entry, id) in vocab {
        let row = &mut rows[*id as usize];
        if !row.is_empty() {
            return Err(inconsistent(format!("two vocabulary entries have the id {id}")));
        }
        *row = token_bytes(&entry.0);
    }
    let mut taken = HashMap::new();
    for token in added {
        if let Some(other) = taken.insert(token.id, &token.content) {
            return Err(inconsistent(format!("`{other}` and `{}` have the id {}", token.content, token.id)));
        }
        // Some files list an added token in the vocabulary as well; under its own text that is no contradiction.
        let listed = vocab.get(&Text(token.content.as_str().into()));
        if listed.is_some_and(|id| *id != token.id)
            || (listed.is_none() && !rows[token.id as usize].is_empty())
        {
            return Err(inconsistent(format!("added token `{}` contradicts the vocabulary", token.content)));
        }
        rows[token.id as usize] = token.content.clone().into_bytes();
    }
    Ok(rows)
}

fn byte_ids(vocab: &HashMap<Text<'_>, u32>) -> Result<[u32; 256], CompileError> {
    let mut ids = [u32::MAX; 256];
    for (entry, id) in vocab {
        if let [byte] = token_bytes(&entry.0)[..] {
            ids[byte as usize] = *id;
        }
    }
    match ids.iter().position(|id| *id == u32::MAX) {
        Some(byte) => Err(inconsistent(format!("the vocabulary has no token for the byte 0x{byte:02X}"))),
        None => Ok(ids),
    }
}
