//! The verdict on one cell.

use std::cmp::Reverse;

use ledger::{Bytes, Phase};
use schemars::JsonSchema;
use serde::Serialize;

use super::budget::{Budget, Subject};
use super::device::{self, DeviceVerdict};
use super::evidence::{self, EdgeAccount, LowerBounds, SampledPeak};
use super::expected::settle;
use super::grown::hold_growth;
use super::growth::{Growth, Growths, growths};
use super::held::{BudgetResult, hold};
use super::observe::ending;
use super::relative::Comparison;
use super::stack::StackVerdict;
use super::statistics::median;
use super::{ExitCode, Word};
use crate::record::{
    CellId, CellRecord, Expectation, Outcome, QualityBudget, QualityReading, Reading, RecordedTrial,
    RequestRecord, Run, TargetRecord, schema,
};

/// What a cell came to, over all of its trials.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CellVerdict {
    /// The cell.
    pub cell: CellId,
    /// Model and axes as one line.
    pub label: String,
    /// The model's name in the scenario.
    pub model: String,
    /// Its name, where the scenario gives it one.
    pub name: Option<String>,
    /// What tells it from other cells of its model: its name, or its axes but for those at their base.
    pub variant: String,
    /// Axis name to value, in axis order.
    pub axes: Vec<(String, String)>,
    /// True where the weights are synthetic.
    pub synthetic_weights: bool,
    /// How it went.
    pub word: Word,
    /// Why it is not a plain pass, in words.
    pub reason: Option<String>,
    /// True where a trial was taken over from an earlier run.
    pub resumed: bool,
    /// Trials that were recorded.
    pub trials_recorded: u32,
    /// Trials that were asked for.
    pub trials_expected: u32,
    /// The trial with the highest peak, of host and device together.
    pub worst_trial: Option<u32>,
    /// The highest resident memory of any phase of any trial, by the kernel's own high-water mark: exact.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub peak_resident_bytes: Reading<Bytes>,
    /// Why peaks are lower bounds: those of any trial, for the highest may have been higher in each of them.
    pub peak_lower_bounds: LowerBounds,
    /// The phase of that peak.
    #[schemars(with = "Option<schema::PhaseName>")]
    pub peak_phase: Option<Phase>,
    /// The highest sample of the worst trial. It may be less than the kernel's mark, or more by what the kernel's counters lag.
    pub sampled: SampledPeak,
    /// The most that the plan holds in any phase, in the worst trial.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub planned_peak_bytes: Reading<Bytes>,
    /// The largest disagreement of plan and ledger over all trials; 0 B is the promise.
    #[schemars(with = "schema::Reading<schema::Bytes>")]
    pub plan_mismatch_bytes: Reading<Bytes>,
    /// What the worst trial held of a device, where it held any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceVerdict>,
    /// What the worst trial held together with its co-residents, where it had any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackVerdict>,
    /// What each phase edge of the worst trial leaves without an owner.
    pub edges: Vec<EdgeAccount>,
    /// The largest unaccounted share at any phase edge of any trial, from 0 to 1.
    #[schemars(with = "schema::Reading<f64>")]
    pub worst_unaccounted_share: Reading<f64>,
    /// Median over the requests of `prefill`, of all trials.
    #[schemars(with = "schema::Reading<f64>")]
    pub prefill_tokens_per_second: Reading<f64>,
    /// Median over the requests of `decode`, of all trials.
    #[schemars(with = "schema::Reading<f64>")]
    pub decode_tokens_per_second: Reading<f64>,
    /// Tokens that a round of speculative decoding committed, the target's own included, over the requests of all trials.
    #[schemars(with = "schema::Reading<f64>")]
    pub acceptance_length: Reading<f64>,
    /// What it costs in quality, of the trial with the largest divergence. `None` where nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Reading<QualityReading>>")]
    pub quality: Option<Reading<QualityReading>>,
    /// Trials that something disturbed. No budget is held against them.
    pub inconclusive_trials: Vec<InconclusiveTrial>,
    /// Memory that grows without being asked for more, by trial.
    #[schemars(with = "schema::Reading<Vec<(u32, Growth)>>")]
    pub growth: Reading<Vec<(u32, Growth)>>,
    /// Every budget that is for this cell.
    pub budgets: Vec<BudgetResult>,
    /// What it came to against the baseline, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// What its target cannot answer, as sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
    /// What makes a number doubtful.
    pub doubts: Vec<String>,
    /// Codes of everything that went wrong here.
    #[serde(skip)]
    pub exit_codes: Vec<ExitCode>,
}

