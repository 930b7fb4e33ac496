//! Divides the products of a call among the workers.

use thiserror::Error;

use super::{Matrix, Precision, Projection, Store};
use crate::backend::cpu::{ColumnQueue, ColumnsMut, InstructionSet, MATRICES, Pool};
use crate::ops::matrix_error::MatrixError;
use crate::ops::quantize_activations::{QuantizedActivations, quantize_activations};
use crate::ops::{matmul_dense, tiles};

/// Rows in the smallest piece of work: two tiles, what the fastest kernel computes together.
const ROWS_TOGETHER: usize = 32;

/// Bytes of weights in a piece of work. The largest still fits a core's L2 cache beside the activations that are
/// multiplied with it; the smallest is worth some microseconds.
const PIECE_BYTES: std::ops::RangeInclusive<usize> = 32 << 10..=256 << 10;

/// Pieces that each worker should get at least, so that the last one is short beside the whole.
const PIECES_PER_WORKER: usize = 12;

/// Why the products of a call cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LinearError {
    /// A matrix has other columns than the activations.
    #[error(
        "multiply {x} activations, {tokens} tokens, with projection {projection}: its matrix has {columns} columns"
    )]
    Columns {
        /// Place of the projection in the call.
        projection: usize,
        /// Activations in all.
        x: usize,
        /// Tokens.
        tokens: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// An output does not hold rows x tokens values.
    #[error(
        "multiply projection {projection}: its output has {actual} values, {tokens} tokens of {rows} rows are needed"
    )]
    Output {
        /// Place of the projection in the call.
        projection: usize,
        /// Values in the output.
        actual: usize,
        /// Tokens.
        tokens: usize,
        /// Rows of the matrix.
        rows: usize,
    },
    /// The activations cannot be quantised.
    #[error("quantise activations: {0}")]
    Quantise(#[from] MatrixError),
}

/// Computes all `projections` of `x` [tokens, columns]; see the module's documentation.
///
/// # Errors
/// If a shape does not fit, or the workspace is smaller than [`super::workspace_bytes`]. Nothing is written then, unless
/// the projections differ in group size and an earlier size has been done.
pub fn forward(
    pool: &Pool,
    isa: InstructionSet,
    precision: Precision,
    x: &[f32],
    tokens: usize,
    projections: &mut [Projection<'_>],
    workspace: &mut [u8],
) -> Result<(), LinearError> {
    check(x, tokens, projections)?;
    if tokens == 0 {
        return Ok(());
    }
    if precision == Precision::Exact {
        multiply_all(pool, isa, x, None, projections, |_| true);
        return Ok(());
    }
    // Group sizes in ascending order. Dense matrices join the first size, and stand alone only if there is none.
    let smallest = projections.iter().filter_map(|projection| projection.matrix.group_size()).min();
    let Some(smallest) = smallest else {
        multiply_all(pool, isa, x, None, projections, |_| true);
        return Ok(());
    };
    let mut next = Some(smallest);
    while let Some(group_size) = next {
        let activations = quantize_activations(pool, isa, x, tokens, group_size, workspace)?;
        multiply_all(pool, isa, x, Some(&activations), projections, |matrix| {
            matrix.group_size().unwrap_or(smallest) == group_size
        });
        let sizes = projections.iter().filter_map(|projection| projection.matrix.group_size());
        next = sizes.filter(|&size| size > group_size).min();
    }
    Ok(())
}

fn check(x: &[f32], tokens: usize, projections: &[Projection<'_>]) -> Result<(), LinearError> {
    for (index, projection) in projections.iter().enumerate() {
        let (rows, columns) = (projection.matrix.rows(), projection.matrix.columns());
        if tokens.checked_mul(columns) != Some(x.len()) {
            return Err(LinearError::Columns { projection: index, x: x.len(), tokens, columns });
        }
        if tokens.checked_mul(rows) != Some(projection.out.len()) {
            let actual = projection.out.len();
            return Err(LinearError::Output { projection: index, actual, tokens, rows });
        }
    }
    Ok(())
}

/// One parallel section for every [`MATRICES`] of the chosen projections. Without `activations` the product is exact.
fn multiply_all(
    pool: &Pool,
    isa: InstructionSet,
    x: &[f32],
    activations: Option<&QuantizedActivations<'_>>,
    projections: &mut [Projection<'_>],
    chosen: impl Fn(&Matrix<'_>) -> bool,
) {
    let mut rest = projections.iter_mut().filter(|projection| chosen(&projection.matrix)).peekable();
    while rest.peek().is_some() {
        let mut batch: [Option<(Matrix<'_>, Store, &mut [f32])>; MATRICES] = Default::default();
        for (place, projection) in batch.iter_mut().zip(rest.by_ref().take(MATRICES)) {
            *place = Some((projection.matrix, projection.store, &mut *projection.out));
        }
        let bytes: usize = batch.iter().flatten().map(|(matrix, ..)| matrix.rows() * row_bytes(matrix)).sum();
        let piece =
            (bytes / (pool.threads() * PIECES_PER_WORKER)).clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end());
        let mut queue = ColumnQueue::default();
        let mut work: [Option<(Matrix<'_>, Store)>; MATRICES] = [None; MATRICES];
        for (place, (matrix, store, out)) in work.iter_mut().zip(batch.iter_mut().flatten()) {
            let rows_together = row_bytes(matrix) * ROWS_TOGETHER;
            let grain = (piece / rows_together.max(1)).max(1) * ROWS_TOGETHER;
            *place = Some((*matrix, *store));
            queue
                .add(out, matrix.rows(), grain)
                .expect("outputs hold whole tokens and the batch fits the queue");
        }
        pool.drain(&|| {
            while let Some((number, mut out)) = queue.claim() {
                let (matrix, store) =
                    work[number].as_ref().expect("the queue holds the matrices of the batch");
                multiply(isa, matrix, x, activations, &mut out, *store);
            }
        });
    }
}

fn multiply(
    isa: InstructionSet,
    matrix: &Matrix<'_>,
    x: &[f32],
    activations: Option<&QuantizedActivations<'_>>,
    out: &mut ColumnsMut<'_>,
    store: Store,
) {
    let tiles = match matrix {
        Matrix::Dense(matrix) => return matmul_dense::multiply(isa, matrix, x, out, store),
        Matrix::Int4(matrix) => matrix.tiles(),
        Matrix::Int8(matrix) => matrix.tiles(),
    };
    match activations {
        Some(activations) => tiles::multiply(isa, tiles, activations, out, store),
        None => tiles::multiply_exact(isa, tiles, x, out, store),
    }
}

/// Bytes of weights in one row.
fn row_bytes(matrix: &Matrix<'_>) -> usize {
    match matrix {
        Matrix::Int4(matrix) => matrix.tiles().row_bytes(),
        Matrix::Int8(matrix) => matrix.tiles().row_bytes(),
        Matrix::Dense(matrix) => matrix.columns() * matrix.element().size(),
    }
}
