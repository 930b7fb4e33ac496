//! A 4-bit linear layer in one of the packed layouts.

use std::ops::Range;
use std::path::Path;

use super::awq::AwqLinear;
use super::compressed_tensors::CompressedLinear;
use super::dense;
use super::error::CheckpointError;
use super::gptq::GptqLinear;
use super::half::HalfType;
use super::header::Dtype;
use super::int4::Int4Rows;
use super::quantization::{Quantization, QuantizationProblem};
use super::safetensors::Tensor;
use super::shards::Shards;
use super::source::{LinearKind, check_rows};

/// Rows of an [`Int4Rows`] request start at multiples of this: the most rows that share a packed word.
pub(super) const ROW_BLOCK: usize = 8;

/// Bytes of packed words that are held at once while they are put in order.
pub(super) const BAND_BYTES: usize = 1 << 18;

/// Sizes of a packed layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) group_size: usize,
    pub(super) scale_type: HalfType,
}

impl Layout {
    /// Groups in a row.
    pub(super) fn groups(&self) -> usize {
        self.columns / self.group_size
    }
}

/// A packed layer, its tensors found and their shapes checked.
pub(super) enum Packed<'a> {
    Awq(AwqLinear<'a>),
    CompressedTensors(CompressedLinear<'a>),
    Gptq(GptqLinear<'a>),
}

impl<'a> Packed<'a> {
    /// The packed layer `module` (as in the files) of shape `[rows, columns]`; `None` if it is not packed.
    pub(super) fn find(
        shards: &'a Shards,
        quantization: &Quantization,
        config_path: &Path,
        module: &str,
        shape: [usize; 2],
    ) -> Result<Option<Packed<'a>>, CheckpointError> {
        let has = |tensor: &str| shards.contains(&format!("{module}.{tensor}"));
        let (by_columns, by_rows) = (has("weight_packed"), has("qweight"));
        match quantization {
            Quantization::Awq(groups) if by_rows => {
                AwqLinear::open(shards, module, shape, *groups).map(Packed::Awq).map(Some)
            }
            Quantization::Gptq { groups, zero_offset, desc_act } if by_rows => {
                GptqLinear::open(shards, module, shape, *groups, *zero_offset, *desc_act)
                    .map(Packed::Gptq)
                    .map(Some)
            }
            Quantization::CompressedTensors(groups) if by_columns => {
                CompressedLinear::open(shards, module, shape, groups).map(Packed::CompressedTensors).map(Some)
            }
            _ if by_columns || by_rows => Err(CheckpointError::Quantization {
                path: config_path.to_path_buf(),
                problem: QuantizationProblem::Unexplained {
                    tensor: format!("{module}.{}", if by_rows { "qweight" } else { "weight_packed" }),
                },
            }),
            _ => Ok(None),
        }
    }

    /// What the layer is, for the builder.
    pub(super) fn kind(&self) -> LinearKind {
        let (layout, zero_points) = match self {
            Packed::Awq(linear) => (linear.layout, true),
            Packed::CompressedTensors(linear) => (linear.layout, linear.has_zero_points()),
            Packed::Gptq(linear) => (linear.layout, linear.has_zero_points()),
        };
        LinearKind::Int4 { group_size: layout.group_size, zero_points, scale_type: layout.scale_type }
    }

    /// Reads `rows` in canonical form.
    pub(super) fn read(
        &self,
        module: &str,
        rows: Range<usize>,
        out: &mut Int4Rows,
    ) -> Result<(), CheckpointError> {
        let layout = match self {
            Packed::Awq(linear) => linear.layout,
            Packed::CompressedTensors(linear) => linear.layout,
            Packed::Gptq(linear) => linear.layout,
        };
        check_rows(module, &rows, layout.rows, ROW_BLOCK)?;
        match self {
            Packed::Awq(linear) => linear.read(rows, out),
            Packed::CompressedTensors(linear) => linear.read(rows, out),
            Packed::Gptq(linear) => linear.read(rows, out),
        }
    }
}

/// A tensor of packed words, with its shape checked.
pub(super) fn words<'a>(
    shards: &'a Shards,
    name: String,
    shape: [usize; 2],
) -> Result<Tensor<'a>, CheckpointError> {
    let tensor = shards.require(&name)?;
    check_type(tensor, Dtype::I32, "I32")?;
    dense::check_shape(tensor, &shape)?;
    Ok(tensor)
}

/// Checks the element type of a tensor that has only one.
pub(super) fn check_type(
    tensor: Tensor<'_>,
    dtype: Dtype,
    name: &'static str,
) -> Result<(), CheckpointError> {
    if tensor.dtype() == dtype { Ok(()) } else { Err(dense::wrong_dtype(tensor, name)) }
}

/// An error about what a tensor holds.
pub(super) fn content(tensor: Tensor<'_>, what: impl Into<String>) -> CheckpointError {
    CheckpointError::Content {
        path: tensor.path().to_path_buf(),
        tensor: tensor.name().to_owned(),
        what: what.into(),
    }
}

/// Checks that groups of `group_size` fill the columns of a layer.
pub(super) fn check_groups(
    tensor: Tensor<'_>,
    columns: usize,
    group_size: usize,
) -> Result<(), CheckpointError> {
    if group_size > 0 && group_size.is_multiple_of(32) && columns.is_multiple_of(group_size) {
        return Ok(());
    }
    let what = format!(
        "its {columns} columns are not whole groups of {group_size}; quantise again with a group size of 32, 64 or 128 that divides them"
    );
    Err(content(tensor, what))
}

/// Checks that rows fill whole words where 8 of them share one.
pub(super) fn check_row_words(tensor: Tensor<'_>, rows: usize) -> Result<(), CheckpointError> {
    if rows.is_multiple_of(ROW_BLOCK) {
        return Ok(());
    }
    let what = format!(
        "{rows} rows do not fill words of {ROW_BLOCK}; leave this layer unquantised, as exporters do"
    );
    Err(content(tensor, what))
}

/// Checks that a list of the group of each column (`g_idx`) says nothing but `column / group_size`.
pub(super) fn check_column_order(
    shards: &Shards,
    name: &str,
    columns: usize,
    group_size: usize,
) -> Result<(), CheckpointError> {
    let Some(tensor) = shards.find(name) else { return Ok(()) };
    check_type(tensor, Dtype::I32, "I32")?;
    dense::check_shape(tensor, &[columns])?;
    let mut bytes = vec![0; columns * 4];
    tensor.read(0, &mut bytes)?;
    let mut groups = word_values(&bytes);
    if (0..columns).all(|column| groups.next() == Some((column / group_size) as u32)) {
        return Ok(());
    }
    Err(content(
        tensor,
        "columns are reordered by activation (`desc_act`, `actorder: group`), which is not supported; use a checkpoint quantised without it",
    ))
}

/// Little-endian words.
pub(super) fn word_values(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

/// Writes `from [rows, columns]` transposed into `to [columns, rows]`.
pub(super) fn transpose(from: &[u16], columns: usize, to: &mut [u16]) {
    let rows = from.len().checked_div(columns).unwrap_or(0);
    for (column, to) in to.chunks_exact_mut(rows.max(1)).enumerate() {
        for (to, from) in to.iter_mut().zip(from[column..].iter().step_by(columns)) {
            *to = *from;
        }
    }
}
