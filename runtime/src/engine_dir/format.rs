//! The engine directory's format: `manifest.json` beside `weights.bin`.
//!
//! `weights.bin` holds one segment after the other in the order of the forward pass. A segment starts on a page and
//! is filled up to one; a tensor part starts on 64 bytes and is filled up to them. All numbers are little-endian.

use std::ops::Range;

use ledger::{BufferClass, Bytes, ElementType, Role};
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;

/// Version of the directory's format. It grows when an older reader could misread a newer engine.
/// Version 2 can have a trimmed vocabulary, whose rows an older reader would take for ids.
pub const FORMAT_VERSION: u32 = 2;

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// The weights' file name.
pub const WEIGHTS: &str = "weights.bin";
/// Alignment of a tensor part within its segment: a cache line, and a full vector register.
pub const PART_ALIGNMENT: u64 = 64;

use crate::ops::matmul_dense::dense_bytes;
use crate::ops::matmul_int4::int4_bytes;
use crate::ops::matmul_int8::int8_bytes;
use crate::ops::{DenseType, HalfType, MatrixError, TILE_ROWS};

/// How a tensor's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorFormat {
    /// Nibbles in tiles, with a scale and possibly a zero point for each row and group of columns.
    Int4 {
        /// Columns that share a scale.
        group_size: usize,
        /// Type of the scales.
        scale_type: HalfType,
        /// Whether zero points are stored; without, every zero point is 8.
        zero_points: bool,
    },
    /// Bytes in tiles, symmetric, with an f16 scale for each row and group of columns.
    Int8 {
        /// Columns that share a scale.
        group_size: usize,
    },
    /// Row-major numbers of one type.
    Dense {
        /// The type: F32, F16 or Bf16.
        element: ElementType,
    },
}

/// What a part of a tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// Nibbles, bytes or numbers.
    Values,
    /// One 16-bit float per row and group.
    Scales,
    /// One nibble per row and group.
    ZeroPoints,
}

impl TensorFormat {
    /// The parts of a [rows, columns] tensor in this format with their sizes, alignment not included.
    ///
    /// # Errors
    /// When the group size does not divide the columns, or a size overflows.
    pub fn parts(&self, rows: usize, columns: usize) -> Result<Vec<(PartKind, u64)>, MatrixError> {
        let (packed, zero_points) = match *self {
            TensorFormat::Int4 { group_size, zero_points, .. } => {
                (int4_bytes(rows, columns, group_size, zero_points)?, zero_points)
            }
            TensorFormat::Int8 { group_size } => (int8_bytes(rows, columns, group_size)?, false),
            TensorFormat::Dense { element } => {
                let element = match element {
                    ElementType::F16 => DenseType::F16,
                    ElementType::Bf16 => DenseType::Bf16,
                    _ => DenseType::F32,
                };
                return Ok(vec![(PartKind::Values, dense_bytes(rows, columns, element)?.0)]);
            }
        };
        let mut parts = vec![(PartKind::Values, packed.values.0), (PartKind::Scales, packed.scales.0)];
        if zero_points {
            parts.push((PartKind::ZeroPoints, packed.zero_points.0));
        }
        Ok(parts)
    }

    /// Columns that share a scale; `None` for numbers of one type.
    pub fn group_size(&self) -> Option<usize> {
        match *self {
            TensorFormat::Int4 { group_size, .. } | TensorFormat::Int8 { group_size } => Some(group_size),
            TensorFormat::Dense { .. } => None,
        }
    }

    /// The element type, for the memory plan.
    pub fn element(&self) -> ElementType {
        match self {
            TensorFormat::Int4 { .. } => ElementType::Int4,
            TensorFormat::Int8 { .. } => ElementType::Int8,
            TensorFormat::Dense { element } => *element,
        }
    }

    /// The size of a [rows, columns] tensor in words.
    pub fn formula(&self, rows: usize, columns: usize) -> String {
        let padded = rows.next_multiple_of(TILE_ROWS);
        match *self {
            TensorFormat::Int4 { group_size, zero_points, .. } => {
                let zeros = if zero_points { " + 1/2 B zero point" } else { "" };
                format!("{padded}·{columns}·1/2 B + {padded}·{columns}/{group_size}·(2 B scale{zeros})")
            }
            TensorFormat::Int8 { group_size } => {
                format!("{padded}·{columns}·1 B + {padded}·{columns}/{group_size}·2 B scale")
            }
            TensorFormat::Dense { element } => {
                format!("{rows}·{columns}·{} B", if element == ElementType::F32 { 4 } else { 2 })
            }
        }
    }
}

