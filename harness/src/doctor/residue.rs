//! What earlier processes left behind, so that a trial does not begin from a floor of its own.

use ledger::{Bytes, Reading};
use serde::Serialize;

use crate::probe::nvmap::Nvmap;
use crate::probe::{SystemRoot, reading};

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

/// A process with GPU memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuHolder {
    /// Its name.
    pub process: String,
    /// Its number, counted by the machine.
    pub pid: u32,
    /// What it holds.
    pub bytes: Bytes,
}

/// A runtime that should have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftTarget {
    /// Its number.
    pub pid: u32,
}

impl Residue {
    pub(super) fn read(root: &SystemRoot) -> Residue {
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
                pids.filter(|pid| is_target(root, *pid)).map(|pid| LeftTarget { pid }).collect()
            }),
        }
    }
}

/// True for a process that was started as `sweep serve` by a run: only those wait for a word before they load.
fn is_target(root: &SystemRoot, pid: u32) -> bool {
    let Ok(text) = root.text(&format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<&str> = text.split('\0').collect();
    let [program, verb, rest @ ..] = words.as_slice() else { return false };
    program.rsplit('/').next() == Some("sweep") && *verb == "serve" && rest.contains(&"--port-file")
}
