//! What a configuration costs in quality, as numbers of a table. What was not measured is said to be so, and never shown as a number.

use crate::number::{Shown, grouped};
use crate::record::{QualityReading, Reading};
use crate::verdict::{CellVerdict, LeverResult, RunVerdict};

/// One figure of a [`QualityReading`].
pub(super) struct Figure {
    /// Its name in files.
    pub(super) key: &'static str,
    /// Its name on pages.
    pub(super) title: &'static str,
    /// Its unit on pages.
    pub(super) unit: &'static str,
    of: fn(&QualityReading) -> Option<f64>,
    /// What one is on pages.
    scale: f64,
    decimals: usize,
}

/// Those that stand in tables.
pub(super) const FIGURES: [Figure; 4] = [
    figure("perplexity", "Perplexity", "", |quality| Some(quality.perplexity), 3),
    figure("mean_kl_nats", "KL", "nats", |quality| Some(quality.mean_kl_nats), 5),
    share("top1_agreement", "Top-1", |quality| Some(quality.top1_agreement)),
    share("token_match", "Token match", |quality| quality.token_match),
];

/// The one for which the tables of a page have room; the others stand at each cell.
pub(super) fn of_tables() -> impl Iterator<Item = &'static Figure> {
    FIGURES.iter().filter(|figure| figure.key == "mean_kl_nats")
}

/// Those that only stand where there is room.
pub(super) const FURTHER: [Figure; 2] = [
    figure(
        "reference_perplexity",
        "Perplexity of the reference",
        "",
        |quality| Some(quality.reference_perplexity),
        3,
    ),
    figure("largest_kl_nats", "KL, largest", "nats", |quality| Some(quality.largest_kl_nats), 5),
];

const fn figure(
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    of: fn(&QualityReading) -> Option<f64>,
    decimals: usize,
) -> Figure {
    Figure { key, title, unit, of, scale: 1.0, decimals }
}

const fn share(key: &'static str, title: &'static str, of: fn(&QualityReading) -> Option<f64>) -> Figure {
    Figure { scale: 100.0, ..figure(key, title, "%", of, 2) }
}

/// True where the quality of some cell was asked for.
pub(super) fn is_scored(verdict: &RunVerdict) -> bool {
    verdict.cells.iter().any(|cell| cell.quality.is_some())
}

/// What stands for a number that is not there.
const NOT_MEASURED: &str = "not measured";

impl Figure {
    /// The number of `cell`, or why there is none.
    fn value(&self, cell: &CellVerdict) -> Result<f64, String> {
        match &cell.quality {
            None => Err("the scenario does not ask for it".to_owned()),
            Some(Reading::Unavailable(why)) => Err(why.clone()),
            Some(Reading::Measured(quality)) => match (self.of)(quality) {
                None => Err("no continuations were asked for".to_owned()),
                Some(value) if value.is_finite() => Ok(value),
                Some(_) => Err("it is no number".to_owned()),
            },
        }
    }

    /// For programs: all digits; empty where it was not measured.
    pub(super) fn field(&self, cell: &CellVerdict) -> String {
        self.value(cell).map(|value| value.to_string()).unwrap_or_default()
    }

    /// For programs that show it to people: all digits, or that it was not measured.
    pub(super) fn property(&self, cell: &CellVerdict) -> String {
        self.value(cell).map_or_else(|_| NOT_MEASURED.to_owned(), |value| value.to_string())
    }

    /// For people, without the unit.
    pub(super) fn shown(&self, cell: &CellVerdict) -> Shown {
        self.said(self.value(cell), NOT_MEASURED)
    }

    /// A value without its unit, or `instead` and why.
    fn said(&self, value: Result<f64, String>, instead: &str) -> Shown {
        match value {
            Ok(value) => Shown::plain(grouped(value * self.scale, self.decimals)),
            Err(why) => Shown { text: instead.to_owned(), why: Some(why) },
        }
    }

    /// For people, with the unit.
    pub(super) fn words(&self, cell: &CellVerdict) -> String {
        let Shown { text, why } = self.shown(cell);
        if why.is_some() || self.unit.is_empty() { text } else { format!("{text} {}", self.unit) }
    }

    /// For people, without the unit: in the base cell of `lever`, and in the cell that tries it.
    pub(super) fn shown_change(&self, lever: &LeverResult, cells: &[CellVerdict]) -> [Shown; 2] {
        [lever.base_cell.as_ref(), Some(&lever.cell)].map(|id| {
            let cell = cells.iter().find(|cell| Some(&cell.cell) == id);
            let value = cell.map_or(Err("the cell is not in this run".to_owned()), |cell| self.value(cell));
            self.said(value, "n/a")
        })
    }
}
