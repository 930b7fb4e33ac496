//! One cell in depth.

use ledger::{Bytes, Micros};
use serde::Serialize;

use super::accounts::Accounts;
use super::baseline::Against;
use super::classes::{ClassRow, classes};
use super::conditions::ConditionsTable;
use super::device::{self, DeviceTimeline, against};
use super::events::{Event, events};
use super::falls::Falls;
use super::interactive;
use super::log::log_tail;
use super::overview::{Badge, anchor, needs_a_look, worst_trial};
use super::worst::measured;
use crate::number::{Shown, at_most, cell as shown, count, grouped, mib, peak_mib, signed_mib};
use crate::record::{Outcome, Reading, RecordedTrial, Run, SamplerHealth};
use crate::report::quality::{FIGURES, FURTHER};
use crate::report::svg::intervals::{bound_words, intervals};
use crate::report::svg::series::{Line, series};
use crate::verdict::budget::{Limit, Subject};
use crate::verdict::evidence::{LowerBounds, lower_bound, sampled_peak};
use crate::verdict::observe::ending;
use crate::verdict::{BudgetResult, CellVerdict, LeverResult, LeverWord, Word};

/// Requests that are shown.
const REQUESTS: usize = 24;

/// Everything that the template shows of one cell.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CellPage {
    anchor: String,
    id: String,
    badge: Badge,
    label: String,
    open: bool,
    synthetic: bool,
    resumed: bool,
    reason: Option<String>,
    /// What a named cell is for.
    purpose: Option<String>,
    facts: Vec<(String, Shown, &'static str)>,
    /// What the target cannot answer.
    unanswered: Vec<String>,
    doubts: Vec<String>,
    budgets: Vec<BudgetLine>,
    trials: Vec<TrialLine>,
    settings: Vec<(String, String)>,
    source: String,
    /// The target's name, and its kind where that is another word.
    target: String,
    timeline: Option<Timeline>,
    /// What the device is.
    device: Option<String>,
    device_timeline: Option<DeviceTimeline>,
    waterfall: Option<Falls>,
    accounts: Option<(u32, Accounts)>,
    conditions: Option<(u32, ConditionsTable)>,
    /// What it holds by class and buffer, and the trial of which that is said.
    classes: Option<(u32, Vec<ClassRow>)>,
    /// What it came to against the baseline, where there is one.
    against: Option<Against>,
    /// The levers that move its memory, in words.
    knobs: Vec<String>,
    /// False where only what decides is shown, for the page would be too large.
    whole: bool,
    requests: Vec<RequestLine>,
    drafted: bool,
    more_requests: usize,
    sampler: Option<Sampler>,
    probes: Vec<(String, &'static str, Shown)>,
    /// The cell, by anchor and label, whose probes are the same and are listed there.
    probes_as_in: Option<(String, String)>,
    log: Option<(u32, Vec<String>)>,
}

#[derive(Debug, Clone, Serialize)]
struct BudgetLine {
    badge: Badge,
    id: String,
    subject: String,
    measured: Shown,
    limit: String,
    margin: String,
    place: String,
    reason: String,
}

#[derive(Debug, Clone, Serialize)]
struct TrialLine {
    number: u32,
    started_at: String,
    ending: String,
    peak: Shown,
    from: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Timeline {
    trial: u32,
    svg: Option<String>,
    why: Option<String>,
    lower_bound: Option<String>,
    /// The series for the script.
    data: Option<String>,
    /// What changed hands.
    events: Vec<Event>,
    /// Phase, start, end, exact peak, highest sample, samples.
    rows: Vec<(&'static str, String, String, Shown, String, String)>,
}

#[derive(Debug, Clone, Serialize)]
struct RequestLine {
    trial: u32,
    phase: &'static str,
    prompt: String,
    output: String,
    first_ms: Shown,
    each_ms: Shown,
    prefill: String,
    decode: String,
    total_s: String,
    rounds: String,
}

#[derive(Debug, Clone, Serialize)]
struct Sampler {
    trial: u32,
    svg: String,
    /// Upper bound of an interval in milliseconds, and how many there were.
    rows: Vec<(String, String)>,
    facts: Vec<(&'static str, String)>,
}

impl CellPage {
    /// Without `whole`, the charts, the accounts and the requests are left out: they stay in the records.
    pub(super) fn of(
        run: &Run,
        levers: &[LeverResult],
        cell: &CellVerdict,
        open: bool,
        whole: bool,
    ) -> CellPage {
        let trials: Vec<&RecordedTrial> = run.trials_of(&cell.cell).collect();
        let worst = worst_trial(run, cell);
        let failed = trials.iter().copied().find(|trial| trial.record.outcome != Outcome::Completed);
        // A trial that did not end well says more than the one with the highest peak.
        let drawn = failed.or(worst).filter(|_| whole);
        let record = run.record.cells.iter().find(|record| record.id == cell.cell);
        let timed = if whole { trials.as_slice() } else { &[] };
        let requests = || timed.iter().flat_map(|trial| request_lines(trial));
        CellPage {
            anchor: anchor(cell),
            id: cell.cell.0.clone(),
            badge: cell.word.into(),
            label: cell.label.clone(),
            open,
            synthetic: cell.synthetic_weights,
            resumed: cell.resumed,
            reason: cell.reason.clone().filter(|_| cell.word != Word::Pass),
            purpose: record.and_then(|record| Some(record.name.as_ref()?.why.clone())),
            facts: facts(cell),
            unanswered: cell.unanswered.clone(),
            doubts: cell.doubts.clone(),
            budgets: cell.budgets.iter().map(budget_line).collect(),
            trials: trials.iter().map(|trial| trial_line(trial)).collect(),
            settings: record
                .map(|record| record.settings.iter().chain(&record.build))
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            source: record.map(|record| record.source.clone()).unwrap_or_default(),
            target: record.map(|record| target(&record.target, &trials)).unwrap_or_default(),
            timeline: drawn.map(|trial| timeline(cell, trial)),
            device: cell.device.as_ref().map(device::description),
            device_timeline: drawn.and_then(|trial| DeviceTimeline::of(cell, trial)),
            waterfall: worst.filter(|_| whole).and_then(|trial| Falls::of(cell, trial)),
            conditions: drawn
                .and_then(|trial| Some((trial.record.trial, ConditionsTable::of(&trial.record)?))),
            accounts: drawn.map(|trial| (trial.record.trial, Accounts::of(trial))),
            classes: worst
                .map(|trial| (trial.record.trial, classes(cell, trial)))
                .filter(|(_, rows)| !rows.is_empty()),
            against: cell.comparison.as_ref().map(Against::of),
            knobs: knobs(levers, cell),
            whole,
            drafted: requests().any(|request| !request.rounds.is_empty()),
            requests: requests().take(REQUESTS).collect(),
            more_requests: requests().count().saturating_sub(REQUESTS),
            sampler: drawn.map(|trial| sampler(trial.record.trial, &trial.record.sampler)),
            probes: drawn.map(probes).unwrap_or_default(),
            probes_as_in: None,
            log: failed.map(|trial| (trial.record.trial, log_tail(&trial.record.log_tail))),
        }
    }
}

/// Lists probes with the first cell that has them: most runs read every cell by the same ones.
pub(super) fn say_probes_once(cells: &mut [CellPage]) {
    let Some((first, others)) = cells.split_first_mut() else { return };
    for cell in others.iter_mut().filter(|cell| !cell.probes.is_empty() && cell.probes == first.probes) {
        cell.probes.clear();
        cell.probes_as_in = Some((first.anchor.clone(), first.label.clone()));
    }
}

/// What turning a knob did to the memory of cells of this model: the levers that work, those that save most first.
fn knobs(levers: &[LeverResult], cell: &CellVerdict) -> Vec<String> {
    let own =
        levers.iter().filter(|lever| lever.word == LeverWord::Works && lever.group.starts_with(&cell.model));
    let mut found: Vec<(i64, String)> = own
        .filter_map(|lever| {
            let moved = *lever.measured_bytes.measured()?;
            Some((moved, format!("{}: {} MiB", lever.label(), signed_mib(moved))))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, words)| words).collect()
}

fn target(name: &str, trials: &[&RecordedTrial]) -> String {
    let kind = trials.iter().find_map(|trial| trial.record.target.as_ref());
    match kind.map(|target| target.kind.as_str()).filter(|kind| *kind != name) {
        Some(kind) => format!("{name}, {kind}"),
        None => name.to_owned(),
    }
}

fn facts(cell: &CellVerdict) -> Vec<(String, Shown, &'static str)> {
    let budget = cell.total_budget();
    let limit = budget.and_then(BudgetResult::decisive).map(|limit| limit.bytes_of(Bytes::ZERO));
    let mut facts = vec![(
        "Peak resident",
        shown(&cell.peak_resident_bytes, |bytes| peak_mib(*bytes, cell.peak_lower_bounds.in_host())),
        "MiB",
    )];
    if let Some(limit) = limit {
        facts.push(("Budget", Shown::plain(mib(limit)), "MiB"));
    }
    if let Some(margin) = budget.and_then(|result| result.margin_bytes) {
        let mark = at_most(budget.is_some_and(|result| result.is_lower_bound));
        facts.push(("Margin", Shown::plain(mark.to_owned() + &signed_mib(margin)), "MiB"));
    }
    facts.extend([
        ("Planned buffers", shown(&cell.planned_peak_bytes, |bytes| mib(*bytes)), "MiB"),
        ("Plan against ledger", shown(&cell.plan_mismatch_bytes, |bytes| count(bytes.0)), "B"),
        ("Unaccounted, worst", shown(&cell.worst_unaccounted_share, |share| grouped(share * 100.0, 2)), "%"),
        ("Prefill", shown(&cell.prefill_tokens_per_second, |speed| grouped(*speed, 1)), "tok/s"),
        ("Decode", shown(&cell.decode_tokens_per_second, |speed| grouped(*speed, 2)), "tok/s"),
    ]);
    let growth = shown(&cell.growth, |found| match found.len() {
        0 => "none".to_owned(),
        number => format!("{number} found"),
    });
    facts.push(("Growth", growth, ""));
    facts.splice(1..1, device::facts(cell));
    if let Reading::Measured(length) = &cell.acceptance_length {
        let unit = if cell.synthetic_weights { "tokens a round, synthetic" } else { "tokens a round" };
        facts.push(("Acceptance length", Shown::plain(grouped(*length, 2)), unit));
    }
    if cell.quality.is_some() {
        facts.extend(
            FIGURES.iter().chain(&FURTHER).map(|figure| (figure.title, figure.shown(cell), figure.unit)),
        );
    }
    let of_target = facts.into_iter().map(|(name, value, unit)| (name.to_owned(), value, unit));
    of_target.chain(stack_facts(cell)).collect()
}

/// What ran beside the target, and everything together.
fn stack_facts(cell: &CellVerdict) -> Vec<(String, Shown, &'static str)> {
    let Some(stack) = &cell.stack else { return Vec::new() };
    let size = |reading: &Reading<Bytes>| shown(reading, |bytes| mib(*bytes));
    let beside = stack.co_residents.iter();
    let mut facts: Vec<_> =
        beside.map(|(name, peak)| (format!("Peak of {name}, beside it"), size(peak), "MiB")).collect();
    facts.push(("Peak of the whole stack, at most".to_owned(), size(&stack.peak_bytes), "MiB"));
    facts.push(("Resident at once, at most of any sample".to_owned(), size(&stack.at_once_bytes), "MiB"));
    if let Some(Limit::Bytes(limit)) = cell.tightest(Subject::Stack(None)).and_then(BudgetResult::decisive) {
        facts.push(("Budget on the whole stack".to_owned(), Shown::plain(mib(limit)), "MiB"));
    }
    facts
}

fn budget_line(result: &BudgetResult) -> BudgetLine {
    BudgetLine {
        badge: result.word.into(),
        id: result.id.clone(),
        subject: result.subject.to_string(),
        measured: measured(result),
        limit: result.decisive().map(|limit| limit.to_string()).unwrap_or_default(),
        margin: result.margin_bytes.map_or_else(
            || "–".to_owned(),
            |bytes| at_most(result.is_lower_bound).to_owned() + &signed_mib(bytes),
        ),
        place: match (result.trial, result.phase) {
            (Some(trial), Some(phase)) => format!("trial {trial}, {phase}"),
            (Some(trial), None) => format!("trial {trial}, ledger peak"),
            _ => String::new(),
        },
        reason: result.reason.clone().unwrap_or_default(),
    }
}

fn trial_line(trial: &RecordedTrial) -> TrialLine {
    let peak = match trial.record.peak_resident() {
        Some(bytes) => Shown::plain(peak_mib(bytes, LowerBounds::of(trial).in_host())),
        None => Shown { text: "n/a".to_owned(), why: Some("no phase has a high-water mark".to_owned()) },
    };
    TrialLine {
        number: trial.record.trial,
        started_at: trial.record.started_at.clone(),
        ending: ending(&trial.record).unwrap_or_else(|| "ran to its end".to_owned()),
        peak,
        from: trial.record.resumed_from.clone(),
    }
}

/// The limits on `subject`, to be drawn across a chart.
pub(super) fn lines(cell: &CellVerdict, subject: Subject) -> Vec<Line> {
    let on_subject = cell.budgets.iter().filter(|result| result.subject == subject);
    let lines = on_subject.flat_map(|result| {
        [(result.fail, true), (result.warn, false)].into_iter().filter_map(|(limit, fails)| match limit {
            Some(Limit::Bytes(limit)) => Some(Line { label: result.id.clone(), limit, fails }),
            _ => None,
        })
    });
    lines.collect()
}

fn timeline(cell: &CellVerdict, trial: &RecordedTrial) -> Timeline {
    let phases = &trial.record.phases;
    let lines = lines(cell, Subject::Total);
    let measured = trial.series.measured();
    let highest = trial.record.peak_resident();
    let bounds = LowerBounds::of(trial);
    let peak = highest.map_or_else(
        || "not measured".to_owned(),
        |bytes| format!("{} MiB", peak_mib(bytes, bounds.in_host())),
    );
    let exact = if bounds.in_host() { "highest peak that was seen" } else { "exact peak" };
    let against = against(&lines, highest);
    let finding = format!(
        "Resident memory of {}, trial {}, over time: the {exact} is {peak}{against}.",
        cell.label, trial.record.trial
    );
    let events = events(&trial.record);
    let seconds = |time: Micros| grouped(time.0 as f64 / 1e6, 2);
    let blind = sampled_peak(trial).blind_at;
    Timeline {
        trial: trial.record.trial,
        data: interactive::data(trial, &lines, &events, needs_a_look(cell.word)),
        events,
        svg: measured.map(|samples| series(samples, trial, &lines, &finding)),
        why: match &trial.series {
            Reading::Measured(_) => None,
            Reading::Unavailable(why) => Some(why.clone()),
        },
        lower_bound: (!blind.is_empty())
            .then(|| blind.iter().map(|phase| phase.name()).collect::<Vec<_>>().join(", ")),
        rows: phases
            .iter()
            .map(|phase| {
                let within =
                    || measured.into_iter().flat_map(|all| all.between(phase.started_us, phase.ended_us));
                let sampled = within().filter_map(crate::record::Sample::resident).max();
                (
                    phase.phase.name(),
                    seconds(phase.started_us),
                    seconds(phase.ended_us),
                    shown(&phase.peak_resident_bytes, |bytes| {
                        peak_mib(*bytes, lower_bound(trial, phase).is_some())
                    }),
                    sampled.map_or_else(
                        || "n/a".to_owned(),
                        |bytes| peak_mib(bytes, blind.contains(&phase.phase)),
                    ),
                    count(within().count() as u64),
                )
            })
            .collect(),
    }
}

fn request_lines(trial: &RecordedTrial) -> impl Iterator<Item = RequestLine> {
    let number = trial.record.trial;
    trial.record.requests.iter().map(move |request| {
        let speed = |speed: Option<f64>, decimals| {
            speed.map_or_else(|| "–".to_owned(), |speed| grouped(speed, decimals))
        };
        RequestLine {
            trial: number,
            phase: request.phase.name(),
            prompt: count(u64::from(request.prompt_tokens.0)),
            output: count(u64::from(request.completion_tokens.0)),
            first_ms: shown(&request.time_to_first_token_ms, |time| grouped(time.0, 1)),
            each_ms: shown(&request.time_per_output_token_ms, |time| grouped(time.0, 1)),
            prefill: speed(request.prefill_tokens_per_second(), 1),
            decode: speed(request.decode_tokens_per_second(), 2),
            total_s: grouped(request.total_ms.0 / 1000.0, 2),
            rounds: request.speculation.map_or_else(String::new, |said| {
                format!(
                    "{} of {} in {} rounds",
                    count(said.accepted),
                    count(said.drafted),
                    count(said.round_count)
                )
            }),
        }
    })
}

fn sampler(trial: u32, health: &SamplerHealth) -> Sampler {
    let finding = format!(
        "Achieved intervals of the sampler: {} samples at {} ms, {} missed ticks, longest gap {} ms.",
        count(health.samples),
        grouped(health.interval_us.as_millis().0, 1),
        count(health.missed_ticks),
        grouped(health.longest_gap_us.as_millis().0, 1)
    );
    Sampler {
        trial,
        svg: intervals(&health.interval_histogram, &finding),
        rows: health
            .interval_histogram
            .iter()
            .filter(|(_, ticks)| *ticks > 0)
            .map(|(bound, ticks)| (bound_words(*bound), count(*ticks)))
            .collect(),
        facts: vec![
            ("Interval asked for", format!("{} ms", grouped(health.interval_us.as_millis().0, 1))),
            ("Samples", count(health.samples)),
            ("Missed ticks", count(health.missed_ticks)),
            ("Longest gap", format!("{} ms", grouped(health.longest_gap_us.as_millis().0, 1))),
            ("Processor time", format!("{} ms", grouped(health.cpu_us.as_millis().0, 1))),
        ],
    }
}

fn probes(trial: &RecordedTrial) -> Vec<(String, &'static str, Shown)> {
    let scope = |scope| match scope {
        crate::record::ProbeScope::Process => "process tree",
        crate::record::ProbeScope::Device => "device",
        crate::record::ProbeScope::System => "machine",
    };
    let card = |probe: &crate::record::ProbeCard| {
        (probe.name.clone(), scope(probe.scope), shown(&probe.cadence, Clone::clone))
    };
    trial.record.probes.iter().map(card).collect()
}
