//! Rows of a streamed table, looked up by id.

use super::Weight;
use super::stream::{Stream, StreamError};
use crate::ops::linear::Matrix;

/// Reads the rows `ids` of `table` at `places` of the ids, and calls `each` with a place, a matrix and the row of it that was asked
/// for. Ids whose rows stand in one tile share its read.
///
/// # Errors
/// If one of them cannot be read; the others may have been passed on.
pub(crate) fn look_up(
    stream: &Stream,
    table: &Weight,
    ids: &[u32],
    mut places: Vec<usize>,
    mut each: impl FnMut(usize, &Matrix<'_>, usize),
) -> Result<(), StreamError> {
    places.sort_unstable_by_key(|place| ids[*place]);
    let around = |place: usize| table.rows_around(ids[place] as usize);
    let groups: Vec<&[usize]> = places.chunk_by(|a, b| around(*a) == around(*b)).collect();
    let wanted: Vec<_> = groups.iter().map(|group| table.pieces(&around(group[0]))).collect();
    stream.look_up(&wanted, |number, pieces, slot| {
        let rows = around(groups[number][0]);
        let matrix = table.looked_up(&rows, pieces, slot);
        for &place in groups[number] {
            each(place, &matrix, ids[place] as usize - rows.start);
        }
    })
}
