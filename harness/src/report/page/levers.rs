//! The table of levers, grouped by what their cells have in common.

use serde::Serialize;

use super::overview::Badge;
use crate::number::{Shown, cell as shown, grouped, signed_mib};
use crate::record::{LeverMetric, Reading};
use crate::report::quality::{is_scored, of_tables};
use crate::report::svg::lever::{Holds, Reach, lever};
use crate::verdict::levers::{Change, Price};
use crate::verdict::{LeverResult, LeverWord, RunVerdict};

/// Levers of one model.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LeverGroup {
    name: String,
    synthetic: bool,
    rows: Vec<LeverRow>,
}

#[derive(Debug, Clone, Serialize)]
struct LeverRow {
    badge: Badge,
    /// Where the cell that tries it stands on the page.
    anchor: String,
    axis: String,
    change: String,
    expected: Shown,
    measured: Shown,
    svg: String,
    prefill: [Shown; 2],
    decode: [Shown; 2],
    /// The figures of quality, before and after; none where no cell of the run was scored.
    quality: Vec<[Shown; 2]>,
    price: Shown,
    reason: Option<String>,
}

pub(super) fn lever_groups(verdict: &RunVerdict) -> Vec<LeverGroup> {
    let sizes = verdict.levers.iter().flat_map(|result| [&result.expected_bytes, &result.measured_bytes]);
    let reach = sizes.filter_map(Reading::measured).copied().fold(Reach::default(), Reach::with);
    let mut groups: Vec<LeverGroup> = Vec::new();
    for result in &verdict.levers {
        let row = row(result, verdict, reach);
        match groups.last_mut().filter(|group| group.name == result.group) {
            Some(group) => group.rows.push(row),
            None => groups.push(LeverGroup {
                name: result.group.clone(),
                synthetic: result.synthetic_weights,
                rows: vec![row],
            }),
        }
    }
    groups
}

fn row(result: &LeverResult, verdict: &RunVerdict, reach: Reach) -> LeverRow {
    let speeds = |change: &Change, decimals: usize| {
        [&change.before, &change.after].map(|speed| shown(speed, |speed| grouped(*speed, decimals)))
    };
    let cell = verdict.cells.iter().find(|cell| cell.cell == result.cell);
    let phase = match result.metric {
        LeverMetric::Peak => String::new(),
        LeverMetric::Phase(phase) => format!(", peak of {phase}"),
    };
    LeverRow {
        badge: result.word.into(),
        anchor: cell.map(super::overview::anchor).unwrap_or_default(),
        axis: result.axis.clone(),
        change: format!("{} → {}{phase}", result.base, result.value),
        expected: shown(&result.expected_bytes, |bytes| signed_mib(*bytes)),
        measured: shown(&result.measured_bytes, |bytes| signed_mib(*bytes)),
        svg: lever(
            result.expected_bytes.measured().copied(),
            result.measured_bytes.measured().copied(),
            if result.word == LeverWord::Fails { Holds::No } else { Holds::Yes },
            reach,
        ),
        prefill: speeds(&result.prefill_tokens_per_second, 1),
        decode: speeds(&result.decode_tokens_per_second, 2),
        quality: of_tables()
            .filter(|_| is_scored(verdict))
            .map(|figure| figure.shown_change(result, &verdict.cells))
            .collect(),
        price: match &result.price {
            Price::Unknown(why) => Shown { text: result.price.words(), why: Some(why.clone()) },
            price => Shown::plain(price.words()),
        },
        reason: result.reason.clone(),
    }
}
