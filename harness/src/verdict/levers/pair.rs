//! The cells that a lever is judged by.

use crate::record::{CellRecord, LeverRecord, RunRecord};

/// A cell that tries a lever, and the one that it is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair<'a> {
    /// The lever.
    pub lever: &'a LeverRecord,
    /// All at its base but for this lever.
    pub cell: &'a CellRecord,
    /// All at its base. `None` where the run does not have it.
    pub base: Option<&'a CellRecord>,
}

impl Pair<'_> {
    /// What both have in common, in words: the model, and the axes of the grid.
    pub fn group(&self, bases: &[(String, String)]) -> String {
        let is_shared = |name: &str| name != self.lever.axis && bases.iter().all(|(axis, _)| axis != name);
        let axes = self.cell.axes.iter().filter(|(name, _)| name != "model" && is_shared(name));
        let mut words = vec![self.cell.model.clone()];
        words.extend(axes.map(|(name, value)| format!("{name} {value}")));
        words.join(", ")
    }
}

/// Every pair of the run: by lever, in the order of the scenario.
pub fn pairs(run: &RunRecord) -> Vec<Pair<'_>> {
    let mut pairs = Vec::new();
    for lever in &run.levers {
        for cell in run.cells.iter().filter(|cell| lever.is_tried_by(cell, &run.bases)) {
            let base = run.cells.iter().find(|base| lever.is_base_of(base, cell));
            // Nobody asked for the base of a cell that was chosen, or that the scenario added by name.
            let is_on_the_axes = cell.name.as_ref().is_none_or(|name| !name.beside_axes);
            let is_elsewhere = || run.elsewhere().any(|base| lever.is_base_of(base, cell));
            if base.is_some() || (is_on_the_axes && !run.chosen && !is_elsewhere()) {
                pairs.push(Pair { lever, cell, base });
            }
        }
    }
    pairs
}
