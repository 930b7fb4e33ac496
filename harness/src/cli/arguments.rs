//! What can be typed.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use ledger::{Bytes, Tokens};
use runtime::backend::cuda::kernels::Architecture;
use runtime::engine_dir::MANIFEST;
use runtime::plan::{DeviceChoice, DraftVocab, RuntimeOptions, WeightStreaming};
use runtime::vocabulary::{RowCount, VOCAB_MAP};

use super::import::GivenPart;
use super::{BASELINES, BISECT, HISTORY, HISTORY_PAGE, RUNS, SCENARIOS};
use crate::engines::CACHE;
use crate::fit::Keep;
use crate::history::SeriesMetric;
use crate::lock::{ENGINES_LOCK, Places};
use crate::record::Shard;
use crate::scenario::{
    KvCacheType, Linears, LmHead, ModelSource, Precision, Settings, Threads, Vocab, WeightPlacement,
};

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
    /// Show what can be measured on this machine, what cannot and how to enable it, and in which state it is
    Doctor(DoctorArguments),
    /// Show what logs of TensorRT, llama.cpp, tegrastats and free say about memory, and how much of it nobody owns
    Import(ImportArguments),
    /// Rank the configurations that fit a budget, the cheapest in quality first, without running any
    Fit(FitArguments),
    /// Join runs of one scenario: shards into one run, several boards side by side
    Merge(MergeArguments),
    /// Write the report of a run again, from its records
    Report(ReportArguments),
    /// Judge a run again, from its records; the exit code is the verdict
    Check(RecordArguments),
    /// Keep what a board needs as a reviewed baseline, and show what differs from it
    #[command(subcommand)]
    Baseline(BaselineVerb),
    /// Hold one run against another, or two builds of this program against each other, live
    Compare(CompareArguments),
    /// Find the commit of this program that moved a measurement, by building and measuring
    Bisect(BisectArguments),
    /// Show how what was measured moved from run to run
    #[command(subcommand)]
    History(HistoryVerb),
    /// List scenarios and runs
    List(ListArguments),
    /// Pack a checkpoint, or an engine of engines.lock, into an engine directory
    Build(BuildArguments),
    /// Fetch the checkpoint of an engine of engines.lock from the Hub
    Fetch(FetchArguments),
    /// Talk with a model: a conversation, or one answer with --prompt
    Chat(ChatArguments),
    /// Serve an engine over HTTP, in the shape of the OpenAI interface
    Serve(ServeArguments),
    /// Print the scores of a model, to hold them against another implementation
    Logits(LogitsArguments),
    /// Hold an engine against the exact path of its checkpoint over a text: perplexity, KL divergence, agreement
    Score(ScoreArguments),
    /// Show what a cell failed by and which buffer is to blame, or what each value of a knob takes and costs in quality
    Explain(ExplainArguments),
    /// Choose the rows of a table that a corpus uses most, and write them as a vocabulary map
    Trim(TrimArguments),
    /// Compile the GPU kernels, or list what they take
    #[command(subcommand)]
    Kernels(KernelsVerb),
    /// Print the JSON Schema of scenario files, or of what this program writes
    Schema(SchemaArguments),
    /// Hold memory in the stead of a co-resident
    #[command(hide = true)]
    Hold(HoldArguments),
    /// End a target's processes when the harness is killed
    #[command(hide = true)]
    Guard,
}

/// `sweep schema`.
#[derive(Debug, Args)]
pub(super) struct SchemaArguments {
    /// Of which files
    #[arg(default_value = "scenario")]
    pub(super) of: SchemaOf,
}

/// Files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// Scenario files
    Scenario,
    /// verdict.json
    Verdict,
}

