//! Address space from the system, and the pages behind it.

use std::fs::File;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Anonymous, private address space. Nothing stands behind it until [`Region::commit`], and nothing after
/// [`Region::release`]; reads of uncommitted bytes are never handed out by [`super::Buffer`].
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a region owns its mapping; shared access only reads, and writes need `&mut`.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Sets `length` bytes of address space aside (a multiple of the page size, not zero).
    pub fn reserve(length: usize) -> Result<Region, Errno> {
        // SAFETY: a fresh mapping at an address that the kernel chooses aliases nothing.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let start = NonNull::new(start.cast::<u8>()).ok_or(Errno::NOMEM)?;
        let region = Region { start, length };
        // Huge pages would commit more than was asked for, and the ledger would no longer be the truth.
        // SAFETY: the range is this region's own mapping. A kernel without huge pages refuses, which changes nothing.
        let _ = unsafe { rustix::mm::madvise(start.as_ptr().cast(), length, Advice::LinuxNoHugepage) };
        Ok(region)
    }

    /// Puts zeroed pages behind `from..to` (page multiples within the region), so that later writes cannot fail.
    pub fn commit(&mut self, from: usize, to: usize) -> Result<(), Errno> {
        debug_assert!(from <= to && to <= self.length);
        if from == to {
            return Ok(());
        }
        // SAFETY: `from <= to <= length`, so the range lies in this region's own mapping; populating changes no value.
        let populated = unsafe {
            rustix::mm::madvise(self.start.as_ptr().add(from).cast(), to - from, Advice::LinuxPopulateWrite)
        };
        match populated {
            // Kernels before 5.14 do not know the advice: touch each page instead.
            Err(Errno::INVAL) => {
                for offset in (from..to).step_by(super::PAGE as usize) {
                    // SAFETY: `offset < length`, and `&mut self` excludes other access. A volatile write of zero to a
                    // page that holds only zeros changes no value.
                    unsafe { self.start.as_ptr().add(offset).write_volatile(0) };
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Gives the pages behind `from..to` back to the system.
    pub fn release(&mut self, from: usize, to: usize) {
        debug_assert!(from <= to && to <= self.length);
        if from < to {
            // SAFETY: the range lies in this region's own mapping, and `&mut self` excludes readers of its bytes.
            let _ = unsafe {
                rustix::mm::madvise(self.start.as_ptr().add(from).cast(), to - from, Advice::LinuxDontNeed)
            };
        }
    }

    /// The bytes of a region that is committed whole. What is not committed reads as zeros and becomes resident.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping covers `length` readable bytes and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// As [`Region::bytes`], to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Start of the address space, page-aligned.
    pub(super) fn pointer(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Length of the address space in bytes.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `reserve` with this length and is unmapped once.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A read-only, shared mapping of a part of a file.
#[derive(Debug)]
pub struct FileRegion {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is read-only and owned.
unsafe impl Send for FileRegion {}
// SAFETY: as above.
unsafe impl Sync for FileRegion {}

impl FileRegion {
    /// Maps `length` bytes of `file` from `offset` (a multiple of the page size) and reads them in, so that the first
    /// use of a weight does not wait for the disk.
    pub fn map(file: &File, offset: u64, length: usize) -> Result<FileRegion, Errno> {
        // SAFETY: a fresh mapping at an address that the kernel chooses aliases nothing. The engine file is written
        // once under another name and never changed in place.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::SHARED | MapFlags::POPULATE,
                file.as_fd(),
                offset,
            )
        }?;
        let start = NonNull::new(start.cast::<u8>()).ok_or(Errno::NOMEM)?;
        Ok(FileRegion { start, length })
    }

    /// The mapped bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping covers `length` bytes and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for FileRegion {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length and is unmapped once.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
