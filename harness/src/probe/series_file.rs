//! `samples/<cell>-<trial>.csv`: whole lines, one write for each batch, so that a kill loses at most what was not
//! handed over yet.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::ring::{COLUMNS, Ring, UNAVAILABLE};

/// The header: names with units. An empty field is a value that could not be read.
const HEADER: &str = "time_us,rss_anon_bytes,rss_file_bytes,rss_shmem_bytes,vm_swap_bytes,mem_available_bytes,\
     mem_unaccounted_bytes,nvmap_bytes,co_residents_rss_bytes\n";

/// The file of a series.
#[derive(Debug)]
pub(super) struct SeriesFile {
    file: File,
    lines: String,
}

impl SeriesFile {
    /// A new file with its header.
    pub(super) fn create(path: &Path) -> io::Result<SeriesFile> {
        let mut file = File::create(path)?;
        file.write_all(HEADER.as_bytes())?;
        Ok(SeriesFile { file, lines: String::new() })
    }

    /// Writes everything that waits in `ring`.
    pub(super) fn drain(&mut self, ring: &Ring) -> io::Result<()> {
        self.lines.clear();
        while let Some(sample) = ring.pop() {
            self.line(sample);
        }
        if self.lines.is_empty() { Ok(()) } else { self.file.write_all(self.lines.as_bytes()) }
    }

    fn line(&mut self, sample: [u64; COLUMNS]) {
        for (at, value) in sample.into_iter().enumerate() {
            if at > 0 {
                self.lines.push(',');
            }
            if value != UNAVAILABLE {
                let _ = write!(self.lines, "{value}");
            }
        }
        self.lines.push('\n');
    }
}
