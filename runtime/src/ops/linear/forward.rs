//! Divides the products of a call among the workers.

use thiserror::Error;

use super::{Matrix, Precision, Projection, Store};
use crate::backend::cpu::{ColumnQueue, ColumnsMut, InstructionSet, MATRICES, Pool};
use crate::ops::matrix_error::MatrixError;
use crate::ops::quantize_activations::{QuantizedActivations, quantize_activations};
use crate::ops::{matmul_dense, tiles};

/// Rows in the smallest piece of work: two tiles, what the fastest kernel computes together.
pub const ROWS_TOGETHER: usize = 32;

/// Bytes of weights in the smallest piece of work: at most what fits a core's L2 cache beside the activations that are
/// multiplied with it, and at least what is worth some microseconds.
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

/// The activations of a call, ready for matrices of one group size.
#[derive(Debug)]
pub struct Inputs<'a> {
    x: &'a [f32],
    tokens: usize,
    /// `None` where products are exact.
    quantised: Option<QuantizedActivations<'a>>,
}

impl<'a> Inputs<'a> {
    /// `x [tokens, columns]` for matrices of `group_size`, `None` for dense ones.
    ///
    /// # Errors
    /// If the group size does not fit, or the workspace is smaller than [`super::workspace_bytes`].
    pub fn new(
        pool: &Pool,
        isa: InstructionSet,
        precision: Precision,
        x: &'a [f32],
        tokens: usize,
        group_size: Option<usize>,
        workspace: &'a mut [u8],
    ) -> Result<Inputs<'a>, LinearError> {
        let quantised = match (precision, group_size) {
            (Precision::Fast, Some(size)) => {
                Some(quantize_activations(pool, isa, x, tokens, size, workspace)?)
            }
            _ => None,
        };
        Ok(Inputs { x, tokens, quantised })
    }
}

/// Some outputs of a projection, from as many rows of its matrix.
#[derive(Debug)]
pub struct Rows<'a> {
    /// Those rows of `W`, as a matrix of their own; they start at a multiple of [`ROWS_TOGETHER`] of the whole.
    pub matrix: Matrix<'a>,
    /// All of `y [tokens, outputs]`.
    pub out: &'a mut [f32],
    /// Outputs of the whole projection.
    pub outputs: usize,
    /// Which output the matrix's first row computes.
    pub first: usize,
    /// What happens to the old values of those outputs.
    pub store: Store,
}

/// Computes all `projections` of `x [tokens, columns]`; see the module's documentation.
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
        multiply_all(pool, isa, &Inputs { x, tokens, quantised: None }, projections, |_| true);
        return Ok(());
    }
    let mut next = smallest_group(projections.iter().map(|projection| projection.matrix.group_size()));
    let smallest = next;
    // At least once: dense matrices join the first size, and stand alone only if there is none.
    loop {
        let inputs = Inputs::new(pool, isa, precision, x, tokens, next, workspace)?;
        multiply_all(pool, isa, &inputs, projections, |matrix| matrix.group_size().or(smallest) == next);
        let sizes = projections.iter().filter_map(|projection| projection.matrix.group_size());
        next = sizes.filter(|&size| next.is_some_and(|done| size > done)).min();
        if next.is_none() {
            return Ok(());
        }
    }
}

/// The smallest group size among those of a call's matrices: the one that dense matrices join.
pub fn smallest_group(sizes: impl Iterator<Item = Option<usize>>) -> Option<usize> {
    sizes.flatten().min()
}