/// A trial that is neither passed nor failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InconclusiveTrial {
    /// Which trial of the cell, from 0.
    pub trial: u32,
    /// INCONCLUSIVE.
    pub word: Word,
    /// What disturbed it, in words, in the order of its phases.
    pub reasons: Vec<String>,
}

impl InconclusiveTrial {
    /// `None` where nothing disturbed `trial`.
    fn of(trial: &RecordedTrial) -> Option<InconclusiveTrial> {
        let reasons: Vec<String> = trial.record.disturbances.iter().map(ToString::to_string).collect();
        let trial = trial.record.trial;
        (!reasons.is_empty()).then_some(InconclusiveTrial { trial, word: Word::Inconclusive, reasons })
    }
}

impl CellVerdict {
    /// The budget that says most about this cell: the worst result; among equals one on a total, then the smallest
    /// margin.
    pub fn leading_budget(&self) -> Option<&BudgetResult> {
        let margin = |result: &BudgetResult| result.margin_bytes.unwrap_or(i64::MIN);
        let in_part = |result: &BudgetResult| !result.subject.is_whole();
        self.budgets.iter().min_by_key(|result| (Reverse(result.word), in_part(result), margin(result)))
    }

    /// The budget on the total whose failing (else warning) limit is the tightest, for charts of resident memory.
    pub fn total_budget(&self) -> Option<&BudgetResult> {
        self.tightest(Subject::Total)
    }

    /// Why [`CellVerdict::held_peak`] is a lower bound; `None` where it is not.
    pub fn held_lower_bound(&self) -> Option<&String> {
        let LowerBounds { host, device } = &self.peak_lower_bounds;
        host.first().or(device.first().filter(|_| self.device.is_some()))
    }

    /// What host and device held together at most; resident memory alone where there is no device.
    pub fn held_peak(&self) -> &Reading<Bytes> {
        self.device.as_ref().map_or(&self.peak_resident_bytes, |device| &device.held_peak_bytes)
    }

    /// The budget on everything that is held, on the host, a device or both, of which least is left.
    pub fn whole_budget(&self) -> Option<&BudgetResult> {
        let whole = self.budgets.iter().filter(|result| result.subject.is_whole());
        whole.min_by_key(|result| {
            let limit = result.decisive().map(|limit| limit.bytes_of(Bytes(u64::MAX)));
            (result.margin_bytes.unwrap_or(i64::MIN), limit)
        })
    }

    /// The budget on `subject` whose failing (else warning) limit is the tightest.
    pub fn tightest(&self, subject: Subject) -> Option<&BudgetResult> {
        let on_subject = self.budgets.iter().filter(|result| result.subject == subject);
        on_subject.min_by_key(|result| result.decisive().map(|limit| limit.bytes_of(Bytes(u64::MAX))))
    }
}

/// Model and variant as one line: `qwen3-4b, maxInputLen 4096`.
pub(super) fn label(cell: &CellRecord, variant: &str) -> String {
    if variant.is_empty() { cell.model.clone() } else { format!("{}, {variant}", cell.model) }
}

