//! Kernels with their arguments, ready to run: what a pass comes to.

use super::kernel_set::Kernel;

/// One kernel with its grid and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Launch {
    pub(super) kernel: Kernel,
    pub(super) grid: [u32; 3],
    pub(super) block: u32,
    /// Dynamic shared memory in bytes.
    pub(super) shared: u32,
    /// Where its arguments stand in the program, and how long each is.
    pub(super) arguments: Vec<std::ops::Range<usize>>,
}

/// The kernels of a pass in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Program {
    pub(super) launches: Vec<Launch>,
    /// Every argument, each at a multiple of 16.
    pub(super) arguments: Vec<u128>,
}

/// What a kernel takes by value: plain numbers and addresses, laid out as in C.
///
/// # Safety
/// Implement it for `repr(C)` types without padding.
pub(super) unsafe trait Argument: Copy {}

// SAFETY: plain numbers.
unsafe impl Argument for u32 {}
// SAFETY: plain numbers.
unsafe impl Argument for u64 {}

impl Program {
    /// Adds a kernel; [`Added::with`] then adds its arguments in order.
    pub(super) fn add(&mut self, kernel: Kernel, grid: [u32; 3], block: u32, shared: u32) -> Added<'_> {
        debug_assert!(grid.iter().all(|side| *side > 0) && block > 0);
        self.launches.push(Launch { kernel, grid, block, shared, arguments: Vec::new() });
        Added { program: self }
    }

    pub(super) fn clear(&mut self) {
        self.launches.clear();
        self.arguments.clear();
    }

    /// The bytes of an argument.
    pub(super) fn argument(&self, range: &std::ops::Range<usize>) -> *const u8 {
        debug_assert!(range.end <= self.arguments.len() * 16);
        self.arguments.as_ptr().cast::<u8>().wrapping_add(range.start)
    }
}

/// A kernel that was just added.
pub(super) struct Added<'a> {
    program: &'a mut Program,
}

impl Added<'_> {
    /// Its next argument.
    pub(super) fn with<T: Argument>(self, argument: T) -> Self {
        let size = size_of::<T>();
        let start = self.program.arguments.len();
        self.program.arguments.resize(start + size.div_ceil(16), 0);
        // SAFETY: `size` bytes are there, and `T` has no padding that would be read.
        unsafe {
            let to = self.program.arguments.as_mut_ptr().add(start).cast::<u8>();
            std::ptr::copy_nonoverlapping((&raw const argument).cast::<u8>(), to, size);
        }
        if let Some(launch) = self.program.launches.last_mut() {
            launch.arguments.push(start * 16..start * 16 + size);
        }
        self
    }
}
