//! The cells of a scenario: every combination of axis values that is not excluded.

use serde_json::json;

use super::{BuildOptions, Included, ModelSource, Scenario, Settings, hex_sha256};
use crate::record::{CellId, CellName, CellRecord, ExcludedCell};

/// Version of the sampler. It is part of a cell's identity: it grows when series of two versions must not be mixed.
pub const SAMPLER_VERSION: u32 = 1;

/// One combination of axis values, with everything that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The content hash.
    pub id: CellId,
    /// The model's name in the scenario.
    pub model: String,
    /// Its name, where the scenario gives it one.
    pub name: Option<CellName>,
    /// Where the model comes from.
    pub source: ModelSource,
    /// Axis name to value, in axis order.
    pub axes: Vec<(String, String)>,
    /// What the target is started with.
    pub settings: Settings,
    /// What its engine is built with.
    pub build: BuildOptions,
}

/// What a scenario asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    /// The cells, in axis order: the last axis of the grid varies slower than the axes that are tried one at a time. Cells
    /// that stand beside the axes come last.
    pub cells: Vec<Cell>,
    /// What is left out, and why.
    pub excluded: Vec<ExcludedCell>,
}

impl Cell {
    /// The axis values in words, for messages: `model=qwen3-4b maxInputLen=4096`.
    pub fn describe(&self) -> String {
        self.record().describe()
    }

    /// The cell as a record keeps it.
    pub fn record(&self) -> CellRecord {
        CellRecord {
            id: self.id.clone(),
            model: self.model.clone(),
            name: self.name.clone(),
            axes: self.axes.clone(),
            settings: self.settings.to_map(),
            build: self.build.to_map(),
            source: self.source.describe(),
            synthetic_weights: self.source.is_synthetic(),
        }
    }
}

impl CellRecord {
    /// The axis values in words, for messages: `model=qwen3-4b maxInputLen=4096`.
    pub fn describe(&self) -> String {
        if self.axes.is_empty() {
            return format!("model={}", self.model);
        }
        let words: Vec<String> = self.axes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        words.join(" ")
    }
}

impl Scenario {
    /// Every cell, and what is left out.
    pub fn expand(&self) -> Expansion {
        let mut combinations: Vec<Vec<(String, String)>> = vec![Vec::new()];
        for (name, values) in &self.grid {
            combinations = combinations
                .into_iter()
                .flat_map(|chosen| {
                    values.iter().map(move |value| {
                        let mut chosen = chosen.clone();
                        chosen.push((name.clone(), value.clone()));
                        chosen
                    })
                })
                .collect();
        }
        let mut expansion = Expansion { cells: Vec::new(), excluded: Vec::new() };
        for combination in combinations {
            for axes in self.one_by_one(combination) {
                if let Some(cell) = self.unless_excluded(axes, &mut expansion.excluded) {
                    expansion.cells.push(cell);
                }
            }
        }
        for included in &self.include {
            let Some(cell) = self.unless_excluded(self.axes_of(included), &mut expansion.excluded) else {
                continue;
            };
            let named = |beside_axes| {
                Some(CellName { name: included.name.clone(), why: included.why.clone(), beside_axes })
            };
            match expansion.cells.iter_mut().find(|known| known.id == cell.id) {
                Some(known) => known.name = named(false),
                None => expansion.cells.push(Cell { name: named(true), ..cell }),
            }
        }
        expansion
    }

    /// The cells that a combination of the grid stands for: all axes at their base, then each other value of each axis.
    fn one_by_one(&self, combination: Vec<(String, String)>) -> Vec<Vec<(String, String)>> {
        let mut base = combination;
        let tried = base.len();
        base.extend(self.bases());
        let mut cells = vec![base.clone()];
        for (at, (_, values)) in self.one_at_a_time.iter().enumerate() {
            for value in values.iter().skip(1) {
                let mut cell = base.clone();
                cell[tried + at].1.clone_from(value);
                cells.push(cell);
            }
        }
        cells
    }

    /// The values of a named cell in axis order, those that are no axes last.
    fn axes_of(&self, included: &Included) -> Vec<(String, String)> {
        let own = |name: &str| included.values.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        let axes = self.grid.iter().chain(&self.one_at_a_time);
        let mut values: Vec<(String, String)> = axes
            .filter_map(|(name, listed)| Some((name.clone(), own(name).or(listed.first())?.clone())))
            .collect();
        let others: Vec<_> = included
            .values
            .iter()
            .filter(|(name, _)| values.iter().all(|(axis, _)| axis != name))
            .cloned()
            .collect();
        values.extend(others);
        values
    }

    /// The cell with these axis values, or `None` where the scenario leaves it out, which `excluded` gets to know.
    fn unless_excluded(&self, axes: Vec<(String, String)>, excluded: &mut Vec<ExcludedCell>) -> Option<Cell> {
        let found = self.exclude.iter().find(|(when, _)| when.iter().all(|pair| axes.contains(pair)));
        match found {
            Some((_, why)) => {
                excluded.push(ExcludedCell { axes, why: why.clone() });
                None
            }
            None => self.cell(axes),
        }
    }

    /// The cell with these axis values; `None` where its model is unknown, which a checked scenario rules out.
    fn cell(&self, axes: Vec<(String, String)>) -> Option<Cell> {
        let (mut settings, mut build) = (self.settings, self.build.clone());
        for (name, value) in &axes {
            let known = settings.set(name, value).or_else(|| build.set(name, value));
            debug_assert!(name == "model" || known == Some(Ok(())));
        }
        let chosen = axes.iter().find(|(name, _)| name == "model").map(|(_, value)| value);
        let chosen = chosen.or(self.models.first().map(|(name, _)| name))?;
        let (model, source) = self.models.iter().find(|(name, _)| name == chosen)?.clone();
        let settings = settings.resolve(self.phases.output());
        let identity = json!({
            "settings": settings.to_map(),
            "build": build.to_map(),
            "build_contents": build.contents(),
            "source": source.describe(),
            "contents": source.contents(),
            "model": model,
            "target": format!("{:?}", self.target),
            "phases": format!("{:?}", self.phases),
            "memory_limit": self.memory_limit,
            "sample_every": format!("{:?}", self.sample_every),
            "seed": self.seed,
            "sampler_version": SAMPLER_VERSION,
            "program_version": env!("CARGO_PKG_VERSION"),
        });
        let hash = hex_sha256(identity.to_string().as_bytes());
        Some(Cell { id: CellId(hash[..12].to_owned()), name: None, model, source, axes, settings, build })
    }
}
