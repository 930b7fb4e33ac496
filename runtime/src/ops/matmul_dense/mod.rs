//! Weights as floats: `y[t][r] = Σ_c W[r][c] x[t][c]`, for modules that stay in 16 bits, and for exact checks.
//!
//! `W [rows, columns]` is row-major, its elements f16, bf16 or f32 in little-endian bytes, as a checkpoint holds them.
//! Activations are f32. Each product is summed in f32 in a fixed number of lanes (lane = column modulo the vector length,
//! ascending), and the lanes in a fixed tree, so a result never depends on the other rows and tokens.
//!
//! Size: 2 or 4 bytes a weight, see [`dense_bytes`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
pub mod reference;
#[cfg(test)]
mod tests;

pub(in crate::ops) use portable::{LANES, sum};

use half::{bf16, f16};
use ledger::Bytes;

use super::matrix_error::{MatrixError, check_length};
use super::store::Store;
use crate::backend::cpu::{ColumnsMut, InstructionSet};

pub use super::half_type::DenseType;

/// Size of a dense matrix.
///
/// # Errors
/// If it overflows.
pub fn dense_bytes(rows: usize, columns: usize, element: DenseType) -> Result<Bytes, MatrixError> {
    let bytes = rows.checked_mul(columns).and_then(|count| count.checked_mul(element.size()));
    match bytes {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(Bytes(bytes as u64)),
        _ => Err(MatrixError::TooLarge { rows, columns }),
    }
}

/// A row-major float matrix, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct DenseMatrix<'a> {
    rows: usize,
    columns: usize,
    element: DenseType,
    data: &'a [u8],
}

impl<'a> DenseMatrix<'a> {
    /// `data [rows, columns]` elements as little-endian bytes, at any address.
    ///
    /// # Errors
    /// If `data` does not have the length of [`dense_bytes`].
    pub fn new(rows: usize, columns: usize, element: DenseType, data: &'a [u8]) -> Result<Self, MatrixError> {
        check_length("dense data", data.len(), dense_bytes(rows, columns, element)?.0 as usize)?;
        Ok(Self { rows, columns, element, data })
    }

    /// Outputs of the product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of the product.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The element type.
    pub fn element(&self) -> DenseType {
        self.element
    }

    /// The bytes of row `row`.
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        let bytes = self.columns * self.element.size();
        &self.data[row * bytes..(row + 1) * bytes]
    }

    /// Writes the weights of row `row` to `out [columns]`.
    ///
    /// # Errors
    /// If there is no such row, or `out` has another length.
    pub fn dequantise_row(&self, row: usize, out: &mut [f32]) -> Result<(), MatrixError> {
        if row >= self.rows {
            return Err(MatrixError::RowOutside { row, rows: self.rows });
        }
        check_length("row", out.len(), self.columns)?;
        convert(self.element, self.row(row), out);
        Ok(())
    }
}

/// Converts elements to f32; `bytes` holds as many as `out`.
fn convert(element: DenseType, bytes: &[u8], out: &mut [f32]) {
    let pairs = || bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair));
    match element {
        DenseType::F16 => {
            out.iter_mut().zip(pairs()).for_each(|(out, bits)| *out = f16::from_bits(bits).to_f32())
        }
        DenseType::Bf16 => {
            out.iter_mut().zip(pairs()).for_each(|(out, bits)| *out = bf16::from_bits(bits).to_f32());
        }
        DenseType::F32 => {
            let words = bytes.as_chunks::<4>().0;
            out.iter_mut().zip(words).for_each(|(out, &word)| *out = f32::from_le_bytes(word));
        }
    }
}

/// Multiplies the rows of `matrix` that are the columns of `out` with all tokens of `x [tokens, columns]`.
pub(crate) fn multiply(
    isa: InstructionSet,
    matrix: &DenseMatrix<'_>,
    x: &[f32],
    out: &mut ColumnsMut<'_>,
    store: Store,
) {
    assert_eq!(x.len(), out.rows() * matrix.columns, "activations and outputs have the same tokens");
    assert!(out.columns().end <= matrix.rows, "outputs are rows of the matrix");
    match isa.supported() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => avx512::multiply(matrix, x, out, store),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => avx2::multiply(matrix, x, out, store),
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonDotprod => neon::multiply(matrix, x, out, store),
        InstructionSet::Portable => portable::multiply(matrix, x, out, store),
    }
}
