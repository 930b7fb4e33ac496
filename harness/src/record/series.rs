//! The 10 ms series of a trial, as `samples/<cell>-<trial>.csv` holds it.

use std::path::{Path, PathBuf};

use ledger::{Bytes, Micros};
use thiserror::Error;

use super::columns;

/// One tick. A column that could not be read is `None`, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Since the trial's start.
    pub at: Micros,
    /// Anonymous pages of the target's process tree.
    pub anonymous: Option<Bytes>,
    /// Pages of mapped files.
    pub file: Option<Bytes>,
    /// Shared memory pages.
    pub shared: Option<Bytes>,
    /// Pages that are swapped out.
    pub swapped: Option<Bytes>,
    /// `MemAvailable` of the whole machine.
    pub available: Option<Bytes>,
    /// Resident memory of all co-residents.
    pub co_residents: Option<Bytes>,
}

impl Sample {
    /// Resident memory. `None` where one of its three parts is missing.
    pub fn resident(&self) -> Option<Bytes> {
        Some(self.anonymous? + self.file? + self.shared?)
    }
}

/// The samples of one trial, in the order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// The ticks.
    pub samples: Vec<Sample>,
}

/// Why a series cannot be read.
#[derive(Debug, Error)]
pub enum SeriesError {
    /// The file cannot be opened, or is not CSV.
    #[error("failed to read the samples in {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: csv::Error,
    },
    /// The header lacks a column.
    #[error("failed to read the samples in {path}: there is no column `{column}`")]
    ColumnMissing {
        /// The file.
        path: PathBuf,
        /// The column's name.
        column: &'static str,
    },
    /// A cell of the table is not a whole number, or one beyond [`Series::LARGEST`].
    #[error("failed to read the samples in {path}: `{text}` in line {line} is not a whole number up to 2^48")]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What stands there.
        text: String,
    },
    /// Time runs backwards.
    #[error("failed to read the samples in {path}: line {line} is earlier than the line before it")]
    OutOfOrder {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
}

/// Names of the columns, in the order of [`Sample`]'s fields.
const COLUMNS: [&str; 7] = [
    "time_us",
    "rss_anon_bytes",
    "rss_file_bytes",
    "rss_shmem_bytes",
    "vm_swap_bytes",
    "mem_available_bytes",
    "co_residents_rss_bytes",
];

/// How many of them every series has; the others are younger.
const REQUIRED: usize = 6;

impl Series {
    /// The largest number that a record may hold: 256 TiB, or nine years in microseconds. Sums of such numbers do not
    /// overflow.
    pub const LARGEST: u64 = 1 << 48;

    /// Reads `path`. Columns are found by name, so that others may stand beside them; an empty cell is a missing
    /// value; a last line that was cut short by the end of the writer is left out.
    pub fn read(path: &Path) -> Result<Series, SeriesError> {
        let rows = columns::read(path, COLUMNS, REQUIRED)?;
        let sample = |[at, anonymous, file, shared, swapped, available, co_residents]: [Option<u64>; 7]| {
            Some(Sample {
                at: Micros(at?),
                anonymous: anonymous.map(Bytes),
                file: file.map(Bytes),
                shared: shared.map(Bytes),
                swapped: swapped.map(Bytes),
                available: available.map(Bytes),
                co_residents: co_residents.map(Bytes),
            })
        };
        Ok(Series { samples: rows.into_iter().filter_map(sample).collect() })
    }

    /// The highest resident memory of any sample from `start` to `end`, both included.
    pub fn peak_resident(&self, start: Micros, end: Micros) -> Option<Bytes> {
        self.between(start, end).filter_map(Sample::resident).max()
    }

    /// The most that was swapped out at any sample.
    pub fn peak_swapped(&self) -> Option<Bytes> {
        self.samples.iter().filter_map(|sample| sample.swapped).max()
    }

    /// The samples from `start` to `end`, both included.
    pub fn between(&self, start: Micros, end: Micros) -> impl Iterator<Item = &Sample> {
        let first = self.samples.partition_point(|sample| sample.at < start);
        self.samples[first..].iter().take_while(move |sample| sample.at <= end)
    }

    /// Stretches longer than `limit` without a sample.
    pub fn gaps(&self, limit: Micros) -> impl Iterator<Item = (Micros, Micros)> {
        self.samples
            .windows(2)
            .map(|pair| (pair[0].at, pair[1].at))
            .filter(move |(from, to)| to.0 - from.0 > limit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Series, SeriesError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-0.csv");
        std::fs::write(&path, text).unwrap();
        Series::read(&path)
    }

    const HEADER: &str =
        "time_us,rss_anon_bytes,rss_file_bytes,rss_shmem_bytes,vm_swap_bytes,mem_available_bytes\n";

    #[test]
    fn an_empty_cell_is_missing_and_makes_the_sum_missing() {
        let series = read(&format!("{HEADER}0,10,20,0,,99\n10000,,20,0,0,99\n")).unwrap();
        assert_eq!(series.samples[0].resident(), Some(Bytes(30)));
        assert_eq!(series.samples[0].swapped, None);
        assert_eq!(series.samples[1].resident(), None);
    }

    #[test]
    fn columns_are_found_by_name() {
        let text = "gpu_bytes,mem_available_bytes,vm_swap_bytes,rss_shmem_bytes,rss_file_bytes,rss_anon_bytes,time_us\n\
                    7,6,5,4,3,2,1\n";
        let sample = read(text).unwrap().samples[0];
        assert_eq!(
            (sample.at, sample.resident(), sample.available),
            (Micros(1), Some(Bytes(9)), Some(Bytes(6)))
        );
    }

    #[test]
    fn a_line_that_was_cut_short_is_left_out() {
        let series = read(&format!("{HEADER}0,10,20,0,0,99\n10000,10,2")).unwrap();
        assert_eq!(series.samples.len(), 1);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(read("time_us\n1\n").unwrap_err().to_string().contains("rss_anon_bytes"));
        assert!(read(&format!("{HEADER}0,x,0,0,0,0\n")).unwrap_err().to_string().contains("`x` in line 2"));
        assert!(matches!(
            read(&format!("{HEADER}9,0,0,0,0,0\n3,0,0,0,0,0\n")),
            Err(SeriesError::OutOfOrder { line: 3, .. })
        ));
    }

    #[test]
    fn gaps_and_peaks_are_found() {
        let series = read(&format!("{HEADER}0,1,0,0,0,0\n10000,5,0,0,0,0\n80000,2,0,0,3,0\n")).unwrap();
        assert_eq!(series.gaps(Micros(50_000)).collect::<Vec<_>>(), [(Micros(10_000), Micros(80_000))]);
        assert_eq!(series.gaps(Micros(70_000)).count(), 0);
        assert_eq!(series.peak_resident(Micros(20_000), Micros(80_000)), Some(Bytes(2)));
        assert_eq!(series.peak_swapped(), Some(Bytes(3)));
    }
}
