//! Where a series went to another level, by the rule that its noise asks for.

use serde::Serialize;

use super::{divisive, run_length};
use crate::verdict::statistics::median;

/// How values scatter where nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Not at all: what is declared and what a ledger holds.
    None,
    /// By a granule of the driver's pool, now and then.
    Granules,
    /// Resident memory.
    Memory,
    /// Times and rates.
    Time,
}

/// Two granules of 2 MiB: a pool that differs by no more is as large as it was.
const POOL_TOLERANCE: f64 = 2.0 * 2.0 * 1_048_576.0;

impl Noise {
    /// The smallest relative step that is more than noise, where a series is too short to say so itself.
    pub const fn least_step(self) -> f64 {
        match self {
            Noise::None | Noise::Granules | Noise::Memory => 0.01,
            Noise::Time => 0.03,
        }
    }
}

/// A series went to another level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ChangePoint {
    /// Place of the first value of the new level, from 0.
    pub at: usize,
    /// The median of the level before.
    pub before: f64,
    /// The median of the new level.
    pub after: f64,
}

/// Every change of level in `values`, which are in the order of time and all of one fingerprint.
pub fn change_points(values: &[f64], noise: Noise) -> Vec<ChangePoint> {
    let cuts = match noise {
        Noise::None => run_length::changes(values, 0.0),
        Noise::Granules => run_length::changes(values, POOL_TOLERANCE),
        Noise::Memory | Noise::Time => divisive::changes(values, noise.least_step()),
    };
    let level = |from: usize, to: usize| median(&values[from..to]).unwrap_or_default();
    let edge = |place: usize| cuts.get(place).copied().unwrap_or(values.len());
    (0..cuts.len())
        .map(|place| {
            let from = if place == 0 { 0 } else { cuts[place - 1] };
            let at = cuts[place];
            ChangePoint { at, before: level(from, at), after: level(at, edge(place + 1)) }
        })
        .collect()
}
