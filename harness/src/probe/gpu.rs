//! How often GPU memory is read: as often as a call is cheap.

use std::time::{Duration, Instant};

pub use runtime::backend::nvml::Gpu;

use super::{ProbeCard, ProbeScope, Reading};

/// A call that takes less is made at every tick of the series.
const CHEAP: Duration = Duration::from_millis(1);
/// Time between two cheap readings.
const OFTEN: Duration = Duration::from_millis(10);
/// Time between two others.
const SELDOM: Duration = Duration::from_millis(500);
/// Readings that are timed; the first one pays for what the driver sets up.
const TIMED: usize = 4;

/// When GPU memory is read, and why so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuCadence {
    /// Time between two readings.
    pub every: Duration,
    /// What one reading takes.
    pub call: Duration,
}

impl GpuCadence {
    /// The cadence for readings that take as long as `reading` does now, by the fastest of a few.
    pub fn measured(mut reading: impl FnMut()) -> GpuCadence {
        let mut timed = || {
            let start = Instant::now();
            reading();
            start.elapsed()
        };
        let call = (0..TIMED).map(|_| timed()).min().unwrap_or(SELDOM);
        GpuCadence { every: if call < CHEAP { OFTEN } else { SELDOM }, call }
    }
}

/// What a record says of `gpu`, read in `cadence`.
pub fn gpu_card(gpu: &Gpu, cadence: Option<GpuCadence>) -> ProbeCard {
    let cadence = match (gpu, cadence) {
        (Gpu::Absent(why), _) => Reading::Unavailable(why.clone()),
        (Gpu::Present(_), None) => Reading::Measured("at phase edges".to_owned()),
        (Gpu::Present(_), Some(GpuCadence { every, call })) => Reading::Measured(format!(
            "every {} ms, and at phase edges; a call takes {:.2} ms",
            every.as_millis(),
            call.as_secs_f64() * 1e3
        )),
    };
    ProbeCard { name: "GPU memory by process (NVML)".to_owned(), scope: ProbeScope::Process, cadence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheap_calls_are_made_often_and_others_seldom() {
        assert_eq!(GpuCadence::measured(|| ()).every, OFTEN);
        assert_eq!(GpuCadence::measured(|| std::thread::sleep(CHEAP * 2)).every, SELDOM);
    }

    #[test]
    fn a_gpu_that_is_not_there_says_why() {
        let card = gpu_card(&Gpu::Absent("no GPU: it is a test".to_owned()), None);
        assert_eq!(card.cadence, Reading::Unavailable("no GPU: it is a test".to_owned()));
    }
}
