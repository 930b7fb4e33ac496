//! `sweep hold`: the stand-in of a co-resident.

use std::time::{Duration, Instant};

use ledger::Bytes;
use runtime::backend::cuda::{self, HeldMemory};

use super::arguments::HoldArguments;
use super::{CliError, Printer};
use crate::scenario::{FALLS_SHORT, HOLDS};
use crate::verdict::ExitCode;

/// Reads come in portions, at least so many a second: fine enough to look like a load that is always there.
const PORTIONS: u64 = 100;
/// Nor are they larger than this, so that a rate beyond the machine is noticed in time.
const LARGEST_PORTION: u64 = 16 << 20;
/// Bytes that memory gives at a time.
const LINE: u64 = 64;
const SECOND: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_millis(50);

/// Fills memory, says so, and keeps it until the process is ended; reads it meanwhile, where it is told to.
pub(super) fn hold(arguments: &HoldArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let held = fill(Bytes(arguments.host_bytes))?;
    let on_device = match arguments.device_bytes {
        0 => None,
        bytes => Some(take_device_memory(Bytes(bytes))?),
    };
    printer.text(&format!("{HOLDS}\n"))?;
    if arguments.read_bytes > 0 {
        read_for_ever(&held, Bytes(arguments.read_bytes), printer)?;
    }
    loop {
        std::thread::park();
        std::hint::black_box((&held, &on_device));
    }
}

fn no_room(what: String) -> CliError {
    CliError::Environment {
        what: "hold memory in the stead of a co-resident",
        source: std::io::Error::other(what),
    }
}

/// `wanted` of main memory, every page of it resident.
fn fill(wanted: Bytes) -> Result<Vec<u64>, CliError> {
    let words = usize::try_from(wanted.0.div_ceil(8))
        .map_err(|_| no_room(format!("{wanted} are beyond this machine")))?;
    let mut held: Vec<u64> = Vec::new();
    held.try_reserve_exact(words).map_err(|error| no_room(error.to_string()))?;
    held.resize(words, 0);
    // Every page gets something of its own, so that no system can share or leave it out.
    for (page, content) in held.chunks_mut(512).enumerate() {
        content[0] = page as u64 + 1;
    }
    Ok(held)
}

fn take_device_memory(wanted: Bytes) -> Result<HeldMemory, CliError> {
    cuda::probe(0).map_err(no_room)?;
    HeldMemory::take(0, wanted).map_err(|error| no_room(error.to_string()))
}

/// Reads `held` from its beginning to its end and again, `rate` a second. Says so, for each second in which it does not get so much.
fn read_for_ever(held: &[u64], rate: Bytes, printer: &Printer) -> Result<(), CliError> {
    let portion = Bytes((rate.0 / PORTIONS).clamp(LINE, LARGEST_PORTION));
    let portions = (rate.0 / portion.0).max(1);
    let (mut at, mut sum) = (0, 0_u64);
    loop {
        let second = Instant::now();
        let mut done = 0;
        // Waking a little late is not falling short.
        while done < portions && second.elapsed() < SECOND + LATE {
            // One word brings its whole line of the cache.
            for _ in 0..portion.0 / LINE {
                sum = sum.wrapping_add(held[at]);
                at = if at + 8 < held.len() { at + 8 } else { 0 };
            }
            done += 1;
            let until = second + SECOND.mul_f64(done as f64 / portions as f64);
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        std::hint::black_box(sum);
        if done < portions {
            let reached = Bytes(((done * portion.0) as f64 / second.elapsed().as_secs_f64()) as u64);
            printer.text(&format!("{FALLS_SHORT}{reached} of {rate} a second\n"))?;
        }
    }
}
