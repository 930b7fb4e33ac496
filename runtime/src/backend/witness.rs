//! What a device says of itself while an engine runs on it.

use std::fmt::Debug;

use ledger::DeviceReport;

/// A device that can be asked for its memory from any thread, at any moment.
pub trait DeviceWitness: Debug + Send + Sync {
    /// Its memory now, by the driver and the ledger. What the management library counts for the process need not be in
    /// it: whoever asks adds it ([`DeviceReport::witnessed`]).
    fn report(&self) -> DeviceReport;
}
