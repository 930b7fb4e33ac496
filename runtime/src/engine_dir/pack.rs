//! One block of rows: read, packed into the kernels' layout, ready to be written.

use std::ops::Range;

use half::{bf16, f16};
use ledger::ElementType;

use super::EngineError;
use super::format::{PartKind, TensorFormat, TensorRecord};
use crate::checkpoint::{CheckpointSource, Int4Rows, LinearKind};
use crate::model::modules::{Module, Shape};
use crate::ops::{HalfType, TILE_ROWS, matmul_int4, matmul_int8};

/// Values that a block holds at most, but for a single tile of a very wide matrix.
const BLOCK_VALUES: usize = 2 << 20;

/// Some rows of a tensor, on their way into an engine.
#[derive(Debug)]
pub(super) struct Block<'a> {
    module: &'a Module,
    record: &'a TensorRecord,
    rows: Range<usize>,
}

/// A run of bytes of a segment: its offset there, and what to write.
pub(super) type Run = (u64, Vec<u8>);

/// The blocks of a tensor: whole tiles, in order.
pub(super) fn blocks<'a>(module: &'a Module, record: &'a TensorRecord) -> impl Iterator<Item = Block<'a>> {
    let whole = !matches!(module.shape, Shape::Matrix { .. } | Shape::Table { .. });
    let step = match whole {
        true => record.rows,
        false => (BLOCK_VALUES / record.columns).max(1).next_multiple_of(TILE_ROWS),
    };
    (0..record.rows).step_by(step).map(move |start| Block {
        module,
        record,
        rows: start..(start + step).min(record.rows),
    })
}

/// Reads a block and packs it.
pub(super) fn pack(source: &dyn CheckpointSource, block: &Block<'_>) -> Result<Vec<Run>, EngineError> {
    match block.module.shape {
        Shape::Matrix { .. } | Shape::Table { .. } => pack_matrix(source, block),
        _ => Ok(vec![(block.record.parts[0].offset, little_endian(&vector(source, block.module)?))]),
    }
}

/// A vector, or the taps of a convolution, as the kernels want its numbers.
fn vector(source: &dyn CheckpointSource, module: &Module) -> Result<Vec<f32>, EngineError> {
    let mut numbers = source.read_whole_f32(&module.name)?;
    match module.shape {
        Shape::NormFactor { one_plus: true, .. } => numbers.iter_mut().for_each(|number| *number += 1.0),
        Shape::NegatedDecay { .. } => numbers.iter_mut().for_each(|number| *number = -number.exp()),
        Shape::ConvTaps { channels, width } => {
            let mut transposed = vec![0.0; numbers.len()];
            for channel in 0..channels {
                for tap in 0..width {
                    transposed[tap * channels + channel] = numbers[channel * width + tap];
                }
            }
            return Ok(transposed);
        }
        _ => {}
    }
    Ok(numbers)
}

fn pack_matrix(source: &dyn CheckpointSource, block: &Block<'_>) -> Result<Vec<Run>, EngineError> {
    let Block { module, record, rows } = block;
    let stored = source.linear_kind(&module.name)?;
    match (record.format, stored) {
        (TensorFormat::Int4 { .. }, LinearKind::Int4 { .. }) => {
            let mut block_rows = Int4Rows::default();
            source.read_int4(&module.name, rows.clone(), &mut block_rows)?;
            if let Some(&zero_point) =
                block_rows.zero_points.iter().flatten().find(|zero_point| **zero_point > 15)
            {
                return Err(EngineError::ZeroPoint { module: module.name.clone(), zero_point });
            }
            pack_int4(block, &block_rows)
        }
        (TensorFormat::Int4 { group_size, .. }, _) => {
            let weights = dense_rows(source, block)?;
            let (count, groups) = (rows.len(), record.columns / group_size);
            let mut values = vec![0; count * record.columns / 2];
            let (mut scales, mut zero_points) = (vec![0; count * groups], vec![0; count * groups]);
            matmul_int4::quantise_rows(
                &weights,
                record.columns,
                group_size,
                &mut values,
                &mut scales,
                &mut zero_points,
            )
            .map_err(|cause| EngineError::matrix(module, cause))?;
            let block_rows = Int4Rows {
                rows: count,
                columns: record.columns,
                group_size,
                values,
                scales,
                scale_type: HalfType::F16,
                zero_points: Some(zero_points),
            };
            pack_int4(block, &block_rows)
        }
        (TensorFormat::Int8 { group_size }, _) => {
            let weights = dense_rows(source, block)?;
            let count = rows.len();
            let mut values = vec![0; count * record.columns];
            let mut scales = vec![0; count * record.columns / group_size];
            matmul_int8::quantise_rows(&weights, record.columns, group_size, &mut values, &mut scales)
                .map_err(|cause| EngineError::matrix(module, cause))?;
            pack_int8(block, group_size, &values, &scales)
        }
        (TensorFormat::Dense { element }, LinearKind::Dense(found)) if element == found.into() => {
            let tensor = format!("{}.weight", module.name);
            let mut bytes = vec![0; rows.len() * record.columns * found.size()];
            source.read_rows_raw(&tensor, rows.clone(), &mut bytes)?;
            Ok(vec![(row_offset(block, found.size()), bytes)])
        }
        (TensorFormat::Dense { element }, _) => {
            let weights = dense_rows(source, block)?;
            let bytes: Vec<u8> = match element {
                ElementType::F16 => {
                    weights.iter().flat_map(|weight| f16::from_f32(*weight).to_le_bytes()).collect()
                }
                ElementType::Bf16 => {
                    weights.iter().flat_map(|weight| bf16::from_f32(*weight).to_le_bytes()).collect()
                }
                _ => little_endian(&weights),
            };
            let width = if element == ElementType::F32 { 4 } else { 2 };
            Ok(vec![(row_offset(block, width), bytes)])
        }
    }
}

