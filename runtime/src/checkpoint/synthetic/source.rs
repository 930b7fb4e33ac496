//! The synthetic checkpoint as a [`CheckpointSource`].

use std::ops::Range;

use ::half::f16;

use super::distribution::DenseTensor;
use super::generator::Stream;
use super::linear::Linear;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::half::{DenseType, HalfType};
use crate::checkpoint::int4::Int4Rows;
use crate::checkpoint::packed::ROW_BLOCK;
use crate::checkpoint::source::{
    CheckpointSource, LinearKind, SourceIdentity, check_length, check_rows, unknown,
};
use crate::config::ModelConfig;

/// Version of the values. It grows when a recipe gives other bytes than before.
pub const GENERATOR_VERSION: u32 = 2;

/// Purposes of the streams of a tensor.
const VALUES: u64 = 0;
const SCALES: u64 = 1;
const ZERO_POINTS: u64 = 2;

/// Values are uniform over 0..=15 (variance 255/12), zero points over 6..=9 (variance 15/12), with the same mean.
const ASYMMETRIC_VARIANCE: f64 = (255.0 + 15.0) / 12.0;
/// With the zero point 8, -8 becomes 0: a mean of -1/2 would be small in each value, but the same in all, and a stream of many
/// layers would end up as that mean. What is left are -7..=7, and 0 twice.
const SYMMETRIC_VARIANCE: f64 = 280.0 / 16.0;
/// Scales are uniform within this factor of their base.
const SCALE_RANGE: (f64, f64) = (0.75, 1.25);

/// The zero point of symmetric layers, and of groups without random values.
const ZERO_POINT: u8 = 8;
/// `q - z` of a single value: the largest that the zero point 8 leaves, so that its scale, and it, are exact to f16.
const SINGLE: f64 = 7.0;

/// How the linear layers of a synthetic model are stored. The embedding table, an untied head and
/// `in_proj_a`, `in_proj_b` are bf16, as in published checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyntheticQuantization {
    /// 4 bits, f16 scales.
    Int4 {
        /// Columns that share a scale: a multiple of 32 that divides the columns of every layer.
        group_size: usize,
        /// Whether groups have zero points.
        zero_points: bool,
    },
    /// bf16.
    Dense,
}

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticOptions {
    /// The seed of every value.
    pub seed: u64,
    /// The linear layers.
    pub quantization: SyntheticQuantization,
    /// Whether to make the MTP head, where the architecture has one.
    pub mtp: bool,
}

impl Default for SyntheticOptions {
    /// Seed 0, groups of 128 with zero points, no MTP head.
    fn default() -> SyntheticOptions {
        let quantization = SyntheticQuantization::Int4 { group_size: 128, zero_points: true };
        SyntheticOptions { seed: 0, quantization, mtp: false }
    }
}

/// A checkpoint that is computed, not read.
#[derive(Debug)]
pub struct SyntheticCheckpoint {
    name: String,
    config: ModelConfig,
    options: SyntheticOptions,
}

impl SyntheticCheckpoint {
    /// A model of the architecture `config`, called `name` in the manifest.
    ///
    /// # Errors
    /// A group size that is not a multiple of 32, or that does not divide the columns of every quantised layer.
    pub fn new(
        name: &str,
        mut config: ModelConfig,
        options: SyntheticOptions,
    ) -> Result<SyntheticCheckpoint, CheckpointError> {
        if !options.mtp {
            config.mtp_layers = 0;
        }
        if let SyntheticQuantization::Int4 { group_size, .. } = options.quantization {
            let linear = config.linear_attention.as_ref().map(|linear| linear.value_rows());
            let mut columns =
                [config.hidden_size, config.intermediate_size, config.attention.output_columns()]
                    .into_iter()
                    .chain(linear);
            let blocks = group_size > 0 && group_size.is_multiple_of(32);
            if !blocks || !columns.all(|columns| columns.is_multiple_of(group_size)) {
                return Err(CheckpointError::SyntheticGroupSize { name: name.to_owned(), group_size });
            }
        }
        Ok(SyntheticCheckpoint { name: name.to_owned(), config, options })
    }

