//! Engines of the built-in runtime: built from a seed or a checkpoint into the cache, once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ledger::Bytes;
use runtime::backend::cpu::Pool;
use runtime::checkpoint::{
    CheckpointSource, DirectoryCheckpoint, GENERATOR_VERSION, SyntheticCheckpoint, SyntheticOptions,
};
use runtime::config::{ModelConfig, PUBLISHED};
use runtime::engine_dir::{self, BuildProgress, EngineDir};
use runtime::plan::TextTables;
use runtime::vocabulary;
use sha2::{Digest, Sha256};

use super::{Engine, EngineError, EngineErrorKind, EngineProvider, EngineShape, Forecast, Progress};
use crate::lock::{EngineLock, LockedEngine, Places, ensure_locked};
use crate::scenario::{self, BuildOptions, Cell, ModelForm, ModelSource, Vocab};

/// Where engines are kept when nothing else is said; ignored by git.
pub const CACHE: &str = "engines";

/// Engines in a folder.
#[derive(Debug, Clone)]
pub struct BuiltinEngines {
    places: Places,
}

impl BuiltinEngines {
    /// Engines under `cache`.
    pub fn new(cache: impl Into<PathBuf>) -> BuiltinEngines {
        BuiltinEngines { places: Places::with_engines(&cache.into()) }
    }

    /// The engine directory of a source under build options, whether or not it is there.
    pub fn directory(&self, source: &ModelSource, build: &BuildOptions) -> PathBuf {
        match source {
            ModelSource::Engine(path) => PathBuf::from(path),
            ModelSource::Locked(name) => self.places.engine(name),
            ModelSource::Synthetic { architecture, seed } => {
                let name = format!("{}-synthetic-{seed}", architecture.to_lowercase());
                let identity = format!("{}\ngenerator {GENERATOR_VERSION}", source.describe());
                self.places.engines.join(format!("{name}-{}", fingerprint(&identity, build)))
            }
            ModelSource::Checkpoint(path) => {
                let place = std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
                let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let identity = format!("{}\n{}", place.display(), source.contents());
                self.places.engines.join(format!("{name}-{}", fingerprint(&identity, build)))
            }
        }
    }

    /// What an engine of `source` under `build` holds, whether or not it is there. `always` is what every engine of the source
    /// keeps of its vocabulary, once it is known: finding it out reads the tokenizer.
    ///
    /// # Errors
    /// When there is no such engine, architecture or checkpoint, or it cannot be packed so.
    pub fn shape(
        &self,
        source: &ModelSource,
        build: &BuildOptions,
        always: &mut Option<BTreeSet<u32>>,
    ) -> Result<EngineShape, EngineError> {
        match EngineDir::open(&self.directory(source, build)) {
            Ok(engine) => Ok(EngineShape {
                config: engine.manifest().config.clone(),
                segments: engine.manifest().segments.clone(),
                tables: engine.text_tables(),
                built: true,
            }),
            Err(error) if matches!(source, ModelSource::Engine(_)) => Err(error.into()),
            Err(_) => {
                let locked;
                let (mut source, build) = match source {
                    ModelSource::Locked(name) => {
                        locked = self.locked(name)?;
                        (open_source(&locked.source.model_source(&self.places.checkpoints))?, &locked.build)
                    }
                    source => (open_source(source)?, build),
                };
                if build.vocab != Vocab::Full {
                    let kept = match always {
                        Some(kept) => kept,
                        None => always.insert(vocabulary::indispensable(source.as_ref())?),
                    };
                    source = vocabulary::trim_keeping(source, &build.vocab, kept)?;
                }
                let vocab_map = source.kept_rows().map(|kept| vocabulary::file_bytes(kept.ids.len()));
                Ok(EngineShape {
                    segments: engine_dir::layout(source.as_ref(), &build_options(build))?,
                    config: source.config().clone(),
                    tables: TextTables { vocab_map, ..TextTables::default() },
                    built: false,
                })
            }
        }
    }
}

impl BuiltinEngines {
    fn locked(&self, name: &str) -> Result<LockedEngine, EngineError> {
        Ok(EngineLock::load(&self.places.lock)?.engine(name)?.clone())
    }
}

impl EngineProvider for BuiltinEngines {
    fn ensure(
        &self,
        source: &ModelSource,
        build: &BuildOptions,
        progress: &dyn Progress,
    ) -> Result<Engine, EngineError> {
        if let ModelSource::Locked(name) = source {
            let folder = ensure_locked(&self.locked(name)?, &self.places, progress)?;
            return opened(&EngineDir::open(&folder)?);
        }
        let directory = self.directory(source, build);
        if let ModelSource::Engine(_) = source {
            return opened(&EngineDir::open(&directory)?);
        }
        if let Ok(engine) = EngineDir::open(&directory) {
            return opened(&engine);
        }
        let checkpoint = open_trimmed(source, build)?;
        build_engine(checkpoint.as_ref(), build, &directory, &source.describe(), progress)?;
        opened(&EngineDir::open(&directory)?)
    }

