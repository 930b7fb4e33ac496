//! All cells at a glance: axes as rows and columns, and how full each budget is.

use std::collections::BTreeSet;

use ledger::Bytes;
use serde::Serialize;

use super::overview::{Badge, anchor, changed};
use crate::number::peak_mib;
use crate::record::Run;
use crate::verdict::{BudgetResult, CellVerdict, RunVerdict};

/// Parts of a budget from which on a field looks hotter.
const HEAT: [f64; 5] = [0.5, 0.75, 0.9, 0.97, 1.0];

/// The matrix.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Matrix {
    /// Names of what the rows differ in.
    heads: Vec<String>,
    /// What the columns differ in.
    across: String,
    columns: Vec<String>,
    rows: Vec<MatrixRow>,
}

#[derive(Debug, Clone, Serialize)]
struct MatrixRow {
    heads: Vec<String>,
    /// The cells of each column; none where the scenario has none.
    fields: Vec<Vec<Field>>,
}

#[derive(Debug, Clone, Serialize)]
struct Field {
    anchor: String,
    label: String,
    badge: Badge,
    peak: String,
    /// How full the budget is, from 0 to 5, and what that is in percent; empty without a budget.
    heat: Option<(usize, u64)>,
}

impl Matrix {
    /// `axes` are those that have a column in the table of cells.
    pub(super) fn of(run: &Run, verdict: &RunVerdict, axes: &[String]) -> Matrix {
        let bases = &run.record.bases;
        let values = |name: &String| {
            let own = verdict.cells.iter().flat_map(|cell| &cell.axes).filter(|(axis, _)| axis == name);
            own.map(|(_, value)| value).collect::<BTreeSet<_>>().len()
        };
        // The axis with the most values lies across; of several the first.
        let across = match bases.is_empty() {
            true => axes.iter().rev().max_by_key(|axis| values(axis)),
            false => None,
        };
        let down: Vec<&String> = axes.iter().filter(|axis| Some(*axis) != across).collect();
        let value = |cell: &CellVerdict, name: &String| {
            let found = cell.axes.iter().find(|(axis, _)| axis == name);
            found.map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
        };
        let column = |cell: &CellVerdict| match across {
            Some(axis) => value(cell, axis),
            None if bases.is_empty() => "peak".to_owned(),
            None => {
                let (name, values) = changed(cell, axes, bases);
                if name.is_empty() { values } else { name }
            }
        };
        let mut matrix = Matrix {
            heads: std::iter::once("model".to_owned())
                .chain(down.iter().map(|axis| (*axis).clone()))
                .collect(),
            across: across.cloned().unwrap_or_else(|| match bases.is_empty() {
                true => String::new(),
                false => "changed".to_owned(),
            }),
            columns: Vec::new(),
            rows: Vec::new(),
        };
        // In the order of the scenario, so that a place means the same in every run of it.
        let mut cells: Vec<&CellVerdict> = verdict.cells.iter().collect();
        cells.sort_by_key(|cell| run.record.cells.iter().position(|record| record.id == cell.cell));
        for cell in &cells {
            let name = column(cell);
            if !matrix.columns.contains(&name) {
                matrix.columns.push(name);
            }
        }
        for cell in cells {
            let heads: Vec<String> = std::iter::once(cell.model.clone())
                .chain(down.iter().map(|axis| value(cell, axis)))
                .collect();
            let at = matrix.columns.iter().position(|name| *name == column(cell)).unwrap_or_default();
            let row = match matrix.rows.iter().position(|row| row.heads == heads) {
                Some(row) => row,
                None => {
                    let fields = vec![Vec::new(); matrix.columns.len()];
                    matrix.rows.push(MatrixRow { heads, fields });
                    matrix.rows.len() - 1
                }
            };
            matrix.rows[row].fields[at].push(field(cell));
        }
        matrix
    }
}

fn field(cell: &CellVerdict) -> Field {
    let budget = cell.whole_budget();
    let limit = budget.and_then(BudgetResult::decisive).map(|limit| limit.bytes_of(Bytes::ZERO));
    let amount = budget.and_then(|result| result.measured.measured()).map(|amount| amount.bytes);
    let part = match (amount, limit) {
        (Some(amount), Some(limit)) if limit > Bytes::ZERO => Some(amount.0 as f64 / limit.0 as f64),
        _ => None,
    };
    Field {
        anchor: anchor(cell),
        label: cell.label.clone(),
        badge: cell.word.into(),
        peak: cell
            .held_peak()
            .measured()
            .map_or_else(|| "n/a".to_owned(), |bytes| peak_mib(*bytes, cell.held_lower_bound().is_some())),
        heat: part.map(|part| {
            // A part of exactly one is within the budget.
            let step = HEAT.iter().filter(|bound| part > **bound).count();
            (step, (part * 100.0).round() as u64)
        }),
    }
}
