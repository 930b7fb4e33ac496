//! A mutable slice that several workers write at once, each its own part.

use std::marker::PhantomData;
use std::ops::Range;

/// A `&'a mut [T]` that can be lent to all workers of a parallel section. The lengths are checked; that the parts are
/// disjoint is the caller's promise.
#[derive(Debug)]
pub struct SharedMut<'a, T> {
    start: *mut T,
    length: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a `SharedMut` is a `&mut [T]` whose parts go to different threads. Sending parts needs `T: Send`; nothing is
// ever read through a shared reference to `T`, and `slice` makes disjointness the caller's duty.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Takes the slice for as long as it is shared.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), borrow: PhantomData }
    }

    /// Elements in the whole slice.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether the slice has no elements.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// While the result lives, no other part that overlaps `range` may exist, on any thread.
    ///
    /// # Panics
    /// If `range` is not inside the slice.
    // The point of the type is to make several mutable parts from one shared reference.
    #[expect(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "part outside the shared slice");
        // SAFETY: the range lies inside the borrowed slice (checked above), the borrow lasts for `'a`, which outlives
        // `self`, and the caller promises that no other live part overlaps it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_parts_reach_the_original() {
        let mut numbers = vec![0u32; 10];
        let shared = SharedMut::new(&mut numbers);
        std::thread::scope(|scope| {
            for part in 0..2 {
                let shared = &shared;
                scope.spawn(move || {
                    // SAFETY: the two parts are 0..5 and 5..10.
                    let own = unsafe { shared.slice(part * 5..part * 5 + 5) };
                    own.fill(part as u32 + 1);
                });
            }
        });
        assert_eq!(numbers, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
    }

    #[test]
    #[should_panic(expected = "part outside the shared slice")]
    fn a_part_beyond_the_end_is_refused() {
        let mut numbers = [0u8; 4];
        let shared = SharedMut::new(&mut numbers);
        // SAFETY: the only part.
        unsafe { shared.slice(2..5) };
    }
}
