//! An engine of the lock, fetched and pinned.

use std::path::{Path, PathBuf};

use ledger::Bytes;
use rustix::fs::statvfs;

use super::endpoint::Endpoint;
use super::exclusive::Exclusive;
use super::http::Http;
use super::part::{Wanted, left_behind, sha256_of};
use super::patience::{Tries, unless_stopped};
use super::transfer::transfer;
use super::{FetchError, Patience, Token, hub, mirror};
use crate::engines::Progress;
use crate::lock::{
    Commit, EngineLock, FileName, FilePin, HubSource, LockedEngine, LockedSource, Places, Sha256Text,
};

/// Room that a fetch leaves free beside the files themselves.
const DISK_MARGIN: Bytes = Bytes::mib(64);

/// Whether what there is now may be written into the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinning {
    /// Only what the lock pins is fetched.
    AsLocked,
    /// What is not pinned is taken as it is now, and pinned.
    Pin,
}

/// What is to be fetched, from where.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The engine.
    pub engine: &'a LockedEngine,
    /// Where lock and checkpoints are.
    pub places: &'a Places,
    /// Where the files come from.
    pub endpoint: &'a Endpoint,
    /// Who asks.
    pub token: Option<Token>,
    /// When it is given up.
    pub patience: Patience,
    /// Whether the lock may change.
    pub pinning: Pinning,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where the checkpoint is.
    pub folder: PathBuf,
    /// The files that had to be fetched.
    pub fetched: Vec<FileName>,
    /// Those that were there already, with the right hash.
    pub kept: Vec<FileName>,
    /// Length of all of them.
    pub bytes: Bytes,
    /// The commit.
    pub commit: Commit,
    /// Whether the lock has changed.
    pub lock_changed: bool,
}

