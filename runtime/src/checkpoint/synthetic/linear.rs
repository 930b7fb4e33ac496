//! What a row of a linear layer holds: random values, a single value, or both; zero elsewhere.

use std::ops::Range;

use super::table::{CONSTANT, FREQUENT_LENGTH, LOGIT_STD};
use crate::config::{LayerKind, ModelConfig};

/// Root mean square that the layers add up to in a channel of the residual stream, where each gives its back-projection what
/// [`BRANCH_INPUT`] says. The logit of a frequent token's successor lies about `FREQUENT_LENGTH * LOGIT_STD / NOISE` standard
/// deviations up; the highest of all the others, at 4.1. Ten per cent less noise, and four successors in five win instead of
/// seven in ten. Found by measurement: docs/numbers.md has the table.
const NOISE: f64 = 0.48;
/// Root mean square of what a branch gives its back-projection: `silu(a) * b` of two normal numbers.
const BRANCH_INPUT: f64 = 0.6;
/// How much less attention without an output gate adds. It averages the tokens, and so passes on what they have in common and
/// little else: at full size, many such layers make all tokens alike, and the likeliest token is the same for ever.
const UNGATED_ATTENTION: f64 = 0.3;
/// What the hidden state, and what attention, add to a channel of the MTP head, in which the embedding has a root mean square
/// of 1.
const MTP_NOISE: f64 = 0.1;
/// How much of the rotated stream a rotating MLP adds to the stream, which keeps the row of the token itself behind.
const ROTATION: f64 = 4.0;
/// What the gates of a rotating MLP let through: `silu` is the identity up to half a percent here.
const GATE: f64 = 8.0;

/// A linear layer, ready to be described row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    part: Part,
    columns: usize,
    hidden: usize,
}

/// What a layer does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    /// Keeps the size of what it is given.
    Random,
    /// Adds to every channel of the residual stream but the last: `gain` times the size of what it is given.
    BackProjection { gain: f64 },
    /// `gate_proj` of a rotating MLP: every row reads the last channel alone, in which the stream has this value after the
    /// norm.
    RotationGate { constant: f64 },
    /// `up_proj` of a rotating MLP: row `j` reads channel `j - 1` of the ring.
    RotationUp,
    /// `down_proj` of a rotating MLP, for a stream of this root mean square.
    RotationDown { size: f64 },
    /// `mtp.fc`: the embedding as it is, and a little of the hidden state.
    MtpInput,
}

/// A row of a linear layer. Columns that it does not name are zero.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LinearRow {
    /// Columns of random values; whole quantisation groups.
    pub(super) random: Range<usize>,
    /// Their standard deviation.
    pub(super) std: f64,
    /// A column outside `random`, and its value.
    pub(super) single: Option<(usize, f64)>,
}

impl Linear {
    /// The linear layer `module` of `columns` columns.
    pub(super) fn of(config: &ModelConfig, module: &str, columns: usize) -> Linear {
        let last_layer = format!("layers.{}.mlp", config.layers.len().saturating_sub(1));
        let (parent, name) = module.rsplit_once('.').unwrap_or_default();
        let mtp = module.starts_with("mtp.");
        let rotates = parent == last_layer || (mtp && parent.ends_with(".mlp"));
        // Of the MTP head, the embedding has gone through a norm.
        let (size, constant) = match mtp {
            true => (1.0, CONSTANT / (FREQUENT_LENGTH * LOGIT_STD)),
            false => (NOISE, CONSTANT / (config.hidden_size as f64).sqrt() / NOISE),
        };
        let gain = if mtp { MTP_NOISE } else { NOISE / BRANCH_INPUT / (branches(config) as f64).sqrt() };
        let part = match name {
            "fc" => Part::MtpInput,
            "gate_proj" if rotates => Part::RotationGate { constant },
            "up_proj" if rotates => Part::RotationUp,
            "down_proj" if rotates => Part::RotationDown { size },
            "o_proj" if !config.attention.output_gate => {
                Part::BackProjection { gain: UNGATED_ATTENTION * gain }
            }
            "o_proj" | "out_proj" | "down_proj" => Part::BackProjection { gain },
            _ => Part::Random,
        };
        Linear { part, columns, hidden: config.hidden_size }
    }

    /// Row `row`.
    pub(super) fn row(&self, row: usize) -> LinearRow {
        let ring = self.hidden - 1;
        let single = |column, value| LinearRow { random: 0..0, std: 0.0, single: Some((column, value)) };
        let random = |columns: Range<usize>, gain: f64| {
            let std = gain / (columns.len() as f64).sqrt();
            LinearRow { random: columns, std, single: None }
        };
        let nothing = LinearRow { random: 0..0, std: 0.0, single: None };
        match self.part {
            Part::Random => random(0..self.columns, 1.0),
            Part::BackProjection { .. } | Part::RotationDown { .. } if row == ring => nothing,
            Part::BackProjection { gain } => random(0..self.columns, gain),
            Part::RotationGate { constant } => single(ring, GATE / constant),
            Part::RotationUp if row < ring => single((row + ring - 1) % ring, 1.0),
            Part::RotationUp => nothing,
            Part::RotationDown { size } if row < self.columns => single(row, ROTATION * size / GATE),
            Part::RotationDown { .. } => nothing,
            Part::MtpInput if row == ring => single(row, 1.0),
            Part::MtpInput => {
                LinearRow { single: Some((row, 1.0)), ..random(self.hidden..self.columns, MTP_NOISE) }
            }
        }
    }
}

/// Branches that add to the residual stream whatever the length of the context: Gated DeltaNet and the random MLPs. Attention
/// averages many random values, so that little is left of it.
fn branches(config: &ModelConfig) -> usize {
    (config.count(LayerKind::LinearAttention) + config.layers.len()).saturating_sub(1).max(1)
}