/// Judges `cell` by its trials in `run`, and by what `comparison` with a baseline came to.
pub fn judge_cell(
    run: &Run,
    cell: &CellRecord,
    budgets: &[Budget],
    comparison: Option<Comparison>,
) -> CellVerdict {
    let trials: Vec<&RecordedTrial> = run.trials_of(&cell.id).collect();
    let expected = run.record.trials_per_cell;
    let budgets: Vec<BudgetResult> = budgets
        .iter()
        .filter(|budget| budget.is_for(cell))
        .filter_map(|budget| match budget.subject {
            Subject::Growth(..) | Subject::Leak(_) | Subject::Drift => hold_growth(budget, run, cell),
            _ => Some(hold(budget, &trials, expected)),
        })
        .collect();
    let peak = |trial: &&RecordedTrial| device::held_peak(trial).map(|(_, bytes)| bytes);
    // Of trials with the same peak the first one is shown, so that the answer does not depend on their order.
    let worst = trials.iter().rev().copied().max_by_key(peak);
    let peak_phase = worst.and_then(|trial| {
        let measured = |phase: &&crate::record::PhaseRecord| phase.peak_resident_bytes.measured().copied();
        trial.record.phases.iter().rev().filter(|phase| measured(phase).is_some()).max_by_key(measured)
    });
    let nothing = || "no trial was recorded".to_owned();
    let mut doubts: Vec<String> = trials.iter().flat_map(|trial| evidence::doubts(trial)).collect();
    let unreadable = run.unreadable.iter().filter(|trial| trial.cell == cell.id);
    doubts.extend(unreadable.map(|trial| format!("trial {}: {}", trial.trial, trial.why)));

    let growth = growth(&trials);
    let growing = growth.measured().into_iter().flatten();
    doubts.extend(growing.map(|(trial, growth)| format!("trial {trial} {}", growth.sentence())));

    let mut verdict = CellVerdict {
        cell: cell.id.clone(),
        label: label(cell, &cell.variant(&run.record.bases)),
        model: cell.model.clone(),
        name: cell.name.as_ref().map(|name| name.name.clone()),
        variant: cell.variant(&run.record.bases),
        axes: cell.axes.clone(),
        synthetic_weights: cell.synthetic_weights,
        word: Word::NoBudget,
        reason: None,
        resumed: trials.iter().any(|trial| trial.record.resumed_from.is_some()),
        trials_recorded: trials.len() as u32,
        trials_expected: expected,
        worst_trial: worst.map(|trial| trial.record.trial),
        peak_resident_bytes: match worst.map(|trial| trial.record.peak_resident()) {
            Some(Some(bytes)) => Reading::Measured(bytes),
            Some(None) => Reading::Unavailable(why_no_peak(&trials)),
            None => Reading::Unavailable(nothing()),
        },
        peak_lower_bounds: lower_bounds(&trials),
        peak_phase: peak_phase.map(|phase| phase.phase),
        sampled: worst.map_or_else(
            || SampledPeak { peak_bytes: Reading::Unavailable(nothing()), blind_at: Vec::new() },
            evidence::sampled_peak,
        ),
        planned_peak_bytes: worst
            .map_or_else(|| Reading::Unavailable(nothing()), |trial| evidence::planned_peak(&trial.record)),
        plan_mismatch_bytes: worst_mismatch(&trials),
        device: worst.and_then(DeviceVerdict::of),
        stack: worst.and_then(StackVerdict::of),
        edges: worst.map(|trial| evidence::edge_accounts(&trial.record)).unwrap_or_default(),
        worst_unaccounted_share: worst_share(&trials),
        prefill_tokens_per_second: median_speed(
            &trials,
            &[Phase::Prefill],
            RequestRecord::prefill_tokens_per_second,
        ),
        decode_tokens_per_second: median_speed(
            &trials,
            // A stream that begins in prefill goes on through decode; one without a second token has no such time.
            &[Phase::Prefill, Phase::Decode],
            RequestRecord::decode_tokens_per_second,
        ),
        acceptance_length: acceptance_length(&trials),
        quality: quality(&trials),
        inconclusive_trials: trials.iter().filter_map(|trial| InconclusiveTrial::of(trial)).collect(),
        growth,
        budgets,
        comparison,
        unanswered: trials
            .iter()
            .find_map(|trial| trial.record.target.as_ref())
            .map(TargetRecord::sentences)
            .unwrap_or_default(),
        doubts,
        exit_codes: Vec::new(),
    };
    let expectation = run.record.expectations.iter().find(|expectation| cell.matches(&expectation.when));
    let quality_budgets = run.record.quality_budgets.iter().filter(|budget| cell.matches(&budget.when));
    let quality_budgets: Vec<&QualityBudget> = quality_budgets.collect();
    decide(&mut verdict, &trials, &quality_budgets, expectation, &run.record.started_at);
    verdict
}