/// The block's rows as f32.
fn dense_rows(source: &dyn CheckpointSource, block: &Block<'_>) -> Result<Vec<f32>, EngineError> {
    let mut weights = vec![0.0; block.rows.len() * block.record.columns];
    source.read_rows_f32(&format!("{}.weight", block.module.name), block.rows.clone(), &mut weights)?;
    Ok(weights)
}

fn row_offset(block: &Block<'_>, width: usize) -> u64 {
    block.record.parts[0].offset + (block.rows.start * block.record.columns * width) as u64
}

fn pack_int4(block: &Block<'_>, rows: &Int4Rows) -> Result<Vec<Run>, EngineError> {
    let mut runs = empty_runs(block)?;
    let source = matmul_int4::RowMajorInt4::new(
        rows.rows,
        rows.columns,
        rows.group_size,
        rows.scale_type,
        &rows.values,
        &rows.scales,
        rows.zero_points.as_deref(),
    )
    .map_err(|cause| EngineError::matrix(block.module, cause))?;
    let mut scales = vec![0_u16; part(&runs, PartKind::Scales).len() / 2];
    let mut zero_points = block
        .record
        .parts
        .iter()
        .any(|part| part.kind == PartKind::ZeroPoints)
        .then(|| vec![0_u8; part(&runs, PartKind::ZeroPoints).len()]);
    matmul_int4::pack(
        &source,
        matmul_int4::PackedInt4Mut {
            values: &mut runs[0].1.1,
            scales: &mut scales,
            zero_points: zero_points.as_deref_mut(),
        },
    )
    .map_err(|cause| EngineError::matrix(block.module, cause))?;
    Ok(finish(runs, &scales, zero_points))
}

fn pack_int8(
    block: &Block<'_>,
    group_size: usize,
    values: &[i8],
    scales: &[u16],
) -> Result<Vec<Run>, EngineError> {
    let mut runs = empty_runs(block)?;
    let source =
        matmul_int8::RowMajorInt8::new(block.rows.len(), block.record.columns, group_size, values, scales)
            .map_err(|cause| EngineError::matrix(block.module, cause))?;
    let mut packed_scales = vec![0_u16; part(&runs, PartKind::Scales).len() / 2];
    matmul_int8::pack(
        &source,
        matmul_int8::PackedInt8Mut { values: &mut runs[0].1.1, scales: &mut packed_scales },
    )
    .map_err(|cause| EngineError::matrix(block.module, cause))?;
    Ok(finish(runs, &packed_scales, None))
}

/// The runs that a block's parts will fill: the tiles of a part lie one after the other.
fn empty_runs(block: &Block<'_>) -> Result<Vec<(PartKind, Run)>, EngineError> {
    let Block { record, rows, .. } = block;
    let parts = |rows: usize| {
        let parts = record.format.parts(rows, record.columns);
        parts.map_err(|cause| EngineError::matrix(block.module, cause))
    };
    let before = parts(rows.start)?;
    let lengths = parts(rows.len())?;
    Ok(record
        .parts
        .iter()
        .zip(before.iter().zip(lengths))
        .map(|(part, ((_, skip), (_, length)))| (part.kind, (part.offset + skip, vec![0; length as usize])))
        .collect())
}

fn part(runs: &[(PartKind, Run)], kind: PartKind) -> &[u8] {
    runs.iter().find(|(found, _)| *found == kind).map_or(&[], |(_, (_, bytes))| bytes.as_slice())
}

fn finish(runs: Vec<(PartKind, Run)>, scales: &[u16], zero_points: Option<Vec<u8>>) -> Vec<Run> {
    let mut zero_points = zero_points.unwrap_or_default();
    runs.into_iter()
        .map(|(kind, (offset, bytes))| match kind {
            PartKind::Values => (offset, bytes),
            PartKind::Scales => (offset, scales.iter().flat_map(|scale| scale.to_le_bytes()).collect()),
            PartKind::ZeroPoints => (offset, std::mem::take(&mut zero_points)),
        })
        .collect()
}

fn little_endian(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
