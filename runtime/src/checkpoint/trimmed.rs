//! A checkpoint with fewer rows in its table: embedding and head lose the same ones, everything else stays.

use std::ops::Range;

use super::error::CheckpointError;
use super::half::DenseType;
use super::int4::Int4Rows;
use super::packed::ROW_BLOCK;
use super::source::{CheckpointSource, LinearKind, SourceIdentity, check_length, check_rows, unknown};
use crate::config::ModelConfig;

/// What is left of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRows {
    /// The id of each row, ascending.
    pub ids: Vec<u32>,
    /// Rows of the whole table: ids are below this.
    pub original: usize,
}

/// A source that has only some rows of another one's table.
pub struct TrimmedCheckpoint {
    source: Box<dyn CheckpointSource>,
    config: ModelConfig,
    kept: KeptRows,
}

impl std::fmt::Debug for TrimmedCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = self.kept.ids.len();
        f.debug_struct("TrimmedCheckpoint").field("rows", &rows).finish_non_exhaustive()
    }
}

impl TrimmedCheckpoint {
    /// The rows `ids` of `source`, which ascend and are the model's.
    pub fn new(source: Box<dyn CheckpointSource>, ids: Vec<u32>) -> TrimmedCheckpoint {
        let original = source.config().vocab_size;
        let config = ModelConfig { vocab_size: ids.len(), ..source.config().clone() };
        TrimmedCheckpoint { source, config, kept: KeptRows { ids, original } }
    }

    /// Calls `read` with each run of consecutive rows of the whole table that `rows` stands for, and where the run begins
    /// within `rows`.
    fn runs(
        &self,
        name: &str,
        rows: &Range<usize>,
        mut read: impl FnMut(Range<usize>, usize) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        check_rows(name, rows, self.kept.ids.len(), 1)?;
        let mut done = 0;
        for run in self.kept.ids[rows.clone()].chunk_by(|a, b| a + 1 == *b) {
            let first = run[0] as usize;
            read(first..first + run.len(), done)?;
            done += run.len();
        }
        Ok(())
    }
}

/// Whether a module, or a tensor, is the table or a head.
fn is_table(name: &str) -> bool {
    matches!(name.strip_suffix(".weight").unwrap_or(name), "embed_tokens" | "lm_head")
}

impl CheckpointSource for TrimmedCheckpoint {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn identity(&self) -> SourceIdentity {
        self.source.identity()
    }

    fn kept_rows(&self) -> Option<&KeptRows> {
        Some(&self.kept)
    }

    fn linear_kind(&self, module: &str) -> Result<LinearKind, CheckpointError> {
        self.source.linear_kind(module)
    }

    fn read_int4(&self, module: &str, rows: Range<usize>, out: &mut Int4Rows) -> Result<(), CheckpointError> {
        if !is_table(module) {
            return self.source.read_int4(module, rows, out);
        }
        let [_, columns] = self.config.linear_shape(module).ok_or_else(|| unknown(module))?;
        let mut block = Int4Rows::default();
        let mut begun = false;
        self.runs(module, &rows, |run, at| {
            // Layouts that pack rows into words are read in whole words.
            let start = run.start / ROW_BLOCK * ROW_BLOCK;
            let end = run.end.next_multiple_of(ROW_BLOCK).min(self.kept.original);
            self.source.read_int4(module, start..end, &mut block)?;
            if !begun {
                out.reshape(rows.len(), columns, block.group_size, block.zero_points.is_some());
                out.scale_type = block.scale_type;
                begun = true;
            }
            let (skip, count) = (run.start - start, run.len());
            let (width, groups) = (columns / 2, block.groups());
            out.values[at * width..][..count * width]
                .copy_from_slice(&block.values[skip * width..][..count * width]);
            out.scales[at * groups..][..count * groups]
                .copy_from_slice(&block.scales[skip * groups..][..count * groups]);
            if let (Some(out), Some(block)) = (&mut out.zero_points, &block.zero_points) {
                out[at * groups..][..count * groups]
                    .copy_from_slice(&block[skip * groups..][..count * groups]);
            }
            Ok(())
        })
    }

    fn dense_type(&self, tensor: &str) -> Result<Option<DenseType>, CheckpointError> {
        self.source.dense_type(tensor)
    }

    fn read_rows_f32(
        &self,
        tensor: &str,
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), CheckpointError> {
        if !is_table(tensor) {
            return self.source.read_rows_f32(tensor, rows, out);
        }
        let columns = self.config.hidden_size;
        check_length(tensor, out.len(), rows.len() * columns)?;
        self.runs(tensor, &rows, |run, at| {
            let count = run.len();
            self.source.read_rows_f32(tensor, run, &mut out[at * columns..][..count * columns])
        })
    }

    fn read_rows_raw(&self, tensor: &str, rows: Range<usize>, out: &mut [u8]) -> Result<(), CheckpointError> {
        if !is_table(tensor) {
            return self.source.read_rows_raw(tensor, rows, out);
        }
        let element = self.dense_type(tensor)?.ok_or_else(|| unknown(tensor))?;
        let width = self.config.hidden_size * element.size();
        check_length(tensor, out.len(), rows.len() * width)?;
        self.runs(tensor, &rows, |run, at| {
            let count = run.len();
            self.source.read_rows_raw(tensor, run, &mut out[at * width..][..count * width])
        })
    }
}