/// Fetches every file of an engine that is not there yet. Files that are there with the right hash are left alone; an interrupted
/// fetch goes on where it stopped.
///
/// # Errors
/// When nothing says what the files should be, when they cannot be had, or are not what they should be. What has arrived of an
/// unfinished file stays, unless it is wrong.
pub fn fetch(request: &Request<'_>, progress: &dyn Progress) -> Result<Fetched, FetchError> {
    let engine = request.engine;
    let LockedSource::Hub(source) = &engine.source else {
        return Err(FetchError::NotOfHub { engine: engine.name.clone(), origin: engine.source.to_string() });
    };
    if !engine.has_pinned_source() && request.pinning == Pinning::AsLocked {
        return Err(FetchError::Unpinned { engine: engine.name.clone() });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(FetchError::io("wait for", Path::new("the network")))?;
    runtime.block_on(async {
        let origin = Origin::new(request)?;
        let (commit, wanted) = origin.wanted(request, source, progress).await?;
        let source = HubSource { revision: commit.as_str().to_owned(), ..source.clone() };
        fetch_files(request, &origin, &source, commit, wanted, progress).await
    })
}

async fn fetch_files(
    request: &Request<'_>,
    origin: &Origin,
    source: &HubSource,
    commit: Commit,
    wanted: Vec<Wanted>,
    progress: &dyn Progress,
) -> Result<Fetched, FetchError> {
    let folder = source.folder(&request.places.checkpoints);
    std::fs::create_dir_all(&request.places.checkpoints)
        .map_err(FetchError::io("create", &request.places.checkpoints))?;
    let _exclusive = Exclusive::wait_for(&folder, progress)?;
    std::fs::create_dir_all(&folder).map_err(FetchError::io("create", &folder))?;
    let fetched = fetch_into(&folder, request, origin, source, commit, wanted, progress).await;
    if fetched.is_err() {
        // What has arrived stays; a folder that nothing has arrived in does not.
        let _ = std::fs::remove_dir(&folder);
    }
    fetched
}

async fn fetch_into(
    folder: &Path,
    request: &Request<'_>,
    origin: &Origin,
    source: &HubSource,
    commit: Commit,
    wanted: Vec<Wanted>,
    progress: &dyn Progress,
) -> Result<Fetched, FetchError> {
    let (mut kept, mut missing, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for file in &wanted {
        match hash_there(folder, file)? {
            Some(sha256) => {
                hashes.push(sha256);
                kept.push(file.name.clone());
            }
            None => missing.push(file),
        }
    }
    check_disk(folder, &missing)?;
    let mut fetched = Vec::new();
    for (at, file) in wanted.iter().enumerate() {
        if !missing.contains(&file) {
            continue;
        }
        let what = format!("fetching {} ({})", file.name, file.bytes);
        progress.begin(&what, Some(file.bytes));
        let arrived = origin.fetch(request, source, file, folder, progress).await;
        progress.end();
        hashes.insert(at, arrived?);
        fetched.push(file.name.clone());
    }
    let bytes = wanted.iter().map(|file| file.bytes).sum();
    let mut lock_changed = false;
    if request.pinning == Pinning::Pin {
        let pin = |(file, sha256): (Wanted, Sha256Text)| (file.name, FilePin { bytes: file.bytes, sha256 });
        let pinned = LockedEngine {
            source: LockedSource::Hub(source.clone()),
            files: Some(wanted.into_iter().zip(hashes).map(pin).collect()),
            ..request.engine.clone()
        };
        lock_changed = EngineLock::update(&request.places.lock, &pinned)?;
    }
    Ok(Fetched { folder: folder.to_owned(), fetched, kept, bytes, commit, lock_changed })
}

/// The hash of `file` in `folder`, where it is there and right.
fn hash_there(folder: &Path, file: &Wanted) -> Result<Option<Sha256Text>, FetchError> {
    let path = folder.join(file.name.as_str());
    let is_long_enough = std::fs::metadata(&path).is_ok_and(|it| it.is_file() && it.len() == file.bytes.0);
    match &file.sha256 {
        Some(expected) if is_long_enough => Ok(Some(sha256_of(&path)?).filter(|found| found == expected)),
        _ => Ok(None),
    }
}

/// Refuses to begin what cannot be finished.
fn check_disk(folder: &Path, missing: &[&Wanted]) -> Result<(), FetchError> {
    let left = |file: &&Wanted| file.bytes.0 - left_behind(folder, file);
    let needed = missing.iter().map(left).fold(0, u64::saturating_add);
    let Ok(disk) = statvfs(folder) else { return Ok(()) };
    let free = Bytes(disk.f_bavail.saturating_mul(disk.f_frsize));
    let needed = Bytes(needed.saturating_add(DISK_MARGIN.0));
    match missing.is_empty() || needed <= free {
        true => Ok(()),
        false => Err(FetchError::DiskFull { folder: folder.to_owned(), needed, free }),
    }
}

/// Where files come from.
enum Origin {
    Web(Http, reqwest::Url),
    Folder(PathBuf),
}

impl Origin {
    fn new(request: &Request<'_>) -> Result<Origin, FetchError> {
        Ok(match request.endpoint {
            Endpoint::Web(url) => {
                Origin::Web(Http::new(url.clone(), request.token.clone(), request.patience)?, url.clone())
            }
            Endpoint::Folder(folder) => Origin::Folder(folder.clone()),
        })
    }

    /// The commit and its files: those that are pinned, else those that there are now.
    async fn wanted(
        &self,
        request: &Request<'_>,
        source: &HubSource,
        progress: &dyn Progress,
    ) -> Result<(Commit, Vec<Wanted>), FetchError> {
        if let (Some(commit), Some(files)) = (source.commit(), &request.engine.files) {
            let wanted = |(name, pin): (&FileName, &FilePin)| Wanted {
                name: name.clone(),
                bytes: pin.bytes,
                sha256: Some(pin.sha256.clone()),
                blob: None,
            };
            return Ok((commit, files.iter().map(wanted).collect()));
        }
        match self {
            Origin::Folder(folder) => {
                let commit = source.commit().ok_or_else(|| FetchError::NoCommit {
                    folder: folder.clone(),
                    engine: request.engine.name.clone(),
                })?;
                Ok((commit, mirror::list(&mirror::folder_of(folder, source), source)?))
            }
            Origin::Web(http, endpoint) => {
                let mut tries = Tries::new(request.patience);
                loop {
                    match unless_stopped(progress, hub::list(http, endpoint, source)).await? {
                        Ok(listing) => return Ok((listing.commit, listing.files)),
                        Err(trouble) => tries.wait_after(trouble, progress).await?,
                    }
                }
            }
        }
    }

    async fn fetch(
        &self,
        request: &Request<'_>,
        source: &HubSource,
        file: &Wanted,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<Sha256Text, FetchError> {
        match self {
            Origin::Web(http, endpoint) => {
                let url = hub::file_address(endpoint, source, &file.name);
                transfer(http, &url, source, file, folder, request.patience, progress).await
            }
            Origin::Folder(mirror) => {
                mirror::copy(&mirror::folder_of(mirror, source), file, folder, progress)
            }
        }
    }
}
