//! `sweep fit --check`: did the predictions hold in a run?

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::print::table;
use super::super::{CliError, Printer};
use crate::engines::BuiltinEngines;
use crate::fit::{CheckedCell, TOLERANCE, check as check_cells};
use crate::number::{cell as shown, mib};
use crate::record::Run;
use crate::verdict::ExitCode;

/// Version of the JSON form.
const FORMAT_VERSION: u32 = 1;

#[derive(Serialize)]
struct Checked {
    format_version: u32,
    run: PathBuf,
    /// How far a prediction may be off, as a share of what was measured.
    tolerance: f64,
    cells: Vec<CheckedCell>,
    exit_code: ExitCode,
}

/// Prints every cell of the run in `folder`, predicted and measured.
pub(super) fn check(
    folder: &Path,
    engines: &BuiltinEngines,
    json: bool,
    printer: &Printer,
) -> Result<ExitCode, CliError> {
    let run = Run::load(folder)?;
    let cells = check_cells(&run, engines);
    let holds: Vec<Option<bool>> = cells.iter().map(CheckedCell::holds).collect();
    // What was never measured, or cannot be predicted here, says nothing for the predictions.
    let exit_code = match () {
        () if holds.contains(&Some(false)) => ExitCode::BudgetFailed,
        () if holds.contains(&None) || holds.is_empty() => ExitCode::Inconclusive,
        () => ExitCode::Pass,
    };
    let checked = Checked {
        format_version: FORMAT_VERSION,
        run: folder.to_owned(),
        tolerance: TOLERANCE,
        cells,
        exit_code,
    };
    match json {
        true => printer.json(&checked)?,
        false => printer.text(&text(&checked, &run))?,
    }
    Ok(exit_code)
}

fn text(checked: &Checked, run: &Run) -> String {
    let head = ["cell", "tokens held", "predicted MiB", "measured MiB", "difference", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for cell in &checked.cells {
        rows.push(vec![
            format!("{}: {}", cell.cell.model, cell.cell.variant(&run.record.bases)),
            shown(&cell.context_tokens, |tokens| tokens.0.to_string()).text,
            shown(&cell.predicted_bytes, |bytes| mib(*bytes)).text,
            shown(&cell.measured_bytes, |bytes| mib(*bytes)).text,
            cell.difference.map_or("n/a".to_owned(), |share| format!("{:+.2} %", share * 100.0)),
            match cell.holds() {
                Some(true) => "holds",
                Some(false) => "OFF",
                None => "unknown",
            }
            .to_owned(),
        ]);
    }
    let mut text = table(&rows);
    for cell in &checked.cells {
        for why in [
            shown(&cell.measured_bytes, |_| String::new()).why,
            shown(&cell.predicted_bytes, |_| String::new()).why,
        ]
        .into_iter()
        .flatten()
        .take(1)
        {
            text.push_str(&format!("{}: {why}\n", cell.cell.variant(&run.record.bases)));
        }
    }
    let held = checked.cells.iter().filter(|cell| cell.holds() == Some(true)).count();
    let known = checked.cells.iter().filter(|cell| cell.holds().is_some()).count();
    text.push_str(&format!(
        "\n{held} of {known} measured cells are predicted within {:.0} %; {} cells in all\n",
        checked.tolerance * 100.0,
        checked.cells.len()
    ));
    text
}