    fn forecast(&self, cell: &Cell) -> Result<Forecast, EngineError> {
        match &cell.form {
            ModelForm::Builtin(source) => {
                self.shape(source, &cell.build, &mut None)?.forecast(&cell.settings)
            }
            other => Err(EngineError {
                what: format!("the built-in runtime does not read {}", other.describe()),
                hint: None,
                kind: EngineErrorKind::Usage,
            }),
        }
    }
}

/// Opens the checkpoint that a source names.
///
/// # Errors
/// When there is no such architecture or checkpoint, or it cannot be used.
pub fn open_source(source: &ModelSource) -> Result<Box<dyn CheckpointSource>, EngineError> {
    match source {
        ModelSource::Synthetic { architecture, seed } => {
            let config = ModelConfig::published(architecture).ok_or_else(|| EngineError {
                what: format!("there is no architecture `{architecture}`"),
                hint: Some(format!("the architectures are {}", PUBLISHED.join(", "))),
                kind: EngineErrorKind::Environment,
            })?;
            // The draft's weights are on the disk only, until a cell asks for them.
            let options = SyntheticOptions { seed: *seed, mtp: true, ..SyntheticOptions::default() };
            let checkpoint = SyntheticCheckpoint::new(architecture, config, options)
                .map_err(|error| EngineError::from_cause(&error))?;
            Ok(Box::new(checkpoint))
        }
        ModelSource::Checkpoint(path) => {
            let checkpoint = DirectoryCheckpoint::open(Path::new(path))
                .map_err(|error| EngineError::from_cause(&error))?;
            Ok(Box::new(checkpoint))
        }
        ModelSource::Engine(path) | ModelSource::Locked(path) => Err(EngineError {
            what: format!("{path} is an engine, not a checkpoint"),
            hint: Some("an engine is built already; leave its build options out".to_owned()),
            kind: EngineErrorKind::Environment,
        }),
    }
}

/// Opens the checkpoint that a source names, with the vocabulary that a build asks for.
///
/// # Errors
/// As [`open_source`], and when a file of ids or the checkpoint's tokenizer cannot be used.
pub fn open_trimmed(
    source: &ModelSource,
    build: &BuildOptions,
) -> Result<Box<dyn CheckpointSource>, EngineError> {
    Ok(vocabulary::trim(open_source(source)?, &build.vocab)?)
}

/// Builds an engine, and says how far it is.
///
/// # Errors
/// When the checkpoint cannot be read or packed, or the disk has no room.
pub fn build_engine(
    source: &dyn CheckpointSource,
    build: &BuildOptions,
    directory: &Path,
    what: &str,
    progress: &dyn Progress,
) -> Result<engine_dir::Manifest, EngineError> {
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent).map_err(|error| EngineError {
            what: format!("create {}: {error}", parent.display()),
            hint: None,
            kind: EngineErrorKind::Environment,
        })?;
    }
    let mut shown = None;
    let mut on_progress = |at: BuildProgress| {
        if shown.is_none() {
            progress.begin(&format!("building {what}"), Some(at.total));
        }
        let before = shown.replace(at.done).unwrap_or(Bytes::ZERO);
        progress.advance(at.done - before);
        if progress.is_interrupted() { engine_dir::BuildFlow::Stop } else { engine_dir::BuildFlow::Continue }
    };
    let threads = Pool::default_threads();
    let built = engine_dir::build(source, &build_options(build), directory, threads, &mut on_progress);
    progress.end();
    Ok(built?)
}

/// The runtime's form of build options.
pub fn build_options(build: &BuildOptions) -> engine_dir::BuildOptions {
    engine_dir::BuildOptions {
        lm_head: match build.lm_head {
            scenario::LmHead::Int8 => engine_dir::LmHead::Int8,
            scenario::LmHead::Int4 => engine_dir::LmHead::Int4,
            scenario::LmHead::F16 => engine_dir::LmHead::F16,
        },
        linears: match build.linears {
            scenario::Linears::Keep => engine_dir::Linears::Keep,
            scenario::Linears::Int4 => engine_dir::Linears::Int4,
            scenario::Linears::Int8 => engine_dir::Linears::Int8,
        },
    }
}

fn opened(engine: &EngineDir) -> Result<Engine, EngineError> {
    let vocab_size = u32::try_from(engine.manifest().vocabulary_size()).unwrap_or(u32::MAX);
    let kept = match engine.vocab_map() {
        Some((path, _)) => Some(vocabulary::read_ids(&path, vocab_size as usize)?),
        None => None,
    };
    Ok(Engine { folder: engine.path().to_owned(), vocab_size, kept })
}

fn fingerprint(identity: &str, build: &BuildOptions) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("{identity}\n{:?}\n{}", build.to_map(), engine_dir::FORMAT_VERSION));
    hasher.update(build.contents());
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