/// `sweep hold`.
#[derive(Debug, Args)]
pub(super) struct HoldArguments {
    /// Bytes of main memory
    #[arg(long, default_value_t = 0)]
    pub(super) host_bytes: u64,
    /// Bytes of the first GPU's memory
    #[arg(long, default_value_t = 0)]
    pub(super) device_bytes: u64,
    /// Bytes of its main memory that are read a second
    #[arg(long, default_value_t = 0)]
    pub(super) read_bytes: u64,
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
    /// Run only this cell: its name, or its id or the beginning of it; may be given several times
    #[arg(long = "cell", value_name = "ID")]
    pub(super) cells: Vec<String>,
    /// Run one part of the cells, for `sweep merge`: 1/3 is the first of three. The cells are divided by what they cost, alike on
    /// every machine
    #[arg(long, value_name = "NUMBER/OF", conflicts_with = "cells")]
    pub(super) shard: Option<Shard>,
    /// Hold it against this baseline; without it, against the one that is kept for this board, where there is one
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,
    /// Read the machine's own files from a recorded one: for tests of what surrounds a run; processes are this machine's, and no
    /// baseline of a board is comparable
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
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
            shard: None,
            baseline: None,
            root: None,
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
    /// Show the cells of one part alone: 1/3 is the first of three
    #[arg(long, value_name = "NUMBER/OF")]
    pub(super) shard: Option<Shard>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// A scenario file, or the name of one in scenarios/: exit code 6 where the machine is not what its `needs` ask for
    pub(super) scenario: Option<PathBuf>,
    /// Read a recorded machine instead of this one: a folder with copies of its files under /proc, /sys and /etc
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Folder on the disk that is timed; without it, where engines are kept
    #[arg(long, value_name = "DIR", default_value = CACHE)]
    pub(super) disk: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep import`.
#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// Logs of one machine and one runtime; which kind they are is seen from their lines
    #[arg(value_name = "LOG", required = true)]
    pub(super) logs: Vec<PathBuf>,
    /// A part whose size is known from elsewhere, for example weights.embedding=1212.5MiB; may be given several times
    #[arg(long = "part", value_name = "CLASS=SIZE")]
    pub(super) parts: Vec<GivenPart>,
    /// Keep the account as a run folder with a report
    #[arg(long)]
    pub(super) run: bool,
    /// Folder in which run folders are made
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep fit`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("task").required(true).args(["budget", "check"])))]
#[command(group(ArgGroup::new("source").args(["engine", "checkpoint", "synthetic"])))]
pub(super) struct FitArguments {
    /// What the process may take at its peak, for example 6GiB
    #[arg(long, value_name = "SIZE")]
    pub(super) budget: Option<Bytes>,
    /// What must stay so: KNOB>=N, KNOB<=N or KNOB=VALUE, for example maxInputLen>=4096; may be given several times
    #[arg(long, value_name = "DEMAND", conflicts_with = "check")]
    pub(super) keep: Vec<Keep>,
    /// Tokens that each sequence holds at the peak; without it, the cache is full
    #[arg(long, value_name = "TOKENS", conflicts_with = "check", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) context: Option<u32>,
    /// Print every configuration that none other beats, not only the best of each quality
    #[arg(long, conflicts_with = "check")]
    pub(super) all: bool,
    /// A folder that `sweep build` made: its build options stay as they are
    #[arg(long, value_name = "DIR")]
    pub(super) engine: Option<PathBuf>,
    /// A folder in Hugging Face layout
    #[arg(long, value_name = "DIR")]
    pub(super) checkpoint: Option<PathBuf>,
    /// A published architecture with synthetic weights; without any model, Qwen3.5-4B
    #[arg(long, value_name = "ARCHITECTURE")]
    pub(super) synthetic: Option<String>,
    /// Decides synthetic weights
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Hold predictions against every cell that this run measured; exit code 1 where one is off by more than 2 %
    #[arg(long, value_name = "RUN")]
    pub(super) check: Option<PathBuf>,
    /// Folder in which built engines are kept
    #[arg(long, value_name = "DIR", default_value = CACHE)]
    pub(super) engines: PathBuf,
    /// Folder in which run folders are looked for
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep merge`.
#[derive(Debug, Args)]
pub(super) struct MergeArguments {
    /// Run folders, or their names: the shards of a run, of one board or of several
    #[arg(value_name = "RUN", required = true)]
    pub(super) runs: Vec<PathBuf>,
    /// Folder in which run folders are looked for, and in which the merged one is made
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
    /// Name of the merged run's folder; without it, the time
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Print the verdict as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep report`.
#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    #[command(flatten)]
    pub(super) record: RecordArguments,
    /// Print one of the outputs instead of the table
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub(super) format: Option<ReportFormat>,
    /// Append the summary to the file that GITHUB_STEP_SUMMARY names
    #[arg(long)]
    pub(super) job_summary: bool,
}

