//! Axes, their values, and named cells.

use super::super::Included;
use super::super::diagnostic::Diagnostic;
use super::super::file::{AxisEntries, Scalar, ScenarioFile};
use super::super::located::Located;
use super::super::settings::{BuildOptions, Expected, SettingsDraft};
use super::{Mistakes, check_name, check_why};

/// More cells than anyone will wait for; a mistyped axis must not fill a disk.
const MAX_CELLS: usize = 10_000;

/// Checks one value of the axis or name `name`. True where the name is known.
pub(super) fn check_value(
    file: &ScenarioFile,
    name: &str,
    value: &Located<Scalar>,
    mistakes: &mut Mistakes,
) -> bool {
    if name == "model" {
        if file.models.get(&value.0).is_none() {
            mistakes.push(
                Diagnostic::new(format!("there is no model `{}`", value.0), value.span.clone())
                    .suggest(&value.0, file.models.names()),
            );
        }
        return true;
    }
    if name == "target" {
        let Some(targets) = &file.targets else {
            mistakes.push(
                Diagnostic::new("there is only one target", value.span.clone())
                    .hint("name several in `targets`, in place of `target`"),
            );
            return true;
        };
        if targets.get(&value.0).is_none() {
            mistakes.push(
                Diagnostic::new(format!("there is no target `{}`", value.0), value.span.clone())
                    .suggest(&value.0, targets.names()),
            );
        }
        return true;
    }
    let checked =
        SettingsDraft::default().set(name, &value.0).or_else(|| BuildOptions::default().set(name, &value.0));
    if let Some(Err(Expected(expected))) = &checked {
        mistakes.push(
            Diagnostic::new(format!("`{name}` cannot be `{}`", value.0), value.span.clone())
                .hint(format!("it takes {expected}")),
        );
    }
    checked.is_some()
}

pub(super) fn value_names() -> impl Iterator<Item = &'static str> {
    ["model", "target"].into_iter().chain(SettingsDraft::NAMES).chain(BuildOptions::NAMES)
}

/// The axes as far as they make sense.
pub(super) struct CheckedAxes {
    /// Axes of which every combination is taken.
    pub(super) grid: Vec<Axis>,
    /// Axes that are tried one at a time.
    pub(super) one_at_a_time: Vec<Axis>,
}

/// An axis and its values.
pub(super) type Axis = (String, Vec<String>);

impl CheckedAxes {
    /// Every axis.
    pub(super) fn all(&self) -> impl Iterator<Item = &Axis> {
        self.grid.iter().chain(&self.one_at_a_time)
    }
}

pub(super) fn axes_of(file: &ScenarioFile, mistakes: &mut Mistakes) -> CheckedAxes {
    let grid = &file.axes.grid;
    let alone = file.axes.one_at_a_time.as_ref();
    check_axes(file, grid, mistakes);
    for (name, values) in alone.iter().flat_map(|alone| &alone.0) {
        if ["model", "target"].contains(&name.value.as_str()) {
            mistakes.push(
                Diagnostic::new(format!("`{}` cannot be tried one at a time", name.value), name.span.clone())
                    .hint(format!("put it on the grid: then every {} is a base of its own", name.value)),
            );
        } else if grid.get(name).is_some() {
            let message = format!("the axis `{}` stands on the grid, too", name.value);
            mistakes.push(Diagnostic::new(message, name.span.clone()).hint("keep it in one of the two"));
        }
        if let [only] = values.as_slice() {
            let message = format!("the axis `{}` has a base and nothing to try", name.value);
            mistakes.push(Diagnostic::new(message, values.span.clone()).hint(format!(
                "add another value, or move it to `settings` or `build`: `{}: {}`",
                name.value, only.0
            )));
        }
    }
    if let Some(alone) = alone {
        check_axes(file, alone, mistakes);
    }
    let combinations = grid.0.iter().fold(1_usize, |cells, (_, values)| cells.saturating_mul(values.len()));
    let tried = alone.iter().flat_map(|alone| &alone.0).map(|(_, values)| values.len().saturating_sub(1));
    let cells = combinations.saturating_mul(1 + tried.sum::<usize>()).saturating_add(file.include.len());
    if cells > MAX_CELLS {
        let message = format!("{cells} cells are more than the {MAX_CELLS} that a scenario may have");
        mistakes.push(Diagnostic::new(message, grid.span.clone()));
    }
    if grid.get("model").is_none() && file.models.0.len() != 1 {
        mistakes.push(
            Diagnostic::new("no cell would have a model", grid.span.clone())
                .hint("add the axis `model`, or define exactly one model"),
        );
    }
    if let Some(targets) =
        file.targets.as_ref().filter(|targets| grid.get("target").is_none() && targets.0.len() > 1)
    {
        mistakes.push(
            Diagnostic::new("no cell would have a target", targets.span.clone())
                .hint(format!("add the axis `target: [{}]`", targets.names().collect::<Vec<_>>().join(", "))),
        );
    }
    CheckedAxes { grid: listed(grid), one_at_a_time: alone.map(listed).unwrap_or_default() }
}

