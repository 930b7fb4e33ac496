//! The unfinished file: `NAME.part`, beside the place that it will take.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ledger::Bytes;
use runtime::engine_dir::hash_file;
use rustix::fs::OFlags;

use super::FetchError;
use super::blob::BlobName;
use crate::lock::{FileName, Sha256Text};

/// A file that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: FileName,
    pub(super) bytes: Bytes,
    /// `None` for small files at their pinning, of which the Hub has no SHA-256.
    pub(super) sha256: Option<Sha256Text>,
    /// What the Hub has of those.
    pub(super) blob: Option<BlobName>,
}

/// What has arrived of a file so far.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    length: u64,
}

fn part_path(folder: &Path, name: &FileName) -> PathBuf {
    folder.join(format!("{name}.part"))
}

/// Bytes of `wanted` that an earlier fetch left behind and a later one takes up. Without a hash to hold the whole against, beginning
/// and end could be of different files: such a part counts for nothing.
pub(super) fn left_behind(folder: &Path, wanted: &Wanted) -> u64 {
    let length = std::fs::symlink_metadata(part_path(folder, &wanted.name)).ok().filter(|it| it.is_file());
    let length = length.map_or(0, |metadata| metadata.len());
    if wanted.sha256.is_some() && length <= wanted.bytes.0 { length } else { 0 }
}

/// The SHA-256 of the file at `path`.
pub(super) fn sha256_of(path: &Path) -> Result<Sha256Text, FetchError> {
    let failed = |cause: String| FetchError::io("read", path)(std::io::Error::other(cause));
    hash_file(path).map_err(|error| failed(error.to_string()))?.parse().map_err(failed)
}

impl Part {
    /// What there is of `wanted` in `folder`, ready to be continued. A link in the place of the part is refused, not followed.
    pub(super) fn open(folder: &Path, wanted: &Wanted) -> Result<Part, FetchError> {
        let path = part_path(folder, &wanted.name);
        let keep = left_behind(folder, wanted);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(&path)
            .map_err(FetchError::io("open", &path))?;
        let mut part = Part { file, path, length: keep };
        part.cut(keep)?;
        Ok(part)
    }

    /// Bytes that are there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) -> Result<(), FetchError> {
        self.cut(0)
    }

    fn cut(&mut self, length: u64) -> Result<(), FetchError> {
        let cut = self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)));
        cut.map_err(FetchError::io("cut", &self.path))?;
        self.length = length;
        Ok(())
    }

    /// Writes what comes next.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(bytes).map_err(FetchError::io("write", &self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Leaves the file to a later fetch, or deletes it where that could do nothing with it.
    pub(super) fn leave(self, wanted: &Wanted) -> Result<(), FetchError> {
        match self.length > 0 && wanted.sha256.is_some() {
            true => self.file.sync_data().map_err(FetchError::io("flush", &self.path)),
            false => self.discard(),
        }
    }

    fn discard(self) -> Result<(), FetchError> {
        std::fs::remove_file(&self.path).map_err(FetchError::io("remove", &self.path))
    }

    /// Holds the file against `wanted` and gives it its name; one that is wrong is deleted. Returns its hash.
    pub(super) fn finish(self, folder: &Path, wanted: &Wanted) -> Result<Sha256Text, FetchError> {
        self.file.sync_data().map_err(FetchError::io("flush", &self.path))?;
        let found = sha256_of(&self.path)?;
        let wrong = match (&wanted.sha256, &wanted.blob) {
            (Some(expected), _) if *expected != found => {
                Some(("sha256", expected.to_string(), found.to_string()))
            }
            (None, Some(expected)) => {
                let found = BlobName::of(&self.path)?;
                (*expected != found).then(|| ("Git blob", expected.to_string(), found.to_string()))
            }
            _ => None,
        };
        if let Some((hash, expected, found)) = wrong {
            self.discard()?;
            return Err(FetchError::WrongHash { file: wanted.name.to_string(), hash, expected, found });
        }
        let place = folder.join(wanted.name.as_str());
        std::fs::rename(&self.path, &place).map_err(FetchError::io("rename", &self.path))?;
        let flushed = File::open(folder).and_then(|folder| folder.sync_all());
        flushed.map_err(FetchError::io("flush", folder))?;
        Ok(found)
    }
}