/// A run of bytes within a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// What it holds.
    pub kind: PartKind,
    /// Start within the segment.
    pub offset: u64,
    /// Length, alignment not included.
    pub bytes: u64,
}

/// One tensor of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorRecord {
    /// Canonical checkpoint name.
    pub name: String,
    /// Its buffer class.
    pub class: BufferClass,
    /// How it is stored.
    pub format: TensorFormat,
    /// Outputs; 1 for a vector.
    pub rows: usize,
    /// Inputs; the length of a vector.
    pub columns: usize,
    /// Its parts.
    pub parts: Vec<PartRecord>,
    /// What it takes of its segment, alignment included.
    pub bytes: Bytes,
}

impl TensorRecord {
    /// Rows that stand side by side in every part: those of a tile, or a single one of plain numbers.
    pub fn rows_together(&self) -> usize {
        match self.format {
            TensorFormat::Int4 { .. } | TensorFormat::Int8 { .. } => TILE_ROWS,
            TensorFormat::Dense { .. } => 1,
        }
    }

    /// Where `rows` stand in `part`, as offsets within the segment. They start at a multiple of
    /// [`TensorRecord::rows_together`] and end at one, or with the last row.
    pub fn bytes_of_rows(&self, part: &PartRecord, rows: &Range<usize>) -> Range<u64> {
        let together = self.rows_together();
        debug_assert!(rows.start.is_multiple_of(together) && rows.end <= self.rows);
        debug_assert!(rows.end.is_multiple_of(together) || rows.end == self.rows);
        let unit = part.bytes / self.rows.div_ceil(together) as u64;
        let (first, end) = (rows.start / together, rows.end.div_ceil(together));
        part.offset + first as u64 * unit..part.offset + end as u64 * unit
    }
}

/// A run of pages of `weights.bin` that is loaded as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// `embed_tokens`, `layers.<i>`, `norm`, `lm_head` or `mtp`.
    pub name: String,
    /// The decoder layer, where it is one.
    pub layer: Option<u32>,
    /// Target or draft.
    pub role: Role,
    /// Start in the file, a page multiple.
    pub offset: u64,
    /// Length in the file, a page multiple.
    pub bytes: Bytes,
    /// What of it only fills the last page.
    pub alignment: Bytes,
    /// The tensors.
    pub tensors: Vec<TensorRecord>,
    /// SHA-256 of the segment, hexadecimal; empty in a layout that is not built yet.
    pub sha256: String,
}

/// Where an engine's numbers came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceRecord {
    /// Made from a seed: sizes and speeds are real, text is not.
    Synthetic {
        /// Architecture, seed and quantisation.
        recipe: String,
    },
    /// Packed from a checkpoint.
    Checkpoint {
        /// SHA-256 of each file that was read, by file name, in name order.
        files: Vec<(String, String)>,
    },
}

/// What a trimmed vocabulary was made from; its ids are in the map beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VocabularyRecord {
    /// Rows of the checkpoint's table: ids are below this.
    pub original_size: usize,
    /// SHA-256 of the map's file.
    pub map_sha256: String,
}

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub format_version: u32,
    /// The model.
    pub config: ModelConfig,
    /// Where the numbers came from.
    pub source: SourceRecord,
    /// How they were packed.
    pub options: super::BuildOptions,
    /// Where the table has been trimmed: `config` counts the rows that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<VocabularyRecord>,
    /// The segments of `weights.bin`, in order.
    pub segments: Vec<SegmentRecord>,
    /// Length of `weights.bin`.
    pub weights_bytes: Bytes,
    /// SHA-256 over the segments' hashes in order: names the engine.
    pub sha256: String,
}

impl Manifest {
    /// True where the numbers were made from a seed.
    pub fn is_synthetic(&self) -> bool {
        matches!(self.source, SourceRecord::Synthetic { .. })
    }

    /// Token ids are below this. It is what the checkpoint has, however few rows are left of it.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.as_ref().map_or(self.config.vocab_size, |vocabulary| vocabulary.original_size)
    }
}
