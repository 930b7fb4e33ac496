//! Planned buffers in memory of the process.

use ledger::Bytes;

use super::{Account, MemoryError, Region, whole_pages};

/// A planned buffer in anonymous memory. Only its committed part can be read or written.
#[derive(Debug)]
pub struct Buffer {
    region: Region,
    committed: usize,
    account: Account,
}

impl Buffer {
    /// Address space for a planned buffer.
    pub(super) fn reserve(account: Account) -> Result<Buffer, MemoryError> {
        let bytes = account.planned();
        let region = Region::reserve(bytes.0 as usize).map_err(|cause| MemoryError::OutOfMemory {
            action: "reserve",
            bytes,
            key: account.key(),
            cause: cause.into(),
        })?;
        Ok(Buffer { region, committed: 0, account })
    }

    /// Commits up to `bytes` from the start, rounded up to whole pages. Never shrinks.
    pub fn commit(&mut self, bytes: u64) -> Result<(), MemoryError> {
        let wanted = whole_pages(bytes);
        self.account.check(wanted)?;
        let target = wanted.0 as usize;
        if target > self.committed {
            self.region.commit(self.committed, target).map_err(|cause| MemoryError::OutOfMemory {
                action: "commit",
                bytes: Bytes((target - self.committed) as u64),
                key: self.account.key(),
                cause: cause.into(),
            })?;
            self.committed = target;
            self.account.hold(wanted);
        }
        Ok(())
    }

    /// Returns every page; the address space stays. A later commit finds zeros.
    pub fn release(&mut self) {
        self.region.release(0, self.committed);
        self.committed = 0;
        self.account.hold(Bytes::ZERO);
    }

    /// Bytes committed.
    pub fn committed(&self) -> usize {
        self.committed
    }

    /// The committed part as elements of `T`.
    pub fn slice<T: Element>(&self) -> &[T] {
        // SAFETY: the region starts page-aligned, `committed` bytes of it are readable, and every bit pattern is a
        // valid `T`.
        unsafe { std::slice::from_raw_parts(self.region.pointer().cast(), self.committed / size_of::<T>()) }
    }

    /// The committed part as elements of `T`, to be written.
    pub fn slice_mut<T: Element>(&mut self) -> &mut [T] {
        // SAFETY: as in `slice`, and `&mut self` makes the access exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(self.region.pointer().cast(), self.committed / size_of::<T>())
        }
    }

    /// Start of the address space.
    pub(super) fn pointer(&self) -> *mut u8 {
        self.region.pointer()
    }
}

/// Types that any bytes are a value of.
pub trait Element: Copy + private::Sealed {}

mod private {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty),*) => { $(impl private::Sealed for $type {} impl Element for $type {})* };
}
elements!(u8, i8, u16, i32, f32);
