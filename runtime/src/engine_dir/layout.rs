//! Where each tensor will stand in `weights.bin`: decided from the configuration alone, before a byte is written.

use ledger::{Bytes, ElementType};
use serde::{Deserialize, Serialize};

use super::EngineError;
use super::format::{PART_ALIGNMENT, PartRecord, SegmentRecord, TensorFormat, TensorRecord};
use crate::checkpoint::{CheckpointSource, DenseType, LinearKind};
use crate::memory::PAGE;
use crate::model::modules::{Group, Module, Shape, groups};
use crate::ops::{HalfType, MatrixError};

/// Columns that share a scale where this program quantises by itself: the largest of these that divides a matrix.
const OWN_GROUP_SIZES: [usize; 3] = [128, 64, 32];

/// The usual one, which divides every published size.
pub const OWN_GROUP_SIZE: usize = OWN_GROUP_SIZES[0];

/// How the table that serves look-up and head is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LmHead {
    /// Symmetric bytes, a scale for each 128 inputs, or 64 or 32 where these divide a row and 128 does not.
    #[default]
    Int8,
    /// Nibbles, a scale and a zero point for each 128.
    Int4,
    /// As the checkpoint stores it, where that is 16 bits; f32 becomes f16.
    F16,
}

impl LmHead {
    /// Bytes of a table [rows, columns] that a checkpoint holds in 16 bits, without the alignment of its parts.
    ///
    /// # Errors
    /// When the columns do not divide into groups.
    pub fn table_bytes(self, rows: usize, columns: usize) -> Result<Bytes, MatrixError> {
        // A size that does not divide is refused below, by name.
        let group_size = dividing_group_size(columns).unwrap_or(OWN_GROUP_SIZE);
        let format = match self {
            LmHead::Int8 => TensorFormat::Int8 { group_size },
            LmHead::Int4 => TensorFormat::Int4 { group_size, scale_type: HalfType::F16, zero_points: true },
            LmHead::F16 => TensorFormat::Dense { element: ElementType::F16 },
        };
        Ok(Bytes(format.parts(rows, columns)?.iter().map(|(_, bytes)| bytes).sum()))
    }
}

/// What to do with linear modules that the checkpoint holds in 16 or 32 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Linears {
    /// Leave them as they are.
    #[default]
    Keep,
    /// Nibbles, a scale and a zero point for each 128.
    Int4,
    /// Symmetric bytes, a scale for each 128.
    Int8,
}

/// How a checkpoint is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildOptions {
    /// The table.
    pub lm_head: LmHead,
    /// 16-bit linear modules.
    pub linears: Linears,
}

/// The segments of an engine of `source` packed with `options`, hashes left empty.
pub fn layout(
    source: &dyn CheckpointSource,
    options: &BuildOptions,
) -> Result<Vec<SegmentRecord>, EngineError> {
    let mut offset = 0;
    let mut segments = Vec::new();
    for group in &groups_of(source)? {
        let segment = lay_out_group(source, options, group, offset)?;
        offset += segment.bytes.0;
        segments.push(segment);
    }
    Ok(segments)
}

/// The groups of weights that an engine of `source` has, one for each segment. The draft comes along where there is one; its
/// pages are loaded only when it is used.
pub(super) fn groups_of(source: &dyn CheckpointSource) -> Result<Vec<Group>, EngineError> {
    let config = source.config();
    // Exports often drop the draft's tensors and keep its number of layers in the configuration.
    let draft = config.mtp_layers > 0 && source.linear_kind("mtp.fc")? != LinearKind::Absent;
    Ok(groups(config, draft))
}

