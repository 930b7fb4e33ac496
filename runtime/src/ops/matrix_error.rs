//! Why a weight matrix cannot be laid out, packed or read.

use thiserror::Error;

/// A weight matrix or one of its parts is not what its shape says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MatrixError {
    /// The group size does not fit.
    #[error(
        "lay out a matrix of {columns} columns in groups of {group_size}: \
         the group size must divide the columns and be a multiple of 32, at most 16384"
    )]
    GroupSize {
        /// Columns of the matrix.
        columns: usize,
        /// Group size asked for.
        group_size: usize,
    },
    /// The sizes overflow the address space.
    #[error("lay out a matrix of {rows} rows and {columns} columns: too large for this machine")]
    TooLarge {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// A part has the wrong length.
    #[error("read the {part} of a matrix: {actual} elements are there, its shape needs {expected}")]
    Length {
        /// Which part.
        part: &'static str,
        /// Elements there.
        actual: usize,
        /// Elements needed.
        expected: usize,
    },
    /// Zero points are given, and the packed form has no place for them.
    #[error(
        "pack an asymmetric matrix: the packed form was laid out without zero points; lay it out with them"
    )]
    ZeroPointsLost,
    /// A row that does not exist.
    #[error("read row {row} of a matrix of {rows} rows")]
    RowOutside {
        /// Row asked for.
        row: usize,
        /// Rows there.
        rows: usize,
    },
    /// A weight is infinite or not a number.
    #[error("quantise row {row}: the weight in column {column} is not finite; the checkpoint is damaged")]
    NotFinite {
        /// Row of the weight.
        row: usize,
        /// Column of the weight.
        column: usize,
    },
    /// A group's range is beyond what a 16-bit float scale can say.
    #[error(
        "quantise row {row}: the scale of the group at column {column} exceeds 65504; keep this module in 16 bits"
    )]
    ScaleOverflow {
        /// Row of the group.
        row: usize,
        /// First column of the group.
        column: usize,
    },
}

/// `Ok` if `part` has `expected` elements.
pub(crate) fn check_length(part: &'static str, actual: usize, expected: usize) -> Result<(), MatrixError> {
    if actual == expected { Ok(()) } else { Err(MatrixError::Length { part, actual, expected }) }
}
