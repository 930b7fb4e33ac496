//! In which order trials run.
//!
//! A machine drifts: it warms up, its caches fill, other programs come and go. In the order of the file that drift falls on the last
//! cells and looks like a difference between cells. In blocks each cell has one trial in every stretch of time, at a place that
//! chance gives it, so that drift falls on all of them alike; and a run that ends early has as many trials of one cell as of another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cell, Scenario, hex_sha256};

/// In which order trials run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOrder {
    /// Cell after cell in the order of the axes, each with all of its trials.
    AsWritten,
    /// The first trial of every cell, then the second of every cell, and so on; each time in another order, which follows from the
    /// scenario's `seed`.
    #[default]
    BlockedRandom,
}

impl RunOrder {
    /// The word in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            RunOrder::AsWritten => "as_written",
            RunOrder::BlockedRandom => "blocked_random",
        }
    }
}

impl Scenario {
    /// Every trial of `cells` in the order in which they run: the cell by its place there, and the number of the trial. What is left
    /// out of `cells` does not change the order of the others.
    pub fn visits(&self, cells: &[Cell]) -> Vec<(usize, u32)> {
        match self.order {
            RunOrder::AsWritten => {
                (0..cells.len()).flat_map(|at| (0..self.trials).map(move |trial| (at, trial))).collect()
            }
            RunOrder::BlockedRandom => (0..self.trials).flat_map(|trial| self.block(cells, trial)).collect(),
        }
    }

    /// Trial `trial` of every cell. Cells are drawn by a hash of seed, trial and id.
    fn block(&self, cells: &[Cell], trial: u32) -> Vec<(usize, u32)> {
        let mut block: Vec<(usize, u32)> = (0..cells.len()).map(|at| (at, trial)).collect();
        block.sort_by_cached_key(|(at, _)| {
            hex_sha256(format!("{} {trial} {}", self.seed, cells[*at].id.0).as_bytes())
        });
        block
    }
}
