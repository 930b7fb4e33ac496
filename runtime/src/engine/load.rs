//! From an engine directory and options to a loaded engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::{BufferClass, Bytes, MemoryPlan};

use super::steps::Steps;
use crate::backend::cpu::PoolError;
use crate::backend::cuda::CudaError;
use crate::backend::cuda::kernels::KernelError;
use crate::backend::{Backend, DeviceWitness, NoDevice};
use crate::config::ModelConfig;
use crate::engine_dir::EngineDir;
use crate::generate::tokenizer::{OpenError, Tokenizer};
use crate::memory::{Account, Allocator, FileRegion, Ledger, MemoryError};
use crate::model::layers::{DraftWeights, Weights};
use crate::plan::{self, OptionsError, RuntimeOptions, Streaming};
use crate::vocabulary::{VocabMap, VocabMapProblem};
use crate::weights::LoadError;

/// A model in memory, ready for sequences.
#[derive(Debug)]
pub struct Engine<B: Backend> {
    pub(super) config: ModelConfig,
    pub(super) options: RuntimeOptions,
    pub(super) device: B,
    pub(super) weights: Weights<B::Weight>,
    /// The MTP head, where it is used.
    pub(super) draft: Option<DraftWeights<B::Weight>>,
    pub(super) steps: Arc<Steps<B::Tensor>>,
    tokenizer: Option<Arc<Tokenizer>>,
    pub(super) vocab_map: Option<VocabMap>,
    pub(super) vocabulary_size: usize,
    plan: MemoryPlan,
    pub(super) ledger: Arc<Ledger>,
}

/// Why an engine could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum EngineLoadError {
    /// The options do not fit the model or each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] NoDevice),
    /// The worker threads could not be started.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A GPU could not do what it was asked.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// Its kernels are missing.
    #[error(transparent)]
    Kernels(#[from] KernelError),
    /// The weights could not be loaded.
    #[error(transparent)]
    Weights(#[from] LoadError),
    /// The tokenizer's table or the vocabulary's map could not be mapped.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// One of these could not be opened.
    #[error("open {path}: {cause}")]
    TableFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The tokenizer's table cannot be used.
    #[error("{path}: {cause}")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: OpenError,
    },
    /// The map of a trimmed vocabulary cannot be used.
    #[error("{path}: {cause}; build the engine again")]
    VocabMap {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: VocabMapProblem,
    },
    /// The map of a trimmed vocabulary is that of another engine.
    #[error("{path} maps {found} rows, and the table has {expected}; build the engine again")]
    VocabMapLength {
        /// The file.
        path: PathBuf,
        /// Rows of the map.
        found: usize,
        /// Rows of the table.
        expected: usize,
    },
    /// The engine lacks a weight that its configuration asks for.
    #[error("the engine has no weight `{name}`; build it again")]
    WeightMissing {
        /// Canonical name.
        name: String,
    },
}

/// The plan of `directory` under `options`: what a load will allocate, to the byte.
pub fn plan_of(directory: &EngineDir, options: &RuntimeOptions) -> MemoryPlan {
    let manifest = directory.manifest();
    plan::plan(&manifest.config, &manifest.segments, directory.text_tables(), options)
}

