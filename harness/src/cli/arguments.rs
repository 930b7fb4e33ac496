//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{RUNS, SCENARIOS};

/// Measures the memory of LLM runtimes, buffer by buffer, and decides pass or fail
#[derive(Debug, Parser)]
#[command(name = "sweep", version, max_term_width = 100)]
pub(super) struct Arguments {
    /// What to do; without a verb, runs scenarios/quick.yaml
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run every cell of a scenario, judge it and write its report
    Run(RunArguments),
    /// Show every cell with the memory that it will need, without running it
    Plan(PlanArguments),
    /// Write the report of a run again, from its records
    Report(RecordArguments),
    /// Judge a run again, from its records; the exit code is the verdict
    Check(RecordArguments),
    /// List scenarios and runs
    List(ListArguments),
    /// Print the JSON Schema of scenario files
    Schema,
    /// End a target's processes when the harness is killed
    #[command(hide = true)]
    Guard,
}

/// `sweep run`.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// A scenario file, or the name of one in scenarios/
    #[arg(default_value = "quick")]
    pub(super) scenario: PathBuf,
    /// Take nothing over from an earlier run that did not finish
    #[arg(long)]
    pub(super) fresh: bool,
    /// Run only this cell, named by its id or the beginning of it; may be given several times
    #[arg(long = "cell", value_name = "ID")]
    pub(super) cells: Vec<String>,
    /// Print the verdict as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Folder in which the run's folder is made
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
}

impl Default for RunArguments {
    fn default() -> RunArguments {
        RunArguments {
            scenario: PathBuf::from("quick"),
            fresh: false,
            cells: Vec::new(),
            json: false,
            output: PathBuf::from(RUNS),
        }
    }
}

/// `sweep plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// A scenario file, or the name of one in scenarios/
    #[arg(default_value = "quick")]
    pub(super) scenario: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep report` and `sweep check`.
#[derive(Debug, Args)]
pub(super) struct RecordArguments {
    /// A run folder, or the name of one; without it, the newest
    pub(super) run: Option<PathBuf>,
    /// Print the verdict as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Folder in which run folders are looked for
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
}

/// `sweep list`.
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Folder with scenarios
    #[arg(long, value_name = "DIR", default_value = SCENARIOS)]
    pub(super) scenarios: PathBuf,
    /// Folder with run folders
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
}
