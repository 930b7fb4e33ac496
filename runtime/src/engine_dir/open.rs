//! A finished engine directory.

use std::fs::File;
use std::path::{Path, PathBuf};

use ledger::{Bytes, Role};

use super::EngineError;
use super::build::{hash_range, hash_text};
use super::format::{FORMAT_VERSION, MANIFEST, Manifest, WEIGHTS};
use crate::generate::TOKENIZER;
use crate::memory::PAGE;
use crate::plan::TextTables;
use crate::vocabulary::VOCAB_MAP;

/// An engine directory whose manifest has been read and fits its files.
#[derive(Debug)]
pub struct EngineDir {
    path: PathBuf,
    manifest: Manifest,
}

impl EngineDir {
    /// Opens `path`: reads the manifest and holds it against the weights' file. The weights themselves are not read.
    pub fn open(path: &Path) -> Result<EngineDir, EngineError> {
        let manifest_path = path.join(MANIFEST);
        let text = match std::fs::read(&manifest_path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(EngineError::NotAnEngine { path: path.to_owned(), missing: MANIFEST });
            }
            Err(cause) => return Err(EngineError::io("read", &manifest_path)(cause)),
        };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|cause| EngineError::Manifest {
            path: manifest_path.clone(),
            reason: cause.to_string(),
        })?;
        let refuse = |reason: String| Err(EngineError::Manifest { path: manifest_path.clone(), reason });
        if manifest.format_version != FORMAT_VERSION {
            return refuse(format!(
                "its format is version {}, this program reads {FORMAT_VERSION}",
                manifest.format_version
            ));
        }
        if let Some(reason) = inconsistency(&manifest) {
            return refuse(reason);
        }
        let engine = EngineDir { path: path.to_owned(), manifest };
        let weights = engine.weights_path();
        let found = match std::fs::metadata(&weights) {
            Ok(metadata) => Bytes(metadata.len()),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(EngineError::NotAnEngine { path: path.to_owned(), missing: WEIGHTS });
            }
            Err(cause) => return Err(EngineError::io("look at", &weights)(cause)),
        };
        if found != engine.manifest.weights_bytes {
            let expected = engine.manifest.weights_bytes;
            return Err(EngineError::WeightsLength { path: weights, found, expected });
        }
        if engine.manifest.vocabulary.is_some() && engine.vocab_map().is_none() {
            return Err(EngineError::NotAnEngine { path: path.to_owned(), missing: VOCAB_MAP });
        }
        Ok(engine)
    }

    /// What the directory holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The weights' file.
    pub fn weights_path(&self) -> PathBuf {
        self.path.join(WEIGHTS)
    }

    /// The weights' file, opened to be read.
    pub fn open_weights(&self) -> Result<File, EngineError> {
        let path = self.weights_path();
        File::open(&path).map_err(EngineError::io("open", &path))
    }

    /// The first segment whose bytes are not those that the manifest names, or `manifest.json` where the hashes there do not come to
    /// the engine's own; `None` for an engine that is whole. Reads all of the weights, and tells `read` how many bytes those of
    /// each segment were.
    ///
    /// # Errors
    /// When the weights cannot be read.
    pub fn damage(&self, read: &mut dyn FnMut(Bytes)) -> Result<Option<&str>, EngineError> {
        let hashes = self.manifest.segments.iter().map(|segment| segment.sha256.as_str());
        if hash_text(hashes) != self.manifest.sha256 {
            return Ok(Some(MANIFEST));
        }
        let (file, path) = (self.open_weights()?, self.weights_path());
        for segment in &self.manifest.segments {
            if hash_range(&file, &path, segment.offset, segment.bytes.0)? != segment.sha256 {
                return Ok(Some(&segment.name));
            }
            read(segment.bytes);
        }
        Ok(None)
    }

    /// The compiled tokenizer's file and its length, where the engine has one.
    pub fn tokenizer(&self) -> Option<(PathBuf, Bytes)> {
        self.file(TOKENIZER)
    }

    /// The map of a trimmed vocabulary and its length; `None` where every row is kept.
    pub fn vocab_map(&self) -> Option<(PathBuf, Bytes)> {
        self.manifest.vocabulary.as_ref().and_then(|_| self.file(VOCAB_MAP))
    }

    /// The lengths of both, for the plan.
    pub fn text_tables(&self) -> TextTables {
        let length = |file: Option<(PathBuf, Bytes)>| file.map(|(_, bytes)| bytes);
        TextTables { tokenizer: length(self.tokenizer()), vocab_map: length(self.vocab_map()) }
    }

    fn file(&self, name: &str) -> Option<(PathBuf, Bytes)> {
        let path = self.path.join(name);
        let length = std::fs::metadata(&path).ok()?.len();
        Some((path, Bytes(length)))
    }
}

/// What in a manifest contradicts itself: a segment outside the file, a tensor outside its segment, a part too short, a table
/// of another vocabulary.
fn inconsistency(manifest: &Manifest) -> Option<String> {
    for segment in &manifest.segments {
        let end = segment.offset.checked_add(segment.bytes.0);
        let inside = end.is_some_and(|end| end <= manifest.weights_bytes.0);
        if !inside || !segment.offset.is_multiple_of(PAGE) || segment.bytes == Bytes::ZERO {
            return Some(format!("segment `{}` lies outside the weights' file", segment.name));
        }
        let tensors = segment.tensors.iter();
        let held = tensors.map(|tensor| tensor.bytes.0).try_fold(segment.alignment.0, u64::checked_add);
        if held != Some(segment.bytes.0) {
            return Some(format!("the tensors of segment `{}` do not come to its length", segment.name));
        }
        for tensor in &segment.tensors {
            let rows = manifest.config.vocab_size;
            if ["embed_tokens", "lm_head"].contains(&tensor.name.as_str()) && tensor.rows != rows {
                return Some(format!(
                    "`{}` has {} rows, and the vocabulary {rows} entries",
                    tensor.name, tensor.rows
                ));
            }
            let expected = tensor.format.parts(tensor.rows, tensor.columns);
            let fits = tensor.rows > 0
                && tensor.columns > 0
                && expected.is_ok_and(|expected| {
                    expected.len() == tensor.parts.len()
                        && expected.iter().zip(&tensor.parts).all(|((kind, bytes), part)| {
                            part.kind == *kind
                                && part.bytes == *bytes
                                && part.offset.is_multiple_of(super::format::PART_ALIGNMENT)
                                && part
                                    .offset
                                    .checked_add(part.bytes)
                                    .is_some_and(|end| end <= segment.bytes.0)
                        })
                });
            if !fits {
                return Some(format!("the parts of `{}` do not fit its shape or its segment", tensor.name));
            }
        }
    }
    let roles = manifest.segments.iter().filter(|segment| segment.role == Role::Target).count();
    (roles == 0).then(|| "it lists no segments of a target model".to_owned())
}
