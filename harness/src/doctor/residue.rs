//! What earlier processes left behind, so that a trial does not begin from a floor of its own.

use ledger::{Bytes, Reading};
use serde::Serialize;

use crate::probe::nvmap::Nvmap;
use crate::probe::{ProcessIdentity, ProcessStatus, SystemRoot, reading};
use crate::record::{GpuHolder, LeftTarget};

/// Holders of GPU memory that are shown; a board has few.
const MOST_HOLDERS: usize = 20;

/// What is left.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Residue {
    /// Processes that hold GPU memory of a board, the largest first.
    pub gpu_holders: Reading<Vec<GpuHolder>>,
    /// Freed GPU memory that the driver keeps: missing from free memory, and no leak.
    pub page_pool_bytes: Reading<Bytes>,
    /// Runtimes that an earlier run started, and that still run.
    pub targets: Reading<Vec<LeftTarget>>,
}

impl Residue {
    /// Reads it from the machine at `root`.
    pub fn read(root: &SystemRoot) -> Residue {
        let nvmap = Nvmap::new(root);
        let holders = nvmap.clients().map(|table| {
            let mut holders: Vec<GpuHolder> = Vec::new();
            for client in table.clients.into_iter().filter(|client| client.bytes.0 > 0) {
                match holders.iter_mut().find(|holder| holder.pid == client.pid) {
                    Some(holder) => holder.bytes = Bytes(holder.bytes.0.saturating_add(client.bytes.0)),
                    None => holders.push(GpuHolder {
                        process: client.process,
                        pid: client.pid,
                        bytes: client.bytes,
                    }),
                }
            }
            holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
            holders.truncate(MOST_HOLDERS);
            holders
        });
        Residue {
            gpu_holders: reading(holders),
            page_pool_bytes: reading(nvmap.page_pool()).map(|pool| pool.held),
            targets: reading(root.list("/proc")).map(|entries| {
                let pids = entries.iter().filter_map(|entry| entry.parse::<u32>().ok());
                let left = pids.filter(|pid| is_target(root, *pid) && !has_its_run(root, *pid));
                left.map(|pid| LeftTarget { pid, resident_bytes: resident(root, pid) }).collect()
            }),
        }
    }
}

/// True for a process that was started as `sweep serve` by a run: only those wait for a word before they load.
fn is_target(root: &SystemRoot, pid: u32) -> bool {
    let words = command_line(root, pid);
    let [program, verb, rest @ ..] = words.as_slice() else { return false };
    is_sweep(program) && verb == "serve" && rest.iter().any(|word| word == "--port-file")
}

/// True for a process whose parent is a run that goes on: that run will end it.
fn has_its_run(root: &SystemRoot, pid: u32) -> bool {
    let parent = ProcessIdentity::read(&root.proc(), pid).map(|process| process.parent);
    parent.is_some_and(|parent| command_line(root, parent).first().is_some_and(|program| is_sweep(program)))
}

fn resident(root: &SystemRoot, pid: u32) -> Reading<Bytes> {
    let text = reading(root.text(&format!("/proc/{pid}/status")));
    match text.map(|text| ProcessStatus::parse(text.as_bytes())) {
        Reading::Measured(Some(status)) => Reading::Measured(status.anonymous + status.file + status.shared),
        Reading::Measured(None) => Reading::Unavailable("it has no memory any more".to_owned()),
        Reading::Unavailable(why) => Reading::Unavailable(why),
    }
}

fn is_sweep(program: &str) -> bool {
    program.rsplit('/').next() == Some("sweep")
}

fn command_line(root: &SystemRoot, pid: u32) -> Vec<String> {
    let text = root.text(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
    text.split('\0').map(str::to_owned).collect()
}
