//! What `sweep fit` answers, for programs and for people alike.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ledger::{BufferClass, Bytes, Millis, Phase, Tokens};
use serde::Serialize;

use super::super::CliError;
use super::super::arguments::FitArguments;
use crate::fit::measured::difference;
use crate::fit::{
    Candidate, Configuration, Keep, Least, Loss, Measured, Planner, Recorded, Records, Trade, trades,
};
use crate::scenario::{ModelSource, SettingsDraft};

/// Version of the JSON form.
const FORMAT_VERSION: u32 = 1;

/// Configurations that are shown unless all are asked for.
pub(super) const SHOWN: usize = 10;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    format_version: u32,
    /// The model, in words.
    pub(super) source: String,
    /// False where the model is the default, because none was named.
    pub(super) source_named: bool,
    /// True where the weights are synthetic: sizes are real, quality is not.
    pub(super) synthetic_weights: bool,
    pub(super) budget_bytes: Bytes,
    pub(super) keep: Vec<Keep>,
    pub(super) fits: bool,
    /// Configurations that fit and that none other beats, shown or not.
    pub(super) found: usize,
    /// Best first.
    pub(super) lines: Vec<Line>,
    /// Where nothing fits: the smallest configuration.
    pub(super) least: Option<LeastLine>,
    /// Where nothing fits: the demands without which less is possible.
    pub(super) in_the_way: Vec<InTheWay>,
    /// The command that serves the first line.
    pub(super) serve: Option<String>,
    pub(super) elapsed_ms: Millis,
}

/// One configuration that fits.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) rank: usize,
    /// Empty where the engine is built already.
    pub(super) build: BTreeMap<String, String>,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) total_bytes: Bytes,
    pub(super) headroom_bytes: Bytes,
    pub(super) peak_phase: Phase,
    /// Tokens that each sequence holds then.
    pub(super) context_tokens: Tokens,
    pub(super) sequences_open: u32,
    pub(super) by_class_bytes: BTreeMap<BufferClass, Bytes>,
    pub(super) loss: Loss,
    /// What differs from the defaults at these lengths, and the bytes of each step.
    pub(super) trades: Vec<Trade>,
    /// Planned, not measured.
    pub(super) decode_tokens_per_second: f64,
    /// Planned, not measured.
    pub(super) prefill_tokens_per_second: f64,
    pub(super) evidence: Evidence,
}

/// Whether somebody has looked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Evidence {
    /// Nobody has.
    Planned,
    /// A run has this configuration and no value for it: its peak is a lower bound, or it did not come to its end.
    NoValue {
        /// The run's folder.
        run: PathBuf,
        /// Why.
        why: String,
    },
    /// A run has measured this configuration.
    Measured {
        /// What it measured.
        record: Measured,
        /// Predicted less measured, as a share of measured.
        difference: f64,
    },
}

/// The smallest configuration.
#[derive(Debug, Serialize)]
pub(super) struct LeastLine {
    /// Empty where the engine is built already.
    pub(super) build: BTreeMap<String, String>,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) total_bytes: Bytes,
    pub(super) missing_bytes: Bytes,
    pub(super) by_class_bytes: BTreeMap<BufferClass, Bytes>,
    pub(super) trades: Vec<Trade>,
}

/// A demand without which less is possible.
#[derive(Debug, Serialize)]
pub(super) struct InTheWay {
    pub(super) keep: Keep,
    pub(super) least_without_bytes: Bytes,
    pub(super) fits_without: bool,
}

impl Answer {
    /// An answer without lines.
    pub(super) fn begin(arguments: &FitArguments, source: &ModelSource, budget: Bytes) -> Answer {
        Answer {
            format_version: FORMAT_VERSION,
            source: source.describe(),
            source_named: arguments.names_a_model(),
            synthetic_weights: source.is_synthetic(),
            budget_bytes: budget,
            keep: arguments.keep.clone(),
            fits: false,
            found: 0,
            lines: Vec::new(),
            least: None,
            in_the_way: Vec::new(),
            serve: None,
            elapsed_ms: Millis(0.0),
        }
    }
}

/// The line of `candidate`. Its bytes are those of the whole plan.
pub(super) fn line(
    planner: &mut Planner<'_>,
    candidate: &Candidate,
    budget: Bytes,
    rank: usize,
    records: &mut Records,
) -> Result<Line, CliError> {
    let configuration = &candidate.configuration;
    let peak = planner.peak(configuration)?;
    let context = planner.context(&configuration.settings);
    let evidence = match records.find(configuration, context) {
        Recorded::Nothing => Evidence::Planned,
        Recorded::NoValue { run, why } => Evidence::NoValue { run, why },
        Recorded::Measured(record) => {
            let difference = difference(peak.total, record.peak_bytes);
            Evidence::Measured { record, difference }
        }
    };
    Ok(Line {
        rank,
        build: build_of(planner, configuration),
        settings: configuration.settings.to_map(),
        total_bytes: peak.total,
        headroom_bytes: budget.saturating_sub(peak.total),
        peak_phase: peak.phase,
        context_tokens: context,
        sequences_open: configuration.settings.max_batch_size,
        by_class_bytes: peak.by_class,
        loss: candidate.loss,
        trades: trades(planner, configuration)?,
        decode_tokens_per_second: candidate.speed.decode_tokens_per_second(),
        prefill_tokens_per_second: 1000.0 / candidate.speed.prefill_token.0,
        evidence,
    })
}

/// The line of the smallest configuration.
pub(super) fn least(planner: &mut Planner<'_>, least: &Least, budget: Bytes) -> Result<LeastLine, CliError> {
    let peak = planner.peak(&least.configuration)?;
    Ok(LeastLine {
        build: build_of(planner, &least.configuration),
        settings: least.configuration.settings.to_map(),
        total_bytes: peak.total,
        missing_bytes: peak.total.saturating_sub(budget),
        by_class_bytes: peak.by_class,
        trades: trades(planner, &least.configuration)?,
    })
}

/// The build options that were chosen: none where the engine was built before.
fn build_of(planner: &Planner<'_>, configuration: &Configuration) -> BTreeMap<String, String> {
    match planner.source() {
        ModelSource::Engine(_) | ModelSource::Locked(_) => BTreeMap::new(),
        ModelSource::Synthetic { .. } | ModelSource::Checkpoint(_) => configuration.build.to_map(),
    }
}

/// A configuration in a few words: what differs from the defaults.
pub(super) fn label(settings: &BTreeMap<String, String>, trades: &[Trade]) -> String {
    let mut words: Vec<String> = trades.iter().map(Trade::label).collect();
    let usual = SettingsDraft::default().max_input_len().0.to_string();
    if let Some(length) = settings.get("maxInputLen").filter(|length| **length != usual) {
        words.push(format!("prompts of {length}"));
    }
    if words.is_empty() { "all defaults".to_owned() } else { words.join(", ") }
}
