//! How fast a disk reads: what loading an engine, and streaming its weights, is bound by.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ledger::{Bytes, Reading};
use rustix::fs::{Advice, fadvise, statfs, statvfs};
use serde::Serialize;

use crate::probe::{SystemRoot, reading};

/// What is written and read back: some 50 ms of a good disk, some seconds of a memory card.
const PROBE: Bytes = Bytes::mib(128);
/// At once.
const BLOCK: usize = 4 << 20;
/// Free space without which nothing is written.
const SPARE: Bytes = Bytes::gib(1);

/// The disk under a folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiskState {
    /// The folder; the nearest one above it where it does not exist yet.
    pub folder: PathBuf,
    /// What this process may still write.
    pub free_bytes: Reading<Bytes>,
    /// One stream of large blocks, past the page cache.
    pub read_bytes_per_second: Reading<u64>,
}

/// What is asked of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskCheck {
    /// Free space alone.
    Space,
    /// How fast it reads, too: writes a file and reads it back.
    Rate,
}

impl DiskState {
    pub(super) fn measure(root: &SystemRoot, folder: &Path, check: DiskCheck) -> DiskState {
        if root.is_recorded() {
            let why = "a recorded tree has no disk".to_owned();
            return DiskState {
                folder: folder.to_owned(),
                free_bytes: Reading::Unavailable(why.clone()),
                read_bytes_per_second: Reading::Unavailable(why),
            };
        }
        let folder = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
        let free = statvfs(folder).map(|disk| Bytes(disk.f_bavail.saturating_mul(disk.f_frsize)));
        let rate = match free {
            _ if check == DiskCheck::Space => Err("it was not timed".to_owned()),
            _ if is_memory(folder) => Err(format!("{} is in memory, on no disk", folder.display())),
            Ok(free) if free < SPARE => Err(format!("only {free} are free in {}", folder.display())),
            Ok(_) => read_rate(folder).map_err(|error| format!("{}: {error}", folder.display())),
            Err(error) => Err(format!("{}: {error}", folder.display())),
        };
        DiskState {
            folder: folder.to_owned(),
            free_bytes: reading(free),
            read_bytes_per_second: reading(rate),
        }
    }
}

/// True for a file system without a disk (tmpfs).
fn is_memory(folder: &Path) -> bool {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    statfs(folder).is_ok_and(|system| system.f_type as u64 == TMPFS_MAGIC)
}

/// A file that is removed whatever happens.
struct ProbeFile(PathBuf);

impl Drop for ProbeFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read_rate(folder: &Path) -> io::Result<u64> {
    let path = folder.join(format!(".sweep-doctor-{}", std::process::id()));
    let mut file = File::options().create_new(true).write(true).open(&path)?;
    let _probe = ProbeFile(path.clone());
    // Not all the same: some disks and file systems keep what is alike only once.
    let mut state = 0x9e37_79b9_u32;
    let mut block = vec![0_u8; BLOCK];
    for byte in &mut block {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    for _ in 0..PROBE.0 as usize / BLOCK {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    drop(file);
    let mut file = File::open(&path)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let start = Instant::now();
    let mut read = 0_u64;
    loop {
        match file.read(&mut block)? {
            0 => break,
            count => read += count as u64,
        }
    }
    let seconds = start.elapsed().as_secs_f64().max(1e-9);
    Ok((read as f64 / seconds) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_timed_and_nothing_is_left_on_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = DiskState::measure(&SystemRoot::live(), &folder.path().join("not/yet"), DiskCheck::Rate);
        assert_eq!(state.folder, folder.path());
        assert!(state.free_bytes.measured().is_some());
        let rate = state.read_bytes_per_second;
        let cannot = state.free_bytes.measured() < Some(&SPARE) || is_memory(folder.path());
        assert!(matches!(rate, Reading::Measured(rate) if rate > 0) || cannot, "{rate:?}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
