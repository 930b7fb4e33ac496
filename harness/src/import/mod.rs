//! Logs that people already have, read into one account: what the machine used, which parts of it have an owner, and how much
//! has none.
//!
//! - `evidence`: what one file says, and where.
//! - `free`, `tegrastats`, `tensorrt`, `llama`: one file a kind of log.
//! - `account`: all files together; `words`: what is said of it; `keep`: the account as a run folder.

mod account;
mod evidence;
mod free;
mod keep;
mod llama;
mod tegrastats;
mod tensorrt;
mod words;

pub use account::Account;
pub use evidence::{
    Evidence, ImportError, LogKind, MachineUse, Part, Place, WholeDevice, parts_of, read_log,
};
pub use keep::keep;
pub use words::GIVEN;

/// Version of the JSON form. It grows when a field changes its meaning or goes away.
pub const FORMAT_VERSION: u32 = 1;
