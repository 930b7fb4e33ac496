//! One fetch at a time in a folder.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};

use super::FetchError;
use crate::engines::Progress;

/// A folder that nobody else fetches into. The lock file stands beside it, and goes when the fetch is over.
#[derive(Debug)]
pub(super) struct Exclusive {
    file: File,
    path: PathBuf,
}

impl Exclusive {
    /// Waits until `folder` is free.
    ///
    /// # Errors
    /// When the lock file cannot be made, or the user asks to stop.
    pub(super) fn wait_for(folder: &Path, progress: &dyn Progress) -> Result<Exclusive, FetchError> {
        let mut path = folder.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let mut told = false;
        let outcome = loop {
            match Exclusive::take(&path) {
                Ok(Some(exclusive)) => break Ok(exclusive),
                Ok(None) if progress.is_interrupted() => break Err(FetchError::Interrupted),
                Ok(None) => {
                    if !told {
                        progress.begin("waiting for another fetch into the same folder", None);
                        told = true;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => break Err(error),
            }
        };
        if told {
            progress.end();
        }
        outcome
    }

    /// The lock at `path`, or nothing while another has it.
    fn take(path: &Path) -> Result<Option<Exclusive>, FetchError> {
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(OFlags::NOFOLLOW.bits() as i32)
                .open(path)
                .map_err(FetchError::io("create", path))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(FetchError::io("lock", path)(error.into())),
            }
            let exclusive = Exclusive { file, path: path.to_owned() };
            // Whoever had it may have taken the file away between our opening and our locking it.
            if exclusive.is_at_path() {
                return Ok(Some(exclusive));
            }
        }
    }

    /// Whether the locked file is the one that others find.
    fn is_at_path(&self) -> bool {
        match (self.file.metadata(), std::fs::symlink_metadata(&self.path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

impl Drop for Exclusive {
    /// Takes the file away while it is still locked: nobody has one that others do not find.
    fn drop(&mut self) {
        if self.is_at_path() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
