//! A GPU as a device that engines are loaded on: weights are read past the page cache, through pinned slots, into its memory.

use std::sync::Arc;

use cudarc::driver::sys::{self, CUevent};
use ledger::{BufferClass, MemoryPlan};

use super::context::Context;
use super::device::CudaDevice;
use super::error::{CudaError, check};
use super::kernel_set::KernelSet;
use super::kernels;
use super::memory::{DeviceAllocator, Space};
use super::parameters::{Parameters, Pinned};
use super::probe::probe;
use super::queue::Queue;
use super::scratch;
use super::weight::{CudaWeight, WeightMemory};
use super::witness::{Before, CudaWitness};
use crate::backend::{Backend, DeviceError, DeviceWitness, NamedWeights, NoDevice};
use crate::config::ModelConfig;
use crate::engine::EngineLoadError;
use crate::engine_dir::EngineDir;
use crate::memory::{Allocator, DEVICE_PAGE, MemoryError};
use crate::ops::gated_delta_rule;
use crate::plan::{Device, RuntimeOptions, Streaming, is_loaded, keys};
use crate::weights::stream::DirectFile;
use crate::weights::{LoadError, enter};

/// Memory is taken in parts of so much: a board may have no single run of two gigabytes, and many of these.
const PART: u64 = 64 << 20;

impl Backend for CudaDevice {
    fn load(
        directory: &EngineDir,
        options: &RuntimeOptions,
        streaming: Option<&Streaming>,
        plan: &MemoryPlan,
        allocator: &Allocator,
    ) -> Result<(CudaDevice, NamedWeights<CudaDevice>), EngineLoadError> {
        let ordinal = match options.device {
            Device::Cuda { ordinal } => ordinal,
            Device::Cpu => 0,
        };
        probe(ordinal).map_err(|reason| NoDevice { ordinal, reason })?;
        supported(&directory.manifest().config, options, streaming)?;
        let before = Before::now();
        let context = Context::new(ordinal)?;
        let images = kernels::images(context.architecture)?;
        let kernels = KernelSet::load(&context, &images)?;
        drop(images);
        let witness = Arc::new(CudaWitness::new(&before, &context, allocator.ledger())?);
        drop(before);
        let queue = Queue::new(context.clone(), kernels);
        let device_allocator = DeviceAllocator::new(&queue, plan, allocator)?;
        let key = |class, name| format!("target/{class}/{name}");
        let mut staging = Pinned::new(allocator.allocate(&key(BufferClass::StreamRing, keys::STAGING))?)?;
        let weights = load_weights(directory, options, plan, allocator, &context, &mut staging)?;

        let (room, _) = scratch::parameters(options);
        let numbers = device_allocator.allocate(&key(BufferClass::DecodeWorkspace, keys::PARAMETERS))?;
        let largest = numbers.start() + (room * size_of::<u32>()) as u64;
        queue.use_parameters(Parameters::new(staging, numbers, room));
        let device = CudaDevice {
            queue,
            witness,
            allocator: device_allocator,
            kv_cache_type: options.kv_cache_type,
            largest,
            largest_rows: options.decode_tokens().max(1),
        };
        Ok((device, weights))
    }

    fn first_rows(weight: &CudaWeight, rows: usize) -> CudaWeight {
        weight.first_rows(rows)
    }

    fn witness(&self) -> Option<Arc<dyn DeviceWitness>> {
        Some(self.witness.clone())
    }

