//! What `/v1/memory` answers from: plan, ledger, program and device of the loaded engine.

use std::sync::{Arc, OnceLock};

use ledger::{Bytes, DeviceReport, LedgerSnapshot, MemoryPlan, MemoryReport, ProgramMemory};
use runtime::backend::nvml::Gpu;
use runtime::backend::{Backend, DeviceWitness};
use runtime::engine::Engine;
use runtime::memory::{CountingHeap, Ledger};

use crate::serve::MemoryHandle;

/// What can be asked while an engine loads, idles and runs.
#[derive(Debug, Default)]
pub struct MemoryWitness {
    loaded: OnceLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    plan: MemoryPlan,
    ledger: Arc<Ledger>,
    program: ProgramStart,
    device: Option<Device>,
}

#[derive(Debug)]
struct Device {
    witness: Arc<dyn DeviceWitness>,
    gpu: Gpu,
}

/// The program before an engine is loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProgramStart {
    resident: Bytes,
    heap: Bytes,
}

impl ProgramStart {
    pub(crate) fn now() -> ProgramStart {
        ProgramStart { resident: runtime::memory::resident().unwrap_or_default(), heap: CountingHeap::held() }
    }

    fn memory(self) -> ProgramMemory {
        ProgramMemory {
            resident_at_start: self.resident,
            heap_growth: CountingHeap::held().saturating_sub(self.heap),
        }
    }
}

impl MemoryWitness {
    /// A witness that knows only the program until [`load`](crate::builtin::load) is done.
    pub fn new() -> Arc<MemoryWitness> {
        Arc::default()
    }

    /// Tells of `engine` from now on. A witness serves one load; a second one would not change what the first has seen.
    pub(crate) fn watch(&self, engine: &Engine<impl Backend>, program: ProgramStart) {
        let device = engine.device_witness().map(|witness| Device { witness, gpu: Gpu::probe() });
        let loaded = Loaded { plan: engine.plan().clone(), ledger: engine.ledger(), program, device };
        let _ = self.loaded.set(loaded);
    }

    /// The report at this moment.
    pub fn report(&self) -> MemoryReport {
        match self.loaded.get() {
            Some(loaded) => MemoryReport::new(
                loaded.plan.clone(),
                loaded.ledger.snapshot(),
                loaded.program.memory(),
                loaded.device.as_ref().map(Device::report),
            ),
            // Nothing is loaded: all that is resident is the program.
            None => {
                let resident_at_start = runtime::memory::resident().unwrap_or_default();
                let program = ProgramMemory { resident_at_start, heap_growth: Bytes::ZERO };
                MemoryReport::new(MemoryPlan::default(), LedgerSnapshot::default(), program, None)
            }
        }
    }

    /// The witness as the server wants it.
    pub fn handle(self: &Arc<Self>) -> MemoryHandle {
        let witness = self.clone();
        Arc::new(move || Some(witness.report()))
    }
}

impl Device {
    /// Device and driver, with what the management library says of this process.
    fn report(&self) -> DeviceReport {
        self.witness.report().witnessed(self.gpu.held_by(&[std::process::id()]))
    }
}

#[cfg(test)]
mod tests {
    use ledger::{BufferClass, Reading};

    use super::*;

    #[derive(Debug)]
    struct Card;

    impl DeviceWitness for Card {
        fn report(&self) -> DeviceReport {
            DeviceReport {
                name: "a card".to_owned(),
                architecture: "sm_90".to_owned(),
                driver: "CUDA 13.0".to_owned(),
                unified: false,
                total: Bytes::gib(80),
                free_at_start: Bytes::gib(70),
                free_now: Bytes::gib(69),
                context: Bytes::mib(400),
                driver_on_host: Bytes::mib(100),
                buffers: Bytes::gib(1),
                used_by_process: Reading::default(),
                unaccounted: Reading::default(),
            }
        }
    }

    #[test]
    fn a_process_that_is_not_counted_is_said_to_be_so_and_the_device_stands_in() {
        let gpu = Gpu::Absent("no GPU: it is a test".to_owned());
        let device = Device { witness: Arc::new(Card), gpu }.report();
        assert_eq!(device.used_by_process, Reading::Unavailable("no GPU: it is a test".to_owned()));
        assert_eq!(device.unaccounted, Reading::Measured(0));
        let none = (MemoryPlan::default(), LedgerSnapshot::default(), ProgramMemory::default());
        let report = MemoryReport::new(none.0, none.1, none.2, Some(device));
        assert_eq!(report.by_class_bytes[&BufferClass::DeviceContext], Bytes::mib(400));
    }
}