/// An output of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// report.html
    Html,
    /// cells.csv
    Csv,
    /// verdict.json
    Json,
    /// junit.xml
    Junit,
    /// sarif.json
    Sarif,
    /// summary.md
    Markdown,
}

/// What `sweep report` and `sweep check` take.
#[derive(Debug, Args)]
pub(super) struct RecordArguments {
    /// A run folder, or the name of one; without it, the newest
    pub(super) run: Option<PathBuf>,
    /// Hold it against this baseline; without it, against the one that it was held against when it ran
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,
    /// Print the verdict as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Folder in which run folders are looked for
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
}

/// `sweep baseline`.
#[derive(Debug, Subcommand)]
pub(super) enum BaselineVerb {
    /// Make a run the baseline of its board, after showing what changes
    Promote(PromoteArguments),
    /// Show what grew against the baseline, buffer by buffer
    Diff(BaselineArguments),
    /// Show which cells are locked, and which are stale, missing or of other conditions
    Status(BaselineArguments),
}

/// What every verb of `sweep baseline` takes.
#[derive(Debug, Args)]
pub(super) struct BaselineArguments {
    /// A run folder, or the name of one; without it, the newest
    pub(super) run: Option<PathBuf>,
    /// The board's name; without it, the one that the run was measured on
    #[arg(long, value_name = "NAME")]
    pub(super) board: Option<String>,
    /// Folder with the baselines, one file a board
    #[arg(long, value_name = "DIR", default_value = BASELINES)]
    pub(super) baselines: PathBuf,
    /// Folder in which run folders are looked for
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep baseline promote`.
#[derive(Debug, Args)]
pub(super) struct PromoteArguments {
    #[command(flatten)]
    pub(super) baseline: BaselineArguments,
    /// Also a run that did not come to its end, that failed, or that needs more than the baseline
    #[arg(long)]
    pub(super) force: bool,
}

/// `sweep compare`.
#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    /// The run that the other is held against: a folder, or the name of one; with --paired, a program file of sweep
    pub(super) a: PathBuf,
    /// The run that is judged; with --paired, the program file that is judged
    pub(super) b: PathBuf,
    /// With --paired: a scenario file, or the name of one in scenarios/
    #[arg(requires = "paired")]
    pub(super) scenario: Option<PathBuf>,
    /// Run both builds live, in pairs of trials, so that times can be judged, too
    #[arg(long, requires = "scenario")]
    pub(super) paired: bool,
    /// Pairs of each cell; times are judged from 10 on
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) pairs: u32,
    /// With --paired: run only this cell, by its name, or its id or the beginning of it; may be given several times
    #[arg(long = "cell", value_name = "ID", requires = "paired")]
    pub(super) cells: Vec<String>,
    /// Folder in which run folders are looked for and made
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep bisect`.
#[derive(Debug, Args)]
pub(super) struct BisectArguments {
    /// A commit before the change
    pub(super) good: String,
    /// A commit after it
    pub(super) bad: String,
    /// A scenario file, or the name of one in scenarios/; it is the same for all builds
    #[arg(default_value = "quick")]
    pub(super) scenario: PathBuf,
    /// What moved: planned or planned CLASS, which take seconds a build; class CLASS, peak, device, load_time, ttft, decode_rate or
    /// prefill_rate, for which each build runs the scenario
    #[arg(long, value_name = "METRIC", default_value = "planned")]
    pub(super) metric: SeriesMetric,
    /// Only a cell that has this in its name, as a baseline writes it; without it, the one that moved most
    #[arg(long, value_name = "CELL")]
    pub(super) cell: Option<String>,
    /// The repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) repo: PathBuf,
    /// The command that builds a commit
    #[arg(long, value_name = "COMMAND", default_value = "cargo build --release --bin sweep")]
    pub(super) build: String,
    /// What it makes, from the root of the repository
    #[arg(long, value_name = "FILE", default_value = "target/release/sweep")]
    pub(super) program: PathBuf,
    /// Folder for a worktree and for what is known so far: the same command goes on where it was interrupted
    #[arg(long, value_name = "DIR", default_value = BISECT)]
    pub(super) work: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep history`.
#[derive(Debug, Subcommand)]
pub(super) enum HistoryVerb {
    /// Make the index anew from run folders
    Rebuild(HistoryArguments),
    /// Show series of runs, and where they went to another level; runs that are new are read first
    Trend(TrendArguments),
}

/// What every verb of `sweep history` takes.
#[derive(Debug, Args)]
pub(super) struct HistoryArguments {
    /// The index; it can be deleted at any time
    #[arg(long, value_name = "FILE", default_value = HISTORY)]
    pub(super) index: PathBuf,
    /// Folder in which run folders are looked for
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep history trend`.
#[derive(Debug, Args)]
pub(super) struct TrendArguments {
    /// Only cells that have this in their name, as a baseline writes it: `qwen3.5-4b maxInputLen=4096`
    pub(super) cell: Option<String>,
    /// Only this metric: planned, planned CLASS, class CLASS, peak, device, load_time, ttft, decode_rate or prefill_rate; without
    /// it, all of them, and of classes those that moved
    #[arg(long, value_name = "METRIC")]
    pub(super) metric: Option<SeriesMetric>,
    /// Only this scenario, by its name
    #[arg(long, value_name = "NAME")]
    pub(super) scenario: Option<String>,
    /// Write a page with a chart of each series, too
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = HISTORY_PAGE)]
    pub(super) html: Option<PathBuf>,
    #[command(flatten)]
    pub(super) history: HistoryArguments,
}

