//! `sweep list`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::{ListArguments, Listed};
use super::print::table;
use super::{CliError, Printer};
use crate::lock::{EngineLock, EngineStatus, status};
use crate::record::{Boards, Run};
use crate::scenario::load;
use crate::verdict::ExitCode;

#[derive(Serialize)]
struct Listing {
    scenarios: Vec<ScenarioLine>,
    runs: Vec<RunLine>,
}

/// Version of the answer of `sweep list engines --json`.
const ENGINES_FORMAT_VERSION: u32 = 1;

#[derive(Serialize)]
struct EngineListing {
    format_version: u32,
    engines: Vec<EngineStatus>,
}

#[derive(Serialize)]
struct ScenarioLine {
    path: PathBuf,
    /// `None` where the file has mistakes.
    cells: Option<usize>,
    why: String,
}

#[derive(Serialize)]
struct RunLine {
    path: PathBuf,
    scenario: String,
    finished: bool,
    /// `None` while it runs, and where it was killed.
    exit_code: Option<u8>,
}

/// Lists scenarios and runs, or engines.
pub(super) fn list(arguments: &ListArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    if arguments.what == Some(Listed::Engines) {
        return engines(arguments, printer);
    }
    let listing = Listing {
        scenarios: files(&arguments.scenarios, "yaml").into_iter().map(describe).collect(),
        runs: runs(&arguments.output).into_iter().filter_map(|path| run_line(&path)).collect(),
    };
    if arguments.json {
        printer.json(&listing)?;
        return Ok(ExitCode::Pass);
    }
    printer.line("Scenarios")?;
    let scenarios = listing.scenarios.iter().map(|scenario| {
        let cells = scenario.cells.map_or("invalid".to_owned(), |cells| format!("{cells} cells"));
        format!("  {}  ({cells})\n      {}\n", scenario.path.display(), scenario.why)
    });
    printer.text(&scenarios.collect::<String>())?;
    printer.line("Runs")?;
    if listing.runs.is_empty() {
        printer.line("  none yet: `sweep run` makes one")?;
    }
    let rows: Vec<Vec<String>> = listing
        .runs
        .iter()
        .map(|run| {
            let state = match (run.finished, run.exit_code.map(ExitCode::try_from)) {
                (_, Some(Ok(code))) => format!("{} ({})", code.meaning(), code.code()),
                _ => "not finished".to_owned(),
            };
            vec![format!("  {}", run.path.display()), run.scenario.clone(), state]
        })
        .collect();
    printer.text(&table(&rows))?;
    Ok(ExitCode::Pass)
}

/// Lists the engines of the lock.
fn engines(arguments: &ListArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let places = arguments.lock.places(&arguments.engines);
    let lock = EngineLock::load(&places.lock)?;
    let engines: Vec<EngineStatus> = lock.engines().iter().map(|engine| status(engine, &places)).collect();
    if arguments.json {
        printer.json(&EngineListing { format_version: ENGINES_FORMAT_VERSION, engines })?;
        return Ok(ExitCode::Pass);
    }
    let mut rows = vec![["engine", "state", "pinned", "sha256", "source"].map(str::to_owned).to_vec()];
    for engine in &engines {
        let pinned = match engine.unpinned.as_slice() {
            [] => "yes".to_owned(),
            missing => format!("no: {}", missing.join(", ")),
        };
        let sha256 =
            engine.sha256.as_ref().map_or_else(String::new, |sha256| sha256.chars().take(12).collect());
        rows.push(vec![
            engine.name.clone(),
            engine.state.word().to_owned(),
            pinned,
            sha256,
            engine.source.clone(),
        ]);
    }
    printer.text(&table(&rows))?;
    for engine in engines.iter().filter(|engine| !engine.reasons.is_empty()) {
        printer.line(&format!("{} is stale: {}", engine.name, engine.reasons.join("; ")))?;
    }
    Ok(ExitCode::Pass)
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

fn describe(path: PathBuf) -> ScenarioLine {
    match load(&path) {
        Ok(scenario) => ScenarioLine { path, cells: Some(scenario.expand().cells.len()), why: scenario.why },
        Err(_) => {
            let why = format!("it has mistakes: `sweep plan {}` shows them", path.display());
            ScenarioLine { path, cells: None, why }
        }
    }
}

/// The run folders below `folder`, oldest first: they are named by time.
pub(super) fn runs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut runs: Vec<PathBuf> =
        entries.filter(|path| path.join("run.json").is_file() || Boards::is_there(path)).collect();
    runs.sort();
    runs
}

fn run_line(path: &Path) -> Option<RunLine> {
    if Boards::is_there(path) {
        let Boards { record, runs, .. } = Boards::load(path).ok()?;
        let codes: Option<Vec<ExitCode>> =
            runs.iter().map(|(_, run)| ExitCode::try_from(run.record.exit_code?).ok()).collect();
        return Some(RunLine {
            path: path.to_owned(),
            scenario: format!("{}, {} boards", record.scenario, runs.len()),
            finished: runs.iter().all(|(_, run)| run.record.is_complete()),
            exit_code: codes.map(|codes| ExitCode::strongest(codes).code()),
        });
    }
    let record = Run::load(path).ok()?.record;
    Some(RunLine {
        path: path.to_owned(),
        finished: record.is_complete(),
        exit_code: record.exit_code,
        scenario: record.scenario.name,
    })
}
