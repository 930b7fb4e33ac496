//! What makes measurements on this machine doubtful, and what to do about it. What cannot be read is no finding: the list of
//! probes says so.

use ledger::{Bytes, Reading};
use serde::Serialize;

use super::diagnosis::Diagnosis;
use crate::probe::GpuWitness;
use crate::probe::board::PowerMode;

/// From here on a junction is close to where boards slow down.
const HOT_MILLIDEGREES: i64 = 80_000;
/// Below this, large allocations of the GPU are put together from small pages.
const SMALL_BLOCK: Bytes = Bytes::mib(1);
/// What a desktop at rest takes; more is a program.
const SMALL_HOLDER: Bytes = Bytes::mib(64);

/// One doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A word for what it is about, for example `swap`.
    pub subject: &'static str,
    /// What was found.
    pub says: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(subject: &'static str, says: String, remedy: &str) -> Finding {
        Finding { subject, says, remedy: Some(remedy.to_owned()) }
    }
}

/// Everything that is doubtful in `diagnosis`; `fastest` is the power mode without limits, where the machine has one.
pub fn findings(diagnosis: &Diagnosis, fastest: Option<&PowerMode>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(power_mode(diagnosis, fastest));
    found.extend(clocks(diagnosis));
    found.extend(switched_off(diagnosis));
    found.extend(heat(diagnosis));
    found.extend(throttling(diagnosis));
    found.extend(swap(diagnosis));
    found.extend(out_of_memory(diagnosis));
    found.extend(page_cache(diagnosis));
    found.extend(fragmentation(diagnosis));
    found.extend(witness(diagnosis));
    found.extend(residue(diagnosis));
    found
}

fn power_mode(diagnosis: &Diagnosis, fastest: Option<&PowerMode>) -> Option<Finding> {
    let (mode, fastest) = (diagnosis.power_mode.measured()?, fastest?);
    let name = |mode: &PowerMode| mode.name.clone().unwrap_or_else(|| format!("number {}", mode.id));
    (mode.id != fastest.id).then(|| {
        let says = format!("the power mode is {}, not {}", name(mode), name(fastest));
        Finding::new("power mode", says, &format!("sudo nvpmodel -m {}", fastest.id))
    })
}

fn clocks(diagnosis: &Diagnosis) -> Option<Finding> {
    let locked = *diagnosis.clocks.locked.measured()?;
    let is_board = diagnosis.clocks.gpu.measured().is_some();
    let remedy = if is_board {
        "sudo jetson_clocks"
    } else {
        "sudo cpupower frequency-set --min FREQUENCY --max FREQUENCY"
    };
    (!locked).then(|| {
        Finding::new("clocks", "clocks follow the load, so speeds differ between runs".to_owned(), remedy)
    })
}

fn switched_off(diagnosis: &Diagnosis) -> Option<Finding> {
    let mask = *diagnosis.clocks.gpu.measured()?.tpc_pg_mask.measured()?;
    (mask != 0).then(|| {
        let says = format!("parts of the GPU are switched off (tpc_pg_mask {mask:#x})");
        Finding::new("gpu", says, "choose the power mode whose name begins with MAXN")
    })
}

fn heat(diagnosis: &Diagnosis) -> Option<Finding> {
    let zones = diagnosis.temperatures.measured()?.iter();
    let hot = zones.filter_map(|zone| Some((&zone.name, *zone.millidegrees.measured()?)));
    let (name, degrees) = hot.max_by_key(|(_, degrees)| *degrees)?;
    (degrees >= HOT_MILLIDEGREES).then(|| {
        let says = format!("{name} is at {:.1} °C", degrees as f64 / 1000.0);
        Finding::new("temperature", says, "let it cool down, or look after its fan")
    })
}

fn throttling(diagnosis: &Diagnosis) -> Option<Finding> {
    let counters = diagnosis.throttle.measured()?.iter().filter(|counter| counter.events > 0);
    let events: Vec<String> =
        counters.map(|counter| format!("{} {}", counter.name, counter.events)).collect();
    (!events.is_empty()).then(|| {
        let says = format!("it has slowed itself down since boot: {}", events.join(", "));
        Finding::new(
            "throttling",
            says,
            "look after power supply and cooling; the counters start again at boot",
        )
    })
}

