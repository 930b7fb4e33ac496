//! Kernels with their arguments, ready to run: what a pass comes to.

use super::kernel_set::Kernel;

/// Threads of a block of a persistent kernel: sixteen warps.
const PERSISTENT_THREADS: u32 = 16 * 32;

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
    /// A persistent kernel: its steps in the program.
    pub(super) steps: std::ops::Range<usize>,
}

/// What a step of the persistent kernel does, by the numbers of `kernels/persistent.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub(super) enum StepKind {
    Multiply = 0,
    Embed = 1,
    Angles = 2,
    Recur = 3,
    Attend = 4,
    Merge = 5,
    Search = 6,
    Place = 7,
}

/// A step of the persistent kernel, as it reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C, align(16))]
pub(super) struct Step {
    /// Its argument, zeros behind it.
    argument: [u128; STEP_WORDS],
    pub(super) kind: StepKind,
    /// [`Step::WAITS`] and [`Step::EARLY`].
    pub(super) flags: u32,
    /// The next step that multiplies, or the number of steps.
    pub(super) next: u32,
    padding: u32,
}

/// Of the largest argument.
const STEP_WORDS: usize = 27;

impl Step {
    /// All blocks wait for each other before it.
    pub(super) const WAITS: u32 = 1;
    /// What only it writes may be read before that.
    pub(super) const EARLY: u32 = 2;

    /// A step with an argument of `words`; the rest is settled when steps come together.
    pub(super) fn new(kind: StepKind, words: &[u128]) -> Step {
        let mut argument = [0; STEP_WORDS];
        argument[..words.len()].copy_from_slice(words);
        Step { argument, kind, flags: 0, next: 0, padding: 0 }
    }

    /// The same, as one of a pass.
    pub(super) fn settled(self, flags: u32, next: u32) -> Step {
        Step { flags, next, ..self }
    }

    /// The words of its argument.
    #[cfg(test)]
    pub(super) fn words(&self) -> &[u128] {
        &self.argument
    }

    /// The `u64` at byte `offset` of its argument.
    pub(super) fn number_at(&self, offset: usize) -> u64 {
        let word = self.argument[offset / 16].to_ne_bytes();
        u64::from_ne_bytes(std::array::from_fn(|index| word[offset % 16 + index]))
    }
}

/// The kernels of a pass in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Program {
    pub(super) launches: Vec<Launch>,
    /// Every argument, each at a multiple of 16.
    pub(super) arguments: Vec<u128>,
    /// The steps of its persistent kernels.
    pub(super) steps: Vec<Step>,
    /// How many blocks have had one tile more than others, in all products so far.
    pub(super) dealt: u32,
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
        self.launches.push(Launch { kernel, grid, block, shared, arguments: Vec::new(), steps: 0..0 });
        Added { program: self }
    }

    /// Adds a persistent kernel of `blocks` blocks with one step, whose argument is `argument`.
    pub(super) fn add_step<T: Argument>(&mut self, kernel: Kernel, kind: StepKind, argument: T, blocks: u32) {
        let at = self.arguments.len();
        self.add(kernel, [blocks, 1, 1], PERSISTENT_THREADS, u32::MAX).with(argument);
        let step = Step::new(kind, &self.arguments[at..]);
        self.arguments.truncate(at);
        let first = self.steps.len();
        self.steps.push(step);
        if let Some(launch) = self.launches.last_mut() {
            launch.arguments.clear();
            launch.steps = first..first + 1;
        }
    }

    /// The words of the one argument of `launch`.
    pub(super) fn words_of(&self, launch: &Launch) -> &[u128] {
        match launch.arguments[..] {
            [ref only] => &self.arguments[only.start / 16..only.end.div_ceil(16)],
            _ => &[],
        }
    }

    pub(super) fn clear(&mut self) {
        self.launches.clear();
        self.arguments.clear();
        self.steps.clear();
        self.dealt = 0;
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
