//! Memory of the GPU: address space, the pages behind it, and planned buffers in it.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::sys::{self, CUmemAccessDesc, CUmemAllocationProp, CUmemLocation};
use ledger::{Bytes, MemoryKind, MemoryPlan};

use super::context::Context;
use super::error::{CudaError, check};
use super::queue::Queue;
use crate::memory::{Account, Allocator, DEVICE_PAGE, MemoryError, PAGE};
use crate::model::operators::Tensor;

/// An address in the GPU's memory.
pub(super) type Address = u64;

/// Address space on the GPU with pages behind its first part.
#[derive(Debug)]
pub(super) struct Space {
    context: Arc<Context>,
    start: Address,
    length: u64,
    mapped: u64,
}

impl Space {
    /// Address space for `bytes`, in whole pages of the device.
    pub(super) fn reserve(context: &Arc<Context>, bytes: u64) -> Result<Space, CudaError> {
        context.enter()?;
        let length = bytes.next_multiple_of(DEVICE_PAGE);
        let mut start = 0;
        // SAFETY: a place to write to; the driver chooses the address.
        let answer =
            unsafe { sys::cuMemAddressReserve(&raw mut start, length as usize, DEVICE_PAGE as usize, 0, 0) };
        check("reserve addresses", answer)?;
        Ok(Space { context: context.clone(), start, length, mapped: 0 })
    }

    /// Puts pages behind the first `bytes`; their content is anything.
    pub(super) fn map(&mut self, bytes: u64) -> Result<(), CudaError> {
        let end = bytes.next_multiple_of(DEVICE_PAGE).min(self.length);
        if end > self.mapped {
            map(&self.context, self.start + self.mapped, end - self.mapped)?;
            self.mapped = end;
        }
        Ok(())
    }

    pub(super) fn start(&self) -> Address {
        self.start
    }

    /// Bytes with pages behind them.
    pub(super) fn mapped(&self) -> u64 {
        self.mapped
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if self.context.wait().is_err() {
            return;
        }
        // SAFETY: the range was reserved and mapped by `self`, and what ran in it has ended.
        unsafe {
            if self.mapped > 0 {
                sys::cuMemUnmap(self.start, self.mapped as usize);
            }
            sys::cuMemAddressFree(self.start, self.length as usize);
        }
    }
}

/// Maps new pages at `start`. They go back to the driver when they are unmapped.
fn map(context: &Context, start: Address, bytes: u64) -> Result<(), CudaError> {
    context.enter()?;
    let location =
        CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: context.device() };
    // SAFETY: all zeros is a valid value: no handle for others, no compression.
    let mut wanted: CUmemAllocationProp = unsafe { std::mem::zeroed() };
    wanted.type_ = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    wanted.location = location;
    let access =
        CUmemAccessDesc { location, flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    let (length, mut pages) = (bytes as usize, 0);
    // SAFETY: the range is reserved and not mapped, whole pages, and the handle is given back at once: the mapping keeps them.
    unsafe {
        check("take memory", sys::cuMemCreate(&raw mut pages, length, &raw const wanted, 0))?;
        let mapped = check("map memory", sys::cuMemMap(start, length, 0, pages, 0));
        sys::cuMemRelease(pages);
        mapped?;
        let allowed = check("open memory", sys::cuMemSetAccess(start, length, &raw const access, 1));
        if allowed.is_err() {
            sys::cuMemUnmap(start, length);
        }
        allowed
    }
}

/// Pages that small buffers share: each has its place from the plan on, and a page is there while one of its buffers is.
#[derive(Debug)]
struct Shelf {
    /// Its pages are mapped and unmapped here, one by one.
    space: Space,
    /// How many buffers stand on each page.
    users: Mutex<Vec<u32>>,
}

impl Shelf {
    fn pages(start: u64, bytes: u64) -> std::ops::Range<usize> {
        (start / DEVICE_PAGE) as usize..(start + bytes).div_ceil(DEVICE_PAGE) as usize
    }

    fn take(&self, start: u64, bytes: u64) -> Result<(), CudaError> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = Self::pages(start, bytes);
        for page in pages.clone() {
            if users[page] == 0
                && let Err(error) =
                    map(&self.space.context, self.space.start + page as u64 * DEVICE_PAGE, DEVICE_PAGE)
            {
                self.leave(&mut users, pages.start..page);
                return Err(error);
            }
            users[page] += 1;
        }
        Ok(())
    }

    fn leave(&self, users: &mut [u32], pages: std::ops::Range<usize>) {
        for page in pages {
            users[page] -= 1;
            if users[page] == 0 && self.space.context.enter().is_ok() {
                let at = self.space.start + page as u64 * DEVICE_PAGE;
                // SAFETY: mapped by `take`, and the last buffer on it has gone after its work had ended.
                unsafe { sys::cuMemUnmap(at, DEVICE_PAGE as usize) };
            }
        }
    }

    fn give_back(&self, start: u64, bytes: u64) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        self.leave(&mut users, Self::pages(start, bytes));
    }
}

