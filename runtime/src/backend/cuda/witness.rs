//! What a GPU says of its memory while an engine runs on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::{Bytes, DeviceReport, MemoryKind, Reading};

use super::context::Context;
use super::error::CudaError;
use crate::backend::DeviceWitness;
use crate::backend::nvml::Gpu;
use crate::memory::{Ledger, resident};

/// What the machine shows before a context is made: the driver tells nothing without one.
#[derive(Debug)]
pub(super) struct Before {
    gpu: Gpu,
    taken: Reading<Bytes>,
    available: Option<Bytes>,
    resident: Option<Bytes>,
}

impl Before {
    pub(super) fn now() -> Before {
        let gpu = Gpu::probe();
        Before { taken: gpu.taken(), gpu, available: available(), resident: resident() }
    }

    /// What the driver has taken since for `context` and its modules: by NVML on a card; on unified memory by what is less
    /// available on the machine, less what this process has resident more. Where neither tells, what the modules took.
    fn taken_since(&self, context: &Context, free: Bytes) -> Bytes {
        let on_card = || match (&self.taken, self.gpu.taken()) {
            (Reading::Measured(before), Reading::Measured(now)) => Some(now.saturating_sub(*before)),
            _ => None,
        };
        let on_board = || Some(self.available?.saturating_sub(available()?).saturating_sub(self.grown()?));
        let taken = if context.unified { on_board() } else { on_card() };
        taken.unwrap_or_else(|| context.free_at_start.saturating_sub(free))
    }

    /// What this process has resident more than then.
    fn grown(&self) -> Option<Bytes> {
        Some(resident()?.saturating_sub(self.resident?))
    }
}

/// A GPU that can be asked, with what it was like before the first buffer.
#[derive(Debug)]
pub(super) struct CudaWitness {
    context: Arc<Context>,
    ledger: Arc<Ledger>,
    taken: Bytes,
    /// What the process has resident for them.
    on_host: Bytes,
    free_at_start: Bytes,
    /// What was free when the driver last told.
    free: AtomicU64,
}

impl CudaWitness {
    /// To be made when context and modules are there, and no buffer is.
    ///
    /// # Errors
    /// When the driver does not tell its memory.
    pub(super) fn new(
        before: &Before,
        context: &Arc<Context>,
        ledger: Arc<Ledger>,
    ) -> Result<CudaWitness, CudaError> {
        let (free, _) = context.memory()?;
        let taken = before.taken_since(context, free);
        let last = AtomicU64::new(free.0);
        let on_host = before.grown().unwrap_or_default();
        Ok(CudaWitness { context: context.clone(), ledger, taken, on_host, free_at_start: free, free: last })
    }
}

impl DeviceWitness for CudaWitness {
    fn report(&self) -> DeviceReport {
        if let Ok((free, _)) = self.context.memory() {
            self.free.store(free.0, Ordering::Relaxed);
        }
        let Context { name, architecture, driver, unified, total, .. } = &*self.context;
        DeviceReport {
            name: name.clone(),
            architecture: architecture.to_string(),
            driver: format!("CUDA {}.{}", driver / 1000, driver % 1000 / 10),
            unified: *unified,
            total: *total,
            free_at_start: self.free_at_start,
            free_now: Bytes(self.free.load(Ordering::Relaxed)),
            context: self.taken,
            driver_on_host: self.on_host,
            buffers: self.ledger.snapshot().by_class_in(MemoryKind::Device).into_values().sum(),
            used_by_process: Reading::default(),
            unaccounted: Reading::default(),
        }
    }
}

/// Memory that is available on the machine.
fn available() -> Option<Bytes> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(Bytes::kib(line.split_whitespace().next()?.parse().ok()?))
}
