//! `sweep run`.

use std::io;
use std::path::Path;
use std::process::Command;

use super::arguments::RunArguments;
use super::judge::{conclude, keep, of_board};
use super::progress::Screen;
use super::{BASELINES, CliError, Printer, scenario_path, system_root};
use crate::baseline::Baseline;
use crate::clock::wall_clock;
use crate::engines::EngineProvider;
use crate::interrupt::{Interrupt, Request};
use crate::record::Run;
use crate::scenario::load;
use crate::sweep::{self, Sweep, SweepEnd};
use crate::target::{NamedTargets, target_of};
use crate::verdict::ExitCode;

/// Runs the scenario, judges it and writes its report.
pub(super) fn run(
    arguments: &RunArguments,
    engines: &dyn EngineProvider,
    printer: &Printer,
) -> Result<ExitCode, CliError> {
    let scenario = load(&scenario_path(&arguments.scenario))?;
    let baseline = arguments.baseline.as_deref().map(Baseline::read).transpose()?;
    let machine = system_root(arguments.root.as_deref())?;
    let environment = |what: &'static str| move |source: io::Error| CliError::Environment { what, source };
    let told = *printer;
    let interrupt = Interrupt::listen(move |request| match request {
        Request::AfterTrial => told.note("the run stops after this trial; Ctrl-C once more stops it now"),
        Request::Now | Request::None => {}
    })
    .map_err(environment("listen for Ctrl-C"))?;
    let program = std::env::current_exe().map_err(environment("find this program's own file"))?;
    let named = scenario.targets.iter().map(|(name, kind)| Ok((name.clone(), target_of(kind)?)));
    let targets: Result<NamedTargets, io::Error> = named.collect();
    let targets = targets.map_err(environment("find the built-in runtime"))?;
    let mut guardian = Command::new(program);
    guardian.arg("guard");
    let SweepEnd { mut folder, interrupted } = sweep::run(Sweep {
        scenario: &scenario,
        only: &arguments.cells,
        shard: arguments.shard,
        runs: &arguments.output,
        fresh: arguments.fresh,
        engines,
        targets: &targets,
        guardian: Some(guardian),
        machine: &machine,
        interrupt: &interrupt,
        observer: &Screen::new(*printer, &interrupt),
    })?;
    let baseline = match baseline {
        None => of_board(&Run::load(folder.path())?, Path::new(BASELINES))?,
        given => given,
    };
    if let Some(baseline) = baseline {
        keep(&baseline, folder.path())?;
    }
    let written = |source| CliError::Environment { what: "write run.json", source };
    if interrupted {
        folder.finish(wall_clock(), ExitCode::Interrupted.code()).map_err(written)?;
        conclude(folder.path(), arguments.json, printer)?;
        printer.note("interrupted: what was finished is saved, and the same command takes it up again");
        return Ok(ExitCode::Interrupted);
    }
    // The code is part of the record, and the record is what the report is made from.
    let verdict = super::judge::verdict_of(folder.path())?;
    folder.finish(wall_clock(), verdict.exit_code.code()).map_err(written)?;
    conclude(folder.path(), arguments.json, printer)
}
