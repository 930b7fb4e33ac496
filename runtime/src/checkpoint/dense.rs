//! Plain tensors in bf16, f16 or f32, and the scales of packed ones.

use std::ops::Range;

use ::half::f16;
use ::half::slice::HalfFloatSliceExt;

use super::error::CheckpointError;
use super::half::{DenseType, HalfType};
use super::header::Dtype;
use super::safetensors::Tensor;
use super::source::{check_length, check_rows};

/// Bytes that are read at once on the way to f32.
const BAND_BYTES: usize = 1 << 20;

/// The element type of a dense tensor.
pub(super) fn element(tensor: Tensor<'_>) -> Result<DenseType, CheckpointError> {
    match tensor.dtype() {
        Dtype::F16 => Ok(DenseType::F16),
        Dtype::BF16 => Ok(DenseType::Bf16),
        Dtype::F32 => Ok(DenseType::F32),
        _ => Err(wrong_dtype(tensor, "BF16, F16 or F32")),
    }
}

/// Checks the shape of a tensor. Inner dimensions of 1 may be left out (`conv1d.weight` has one).
pub(super) fn check_shape(tensor: Tensor<'_>, expected: &[usize]) -> Result<(), CheckpointError> {
    let found = tensor.shape();
    let significant = |shape: &[usize]| -> Vec<usize> {
        let (first, inner) = shape.split_at(shape.len().min(1));
        first.iter().chain(inner.iter().filter(|&&size| size != 1)).copied().collect()
    };
    if significant(found) == significant(expected) {
        return Ok(());
    }
    Err(CheckpointError::Shape {
        path: tensor.path().to_path_buf(),
        tensor: tensor.name().to_owned(),
        expected: expected.to_vec(),
        found: found.to_vec(),
    })
}

/// The error for a tensor whose type its layout does not have.
pub(super) fn wrong_dtype(tensor: Tensor<'_>, expected: &'static str) -> CheckpointError {
    CheckpointError::Dtype {
        path: tensor.path().to_path_buf(),
        tensor: tensor.name().to_owned(),
        expected,
        found: tensor.dtype().to_string(),
    }
}

/// Reads rows of a tensor as stored. `out` holds exactly their bytes.
pub(super) fn read_raw(
    tensor: Tensor<'_>,
    rows: Range<usize>,
    out: &mut [u8],
) -> Result<(), CheckpointError> {
    let (total, columns) = rows_and_columns(tensor.shape());
    check_rows(tensor.name(), &rows, total, 1)?;
    let row_bytes = columns * element(tensor)?.size();
    check_length(tensor.name(), out.len(), rows.len() * row_bytes)?;
    tensor.read(rows.start as u64 * row_bytes as u64, out)
}

/// Reads rows of a tensor as f32 into `out [rows, columns]`, through a small buffer.
pub(super) fn read_f32(
    tensor: Tensor<'_>,
    rows: Range<usize>,
    out: &mut [f32],
) -> Result<(), CheckpointError> {
    let (total, columns) = rows_and_columns(tensor.shape());
    check_rows(tensor.name(), &rows, total, 1)?;
    check_length(tensor.name(), out.len(), rows.len() * columns)?;
    let element = element(tensor)?;
    let mut offset = (rows.start * columns) as u64 * element.size() as u64;
    let mut bytes = vec![0; BAND_BYTES.min(std::mem::size_of_val(out))];
    for out in out.chunks_mut(BAND_BYTES / element.size()) {
        let bytes = &mut bytes[..out.len() * element.size()];
        tensor.read(offset, bytes)?;
        to_f32(element, bytes, out);
        offset += bytes.len() as u64;
    }
    Ok(())
}

/// Numbers of `element`, little-endian in `bytes`, as f32.
pub(super) fn to_f32(element: DenseType, bytes: &[u8], out: &mut [f32]) {
    match element {
        DenseType::Bf16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *out = f32::from_bits(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])) << 16);
            }
        }
        DenseType::F16 => {
            const BLOCK: usize = 256;
            let mut block = [f16::ZERO; BLOCK];
            for (out, bytes) in out.chunks_mut(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
                for (half, bytes) in block.iter_mut().zip(bytes.chunks_exact(2)) {
                    *half = f16::from_le_bytes([bytes[0], bytes[1]]);
                }
                block[..out.len()].convert_to_f32_slice(out);
            }
        }
        DenseType::F32 => {
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *out = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
    }
}

/// The half type that holds all scales of `tensor` exactly: its own, or for f32 the first of f16 and bf16 that does.
///
/// f32 scales that neither type holds are refused: rounding them would change the model without a word.
pub(super) fn scale_type(tensor: Tensor<'_>) -> Result<HalfType, CheckpointError> {
    match element(tensor)? {
        DenseType::F16 => Ok(HalfType::F16),
        DenseType::Bf16 => Ok(HalfType::Bf16),
        DenseType::F32 => {
            let (rows, columns) = rows_and_columns(tensor.shape());
            let mut scales = vec![0.0; rows * columns];
            read_f32(tensor, 0..rows, &mut scales)?;
            let holds = |half: HalfType| scales.iter().all(|&scale| half.exact_bits(scale).is_some());
            [HalfType::F16, HalfType::Bf16].into_iter().find(|&half| holds(half)).ok_or_else(|| {
                CheckpointError::Content {
                    path: tensor.path().to_path_buf(),
                    tensor: tensor.name().to_owned(),
                    what: "its f32 scales are exact neither in f16 nor in bf16; export the checkpoint with 16-bit scales".into(),
                }
            })
        }
    }
}

/// Reads the block `rows` x `columns` of a matrix of scales as bits of `half`, which [`scale_type`] chose.
pub(super) fn read_scales(
    tensor: Tensor<'_>,
    half: HalfType,
    rows: Range<usize>,
    columns: Range<usize>,
) -> Result<Vec<u16>, CheckpointError> {
    let size = element(tensor)?.size();
    let row_bytes = rows_and_columns(tensor.shape()).1 * size;
    let mut bytes = vec![0; rows.len() * columns.len() * size];
    tensor.read_block(rows, row_bytes, columns.start * size..columns.end * size, &mut bytes)?;
    if size == 2 {
        return Ok(bytes.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])).collect());
    }
    bytes
        .chunks_exact(4)
        .map(|bytes| half.exact_bits(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
        .collect::<Option<Vec<u16>>>()
        .ok_or_else(|| CheckpointError::Content {
            path: tensor.path().to_path_buf(),
            tensor: tensor.name().to_owned(),
            what: "its f32 scales changed while they were read; do not write to a checkpoint that is in use"
                .into(),
        })
}

/// The first dimension, and the product of the others. A vector has rows of one value, a scalar is one row.
pub(super) fn rows_and_columns(shape: &[usize]) -> (usize, usize) {
    match shape.split_first() {
        Some((&rows, inner)) => (rows, inner.iter().product()),
        None => (1, 1),
    }
}