    fn check(&self) -> Result<(), DeviceError> {
        self.queue.failure().map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Refuses, by name, what the kernels are not written for.
fn supported(
    config: &ModelConfig,
    options: &RuntimeOptions,
    streaming: Option<&Streaming>,
) -> Result<(), CudaError> {
    let refuse = |what: String| Err(CudaError::Unsupported { what });
    let dim = config.attention.head_dim;
    if ![64, 128, 256].contains(&dim) {
        return refuse(format!("attention with heads of {dim} (64, 128 and 256 can)"));
    }
    if let Some(linear) = &config.linear_attention {
        if linear.key_dim > gated_delta_rule::MOST_VERIFIED_KEYS.min(128) {
            return refuse(format!("a gated delta rule with keys of {} (up to 128 can)", linear.key_dim));
        }
        if linear.conv_kernel > 8 {
            return refuse(format!("a convolution of {} taps (up to 8 can)", linear.conv_kernel));
        }
    }
    if streaming.is_some_and(|streaming| streaming.ring().is_some()) {
        return refuse(format!("weightStreamingBudget {}", options.weight_streaming_budget));
    }
    Ok(())
}

/// Reads every segment that the plan lists.
fn load_weights(
    directory: &EngineDir,
    options: &RuntimeOptions,
    plan: &MemoryPlan,
    allocator: &Allocator,
    context: &Arc<Context>,
    staging: &mut Pinned,
) -> Result<NamedWeights<CudaDevice>, EngineLoadError> {
    let path = directory.weights_path();
    let failed = |segment: &str| {
        let (path, segment) = (path.clone(), segment.to_owned());
        move |cause| LoadError::Read { path, segment, cause }
    };
    let file = DirectFile::open(&path).map_err(failed("all"))?;
    let segments = &directory.manifest().segments;
    let loaded = || segments.iter().filter(|segment| is_loaded(segment, options));
    let total: u64 = loaded().map(|segment| segment.bytes.0).sum();
    let no_memory = |cause: CudaError| MemoryError::OutOfMemory {
        action: "take",
        bytes: ledger::Bytes(total),
        key: "weights".to_owned(),
        cause: Box::new(cause),
    };
    let mut space = Space::reserve(context, total).map_err(no_memory)?;
    let mut mapped = 0;
    while mapped < total {
        mapped += PART;
        space.map(mapped.min(total)).map_err(no_memory)?;
    }
    let (mut accounts, mut at) = (Vec::new(), space.start());
    let mut slots = Slots::new(context, staging)?;
    for record in loaded() {
        accounts.extend(enter(record, plan, allocator).map_err(LoadError::from)?);
        let mut done = 0;
        while done < record.bytes.0 {
            let bytes = (record.bytes.0 - done).min(DEVICE_PAGE);
            let read = |into: &mut [u8]| file.read(record.offset + done, into);
            slots.copy(bytes as usize, at + done, read).map_err(|error| match error {
                CopyError::Read(cause) => failed(&record.name)(cause).into(),
                CopyError::Device(cause) => EngineLoadError::from(cause),
            })?;
            done += bytes;
        }
        at += record.bytes.0;
    }
    context.wait()?;
    drop(slots);
    let memory = Arc::new(WeightMemory { space, _accounts: accounts });
    let mut start = memory.space.start();
    let mut weights = Vec::new();
    for record in loaded() {
        for tensor in &record.tensors {
            weights.push((tensor.name.clone(), CudaWeight::new(&memory, start, tensor)));
        }
        start += record.bytes.0;
    }
    Ok(weights)
}

/// Pinned slots that are filled and copied in turn: reading goes on while the device takes what was read.
struct Slots<'a> {
    context: &'a Context,
    staging: &'a mut Pinned,
    /// When the last copy out of each slot has ended.
    copied: Vec<CUevent>,
    next: usize,
}

enum CopyError {
    Read(std::io::Error),
    Device(CudaError),
}

impl<'a> Slots<'a> {
    fn new(context: &'a Context, staging: &'a mut Pinned) -> Result<Slots<'a>, CudaError> {
        let mut slots = Slots { context, copied: Vec::new(), next: 0, staging };
        for _ in 0..slots.staging.bytes() as u64 / DEVICE_PAGE {
            let mut event = std::ptr::null_mut();
            // SAFETY: a place to write to; 2 is an event without a clock.
            check("make an event", unsafe { sys::cuEventCreate(&raw mut event, 2) })?;
            slots.copied.push(event);
        }
        Ok(slots)
    }

    /// Fills the next slot with `bytes` bytes and has them copied to `to`.
    fn copy(
        &mut self,
        bytes: usize,
        to: super::memory::Address,
        read: impl FnOnce(&mut [u8]) -> std::io::Result<()>,
    ) -> Result<(), CopyError> {
        let slot = self.next;
        self.next = (slot + 1) % self.copied.len();
        let event = self.copied[slot];
        // SAFETY: an event of this context; one that was never recorded has ended.
        check("wait for a copy", unsafe { sys::cuEventSynchronize(event) }).map_err(CopyError::Device)?;
        let start = slot * DEVICE_PAGE as usize;
        let slot = &mut self.staging.bytes_mut()[start..start + bytes];
        read(slot).map_err(CopyError::Read)?;
        let stream = self.context.stream();
        // SAFETY: `bytes` bytes are pinned at the source and mapped at the destination; the slot is written again after the event.
        let copied = unsafe {
            check("copy to the GPU", sys::cuMemcpyHtoDAsync_v2(to, slot.as_ptr().cast(), bytes, stream))
                .and_then(|()| check("mark a copy", sys::cuEventRecord(event, stream)))
        };
        copied.map_err(CopyError::Device)
    }
}

impl Drop for Slots<'_> {
    fn drop(&mut self) {
        let _ = self.context.wait();
        for event in self.copied.drain(..) {
            // SAFETY: made by `new`.
            unsafe { sys::cuEventDestroy_v2(event) };
        }
    }
}
