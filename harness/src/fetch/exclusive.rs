//! One fetch at a time in a folder.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};

use super::FetchError;
use crate::engines::Progress;

/// A folder that nobody else fetches into. The lock file stands beside it and stays: who waits for it must find the same one.
#[derive(Debug)]
pub(super) struct Exclusive {
    _file: File,
}

impl Exclusive {
    /// Waits until `folder` is free.
    ///
    /// # Errors
    /// When the lock file cannot be made, or the user asks to stop.
    pub(super) fn wait_for(folder: &Path, progress: &dyn Progress) -> Result<Exclusive, FetchError> {
        let mut path = folder.as_os_str().to_owned();
        path.push(".lock");
        let path = Path::new(&path);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(path)
            .map_err(FetchError::io("create", path))?;
        let mut told = false;
        let outcome = loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break Ok(Exclusive { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) if progress.is_interrupted() => {
                    break Err(FetchError::Interrupted);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    if !told {
                        progress.begin("waiting for another fetch into the same folder", None);
                        told = true;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => break Err(FetchError::io("lock", path)(error.into())),
            }
        };
        if told {
            progress.end();
        }
        outcome
    }
}
