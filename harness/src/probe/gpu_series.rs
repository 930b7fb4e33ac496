//! GPU memory over time, on a thread of its own: a call into the driver may take longer than a whole 10 ms tick.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ledger::Bytes;

use super::gpu::{Gpu, GpuCadence};
use super::{ProcessMemory, Reading};
use crate::clock::TrialClock;
use crate::record::DeviceSeries;

/// A running series, `samples/<cell>-<trial>.gpu.csv`.
#[derive(Debug)]
pub struct GpuSeries {
    cadence: GpuCadence,
    stop: Sender<()>,
    reading: JoinHandle<io::Result<()>>,
}

/// What one reading is taken with.
#[derive(Debug)]
struct Source {
    gpu: Arc<Gpu>,
    process: ProcessMemory,
}

impl Source {
    /// Memory of the target's processes, and what is taken on all devices.
    fn read(&self) -> [Reading<Bytes>; 2] {
        let pids: Vec<u32> = self.process.identities().iter().map(|process| process.pid).collect();
        [self.gpu.used_by(&pids), self.gpu.taken()]
    }
}

impl GpuSeries {
    /// Starts reading into the new file `path`; without a GPU there is no series and no file.
    pub fn start(
        gpu: &Arc<Gpu>,
        process: &ProcessMemory,
        clock: TrialClock,
        path: &Path,
    ) -> io::Result<Option<GpuSeries>> {
        if matches!(**gpu, Gpu::Absent(_)) {
            return Ok(None);
        }
        let mut file = File::create(path)?;
        file.write_all(format!("{}\n", DeviceSeries::COLUMNS.join(",")).as_bytes())?;
        let source = Source { gpu: Arc::clone(gpu), process: process.clone() };
        let cadence = GpuCadence::measured(|| drop(source.read()));
        let (stop, stopped) = channel();
        let reading = std::thread::Builder::new()
            .name("gpu".to_owned())
            .spawn(move || write(file, &source, clock, cadence.every, &stopped))?;
        Ok(Some(GpuSeries { cadence, stop, reading }))
    }

    /// How often it reads.
    pub fn cadence(&self) -> GpuCadence {
        self.cadence
    }

    /// Stops. Fails where the series could not be written.
    pub fn finish(self) -> io::Result<()> {
        drop(self.stop);
        self.reading.join().map_err(|_| io::Error::other("the GPU thread has died"))?
    }
}

fn write(
    mut file: File,
    source: &Source,
    clock: TrialClock,
    every: Duration,
    stopped: &Receiver<()>,
) -> io::Result<()> {
    loop {
        let (at, started) = (clock.now(), Instant::now());
        let [used, taken] = source.read().map(|reading| match reading {
            Reading::Measured(bytes) => bytes.0.to_string(),
            Reading::Unavailable(_) => String::new(),
        });
        // A whole line in one call, so that a kill tears at most the last one.
        file.write_all(format!("{},{used},{taken}\n", at.0).as_bytes())?;
        if stopped.recv_timeout(every.saturating_sub(started.elapsed())) != Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
    }
}