fn decide(
    verdict: &mut CellVerdict,
    trials: &[&RecordedTrial],
    quality_budgets: &[&QualityBudget],
    expectation: Option<&Expectation>,
    started_at: &str,
) {
    let mut said: Vec<(Word, String)> = Vec::new();
    for trial in trials {
        if let (Some(word), Some(ending)) = (outcome_word(&trial.record.outcome), ending(&trial.record)) {
            said.push((word, format!("trial {} {ending}", trial.record.trial)));
        }
        if let Some(why) = trial.record.inconclusive() {
            said.push((Word::Inconclusive, format!("trial {} {why}", trial.record.trial)));
        }
    }
    for trial in trials.iter().filter(|trial| trial.record.outcome == Outcome::Completed) {
        let number = trial.record.trial;
        let missing = || Reading::Unavailable("its record does not have it".to_owned());
        let reading = trial.record.quality.clone().unwrap_or_else(missing);
        for budget in quality_budgets {
            match budget.exceeded_by(&reading) {
                Ok(None) => {}
                Ok(Some(how)) => said.push((Word::Fail, format!("{}: trial {number}: {how}", budget.id))),
                Err(why) => {
                    let what = format!("{}: trial {number}: quality was not measured: {why}", budget.id);
                    said.push((Word::Inconclusive, what));
                }
            }
        }
    }
    for (trial, growth) in verdict.growth.measured().into_iter().flatten() {
        said.push((Word::Warn, format!("trial {trial} {}", growth.sentence())));
    }
    if verdict.trials_recorded < verdict.trials_expected.max(1) {
        let count =
            format!("{} of {} trials were recorded", verdict.trials_recorded, verdict.trials_expected);
        said.push((Word::Incomplete, count));
    }
    for result in &verdict.budgets {
        let reason = result.reason.as_ref().map(|reason| format!("{}: {reason}", result.id));
        said.push((result.word, reason.unwrap_or_default()));
    }
    let compared = verdict.comparison.as_ref().and_then(|found| Some((found.word?, found.reason.clone())));
    said.extend(compared.clone().map(|(word, reason)| (word, reason.unwrap_or_default())));
    if verdict.budgets.is_empty() {
        match &verdict.peak_resident_bytes {
            Reading::Measured(_) if compared.is_some() => {}
            Reading::Measured(_) => said.push((Word::NoBudget, "no budget is for this cell".to_owned())),
            Reading::Unavailable(why) => said.push((Word::Inconclusive, why.clone())),
        }
    }
    if let Reading::Measured(mismatch) = verdict.plan_mismatch_bytes
        && mismatch > Bytes::ZERO
    {
        said.push((Word::Warn, format!("plan and ledger disagree by {} B", mismatch.0)));
    }
    if let Some(expectation) = expectation {
        let missing = verdict.trials_recorded < verdict.trials_expected.max(1);
        settle(&mut said, expectation, trials, missing, started_at);
    }
    verdict.exit_codes = said.iter().map(|(word, _)| word.exit_code()).collect();
    // The first of the worst: budgets in the scenario's order, outcomes before budgets.
    if let Some((word, reason)) = said.into_iter().rev().max_by_key(|(word, _)| *word) {
        verdict.word = word;
        verdict.reason = Some(reason).filter(|reason| !reason.is_empty());
    }
}

fn lower_bounds(trials: &[&RecordedTrial]) -> LowerBounds {
    let mut all = LowerBounds::default();
    for trial in trials {
        let LowerBounds { host, device } = LowerBounds::of(trial);
        let of_trial = |why: String| format!("trial {}: {why}", trial.record.trial);
        all.host.extend(host.into_iter().map(of_trial));
        all.device.extend(device.into_iter().map(of_trial));
    }
    all
}

/// The reading with the largest divergence; one that is missing in any trial goes before all.
fn quality(trials: &[&RecordedTrial]) -> Option<Reading<QualityReading>> {
    let readings = trials.iter().filter_map(|trial| trial.record.quality.as_ref());
    let divergence = |reading: &&Reading<QualityReading>| {
        reading.measured().map_or(f64::INFINITY, |reading| reading.mean_kl_nats)
    };
    readings.max_by(|a, b| divergence(a).total_cmp(&divergence(b))).cloned()
}

