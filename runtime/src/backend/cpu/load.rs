//! The CPU as a device that engines are loaded on.

use std::sync::{Mutex, PoisonError};

use ledger::MemoryPlan;

use super::{Cpu, CpuDevice, Pool};
use crate::backend::{Backend, DeviceError, NamedWeights};
use crate::engine::EngineLoadError;
use crate::engine_dir::EngineDir;
use crate::memory::Allocator;
use crate::plan::{RuntimeOptions, Streaming};
use crate::weights::{self, Weight};

impl Backend for CpuDevice {
    fn load(
        directory: &EngineDir,
        options: &RuntimeOptions,
        streaming: Option<&Streaming>,
        plan: &MemoryPlan,
        allocator: &Allocator,
    ) -> Result<(CpuDevice, NamedWeights<CpuDevice>), EngineLoadError> {
        let (weights, stream) = match streaming {
            Some(streaming) => {
                let readers = options.ring.readers;
                let placed = weights::load_placed(directory, streaming, readers, plan, allocator)?;
                (placed.weights, placed.stream)
            }
            None => (weights::load(directory, options.weights, plan, allocator)?, None),
        };
        let device = CpuDevice {
            // Never more workers than CPUs, however many the plan has room for: two that take turns on one are slower than one.
            cpu: Cpu::new(options.threads.min(Pool::default_threads()))?,
            allocator: allocator.clone(),
            precision: options.precision,
            kv_cache_type: options.kv_cache_type,
            stream,
            failed: Mutex::default(),
        };
        Ok((device, weights))
    }

    fn first_rows(weight: &Weight, rows: usize) -> Weight {
        weight.first_rows(rows)
    }

    fn check(&self) -> Result<(), DeviceError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}
