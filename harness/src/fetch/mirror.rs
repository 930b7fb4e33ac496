//! A folder that stands for the Hub: the files of `OWNER/NAME` lie in `OWNER/NAME/`.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ledger::Bytes;

use super::FetchError;
use super::part::{Part, Wanted};
use crate::engines::Progress;
use crate::lock::{FileName, HubSource, Sha256Text};

/// The folder of a repository.
pub(super) fn folder_of(mirror: &Path, source: &HubSource) -> PathBuf {
    mirror.join(&source.repository)
}

/// The files of the repository in `folder` that are needed.
pub(super) fn list(folder: &Path, source: &HubSource) -> Result<Vec<Wanted>, FetchError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(FetchError::io("read the folder", folder))? {
        let entry = entry.map_err(FetchError::io("read the folder", folder))?;
        let listed = entry.file_name();
        let name = FileName::from_listed(&listed.to_string_lossy())
            .map_err(|name| FetchError::UnsafeName { repository: source.repository.clone(), name })?;
        let Some(name) = name.filter(FileName::is_needed) else { continue };
        // Caches of the Hub's own tools hold links, so what counts is what they lead to.
        let metadata = std::fs::metadata(entry.path()).map_err(FetchError::io("look at", &entry.path()))?;
        if metadata.is_file() {
            files.push(Wanted { name, bytes: Bytes(metadata.len()), sha256: None, blob: None });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Copies `wanted` from the repository in `from` into `folder`, from where an earlier copy stopped.
pub(super) fn copy(
    from: &Path,
    wanted: &Wanted,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Sha256Text, FetchError> {
    let path = from.join(wanted.name.as_str());
    let mut file = File::open(&path).map_err(FetchError::io("open", &path))?;
    let found = file.metadata().map_err(FetchError::io("look at", &path))?.len();
    if found != wanted.bytes.0 {
        let file = wanted.name.to_string();
        return Err(FetchError::Length { file, expected: wanted.bytes.0, found });
    }
    let mut part = Part::open(folder, wanted)?;
    match append(&mut file, &path, &mut part, wanted, progress) {
        Ok(()) => part.finish(folder, wanted),
        Err(error) => {
            part.leave(wanted)?;
            Err(error)
        }
    }
}

/// Appends what `part` lacks of `file`.
fn append(
    file: &mut File,
    path: &Path,
    part: &mut Part,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<(), FetchError> {
    file.seek(SeekFrom::Start(part.length())).map_err(FetchError::io("read", path))?;
    progress.advance(Bytes(part.length()));
    let mut buffer = vec![0; 1 << 20];
    // A file that grows meanwhile is not the one that was looked at.
    while part.length() < wanted.bytes.0 {
        if progress.is_interrupted() {
            return Err(FetchError::Interrupted);
        }
        let most = (wanted.bytes.0 - part.length()).min(buffer.len() as u64) as usize;
        match file.read(&mut buffer[..most]) {
            Ok(0) => {
                let (file, found) = (wanted.name.to_string(), part.length());
                return Err(FetchError::Length { file, expected: wanted.bytes.0, found });
            }
            Ok(read) => {
                part.append(&buffer[..read])?;
                progress.advance(Bytes(read as u64));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(FetchError::io("read", path)(error)),
        }
    }
    Ok(())
}