/// What grows in any trial. Unavailable where none of them was seen for long enough to tell.
fn growth(trials: &[&RecordedTrial]) -> Reading<Vec<(u32, Growth)>> {
    let looked: Vec<(u32, Growths)> =
        trials.iter().map(|trial| (trial.record.trial, growths(trial))).collect();
    if !looked.iter().any(|(_, growths)| growths.watched) {
        return Reading::Unavailable(
            "no idle or settle phase of 2.5 s, and no 10 requests of one length, were seen".to_owned(),
        );
    }
    let found = looked.into_iter().flat_map(|(trial, growths)| {
        growths.found.into_iter().map(move |growth| (trial, growth)).collect::<Vec<_>>()
    });
    Reading::Measured(found.collect())
}

pub(super) fn outcome_word(outcome: &Outcome) -> Option<Word> {
    match outcome {
        Outcome::Completed => None,
        Outcome::OutOfMemory { .. } | Outcome::GuardKill { .. } => Some(Word::Oom),
        Outcome::TimedOut { .. } => Some(Word::Timeout),
        Outcome::Crashed { .. } | Outcome::CoResidentEnded { .. } => Some(Word::Crash),
        Outcome::Failed { .. } => Some(Word::Failed),
        Outcome::Interrupted => Some(Word::Interrupted),
    }
}

fn why_no_peak(trials: &[&RecordedTrial]) -> String {
    let phases = trials.iter().flat_map(|trial| &trial.record.phases);
    let reason = phases.filter_map(|phase| match &phase.peak_resident_bytes {
        Reading::Measured(_) => None,
        Reading::Unavailable(why) => Some(why.clone()),
    });
    reason.into_iter().next().unwrap_or_else(|| "no phase was recorded".to_owned())
}

fn worst_mismatch(trials: &[&RecordedTrial]) -> Reading<Bytes> {
    let mut worst = None;
    for trial in trials {
        match evidence::plan_mismatch(&trial.record) {
            Reading::Measured(bytes) => worst = worst.max(Some(bytes)),
            unavailable @ Reading::Unavailable(_) => return unavailable,
        }
    }
    worst.map_or_else(|| Reading::Unavailable("no trial was recorded".to_owned()), Reading::Measured)
}

fn worst_share(trials: &[&RecordedTrial]) -> Reading<f64> {
    let edges: Vec<EdgeAccount> =
        trials.iter().flat_map(|trial| evidence::edge_accounts(&trial.record)).collect();
    let worst = edges.iter().filter_map(EdgeAccount::share).map(f64::abs).max_by(f64::total_cmp);
    match worst {
        Some(share) => Reading::Measured(share),
        None => {
            let why = edges.iter().find_map(|edge| match &edge.unaccounted_bytes {
                Reading::Unavailable(why) if edge.phase != Phase::Idle => Some(why.clone()),
                _ => None,
            });
            Reading::Unavailable(why.unwrap_or_else(|| "no phase edge was attributed".to_owned()))
        }
    }
}

/// The target's own token of each round, and those that it accepted.
fn acceptance_length(trials: &[&RecordedTrial]) -> Reading<f64> {
    let requests = trials.iter().flat_map(|trial| &trial.record.requests);
    let (rounds, accepted) = requests.filter_map(|request| request.speculation).fold(
        (0_u64, 0_u64),
        |(rounds, accepted), said| {
            (rounds.saturating_add(said.round_count), accepted.saturating_add(said.accepted))
        },
    );
    let nothing = || Reading::Unavailable("nothing was drafted".to_owned());
    crate::record::acceptance_length(rounds, accepted).map_or_else(nothing, Reading::Measured)
}

fn median_speed(
    trials: &[&RecordedTrial],
    phases: &[Phase],
    speed: impl Fn(&RequestRecord) -> Option<f64>,
) -> Reading<f64> {
    let requests = trials
        .iter()
        .flat_map(|trial| &trial.record.requests)
        .filter(|request| phases.contains(&request.phase));
    match median(&requests.filter_map(speed).collect::<Vec<f64>>()) {
        Some(speed) => Reading::Measured(speed),
        None => Reading::Unavailable("no request was timed".to_owned()),
    }
}
