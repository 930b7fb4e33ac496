//! An account as a run folder: it is reported like what was measured here, and says that it was not.

use std::io;
use std::path::Path;

use super::Account;
use crate::clock::wall_clock;
use crate::record::{ACCOUNT_FILE, FORMAT_VERSION, RunFolder, RunRecord, ScenarioRecord, write_atomically};
use crate::scenario::hex_sha256;
use crate::verdict::ExitCode;

/// The name that stands for a scenario: no scenario was run.
const NAME: &str = "import";

/// Puts `account` into a run folder of its own below `runs`. `command` is how it was made.
///
/// # Errors
/// Where the folder cannot be written.
pub fn keep(account: &Account, command: String, runs: &Path) -> io::Result<RunFolder> {
    let record = RunRecord {
        format_version: FORMAT_VERSION,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        program_sha256: String::new(),
        scenario: ScenarioRecord {
            name: NAME.to_owned(),
            why: "What logs of other programs say of one machine and one runtime.".to_owned(),
            sha256: hex_sha256(command.as_bytes()),
            text: command,
            file: None,
        },
        started_at: wall_clock(),
        finished_at: None,
        machine: None,
        cells: Vec::new(),
        chosen: false,
        excluded: Vec::new(),
        bases: Vec::new(),
        levers: Vec::new(),
        trials_per_cell: 0,
        budgets: Vec::new(),
        quality_budgets: Vec::new(),
        gates: Vec::new(),
        expectations: Vec::new(),
        trials: Vec::new(),
        pair: None,
        shard: None,
        merged: Vec::new(),
        resumed_from: None,
        exit_code: None,
    };
    let mut folder = RunFolder::begin(RunFolder::make(runs)?, record)?;
    write_atomically(&folder.path().join(ACCOUNT_FILE), account)?;
    folder.finish(wall_clock(), ExitCode::Pass.code())?;
    Ok(folder)
}
