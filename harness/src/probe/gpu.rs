//! Who counts GPU memory, and how often it is read: as often as a call is cheap.

use std::time::{Duration, Instant};

use ledger::Bytes;
pub use runtime::backend::nvml::Gpu;
use serde::{Deserialize, Serialize};

use super::board::Clocks;
use super::nvmap::Nvmap;
use super::{Probe, ProbeCard, ProbeScope, Reading, SystemRoot};

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

/// GPU memory as one probe.
#[derive(Debug, Clone, Copy)]
pub struct GpuMemory<'a> {
    /// Who is asked.
    pub gpu: &'a Gpu,
    /// How often; `None`: at phase edges alone.
    pub every: Option<GpuCadence>,
}

impl Probe for GpuMemory<'_> {
    fn id(&self) -> &'static str {
        NVML
    }

    fn name(&self) -> &'static str {
        NVML_NAME
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::Process
    }

    fn cost(&self) -> &'static str {
        NVML_COST
    }

    fn cadence(&self) -> Reading<String> {
        match (self.gpu, self.every) {
            (Gpu::Absent(why), _) => Reading::Unavailable(why.clone()),
            (Gpu::Present(_), None) => Reading::Measured("at phase edges".to_owned()),
            (Gpu::Present(_), Some(GpuCadence { every, call })) => Reading::Measured(format!(
                "every {} ms, and at phase edges; a call takes {:.2} ms",
                every.as_millis(),
                call.as_secs_f64() * 1e3
            )),
        }
    }

    fn sample(&self) -> Reading<String> {
        GpuAnswers::of(self.gpu).in_words()
    }
}

/// What a record says of `gpu`, read in `every`.
pub fn gpu_card(gpu: &Gpu, every: Option<GpuCadence>) -> ProbeCard {
    GpuMemory { gpu, every }.card()
}

const NVML: &str = "nvml";
const NVML_NAME: &str = "GPU memory by process (NVML)";
const NVML_COST: &str = "some 0.1 ms on a card, some 2 ms on Thor";

/// The file of a recorded tree with the answers of NVML, in the form of [`GpuAnswers`].
const RECORDED: &str = "/nvml.json";

/// What NVML says: a library is not a file, so a recorded tree keeps its answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuAnswers {
    /// The devices' names.
    pub names: Reading<Vec<String>>,
    /// Memory that the asking process holds: whether the driver counts by process at all.
    pub own_bytes: Reading<Bytes>,
    /// Memory that is taken on all devices.
    pub taken_bytes: Reading<Bytes>,
}

impl GpuAnswers {
    /// Asks `gpu`.
    pub fn of(gpu: &Gpu) -> GpuAnswers {
        GpuAnswers {
            names: gpu.names(),
            own_bytes: gpu.used_by(&[std::process::id()]),
            taken_bytes: gpu.taken(),
        }
    }

    /// The answers in the recorded tree `root`.
    fn recorded(root: &SystemRoot) -> GpuAnswers {
        let text = root.text(RECORDED).map_err(|_| "the recorded tree has no answers of NVML".to_owned());
        let parsed = text.and_then(|text| {
            serde_json::from_str(&text)
                .map_err(|error| format!("its answers of NVML cannot be read: {error}"))
        });
        parsed.unwrap_or_else(|why: String| GpuAnswers {
            names: Reading::Unavailable(why.clone()),
            own_bytes: Reading::Unavailable(why.clone()),
            taken_bytes: Reading::Unavailable(why),
        })
    }

    fn in_words(&self) -> Reading<String> {
        self.own_bytes.clone().map(|_| match self.taken_bytes.measured() {
            Some(taken) => format!("{taken} taken on all devices"),
            None => "by process only: this device does not say what is taken".to_owned(),
        })
    }
}

/// NVML before there is a target, on this machine or on a recorded one.
#[derive(Debug)]
pub enum Nvml {
    /// The library.
    Live(Gpu),
    /// What it said when the machine was recorded.
    Recorded(GpuAnswers),
}

impl Nvml {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> Nvml {
        if root.is_recorded() { Nvml::Recorded(GpuAnswers::recorded(root)) } else { Nvml::Live(Gpu::probe()) }
    }

    /// What it says now.
    pub fn answers(&self) -> GpuAnswers {
        match self {
            Nvml::Live(gpu) => GpuAnswers::of(gpu),
            Nvml::Recorded(answers) => answers.clone(),
        }
    }
}

impl Probe for Nvml {
    fn id(&self) -> &'static str {
        NVML
    }

    fn name(&self) -> &'static str {
        NVML_NAME
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::Process
    }

    fn cost(&self) -> &'static str {
        NVML_COST
    }

    fn cadence(&self) -> Reading<String> {
        self.answers().own_bytes.map(|_| "every 10 ms where a call is cheap, else every 500 ms".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        self.answers().in_words()
    }
}

/// Who counts GPU memory of the target, the best that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuWitness {
    /// NVML, by process.
    Nvml,
    /// nvmap, by process: the GPU shares main memory.
    Nvmap,
    /// What no line of `/proc/meminfo` owns: of the whole machine, and an estimate.
    Estimate,
}

impl GpuWitness {
    /// The best witness at `root`, by what each of them answers, whatever the board is called. On Thor nvmap is there and
    /// counts nothing, so NVML comes first; on Orin NVML is there and refuses.
    pub fn choose(root: &SystemRoot, nvml: &GpuAnswers) -> Reading<GpuWitness> {
        if nvml.own_bytes.measured().is_some() {
            return Reading::Measured(GpuWitness::Nvml);
        }
        let nvmap = Nvmap::new(root).sample();
        if nvmap.measured().is_some() {
            return Reading::Measured(GpuWitness::Nvmap);
        }
        let why = |reading: &Reading<String>| match reading {
            Reading::Unavailable(why) => why.clone(),
            Reading::Measured(_) => String::new(),
        };
        match Clocks::new(root).gpu() {
            Ok(_) => Reading::Measured(GpuWitness::Estimate),
            Err(gpu) => Reading::Unavailable(format!("{}; {gpu}", why(&nvml.in_words()))),
        }
    }
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
