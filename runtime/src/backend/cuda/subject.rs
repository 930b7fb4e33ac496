//! A GPU under test.

use std::any::Any;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::sys;
use ledger::{Backing, BufferClass, Bytes, ElementType, Lifetime, MemoryKind, PlannedBuffer, Role};

use super::error::check;
use super::lower::{MOST_PARTS, packed_bytes};
use super::scratch::{attention_bytes, delta_bytes};
use super::{Context, CudaDevice, DeviceBuffer, parameters, probe};
use crate::backend::conformance::{Limits, Subject};
use crate::memory::{DEVICE_PAGE, PAGE};
use crate::ops::attention::Shape as AttentionShape;
use crate::ops::gated_delta_rule::Shape as DeltaShape;
use crate::plan::{Device, RuntimeOptions, keys};

/// Bytes for the steps of passes of a small model.
const STEPS: u64 = 256 << 10;

/// Kept while the process lives, so that a case does not begin with a context of its own.
static CONTEXT: OnceLock<Option<Arc<Context>>> = OnceLock::new();

/// A pass that fails leaves its message to the case that ran it: one case at a time.
static TURN: Mutex<()> = Mutex::new(());

fn own(class: BufferClass, name: &str, bytes: u64, memory: MemoryKind) -> PlannedBuffer {
    PlannedBuffer {
        role: Role::Target,
        sequence: 0,
        class,
        layer: None,
        name: name.to_owned(),
        element: ElementType::U8,
        shape: vec![bytes],
        bytes: Bytes(bytes).round_up(PAGE),
        lifetime: Lifetime::Resident,
        backing: Backing::Anonymous,
        memory,
        page: Bytes(PAGE),
        growth: None,
        formula: "test".to_owned(),
    }
}

impl Subject for CudaDevice {
    const NAME: &'static str = "cuda";
    const LIMITS: Limits = Limits {
        // Activations are rounded to 16 bits, but for several tokens beside a matrix in 32.
        quantised: 2e-3,
        dense_one: 1e-3,
        halves: 1e-3,
        singles: 1e-5,
        plain: 1e-5,
        angle: 4e-7,
        // In f32, and with probabilities in 16 bits.
        attention: [1e-4, 2e-3],
        // In f32, and with everything but sums and states in 16 bits.
        delta_rule: [1e-5, 5e-3],
        model: 1e-2,
    };
    const DEVICE: Device = Device::Cuda { ordinal: 0 };
    const MEMORY: MemoryKind = MemoryKind::Device;
    const LARGE_PAGE: u64 = DEVICE_PAGE;
    const READABLE: RangeInclusive<usize> = 2..=32;

    fn absence() -> Option<String> {
        probe(0).err()
    }

    fn turn() -> Box<dyn Any> {
        CONTEXT.get_or_init(|| Context::new(0).ok());
        Box::new(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn own_buffers(options: &RuntimeOptions) -> Vec<PlannedBuffer> {
        let (_, numbers) = parameters(options);
        vec![
            own(BufferClass::StreamRing, keys::STAGING, 4 * DEVICE_PAGE, MemoryKind::Host),
            own(BufferClass::DecodeWorkspace, keys::PARAMETERS, numbers.0, MemoryKind::Device),
            own(BufferClass::DecodeWorkspace, keys::STEPS, STEPS, MemoryKind::Device),
        ]
    }

    fn write(&self, tensor: &mut DeviceBuffer, values: &[f32]) {
        self.queue.finish().unwrap();
        let context = self.queue.context();
        context.enter().unwrap();
        // SAFETY: the case has committed as many bytes, and the source lives until the copy has ended.
        check("write its memory", unsafe {
            sys::cuMemcpyHtoDAsync_v2(
                tensor.start(),
                values.as_ptr().cast(),
                size_of_val(values),
                context.stream(),
            )
        })
        .unwrap();
        context.wait().unwrap();
    }

    fn linear_scratch(tokens: usize, columns: usize) -> u64 {
        /// Rows of the largest matrix that a case multiplies with.
        const ROWS: usize = 10_240;
        let parts = if tokens > 64 { MOST_PARTS as usize * tokens * ROWS * 4 } else { 0 };
        packed_bytes(tokens as u32, columns as u32) + parts as u64
    }

    fn attention_scratch(shape: &AttentionShape) -> u64 {
        attention_bytes(shape, usize::MAX)
    }

    fn delta_scratch(shape: &DeltaShape, tokens: usize) -> u64 {
        delta_bytes(shape, tokens)
    }
}
