//! What an operator needs of the machine, in one value.

use std::ops::Range;

use super::{InstructionSet, Pool, PoolError, SharedMut};

/// The CPU as operators see it: worker threads and the instruction set of their kernels.
#[derive(Debug)]
pub struct Cpu {
    /// Runs parallel sections.
    pub pool: Pool,
    /// Which kernels to use; asking for more than the processor has is capped.
    pub isa: InstructionSet,
}

impl Cpu {
    /// `threads` workers (the caller's thread included) and the best instruction set of this processor.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self, PoolError> {
        Ok(Self { pool: Pool::new(threads)?, isa: InstructionSet::detect() })
    }

    /// Divides `values`, rows of `width` elements, between the workers in contiguous parts of at least `grain` rows, and
    /// calls `body` with each part and the index of its first row.
    ///
    /// # Panics
    /// If `values` is not a whole number of rows.
    pub fn split_rows<T: Send>(
        &self,
        values: &mut [T],
        width: usize,
        grain: usize,
        body: &(dyn Fn(usize, &mut [T]) + Sync),
    ) {
        let width = width.max(1);
        assert!(values.len().is_multiple_of(width), "{} values are not rows of {width}", values.len());
        let rows = values.len() / width;
        let values = SharedMut::new(values);
        self.pool.split(rows, grain, &|part: Range<usize>| {
            // SAFETY: the parts of a split are disjoint, and so are the rows that they name.
            body(part.start, unsafe { values.slice(part.start * width..part.end * width) });
        });
    }
}
