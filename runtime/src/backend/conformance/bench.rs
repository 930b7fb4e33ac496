//! A device with the weights and tensors of a case.

use ledger::{Backing, BufferClass, Bytes, ElementType, Lifetime, MemoryPlan, PlannedBuffer, Role, Tokens};

use super::engine;
use super::matrix::Matrix;
use super::report::Report;
use super::subject::{Subject, THREADS};
use crate::memory::Allocator;
use crate::model::operators::Tensor;
use crate::ops::linear::Precision;
use crate::plan::{KvCacheType, RuntimeOptions};

/// Bytes that a tensor may have.
const LARGEST: u64 = 512 << 20;

/// Stands behind every tensor, where nobody may write.
const GUARD: f32 = 1.234e30;
const GUARDS: usize = 256;

/// Elements of the scratch memory of a projection.
fn linear_scratch<S: Subject>(tokens: usize, columns: usize) -> usize {
    S::linear_scratch(tokens, columns).div_ceil(size_of::<f32>() as u64) as usize
}

/// A device with its weights.
pub(super) struct Bench<S: Subject> {
    pub(super) device: S,
    /// In the order in which they were given.
    pub(super) weights: Vec<S::Weight>,
    /// Weights may be mapped from it.
    _folder: tempfile::TempDir,
}

fn planned<S: Subject>(class: BufferClass, name: String, bytes: Bytes, page: u64) -> PlannedBuffer {
    PlannedBuffer {
        role: Role::Target,
        sequence: 0,
        class,
        layer: None,
        name,
        element: ElementType::U8,
        shape: vec![bytes.0],
        bytes,
        lifetime: Lifetime::Resident,
        backing: Backing::Anonymous,
        memory: S::MEMORY,
        page: Bytes(page),
        growth: None,
        formula: "test".to_owned(),
    }
}

impl<S: Subject> Bench<S> {
    /// A device with `matrices` as its weights.
    pub(super) fn new(matrices: &[Matrix]) -> Bench<S> {
        Bench::with_cache(matrices, KvCacheType::F16)
    }

    /// The same, whose keys and values are stored as `kv_cache_type`.
    pub(super) fn with_cache(matrices: &[Matrix], kv_cache_type: KvCacheType) -> Bench<S> {
        let folder = tempfile::tempdir().unwrap();
        // A loader that is asked for nothing at all is no case of this suite.
        let nothing = [Matrix::numbers(&[0.0; 32])];
        let directory = engine::write(folder.path(), if matrices.is_empty() { &nothing } else { matrices });
        let mut options = RuntimeOptions::new(Tokens(4096), THREADS);
        options.device = S::DEVICE;
        options.precision = Precision::Exact;
        options.kv_cache_type = kv_cache_type;
        let tensors = directory.manifest().segments.iter().flat_map(|segment| &segment.tensors);
        let mut buffers: Vec<PlannedBuffer> = tensors
            .map(|tensor| planned::<S>(tensor.class, tensor.name.clone(), tensor.bytes, ledger::plan::PAGE))
            .collect();
        let any = planned::<S>(BufferClass::PrefillWorkspace, "any".into(), Bytes(LARGEST), S::LARGE_PAGE);
        buffers.push(any);
        buffers.extend(S::own_buffers(&options));
        let plan = MemoryPlan { buffers };
        let (device, mut found) = S::load(&directory, &options, None, &plan, &Allocator::new(&plan))
            .unwrap_or_else(|error| panic!("the device of this case: {error}"));
        let weights = (0..matrices.len()).map(|index| {
            let place = found.iter().position(|(name, _)| *name == engine::name(index)).unwrap();
            found.swap_remove(place).1
        });
        let weights = weights.collect();
        Bench { device, weights, _folder: folder }
    }

    /// A tensor of `values`, with guards behind them.
    pub(super) fn holding(&self, values: &[f32]) -> S::Tensor {
        let guarded = [values, &[GUARD; GUARDS]].concat();
        let mut tensor = self.device.reserve("target/prefill_workspace/any").unwrap();
        tensor.commit(size_of_val(&guarded[..]) as u64).unwrap();
        self.device.write(&mut tensor, &guarded);
        tensor
    }

    /// A tensor of `bytes` that are zero, with guards behind them.
    pub(super) fn zeros(&self, bytes: u64) -> S::Tensor {
        self.holding(&vec![0.0; bytes as usize / size_of::<f32>()])
    }

    /// A tensor of `elements` that nobody has written yet: NaN, with guards behind them.
    pub(super) fn unwritten(&self, elements: usize) -> S::Tensor {
        self.holding(&vec![f32::NAN; elements])
    }

    /// What a projection needs, with guards behind it.
    pub(super) fn linear_scratch(&self, tokens: usize, columns: usize) -> S::Tensor {
        self.unwritten(linear_scratch::<S>(tokens, columns))
    }

    /// Looks behind what [`Bench::linear_scratch`] gave.
    pub(super) fn check_scratch(
        &self,
        report: &mut Report,
        scratch: &S::Tensor,
        tokens: usize,
        columns: usize,
    ) {
        self.look_behind(report, scratch, linear_scratch::<S>(tokens, columns));
    }

    /// The `elements` of a tensor, after a look at the guards behind them and at the device.
    pub(super) fn take(&self, report: &mut Report, tensor: &S::Tensor, elements: usize) -> Vec<f32> {
        let values = self.device.read(tensor, 0..elements).into_owned();
        self.look_behind(report, tensor, elements);
        values
    }

    /// Looks at the guards behind the `elements` of a tensor, and at the device.
    pub(super) fn look_behind(&self, report: &mut Report, tensor: &S::Tensor, elements: usize) {
        let guards = self.device.read(tensor, elements..elements + GUARDS).into_owned();
        if let Err(error) = self.device.check() {
            report.fail(error);
        } else if let Some(place) = guards.iter().position(|value| *value != GUARD) {
            report.fail(format!("{place} values behind the last one, {} was written", guards[place]));
        }
    }
}
