//! Engines of the lock, made and held against it.

use std::path::{Path, PathBuf};

use runtime::checkpoint::GENERATOR_VERSION;
use runtime::engine_dir::{EngineDir, Manifest};

use super::drift::{Depth, Drift, drift_of_engine, drift_of_source, pins_of};
use super::engine::LockedEngine;
use super::error::LockError;
use super::file::{ENGINES_LOCK, EngineLock};
use super::source::LockedSource;
use crate::engines::{EngineError, Progress, build_engine, open_trimmed};
use crate::scenario::BuildOptions;

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The lock.
    pub lock: PathBuf,
    /// The folder of built engines: an engine of the lock has a folder of its own name there.
    pub engines: PathBuf,
    /// The folder of what was fetched.
    pub checkpoints: PathBuf,
}

impl Places {
    /// Where fetched checkpoints are when nothing else is said; ignored by git.
    pub const CHECKPOINTS: &str = "checkpoints";

    /// The usual places, with engines in `engines`.
    pub fn with_engines(engines: &Path) -> Places {
        Places {
            lock: PathBuf::from(ENGINES_LOCK),
            engines: engines.to_owned(),
            checkpoints: PathBuf::from(Places::CHECKPOINTS),
        }
    }

    /// The folder of the engine `name`.
    pub fn engine(&self, name: &str) -> PathBuf {
        self.engines.join(name)
    }
}

fn drift(engine: &LockedEngine, drifts: Vec<Drift>, hint: String) -> LockError {
    LockError::Drift { engine: engine.name.clone(), drifts, hint }
}

fn refuse(engine: &LockedEngine, drifts: Vec<Drift>, hint: impl FnOnce() -> String) -> Result<(), LockError> {
    match drifts.is_empty() {
        true => Ok(()),
        false => Err(drift(engine, drifts, hint())),
    }
}

/// What to do about a source that is not as it is locked.
fn source_hint(engine: &LockedEngine) -> String {
    let name = &engine.name;
    match engine.source {
        LockedSource::Hub(_) if engine.has_pinned_source() => {
            format!("`sweep fetch {name}` fetches what the lock says")
        }
        LockedSource::Hub(_) => format!("`sweep fetch {name} --pin` fetches what there is now and pins it"),
        LockedSource::Path(_) | LockedSource::Synthetic { .. } => {
            format!("restore it, or take it over with `sweep build {name}`, which writes {ENGINES_LOCK}")
        }
    }
}

