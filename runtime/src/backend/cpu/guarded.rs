//! Test buffers that end where readable memory ends: a kernel that reads one byte too many is killed.

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::carve::PlainNumber;

/// A copy of some numbers whose last byte is the last one before an inaccessible page.
pub(crate) struct Guarded<T> {
    mapping: *mut std::ffi::c_void,
    mapped: usize,
    start: *const T,
    count: usize,
}

impl<T: PlainNumber> Guarded<T> {
    pub(crate) fn new(values: &[T]) -> Self {
        let page = rustix::param::page_size();
        let bytes = size_of_val(values);
        let data_pages = bytes.next_multiple_of(page);
        let mapped = data_pages + page;
        // SAFETY: a new anonymous mapping at an address of the system's choice.
        let mapping = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }
        .unwrap();
        // SAFETY: the copy ends with the last data page; the page after it is inside the mapping and used by nobody.
        unsafe {
            let start = mapping.cast::<u8>().add(data_pages - bytes).cast::<T>();
            std::ptr::copy_nonoverlapping(values.as_ptr(), start, values.len());
            mprotect(mapping.cast::<u8>().add(data_pages).cast(), page, MprotectFlags::empty()).unwrap();
            Self { mapping, mapped, start, count: values.len() }
        }
    }
}

impl<T: PlainNumber> std::ops::Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `count` numbers were copied there, and nothing writes to the mapping after that.
        unsafe { std::slice::from_raw_parts(self.start, self.count) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which nobody borrows any more.
        unsafe { munmap(self.mapping, self.mapped) }.unwrap();
    }
}
