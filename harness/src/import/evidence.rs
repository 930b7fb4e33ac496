//! What one log says. Which kind of log it is, is seen from its lines, never from its name.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ledger::{BufferClass, Bytes, MemoryKind, Role};
use serde::{Deserialize, Serialize};

use super::{free, llama, tegrastats, tensorrt};

/// No log is longer: an hour of debug output has some 10 MiB.
const MAX_LOG_BYTES: u64 = 256 << 20;

/// More memory than any machine has: a larger number is a mistake of the log, or of its reader.
const MAX_BYTES: u64 = 1 << 48;

/// A kind of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// Output of `free`.
    Free,
    /// Output of `tegrastats`.
    Tegrastats,
    /// Log of TensorRT, or of TensorRT Edge-LLM.
    TensorRt,
    /// Log of llama.cpp.
    LlamaCpp,
}

impl LogKind {
    /// The program that writes such lines.
    pub const fn name(self) -> &'static str {
        match self {
            LogKind::Free => "free",
            LogKind::Tegrastats => "tegrastats",
            LogKind::TensorRt => "TensorRT",
            LogKind::LlamaCpp => "llama.cpp",
        }
    }
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The log.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

/// What the whole machine used at one moment, by whoever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineUse {
    /// Used: all but free pages, buffers and page cache.
    pub used_bytes: Bytes,
    /// All there is.
    pub total_bytes: Bytes,
    /// Where this is said.
    pub place: Place,
}

/// A part of the target's memory that has an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is for.
    pub class: BufferClass,
    /// Whose it is.
    pub role: Role,
    /// The log's own word for it.
    pub what: String,
    /// Whose memory it is, as far as the log says.
    #[serde(default, skip_serializing_if = "MemoryKind::is_host")]
    pub memory: MemoryKind,
    /// True for pages of a mapped file: page cache, which is not in what a machine uses.
    pub mapped: bool,
    /// Its size.
    pub bytes: Bytes,
    /// Where this is said.
    pub place: Place,
}

/// What is taken of a whole device, whoever holds it: it says how full the device was, and nothing of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeDevice {
    /// After what.
    pub after: String,
    /// Taken.
    pub bytes: Bytes,
    /// Where this is said.
    pub place: Place,
}

/// Everything that one log says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What the machine used, in the order of the log.
    pub machine: Vec<MachineUse>,
    /// Parts of the target.
    pub parts: Vec<Part>,
    /// What was taken of a device, in the order of the log.
    pub devices: Vec<WholeDevice>,
}

/// Why a log says nothing.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("read the log {}: {source}", path.display())]
    Unreadable {
        /// The log.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is too long.
    #[error("the log {} is longer than 256 MiB; cut out the part that matters", path.display())]
    TooLarge {
        /// The log.
        path: PathBuf,
    },
    /// No line is of a kind that is known.
    #[error(
        "the log {} has no line of free, tegrastats, TensorRT or llama.cpp that says something about memory",
        path.display()
    )]
    NothingKnown {
        /// The log.
        path: PathBuf,
    },
}

/// A line and its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) file: &'a Path,
    pub(super) number: usize,
}

impl Line<'_> {
    pub(super) fn place(&self) -> Place {
        Place { file: self.file.to_owned(), line: self.number }
    }
}

/// The parts that lines of `kind` in the log at `path` name, in the order of the log; none where there are no such lines.
///
/// # Errors
/// When the log cannot be read, or is too long.
pub fn parts_of(kind: LogKind, path: &Path) -> Result<Vec<Part>, ImportError> {
    let text = text_of(path)?;
    let reader = READERS.iter().find(|(known, _)| *known == kind);
    Ok(reader.map(|(_, read)| read(&lines_of(path, &text)).parts).unwrap_or_default())
}

/// Reads the log at `path`: one log may hold lines of several programs.
pub fn read_log(path: &Path) -> Result<(Vec<LogKind>, Evidence), ImportError> {
    let text = text_of(path)?;
    parse_log(path, &text).ok_or(ImportError::NothingKnown { path: path.to_owned() })
}

fn text_of(path: &Path) -> Result<String, ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_LOG_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_LOG_BYTES {
        return Err(ImportError::TooLarge { path: path.to_owned() });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads every line that one kind of log has.
type Reader = fn(&[Line]) -> Evidence;

/// A reader for each kind.
const READERS: [(LogKind, Reader); 4] = [
    (LogKind::Tegrastats, tegrastats::read),
    (LogKind::TensorRt, tensorrt::read),
    (LogKind::LlamaCpp, llama::read),
    (LogKind::Free, free::read),
];

fn lines_of<'a>(path: &'a Path, text: &'a str) -> Vec<Line<'a>> {
    let lines = text.lines().enumerate();
    lines.map(|(at, text)| Line { text: text.trim_end(), file: path, number: at + 1 }).collect()
}

/// Every kind of log in which `text` says something, and what it says.
pub(super) fn parse_log(path: &Path, text: &str) -> Option<(Vec<LogKind>, Evidence)> {
    let lines = lines_of(path, text);
    let (mut kinds, mut all) = (Vec::new(), Evidence::default());
    for (kind, read) in READERS {
        let Evidence { machine, parts, devices } = read(&lines);
        if !(machine.is_empty() && parts.is_empty() && devices.is_empty()) {
            kinds.push(kind);
        }
        all.machine.extend(machine);
        all.parts.extend(parts);
        all.devices.extend(devices);
    }
    (!kinds.is_empty()).then_some((kinds, all))
}

/// A size of `number` times `unit` bytes, where a machine can have it.
pub(super) fn size(number: f64, unit: u64) -> Option<Bytes> {
    let bytes = number * unit as f64;
    (0.0..=MAX_BYTES as f64).contains(&bytes).then_some(Bytes(bytes as u64))
}
