//! `reports/baselines/<board>.json`.

use std::collections::BTreeMap;

use ledger::{BufferClass, Bytes, Phase};
use serde::{Deserialize, Serialize};

use super::Fingerprint;

/// Version of the form. It grows with every change that an older reader could misread.
pub const FORMAT_VERSION: u32 = 1;

/// What was declared and measured on one board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Version of this form.
    pub format_version: u32,
    /// The board, as the file is named.
    pub board: String,
    /// Scenario, then cell by model and axis values: see [`super::cell_key`].
    pub scenarios: BTreeMap<String, BTreeMap<String, LockedCell>>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LockedCell {
    /// Name of the run that it comes from.
    pub run: String,
    /// What it was measured in and with.
    pub fingerprint: Fingerprint,
    /// Bytes of every buffer by the ledger's key: the larger of what the plan says and of what any trial held.
    pub declared_bytes: BTreeMap<String, Bytes>,
    /// Bytes by class at the end of each phase: the median of the trials.
    pub held_bytes: BTreeMap<Phase, BTreeMap<BufferClass, Bytes>>,
    /// The kernel's high-water mark of each phase, one of each trial.
    pub peak_resident_bytes: BTreeMap<Phase, Vec<Bytes>>,
    /// The most device memory of each phase, one of each trial; empty where no device is held.
    pub peak_device_bytes: BTreeMap<Phase, Vec<Bytes>>,
    /// Times, for people: they are judged from pairs alone.
    pub times: LockedTimes,
}

/// Times of a cell, one of each trial, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LockedTimes {
    /// The phase `load`.
    pub load_ms: Vec<f64>,
    /// Median time to first token of a trial's requests in `prefill`.
    pub time_to_first_token_ms: Vec<f64>,
    /// Median time per output token of a trial's requests.
    pub time_per_output_token_ms: Vec<f64>,
}

impl Baseline {
    /// One without cells.
    pub fn new(board: String) -> Baseline {
        Baseline { format_version: FORMAT_VERSION, board, scenarios: BTreeMap::new() }
    }

    /// The cell `key` of `scenario`.
    pub fn cell(&self, scenario: &str, key: &str) -> Option<&LockedCell> {
        self.scenarios.get(scenario)?.get(key)
    }
}