/// `sweep list`.
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// List these; without it, scenarios and runs
    #[arg(value_name = "WHAT")]
    pub(super) what: Option<Listed>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Folder with scenarios
    #[arg(long, value_name = "DIR", default_value = SCENARIOS)]
    pub(super) scenarios: PathBuf,
    /// Folder with run folders
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
    /// Folder in which built engines are kept
    #[arg(long, value_name = "DIR", default_value = CACHE)]
    pub(super) engines: PathBuf,
    #[command(flatten)]
    pub(super) lock: LockArguments,
}

/// What else can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Listed {
    /// Engines of engines.lock: pinned, built, stale or missing
    Engines,
}

/// Which model.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct SourceArguments {
    /// A folder that `sweep build` made; how it is packed was decided then
    #[arg(long, value_name = "DIR", conflicts_with_all = ["seed", "lm_head", "linears", "vocab"])]
    pub(super) engine: Option<PathBuf>,
    /// A folder in Hugging Face layout; its engine is built first and kept
    #[arg(long, value_name = "DIR")]
    pub(super) checkpoint: Option<PathBuf>,
    /// A published architecture with synthetic weights, for example Qwen3.5-4B
    #[arg(long, value_name = "ARCHITECTURE")]
    pub(super) synthetic: Option<String>,
}

/// How an engine is packed.
#[derive(Debug, Args)]
pub(super) struct PackArguments {
    /// Decides synthetic weights
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// How the embedding table and output head are stored: int8, int4 or f16 (the checkpoint's own 16 bits)
    #[arg(long, value_name = "TYPE")]
    pub(super) lm_head: Option<LmHead>,
    /// What becomes of projections that the checkpoint holds in 16 bits: keep (default), int4 or int8
    #[arg(long, value_name = "TYPE")]
    pub(super) linears: Option<Linears>,
    /// Rows of the embedding table and output head that are kept: full (default), a number such as 32k, or a file of ids
    #[arg(long, value_name = "ROWS")]
    pub(super) vocab: Option<Vocab>,
    /// Folder in which built engines are kept
    #[arg(long, value_name = "DIR", default_value = CACHE)]
    pub(super) engines: PathBuf,
}