fn listed(axes: &AxisEntries) -> Vec<Axis> {
    let texts = |values: &Located<Vec<Located<Scalar>>>| values.iter().map(|value| value.0.clone()).collect();
    axes.0.iter().map(|(name, values)| (name.value.clone(), texts(values))).collect()
}

fn check_axes(file: &ScenarioFile, axes: &AxisEntries, mistakes: &mut Mistakes) {
    for (name, values) in &axes.0 {
        if values.is_empty() {
            let message = format!("the axis `{}` has no values", name.value);
            mistakes.push(Diagnostic::new(message, name.span.clone()));
        }
        for (at, value) in values.iter().enumerate() {
            if !check_value(file, name, value, mistakes) {
                mistakes.push(
                    Diagnostic::new(format!("there is no axis `{}`", name.value), name.span.clone())
                        .suggest(name, value_names()),
                );
                break;
            }
            if values[..at].iter().any(|earlier| earlier.value == value.value) {
                let message = format!("`{}` stands twice on the axis `{}`", value.0, name.value);
                mistakes.push(Diagnostic::new(message, value.span.clone()));
            }
        }
    }
}

/// The named cells.
pub(super) fn include_of(file: &ScenarioFile, axes: &CheckedAxes, mistakes: &mut Mistakes) -> Vec<Included> {
    let mut included: Vec<Included> = Vec::new();
    for written in &file.include {
        check_name(&written.name, "a cell's name is typed on command lines", mistakes);
        check_why(&written.why, "a cell", &written.name.span, mistakes);
        if included.iter().any(|earlier| earlier.name == written.name.value) {
            let message = format!("the cell `{}` stands here for the second time", written.name.value);
            mistakes.push(Diagnostic::new(message, written.name.span.clone()));
        }
        for (name, value) in &written.cell.0 {
            if !check_value(file, name, value, mistakes) {
                mistakes.push(
                    Diagnostic::new(
                        format!("there is no setting or build option `{}`", name.value),
                        name.span.clone(),
                    )
                    .suggest(name, value_names()),
                );
            }
        }
        for (axis, values) in &axes.grid {
            if values.len() > 1 && written.cell.get(axis).is_none() {
                let message = format!("the cell `{}` does not say which `{axis}`", written.name.value);
                mistakes.push(
                    Diagnostic::new(message, written.cell.span.clone())
                        .hint(format!("add one of {}", values.join(", "))),
                );
            }
        }
        let values = written.cell.0.iter().map(|(name, value)| (name.value.clone(), value.0.clone()));
        included.push(Included {
            name: written.name.value.clone(),
            values: values.collect(),
            why: written.why.clone(),
        });
    }
    included
}
