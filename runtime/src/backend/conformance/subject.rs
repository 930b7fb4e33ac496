//! What a backend has to add to be tested.

use std::any::Any;
use std::ops::RangeInclusive;

use ledger::{MemoryKind, PlannedBuffer};

use crate::backend::Backend;
use crate::backend::cpu::CpuDevice;
use crate::memory::{Buffer, PAGE};
use crate::ops::attention::Shape as AttentionShape;
use crate::ops::gated_delta_rule::Shape as DeltaShape;
use crate::ops::linear::workspace_bytes;
use crate::plan::{Device, RuntimeOptions};

/// How far results may be off: the root of the mean square of the error, relative to that of what is expected.
#[derive(Debug, Clone, Copy)]
pub(in crate::backend) struct Limits {
    /// Products with quantised matrices.
    pub(in crate::backend) quantised: f64,
    /// Products with matrices of plain numbers, for one token.
    pub(in crate::backend) dense_one: f64,
    /// The same for several tokens, of 16 bits.
    pub(in crate::backend) halves: f64,
    /// The same for several tokens, of 32 bits.
    pub(in crate::backend) singles: f64,
    /// Norms, gates, convolutions.
    pub(in crate::backend) plain: f64,
    /// What an angle may be off, relative to the angle.
    pub(in crate::backend) angle: f64,
    /// Attention of few tokens, and of many.
    pub(in crate::backend) attention: [f64; 2],
    /// The delta rule token by token, and in chunks.
    pub(in crate::backend) delta_rule: [f64; 2],
    /// Scores of a whole model.
    pub(in crate::backend) model: f64,
}

/// A backend under test.
pub(in crate::backend) trait Subject: Backend {
    /// Its name in reports.
    const NAME: &'static str;
    /// How exact it is.
    const LIMITS: Limits;
    /// What loads it.
    const DEVICE: Device;
    /// Where its tensors are.
    const MEMORY: MemoryKind;
    /// Bytes of the pages of a large tensor.
    const LARGE_PAGE: u64;
    /// Numbers of tokens for which the product of an MLP stands as it is meant. For others it may stand in 16 bits, in an order of its
    /// own, where the projection behind it alone reads it.
    const READABLE: RangeInclusive<usize>;

    /// Why there is no such device here, if there is none.
    fn absence() -> Option<String>;

    /// Held while a case runs, where only one may.
    fn turn() -> Box<dyn Any>;

    /// What a plan lists for the device itself.
    fn own_buffers(options: &RuntimeOptions) -> Vec<PlannedBuffer>;

    /// Puts `values` into the first elements of a tensor, which are committed.
    fn write(&self, tensor: &mut Self::Tensor, values: &[f32]);

    /// Bytes that a projection needs.
    fn linear_scratch(tokens: usize, columns: usize) -> u64;
    /// Bytes that attention needs, zero before the first call.
    fn attention_scratch(shape: &AttentionShape) -> u64;
    /// Bytes that the delta rule needs.
    fn delta_scratch(shape: &DeltaShape, tokens: usize) -> u64;
}

/// Threads of the CPU under test.
pub(super) const THREADS: usize = 2;

impl Subject for CpuDevice {
    const NAME: &'static str = "cpu";
    const LIMITS: Limits = Limits {
        quantised: 5e-6,
        dense_one: 5e-6,
        halves: 5e-6,
        singles: 5e-6,
        plain: 1e-6,
        angle: 1e-7,
        attention: [5e-6; 2],
        delta_rule: [5e-6; 2],
        model: 1e-2,
    };
    const DEVICE: Device = Device::Cpu;
    const MEMORY: MemoryKind = MemoryKind::Host;
    const LARGE_PAGE: u64 = PAGE;
    const READABLE: RangeInclusive<usize> = 1..=usize::MAX;

    fn absence() -> Option<String> {
        None
    }

    fn turn() -> Box<dyn Any> {
        Box::new(())
    }

    fn own_buffers(_options: &RuntimeOptions) -> Vec<PlannedBuffer> {
        Vec::new()
    }

    fn write(&self, tensor: &mut Buffer, values: &[f32]) {
        tensor.slice_mut()[..values.len()].copy_from_slice(values);
    }

    fn linear_scratch(tokens: usize, columns: usize) -> u64 {
        workspace_bytes(tokens, columns, 32).0
    }

    fn attention_scratch(shape: &AttentionShape) -> u64 {
        shape.workspace(THREADS).0
    }

    fn delta_scratch(_shape: &DeltaShape, _tokens: usize) -> u64 {
        4
    }
}
