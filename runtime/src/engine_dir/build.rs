//! A checkpoint packed into an engine directory.
//!
//! Blocks of rows are read, packed and written by every thread at once, so that a build holds blocks and never a model.
//! Segments are finished one after the other; a build that was interrupted goes on with the first unfinished one.
//! Everything happens in `<directory>.partial`, which gets its name when it is whole.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ledger::Bytes;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::EngineError;
use super::format::{
    FORMAT_VERSION, MANIFEST, Manifest, SegmentRecord, SourceRecord, VocabularyRecord, WEIGHTS,
};
use super::layout::{BuildOptions, groups_of, layout};
use super::pack::{Block, blocks, pack};
use crate::checkpoint::{CheckpointSource, SourceIdentity};
use crate::generate::{TEXT_SOURCES, text_files};
use crate::model::modules::Group;
use crate::vocabulary::{VOCAB_MAP, to_file};

/// The state of a build that is under way.
const PROGRESS: &str = "progress.json";

/// Room that a build leaves free beside the engine itself.
const DISK_MARGIN: u64 = 64 << 20;

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildProgress {
    /// Bytes of weights that are written.
    pub done: Bytes,
    /// Bytes of weights in all.
    pub total: Bytes,
}

/// Whether a build goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildFlow {
    /// Go on.
    Continue,
    /// Stop here; a later build of the same goes on from here.
    Stop,
}

/// What an interrupted build finds when it goes on.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
struct Unfinished {
    format_version: u32,
    source: SourceRecord,
    options: BuildOptions,
    vocabulary: Option<VocabularyRecord>,
    finished: Vec<String>,
}

/// Builds the engine of `source` at `directory` and returns its manifest. An engine that stands there already is
/// replaced when the new one is whole; anything else that stands there is refused and left alone.
pub fn build(
    source: &dyn CheckpointSource,
    options: &BuildOptions,
    directory: &Path,
    threads: usize,
    progress: &mut dyn FnMut(BuildProgress) -> BuildFlow,
) -> Result<Manifest, EngineError> {
    refuse_other(directory)?;
    let groups = groups_of(source)?;
    let mut segments = layout(source, options)?;
    let weights_bytes: Bytes = segments.iter().map(|segment| segment.bytes).sum();
    let partial = partial_path(directory);
    // Held until what failed is removed, too.
    let _exclusive = occupy(&partial, directory)?;
    let result = (|| {
        let fresh = Unfinished {
            format_version: FORMAT_VERSION,
            source: source_record(source)?,
            options: *options,
            vocabulary: vocabulary_record(source),
            finished: Vec::new(),
        };
        let mut unfinished = begin(&partial, directory, fresh, weights_bytes)?;
        let file = open_weights(&partial)?;
        file.set_len(weights_bytes.0).map_err(EngineError::io("size", &partial))?;
        let mut done = Bytes::ZERO;
        if progress(BuildProgress { done, total: weights_bytes }) == BuildFlow::Stop {
            return Err(EngineError::Interrupted);
        }
        for (index, segment) in segments.iter_mut().enumerate() {
            if let Some(sha256) = unfinished.finished.get(index) {
                segment.sha256.clone_from(sha256);
            } else {
                write_segment(source, &groups[index], segment, &file, &partial, threads)?;
                segment.sha256 = hash_range(&file, &partial, segment.offset, segment.bytes.0)?;
                unfinished.finished.push(segment.sha256.clone());
                write_json(&partial.join(PROGRESS), &unfinished)?;
            }
            done += segment.bytes;
            if progress(BuildProgress { done, total: weights_bytes }) == BuildFlow::Stop {
                return Err(EngineError::Interrupted);
            }
        }
        copy_text_files(source, &partial)?;
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            config: source.config().clone(),
            source: unfinished.source,
            options: *options,
            vocabulary: unfinished.vocabulary,
            sha256: hash_text(segments.iter().map(|segment| segment.sha256.as_str())),
            segments,
            weights_bytes,
        };
        write_json(&partial.join(MANIFEST), &manifest)?;
        file.sync_data().map_err(EngineError::io("flush", &partial.join(WEIGHTS)))?;
        publish(&partial, directory)?;
        Ok(manifest)
    })();
    if matches!(&result, Err(error) if !matches!(error, EngineError::Interrupted)) {
        // What failed once would fail again: only an interruption leaves something worth going on with.
        let _ = std::fs::remove_dir_all(&partial);
    }
    result
}

