//! A file that is read past the page cache.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, OFlags};
use rustix::io::Errno;

/// A file whose pages do not stay in the page cache: read directly where the file system allows it, else through the cache and
/// dropped behind the read.
#[derive(Debug)]
pub struct DirectFile {
    direct: Option<File>,
    buffered: File,
    /// Set once a direct read has been refused.
    refused: AtomicBool,
}

impl DirectFile {
    /// Opens `path`.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> Result<DirectFile, Error> {
        let buffered = File::open(path)?;
        let flag = OFlags::DIRECT.bits().cast_signed();
        // A file system that cannot read directly refuses already here, or at the first read.
        let direct = OpenOptions::new().read(true).custom_flags(flag).open(path).ok();
        Ok(DirectFile { direct, buffered, refused: AtomicBool::new(false) })
    }

    /// Whether reads go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct.is_some() && !self.refused.load(Ordering::Relaxed)
    }

    /// Fills `into` from `offset` on. Start, length and address should be multiples of a page.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` where the file ends before.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        if let (Some(direct), true) = (&self.direct, self.is_direct()) {
            match fill(direct, offset, into) {
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                    self.refused.store(true, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        let result = fill(&self.buffered, offset, into);
        // Best effort: where the advice is not known, the cache is only larger than it need be.
        let _ =
            rustix::fs::fadvise(&self.buffered, offset, NonZeroU64::new(into.len() as u64), Advice::DontNeed);
        result
    }
}

fn fill(file: &File, mut offset: u64, mut into: &mut [u8]) -> Result<(), Error> {
    while !into.is_empty() {
        match file.read_at(into, offset) {
            Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "the file ends there")),
            Ok(read) => {
                offset += read as u64;
                into = &mut into[read..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Region;

    #[test]
    fn a_file_is_read_whole_and_its_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let bytes: Vec<u8> = (0..3 * 4096).map(|index| (index / 7) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = DirectFile::open(&path).unwrap();
        let buffered = DirectFile { direct: None, ..DirectFile::open(&path).unwrap() };
        for file in [file, buffered] {
            let mut region = Region::reserve(2 * 4096).unwrap();
            file.read(4096, region.bytes_mut()).unwrap();
            assert_eq!(region.bytes(), &bytes[4096..]);
            let error = file.read(2 * 4096, region.bytes_mut()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_refused_direct_read_goes_through_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, vec![7u8; 3 * 4096]).unwrap();
        let file = DirectFile::open(&path).unwrap();
        // An odd address, length and offset: what a direct read does not take.
        let mut bytes = vec![0u8; 4099];
        file.read(1, &mut bytes[1..]).unwrap();
        assert!(bytes[1..].iter().all(|&byte| byte == 7));
    }
}