impl<B: Backend> Engine<B> {
    /// Loads `directory` under `options`, whose device is that of `B`. The weights become reachable; sequences take their memory when they open.
    pub fn load(directory: &EngineDir, options: &RuntimeOptions) -> Result<Engine<B>, EngineLoadError> {
        let config = directory.manifest().config.clone();
        options.check(&config)?;
        let wanted = options;
        let options = &wanted.for_engine(&directory.manifest().segments);
        if wanted.mtp && !options.mtp {
            tracing::warn!(
                "the engine has no MTP head: its checkpoint has no mtp.* tensors; decoding without drafts"
            );
        }
        let streaming = Streaming::choose(&directory.manifest().segments, options);
        if let Some(streaming) = &streaming {
            streaming.check(options.weight_streaming_budget)?;
        }
        let plan = plan_of(directory, options);
        let allocator = Allocator::new(&plan);
        let ledger = allocator.ledger();
        let (device, found) = B::load(directory, options, streaming.as_ref(), &plan, &allocator)?;
        let mut found: std::collections::HashMap<String, B::Weight> = found.into_iter().collect();
        let mut find = |name: &str| {
            found.remove(name).ok_or_else(|| EngineLoadError::WeightMissing { name: name.to_owned() })
        };
        let weights = Weights::gather(&config, &mut find)?;
        let draft = match options.mtp {
            true => {
                let rows = options.draft_vocab.rows(config.vocab_size);
                Some(DraftWeights::gather(B::first_rows(weights.head(), rows), &mut find)?)
            }
            false => None,
        };
        let tokenizer = match directory.tokenizer() {
            Some((path, bytes)) => Some(Arc::new(open_tokenizer(&path, bytes, &allocator)?)),
            None => None,
        };
        let vocab_map = match directory.vocab_map() {
            Some((path, bytes)) => Some(open_vocab_map(&path, bytes, directory, &allocator)?),
            None => None,
        };
        Ok(Engine {
            config,
            options: options.clone(),
            device,
            weights,
            draft,
            steps: Steps::new(ledger.clone()),
            tokenizer,
            vocab_map,
            vocabulary_size: directory.manifest().vocabulary_size(),
            plan,
            ledger,
        })
    }

    /// The model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The options that it was loaded with.
    pub fn options(&self) -> &RuntimeOptions {
        &self.options
    }

    /// Every buffer that this engine may hold.
    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// What it holds; readable from any thread while a sequence runs.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// Who can be asked for the memory of its device; `None` on the processor, whose memory is the process's own.
    pub fn device_witness(&self) -> Option<Arc<dyn DeviceWitness>> {
        self.device.witness()
    }

    /// The device that it runs on.
    pub fn device(&self) -> &B {
        &self.device
    }

    /// The tokenizer, where the engine has one.
    pub fn tokenizer(&self) -> Option<Arc<Tokenizer>> {
        self.tokenizer.clone()
    }
}

/// A mapped table with its entry in the ledger.
struct MappedTable {
    region: FileRegion,
    _account: Account,
}

impl AsRef<[u8]> for MappedTable {
    fn as_ref(&self) -> &[u8] {
        self.region.bytes()
    }
}

fn open_tokenizer(path: &Path, bytes: Bytes, allocator: &Allocator) -> Result<Tokenizer, EngineLoadError> {
    let table = map_table(path, bytes, plan::keys::TOKENIZER, allocator)?;
    Tokenizer::open(table).map_err(|cause| EngineLoadError::Tokenizer { path: path.to_owned(), cause })
}

fn open_vocab_map(
    path: &Path,
    bytes: Bytes,
    directory: &EngineDir,
    allocator: &Allocator,
) -> Result<VocabMap, EngineLoadError> {
    let refuse = |cause| EngineLoadError::VocabMap { path: path.to_owned(), cause };
    let map = VocabMap::open(map_table(path, bytes, plan::keys::VOCAB_MAP, allocator)?).map_err(refuse)?;
    let manifest = directory.manifest();
    let (found, expected, vocabulary) = (map.rows(), manifest.config.vocab_size, manifest.vocabulary_size());
    if found != expected {
        return Err(EngineLoadError::VocabMapLength { path: path.to_owned(), found, expected });
    }
    match map.id_of(expected as u32 - 1) {
        Some(id) if id as usize >= vocabulary => Err(refuse(VocabMapProblem::OutOfRange { id, vocabulary })),
        _ => Ok(map),
    }
}

/// Maps one of the files between text and rows, and enters it into the ledger.
fn map_table(
    path: &Path,
    bytes: Bytes,
    key: &str,
    allocator: &Allocator,
) -> Result<MappedTable, EngineLoadError> {
    let file = std::fs::File::open(path)
        .map_err(|cause| EngineLoadError::TableFile { path: path.to_owned(), cause })?;
    let region = FileRegion::map(&file, 0, bytes.0 as usize).map_err(|cause| MemoryError::Map {
        path: path.to_owned(),
        offset: 0,
        bytes,
        cause,
    })?;
    let account = allocator.enter(&format!("target/{}/{key}", BufferClass::Tokenizer))?;
    Ok(MappedTable { region, _account: account })
}
