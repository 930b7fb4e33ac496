//! GPU memory over time, as `samples/<cell>-<trial>.gpu.csv` holds it.

use std::path::Path;

use ledger::{Bytes, Micros};

use super::{SeriesError, columns};

/// One reading. What could not be read is `None`, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceSample {
    /// Since the trial's start.
    pub at: Micros,
    /// GPU memory of the target's processes: zero before they hold any.
    pub used: Option<Bytes>,
    /// Memory that is taken on all GPUs, whoever holds it.
    pub taken: Option<Bytes>,
}

/// The readings of one trial, in the order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceSeries {
    /// The readings.
    pub samples: Vec<DeviceSample>,
}

impl DeviceSeries {
    /// Names of the columns, in the order of [`DeviceSample`]'s fields.
    pub const COLUMNS: [&str; 3] = ["time_us", "gpu_bytes", "gpu_taken_bytes"];

    /// Reads `path`, see [`Series::read`](super::Series::read). The last column may be missing.
    ///
    /// # Errors
    /// When the file cannot be read, or is no such table.
    pub fn read(path: &Path) -> Result<DeviceSeries, SeriesError> {
        let rows = columns::read(path, DeviceSeries::COLUMNS, 2)?;
        let sample = |[at, used, taken]: [Option<u64>; 3]| {
            Some(DeviceSample { at: Micros(at?), used: used.map(Bytes), taken: taken.map(Bytes) })
        };
        Ok(DeviceSeries { samples: rows.into_iter().filter_map(sample).collect() })
    }

    /// The most that the target's processes held at any reading from `start` to `end`, both included.
    pub fn peak(&self, start: Micros, end: Micros) -> Option<Bytes> {
        let first = self.samples.partition_point(|sample| sample.at < start);
        let within = self.samples[first..].iter().take_while(|sample| sample.at <= end);
        within.filter_map(|sample| sample.used).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_found_by_name_and_what_is_missing_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-0.gpu.csv");
        std::fs::write(&path, "time_us,gpu_bytes,gpu_taken_bytes\n0,0,7\n500000,,9\n1000000,5,\n15").unwrap();
        let series = DeviceSeries::read(&path).unwrap();
        assert_eq!(series.samples.len(), 3);
        assert_eq!(
            series.samples[1],
            DeviceSample { at: Micros(500_000), used: None, taken: Some(Bytes(9)) }
        );
        assert_eq!(series.peak(Micros(0), Micros(600_000)), Some(Bytes::ZERO));
        assert_eq!(series.peak(Micros(400_000), Micros(600_000)), None);

        std::fs::write(&path, "time_us,gpu_bytes\n0,3\n").unwrap();
        assert_eq!(DeviceSeries::read(&path).unwrap().samples[0].taken, None);
    }
}