fn swap(diagnosis: &Diagnosis) -> Option<Finding> {
    let (size, used) = (diagnosis.swap.size_bytes.measured()?, diagnosis.swap.used_bytes.measured()?);
    let zram = diagnosis.swap.zram_taken_bytes.measured();
    let remedy = match zram {
        Some(_) => "sudo systemctl disable --now nvzramconfig, then sudo swapoff -a",
        None => "sudo swapoff -a",
    };
    (size.0 > 0).then(|| {
        let says =
            format!("swap is on, {used} of {size} used: what is swapped out is missing from resident memory");
        Finding::new("swap", says, remedy)
    })
}

fn out_of_memory(diagnosis: &Diagnosis) -> Option<Finding> {
    let kills = *diagnosis.memory.oom_kills.measured()?;
    (kills > 0).then(|| Finding {
        subject: "memory",
        says: format!("the kernel has killed {kills} processes for memory since boot"),
        remedy: None,
    })
}

/// Where the GPU shares main memory, its driver takes page cache for memory that is taken.
fn page_cache(diagnosis: &Diagnosis) -> Option<Finding> {
    diagnosis.clocks.gpu.measured()?;
    let memory = &diagnosis.memory;
    let (free, available) = (memory.free_bytes.measured()?, memory.available_bytes.measured()?);
    let hidden = available.saturating_sub(*free);
    (hidden > Bytes::gib(1)).then(|| {
        let says = format!(
            "{hidden} of memory are page cache that can be had, and that cudaMemGetInfo does not call free"
        );
        Finding::new("memory", says, "sync; echo 3 | sudo tee /proc/sys/vm/drop_caches")
    })
}

fn fragmentation(diagnosis: &Diagnosis) -> Option<Finding> {
    let block = *diagnosis.memory.largest_free_block_bytes.measured()?;
    (block < SMALL_BLOCK).then(|| {
        let says = format!("memory is in pieces: the largest free block has {block}");
        Finding::new(
            "memory",
            says,
            "echo 1 | sudo tee /proc/sys/vm/compact_memory, or start the machine anew",
        )
    })
}

fn witness(diagnosis: &Diagnosis) -> Option<Finding> {
    let estimate = diagnosis.gpu.counted_by.measured() == Some(&GpuWitness::Estimate);
    let remedy = diagnosis.probe("nvmap").and_then(|probe| probe.remedy.clone());
    estimate.then(|| Finding {
        subject: "gpu",
        says: "GPU memory can only be estimated, for the whole machine".to_owned(),
        remedy,
    })
}

fn residue(diagnosis: &Diagnosis) -> Vec<Finding> {
    let mut found = Vec::new();
    let residue = &diagnosis.residue;
    let holders = residue.gpu_holders.measured().map(Vec::as_slice).unwrap_or_default();
    let large: Vec<String> = holders
        .iter()
        .filter(|holder| holder.bytes >= SMALL_HOLDER)
        .map(|holder| format!("{} ({}) {}", holder.process, holder.pid, holder.bytes))
        .collect();
    if !large.is_empty() {
        let says = format!("GPU memory is held by {}", large.join(", "));
        found.push(Finding::new("residue", says, "end these processes, or count them as co-residents"));
    }
    if let Reading::Measured(pool) = &residue.page_pool_bytes
        && *pool >= SMALL_HOLDER
    {
        let says = format!("the driver keeps {pool} of freed GPU memory; it comes back under pressure");
        let remedy = "sync; echo 3 | sudo tee /proc/sys/vm/drop_caches";
        found.push(Finding::new("residue", says, remedy));
    }
    let targets = residue.targets.measured().map(Vec::as_slice).unwrap_or_default();
    if !targets.is_empty() {
        let pids: Vec<String> = targets.iter().map(|target| target.pid.to_string()).collect();
        let says = format!("runtimes of a run are there: processes {}", pids.join(", "));
        found.push(Finding::new("residue", says, "wait for that run, or end them"));
    }
    found
}
