//! A GPU as a device that engines are loaded on.

use std::sync::Arc;

use ledger::{BufferClass, MemoryPlan};

use super::context::Context;
use super::device::CudaDevice;
use super::error::CudaError;
use super::fill::{Loaded, load_weights};
use super::kernel_set::KernelSet;
use super::kernels;
use super::memory::DeviceAllocator;
use super::parameters::{Parameters, Pinned, Registration};
use super::probe::probe;
use super::queue::Queue;
use super::ring::Ring as DeviceRing;
use super::scratch;
use super::step_store::StepStore;
use super::streaming::Streamed;
use super::weight::CudaWeight;
use super::witness::{Before, CudaWitness};
use crate::backend::{Backend, DeviceError, DeviceWitness, NamedWeights, NoDevice};
use crate::config::ModelConfig;
use crate::engine::EngineLoadError;
use crate::engine_dir::EngineDir;
use crate::memory::{Allocator, Slot};
use crate::ops::gated_delta_rule;
use crate::plan::{Device, Pieces, Ring, RuntimeOptions, Streaming, keys};
use crate::weights::LoadError;
use crate::weights::stream::{DirectFile, Stream};

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
        supported(&directory.manifest().config)?;
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
        let Loaded { weights, stripes } =
            load_weights(directory, options, streaming, plan, allocator, &context, &mut staging)?;
        let streamed = match streaming.and_then(Streaming::ring) {
            Some(ring) => {
                let device_slots = device_allocator.allocate(&key(BufferClass::StreamRing, keys::SLOTS))?;
                let own = DeviceRing::new(&context, device_slots, ring.on_device, ring.slot.0)?;
                Some(stream(directory, options, stripes, ring, own, allocator)?)
            }
            None => None,
        };

        let (room, _) = scratch::parameters(options);
        let numbers = device_allocator.allocate(&key(BufferClass::DecodeWorkspace, keys::PARAMETERS))?;
        let largest = numbers.start() + (room * size_of::<u32>()) as u64;
        let steps = device_allocator.allocate(&key(BufferClass::DecodeWorkspace, keys::STEPS))?;
        queue.use_memory(Parameters::new(staging, numbers, room), StepStore::new(steps));
        let device = CudaDevice {
            queue,
            witness,
            allocator: device_allocator,
            kv_cache_type: options.kv_cache_type,
            largest,
            largest_rows: options.decode_tokens().max(1),
            streamed,
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
        let failed = self.queue.failure().map(DeviceError::from);
        let not_brought = self.streamed.as_ref().and_then(Streamed::failure);
        not_brought.or(failed).map_or(Ok(()), Err)
    }
}

/// Refuses, by name, what the kernels are not written for.
fn supported(config: &ModelConfig) -> Result<(), CudaError> {
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
    Ok(())
}

/// Starts the readers of what is streamed, who fill pinned slots of this process.
fn stream(
    directory: &EngineDir,
    options: &RuntimeOptions,
    stripes: Vec<Pieces>,
    ring: &Ring,
    device_ring: DeviceRing,
    allocator: &Allocator,
) -> Result<Streamed, EngineLoadError> {
    let path = directory.weights_path();
    let file = DirectFile::open(&path).map_err(|cause| LoadError::Read {
        path: path.clone(),
        segment: "all".to_owned(),
        cause,
    })?;
    let buffer = |name| allocator.allocate(&format!("target/{}/{name}", BufferClass::StreamRing));
    let mut slots = buffer(keys::HOST_SLOTS)?;
    let pinned = Registration::new(&mut slots)?;
    let look_ups = match ring.look_ups {
        0 => Vec::new(),
        // Their rows are made into numbers here, so that the GPU never reads them.
        _ => Slot::divide(buffer(keys::LOOK_UPS)?, ring.look_up.0 as usize),
    };
    let slots = Slot::divide(slots, ring.slot.0 as usize);
    let stream = Stream::start(path, file, stripes, slots, look_ups, options.ring.readers)
        .map_err(|cause| LoadError::Reader { cause })?;
    Ok(Streamed::new(pinned, stream, device_ring))
}
