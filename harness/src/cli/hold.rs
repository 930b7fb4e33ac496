//! `sweep hold`: the stand-in of a co-resident.

use ledger::Bytes;

use super::arguments::HoldArguments;
use super::{CliError, Printer};
use crate::scenario::HOLDS;
use crate::verdict::ExitCode;

/// Fills memory, says so, and keeps it until the process is ended.
pub(super) fn hold(arguments: &HoldArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let wanted = Bytes(arguments.host_bytes);
    let no_room = |what: String| CliError::Environment {
        what: "hold memory in the stead of a co-resident",
        source: std::io::Error::other(what),
    };
    let length =
        usize::try_from(wanted.0).map_err(|_| no_room(format!("{wanted} are beyond this machine")))?;
    let mut held: Vec<u8> = Vec::new();
    held.try_reserve_exact(length).map_err(|error| no_room(error.to_string()))?;
    // Every page gets something of its own, so that no system can share or leave it out.
    held.resize(length, 0);
    for (page, bytes) in held.chunks_mut(4096).enumerate() {
        let number = (page as u64 + 1).to_le_bytes();
        let room = bytes.len().min(number.len());
        bytes[..room].copy_from_slice(&number[..room]);
    }
    printer.text(&format!("{HOLDS}\n"))?;
    loop {
        std::thread::park();
        std::hint::black_box(&held);
    }
}