/// Only an engine or an empty folder may be replaced: publishing removes what stands there.
fn refuse_other(directory: &Path) -> Result<(), EngineError> {
    let replaceable = match std::fs::read_dir(directory) {
        Ok(mut entries) => directory.join(MANIFEST).is_file() || entries.next().is_none(),
        Err(cause) => cause.kind() == std::io::ErrorKind::NotFound,
    };
    if replaceable && directory.file_name().is_some() {
        return Ok(());
    }
    Err(EngineError::Occupied { path: directory.to_owned() })
}

/// `<directory>.partial`, beside it.
fn partial_path(directory: &Path) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    directory.with_file_name(name)
}

/// The partial directory, made where it is missing, for this build alone until the file that is returned is closed.
fn occupy(partial: &Path, directory: &Path) -> Result<File, EngineError> {
    loop {
        std::fs::create_dir_all(partial).map_err(EngineError::io("create", partial))?;
        let folder = match File::open(partial) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.map_err(EngineError::io("open", partial))?,
        };
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(EngineError::Busy { path: directory.to_owned() });
            }
            Err(cause) => return Err(EngineError::io("lock", partial)(cause.into())),
        }
        // Another build may have given it its name, or removed it, between our opening and our locking it.
        let is_there = |metadata: std::fs::Metadata| {
            folder.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (metadata.dev(), metadata.ino()))
        };
        if std::fs::metadata(partial).is_ok_and(is_there) {
            return Ok(folder);
        }
    }
}

/// Prepares the partial directory: goes on with an earlier build of the same, else starts anew, with `fresh`.
fn begin(
    partial: &Path,
    directory: &Path,
    fresh: Unfinished,
    weights_bytes: Bytes,
) -> Result<Unfinished, EngineError> {
    let earlier = std::fs::read(partial.join(PROGRESS))
        .ok()
        .and_then(|text| serde_json::from_slice::<Unfinished>(&text).ok())
        .filter(|earlier| Unfinished { finished: Vec::new(), ..earlier.clone() } == fresh);
    if earlier.is_none() {
        empty(partial).map_err(EngineError::io("empty", partial))?;
    }
    let written = std::fs::metadata(partial.join(WEIGHTS)).map_or(0, |metadata| allocated(&metadata));
    let needed = Bytes((weights_bytes.0 + DISK_MARGIN).saturating_sub(written));
    if let Ok(disk) = rustix::fs::statvfs(partial) {
        let free = Bytes(disk.f_bavail.saturating_mul(disk.f_frsize));
        if free < needed {
            return Err(EngineError::DiskFull { path: directory.to_owned(), needed, free });
        }
    }
    Ok(earlier.unwrap_or(fresh))
}

/// Removes what is in `folder`, and not the folder, which is locked.
fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Bytes of disk behind a file that may have holes.
fn allocated(metadata: &std::fs::Metadata) -> u64 {
    metadata.blocks() * 512
}

fn open_weights(partial: &Path) -> Result<File, EngineError> {
    let path = partial.join(WEIGHTS);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(EngineError::io("create", &path))
}