fn lay_out_group(
    source: &dyn CheckpointSource,
    options: &BuildOptions,
    group: &Group,
    offset: u64,
) -> Result<SegmentRecord, EngineError> {
    let mut end = 0;
    let mut tensors = Vec::new();
    for module in &group.modules {
        let start = end;
        let (rows, columns, format) = stored(source, options, module)?;
        let mut parts = Vec::new();
        let sizes = format.parts(rows, columns).map_err(|cause| EngineError::matrix(module, cause))?;
        for (kind, bytes) in sizes {
            parts.push(PartRecord { kind, offset: end, bytes });
            end = (end + bytes).next_multiple_of(PART_ALIGNMENT);
        }
        tensors.push(TensorRecord {
            name: module.name.clone(),
            class: module.class,
            format,
            rows,
            columns,
            parts,
            bytes: Bytes(end - start),
        });
    }
    let bytes = end.next_multiple_of(PAGE);
    Ok(SegmentRecord {
        name: group.name.clone(),
        layer: group.layer,
        role: group.role,
        offset,
        bytes: Bytes(bytes),
        alignment: Bytes(bytes - end),
        tensors,
        sha256: String::new(),
    })
}

/// Rows, columns and format under which an engine stores a module.
fn stored(
    source: &dyn CheckpointSource,
    options: &BuildOptions,
    module: &Module,
) -> Result<(usize, usize, TensorFormat), EngineError> {
    let f32 = TensorFormat::Dense { element: ElementType::F32 };
    Ok(match module.shape {
        Shape::Table { rows, columns } => {
            let format = matrix_format(source, module, columns, |element| match options.lm_head {
                LmHead::Int8 => Packing::Int8,
                LmHead::Int4 => Packing::Int4,
                LmHead::F16 => Packing::Dense(halved(element)),
            })?;
            (rows, columns, format)
        }
        Shape::Matrix { rows, columns, requantisable } => {
            let linears = if requantisable { options.linears } else { Linears::Keep };
            let format = matrix_format(source, module, columns, |element| match linears {
                Linears::Keep => Packing::Dense(element),
                Linears::Int4 => Packing::Int4,
                Linears::Int8 => Packing::Int8,
            })?;
            (rows, columns, format)
        }
        Shape::ConvTaps { channels, width } => (width, channels, f32),
        Shape::NormFactor { length, .. } | Shape::NegatedDecay { length } | Shape::Vector { length } => {
            (1, length, f32)
        }
    })
}

/// What becomes of a matrix that the checkpoint holds in plain numbers.
enum Packing {
    Dense(DenseType),
    Int8,
    Int4,
}

/// The format of a matrix: what is quantised stays as it is, everything else follows `packing`.
fn matrix_format(
    source: &dyn CheckpointSource,
    module: &Module,
    columns: usize,
    packing: impl FnOnce(DenseType) -> Packing,
) -> Result<TensorFormat, EngineError> {
    let element = match source.linear_kind(&module.name)? {
        LinearKind::Absent => return Err(EngineError::ModuleMissing { module: module.name.clone() }),
        LinearKind::Int4 { group_size, zero_points, scale_type } => {
            return Ok(TensorFormat::Int4 { group_size, scale_type, zero_points });
        }
        LinearKind::Dense(element) => element,
    };
    Ok(match packing(element) {
        Packing::Dense(element) => TensorFormat::Dense { element: element.into() },
        Packing::Int8 => TensorFormat::Int8 { group_size: own_group_size(columns, module)? },
        Packing::Int4 => TensorFormat::Int4 {
            group_size: own_group_size(columns, module)?,
            scale_type: HalfType::F16,
            zero_points: true,
        },
    })
}

fn halved(element: DenseType) -> DenseType {
    if element == DenseType::F32 { DenseType::F16 } else { element }
}

/// The group size that this program would quantise a matrix with.
fn own_group_size(columns: usize, module: &Module) -> Result<usize, EngineError> {
    dividing_group_size(columns)
        .ok_or_else(|| EngineError::GroupsDoNotDivide { module: module.name.clone(), columns })
}

fn dividing_group_size(columns: usize) -> Option<usize> {
    OWN_GROUP_SIZES.into_iter().find(|group_size| columns.is_multiple_of(*group_size))
}
