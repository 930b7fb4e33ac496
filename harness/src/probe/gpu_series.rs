//! GPU memory over time, on a thread of its own: a call into the driver may take longer than a whole 10 ms tick.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Gpu, ProcessMemory, Reading};
use crate::clock::TrialClock;

/// Time between two readings.
const EVERY: Duration = Duration::from_millis(500);

/// A running series, `samples/<cell>-<trial>.gpu.csv`.
#[derive(Debug)]
pub struct GpuSeries {
    stop: Sender<()>,
    reading: JoinHandle<io::Result<()>>,
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
        file.write_all(b"time_us,gpu_bytes\n")?;
        let (gpu, process) = (Arc::clone(gpu), process.clone());
        let (stop, stopped) = channel();
        let reading = std::thread::Builder::new().name("gpu".to_owned()).spawn(move || {
            loop {
                let pids: Vec<u32> = process.identities().iter().map(|process| process.pid).collect();
                let at = clock.now();
                let used = match gpu.used_by(&pids) {
                    Reading::Measured(bytes) => bytes.0.to_string(),
                    Reading::Unavailable(_) => String::new(),
                };
                file.write_all(format!("{},{used}\n", at.0).as_bytes())?;
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return Ok(());
                }
            }
        })?;
        Ok(Some(GpuSeries { stop, reading }))
    }

    /// Stops. Fails where the series could not be written.
    pub fn finish(self) -> io::Result<()> {
        drop(self.stop);
        self.reading.join().map_err(|_| io::Error::other("the GPU thread has died"))?
    }
}
