//! Waiting for the floor: a trial begins where the first one of its run began, or says what stayed behind.

use std::time::{Duration, Instant};

use ledger::{Bytes, Micros};

use crate::doctor::Residue;
use crate::interrupt::Interrupt;
use crate::probe::board::Clocks;
use crate::probe::nvmap::Nvmap;
use crate::probe::{Conditions, Gpu, MemInfo, SystemMemory, SystemRoot};
use crate::record::{FloorReading, FloorRecord, GpuHolder, Reading, Remnant};
use crate::scenario::Floor;

/// Time between two looks at the floor.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The floor of a run: that of its first trial, and whose traces later ones have shown.
#[derive(Debug, Default)]
pub struct RunFloor {
    first: Option<FloorReading>,
    /// The trial that ended last.
    last_trial: Option<String>,
    /// The trial after which main memory was missing, while it is.
    memory_since: Option<String>,
    /// The same of device memory.
    device_since: Option<String>,
}

/// Where a floor is read, and how long it may take.
pub(super) struct FloorProbes<'a> {
    pub(super) machine: &'a SystemRoot,
    pub(super) gpu: &'a Gpu,
    pub(super) conditions: &'a Conditions,
    pub(super) rule: Floor,
    pub(super) interrupt: &'a Interrupt,
}

/// By how much each memory may be off.
#[derive(Debug, Clone, Copy)]
struct Tolerance {
    /// Nothing where main memory is not judged.
    memory: Option<Bytes>,
    device: Bytes,
}

