//! `sweep check` and `sweep report`: verdicts from records, on any machine, at any later time.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::arguments::{RecordArguments, ReportArguments, ReportFormat};
use super::{CliError, Printer};
use crate::baseline::{Baseline, BaselineError};
use crate::record::{BASELINE_FILE, Boards, Run};
use crate::report::{self, Outputs, ReportError};
use crate::verdict::{BoardsVerdict, ExitCode, RunVerdict, boards_table, judge, judge_boards, table};

/// The verdict on the run in `folder`.
pub(super) fn verdict_of(folder: &Path) -> Result<RunVerdict, CliError> {
    Ok(judge(&Run::load(folder)?))
}

/// What is judged: a run, or several boards side by side.
pub(super) enum Judged {
    /// One run.
    Run(Box<RunVerdict>),
    /// Several boards.
    Boards(BoardsVerdict),
}

impl Judged {
    /// Prints the verdict, and returns its exit code.
    pub(super) fn show(&self, json: bool, printer: &Printer) -> Result<ExitCode, CliError> {
        match self {
            Judged::Run(verdict) => show(verdict, json, printer),
            Judged::Boards(verdict) => {
                let shown = if json { printer.json(verdict) } else { printer.text(&boards_table(verdict)) };
                answered(shown, verdict.exit_code)
            }
        }
    }
}

/// The verdict on `folder`, held against the baseline in `file`, or else against the one that it has itself.
pub(super) fn judged(folder: &Path, file: Option<&Path>) -> Result<Judged, CliError> {
    // A baseline is of one board.
    match Boards::is_there(folder) && file.is_none() {
        true => Ok(Judged::Boards(judge_boards(&Boards::load(folder)?))),
        false => Ok(Judged::Run(Box::new(judge(&load(folder, file)?)))),
    }
}

/// Prints the verdict on a run, and returns its exit code.
pub(super) fn check(arguments: &RecordArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let folder = find(arguments.run.as_deref(), &arguments.output)?;
    judged(&folder, arguments.baseline.as_deref())?.show(arguments.json, printer)
}

/// Writes the report of a run again.
pub(super) fn report(arguments: &ReportArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let RecordArguments { run, json, output, baseline } = &arguments.record;
    let folder = find(run.as_deref(), output)?;
    if let Some(path) = baseline {
        Run::head(&folder)?;
        keep(&Baseline::read(path)?, &folder)?;
    }
    let outputs = match Boards::is_there(&folder) {
        true => report::write_boards(&folder).map_err(of_report)?.map(Judged::Boards),
        false => write_outputs(&folder)?.map(|verdict| Judged::Run(Box::new(verdict))),
    };
    if arguments.job_summary {
        append_summary(&outputs.summary)?;
    }
    let Some(format) = arguments.format else {
        return outputs.verdict.show(*json, printer).map(|_| ExitCode::Pass);
    };
    let path = match format {
        ReportFormat::Html => outputs.html,
        ReportFormat::Csv => outputs.csv,
        ReportFormat::Json => outputs.json,
        ReportFormat::Junit => outputs.junit,
        ReportFormat::Sarif => outputs.sarif,
        ReportFormat::Markdown => outputs.summary,
    };
    printer.text(&fs::read_to_string(path).map_err(of_output("read what was written"))?)?;
    Ok(ExitCode::Pass)
}

/// The variable by which a CI says where the summary of a job goes.
const JOB_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

fn append_summary(summary: &Path) -> Result<(), CliError> {
    let Some(path) = std::env::var_os(JOB_SUMMARY).filter(|path| !path.is_empty()) else {
        return Err(CliError::NoJobSummary { variable: JOB_SUMMARY });
    };
    let append = || {
        let text = fs::read(summary)?;
        fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(&text)
    };
    append().map_err(of_output("append to the job's summary"))
}

fn of_output(what: &'static str) -> impl Fn(io::Error) -> CliError {
    move |source| CliError::Environment { what, source }
}

/// The run in `folder`, to be held against the baseline in `file`, or else against the one that it has itself.
pub(super) fn load(folder: &Path, file: Option<&Path>) -> Result<Run, CliError> {
    let mut run = Run::load(folder)?;
    if let Some(file) = file {
        run.baseline = Some(Baseline::read(file)?);
    }
    Ok(run)
}

/// Puts `baseline` into the run in `folder`, so that its verdict stays what it is.
pub(super) fn keep(baseline: &Baseline, folder: &Path) -> Result<(), BaselineError> {
    baseline.write(&folder.join(BASELINE_FILE))
}

/// The baseline below `baselines` that is kept for the board of `run`, where there is one that has its scenario.
pub(super) fn of_board(run: &Run, baselines: &Path) -> Result<Option<Baseline>, BaselineError> {
    let Some(board) = run.board_name() else { return Ok(None) };
    let path = baselines.join(format!("{board}.json"));
    if !path.exists() {
        return Ok(None);
    }
    let baseline = Baseline::read(&path)?;
    Ok(Some(baseline).filter(|baseline| baseline.scenarios.contains_key(&run.record.scenario.name)))
}

/// Writes every output of the run in `folder`, prints the verdict, and returns its exit code.
pub(super) fn conclude(folder: &Path, json: bool, printer: &Printer) -> Result<ExitCode, CliError> {
    show(&write_outputs(folder)?.verdict, json, printer)
}

/// Writes every output of the run in `folder`.
pub(super) fn write_outputs(folder: &Path) -> Result<Outputs, CliError> {
    report::write(folder).map_err(of_report)
}

/// What a report that cannot be written is on the command line.
pub(super) fn of_report(error: ReportError) -> CliError {
    match error {
        ReportError::Run(error) => CliError::Run(error),
        error => CliError::Output(error.to_string()),
    }
}

fn show(verdict: &RunVerdict, json: bool, printer: &Printer) -> Result<ExitCode, CliError> {
    let shown = if json { printer.json(verdict) } else { printer.text(&table(verdict)) };
    answered(shown, verdict.exit_code)
}

/// Nobody may read the table, but somebody may read the exit code.
fn answered(shown: Result<(), CliError>, code: ExitCode) -> Result<ExitCode, CliError> {
    match shown {
        Ok(()) | Err(CliError::BrokenPipe) => Ok(code),
        Err(error) => Err(error),
    }
}

/// The run that is meant: a folder, the name of one, or the newest.
pub(super) fn find(run: Option<&Path>, output: &Path) -> Result<PathBuf, CliError> {
    match run {
        Some(run) if run.join("run.json").is_file() || Boards::is_there(run) => Ok(run.to_owned()),
        Some(run) => Ok(output.join(run)),
        None => {
            let newest = super::list::runs(output).pop();
            newest.ok_or_else(|| CliError::NoRun { folder: output.display().to_string() })
        }
    }
}