    fn int4_group(&self, module: &str) -> Option<(usize, bool)> {
        let last = module.rsplit('.').next().unwrap_or(module);
        match self.options.quantization {
            _ if matches!(last, "embed_tokens" | "lm_head" | "in_proj_a" | "in_proj_b") => None,
            SyntheticQuantization::Int4 { group_size, zero_points } => Some((group_size, zero_points)),
            SyntheticQuantization::Dense => None,
        }
    }

    fn is_absent(&self, name: &str) -> bool {
        self.config.tie_word_embeddings && name.starts_with("lm_head")
    }

    /// The dense tensor `tensor`; `None` where it is packed, or tied to the table.
    fn dense(&self, tensor: &str) -> Result<Option<DenseTensor>, CheckpointError> {
        let shape = self.config.tensor_shape(tensor).ok_or_else(|| unknown(tensor))?;
        let module = tensor.strip_suffix(".weight").filter(|_| shape.len() == 2);
        if module.is_some_and(|module| self.int4_group(module).is_some()) || self.is_absent(tensor) {
            return Ok(None);
        }
        Ok(Some(DenseTensor::new(&self.config, self.options.seed, tensor, &shape)))
    }

    /// The dense tensor `tensor`, for a request of `rows` of it.
    fn dense_rows(&self, tensor: &str, rows: &Range<usize>) -> Result<DenseTensor, CheckpointError> {
        let dense = self.dense(tensor)?.ok_or_else(|| unknown(tensor))?;
        check_rows(tensor, rows, dense.rows, 1)?;
        Ok(dense)
    }
}

impl CheckpointSource for SyntheticCheckpoint {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn identity(&self) -> SourceIdentity {
        let quantization = match self.options.quantization {
            SyntheticQuantization::Int4 { group_size, zero_points: true } => {
                format!("int4 g{group_size} asymmetric")
            }
            SyntheticQuantization::Int4 { group_size, zero_points: false } => {
                format!("int4 g{group_size} symmetric")
            }
            SyntheticQuantization::Dense => "bf16".to_owned(),
        };
        let mtp = if self.config.mtp_layers > 0 { ", mtp" } else { "" };
        let (name, seed) = (&self.name, self.options.seed);
        SourceIdentity::Synthetic {
            recipe: format!("{name}, seed {seed}, {quantization}{mtp}, generator {GENERATOR_VERSION}"),
        }
    }

    fn linear_kind(&self, module: &str) -> Result<LinearKind, CheckpointError> {
        self.config.linear_shape(module).ok_or_else(|| unknown(module))?;
        if self.is_absent(module) {
            return Ok(LinearKind::Absent);
        }
        Ok(match self.int4_group(module) {
            Some((group_size, zero_points)) => {
                LinearKind::Int4 { group_size, zero_points, scale_type: HalfType::F16 }
            }
            None => LinearKind::Dense(DenseType::Bf16),
        })
    }