/// `sweep build`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["engine", "checkpoint", "synthetic"])))]
pub(super) struct BuildArguments {
    /// An engine of engines.lock; what went in and came out is written there. Options that are typed replace those of the lock
    #[arg(value_name = "NAME", conflicts_with = "seed")]
    pub(super) engine: Option<String>,
    /// Refuse whatever differs from engines.lock, and leave the lock as it is
    #[arg(long, requires = "engine")]
    pub(super) locked: bool,
    #[command(flatten)]
    pub(super) lock: LockArguments,
    /// A folder in Hugging Face layout
    #[arg(long, value_name = "DIR")]
    pub(super) checkpoint: Option<PathBuf>,
    /// A published architecture with synthetic weights, for example Qwen3.5-4B
    #[arg(long, value_name = "ARCHITECTURE")]
    pub(super) synthetic: Option<String>,
    #[command(flatten)]
    pub(super) pack: PackArguments,
    /// The engine directory to make; without it, one in the folder of engines
    #[arg(long, short, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Print the manifest as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Where engines of the lock come from.
#[derive(Debug, Args)]
pub(super) struct LockArguments {
    /// The file that says which engines there are
    #[arg(long, value_name = "FILE", default_value = ENGINES_LOCK)]
    lock: PathBuf,
    /// Folder in which fetched checkpoints are kept
    #[arg(long, value_name = "DIR", default_value = Places::CHECKPOINTS)]
    checkpoints: PathBuf,
}

impl LockArguments {
    /// These places, with engines in `engines`.
    pub(super) fn places(&self, engines: &Path) -> Places {
        Places { lock: self.lock.clone(), engines: engines.to_owned(), checkpoints: self.checkpoints.clone() }
    }
}

/// `sweep fetch`.
#[derive(Debug, Args)]
pub(super) struct FetchArguments {
    /// Engines of engines.lock
    #[arg(value_name = "NAME", required = true)]
    pub(super) engines: Vec<String>,
    /// Take what is not pinned as it is now, and write commit and hashes into the lock
    #[arg(long)]
    pub(super) pin: bool,
    /// A folder that stands for the Hub, with the files of OWNER/NAME in OWNER/NAME; without it, HF_ENDPOINT, else the Hub
    #[arg(long, value_name = "DIR")]
    pub(super) from: Option<PathBuf>,
    #[command(flatten)]
    pub(super) lock: LockArguments,
    /// Print what was fetched as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep chat`.
#[derive(Debug, Args)]
pub(super) struct ChatArguments {
    /// A folder that `sweep build` made, or a checkpoint's folder in Hugging Face layout, whose engine is built first and kept
    #[arg(value_name = "ENGINE|CHECKPOINT")]
    pub(super) model: PathBuf,
    /// Answer this alone, and end
    #[arg(long, value_name = "TEXT")]
    pub(super) prompt: Option<String>,
    /// The most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_tokens: u32,
    /// How freely tokens are chosen; 0 takes the likeliest one, always
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub(super) temperature: f32,
    /// Decides the choice of tokens, where the temperature leaves one
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Let the MTP head draft tokens
    #[arg(long)]
    pub(super) mtp: bool,
    /// The most tokens of the whole conversation
    #[arg(long, value_name = "TOKENS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) context: u32,
    /// Where it runs: auto (a GPU where one can be used, else the CPU), cpu, cuda, or a GPU by its number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(super) device: DeviceChoice,
    /// Worker threads: a number, or auto for the processors of this machine
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(super) threads: Threads,
    /// Folder in which built engines are kept
    #[arg(long, value_name = "DIR", default_value = CACHE)]
    pub(super) engines: PathBuf,
}

/// How an engine runs.
#[derive(Debug, Args)]
pub(super) struct SettingsArguments {
    /// Where it runs: auto (a GPU where one can be used, else the CPU), cpu, cuda, or a GPU by its number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(super) device: DeviceChoice,
    /// Longest prompt that is accepted, in tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 4096)]
    pub(super) max_input_len: u32,
    /// Longest sequence, prompt and output, in tokens; without it, 1024 more than the longest prompt
    #[arg(long, value_name = "TOKENS")]
    pub(super) max_kv_cache_capacity: Option<u32>,
    /// Tokens of a prefill chunk
    #[arg(long, value_name = "TOKENS", default_value_t = RuntimeOptions::DEFAULT_PREFILL_CHUNK)]
    pub(super) gdn_prefill_max_seq: u32,
    /// Worker threads: a number, or auto for the processors of this machine
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(super) threads: Threads,
    /// Element type of the KV cache: f16, int8 (half the bytes) or f32 (for comparisons)
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    pub(super) kv_cache_type: KvCacheType,
    /// Where weights are: mapped or resident
    #[arg(long, value_name = "PLACE", default_value = "mapped")]
    pub(super) weights: WeightPlacement,
    /// Let the MTP head draft tokens: true or false
    #[arg(long, value_name = "SWITCH", default_value_t = false, action = clap::ArgAction::Set)]
    pub(super) mtp: bool,
    /// Tokens of a verification: the last one and its drafts, 2 to 8
    #[arg(long, value_name = "N", default_value_t = RuntimeOptions::DEFAULT_VERIFY_TREE)]
    pub(super) max_verify_tree_size: u32,
    /// Rows of the table that the draft scores: full, or a number such as 32k
    #[arg(long, value_name = "ROWS", default_value = "32k")]
    pub(super) draft_vocab: DraftVocab,
    /// How much of the weights stays resident: unset, off, min, or a size such as 1GiB
    #[arg(long, value_name = "SIZE", default_value = "unset")]
    pub(super) weight_streaming_budget: WeightStreaming,
    /// Sequences that are decoded together, 1 to 8
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) max_batch_size: u32,
    /// Arithmetic on a CPU: fast (activations in bytes) or exact (f32 from the dequantised weights, for comparisons)
    #[arg(long, value_name = "PATH", default_value = "fast")]
    pub(super) precision: Precision,
}

/// `sweep serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    pub(super) source: SourceArguments,
    #[command(flatten)]
    pub(super) pack: PackArguments,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(super) host: std::net::IpAddr,
    /// Port to listen on; 0 lets the system choose
    #[arg(long, default_value_t = 8080)]
    pub(super) port: u16,
    /// File that receives the address once it is bound
    #[arg(long, value_name = "FILE")]
    pub(super) port_file: Option<PathBuf>,
    /// Name under which requests ask for the model; without it, the folder's name
    #[arg(long, value_name = "NAME")]
    pub(super) model_id: Option<String>,
    #[command(flatten)]
    pub(super) settings: SettingsArguments,
    /// Wait for a line on standard input before loading
    #[arg(long, hide = true)]
    pub(super) load_on_stdin: bool,
}

