//! Shares the columns of several output matrices among workers, each column range to exactly one of them.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Matrices that one queue can hold.
pub const MATRICES: usize = 8;

/// A queue of column ranges of up to [`MATRICES`] row-major matrices. Workers claim ranges until none is left, so a worker
/// whose core is slow or taken away holds up the others by one claim at most.
#[derive(Debug, Default)]
pub struct ColumnQueue<'a> {
    matrices: [Option<Matrix<'a>>; MATRICES],
    next: AtomicUsize,
    /// Ranges in all.
    ranges: usize,
    /// Among how many workers neighbouring ranges are shared; 0 where each is claimed for itself.
    sharers: usize,
}

#[derive(Debug)]
struct Matrix<'a> {
    start: *mut f32,
    rows: usize,
    stride: usize,
    columns: usize,
    grain: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the queue owns mutable borrows of the matrices, and `claim` gives every element to one claimant only.
unsafe impl Sync for ColumnQueue<'_> {}
// SAFETY: as above.
unsafe impl Send for ColumnQueue<'_> {}

impl<'a> ColumnQueue<'a> {
    /// An empty queue that hands out neighbouring ranges together, many at first and fewer towards the end (guided
    /// self-scheduling, Polychronopoulos and Kuck 1987): half of each of the `workers`' part of what is left.
    pub fn in_long_runs(workers: usize) -> ColumnQueue<'a> {
        ColumnQueue { sharers: workers, ..ColumnQueue::default() }
    }

    /// Adds a matrix of `columns` columns, to be handed out `grain` columns at a time; its number is its place in the order of
    /// addition. Gives the slice back if the queue is full or the length is not a multiple of `columns`.
    pub fn add(&mut self, values: &'a mut [f32], columns: usize, grain: usize) -> Result<(), &'a mut [f32]> {
        self.add_range(values, columns, 0..columns, grain)
    }

    /// As [`ColumnQueue::add`], but hands out only the columns of `range`, as if they were the whole matrix: the first of them
    /// is column 0. Gives the slice back as well if `range` is not inside `0..columns`.
    pub fn add_range(
        &mut self,
        values: &'a mut [f32],
        columns: usize,
        range: Range<usize>,
        grain: usize,
    ) -> Result<(), &'a mut [f32]> {
        let free = self.matrices.iter_mut().find(|matrix| matrix.is_none());
        let inside = range.start <= range.end && range.end <= columns;
        match (free, values.len().checked_div(columns)) {
            (Some(free), Some(rows)) if rows * columns == values.len() && inside => {
                // A matrix without rows has no element at `range.start`, and none is ever reached.
                let start = values.as_mut_ptr().wrapping_add(range.start);
                let grain = grain.max(1);
                self.ranges += range.len().div_ceil(grain);
                *free = Some(Matrix {
                    start,
                    rows,
                    stride: columns,
                    columns: range.len(),
                    grain,
                    borrow: PhantomData,
                });
                Ok(())
            }
            _ => Err(values),
        }
    }

    /// The next range that nobody has claimed, or several of one matrix as one, with the number of the matrix; `None` when all
    /// are taken.
    pub fn claim(&self) -> Option<(usize, ColumnsMut<'_>)> {
        // Relaxed is enough: only the uniqueness of tickets matters, the section's end publishes the results.
        let mut first = self.next.load(Ordering::Relaxed);
        loop {
            let (number, matrix, place) = self.find(first)?;
            let together = match self.sharers {
                0 => 1,
                sharers => ((self.ranges - first) / (2 * sharers)).max(1),
            };
            let end = (place + together).min(matrix.columns.div_ceil(matrix.grain));
            let next = first + (end - place);
            match self.next.compare_exchange_weak(first, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let columns = place * matrix.grain..(end * matrix.grain).min(matrix.columns);
                    let (start, rows, stride) = (matrix.start, matrix.rows, matrix.stride);
                    return Some((number, ColumnsMut { start, rows, stride, columns, borrow: PhantomData }));
                }
                Err(other) => first = other,
            }
        }
    }

    /// The matrix that a ticket is of, its number, and which of its ranges that is.
    fn find(&self, mut ticket: usize) -> Option<(usize, &Matrix<'a>, usize)> {
        for (number, matrix) in self.matrices.iter().enumerate() {
            let matrix = matrix.as_ref()?;
            let ranges = matrix.columns.div_ceil(matrix.grain);
            if ticket < ranges {
                return Some((number, matrix, ticket));
            }
            ticket -= ranges;
        }
        None
    }
}

