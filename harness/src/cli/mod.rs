//! The command line: what can be typed, and what is answered.
//!
//! - `arguments`: the verbs and their flags.
//! - `run`, `baseline`, `bisect`, `compare`, `history`, `hold`, `plan`, `doctor`, `import`, `fit`, `judge`, `list`, `merge`, `build`, `fetch`, `chat`, `serve`, `logits`, `score`, `explain`, `trim`, `kernels`: one file a verb.
//! - `print`: the only place that writes to the screen; `progress`: what a run shows while it works.
//! - `error`: what goes wrong, and the exit code that says so.

mod arguments;
mod baseline;
mod bisect;
mod build;
mod chat;
mod compare;
mod doctor;
mod error;
mod explain;
mod fetch;
mod fit;
mod history;
mod hold;
mod import;
mod judge;
mod kernels;
mod list;
mod logits;
mod merge;
mod plan;
mod print;
mod progress;
mod run;
mod score;
mod serve;
mod trim;

use std::ffi::OsString;
use std::path::Path;

use clap::Parser;

pub use error::CliError;
pub use print::Printer;

use crate::engines::EngineProvider;
use crate::probe::SystemRoot;
use crate::scenario;
use crate::target::guard;
use crate::verdict::{self, ExitCode};
use arguments::{Arguments, RunArguments, SchemaArguments, SchemaOf, Verb};

/// Does what `arguments` say, the program's name first, and returns the exit code. Errors are printed here, once.
pub fn main(arguments: impl IntoIterator<Item = OsString>, engines: &dyn EngineProvider) -> ExitCode {
    let printer = Printer;
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are answers, not errors; clap knows where each belongs.
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Pass };
            let _ = error.print();
            return code;
        }
    };
    match dispatch(parsed.verb.unwrap_or(Verb::Run(RunArguments::default())), engines, &printer) {
        Ok(code) => code,
        // Whoever reads has read enough.
        Err(CliError::BrokenPipe) => ExitCode::Pass,
        Err(error) => {
            printer.error(&error);
            error.exit_code()
        }
    }
}

/// Whether `words`, the program's name first, are a command line; nothing is done. For examples that need more than a test has.
///
/// # Errors
/// What is wrong with them, as it would be printed.
pub fn understands(words: impl IntoIterator<Item = String>) -> Result<(), String> {
    Arguments::try_parse_from(words).map(drop).map_err(|error| error.to_string())
}

fn dispatch(verb: Verb, engines: &dyn EngineProvider, printer: &Printer) -> Result<ExitCode, CliError> {
    print::show_warnings();
    match verb {
        Verb::Run(arguments) => run::run(&arguments, engines, printer),
        Verb::Plan(arguments) => plan::plan(&arguments, engines, printer),
        Verb::Import(arguments) => import::import(&arguments, printer),
        Verb::Doctor(arguments) => doctor::doctor(&arguments, printer),
        Verb::Fit(arguments) => fit::fit(&arguments, printer),
        Verb::Merge(arguments) => merge::merge(&arguments, printer),
        Verb::Report(arguments) => judge::report(&arguments, printer),
        Verb::Check(arguments) => judge::check(&arguments, printer),
        Verb::Baseline(verb) => baseline::baseline(&verb, printer),
        Verb::Compare(arguments) => compare::compare(&arguments, engines, printer),
        Verb::Bisect(arguments) => bisect::bisect(&arguments, printer),
        Verb::History(verb) => history::history(&verb, printer),
        Verb::List(arguments) => list::list(&arguments, printer),
        Verb::Build(arguments) => build::build(&arguments, printer),
        Verb::Fetch(arguments) => fetch::fetch(&arguments, printer),
        Verb::Chat(arguments) => chat::chat(&arguments, printer),
        Verb::Serve(arguments) => serve::serve(&arguments, printer),
        Verb::Logits(arguments) => logits::logits(&arguments, printer),
        Verb::Score(arguments) => score::score(&arguments, printer),
        Verb::Explain(arguments) => explain::explain(&arguments, printer),
        Verb::Trim(arguments) => trim::trim(&arguments, printer),
        Verb::Kernels(verb) => kernels::kernels(&verb, printer),
        Verb::Schema(SchemaArguments { of }) => {
            let text = match of {
                SchemaOf::Scenario => scenario::schema_text(),
                SchemaOf::Verdict => verdict::schema_text(),
            };
            printer.text(&text).map(|()| ExitCode::Pass)
        }
        Verb::Hold(arguments) => hold::hold(&arguments, printer),
        Verb::Guard => {
            guard(std::io::stdin().lock());
            Ok(ExitCode::Pass)
        }
    }
}

/// Where scenarios are, from the repository's root.
const SCENARIOS: &str = "scenarios";

/// Where run folders go, from the repository's root.
const RUNS: &str = "reports/runs";

/// Where the baselines of boards are, from the repository's root.
const BASELINES: &str = "reports/baselines";

/// Where worktree and state of `sweep bisect` are.
const BISECT: &str = ".cache/bisect";

/// The index of the history, from the repository's root.
const HISTORY: &str = "reports/history.sqlite";

/// The page of the history.
const HISTORY_PAGE: &str = "reports/history.html";

/// The machine that is meant: the recorded one in `folder`, or this one.
fn system_root(folder: Option<&Path>) -> Result<SystemRoot, CliError> {
    Ok(folder.map_or_else(|| Ok(SystemRoot::live()), SystemRoot::recorded)?)
}

/// The file that `named` means: a path, or the name of a committed scenario.
fn scenario_path(named: &Path) -> std::path::PathBuf {
    let committed = Path::new(SCENARIOS).join(named).with_extension("yaml");
    if !named.exists() && named.components().count() == 1 && named.extension().is_none() {
        committed
    } else {
        named.to_owned()
    }
}
