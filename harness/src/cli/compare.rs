//! `sweep compare`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::arguments::CompareArguments;
use super::judge::{find, write_outputs};
use super::progress::Screen;
use super::{CliError, Printer, scenario_path};
use crate::clock::wall_clock;
use crate::engines::EngineProvider;
use crate::interrupt::{Interrupt, Request};
use crate::probe::SystemRoot;
use crate::record::Run;
use crate::scenario::{Scenario, TargetKind, load};
use crate::sweep::{Build, PairedSweep, Sweep, SweepEnd, run_paired};
use crate::target::{Builtin, Target, target_of};
use crate::verdict::relative::{RunComparison, compare_runs, comparison_table};
use crate::verdict::{ExitCode, judge};

/// Holds run B against run A, or runs both builds first.
pub(super) fn compare(
    arguments: &CompareArguments,
    engines: &dyn EngineProvider,
    printer: &Printer,
) -> Result<ExitCode, CliError> {
    let folders = match &arguments.scenario {
        Some(scenario) => match run_builds(arguments, &load(&scenario_path(scenario))?, engines, printer)? {
            Some(folders) => folders,
            None => return Ok(ExitCode::Interrupted),
        },
        None => [find(Some(&arguments.a), &arguments.output)?, find(Some(&arguments.b), &arguments.output)?],
    };
    let [before, after] = &folders;
    let comparison = compare_runs(&Run::load(before)?, &Run::load(after)?);
    show(&comparison, arguments.json, printer)
}

fn show(comparison: &RunComparison, json: bool, printer: &Printer) -> Result<ExitCode, CliError> {
    let shown = if json { printer.json(comparison) } else { printer.text(&comparison_table(comparison)) };
    match shown {
        // Nobody reads the table, but somebody may read the exit code.
        Ok(()) | Err(CliError::BrokenPipe) => Ok(comparison.exit_code),
        Err(error) => Err(error),
    }
}

/// Runs both builds; `None` where it was interrupted.
fn run_builds(
    arguments: &CompareArguments,
    scenario: &Scenario,
    engines: &dyn EngineProvider,
    printer: &Printer,
) -> Result<Option<[PathBuf; 2]>, CliError> {
    let environment = |what: &'static str| move |source: io::Error| CliError::Environment { what, source };
    let told = *printer;
    let interrupt = Interrupt::listen(move |request| match request {
        Request::AfterTrial => told.note("the pairs stop after this trial; Ctrl-C once more stops them now"),
        Request::Now | Request::None => {}
    })
    .map_err(environment("listen for Ctrl-C"))?;
    let build_of = |program: &Path| -> io::Result<Build> {
        let program = program.canonicalize()?;
        let targets = scenario.targets.iter().map(|(name, kind)| {
            let target: Box<dyn Target> = match kind {
                TargetKind::Builtin => Box::new(Builtin::of(program.clone())),
                // What is no build of this program is the same on both sides.
                other => target_of(other)?,
            };
            Ok((name.clone(), target))
        });
        Build::new(&program, targets.collect::<io::Result<_>>()?)
    };
    let a = build_of(&arguments.a).map_err(environment("read the program file of A"))?;
    let b = build_of(&arguments.b).map_err(environment("read the program file of B"))?;
    let mut guardian =
        Command::new(std::env::current_exe().map_err(environment("find this program's own file"))?);
    guardian.arg("guard");
    let ends = run_paired(PairedSweep {
        sweep: Sweep {
            scenario,
            only: &arguments.cells,
            shard: None,
            runs: &arguments.output,
            fresh: true,
            engines,
            targets: &a.targets,
            guardian: Some(guardian),
            machine: &SystemRoot::live(),
            interrupt: &interrupt,
            observer: &Screen::new(*printer, &interrupt),
        },
        builds: [&a, &b],
        pairs: arguments.pairs,
    })?;
    let mut folders = Vec::new();
    let mut interrupted = false;
    for SweepEnd { mut folder, interrupted: stopped } in ends.runs {
        let written = |source| CliError::Environment { what: "write run.json", source };
        let code = match stopped {
            true => ExitCode::Interrupted,
            false => judge(&Run::load(folder.path())?).exit_code,
        };
        folder.finish(wall_clock(), code.code()).map_err(written)?;
        write_outputs(folder.path())?;
        printer.note(&format!("run: {}", folder.path().display()));
        folders.push(folder.path().to_owned());
        interrupted |= stopped;
    }
    if interrupted {
        printer.note("interrupted: the pairs that were finished can be held against each other");
    }
    let folders: Result<[PathBuf; 2], _> = folders.try_into();
    Ok(folders.ok().filter(|_| !interrupted))
}
