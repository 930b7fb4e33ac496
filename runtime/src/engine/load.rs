//! From an engine directory and options to a loaded engine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ledger::{BufferClass, Bytes, MemoryPlan};

use crate::backend::cpu::{Cpu, CpuDevice, PoolError};
use crate::config::ModelConfig;
use crate::engine_dir::EngineDir;
use crate::generate::tokenizer::{OpenError, Tokenizer};
use crate::memory::{Allocation, Allocator, FileRegion, Ledger, MemoryError};
use crate::model::layers::Weights;
use crate::plan::{self, OptionsError, RuntimeOptions, Streaming};
use crate::weights::{self, LoadError, Weight};

/// A model in memory, ready for sequences.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: ModelConfig,
    pub(super) options: RuntimeOptions,
    pub(super) device: CpuDevice,
    pub(super) weights: Weights<Weight>,
    tokenizer: Option<Arc<Tokenizer>>,
    plan: MemoryPlan,
    pub(super) ledger: Arc<Ledger>,
}

/// Why an engine could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum EngineLoadError {
    /// The options do not fit the model or each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The worker threads could not be started.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The weights could not be loaded.
    #[error(transparent)]
    Weights(#[from] LoadError),
    /// The tokenizer's table could not be mapped.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The tokenizer's table could not be opened.
    #[error("open {path}: {cause}")]
    TokenizerFile {
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
    /// The engine lacks a weight that its configuration asks for.
    #[error("the engine has no weight `{name}`; build it again")]
    WeightMissing {
        /// Canonical name.
        name: String,
    },
}

impl Engine {
    /// The plan of `directory` under `options`: what a load will allocate, to the byte.
    pub fn plan_of(directory: &EngineDir, options: &RuntimeOptions) -> MemoryPlan {
        let manifest = directory.manifest();
        let tokenizer = directory.tokenizer().map(|(_, bytes)| bytes);
        plan::plan(&manifest.config, &manifest.segments, tokenizer, options)
    }

    /// Loads `directory` under `options`. The weights become reachable; sequences take their memory when they open.
    pub fn load(directory: &EngineDir, options: &RuntimeOptions) -> Result<Engine, EngineLoadError> {
        let config = directory.manifest().config.clone();
        options.check(&config)?;
        let streaming = Streaming::choose(&directory.manifest().segments, options);
        if let Some(streaming) = &streaming {
            streaming.check(options.weight_streaming_budget)?;
        }
        let plan = Self::plan_of(directory, options);
        let allocator = Allocator::new(&plan);
        let ledger = allocator.ledger();
        let (found, stream) = match &streaming {
            Some(streaming) => {
                let readers = options.ring.readers;
                let placed = weights::load_placed(directory, streaming, readers, &plan, &allocator)?;
                (placed.weights, placed.stream)
            }
            None => (weights::load(directory, options.weights, &plan, &allocator)?, None),
        };
        let mut found: std::collections::HashMap<String, Weight> = found.into_iter().collect();
        let weights = Weights::gather(&config, |name| {
            found.remove(name).ok_or_else(|| EngineLoadError::WeightMissing { name: name.to_owned() })
        })?;
        let cpu = Cpu::new(options.threads)?;
        let device = CpuDevice {
            cpu,
            allocator,
            precision: options.precision,
            kv_cache_type: options.kv_cache_type,
            stream,
            failed: Mutex::default(),
        };
        let tokenizer = match directory.tokenizer() {
            Some((path, bytes)) => Some(Arc::new(open_tokenizer(&path, bytes, &device.allocator)?)),
            None => None,
        };
        Ok(Engine { config, options: options.clone(), device, weights, tokenizer, plan, ledger })
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

    /// The device that it runs on.
    pub fn device(&self) -> &CpuDevice {
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
    _account: Allocation,
}

impl AsRef<[u8]> for MappedTable {
    fn as_ref(&self) -> &[u8] {
        self.region.bytes()
    }
}

fn open_tokenizer(path: &Path, bytes: Bytes, allocator: &Allocator) -> Result<Tokenizer, EngineLoadError> {
    let file = std::fs::File::open(path)
        .map_err(|cause| EngineLoadError::TokenizerFile { path: path.to_owned(), cause })?;
    let region = FileRegion::map(&file, 0, bytes.0 as usize).map_err(|cause| MemoryError::Map {
        path: path.to_owned(),
        offset: 0,
        bytes,
        cause,
    })?;
    let account = allocator.enter(&format!("target/{}/{}", BufferClass::Tokenizer, plan::keys::TOKENIZER))?;
    Tokenizer::open(MappedTable { region, _account: account })
        .map_err(|cause| EngineLoadError::Tokenizer { path: path.to_owned(), cause })
}