/// Builds `engine` at `folder`, or where it belongs, and writes what went in and came out into the lock. What comes from the Hub
/// must be what the lock says: only fetching changes that. True where the lock has changed.
///
/// # Errors
/// When the source is not there, drifted, or cannot be built, or the lock cannot be written.
pub fn build_into_lock(
    engine: &LockedEngine,
    places: &Places,
    folder: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(Manifest, bool), LockError> {
    let mut built = LockedEngine { engine_format: None, ..engine.clone() };
    match &engine.source {
        LockedSource::Hub(_) => {
            let unpinned = !engine.has_pinned_source();
            refuse(
                engine,
                unpinned.then_some(Drift::Unpinned { what: "files" }).into_iter().collect(),
                || source_hint(engine),
            )?;
            refuse(engine, drift_of_source(&built, &places.checkpoints, Depth::Contents)?, || {
                source_hint(engine)
            })?;
        }
        LockedSource::Path(path) => {
            let source = engine.source.model_source(&places.checkpoints);
            built.files = Some(pins_of(&source, Path::new(path))?);
        }
        LockedSource::Synthetic { .. } => built.generator = Some(GENERATOR_VERSION),
    }
    let manifest = make(&built, places, folder, progress)?;
    built.engine_format = Some(manifest.format_version);
    built.sha256 = manifest.sha256.parse().ok();
    let changed = EngineLock::update(&places.lock, &built)?;
    Ok((manifest, changed))
}

/// Builds `engine` unless it is there as the lock says, byte for byte, and refuses what differs.
///
/// # Errors
/// When anything drifted, and when the engine cannot be built.
pub fn build_as_locked(
    engine: &LockedEngine,
    places: &Places,
    folder: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Manifest, LockError> {
    check_source(engine, places)?;
    if let Ok(there) = EngineDir::open(folder.unwrap_or(&places.engine(&engine.name)))
        && drift_of_engine(engine, there.manifest()).is_empty()
    {
        progress.begin(&format!("reading {} again", engine.name), Some(there.manifest().weights_bytes));
        let damage = there.damage(&mut |bytes| progress.advance(bytes));
        progress.end();
        if damage.map_err(EngineError::from)?.is_none() {
            return Ok(there.manifest().clone());
        }
    }
    make_and_check(engine, places, folder, progress)
}

/// The folder of `engine`, built now unless it is there. It is as the lock says: its source is held against the lock before it is
/// built, what came out of it always.
///
/// # Errors
/// As [`build_as_locked`].
pub fn ensure_locked(
    engine: &LockedEngine,
    places: &Places,
    progress: &dyn Progress,
) -> Result<PathBuf, LockError> {
    let folder = places.engine(&engine.name);
    match EngineDir::open(&folder) {
        Ok(there) if engine.unpinned().is_empty() => {
            refuse(engine, drift_of_engine(engine, there.manifest()), || {
                format!("`sweep build {} --locked` builds it as the lock says", engine.name)
            })?;
        }
        _ => {
            check_source(engine, places)?;
            make_and_check(engine, places, None, progress)?;
        }
    }
    Ok(folder)
}

fn check_source(engine: &LockedEngine, places: &Places) -> Result<(), LockError> {
    let unpinned = engine.unpinned().into_iter().map(|what| Drift::Unpinned { what }).collect();
    refuse(engine, unpinned, || match engine.source {
        LockedSource::Hub(_) if !engine.has_pinned_source() => source_hint(engine),
        _ => format!("`sweep build {}` builds it and pins what goes in and comes out", engine.name),
    })?;
    refuse(engine, drift_of_source(engine, &places.checkpoints, Depth::Contents)?, || source_hint(engine))
}

fn make_and_check(
    engine: &LockedEngine,
    places: &Places,
    folder: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Manifest, LockError> {
    let manifest = make(engine, places, folder, progress)?;
    refuse(engine, drift_of_engine(engine, &manifest), || {
        format!(
            "its source is as locked, so this program packs it differently: `sweep build {}` takes that over",
            engine.name
        )
    })?;
    Ok(manifest)
}

fn make(
    engine: &LockedEngine,
    places: &Places,
    folder: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Manifest, LockError> {
    let source = engine.source.model_source(&places.checkpoints);
    let checkpoint = open_trimmed(&source, &engine.build).map_err(|error| match engine.source {
        LockedSource::Hub(_) => EngineError { hint: Some(source_hint(engine)), ..error },
        _ => error,
    })?;
    let folder = folder.map_or_else(|| places.engine(&engine.name), Path::to_owned);
    Ok(build_engine(checkpoint.as_ref(), &engine.build, &folder, &engine.name, progress)?)
}

impl LockedEngine {
    /// Refuses build options other than its own.
    ///
    /// # Errors
    /// When `typed` has another value for one.
    pub fn check_options(&self, typed: &BuildOptions) -> Result<(), LockError> {
        let found = typed.to_map();
        let differs = |(name, locked): (String, String)| {
            let found = found.get(&name).filter(|found| **found != locked)?.clone();
            Some(Drift::Option { name, locked, found })
        };
        let drifts = self.build.to_map().into_iter().filter_map(differs).collect();
        refuse(self, drifts, || {
            format!(
                "leave the option out, or write it into the lock: `sweep build {}` without --locked",
                self.name
            )
        })
    }
}
