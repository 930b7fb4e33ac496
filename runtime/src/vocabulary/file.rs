//! Lists of ids on disk: `vocab_map.safetensors`, as TensorRT Edge-LLM writes and reads it, and plain text.
//!
//! A map is a safetensors file with one tensor `vocab_map`, int32 `[rows]`: the id of each row, ascending, each once.

use std::ops::Range;
use std::path::Path;

use ledger::Bytes;

use super::map::{VocabMap, number};
use super::{VocabError, VocabMapProblem};
use crate::checkpoint::{Dtype, tensor_in};

/// The map's name in an engine directory, and the vendor's name for it.
pub const VOCAB_MAP: &str = "vocab_map.safetensors";

/// The tensor's name in the file.
const TENSOR: &str = "vocab_map";

/// The contents of a map of `ids`, which ascend: the bytes that the format's own library writes.
pub fn to_file(ids: &[u32]) -> Vec<u8> {
    let header = header(ids.len());
    let mut file = Vec::with_capacity(8 + header.len() + 4 * ids.len());
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    ids.iter().for_each(|id| file.extend_from_slice(&id.to_le_bytes()));
    file
}

/// The length of a map of so many rows.
pub fn file_bytes(rows: usize) -> Bytes {
    Bytes((8 + header(rows).len() + 4 * rows) as u64)
}

fn header(rows: usize) -> String {
    let text =
        format!(r#"{{"{TENSOR}":{{"dtype":"I32","shape":[{rows}],"data_offsets":[0,{}]}}}}"#, 4 * rows);
    // Filled up with spaces, so that the data is aligned.
    let length = text.len().next_multiple_of(8);
    format!("{text:length$}")
}

/// Where the ids lie in the contents of a map, every one of them checked.
pub(super) fn ids_in(file: &[u8]) -> Result<Range<usize>, VocabMapProblem> {
    let tensor = tensor_in(file, TENSOR)?.ok_or(VocabMapProblem::NoTensor)?;
    if tensor.dtype != Dtype::I32 {
        return Err(VocabMapProblem::Dtype { found: tensor.dtype.to_string() });
    }
    if tensor.shape.len() != 1 {
        return Err(VocabMapProblem::Shape { found: tensor.shape });
    }
    check(file[tensor.bytes.clone()].chunks_exact(4).map(number))?;
    Ok(tensor.bytes)
}

/// Holds a list of ids against what a list must be.
fn check(ids: impl Iterator<Item = u32>) -> Result<(), VocabMapProblem> {
    let mut last = None;
    for id in ids {
        if id > i32::MAX as u32 {
            return Err(VocabMapProblem::Negative { id: id as i32 });
        }
        match last {
            Some(previous) if previous == id => return Err(VocabMapProblem::Duplicate { id }),
            Some(previous) if previous > id => return Err(VocabMapProblem::NotSorted { previous, id }),
            _ => last = Some(id),
        }
    }
    last.map(|_| ()).ok_or(VocabMapProblem::Empty)
}

/// The ids that the file at `path` lists for a model of `vocabulary` rows: a `.safetensors` map, or else text with one id a
/// line or ids between commas.
///
/// # Errors
/// When the file cannot be read, or its ids do not ascend, appear twice, or are not the model's.
pub fn read_ids(path: &Path, vocabulary: usize) -> Result<Vec<u32>, VocabError> {
    let bytes = std::fs::read(path).map_err(VocabError::io("read the vocabulary map", path))?;
    let ids: Vec<u32> = if path.extension().is_some_and(|extension| extension == "safetensors") {
        VocabMap::open(bytes).map_err(VocabError::file(path))?.ids().collect()
    } else {
        let ids = listed(&String::from_utf8_lossy(&bytes)).map_err(VocabError::file(path))?;
        check(ids.iter().copied()).map_err(VocabError::file(path))?;
        ids
    };
    match ids.last() {
        Some(&id) if id as usize >= vocabulary => {
            Err(VocabError::file(path)(VocabMapProblem::OutOfRange { id, vocabulary }))
        }
        _ => Ok(ids),
    }
}

/// The ids of a text.
fn listed(text: &str) -> Result<Vec<u32>, VocabMapProblem> {
    let mut ids = Vec::new();
    for (line, words) in text.lines().enumerate() {
        let words = words.split(|character: char| character == ',' || character.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            let id = word.parse::<u32>().ok().filter(|id| *id <= i32::MAX as u32);
            // The beginning of it is enough: a file of something else may be one endless line.
            let refuse =
                || VocabMapProblem::NotAnId { line: line + 1, word: word.chars().take(20).collect() };
            ids.push(id.ok_or_else(refuse)?);
        }
    }
    Ok(ids)
}

/// Writes a map of `ids`, which ascend, beside `path` and moves it there: a reader sees all of it or nothing.
///
/// # Errors
/// When the file cannot be written.
pub fn write_ids(path: &Path, ids: &[u32]) -> Result<(), VocabError> {
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, to_file(ids)).map_err(VocabError::io("write", &unfinished))?;
    std::fs::rename(&unfinished, path).map_err(VocabError::io("write", path))
}