/// Packs and writes every tensor of a segment, its blocks shared among `threads`.
fn write_segment(
    source: &dyn CheckpointSource,
    group: &Group,
    segment: &SegmentRecord,
    file: &File,
    partial: &Path,
    threads: usize,
) -> Result<(), EngineError> {
    let work: Vec<Block<'_>> = group
        .modules
        .iter()
        .zip(&segment.tensors)
        .flat_map(|(module, record)| blocks(module, record))
        .collect();
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let first_error = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, work.len().max(1)) {
            scope.spawn(|| {
                while let (Some(block), false) =
                    (work.get(next.fetch_add(1, Ordering::Relaxed)), failed.load(Ordering::Relaxed))
                {
                    let written = pack(source, block).and_then(|parts| {
                        parts.iter().try_for_each(|(offset, bytes)| {
                            file.write_all_at(bytes, segment.offset + offset)
                                .map_err(EngineError::io("write", &partial.join(WEIGHTS)))
                        })
                    });
                    if let Err(error) = written {
                        failed.store(true, Ordering::Relaxed);
                        first_error.lock().unwrap_or_else(|poison| poison.into_inner()).get_or_insert(error);
                    }
                }
            });
        }
    });
    match first_error.into_inner().unwrap_or_else(|poison| poison.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

pub(super) fn hash_range(
    file: &File,
    path: &Path,
    mut offset: u64,
    mut left: u64,
) -> Result<String, EngineError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let take = left.min(buffer.len() as u64) as usize;
        file.read_exact_at(&mut buffer[..take], offset).map_err(EngineError::io("read back", path))?;
        hasher.update(&buffer[..take]);
        offset += take as u64;
        left -= take as u64;
    }
    Ok(hexadecimal(&hasher.finalize()))
}

/// SHA-256 of the file at `path`, hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn hash_file(path: &Path) -> Result<String, EngineError> {
    let mut file = File::open(path).map_err(EngineError::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(EngineError::io("read", path))? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

pub(super) fn hash_text<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    hexadecimal(&hasher.finalize())
}

pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file that an engine of `source` is made from, those of its text included; none where everything follows from a seed.
pub fn source_files(source: &dyn CheckpointSource) -> Vec<PathBuf> {
    match source.identity() {
        SourceIdentity::Synthetic { .. } => Vec::new(),
        SourceIdentity::Directory { path, mut files } => {
            files.extend(TEXT_SOURCES.map(|name| path.join(name)).into_iter().filter(|file| file.exists()));
            files
        }
    }
}

fn source_record(source: &dyn CheckpointSource) -> Result<SourceRecord, EngineError> {
    Ok(match source.identity() {
        SourceIdentity::Synthetic { recipe } => SourceRecord::Synthetic { recipe },
        SourceIdentity::Directory { files, .. } => {
            let mut hashes = Vec::with_capacity(files.len());
            for file in &files {
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                hashes.push((name, hash_file(file)?));
            }
            SourceRecord::Checkpoint { files: hashes }
        }
    })
}

fn vocabulary_record(source: &dyn CheckpointSource) -> Option<VocabularyRecord> {
    let kept = source.kept_rows()?;
    let map_sha256 = hexadecimal(&Sha256::digest(to_file(&kept.ids)));
    Some(VocabularyRecord { original_size: kept.original, map_sha256 })
}

/// Writes the map of a trimmed vocabulary, compiles the tokenizer and takes over the chat template's files, where the
/// checkpoint has them.
fn copy_text_files(source: &dyn CheckpointSource, partial: &Path) -> Result<(), EngineError> {
    let kept = source.kept_rows().map(|kept| kept.ids.as_slice());
    let mut files: Vec<_> = kept.map(|ids| (VOCAB_MAP, to_file(ids))).into_iter().collect();
    if let SourceIdentity::Directory { path, .. } = source.identity() {
        files.extend(text_files(&path, kept)?);
    }
    for (name, bytes) in files {
        let path = partial.join(name);
        std::fs::write(&path, bytes).map_err(EngineError::io("write", &path))?;
    }
    Ok(())
}

/// Writes a file beside its name and moves it there, so that a reader sees all of it or nothing.
fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), EngineError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|cause| EngineError::Manifest { path: path.to_owned(), reason: cause.to_string() })?;
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text).map_err(EngineError::io("write", &temporary))?;
    std::fs::rename(&temporary, path).map_err(EngineError::io("rename", &temporary))
}

/// Gives the finished directory its name.
fn publish(partial: &Path, directory: &Path) -> Result<(), EngineError> {
    let progress = partial.join(PROGRESS);
    std::fs::remove_file(&progress).map_err(EngineError::io("remove", &progress))?;
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(EngineError::io("replace", directory))?;
    }
    std::fs::rename(partial, directory).map_err(EngineError::io("rename", partial))
}
