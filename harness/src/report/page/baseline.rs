//! A cell against its baseline: the buffers that changed, and what was measured before and after.

use std::collections::BTreeMap;

use ledger::BufferClass;
use serde::Serialize;

use super::overview::Badge;
use crate::number::{mib, signed_mib};
use crate::report::svg::palette::Kind;
use crate::verdict::relative::{GrownMost, signed_size};
use crate::verdict::{BufferChange, CellVerdict, Comparison, Shift, Word, group_name};

/// Groups of buffers that are shown, those that grew most first.
const MOST: usize = 20;

/// The comparison as the template shows it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Against {
    /// `None` where nothing was compared.
    badge: Option<Badge>,
    reason: Option<String>,
    differences: Vec<String>,
    buffers: Vec<ChangeRow>,
    more: usize,
    shifts: Vec<ShiftRow>,
    notes: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct ChangeRow {
    swatch: String,
    class: &'static str,
    name: String,
    count: usize,
    before: String,
    after: String,
    change: String,
    grew: bool,
    allowed_by: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct ShiftRow {
    badge: Option<Badge>,
    metric: String,
    change: String,
    interval: String,
    class: String,
    reason: Option<String>,
}

/// By how much the buffers of each group changed against the baseline, by class and name.
pub(super) fn changes(cell: &CellVerdict) -> BTreeMap<(BufferClass, String), i64> {
    let mut changes = BTreeMap::new();
    for change in cell.comparison.iter().flat_map(|comparison| &comparison.buffers) {
        *changes.entry((change.class, group_name(&change.buffer))).or_insert(0) += change.growth_bytes();
    }
    changes
}

/// The class that a reader should look at first: that behind an overage, else what grew most where that is why the cell failed.
pub(super) fn blamed(cell: &CellVerdict) -> Option<BufferClass> {
    let over = cell.leading_budget().and_then(|result| Some(result.responsible.as_ref()?.class));
    let grown = || {
        let comparison = cell.comparison.as_ref().filter(|_| cell.word == Word::Regression)?;
        comparison.grown_most().map(GrownMost::class)
    };
    over.or_else(grown)
}

impl Against {
    pub(super) fn of(comparison: &Comparison) -> Against {
        let mut rows: Vec<(i64, ChangeRow, Vec<&BufferChange>)> = Vec::new();
        for change in &comparison.buffers {
            let name = group_name(&change.buffer);
            let is_same = |(_, row, _): &&mut (i64, ChangeRow, Vec<&BufferChange>)| {
                row.class == change.class.name() && row.name == name
            };
            match rows.iter_mut().find(is_same) {
                Some((growth, _, own)) => {
                    *growth += change.growth_bytes();
                    own.push(change);
                }
                None => {
                    let row = ChangeRow {
                        swatch: Kind::Class(change.class).swatch(),
                        class: change.class.name(),
                        name,
                        count: 0,
                        before: String::new(),
                        after: String::new(),
                        change: String::new(),
                        grew: false,
                        allowed_by: change.allowed_by.clone(),
                    };
                    rows.push((change.growth_bytes(), row, vec![change]));
                }
            }
        }
        // What grew alike stays in the order of the comparison.
        rows.sort_by_key(|(growth, ..)| std::cmp::Reverse(*growth));
        let more = rows.len().saturating_sub(MOST);
        let filled = |(growth, row, own): (i64, ChangeRow, Vec<&BufferChange>)| ChangeRow {
            count: own.len(),
            before: mib(own.iter().filter_map(|change| change.before_bytes).sum()),
            after: mib(own.iter().filter_map(|change| change.after_bytes).sum()),
            change: signed_mib(growth),
            grew: growth > 0,
            ..row
        };
        Against {
            badge: comparison.word.map(Badge::from),
            reason: comparison.reason.clone(),
            differences: comparison.differences.clone(),
            buffers: rows.into_iter().take(MOST).map(filled).collect(),
            more,
            shifts: comparison.shifts.iter().map(shift_row).collect(),
            notes: comparison.notes.clone(),
        }
    }
}

fn shift_row(shift: &Shift) -> ShiftRow {
    ShiftRow {
        badge: shift.word.map(Badge::from),
        metric: shift.metric.to_string(),
        change: shift.words(),
        interval: shift.interval_words().unwrap_or_else(|| "–".to_owned()),
        class: shift
            .responsible
            .map_or_else(|| "–".to_owned(), |(class, growth)| format!("{class} {}", signed_size(growth))),
        reason: shift.reason.clone(),
    }
}
