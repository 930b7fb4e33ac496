//! Axes, their values, and the `when` of exclusions and budgets.

use super::super::diagnostic::Diagnostic;
use super::super::file::{Scalar, ScenarioFile};
use super::super::located::{Entries, Located};
use super::super::settings::{BuildOptions, Expected, SettingsDraft};
use super::Mistakes;

/// More cells than anyone will wait for; a mistyped axis must not fill a disk.
const MAX_CELLS: usize = 10_000;

/// Checks one value of the axis or name `name`. True where the name is known.
fn check_value(file: &ScenarioFile, name: &str, value: &Located<Scalar>, mistakes: &mut Mistakes) -> bool {
    if name == "model" {
        if file.models.get(&value.0).is_none() {
            mistakes.push(
                Diagnostic::new(format!("there is no model `{}`", value.0), value.span.clone())
                    .suggest(&value.0, file.models.names()),
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

fn value_names() -> impl Iterator<Item = &'static str> {
    ["model"].into_iter().chain(SettingsDraft::NAMES).chain(BuildOptions::NAMES)
}

pub(super) fn grid_of(file: &ScenarioFile, mistakes: &mut Mistakes) -> Vec<(String, Vec<String>)> {
    let grid = &file.axes.grid;
    let mut cells = 1_usize;
    for (name, values) in &grid.0 {
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
        cells = cells.saturating_mul(values.len());
    }
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
    let texts = |values: &Located<Vec<Located<Scalar>>>| values.iter().map(|value| value.0.clone()).collect();
    grid.0.iter().map(|(name, values)| (name.value.clone(), texts(values))).collect()
}

/// Which names a `when` may use.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum WhenNames {
    /// Axes of the grid.
    AxesOnly,
    /// Any setting and build option, too.
    Everything,
}

pub(super) fn when_of(
    file: &ScenarioFile,
    when: &Located<Entries<Located<Scalar>>>,
    grid: &[(String, Vec<String>)],
    names: WhenNames,
    mistakes: &mut Mistakes,
) -> Vec<(String, String)> {
    if when.0.is_empty() {
        mistakes.push(Diagnostic::new("`when` is empty and would match every cell", when.span.clone()));
    }
    for (name, value) in &when.0 {
        let axis = grid.iter().find(|(axis, _)| *axis == name.value);
        match axis {
            Some((_, values)) if !values.contains(&value.0) => {
                mistakes.push(
                    Diagnostic::new(
                        format!("the axis `{}` has no value `{}`", name.value, value.0),
                        value.span.clone(),
                    )
                    .suggest(&value.0, values.iter().map(String::as_str)),
                );
            }
            Some(_) => {}
            None if names == WhenNames::Everything && value_names().any(|known| known == name.value) => {
                check_value(file, name, value, mistakes);
            }
            None => {
                let axes = grid.iter().map(|(axis, _)| axis.as_str());
                mistakes.push(
                    Diagnostic::new(format!("there is no axis `{}`", name.value), name.span.clone())
                        .suggest(name, axes),
                );
            }
        }
    }
    when.0.iter().map(|(name, value)| (name.value.clone(), value.0.clone())).collect()
}