/// Some columns of a row-major matrix, borrowed mutably.
#[derive(Debug)]
pub struct ColumnsMut<'a> {
    start: *mut f32,
    rows: usize,
    stride: usize,
    columns: Range<usize>,
    borrow: PhantomData<&'a mut [f32]>,
}

impl ColumnsMut<'_> {
    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Which columns of the matrix, or of the range that was added, these are.
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// These columns of row `row`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row outside the matrix");
        // SAFETY: row and columns lie inside the matrix, which is borrowed mutably for longer than `self`; no other
        // `ColumnsMut` has these columns, because tickets are unique; `&mut self` keeps the result the only reference.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.start.add(row * self.stride + self.columns.start),
                self.columns.len(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_handed_out_once() {
        let (mut first, mut second) = (vec![0.0f32; 3 * 50], vec![0.0f32; 3 * 7]);
        let mut queue = ColumnQueue::default();
        queue.add(&mut first, 50, 16).unwrap();
        queue.add(&mut second, 7, 100).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some((number, mut part)) = queue.claim() {
                        assert!(number == 1 || part.columns().start % 16 == 0);
                        for row in 0..part.rows() {
                            part.row(row).iter_mut().for_each(|value| *value += 1.0 + number as f32);
                        }
                    }
                });
            }
        });
        assert!(first.iter().all(|&value| value == 1.0));
        assert!(second.iter().all(|&value| value == 2.0));
    }

    #[test]
    fn long_runs_come_first_and_cover_everything_once() {
        let (mut first, mut second) = (vec![0.0f32; 2 * 640], vec![0.0f32; 2 * 40]);
        let mut queue = ColumnQueue::in_long_runs(2);
        queue.add(&mut first, 640, 10).unwrap();
        queue.add(&mut second, 40, 10).unwrap();
        let mut runs = Vec::new();
        while let Some((number, mut part)) = queue.claim() {
            runs.push((number, part.columns().len()));
            (0..2).for_each(|row| part.row(row).iter_mut().for_each(|value| *value += 1.0));
        }
        // A quarter of 68 ranges, of the 51 that are left, and so on; never past the end of a matrix.
        assert_eq!(runs[..3], [(0, 170), (0, 120), (0, 90)]);
        assert_eq!(runs[runs.len() - 4..], [(1, 10); 4]);
        assert!(first.iter().chain(&second).all(|&value| value == 1.0));
    }

    #[test]
    fn a_range_is_handed_out_as_if_it_were_the_matrix() {
        let mut values = vec![0.0f32; 3 * 50];
        let mut queue = ColumnQueue::default();
        queue.add_range(&mut values, 50, 32..45, 8).unwrap();
        let mut seen = Vec::new();
        while let Some((_, mut part)) = queue.claim() {
            seen.push(part.columns());
            (0..part.rows()).for_each(|row| part.row(row).fill(1.0 + row as f32));
        }
        assert_eq!(seen, [0..8, 8..13]);
        for (index, &value) in values.iter().enumerate() {
            let expected = if (32..45).contains(&(index % 50)) { 1.0 + (index / 50) as f32 } else { 0.0 };
            assert_eq!(value, expected, "{index}");
        }
    }

    #[test]
    fn what_does_not_fit_is_given_back() {
        let mut values = vec![0.0f32; 10];
        assert!(ColumnQueue::default().add_range(&mut values, 5, 2..6, 1).is_err());
        assert!(ColumnQueue::default().add(&mut values, 3, 1).is_err());
        assert!(ColumnQueue::default().add(&mut values, 0, 1).is_err());
        let mut many = [[0.0f32; 2]; MATRICES + 1];
        let mut queue = ColumnQueue::default();
        let refused = many.iter_mut().filter_map(|values| queue.add(values, 2, 1).err()).count();
        assert_eq!(refused, 1);
    }
}
