//! What a scenario asks of the machine before anything runs.

use ledger::Bytes;

/// Demands on the machine; nothing is asked by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// `MemAvailable`, at least.
    pub available_memory: Option<Bytes>,
    /// Free space where engines are kept, at least.
    pub free_disk: Option<Bytes>,
    /// True where there must be no swap.
    pub no_swap: bool,
    /// The power mode by its name.
    pub power_mode: Option<String>,
    /// True where no clock may move.
    pub locked_clocks: bool,
    /// Probes that must be readable, by their words.
    pub probes: Vec<String>,
}

impl Needs {
    /// True where nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Needs::default()
    }
}
