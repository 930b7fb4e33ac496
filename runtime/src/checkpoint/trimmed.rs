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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{SyntheticCheckpoint, SyntheticOptions, SyntheticQuantization};

    /// A source whose untied head is stored in 4 bits: that of another layer of the same shape.
    struct PackedHead(SyntheticCheckpoint);

    impl CheckpointSource for PackedHead {
        fn config(&self) -> &ModelConfig {
            self.0.config()
        }

        fn identity(&self) -> SourceIdentity {
            self.0.identity()
        }

        fn linear_kind(&self, _: &str) -> Result<LinearKind, CheckpointError> {
            self.0.linear_kind("layers.0.mlp.up_proj")
        }

        fn read_int4(&self, _: &str, rows: Range<usize>, out: &mut Int4Rows) -> Result<(), CheckpointError> {
            self.0.read_int4("layers.0.mlp.up_proj", rows, out)
        }

        fn dense_type(&self, tensor: &str) -> Result<Option<DenseType>, CheckpointError> {
            self.0.dense_type(tensor)
        }

        fn read_rows_f32(
            &self,
            tensor: &str,
            rows: Range<usize>,
            out: &mut [f32],
        ) -> Result<(), CheckpointError> {
            self.0.read_rows_f32(tensor, rows, out)
        }

        fn read_rows_raw(
            &self,
            tensor: &str,
            rows: Range<usize>,
            out: &mut [u8],
        ) -> Result<(), CheckpointError> {
            self.0.read_rows_raw(tensor, rows, out)
        }
    }

    fn source(zero_points: bool) -> Box<PackedHead> {
        let mut config = ModelConfig::published("Qwen3-0.6B").unwrap();
        config.layers.truncate(1);
        (config.hidden_size, config.intermediate_size, config.vocab_size) = (64, 160, 160);
        config.tie_word_embeddings = false;
        let quantization = SyntheticQuantization::Int4 { group_size: 32, zero_points };
        let options = SyntheticOptions { seed: 5, quantization, mtp: false };
        Box::new(PackedHead(SyntheticCheckpoint::new("small", config, options).unwrap()))
    }

    /// Runs of one row, of a part of a word of 8, across words, and the last row.
    const KEPT: [u32; 11] = [0, 3, 4, 5, 6, 7, 8, 9, 31, 158, 159];

    #[test]
    fn rows_in_four_bits_are_those_of_their_ids() {
        for zero_points in [false, true] {
            let whole = source(zero_points).read_int4_whole("lm_head").unwrap();
            let trimmed = TrimmedCheckpoint::new(source(zero_points), KEPT.to_vec());
            let mut row = vec![0.0; 64];
            let mut expected = row.clone();
            for rows in [0..11, 0..8, 8..11] {
                let mut block = Int4Rows::default();
                trimmed.read_int4("lm_head", rows.clone(), &mut block).unwrap();
                assert_eq!((block.rows, block.zero_points.is_some()), (rows.len(), zero_points));
                for (at, id) in KEPT[rows].iter().enumerate() {
                    block.dequantize_row(at, &mut row);
                    whole.dequantize_row(*id as usize, &mut expected);
                    assert_eq!(row, expected, "id {id}");
                }
            }
        }
    }

    #[test]
    fn plain_rows_are_those_of_their_ids_and_other_tensors_are_whole() {
        let (whole, trimmed) = (source(true), TrimmedCheckpoint::new(source(true), KEPT.to_vec()));
        let table = whole.read_whole_f32("embed_tokens.weight").unwrap();
        let mut rows = vec![0.0; 9 * 64];
        trimmed.read_rows_f32("embed_tokens.weight", 2..11, &mut rows).unwrap();
        let mut raw = vec![0; 11 * 64 * 2];
        trimmed.read_rows_raw("embed_tokens.weight", 0..11, &mut raw).unwrap();
        for (row, id) in KEPT.iter().enumerate() {
            let expected = &table[*id as usize * 64..][..64];
            if row >= 2 {
                assert_eq!(&rows[(row - 2) * 64..][..64], expected);
            }
            let raw = raw[row * 128..][..128].chunks_exact(2);
            assert!(raw.zip(expected).all(|(raw, value)| raw == &value.to_bits().to_le_bytes()[2..]));
        }
        assert_eq!(trimmed.read_whole_f32("embed_tokens.weight").unwrap().len(), 11 * 64);
        assert_eq!(
            trimmed.read_whole_f32("norm.weight").unwrap(),
            whole.read_whole_f32("norm.weight").unwrap()
        );
        let beyond =
            trimmed.read_rows_f32("embed_tokens.weight", 0..12, &mut vec![0.0; 12 * 64]).unwrap_err();
        assert!(matches!(beyond, CheckpointError::Rows { total: 11, .. }), "{beyond}");
    }
}
