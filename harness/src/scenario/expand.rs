//! The cells of a scenario: every combination of axis values that is not excluded.

use serde_json::json;

use super::{BuildOptions, Included, ModelForm, Scenario, Settings, TargetKind, hex_sha256};
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
    /// The model in the form that the target reads.
    pub form: ModelForm,
    /// True where the model is known to have random weights, in whichever form.
    pub synthetic_weights: bool,
    /// The target's name in the scenario.
    pub target: String,
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
    /// The cells, in axis order: the last axis of the grid varies slower than the axes that vary together, and these slower than
    /// those that are tried one at a time. Cells
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
            source: self.form.describe(),
            synthetic_weights: self.synthetic_weights,
            target: self.target.clone(),
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
        let mut expansion = Expansion { cells: Vec::new(), excluded: Vec::new() };
        for axes in self.combinations() {
            if let Some(cell) = self.unless_excluded(axes, &mut expansion.excluded) {
                expansion.cells.push(cell);
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

    /// True where some cell would run `model` on `target`, by the axes, the named cells and what is excluded.
    pub(super) fn may_run(&self, model: &str, target: &str) -> bool {
        let is = |axes: &[(String, String)], axis: &str, wanted: &str| {
            axes.iter().find(|(name, _)| name == axis).is_none_or(|(_, value)| value == wanted)
        };
        let included = self.include.iter().map(|included| self.axes_of(included));
        self.combinations().into_iter().chain(included).any(|axes| {
            self.exclusion_of(&axes).is_none() && is(&axes, "model", model) && is(&axes, "target", target)
        })
    }

    /// The axis values of every cell, those that are excluded among them.
    fn combinations(&self) -> Vec<Vec<(String, String)>> {
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
        let rows = self.zip.first().map_or(1, |(_, values)| values.len());
        let joined = combinations.into_iter().flat_map(|combination| {
            (0..rows).map(move |row| {
                let own = self
                    .zip
                    .iter()
                    .filter_map(|(name, values)| Some((name.clone(), values.get(row)?.clone())));
                combination.iter().cloned().chain(own).collect::<Vec<_>>()
            })
        });
        joined.flat_map(|combination| self.one_by_one(combination)).collect()
    }

    /// The cells that a combination of grid and joined axes stands for: all axes at their base, then each other value of each axis.
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
        let axes = self.grid.iter().chain(&self.zip).chain(&self.one_at_a_time);
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
        match self.exclusion_of(&axes) {
            Some(why) => {
                excluded.push(ExcludedCell { why: why.to_owned(), axes });
                None
            }
            None => self.cell(axes),
        }
    }

    /// Why the scenario leaves out the cell with these axis values; `None` where it does not.
    fn exclusion_of(&self, axes: &[(String, String)]) -> Option<&str> {
        let value = |name: &str| axes.iter().find(|(axis, _)| axis == name).map(|(_, value)| value.as_str());
        self.exclude.iter().find(|(when, _)| when.holds(&value)).map(|(_, why)| why.as_str())
    }

    /// The cell with these axis values; `None` where its model or target is unknown, or the model has no form that the target
    /// reads, all of which a checked scenario rules out.
    fn cell(&self, axes: Vec<(String, String)>) -> Option<Cell> {
        let (mut settings, mut build) = (self.settings, self.build.clone());
        for (name, value) in &axes {
            let known = settings.set(name, value).or_else(|| build.set(name, value));
            debug_assert!(["model", "target"].contains(&name.as_str()) || known == Some(Ok(())));
        }
        let (model, forms) = named(&self.models, &axes, "model")?;
        let (target, kind) = named(&self.targets, &axes, "target")?;
        let form = forms.iter().find(|form| kind.reads().contains(&form.name()))?;
        let settings = settings.resolve(self.phases.output());
        let mut identity = json!({
            "settings": settings.to_map(),
            "build": build.to_map(),
            "build_contents": build.contents(),
            "source": form.describe(),
            "contents": form.contents(),
            "model": model,
            "target": identity(kind),
            "phases": format!("{:?}", self.phases),
            "memory_limit": self.memory_limit,
            "sample_every": format!("{:?}", self.sample_every),
            "seed": self.seed,
            "sampler_version": SAMPLER_VERSION,
            "program_version": env!("CARGO_PKG_VERSION"),
        });
        if !self.co_residents.is_empty() {
            identity["co_residents"] = format!("{:?}", self.co_residents).into();
        }
        let mut cell = Cell {
            id: CellId(String::new()),
            name: None,
            synthetic_weights: forms.iter().any(ModelForm::is_synthetic),
            form: form.clone(),
            model: model.clone(),
            target: target.clone(),
            axes,
            settings,
            build,
        };
        if let Some(quality) = self.quality_of(&cell) {
            identity["quality"] = quality.identity().into();
        }
        cell.id = CellId(hex_sha256(identity.to_string().as_bytes())[..12].to_owned());
        Some(cell)
    }
}

/// The entry that the axis `axis` names, or else the first one.
fn named<'a, T>(
    entries: &'a [(String, T)],
    axes: &[(String, String)],
    axis: &str,
) -> Option<(&'a String, &'a T)> {
    let chosen = axes.iter().find(|(name, _)| name == axis).map(|(_, value)| value);
    let entry = match chosen {
        Some(chosen) => entries.iter().find(|(name, _)| name == chosen),
        None => entries.first(),
    };
    entry.map(|(name, entry)| (name, entry))
}

/// What tells one target from another one: how it is started, and what stands for its program.
fn identity(kind: &TargetKind) -> String {
    let contents = kind.contents();
    if contents.is_empty() { format!("{kind:?}") } else { format!("{kind:?}\n{contents}") }
}