/// Gives the device buffers of one plan.
#[derive(Debug)]
pub(super) struct DeviceAllocator {
    queue: Arc<Queue>,
    allocator: Allocator,
    shelf: Arc<Shelf>,
    places: std::collections::HashMap<String, u64>,
}

impl DeviceAllocator {
    /// For the buffers of `plan`, whose accounts `allocator` keeps.
    pub(super) fn new(
        queue: &Arc<Queue>,
        plan: &MemoryPlan,
        allocator: &Allocator,
    ) -> Result<DeviceAllocator, CudaError> {
        let mut end = 0;
        let small = plan.buffers.iter().filter(|buffer| {
            buffer.memory == MemoryKind::Device && buffer.page == Bytes(PAGE) && !buffer.class.is_weights()
        });
        let places = small
            .map(|buffer| {
                let place = end;
                end += buffer.bytes.0;
                (buffer.key(), place)
            })
            .collect();
        let length = end.max(1).next_multiple_of(DEVICE_PAGE);
        let context = queue.context();
        let users = Mutex::new(vec![0; (length / DEVICE_PAGE) as usize]);
        let shelf = Arc::new(Shelf { space: Space::reserve(context, length)?, users });
        Ok(DeviceAllocator { queue: queue.clone(), allocator: allocator.clone(), shelf, places })
    }

    /// Address space for the planned buffer `key`.
    pub(super) fn reserve(&self, key: &str) -> Result<DeviceBuffer, MemoryError> {
        let account = self.allocator.open(key)?;
        let planned = account.planned();
        let refused = |cause: CudaError| MemoryError::OutOfMemory {
            action: "reserve",
            bytes: planned,
            key: key.to_owned(),
            cause: Box::new(cause),
        };
        let place = match self.places.get(key) {
            Some(start) => Place::Shelf { shelf: self.shelf.clone(), start: *start },
            None => Place::Own(Space::reserve(self.queue.context(), planned.0).map_err(refused)?),
        };
        Ok(DeviceBuffer { queue: self.queue.clone(), place, committed: 0, account })
    }

    /// The planned buffer `key`, committed whole and zero.
    pub(super) fn allocate(&self, key: &str) -> Result<DeviceBuffer, MemoryError> {
        let mut buffer = self.reserve(key)?;
        buffer.commit(buffer.account.planned().0)?;
        Ok(buffer)
    }
}

#[derive(Debug)]
enum Place {
    Own(Space),
    Shelf { shelf: Arc<Shelf>, start: u64 },
}

/// A planned buffer in the GPU's memory.
#[derive(Debug)]
pub struct DeviceBuffer {
    queue: Arc<Queue>,
    place: Place,
    committed: u64,
    account: Account,
}

impl DeviceBuffer {
    /// Bytes with memory behind them.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// Where it starts.
    pub(super) fn start(&self) -> Address {
        match &self.place {
            Place::Own(space) => space.start,
            Place::Shelf { shelf, start } => shelf.space.start + start,
        }
    }
}

impl Tensor for DeviceBuffer {
    fn commit(&mut self, bytes: u64) -> Result<(), MemoryError> {
        let page = self.account.page().0;
        let wanted = Bytes(bytes).round_up(page);
        self.account.check(wanted)?;
        if wanted.0 <= self.committed {
            return Ok(());
        }
        let new = wanted.0 - self.committed;
        let start = self.start() + self.committed;
        let mapped = match &mut self.place {
            Place::Own(space) => space.map(wanted.0),
            Place::Shelf { shelf, start } => match self.committed {
                // Its pages are taken once, with all that it may hold: another buffer stands right behind it.
                0 => shelf.take(*start, self.account.planned().0),
                _ => Ok(()),
            },
        };
        mapped
            .and_then(|()| {
                // SAFETY: the range has just been mapped, and nobody else knows it.
                check("clear memory", unsafe {
                    sys::cuMemsetD8Async(start, 0, new as usize, self.queue.context().stream())
                })
            })
            .map_err(|cause| MemoryError::OutOfMemory {
                action: "commit",
                bytes: Bytes(new),
                key: self.account.key(),
                cause: Box::new(cause),
            })?;
        self.committed = wanted.0;
        self.account.hold(wanted);
        Ok(())
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        // What is recorded may still use it. A failure was noted for whoever asks.
        let _ = self.queue.finish();
        if let (Place::Shelf { shelf, start }, 1..) = (&self.place, self.committed) {
            shelf.give_back(*start, self.account.planned().0);
        }
    }
}
