//! Predictions against everything that a run measured.

use ledger::{Bytes, Phase, Tokens};
use serde::Serialize;

use super::measured::{difference, measured};
use super::planner::{Configuration, Planner};
use crate::engines::BuiltinEngines;
use crate::record::{CellRecord, Outcome, Reading, Run};
use crate::scenario::{BuildOptions, Expected, ModelSource, SettingsDraft};

/// How far a prediction may be from a measurement, as a share of it.
pub const TOLERANCE: f64 = 0.02;

/// One cell, predicted and measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckedCell {
    /// The cell.
    pub cell: CellRecord,
    /// Tokens that it held.
    pub context_tokens: Reading<Tokens>,
    /// The peak that is predicted from its source, build options and settings alone.
    pub predicted_bytes: Reading<Bytes>,
    /// The highest resident memory of any of its trials.
    pub measured_bytes: Reading<Bytes>,
    /// Predicted less measured, as a share of measured.
    pub difference: Option<f64>,
}

impl CheckedCell {
    /// True where the two are closer than [`TOLERANCE`]; `None` where one of them is missing.
    pub fn holds(&self) -> Option<bool> {
        Some(self.difference?.abs() <= TOLERANCE)
    }
}

/// Predicts every cell of `run` anew and holds it against what was measured.
pub fn check(run: &Run, engines: &BuiltinEngines) -> Vec<CheckedCell> {
    run.record.cells.iter().map(|cell| check_cell(run, cell, engines)).collect()
}

fn check_cell(run: &Run, cell: &CellRecord, engines: &BuiltinEngines) -> CheckedCell {
    let mut checked = CheckedCell {
        cell: cell.clone(),
        context_tokens: Reading::default(),
        predicted_bytes: Reading::Unavailable("nothing was measured to hold it against".to_owned()),
        measured_bytes: Reading::default(),
        difference: None,
    };
    let (context, peak) = match measured(run, &cell.id) {
        Ok(found) => found,
        Err(why) => {
            checked.context_tokens = Reading::Unavailable(why.clone());
            checked.measured_bytes = Reading::Unavailable(why);
            return checked;
        }
    };
    checked.context_tokens = Reading::Measured(context);
    checked.measured_bytes = Reading::Measured(peak);
    checked.predicted_bytes = match predict(run, cell, context, engines) {
        Ok(predicted) => {
            checked.difference = Some(difference(predicted, peak));
            Reading::Measured(predicted)
        }
        Err(why) => Reading::Unavailable(why),
    };
    checked
}

/// The peak of `cell` with `context` tokens held, over the phases that its trials entered.
fn predict(run: &Run, cell: &CellRecord, context: Tokens, engines: &BuiltinEngines) -> Result<Bytes, String> {
    let source = ModelSource::from_words(&cell.source)
        .ok_or_else(|| format!("the source `{}` is not known", cell.source))?;
    let configuration = configuration_of(run, cell)?;
    let mut planner = Planner::new(engines, &source, Some(context));
    let forecast = planner.forecast(&configuration).map_err(|error| error.to_string())?;
    let completed = run.trials_of(&cell.id).filter(|trial| trial.record.outcome == Outcome::Completed);
    let entered: Vec<Phase> = completed.flat_map(|trial| &trial.record.phases).map(|it| it.phase).collect();
    Ok(forecast.peak(entered, context, 1).total)
}

/// What a cell was built and started with. Threads that were left to the machine are those of the machine that measured.
fn configuration_of(run: &Run, cell: &CellRecord) -> Result<Configuration, String> {
    let (mut build, mut draft) = (BuildOptions::default(), SettingsDraft::default());
    for (name, value) in cell.settings.iter().chain(&cell.build) {
        let threads = run.record.machine.as_ref().map(|machine| machine.cores.to_string());
        let value = threads.as_ref().filter(|_| name == "threads" && value == "auto").unwrap_or(value);
        match draft.set(name, value).or_else(|| build.set(name, value)) {
            Some(Ok(())) => {}
            Some(Err(Expected(expected))) => {
                return Err(format!("`{name}` cannot be `{value}`: it takes {expected}"));
            }
            None => return Err(format!("there is no setting or build option `{name}`")),
        }
    }
    Ok(Configuration { build, settings: draft.resolve(Tokens(1)) })
}
