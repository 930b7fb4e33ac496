//! What a build is asked for, and the ids that follow from it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::VocabError;
use super::file::read_ids;
use crate::config::ModelConfig;
use crate::generate::tokenizer::Tokenizer;

/// A number of rows, written `32768` or `32k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowCount(pub u32);

impl fmt::Display for RowCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rows if rows % 1024 == 0 => write!(f, "{}k", rows / 1024),
            rows => write!(f, "{rows}"),
        }
    }
}

impl FromStr for RowCount {
    type Err = String;

    fn from_str(text: &str) -> Result<RowCount, String> {
        let (digits, unit) = text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1024));
        let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse::<u32>().ok()?.checked_mul(unit)) {
            Some(rows @ 1..) => Ok(RowCount(rows)),
            _ => Err("a number of rows, for example 32k".to_owned()),
        }
    }
}

/// The build option `vocab`: which rows of the table an engine holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Vocab {
    /// All of them.
    #[default]
    Full,
    /// So many: those of the lowest ids, which are the most frequent, and what must always be kept.
    Rows(RowCount),
    /// Those that a file lists, and what must always be kept.
    File(PathBuf),
}

impl fmt::Display for Vocab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Vocab::Full => f.write_str("full"),
            Vocab::Rows(rows) => rows.fmt(f),
            Vocab::File(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for Vocab {
    type Err = String;

    fn from_str(text: &str) -> Result<Vocab, String> {
        match text {
            "full" => Ok(Vocab::Full),
            // A word without a dot or a slash is a slip of the pen, not a file.
            file if file.contains(['.', '/']) && !file.starts_with(|first: char| first.is_ascii_digit()) => {
                Ok(Vocab::File(PathBuf::from(file)))
            }
            rows => rows.parse().map(Vocab::Rows).map_err(|_| {
                "full, a number of rows such as 32k, or a file of ids such as vocab_map.safetensors or ./ids.txt"
                    .to_owned()
            }),
        }
    }
}

impl Vocab {
    /// The ids to keep, ascending, of a model of `vocabulary` rows that cannot do without `always`. `None` where they all stay.
    /// A number of rows is kept to exactly, unless more must always be kept.
    ///
    /// # Errors
    /// When a file of ids cannot be used.
    pub fn kept(&self, always: &BTreeSet<u32>, vocabulary: usize) -> Result<Option<Vec<u32>>, VocabError> {
        let kept: BTreeSet<u32> = match self {
            Vocab::Full => return Ok(None),
            Vocab::Rows(RowCount(rows)) => {
                let ordinary = (*rows as usize).saturating_sub(always.len());
                let lowest = (0..vocabulary as u32).filter(|id| !always.contains(id));
                always.iter().copied().chain(lowest.take(ordinary)).collect()
            }
            Vocab::File(path) => always.iter().copied().chain(read_ids(path, vocabulary)?).collect(),
        };
        Ok((kept.len() < vocabulary).then(|| kept.into_iter().collect()))
    }
}

/// What every engine of a model keeps: the ids that end a generation, and of its tokenizer the added tokens (chat, thinking,
/// tools, padding) and the 256 bytes, so that every text can still be encoded.
pub fn always_kept(config: &ModelConfig, tokenizer: Option<&Tokenizer>) -> BTreeSet<u32> {
    let of_text = tokenizer.into_iter().flat_map(Tokenizer::indispensable);
    let ids = config.stop_ids.iter().copied().chain(of_text);
    ids.filter(|id| (*id as usize) < config.vocab_size).collect()
}

/// The `rows` ids to keep, ascending: those of `always`, then those that `counts` has most of, then the lowest. `counts` holds
/// how often each id was seen; ids behind its end were not. All of a model of `vocabulary` rows where `rows` is not fewer.
pub fn most_frequent(counts: &[u64], always: &BTreeSet<u32>, rows: usize, vocabulary: usize) -> Vec<u32> {
    let count = |id: &u32| counts.get(*id as usize).copied().unwrap_or(0);
    let mut others: Vec<u32> = (0..vocabulary as u32).filter(|id| !always.contains(id)).collect();
    // A stable sort: among equals, and among those never seen, the lowest ids come first.
    others.sort_by_key(|id| std::cmp::Reverse(count(id)));
    others.truncate(rows.saturating_sub(always.len()));
    let mut kept: Vec<u32> = always.iter().copied().chain(others).collect();
    kept.sort_unstable();
    kept
}