impl RunFloor {
    /// Waits until the floor is that of the first trial, at most as long as the rule allows. Returns what was read last, and what
    /// stayed behind until then.
    pub(super) async fn settle(&mut self, probes: &FloorProbes<'_>) -> (FloorRecord, Vec<Remnant>) {
        let started = Instant::now();
        let total = SystemMemory::open(probes.machine).read_now().measured().and_then(|info| info.total);
        let memory = probes.rule.memory_tolerance(total, shares_memory(probes.machine));
        let tolerance = Tolerance { memory, device: probes.rule.device_tolerance() };
        let (reading, left) = loop {
            let reading = read(probes);
            let left = self.left(&reading, tolerance);
            if left.is_empty() || started.elapsed() >= probes.rule.timeout || probes.interrupt.is_asked() {
                break (reading, left);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        self.first.get_or_insert_with(|| reading.clone());
        let record = FloorRecord {
            settled_us: Micros(started.elapsed().as_micros() as u64),
            cooldown: None,
            memory_tolerance_bytes: tolerance.memory,
            device_tolerance_bytes: tolerance.device,
            conditions: probes.conditions.read(&[]),
            reading,
        };
        (record, left)
    }

    /// True where a trial of this run came before.
    pub(super) fn has_begun(&self) -> bool {
        self.first.is_some()
    }

    /// The trial `name` is over: what is missing from now on is its trace.
    pub(super) fn trial_ended(&mut self, name: String) {
        self.last_trial = Some(name);
    }

    fn left(&mut self, now: &FloorReading, tolerance: Tolerance) -> Vec<Remnant> {
        let mut left: Vec<Remnant> = now.targets.iter().cloned().map(Remnant::Target).collect();
        let Some(first) = &self.first else { return left };
        let unknown = |what: &str, why: &str| Remnant::Unknown { what: what.to_owned(), why: why.to_owned() };
        let trial = || self.last_trial.clone().unwrap_or_else(|| "the first trial".to_owned());

        let grown = match (&first.device_bytes, &now.device_bytes) {
            (Reading::Measured(before), Reading::Measured(now)) => now.saturating_sub(*before),
            // Without a device there is nothing to be left of it.
            (Reading::Unavailable(_), Reading::Unavailable(_)) => Bytes::ZERO,
            (_, Reading::Unavailable(why)) | (Reading::Unavailable(why), _) => {
                left.push(unknown("device memory", why));
                Bytes::ZERO
            }
        };
        if grown > tolerance.device {
            let after = self.device_since.get_or_insert_with(trial).clone();
            left.push(Remnant::Device { bytes: grown, after, holders: new_holders(first, now) });
        } else {
            self.device_since = None;
        }

        let Some(most) = tolerance.memory else { return left };
        match (free_for_use(first), free_for_use(now)) {
            (Ok(before), Ok(available)) => {
                // What a board's GPU still has was said already.
                let said = if now.unified { grown } else { Bytes::ZERO };
                let missing = before.saturating_sub(available).saturating_sub(said);
                if missing > most {
                    let after = self.memory_since.get_or_insert_with(trial).clone();
                    left.push(Remnant::Memory { bytes: missing, after });
                } else {
                    self.memory_since = None;
                }
            }
            (Err(why), _) | (_, Err(why)) => left.push(unknown("main memory", why)),
        }
        left
    }
}

/// What a new process can have: freed pages that a driver keeps are missing from it, and come back.
fn free_for_use(floor: &FloorReading) -> Result<Bytes, &str> {
    match &floor.available_bytes {
        Reading::Measured(available) => {
            Ok(*available + floor.page_pool_bytes.measured().copied().unwrap_or_default())
        }
        Reading::Unavailable(why) => Err(why),
    }
}

/// Processes that hold more GPU memory than they did, with what they hold more.
fn new_holders(first: &FloorReading, now: &FloorReading) -> Vec<GpuHolder> {
    let before = |holder: &GpuHolder| {
        let known = first.gpu_holders.iter().find(|known| known.pid == holder.pid);
        known.map_or(Bytes::ZERO, |known| known.bytes)
    };
    let more = |holder: &GpuHolder| GpuHolder {
        bytes: holder.bytes.saturating_sub(before(holder)),
        ..holder.clone()
    };
    now.gpu_holders.iter().map(more).filter(|holder| holder.bytes > Bytes::ZERO).collect()
}

/// Whether the machine's GPU lives in main memory.
fn shares_memory(machine: &SystemRoot) -> bool {
    Clocks::new(machine).gpu().is_ok()
}

fn read(probes: &FloorProbes<'_>) -> FloorReading {
    let system = SystemMemory::open(probes.machine);
    let info = system.read_now();
    let cache = |info: &MemInfo| info.buffers?.0.checked_add(info.cached?.0).map(Bytes);
    let no_cache = || "/proc/meminfo has no Buffers or no Cached".to_owned();
    let page_cache_bytes = match &info {
        Reading::Measured(info) => {
            cache(info).map_or_else(|| Reading::Unavailable(no_cache()), Reading::Measured)
        }
        Reading::Unavailable(why) => Reading::Unavailable(why.clone()),
    };
    let residue = Residue::read(probes.machine);
    let unified = shares_memory(probes.machine);
    // A device that shares main memory counts page cache as taken, so that its own word is no floor.
    let device_bytes = if unified {
        Nvmap::new(probes.machine).edge(&[]).map(|nvmap| nvmap.total_bytes)
    } else {
        probes.gpu.taken()
    };
    FloorReading {
        available_bytes: system.available_now(),
        page_cache_bytes,
        page_pool_bytes: residue.page_pool_bytes,
        device_bytes,
        unified,
        gpu_holders: residue.gpu_holders.measured().cloned().unwrap_or_default(),
        targets: residue.targets.measured().cloned().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(available: u64, pool: u64, device: u64, unified: bool) -> FloorReading {
        FloorReading {
            available_bytes: Reading::Measured(Bytes::mib(available)),
            page_cache_bytes: Reading::default(),
            page_pool_bytes: Reading::Measured(Bytes::mib(pool)),
            device_bytes: Reading::Measured(Bytes::mib(device)),
            unified,
            gpu_holders: Vec::new(),
            targets: Vec::new(),
        }
    }

    const TOLERANCE: Tolerance = Tolerance { memory: Some(Bytes::mib(64)), device: Bytes::mib(64) };

    fn said(run: &mut RunFloor, now: FloorReading) -> Vec<String> {
        run.left(&now, TOLERANCE).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_stays_is_that_of_the_trial_after_which_it_was_first_seen() {
        let mut run = RunFloor { first: Some(floor(8000, 0, 300, false)), ..RunFloor::default() };
        run.trial_ended("trial 0 of a".to_owned());
        assert!(said(&mut run, floor(7936, 0, 364, false)).is_empty(), "within the tolerance");
        assert_eq!(
            said(&mut run, floor(8000, 0, 512, false)),
            ["212.0 MiB of device memory that trial 0 of a left"]
        );
        run.trial_ended("trial 1 of a".to_owned());
        assert_eq!(
            said(&mut run, floor(7900, 0, 600, false)),
            [
                "300.0 MiB of device memory that trial 0 of a left",
                "100.0 MiB of main memory are missing since trial 1 of a"
            ]
        );
        assert!(said(&mut run, floor(9000, 0, 0, false)).is_empty(), "more free than before");
        assert_eq!(
            said(&mut run, floor(8000, 0, 400, false)),
            ["100.0 MiB of device memory that trial 1 of a left"],
            "it was back meanwhile"
        );
    }

    #[test]
    fn main_memory_that_is_not_judged_may_go_and_device_memory_may_not() {
        let mut run = RunFloor { first: Some(floor(8000, 0, 300, false)), ..RunFloor::default() };
        let left = run.left(&floor(4000, 0, 512, false), Tolerance { memory: None, ..TOLERANCE });
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        assert_eq!(left, ["212.0 MiB of device memory that the first trial left"]);
    }

    #[test]
    fn the_page_pool_is_no_trace_and_one_memory_is_told_once() {
        let mut run = RunFloor { first: Some(floor(8000, 0, 300, true)), ..RunFloor::default() };
        assert!(said(&mut run, floor(7000, 1000, 300, true)).is_empty(), "freed, and kept by the driver");
        let left = said(&mut run, floor(7788, 0, 512, true));
        assert_eq!(left, ["212.0 MiB of device memory that the first trial left"]);
    }

    #[test]
    fn a_new_holder_is_named_and_one_that_was_there_is_not() {
        let holder = |pid, mib| GpuHolder { process: "p".to_owned(), pid, bytes: Bytes::mib(mib) };
        let first = FloorReading { gpu_holders: vec![holder(7, 300)], ..floor(8000, 0, 300, true) };
        let now =
            FloorReading { gpu_holders: vec![holder(7, 300), holder(9, 212)], ..floor(7788, 0, 512, true) };
        assert_eq!(new_holders(&first, &now), [holder(9, 212)]);
    }

    #[test]
    fn a_floor_that_cannot_be_read_any_more_is_not_back() {
        let mut run = RunFloor { first: Some(floor(8000, 0, 300, false)), ..RunFloor::default() };
        let blind = FloorReading {
            device_bytes: Reading::Unavailable("the driver is gone".to_owned()),
            ..floor(8000, 0, 0, false)
        };
        assert_eq!(
            said(&mut run, blind),
            ["how much device memory is taken is not known: the driver is gone"]
        );
    }
}
