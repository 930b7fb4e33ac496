//! What differs between the lock and what is there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ledger::Bytes;
use runtime::checkpoint::GENERATOR_VERSION;
use runtime::engine_dir::{FORMAT_VERSION, Manifest, SourceRecord, hash_file, source_files};
use runtime::vocabulary::Vocab;

use super::engine::LockedEngine;
use super::pin::{FileName, FilePin};
use super::source::LockedSource;
use crate::engines::{EngineError, EngineErrorKind, build_options, open_source};
use crate::scenario::ModelSource;

/// One difference. `locked` is what the lock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// The lock does not say yet.
    Unpinned {
        /// The lock's word for it.
        what: &'static str,
    },
    /// A file of the source is not there.
    FileMissing {
        /// The file.
        file: String,
    },
    /// A file of the source has another length.
    FileLength {
        /// The file.
        file: String,
        /// Its length by the lock.
        locked: Bytes,
        /// Its length.
        found: Bytes,
    },
    /// A file of the source has the right length and other bytes.
    FileContents {
        /// The file.
        file: String,
        /// The beginning of its hash by the lock.
        locked: String,
        /// The beginning of its hash.
        found: String,
    },
    /// A file goes into the engine that the lock does not know.
    FileAdded {
        /// The file.
        file: String,
    },
    /// The engine was built from another version of a file, or from another source.
    BuiltFrom {
        /// What.
        what: String,
    },
    /// A build option has another value.
    Option {
        /// Its name.
        name: String,
        /// By the lock.
        locked: String,
        /// Here.
        found: String,
    },
    /// Synthetic weights come from another version of their generator.
    Generator {
        /// By the lock.
        locked: u32,
        /// Here.
        found: u32,
    },
    /// The engine directory has another format.
    FormatVersion {
        /// By the lock.
        locked: u32,
        /// Here.
        found: u32,
    },
    /// Something else comes out.
    Output {
        /// The beginning of the engine's hash by the lock.
        locked: String,
        /// The beginning of the engine's hash.
        found: String,
    },
    /// The engine's files are not what its own manifest says.
    Damaged {
        /// What of it.
        segment: String,
    },
    /// The engine cannot be opened.
    Unusable {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Drift::Unpinned { what } => write!(f, "its `{what}` is unpinned"),
            Drift::FileMissing { file } => write!(f, "its source has no {file}"),
            Drift::FileLength { file, locked, found } => {
                write!(f, "{file} of its source has {} B, the lock says {} B", found.0, locked.0)
            }
            Drift::FileContents { file, locked, found } => {
                write!(f, "{file} of its source has sha256 {found}…, the lock says {locked}…")
            }
            Drift::FileAdded { file } => write!(f, "{file} of its source is not in the lock"),
            Drift::BuiltFrom { what } => write!(f, "the engine was built from another {what}"),
            Drift::Option { name, locked, found } => write!(f, "{name} is {found}, the lock says {locked}"),
            Drift::Generator { locked, found } => {
                write!(f, "the generator of synthetic weights is version {found}, the lock says {locked}")
            }
            Drift::FormatVersion { locked, found } => {
                write!(f, "the engine's format is version {found}, the lock says {locked}")
            }
            Drift::Output { locked, found } => {
                write!(f, "the engine has sha256 {found}…, the lock says {locked}…")
            }
            Drift::Damaged { segment } => write!(f, "`{segment}` of the engine is damaged"),
            Drift::Unusable { why } => write!(f, "the engine cannot be used: {why}"),
        }
    }
}

/// How closely files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// By their lengths: at once, whatever their size.
    Lengths,
    /// By every byte.
    Contents,
}

fn unreadable(error: &dyn std::error::Error) -> EngineError {
    EngineError { what: error.to_string(), hint: None, kind: EngineErrorKind::Environment }
}

/// What differs between the lock and the source of `engine`, and between the lock and what this program would build of it.
///
/// # Errors
/// When a file is there and cannot be read.
pub fn drift_of_source(
    engine: &LockedEngine,
    checkpoints: &Path,
    depth: Depth,
) -> Result<Vec<Drift>, EngineError> {
    let mut drifts = Vec::new();
    if let Some(locked) = engine.engine_format.filter(|locked| *locked != FORMAT_VERSION) {
        drifts.push(Drift::FormatVersion { locked, found: FORMAT_VERSION });
    }
    let Some(folder) = engine.source.folder(checkpoints) else {
        if let Some(locked) = engine.generator.filter(|locked| *locked != GENERATOR_VERSION) {
            drifts.push(Drift::Generator { locked, found: GENERATOR_VERSION });
        }
        return Ok(drifts);
    };
    let Some(files) = &engine.files else { return Ok(drifts) };
    for (name, pin) in files {
        let path = folder.join(name.as_str());
        let file = name.to_string();
        match std::fs::metadata(&path) {
            Err(_) => drifts.push(Drift::FileMissing { file }),
            Ok(metadata) if metadata.len() != pin.bytes.0 => {
                drifts.push(Drift::FileLength { file, locked: pin.bytes, found: Bytes(metadata.len()) });
            }
            Ok(_) if depth == Depth::Contents => {
                let found = hash_file(&path).map_err(|error| unreadable(&error))?;
                if found != pin.sha256.as_str() {
                    let locked = pin.sha256.short().to_owned();
                    drifts.push(Drift::FileContents { file, locked, found: found[..12].to_owned() });
                }
            }
            Ok(_) => {}
        }
    }
    if depth == Depth::Contents && drifts.is_empty() {
        let read = files_read(&engine.source.model_source(checkpoints))?;
        let added = read.into_iter().filter(|name| !files.contains_key(name));
        drifts.extend(added.map(|name| Drift::FileAdded { file: name.to_string() }));
    }
    Ok(drifts)
}

