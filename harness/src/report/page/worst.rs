//! The worst cells, each with what is behind it: what a reader sees first.

use ledger::{Bytes, MemoryKind};
use serde::Serialize;

use super::attribution::Attribution;
use super::classes::class_anchor;
use super::overview::{Badge, anchor, needs_a_look, worst_trial};
use crate::number::{Shown, at_least, cell as shown, grouped, mib, peak_mib, signed_mib};
use crate::record::Run;
use crate::report::svg::palette::Kind;
use crate::verdict::budget::Limit;
use crate::verdict::relative::GrownMost;
use crate::verdict::{BudgetResult, CellVerdict, RunVerdict, Word, group_name};

/// Cells that are shown, where so many need a look.
const MOST: usize = 5;

/// Cells that are shown where all of them pass: those of which least is left.
const CLOSEST: usize = 3;

/// The table, and how many more cells would belong into it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Worst {
    /// True where no cell needs a look, so that these are only the closest to their budgets.
    all_pass: bool,
    rows: Vec<WorstRow>,
    more: usize,
}

#[derive(Debug, Clone, Serialize)]
struct WorstRow {
    badge: Badge,
    label: String,
    anchor: String,
    metric: String,
    measured: Shown,
    limit: String,
    /// By how much the limit is exceeded; below zero is left.
    over: String,
    is_over: bool,
    behind: Option<Behind>,
    /// What the numbers do not say.
    reason: Option<String>,
}

/// The class behind a row, and the buffer of it where one is known.
#[derive(Debug, Clone, Serialize)]
struct Behind {
    swatch: String,
    class: &'static str,
    anchor: String,
    share: String,
    buffer: Option<String>,
}

impl Worst {
    pub(super) fn of(run: &Run, verdict: &RunVerdict) -> Worst {
        // The verdict has the worst first.
        let bad: Vec<&CellVerdict> = verdict.cells.iter().filter(|cell| needs_a_look(cell.word)).collect();
        let all_pass = bad.is_empty();
        let (chosen, more) = match all_pass {
            true => (verdict.cells.iter().take(CLOSEST).collect(), 0),
            false => {
                let more = bad.len().saturating_sub(MOST);
                (bad.into_iter().take(MOST).collect::<Vec<_>>(), more)
            }
        };
        Worst { all_pass, rows: chosen.into_iter().map(|cell| row(run, cell)).collect(), more }
    }
}

fn row(run: &Run, cell: &CellVerdict) -> WorstRow {
    let lead = cell.leading_budget();
    let margin = lead.and_then(|result| result.margin_bytes);
    let is_over = margin.is_some_and(|margin| margin < 0);
    if let Some(row) = against_baseline(cell) {
        return row;
    }
    // The numbers say that it is over, by how much, and what is behind it.
    let is_said = is_over && lead.is_some_and(|result| result.word == cell.word);
    WorstRow {
        badge: cell.word.into(),
        label: cell.label.clone(),
        anchor: anchor(cell),
        metric: lead.map_or_else(|| "peak resident".to_owned(), |result| result.subject.to_string()),
        measured: lead.map_or_else(
            || {
                shown(&cell.peak_resident_bytes, |bytes| {
                    peak_mib(*bytes, cell.peak_lower_bounds.in_host()) + " MiB"
                })
            },
            measured,
        ),
        limit: lead
            .and_then(BudgetResult::decisive)
            .map_or_else(|| "–".to_owned(), |limit| limit.to_string()),
        over: margin.map_or_else(
            || "–".to_owned(),
            |left| {
                let mark = at_least(lead.is_some_and(|result| result.is_lower_bound));
                format!("{mark}{} MiB", signed_mib(-left))
            },
        ),
        is_over,
        behind: behind(run, cell),
        reason: cell.reason.clone().filter(|_| needs_a_look(cell.word) && !is_said),
    }
}

/// The row of a cell that needs more than its baseline, and is within its budgets.
fn against_baseline(cell: &CellVerdict) -> Option<WorstRow> {
    let comparison = cell.comparison.as_ref().filter(|_| cell.word == Word::Regression)?;
    let declared = comparison.declared.filter(|total| total.after_bytes > total.before_bytes);
    let shift = || comparison.shifts.iter().find(|shift| shift.word == Some(Word::Regression));
    let size = |bytes: f64, is_time: bool| match is_time {
        true => format!("{} ms", grouped(bytes, 1)),
        false => format!("{} MiB", grouped(bytes / f64::from(1 << 20), 1)),
    };
    let (metric, after, before, over) = match (declared, shift()) {
        (Some(total), _) => (
            "declared bytes, against the baseline".to_owned(),
            format!("{} MiB", mib(total.after_bytes)),
            format!("{} MiB", mib(total.before_bytes)),
            format!("{} MiB", signed_mib(total.after_bytes.signed_difference(total.before_bytes))),
        ),
        (None, Some(shift)) => {
            let is_time = shift.metric.is_time();
            let metric = format!("{}, against the baseline", shift.metric);
            (metric, size(shift.after, is_time), size(shift.before, is_time), shift.words())
        }
        (None, None) => return None,
    };
    let behind = comparison.grown_most().map(|grown| Behind {
        swatch: Kind::Class(grown.class()).swatch(),
        class: grown.class().name(),
        anchor: class_anchor(cell, grown.class()),
        share: format!("{} MiB against the baseline", signed_mib(grown.growth_bytes())),
        buffer: match grown {
            GrownMost::Buffer(change) => Some(group_name(&change.buffer)),
            GrownMost::Class(..) => None,
        },
    });
    Some(WorstRow {
        badge: cell.word.into(),
        label: cell.label.clone(),
        anchor: anchor(cell),
        metric,
        measured: Shown::plain(after),
        limit: before,
        over,
        is_over: true,
        behind,
        reason: None,
    })
}

pub(super) fn measured(result: &BudgetResult) -> Shown {
    let is_share = matches!(result.decisive(), Some(Limit::ShareBillionths(_)));
    shown(&result.measured, |amount| match amount.share() {
        Some(share) if is_share => format!("{} %", grouped(share * 100.0, 2)),
        _ => format!("{} MiB", peak_mib(amount.bytes, result.is_lower_bound)),
    })
}

fn behind(run: &Run, cell: &CellVerdict) -> Option<Behind> {
    let blamed = cell.leading_budget().and_then(|result| result.responsible.as_ref());
    let trial = worst_trial(run, cell)?;
    if let Some(blamed) = blamed {
        let of_peak = || {
            let peak = cell.held_peak().measured().copied()?;
            Some(format!("the largest, {}", part_of_peak(blamed.bytes, peak)))
        };
        return Some(Behind {
            swatch: Kind::Class(blamed.class).swatch(),
            class: blamed.class.name(),
            anchor: class_anchor(cell, blamed.class),
            share: blamed.share_in_words().or_else(of_peak).unwrap_or_default(),
            buffer: blamed.buffer.as_ref().map(|buffer| buffer.name.clone()),
        });
    }
    let found = Attribution::of(trial, MemoryKind::Host)?;
    let (class, bytes) = found.largest()?;
    Some(Behind {
        swatch: Kind::Class(class).swatch(),
        class: class.name(),
        anchor: class_anchor(cell, class),
        share: format!("the largest, {}", part_of_peak(bytes, found.peak)),
        buffer: None,
    })
}

fn part_of_peak(bytes: Bytes, peak: Bytes) -> String {
    let share = bytes.0 as f64 / peak.0.max(1) as f64;
    format!("{} MiB, {} % of the peak", mib(bytes), grouped(share * 100.0, 0))
}
