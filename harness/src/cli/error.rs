//! What goes wrong before there is a verdict, and the exit code that says so.

use std::io;

use crate::baseline::BaselineError;
use crate::bisect::BisectError;
use crate::engines::{EngineError, EngineErrorKind, ScoreError};
use crate::fetch::FetchError;
use crate::fit::KeepError;
use crate::history::HistoryError;
use crate::lock::LockError;
use crate::merge::MergeError;
use crate::record::RunFolderError;
use crate::scenario::ScenarioError;
use crate::sweep::SweepError;
use crate::verdict::ExitCode;

/// Why a verb did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The scenario cannot be used.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The run could not be made.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A run folder cannot be read.
    #[error(transparent)]
    Run(#[from] RunFolderError),
    /// A baseline cannot be read or written.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// There is no baseline to look at.
    #[error("there is no baseline for {board}: {path} is not there")]
    NoBaseline {
        /// The board.
        board: String,
        /// Where it would be.
        path: String,
    },
    /// A board's name is no file name.
    #[error("`{0}` is no name for a board: letters, digits, dots, dashes and underscores are")]
    BoardName(String),
    /// A run is no baseline.
    #[error("this run should not become a baseline: {reasons}")]
    Unfit {
        /// Why, in words.
        reasons: String,
    },
    /// A run has no such cell.
    #[error("there is no cell `{cell}` in {run}; its cells are {known}")]
    NoCell {
        /// What was asked for.
        cell: String,
        /// The run.
        run: String,
        /// Labels of all its cells.
        known: String,
    },
    /// No model was named for a knob.
    #[error("a knob is measured on a model, and none is named")]
    NoModel,
    /// There is no engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A checkpoint cannot be fetched.
    #[error(transparent)]
    Fetch(FetchError),
    /// The options contradict each other or the model.
    #[error(transparent)]
    Options(#[from] runtime::plan::OptionsError),
    /// What must be kept contradicts itself or the model.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The model can run none of the configurations that were asked for.
    #[error("no configuration is possible: {0}")]
    NoConfiguration(String),
    /// A vocabulary cannot be trimmed as it was asked.
    #[error(transparent)]
    Vocabulary(#[from] runtime::vocabulary::VocabError),
    /// The prompt, or what should follow it, does not fit the model.
    #[error(transparent)]
    Prompt(runtime::engine::SequenceError),
    /// An engine cannot be scored.
    #[error("{0}")]
    Score(ScoreError),
    /// Tokens cannot be chosen as it was asked.
    #[error(transparent)]
    Sampling(#[from] runtime::generate::sample::SamplingError),
    /// A model that has no words.
    #[error("the engine in {folder} has no {what}, so nobody can talk with it")]
    NoSpeech {
        /// What it lacks.
        what: &'static str,
        /// Where it is.
        folder: String,
    },
    /// A conversation that does not fit.
    #[error("the conversation has {tokens} tokens, and the context is {context}", context = context.0)]
    ConversationTooLong {
        /// Tokens of all that was said, with the template's own.
        tokens: usize,
        /// The most that fits, the answer included.
        context: ledger::Tokens,
    },
    /// A knob cannot be varied as it was asked.
    #[error("{what}")]
    Knob {
        /// What contradicts what.
        what: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// The device that was asked for cannot be used.
    #[error(transparent)]
    Device(#[from] runtime::backend::NoDevice),
    /// The engine cannot be loaded or run.
    #[error("{0}")]
    Runtime(String),
    /// The server ended with an error.
    #[error(transparent)]
    Serve(#[from] server::ServeError),
    /// There is no compiler for GPU kernels.
    #[error(transparent)]
    NoNvrtc(#[from] runtime::backend::cuda::kernels::NvrtcNotFound),
    /// GPU kernels were not compiled.
    #[error(transparent)]
    Kernels(#[from] runtime::backend::cuda::kernels::BuildError),
    /// Runs cannot be joined.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A log says nothing.
    #[error(transparent)]
    Import(#[from] crate::import::ImportError),
    /// A recorded machine cannot be read.
    #[error(transparent)]
    Recorded(#[from] crate::probe::RecordedTreeError),
    /// The commit that moved something was not found.
    #[error(transparent)]
    Bisect(#[from] BisectError),
    /// The history cannot be read or written.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Nothing was measured of what is asked for.
    #[error("no finished run in {folder} measured such a cell{}", if cell.is_empty() { String::new() } else { format!(": `{cell}`") })]
    NoSeries {
        /// What was asked for.
        cell: String,
        /// Where runs were looked for.
        folder: String,
    },
    /// There is no run to look at.
    #[error("there is no run in {folder}")]
    NoRun {
        /// Where runs were looked for.
        folder: String,
    },
    /// No CI says where the summary of a job goes.
    #[error("there is no job whose summary could be written: {variable} is not set")]
    NoJobSummary {
        /// The variable.
        variable: &'static str,
    },
    /// This machine cannot do it.
    #[error("{what}: {source}")]
    Environment {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Outputs cannot be made.
    #[error("{0}")]
    Output(String),
    /// Whoever reads has gone.
    #[error("nobody reads the output")]
    BrokenPipe,
}

impl From<LockError> for CliError {
    fn from(error: LockError) -> CliError {
        CliError::Engine(error.into())
    }
}

impl From<FetchError> for CliError {
    fn from(error: FetchError) -> CliError {
        match error {
            FetchError::Lock(error) => error.into(),
            error => CliError::Fetch(error),
        }
    }
}

impl CliError {
    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CliError::Scenario(_)
            | CliError::Run(_)
            | CliError::NoRun { .. }
            | CliError::NoSeries { .. }
            | CliError::Bisect(BisectError::NoRange { .. } | BisectError::NoDifference { .. })
            | CliError::Baseline(
                BaselineError::Unreadable { .. }
                | BaselineError::Malformed { .. }
                | BaselineError::TooNew { .. }
                | BaselineError::Absurd { .. },
            )
            | CliError::NoBaseline { .. }
            | CliError::BoardName(_)
            | CliError::Unfit { .. }
            | CliError::NoCell { .. }
            | CliError::NoJobSummary { .. }
            | CliError::NoModel
            | CliError::Recorded(_)
            | CliError::Import(_)
            | CliError::Options(_)
            | CliError::Keep(_)
            | CliError::NoConfiguration(_)
            | CliError::Vocabulary(_)
            | CliError::Prompt(_)
            | CliError::Knob { .. }
            | CliError::Sampling(_)
            | CliError::NoSpeech { .. }
            | CliError::ConversationTooLong { .. }
            | CliError::Sweep(SweepError::UnknownCell { .. } | SweepError::Unanswerable { .. }) => {
                ExitCode::Usage
            }
            CliError::Engine(error) => of_engine(error),
            CliError::Merge(MergeError::Report(_)) => ExitCode::Internal,
            CliError::Merge(MergeError::Folder { .. }) => ExitCode::EnvironmentRefused,
            CliError::Merge(_) => ExitCode::Usage,
            CliError::Sweep(SweepError::Indivisible { source, .. }) => of_engine(source),
            CliError::Fetch(FetchError::Interrupted) => ExitCode::Interrupted,
            CliError::Fetch(
                FetchError::Endpoint { .. }
                | FetchError::TokenUnprotected { .. }
                | FetchError::NotOfHub { .. }
                | FetchError::Unpinned { .. }
                | FetchError::NoCommit { .. },
            ) => ExitCode::Usage,
            CliError::Score(ScoreError::Interrupted) => ExitCode::Interrupted,
            CliError::Score(
                ScoreError::TooShort { .. } | ScoreError::Encode(_) | ScoreError::NoTokenizer,
            ) => ExitCode::Usage,
            CliError::Fetch(_)
            | CliError::Score(_)
            | CliError::Device(_)
            | CliError::Runtime(_)
            | CliError::Serve(_)
            | CliError::NoNvrtc(_)
            | CliError::Kernels(_)
            | CliError::Environment { .. }
            | CliError::History(_)
            | CliError::Bisect(_)
            | CliError::Baseline(BaselineError::Unwritable { .. })
            | CliError::Sweep(_) => ExitCode::EnvironmentRefused,
            CliError::Output(_) => ExitCode::Internal,
            CliError::BrokenPipe => ExitCode::Pass,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            CliError::Fetch(error) => return error.hint(),
            CliError::Scenario(ScenarioError::Unreadable { .. }) => {
                "`sweep list` shows the scenarios; relative paths start at the current folder"
            }
            CliError::Sweep(SweepError::UnknownCell { .. }) => "`sweep plan` shows the cells of a scenario",
            CliError::Sweep(SweepError::Refused { .. }) => {
                "`--cell` runs some of a scenario's cells; `sweep plan` shows all of them, also for devices that are not here"
            }
            CliError::Sweep(SweepError::Unanswerable { .. }) => {
                "leave the cell out: `exclude: [{when: {target: NAME, …}, why: …}]`"
            }
            CliError::Sweep(SweepError::Needs { .. }) => {
                "`sweep doctor SCENARIO` shows what the machine is like, and what to do"
            }
            CliError::NoNvrtc(_) => {
                "it comes with the CUDA toolkit, and as the Python wheel nvidia-cuda-nvrtc-cu12; `--nvrtc PATH` or SWEEP_NVRTC names \
                 its library. Where kernels are shipped with the program, it is not needed"
            }
            CliError::NoBaseline { .. } => {
                "`sweep baseline promote` makes one of a run; `--board` names another"
            }
            CliError::Unfit { .. } => "`--force` promotes it all the same",
            CliError::NoJobSummary { .. } => "leave --job-summary out; summary.md is in the run's folder",
            CliError::NoSpeech { .. } => {
                "tokenizer.json and a chat template belong into the checkpoint's folder; build the engine again then. `sweep logits` \
                 takes token ids"
            }
            CliError::ConversationTooLong { .. } => "`--context TOKENS` makes room for more",
            CliError::NoModel => "name it with --engine, --checkpoint or --synthetic",
            CliError::NoRun { .. } => "`sweep run` makes one",
            CliError::History(HistoryError::Index { .. } | HistoryError::Malformed { .. }) => {
                "`sweep history rebuild` makes it anew from run folders"
            }
            CliError::Bisect(BisectError::NoDifference { .. }) => {
                "`--metric` names another one, `--cell` another cell; `sweep history trend` shows what moved"
            }
            CliError::Bisect(BisectError::NoRange { .. }) => {
                "the good commit must be an ancestor of the bad one"
            }
            CliError::NoSeries { .. } => {
                "`sweep history trend` without a cell shows all of them; `sweep list` shows the runs"
            }
            CliError::Knob { hint, .. } => hint,
            CliError::Sweep(SweepError::Folder { .. }) => "`--output DIR` puts it somewhere else",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn of_engine(error: &EngineError) -> ExitCode {
    match error.kind {
        EngineErrorKind::Usage => ExitCode::Usage,
        EngineErrorKind::Environment => ExitCode::EnvironmentRefused,
        EngineErrorKind::Interrupted => ExitCode::Interrupted,
    }
}
