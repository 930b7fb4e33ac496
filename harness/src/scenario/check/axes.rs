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
    /// Axes that vary together.
    pub(super) zip: Vec<Axis>,
    /// Axes that are tried one at a time.
    pub(super) one_at_a_time: Vec<Axis>,
}

/// An axis and its values.
pub(super) type Axis = (String, Vec<String>);

impl CheckedAxes {
    /// Every axis.
    pub(super) fn all(&self) -> impl Iterator<Item = &Axis> {
        self.grid.iter().chain(&self.zip).chain(&self.one_at_a_time)
    }

    /// Axes in which cells can differ alone.
    pub(super) fn alone(&self) -> impl Iterator<Item = &Axis> {
        self.grid.iter().chain(&self.one_at_a_time)
    }
}

pub(super) fn axes_of(file: &ScenarioFile, mistakes: &mut Mistakes) -> CheckedAxes {
    let (grid, zip) = (file.axes.grid.as_ref(), file.axes.zip.as_ref());
    let alone = file.axes.one_at_a_time.as_ref();
    let on_grid = |name: &str| grid.is_some_and(|grid| grid.get(name).is_some());
    let joined = |name: &str| zip.is_some_and(|zip| zip.get(name).is_some());
    let twice = |name: &Located<String>, where_else: &str| {
        let message = format!("the axis `{}` stands {where_else}, too", name.value);
        Diagnostic::new(message, name.span.clone()).hint("keep it in one of the two")
    };
    if let Some(grid) = grid {
        check_axes(file, grid, true, mistakes);
    }
    if let Some(zip) = zip {
        check_axes(file, zip, false, mistakes);
        check_lengths(zip, mistakes);
        let double = zip.0.iter().filter(|(name, _)| on_grid(name));
        mistakes.extend(double.map(|(name, _)| twice(name, "on the grid")));
    }
    for (name, values) in alone.iter().flat_map(|alone| &alone.0) {
        if ["model", "target"].contains(&name.value.as_str()) {
            mistakes.push(
                Diagnostic::new(format!("`{}` cannot be tried one at a time", name.value), name.span.clone())
                    .hint(format!("put it on the grid: then every {} is a base of its own", name.value)),
            );
        } else if on_grid(name) {
            mistakes.push(twice(name, "on the grid"));
        } else if joined(name) {
            mistakes.push(twice(name, "in `zip`"));
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
        check_axes(file, alone, true, mistakes);
    }
    let on_grid_axes = grid.iter().flat_map(|grid| &grid.0);
    let combinations = on_grid_axes.fold(1_usize, |cells, (_, values)| cells.saturating_mul(values.len()));
    let rows = zip.and_then(|zip| zip.0.first()).map_or(1, |(_, values)| values.len());
    let combinations = combinations.saturating_mul(rows);
    let tried = alone.iter().flat_map(|alone| &alone.0).map(|(_, values)| values.len().saturating_sub(1));
    let cells = combinations.saturating_mul(1 + tried.sum::<usize>()).saturating_add(file.include.len());
    if cells > MAX_CELLS {
        let message = format!("{cells} cells are more than the {MAX_CELLS} that a scenario may have");
        mistakes.push(Diagnostic::new(message, file.axes.place()));
    }
    let varies = |name: &str| on_grid(name) || joined(name);
    if !varies("model") && file.models.0.len() != 1 {
        mistakes.push(
            Diagnostic::new("no cell would have a model", file.axes.place())
                .hint("add the axis `model`, or define exactly one model"),
        );
    }
    if let Some(targets) = file.targets.as_ref().filter(|targets| !varies("target") && targets.0.len() > 1) {
        mistakes.push(
            Diagnostic::new("no cell would have a target", targets.span.clone())
                .hint(format!("add the axis `target: [{}]`", targets.names().collect::<Vec<_>>().join(", "))),
        );
    }
    let listed = |axes: Option<&AxisEntries>| axes.map(listed).unwrap_or_default();
    CheckedAxes { grid: listed(grid), zip: listed(zip), one_at_a_time: listed(alone) }
}

/// Axes that vary together have as many values as the first of them.
fn check_lengths(zip: &AxisEntries, mistakes: &mut Mistakes) {
    let mut axes = zip.0.iter();
    let Some((first, listed)) = axes.next() else {
        mistakes.push(Diagnostic::new("`zip` joins no axes", zip.span.clone()));
        return;
    };
    if zip.0.len() == 1 {
        let message = format!("`{}` has nothing to vary together with", first.value);
        mistakes.push(
            Diagnostic::new(message, first.span.clone()).hint("add another axis, or put it on the grid"),
        );
    }
    for (name, values) in axes.filter(|(_, values)| values.len() != listed.len()) {
        let message = format!(
            "`{}` has {} values and `{}` has {}: they cannot vary together",
            name.value,
            values.len(),
            first.value,
            listed.len()
        );
        let hint =
            "give all axes of `zip` as many values; one that keeps its value is written once for each cell";
        mistakes.push(Diagnostic::new(message, values.span.clone()).hint(hint));
    }
}

fn listed(axes: &AxisEntries) -> Vec<Axis> {
    let texts = |values: &Located<Vec<Located<Scalar>>>| values.iter().map(|value| value.0.clone()).collect();
    axes.0.iter().map(|(name, values)| (name.value.clone(), texts(values))).collect()
}

/// Checks names and values; each value may stand `once` on its axis only, unless axes are joined.
fn check_axes(file: &ScenarioFile, axes: &AxisEntries, once: bool, mistakes: &mut Mistakes) {
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
            if once && values[..at].iter().any(|earlier| earlier.value == value.value) {
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
        for (axis, values) in axes.grid.iter().chain(&axes.zip) {
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