/// Computes some rows of one projection in one parallel section: the same bits that [`forward()`] gives these outputs.
///
/// # Errors
/// If a shape does not fit the activations. Nothing is written then.
pub fn multiply_rows(
    pool: &Pool,
    isa: InstructionSet,
    inputs: &Inputs<'_>,
    rows: &mut Rows<'_>,
) -> Result<(), LinearError> {
    let (tokens, columns) = (inputs.tokens, rows.matrix.columns());
    if tokens.checked_mul(columns) != Some(inputs.x.len()) {
        return Err(LinearError::Columns { projection: 0, x: inputs.x.len(), tokens, columns });
    }
    let inside = rows.first.checked_add(rows.matrix.rows()).is_some_and(|end| end <= rows.outputs);
    if !inside || tokens.checked_mul(rows.outputs) != Some(rows.out.len()) {
        let (actual, rows) = (rows.out.len(), rows.outputs);
        return Err(LinearError::Output { projection: 0, actual, tokens, rows });
    }
    if tokens > 0 {
        section(pool, isa, inputs, std::slice::from_mut(rows));
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

/// One parallel section for every [`MATRICES`] of the chosen projections.
fn multiply_all(
    pool: &Pool,
    isa: InstructionSet,
    inputs: &Inputs<'_>,
    projections: &mut [Projection<'_>],
    chosen: impl Fn(&Matrix<'_>) -> bool,
) {
    let mut rest = projections.iter_mut().filter(|projection| chosen(&projection.matrix)).peekable();
    while rest.peek().is_some() {
        let mut batch: [Option<Rows<'_>>; MATRICES] = Default::default();
        for (place, projection) in batch.iter_mut().zip(rest.by_ref().take(MATRICES)) {
            let Projection { matrix, out, store } = projection;
            let outputs = matrix.rows();
            *place = Some(Rows { matrix: *matrix, out, outputs, first: 0, store: *store });
        }
        section(pool, isa, inputs, batch.iter_mut().flatten());
    }
}

/// One parallel section; at most [`MATRICES`] in `batch`.
fn section<'a, 'b: 'a>(
    pool: &Pool,
    isa: InstructionSet,
    inputs: &Inputs<'_>,
    batch: impl IntoIterator<Item = &'a mut Rows<'b>>,
) {
    let mut queue = match inputs.tokens <= tiles::tokens_together(isa) {
        // Weights come from memory once, and the first lines of a run are waited for.
        true => ColumnQueue::in_long_runs(pool.threads()),
        // Once for each block of tokens: from the L2 cache, if they fit.
        false => ColumnQueue::default(),
    };
    let mut work: [Option<(Matrix<'_>, Store)>; MATRICES] = [None; MATRICES];
    let mut outs: [Option<(&mut [f32], usize, usize)>; MATRICES] = Default::default();
    for ((work, out), rows) in work.iter_mut().zip(&mut outs).zip(batch) {
        *work = Some((rows.matrix, rows.store));
        *out = Some((&mut *rows.out, rows.outputs, rows.first));
    }
    let bytes: usize = work.iter().flatten().map(|(matrix, _)| matrix.rows() * row_bytes(matrix)).sum();
    let piece =
        (bytes / (pool.threads() * PIECES_PER_WORKER)).clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end());
    for ((matrix, _), (out, outputs, first)) in work.iter().flatten().zip(outs.into_iter().flatten()) {
        let rows_together = row_bytes(matrix) * ROWS_TOGETHER;
        let grain = (piece / rows_together.max(1)).max(1) * ROWS_TOGETHER;
        queue
            .add_range(out, outputs, first..first + matrix.rows(), grain)
            .expect("outputs hold whole tokens and the batch fits the queue");
    }
    pool.drain(&|_| {
        while let Some((number, mut out)) = queue.claim() {
            let (matrix, store) = work[number].as_ref().expect("the queue holds the matrices of the batch");
            multiply(isa, matrix, inputs, &mut out, *store);
        }
    });
}

fn multiply(
    isa: InstructionSet,
    matrix: &Matrix<'_>,
    inputs: &Inputs<'_>,
    out: &mut ColumnsMut<'_>,
    store: Store,
) {
    let x = inputs.x;
    let tiles = match matrix {
        Matrix::Dense(matrix) => return matmul_dense::multiply(isa, matrix, x, out, store),
        Matrix::Int4(matrix) => matrix.tiles(),
        Matrix::Int8(matrix) => matrix.tiles(),
    };
    match &inputs.quantised {
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
