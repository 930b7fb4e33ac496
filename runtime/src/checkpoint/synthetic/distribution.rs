//! Which numbers the dense tensors of a synthetic model have.

use super::generator::Stream;
use super::linear::Linear;
use super::table::Table;
use crate::checkpoint::half::DenseType;
use crate::config::{Family, ModelConfig};

/// Spread of norm weights around their neutral value.
const NORM_STD: f32 = 0.05;
/// Spread of the taps of the causal convolution: four of them keep the size of their input.
const CONV_STD: f32 = 0.5;
/// What `in_proj_a` adds to `dt_bias`, kept small so that decays stay where `dt_bias` puts them.
const DECAY_INPUT_STD: f32 = 0.3;
/// `exp(A_log)` is uniform between these, as in the initialisation of Mamba 2.
const A_RANGE: (f64, f64) = (1.0, 16.0);
/// Decays per token that `dt_bias` gives at rest, spread evenly in the logarithm of their rate.
const DECAY_RANGE: (f64, f64) = (0.5, 0.999);

/// A dense tensor, ready to be made row by row.
#[derive(Debug)]
pub(super) struct DenseTensor {
    /// What it is stored as: bf16 or f32.
    pub(super) element: DenseType,
    pub(super) rows: usize,
    pub(super) columns: usize,
    distribution: Distribution,
    values: Stream,
    /// The values of the `A_log` beside it, on which `dt_bias` depends.
    a_log: Stream,
}

impl DenseTensor {
    /// The tensor `name` of shape `shape`.
    pub(super) fn new(config: &ModelConfig, seed: u64, name: &str, shape: &[usize]) -> DenseTensor {
        let (distribution, element) = Distribution::of(config, seed, name, shape);
        let layer = name.strip_suffix("dt_bias").unwrap_or_default();
        DenseTensor {
            element,
            rows: shape[0],
            columns: shape[1..].iter().product(),
            distribution,
            values: Stream::new(seed, name, 0),
            a_log: Stream::new(seed, &format!("{layer}A_log"), 0),
        }
    }

    /// Writes row `row` into `out [columns]`.
    pub(super) fn fill_row(&self, row: usize, out: &mut [f32]) {
        match self.distribution {
            Distribution::Table(table) => table.fill_row(row, out),
            Distribution::Linear(linear) => {
                let holds = linear.row(row);
                out.fill(0.0);
                fill_uniform(self.values.row(row), 0.0, holds.std as f32, &mut out[holds.random]);
                if let Some((column, value)) = holds.single {
                    out[column] = round_to_bf16(value as f32);
                }
            }
            Distribution::Uniform { mean, std } => fill_uniform(self.values.row(row), mean, std, out),
            Distribution::ALog => out.fill(a_of(self.values, row).ln() as f32),
            Distribution::DtBias => {
                let [slow, fast] = [DECAY_RANGE.1, DECAY_RANGE.0].map(|decay: f64| (-decay.ln()).ln());
                let rate = (slow + (fast - slow) * self.values.row(row).unit(0)).exp();
                out.fill(round_to_bf16((rate / a_of(self.a_log, row)).exp_m1().ln() as f32));
            }
        }
    }
}

/// The distribution of a tensor's values.
#[derive(Debug, Clone, Copy)]
enum Distribution {
    /// The embedding table, and the head.
    Table(Table),
    /// A linear layer that is not packed.
    Linear(Linear),
    /// Uniform, rounded to bf16.
    Uniform { mean: f32, std: f32 },
    /// `ln a`, one value a head.
    ALog,
    /// `ln(exp(rate / a) - 1)`, the inverse of softplus, one value a head.
    DtBias,
}

impl Distribution {
    /// The distribution of the dense tensor `name` of shape `shape`, and the type that it is stored as.
    fn of(config: &ModelConfig, seed: u64, name: &str, shape: &[usize]) -> (Distribution, DenseType) {
        let columns: usize = shape.iter().skip(1).product();
        let linear_std = 1.0 / (columns as f32).sqrt();
        let uniform = |mean, std| Distribution::Uniform { mean, std };
        let parts = name.trim_end_matches(".weight");
        match parts.rsplit('.').next().unwrap_or(parts) {
            "A_log" => (Distribution::ALog, DenseType::F32),
            "dt_bias" => (Distribution::DtBias, DenseType::Bf16),
            "norm" if parts.ends_with("linear_attn.norm") => (uniform(1.0, NORM_STD), DenseType::F32),
            "embed_tokens" | "lm_head" => (Distribution::Table(Table::new(seed)), DenseType::Bf16),
            "conv1d" => (uniform(0.0, CONV_STD), DenseType::Bf16),
            "in_proj_a" => (uniform(0.0, DECAY_INPUT_STD * linear_std), DenseType::Bf16),
            _ if shape.len() > 1 => {
                (Distribution::Linear(Linear::of(config, parts, columns)), DenseType::Bf16)
            }
            _ => {
                let neutral = if config.family == Family::Qwen35 { 0.0 } else { 1.0 };
                (uniform(neutral, NORM_STD), DenseType::Bf16)
            }
        }
    }
}

/// `exp(A_log)` of head `row`.
fn a_of(a_log: Stream, row: usize) -> f64 {
    A_RANGE.0 + (A_RANGE.1 - A_RANGE.0) * a_log.row(row).unit(0)
}

/// Four values a word, 16 bits each.
pub(super) fn fill_uniform(stream: Stream, mean: f32, std: f32, out: &mut [f32]) {
    // A uniform distribution over -1..1 has a variance of 1/3.
    let scale = std * 3.0_f32.sqrt() / 32768.0;
    let value = |word: u64, lane: usize| {
        let lane = f32::from((word >> (16 * lane)) as u16 as i16) + 0.5;
        round_to_bf16(lane * scale + mean)
    };
    let mut chunks = out.chunks_exact_mut(4);
    let mut index = 0;
    for chunk in &mut chunks {
        let word = stream.word(index);
        for (lane, out) in chunk.iter_mut().enumerate() {
            *out = value(word, lane);
        }
        index += 1;
    }
    let word = stream.word(index);
    for (lane, out) in chunks.into_remainder().iter_mut().enumerate() {
        *out = value(word, lane);
    }
}

/// Rounds a finite number to the nearest that bf16 holds, ties to even.
#[inline]
pub(super) fn round_to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits(bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) & 0xFFFF_0000)
}
