//! What the engine builder asks of a checkpoint.

use std::ops::Range;
use std::path::PathBuf;

use super::error::CheckpointError;
use super::half::{DenseType, HalfType};
use super::int4::Int4Rows;
use super::trimmed::KeptRows;
use crate::config::ModelConfig;

/// How a checkpoint stores a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinearKind {
    /// 4-bit values: read it with [`CheckpointSource::read_int4`].
    Int4 {
        /// Columns that share a scale.
        group_size: usize,
        /// Whether a zero point is stored per group; otherwise it is 8 everywhere.
        zero_points: bool,
        /// Type of the scales.
        scale_type: HalfType,
    },
    /// Plain numbers: read the tensor `<module>.weight`.
    Dense(DenseType),
    /// The checkpoint has no such layer (a tied head, an MTP head that was left out).
    Absent,
}

/// Where a checkpoint comes from, for the manifest of an engine that is built from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceIdentity {
    /// A directory, and the files that determine the weights: configuration, index and shards.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Its files, configuration first, shards in order of name.
        files: Vec<PathBuf>,
    },
    /// No files: everything follows from this text.
    Synthetic {
        /// Architecture, seed and quantisation.
        recipe: String,
    },
}

/// A checkpoint, whatever its format. Reads are positioned, so threads may share it and read in any order.
///
/// Modules and tensors are named canonically (see [`crate::checkpoint`]). Row ranges are in rows of the first
/// dimension; a vector has its values as rows of one. Shapes are checked against [`CheckpointSource::config`].
pub trait CheckpointSource: Send + Sync {
    /// The model. `mtp_layers` is 0 when the checkpoint carries no MTP head, whatever its file says.
    fn config(&self) -> &ModelConfig;

    /// Where the weights come from.
    fn identity(&self) -> SourceIdentity;

    /// The rows that are left of the table, where it has been trimmed: `config` counts these.
    fn kept_rows(&self) -> Option<&KeptRows> {
        None
    }

    /// How the linear layer `module` is stored, decided by the tensors that exist. Checks their shapes.
    fn linear_kind(&self, module: &str) -> Result<LinearKind, CheckpointError>;

    /// Fills `out` with rows of the 4-bit linear layer `module`; its allocations are reused.
    ///
    /// `rows` starts at a multiple of 8, and ends at one or at the last row: some layouts pack 8 rows in a word.
    fn read_int4(&self, module: &str, rows: Range<usize>, out: &mut Int4Rows) -> Result<(), CheckpointError>;

    /// Element type of the dense tensor `tensor`, or `None` where the checkpoint lacks it.
    fn dense_type(&self, tensor: &str) -> Result<Option<DenseType>, CheckpointError>;

    /// Writes rows of the dense tensor `tensor` as f32 into `out [rows, columns]`.
    fn read_rows_f32(&self, tensor: &str, rows: Range<usize>, out: &mut [f32])
    -> Result<(), CheckpointError>;

    /// Writes rows of the dense tensor `tensor` as stored (see [`CheckpointSource::dense_type`]), little-endian.
    fn read_rows_raw(&self, tensor: &str, rows: Range<usize>, out: &mut [u8]) -> Result<(), CheckpointError>;

    /// All rows of the 4-bit linear layer `module`.
    fn read_int4_whole(&self, module: &str) -> Result<Int4Rows, CheckpointError> {
        let [rows, _] = self.config().linear_shape(module).ok_or_else(|| unknown(module))?;
        let mut out = Int4Rows::default();
        self.read_int4(module, 0..rows, &mut out)?;
        Ok(out)
    }

    /// All of the dense tensor `tensor` as f32, row-major.
    fn read_whole_f32(&self, tensor: &str) -> Result<Vec<f32>, CheckpointError> {
        let shape = self.config().tensor_shape(tensor).ok_or_else(|| unknown(tensor))?;
        let mut out = vec![0.0; shape.iter().product()];
        self.read_rows_f32(tensor, 0..shape[0], &mut out)?;
        Ok(out)
    }
}

/// The error for a name that the model does not have.
pub(super) fn unknown(name: &str) -> CheckpointError {
    CheckpointError::UnknownTensor { name: name.to_owned() }
}

/// Checks a request for rows, so that a wrong one is an answer and not a panic.
pub(super) fn check_rows(
    name: &str,
    rows: &Range<usize>,
    total: usize,
    multiple: usize,
) -> Result<(), CheckpointError> {
    let aligned =
        rows.start.is_multiple_of(multiple) && (rows.end.is_multiple_of(multiple) || rows.end == total);
    if rows.start <= rows.end && rows.end <= total && aligned {
        return Ok(());
    }
    Err(CheckpointError::Rows { name: name.to_owned(), start: rows.start, end: rows.end, total, multiple })
}

/// Checks the length of a caller's buffer.
pub(super) fn check_length(name: &str, found: usize, expected: usize) -> Result<(), CheckpointError> {
    if found == expected {
        return Ok(());
    }
    Err(CheckpointError::BufferLength { name: name.to_owned(), expected, found })
}