/// The files of a checkpoint that go into an engine.
fn files_read(source: &ModelSource) -> Result<Vec<FileName>, EngineError> {
    let checkpoint = open_source(source)?;
    let name = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.parse().map_err(|error| unreadable(&error))
    };
    source_files(checkpoint.as_ref()).into_iter().map(name).collect()
}

/// The files of a checkpoint in `folder` that go into an engine, as they are now.
pub(super) fn pins_of(
    source: &ModelSource,
    folder: &Path,
) -> Result<BTreeMap<FileName, FilePin>, EngineError> {
    let pin = |name: FileName| {
        let path = folder.join(name.as_str());
        let bytes = std::fs::metadata(&path).map_err(|error| unreadable(&error))?.len();
        let sha256 = hash_file(&path).map_err(|error| unreadable(&error))?.parse();
        let sha256 =
            sha256.map_err(|what| EngineError { what, hint: None, kind: EngineErrorKind::Environment })?;
        Ok((name, FilePin { bytes: Bytes(bytes), sha256 }))
    };
    files_read(source)?.into_iter().map(pin).collect()
}

/// What differs between the lock and an engine that has been built. What the lock does not pin is no difference.
pub fn drift_of_engine(engine: &LockedEngine, manifest: &Manifest) -> Vec<Drift> {
    let mut drifts = Vec::new();
    if let Some(locked) = engine.engine_format.filter(|locked| *locked != manifest.format_version) {
        drifts.push(Drift::FormatVersion { locked, found: manifest.format_version });
    }
    let (locked, found) = (build_options(&engine.build), &manifest.options);
    if locked.lm_head != found.lm_head {
        drifts.push(option("lmHead", locked.lm_head, found.lm_head));
    }
    if locked.linears != found.linears {
        drifts.push(option("linears", locked.linears, found.linears));
    }
    if engine.build.vocab == Vocab::Full && manifest.vocabulary.is_some() {
        let found = format!("{} rows", manifest.config.vocab_size);
        drifts.push(Drift::Option { name: "vocab".to_owned(), locked: "full".to_owned(), found });
    }
    drifts.extend(drift_of_origin(engine, &manifest.source));
    if let Some(locked) = engine.sha256.as_ref().filter(|locked| locked.as_str() != manifest.sha256) {
        let found = manifest.sha256.chars().take(12).collect();
        drifts.push(Drift::Output { locked: locked.short().to_owned(), found });
    }
    drifts
}

fn drift_of_origin(engine: &LockedEngine, origin: &SourceRecord) -> Vec<Drift> {
    let built_from = |what: &str| vec![Drift::BuiltFrom { what: what.to_owned() }];
    match (&engine.source, origin) {
        (LockedSource::Synthetic { architecture, seed }, SourceRecord::Synthetic { recipe }) => {
            match recipe.starts_with(&format!("{architecture}, seed {seed},")) {
                true => Vec::new(),
                false => built_from("architecture or seed"),
            }
        }
        (LockedSource::Synthetic { .. }, SourceRecord::Checkpoint { .. }) => {
            built_from("source: a checkpoint")
        }
        (_, SourceRecord::Synthetic { .. }) => built_from("source: a seed"),
        (_, SourceRecord::Checkpoint { files }) => {
            let Some(locked) = &engine.files else { return Vec::new() };
            let differs = |(name, sha256): &&(String, String)| {
                let pin = name.parse::<FileName>().ok().and_then(|name| locked.get(&name));
                pin.is_none_or(|pin| pin.sha256.as_str() != *sha256)
            };
            files.iter().filter(differs).map(|(name, _)| Drift::BuiltFrom { what: name.clone() }).collect()
        }
    }
}

fn option(name: &str, locked: impl fmt::Debug, found: impl fmt::Debug) -> Drift {
    let word = |value: &dyn fmt::Debug| format!("{value:?}").to_lowercase();
    Drift::Option { name: name.to_owned(), locked: word(&locked), found: word(&found) }
}
