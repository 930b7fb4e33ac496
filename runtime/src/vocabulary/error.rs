//! Why a vocabulary cannot be trimmed as it was asked.

use std::path::{Path, PathBuf};

use crate::checkpoint::HeaderProblem;
use crate::generate::TextFilesError;
use crate::generate::tokenizer::EncodeError;

/// What is wrong with a list of ids.
#[derive(Debug, thiserror::Error)]
pub enum VocabMapProblem {
    /// It is no safetensors file, or a damaged one.
    #[error(transparent)]
    Header(#[from] HeaderProblem),
    /// A safetensors file of something else.
    #[error("it has no tensor `vocab_map`; is this another safetensors file?")]
    NoTensor,
    /// Ids in another type.
    #[error("`vocab_map` has the dtype {found}, but I32 is needed; export the map again")]
    Dtype {
        /// The type in the file.
        found: String,
    },
    /// Not a plain list.
    #[error("`vocab_map` has the shape {found:?}, but one dimension is needed; export the map again")]
    Shape {
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// No ids at all.
    #[error("it lists no ids")]
    Empty,
    /// An id below zero.
    #[error("it lists {id}, and ids are not negative; the file is damaged, or not a vocabulary map")]
    Negative {
        /// The id.
        id: i32,
    },
    /// An id that the model does not have.
    #[error("it lists {id}, and ids of this model are below {vocabulary}; the list belongs to another model")]
    OutOfRange {
        /// The id.
        id: u32,
        /// Rows of the model's table.
        vocabulary: usize,
    },
    /// Ids that do not ascend.
    #[error("{id} stands behind {previous}; sort the ids in ascending order")]
    NotSorted {
        /// The id before.
        previous: u32,
        /// The id.
        id: u32,
    },
    /// An id that is listed twice.
    #[error("{id} is listed twice; keep one of them")]
    Duplicate {
        /// The id.
        id: u32,
    },
    /// A word of a text file that is no id.
    #[error("line {line} has `{word}`, which is not an id; write one id a line, or separate ids by commas")]
    NotAnId {
        /// The line, counted from 1.
        line: usize,
        /// The word.
        word: String,
    },
}

/// Why a vocabulary could not be trimmed.
#[derive(Debug, thiserror::Error)]
pub enum VocabError {
    /// A list of ids cannot be used.
    #[error("the vocabulary map {path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: VocabMapProblem,
    },
    /// A file operation failed.
    #[error("{action} {path}: {cause}")]
    Io {
        /// What was done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A corpus of something else than text.
    #[error("the corpus {path} is not UTF-8 at byte {at}; convert it, or leave it out")]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where, from its beginning.
        at: u64,
    },
    /// A corpus that the tokenizer cannot take.
    #[error("encode the corpus {path}: {cause}")]
    Encode {
        /// The file.
        path: PathBuf,
        /// What is wrong with its text.
        cause: EncodeError,
    },
    /// Nothing to count.
    #[error("the corpus has no tokens; name files with text in them")]
    EmptyCorpus,
    /// Without a tokenizer text has no tokens.
    #[error("the checkpoint {path} has no tokenizer.json, and without it text cannot be counted")]
    NoTokenizer {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The checkpoint's tokenizer cannot be used, which would say what must be kept.
    #[error(transparent)]
    Text(#[from] TextFilesError),
}

impl VocabError {
    /// For `map_err` on a file operation.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> VocabError {
        let path = path.to_owned();
        move |cause| VocabError::Io { action, path, cause }
    }

    /// For `map_err` on a list of ids.
    pub(super) fn file<P: Into<VocabMapProblem>>(path: &Path) -> impl FnOnce(P) -> VocabError {
        let path = path.to_owned();
        move |problem| VocabError::File { path, problem: problem.into() }
    }
}
