//! Reading and writing a baseline. The text is the same for the same content: sorted, one buffer a line, so that version
//! control shows what grew.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ledger::Bytes;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use thiserror::Error;

use super::{Baseline, FORMAT_VERSION};
use crate::record::{Series, replace};

/// Why there is no baseline.
#[derive(Debug, Error)]
pub enum BaselineError {
    /// The file cannot be read.
    #[error("failed to read the baseline {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not a baseline.
    #[error("failed to understand the baseline {path}: {source}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The file was written by a later program.
    #[error(
        "failed to understand the baseline {path}: its format version is {found}, which this program does not know; use a newer sweep",
        path = path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A number is beyond anything that can be measured, so that sums could overflow.
    #[error("failed to use the baseline {path}: {bytes} B is no size", path = path.display())]
    Absurd {
        /// The file.
        path: PathBuf,
        /// The number.
        bytes: u64,
    },
    /// The file cannot be written.
    #[error("failed to write the baseline {path}: {source}", path = path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Baseline {
    /// Reads the baseline at `path`.
    pub fn read(path: &Path) -> Result<Baseline, BaselineError> {
        let unreadable = |source| BaselineError::Unreadable { path: path.to_owned(), source };
        let baseline: Baseline = serde_json::from_slice(&fs::read(path).map_err(unreadable)?)
            .map_err(|source| BaselineError::Malformed { path: path.to_owned(), source })?;
        if baseline.format_version > FORMAT_VERSION {
            return Err(BaselineError::TooNew { path: path.to_owned(), found: baseline.format_version });
        }
        if let Some(bytes) = baseline.sizes().find(|bytes| bytes.0 > Series::LARGEST) {
            return Err(BaselineError::Absurd { path: path.to_owned(), bytes: bytes.0 });
        }
        Ok(baseline)
    }

    fn sizes(&self) -> impl Iterator<Item = Bytes> {
        self.scenarios.values().flat_map(BTreeMap::values).flat_map(|cell| {
            let held = cell.held_bytes.values().flat_map(BTreeMap::values);
            let peaks = cell.peak_resident_bytes.values().chain(cell.peak_device_bytes.values()).flatten();
            cell.declared_bytes.values().chain(held).chain(peaks).copied()
        })
    }

    /// Writes it: readers see the old file or the new one, never a part.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let unwritable = |source| BaselineError::Unwritable { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(unwritable)?;
        }
        let text = self.text().map_err(|error| unwritable(error.into()))?;
        replace(path, &text).map_err(unwritable)
    }

    /// The file's text.
    pub fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = Vec::new();
        self.serialize(&mut Serializer::with_formatter(&mut text, OneLineArrays::default()))?;
        text.push(b'\n');
        Ok(text)
    }
}

/// Pretty JSON whose arrays, all of them of numbers, stand on one line.
#[derive(Default)]
struct OneLineArrays(PrettyFormatter<'static>);

impl Formatter for OneLineArrays {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}
