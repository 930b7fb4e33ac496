//! Memory that a Jetson's GPU shares with the CPU, as the nvmap driver counts it in debugfs. It is in no process's
//! resident memory, save pages that the CPU has touched: never add the two without saying so.
//!
//! - `pool`: the total, one number, cheap enough for every sample; freed pages that the driver keeps.
//! - `clients`: who holds how much; walks every handle, so only at phase edges.
//! - `allocations`: every buffer of every process, the one breakdown of a closed runtime.
//! - `probe`: all three behind the common trait.

mod allocations;
mod clients;
mod pool;
mod probe;

pub use allocations::{NvmapHandle, parse_allocations};
pub use clients::{NvmapClient, NvmapClients};
pub use pool::{NvmapPool, PagePool};
pub use probe::Nvmap;

use ledger::Bytes;

/// Where the driver's files are.
const FOLDER: &str = "/sys/kernel/debug/nvmap";

/// A size of nvmap's tables: a whole number and `K`, or `M`, `G` in older forms.
fn size(text: &str) -> Option<Bytes> {
    let shift = match text.as_bytes().last()? {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(1 << shift).map(Bytes)
}