    fn read_int4(&self, module: &str, rows: Range<usize>, out: &mut Int4Rows) -> Result<(), CheckpointError> {
        let [total, columns] = self.config.linear_shape(module).ok_or_else(|| unknown(module))?;
        let (group_size, zero_points) = self.int4_group(module).ok_or_else(|| unknown(module))?;
        check_rows(module, &rows, total, ROW_BLOCK)?;
        out.reshape(rows.len(), columns, group_size, zero_points);
        out.scale_type = HalfType::F16;

        let variance = if zero_points { ASYMMETRIC_VARIANCE } else { SYMMETRIC_VARIANCE };
        // The mean square of a uniform factor around 1 is 1 + width^2 / 12.
        let spread = 1.0 + (SCALE_RANGE.1 - SCALE_RANGE.0).powi(2) / 12.0;
        let linear = Linear::of(&self.config, module, columns);
        let stream = |purpose| Stream::new(self.options.seed, module, purpose);
        let (values, scales, zeros) = (stream(VALUES), stream(SCALES), stream(ZERO_POINTS));
        let groups = columns / group_size;
        for (index, row) in rows.enumerate() {
            let holds = linear.row(row);
            let random_groups = holds.random.start / group_size..holds.random.end / group_size;
            let base = holds.std / (variance * spread).sqrt();
            let row_values = &mut out.values[index * columns / 2..][..columns / 2];
            let row_scales = &mut out.scales[index * groups..][..groups];
            // Outside the random columns all values are the zero point 8, but for the single one.
            let single = holds.single.map_or(1.0, |(_, value)| value / SINGLE);
            if random_groups.len() < groups {
                row_values.fill(ZERO_POINT | ZERO_POINT << 4);
                row_scales.fill(f16::from_f64(single).to_bits());
            }
            let random_values = &mut row_values[holds.random.start / 2..holds.random.end / 2];
            values.row(row).fill(random_values);
            if !zero_points {
                random_values.iter_mut().for_each(|pair| *pair = without_lowest(*pair));
            }
            let factors = scales.row(row);
            for (group, scale) in row_scales[random_groups.clone()].iter_mut().enumerate() {
                let factor = SCALE_RANGE.0 + (SCALE_RANGE.1 - SCALE_RANGE.0) * factors.unit(group);
                *scale = f16::from_f64(base * factor).to_bits();
            }
            if let Some((column, _)) = holds.single {
                row_values[column / 2] += (SINGLE as u8) << (4 * (column % 2));
            }
            if let Some(zero_points) = &mut out.zero_points {
                let zero_points = &mut zero_points[index * groups..][..groups];
                zero_points.fill(ZERO_POINT);
                let zero_points = &mut zero_points[random_groups];
                zeros.row(row).fill(zero_points);
                zero_points.iter_mut().for_each(|zero_point| *zero_point = 6 + (*zero_point & 3));
            }
        }
        Ok(())
    }

    fn dense_type(&self, tensor: &str) -> Result<Option<DenseType>, CheckpointError> {
        Ok(self.dense(tensor)?.map(|dense| dense.element))
    }

    fn read_rows_f32(
        &self,
        tensor: &str,
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), CheckpointError> {
        let dense = self.dense_rows(tensor, &rows)?;
        check_length(tensor, out.len(), rows.len() * dense.columns)?;
        for (row, out) in rows.zip(out.chunks_exact_mut(dense.columns)) {
            dense.fill_row(row, out);
        }
        Ok(())
    }

    fn read_rows_raw(&self, tensor: &str, rows: Range<usize>, out: &mut [u8]) -> Result<(), CheckpointError> {
        let dense = self.dense_rows(tensor, &rows)?;
        let size = dense.element.size();
        check_length(tensor, out.len(), rows.len() * dense.columns * size)?;
        let mut values = vec![0.0; dense.columns];
        for (row, out) in rows.zip(out.chunks_exact_mut(dense.columns * size)) {
            dense.fill_row(row, &mut values);
            // bf16 values are rounded already: their upper half is all of them.
            for (value, out) in values.iter().zip(out.chunks_exact_mut(size)) {
                out.copy_from_slice(&value.to_bits().to_le_bytes()[4 - size..]);
            }
        }
        Ok(())
    }
}

/// A pair of 4-bit values in which the lowest, 0, is the zero point instead.
#[inline]
fn without_lowest(pair: u8) -> u8 {
    let low = if pair & 0xF == 0 { ZERO_POINT } else { 0 };
    let high = if pair >> 4 == 0 { ZERO_POINT << 4 } else { 0 };
    pair | low | high
}