/// `sweep logits`.
#[derive(Debug, Args)]
pub(super) struct LogitsArguments {
    #[command(flatten)]
    pub(super) source: SourceArguments,
    #[command(flatten)]
    pub(super) pack: PackArguments,
    /// Where it runs: auto (a GPU where one can be used, else the CPU), cpu, cuda, or a GPU by its number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(super) device: DeviceChoice,
    /// Token ids of the prompt, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    pub(super) ids: Vec<u32>,
    /// Token ids to feed after the prompt, instead of the greedy ones
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(super) force: Vec<u32>,
    /// How many tokens to feed after the prompt, with drafts how many to make at least; without it, as many as are forced
    #[arg(long, value_name = "N")]
    pub(super) steps: Option<usize>,
    /// Let the MTP head draft so many tokens a round, 1 to 7, and print the rounds instead of their scores
    #[arg(long, value_name = "K", requires = "steps", conflicts_with = "force", value_parser = clap::value_parser!(u32).range(1..=7))]
    pub(super) draft: Option<u32>,
    /// Rows of the table that the draft scores: full, or a number such as 32k
    #[arg(long, value_name = "ROWS", default_value = "32k")]
    pub(super) draft_vocab: DraftVocab,
    /// Tokens of a prefill chunk
    #[arg(long, value_name = "TOKENS", default_value_t = RuntimeOptions::DEFAULT_PREFILL_CHUNK)]
    pub(super) prefill_chunk: u32,
    /// exact computes in f32 from the dequantised weights; fast is what `sweep serve` runs
    #[arg(long, value_name = "PATH", default_value = "exact")]
    pub(super) precision: Precision,
    /// Worker threads: a number, or auto for the processors of this machine
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(super) threads: Threads,
    /// Print every score as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep score`.
#[derive(Debug, Args)]
pub(super) struct ScoreArguments {
    /// A folder that `sweep build` made: the engine that is scored
    #[arg(long, value_name = "DIR")]
    pub(super) engine: PathBuf,
    /// The engine whose exact path it is held against: the same checkpoint, built with `--lm-head f16`; without it, the engine itself
    #[arg(long, value_name = "DIR")]
    pub(super) reference: Option<PathBuf>,
    /// The text that both read, in UTF-8
    #[arg(long, value_name = "FILE")]
    pub(super) text: PathBuf,
    /// Tokens of the text that are scored, from its beginning
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2..=1_048_576))]
    pub(super) tokens: u32,
    /// Greedy continuations that are compared
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=1024))]
    pub(super) continuations: u32,
    #[command(flatten)]
    pub(super) settings: SettingsArguments,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep explain`.
#[derive(Debug, Args)]
// A cell needs no model.
#[command(mut_group("SourceArguments", |group| group.required(false)))]
pub(super) struct ExplainArguments {
    /// A cell of a run, by its label, its name, or the beginning of its id; or the knob whose values are measured: lmHead or kvCacheType
    #[arg(value_name = "CELL|KNOB")]
    pub(super) subject: String,
    /// For a cell: a run folder, or the name of one; without it, the newest
    #[arg(long, value_name = "RUN")]
    pub(super) run: Option<PathBuf>,
    /// For a cell: hold it against this baseline; without it, against the one that it was held against when it ran
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,
    /// For a cell: folder in which run folders are looked for
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(super) output: PathBuf,
    #[command(flatten)]
    pub(super) source: Option<SourceArguments>,
    #[command(flatten)]
    pub(super) pack: PackArguments,
    /// Where it runs: auto (a GPU where one can be used, else the CPU), cpu, cuda, or a GPU by its number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(super) device: DeviceChoice,
    /// How many token ids are fed, and so many positions compared
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) tokens: u32,
    /// Worker threads: a number, or auto for the processors of this machine
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(super) threads: Threads,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A knob with a price in quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Knob {
    /// How the table is stored.
    #[value(name = "lmHead")]
    LmHead,
    /// How keys and values are stored.
    #[value(name = "kvCacheType")]
    KvCacheType,
}

impl Knob {
    /// The name, as scenario files spell it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Knob::LmHead => "lmHead",
            Knob::KvCacheType => "kvCacheType",
        }
    }
}

/// `sweep trim`.
#[derive(Debug, Args)]
pub(super) struct TrimArguments {
    /// A folder in Hugging Face layout; its configuration and tokenizer are enough
    #[arg(long, value_name = "DIR")]
    pub(super) checkpoint: PathBuf,
    /// Text files in UTF-8 whose tokens are counted
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(super) corpus: Vec<PathBuf>,
    /// Rows to keep, for example 32k
    #[arg(long, value_name = "ROWS")]
    pub(super) rows: RowCount,
    /// The map to write, for `--vocab` and for TensorRT Edge-LLM
    #[arg(long, short, value_name = "FILE", default_value = VOCAB_MAP)]
    pub(super) output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `sweep kernels`.
#[derive(Debug, Subcommand)]
pub(super) enum KernelsVerb {
    /// Compile the kernels for some GPUs, as far as they are not there; this alone needs NVRTC, CUDA's run-time compiler
    Build(KernelsBuildArguments),
    /// List compiled kernels: registers, shared and local memory, and where they lie
    List(KernelsListArguments),
}

/// `sweep kernels build`.
#[derive(Debug, Args)]
pub(super) struct KernelsBuildArguments {
    /// GPUs to compile for, by compute capability: sm_87 is Orin, sm_90 is Hopper
    #[arg(long = "arch", value_name = "ARCH", value_delimiter = ',', required = true)]
    pub(super) architectures: Vec<Architecture>,
    /// Folder in which they are kept; without it, the user's cache
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// NVRTC's library, or the folder that it is in; without it, SWEEP_NVRTC, CUDA_HOME and the usual places
    #[arg(long, value_name = "PATH")]
    pub(super) nvrtc: Option<PathBuf>,
}

/// `sweep kernels list`.
#[derive(Debug, Args)]
pub(super) struct KernelsListArguments {
    /// Only this folder; without it, the shipped one and the user's cache
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl SourceArguments {
    /// The source that was named; clap makes sure that it is exactly one.
    pub(super) fn model_source(&self, seed: u64) -> ModelSource {
        match &self.engine {
            Some(path) => ModelSource::Engine(path.to_string_lossy().into_owned()),
            None => checkpoint_source(self.checkpoint.as_deref(), self.synthetic.as_deref(), seed),
        }
    }
}

impl SettingsArguments {
    /// The settings that were typed.
    pub(super) fn settings(&self) -> Settings {
        let default_capacity = self.max_input_len.saturating_add(RuntimeOptions::DEFAULT_OUTPUT_ROOM);
        Settings {
            device: self.device,
            max_input_len: Tokens(self.max_input_len),
            max_kv_cache_capacity: Tokens(self.max_kv_cache_capacity.unwrap_or(default_capacity)),
            gdn_prefill_max_seq: Tokens(self.gdn_prefill_max_seq),
            threads: self.threads,
            kv_cache_type: self.kv_cache_type,
            weights: self.weights,
            mtp: self.mtp,
            max_verify_tree_size: self.max_verify_tree_size,
            draft_vocab: self.draft_vocab,
            weight_streaming_budget: self.weight_streaming_budget,
            max_batch_size: self.max_batch_size,
            precision: self.precision,
        }
    }
}

impl ChatArguments {
    /// An engine where the folder is one, else a checkpoint.
    pub(super) fn model_source(&self) -> ModelSource {
        let path = self.model.to_string_lossy().into_owned();
        match self.model.join(MANIFEST).exists() {
            true => ModelSource::Engine(path),
            false => ModelSource::Checkpoint(path),
        }
    }
}

impl FitArguments {
    /// The model of `sweep fit` where none is named.
    pub(super) const DEFAULT_ARCHITECTURE: &str = "Qwen3.5-4B";

    /// The source that was named, or the default.
    pub(super) fn model_source(&self) -> ModelSource {
        match &self.engine {
            Some(path) => ModelSource::Engine(path.to_string_lossy().into_owned()),
            None => {
                let architecture = self.synthetic.as_deref().unwrap_or(Self::DEFAULT_ARCHITECTURE);
                checkpoint_source(self.checkpoint.as_deref(), Some(architecture), self.seed)
            }
        }
    }

    /// True where a model was named.
    pub(super) fn names_a_model(&self) -> bool {
        self.engine.is_some() || self.checkpoint.is_some() || self.synthetic.is_some()
    }
}

impl BuildArguments {
    /// The source that was named; clap makes sure that it is exactly one.
    pub(super) fn model_source(&self) -> ModelSource {
        checkpoint_source(self.checkpoint.as_deref(), self.synthetic.as_deref(), self.pack.seed)
    }
}

fn checkpoint_source(checkpoint: Option<&Path>, architecture: Option<&str>, seed: u64) -> ModelSource {
    match checkpoint {
        Some(path) => ModelSource::Checkpoint(path.to_string_lossy().into_owned()),
        None => ModelSource::Synthetic { architecture: architecture.unwrap_or_default().to_owned(), seed },
    }
}
