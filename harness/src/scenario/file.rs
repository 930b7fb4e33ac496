//! A scenario file as it is written: shapes and words, not yet meaning.

use std::fmt;
use std::ops::Range;

use ledger::BufferClass;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::located::{Entries, Located};
use super::model::ModelFile;
use super::order::RunOrder;
use super::settings::{KvCacheType, Linears, LmHead, Precision, WeightPlacement};
use super::target::TargetKind;
use super::units::{DriftRate, LeakRate, Period, Rate, Share, Size, Temperature};
use crate::record::{ExpectedOutcome, GrowthPer};

/// A scenario: which cells to run, in which phases, against which budgets.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioFile {
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub(super) name: Located<String>,
    /// What it is for, in one sentence.
    pub(super) why: String,
    /// Decides the prompts.
    #[serde(default)]
    pub(super) seed: u64,
    /// Names for the models that axes and budgets refer to.
    pub(super) models: Located<Entries<Located<ModelFile>>>,
    /// How engines are built, where no axis says otherwise.
    #[serde(default)]
    pub(super) build: BuildFile,
    /// How targets are started, where no axis says otherwise.
    #[serde(default)]
    pub(super) settings: SettingsFile,
    /// What varies from cell to cell.
    pub(super) axes: Axes,
    /// Cells beside those of the axes, each with a name.
    #[serde(default)]
    pub(super) include: Vec<Include>,
    /// Combinations to leave out, applied last.
    #[serde(default)]
    pub(super) exclude: Vec<Exclude>,
    /// What is expected of an axis. Left out: every axis of `one_at_a_time` must move the peak by what the plan says.
    pub(super) levers: Option<Vec<Located<LeverFile>>>,
    /// The runtime that is measured. Several stand in `targets`.
    pub(super) target: Option<Located<TargetKind>>,
    /// Names for several runtimes, for the axis `target`.
    pub(super) targets: Option<Located<Entries<Located<TargetKind>>>>,
    /// How often each cell runs, each time in a fresh process.
    pub(super) trials: Located<u32>,
    /// In which order trials run. Default: blocked_random.
    #[serde(default)]
    pub(super) order: RunOrder,
    /// How long the machine rests between two trials.
    pub(super) cooldown: Option<Located<CooldownFile>>,
    /// What the machine must be like; else nothing runs, and the exit code is 6.
    #[serde(default)]
    pub(super) needs: NeedsFile,
    /// What a target may take from the machine.
    #[serde(default)]
    pub(super) limits: Limits,
    /// What runs beside the target: started before it, in this order, and ended with the trial.
    #[serde(default)]
    pub(super) co_residents: Vec<Located<CoResidentFile>>,
    /// How the 10 ms series is taken.
    #[serde(default)]
    pub(super) sample: SampleFile,
    /// When a trial may begin: once the machine is again what it was before the first one; else it is inconclusive.
    #[serde(default)]
    pub(super) floor: FloorFile,
    /// What happens in a trial, in this order: idle, load, prefill, decode, settle, unload. Only `load` must be there.
    pub(super) phases: Located<Vec<Located<PhaseFile>>>,
    /// What quality is measured on, after the phases, and what it may cost.
    pub(super) quality: Option<Located<QualityFile>>,
    /// What the measurements are held against.
    #[serde(default)]
    pub(super) budgets: Vec<Located<BudgetFile>>,
    /// What decides against a baseline, beyond what a comparison looks at by itself.
    #[serde(default)]
    pub(super) gates: Vec<Located<GateFile>>,
    /// Cells that are known not to run to their end, each with the day until which that is accepted.
    #[serde(default)]
    pub(super) expect: Vec<Located<ExpectFile>>,
}

/// Options of `sweep build`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BuildFile {
    /// How the output head is stored. Default: int8.
    pub(super) lm_head: Option<LmHead>,
    /// What becomes of 16-bit projections. Default: keep.
    pub(super) linears: Option<Linears>,
    /// Rows of the table that are kept: `full`, a number such as `32k`, or a file of ids. Default: full.
    pub(super) vocab: Option<Located<Scalar>>,
}

/// Settings of a target.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SettingsFile {
    /// Where the target runs: `cpu`, `cuda`, a GPU by its number such as `cuda:1`, or `auto`. Default: cpu.
    pub(super) device: Option<Located<Scalar>>,
    /// Longest prompt in tokens. Default: 4096.
    pub(super) max_input_len: Option<Located<u32>>,
    /// Tokens of context that the KV cache can hold. Default: what `maxInputLen` and the output need.
    #[serde(rename = "maxKVCacheCapacity")]
    pub(super) max_kv_cache_capacity: Option<Located<u32>>,
    /// Tokens of a prefill chunk. Default: 256.
    pub(super) gdn_prefill_max_seq: Option<Located<u32>>,
    /// Worker threads: `auto` or a number. Default: auto.
    pub(super) threads: Option<Located<Scalar>>,
    /// How keys and values are stored. Default: f16.
    pub(super) kv_cache_type: Option<KvCacheType>,
    /// Where weights are. Default: mapped.
    pub(super) weights: Option<WeightPlacement>,
    /// Whether the MTP head drafts. Default: false.
    pub(super) mtp: Option<bool>,
    /// Tokens of a verification: the last one and its drafts. Default: 4.
    pub(super) max_verify_tree_size: Option<Located<u32>>,
    /// Rows of the table that the draft scores: `full`, or a number such as `32k`. Default: 32k.
    pub(super) draft_vocab: Option<Located<Scalar>>,
    /// How much of the weights stays resident: `unset`, `off`, `min`, or a size. Default: unset.
    pub(super) weight_streaming_budget: Option<Located<Scalar>>,
    /// Sequences that are decoded together. Default: 1.
    pub(super) max_batch_size: Option<Located<u32>>,
    /// Arithmetic on a CPU. Default: fast.
    pub(super) precision: Option<Precision>,
}

/// What varies.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Axes {
    /// Every combination of these values. `model`, `target`, any setting and any build option can be an axis.
    #[serde(default, deserialize_with = "written")]
    pub(super) grid: Option<AxisEntries>,
    /// Axes that vary together, for each combination of the grid: their lists have the same length, and their first values
    /// make one cell, their second ones the next.
    #[serde(default, deserialize_with = "written")]
    pub(super) zip: Option<AxisEntries>,
    /// Axes that are tried one at a time, for each combination of the grid. The first value is the base: there is one cell
    /// with every axis at its base, and one for each other value of each axis, all else at its base.
    pub(super) one_at_a_time: Option<AxisEntries>,
}

impl Axes {
    /// Where the axes stand, for mistakes that are about all of them.
    pub(super) fn place(&self) -> Range<usize> {
        let written = [&self.grid, &self.zip, &self.one_at_a_time];
        written.into_iter().flatten().next().map_or(0..0, |axes| axes.span.clone())
    }
}

/// A key that stands there must have a value.
fn written<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Axis names and their values.
pub(super) type AxisEntries = Located<Entries<Located<Vec<Located<Scalar>>>>>;

/// One cell beside those of the axes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Include {
    /// Its name, unique in the file; budgets can be for it: `when: {cell: NAME}`.
    pub(super) name: Located<String>,
    /// Its values: axes, settings and build options. An axis of `one_at_a_time` that is left out is at its base.
    pub(super) cell: Located<Entries<Located<Scalar>>>,
    /// What it is for.
    pub(super) why: String,
}

/// What is expected of one axis.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeverFile {
    /// The axis; its first value is the base.
    pub(super) axis: Located<String>,
    /// What it must move: `peak`, or the peak of the phase `load`, `prefill` or `decode`. Default: peak.
    pub(super) metric: Option<Located<String>>,
    /// The part of the planned saving above which it works. Default: 90 %.
    pub(super) works_above: Option<Located<Share>>,
    /// Why it matters.
    pub(super) why: String,
}

/// Combinations to leave out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Exclude {
    /// Axis values that must all match, or a condition on axes: `vocab in [32k, full] and not mtp`.
    pub(super) when: Located<WhenFile>,
    /// The reason.
    pub(super) why: String,
}

/// What a target may take from the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Memory: a memory cgroup where one can be made, else a limit on the address space.
    pub(super) memory: Option<Size>,
    /// Memory that must stay available on the machine: below it the target is killed. Default: 3 % of all, at least 256 MiB.
    #[serde(rename = "minAvailable")]
    pub(super) min_available: Option<Size>,
}

/// A program beside the target: `command` with `ready`, or `standIn`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CoResidentFile {
    /// Its name, unique in the file: letters, digits, `-`, `_` and `.`.
    pub(super) name: Located<String>,
    /// The program and its arguments.
    pub(super) command: Option<Located<Vec<String>>>,
    /// Memory that is held in its stead.
    pub(super) stand_in: Option<Located<StandInFile>>,
    /// When it is ready, and the next one may start.
    pub(super) ready: Option<Located<ReadyFile>>,
    /// When to give up on its getting ready. Default: 30 s.
    pub(super) timeout: Option<Period>,
    /// What it stands for.
    pub(super) why: String,
}

/// What a stand-in holds.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StandInFile {
    /// Main memory, all of it resident.
    pub(super) host: Option<Size>,
    /// Memory of the first GPU.
    pub(super) device: Option<Size>,
    /// How much of its main memory it reads a second, for example `2 GiB/s`.
    pub(super) reads: Option<Rate>,
}

/// When a co-resident is ready.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum ReadyFile {
    /// Once it has written these words.
    Says(String),
    /// After this time.
    After(Period),
}

/// What the machine must be like. What cannot be measured there is not met.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NeedsFile {
    /// Memory that a new process can have, at least.
    pub(super) available_memory: Option<Size>,
    /// Free space where engines are kept, at least.
    pub(super) free_disk: Option<Size>,
    /// `none`: there must be no swap.
    pub(super) swap: Option<SwapNeed>,
    /// The power mode of a Jetson by its name, for example `MAXN_SUPER`.
    pub(super) power_mode: Option<Located<Scalar>>,
    /// `locked`: clocks must not follow the load.
    pub(super) clocks: Option<ClocksNeed>,
    /// Probes that must be readable, for example `nvmap`; `sweep doctor` lists them.
    #[serde(default)]
    pub(super) probes: Vec<Located<String>>,
}

/// What may be asked of swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum SwapNeed {
    /// There is none.
    None,
}

/// What may be asked of clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum ClocksNeed {
    /// None of them can move.
    Locked,
}

/// How the series is taken.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SampleFile {
    /// Time between two samples. Default: 10 ms.
    pub(super) every: Option<Located<Period>>,
}

/// When a trial may begin.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FloorFile {
    /// By how much memory may be off, main memory and device memory each. Default: 64 MiB; of main memory 1 % where that is
    /// more.
    pub(super) tolerance: Option<Size>,
    /// How long is waited for it. Default: 30 s.
    pub(super) timeout: Option<Period>,
}

/// One phase.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum PhaseFile {
    /// The target's process is up and holds no engine.
    Idle(WaitFile),
    /// Until the target says that it is ready.
    Load(BoundFile),
    /// A prompt, up to its first token.
    Prefill(PrefillFile),
    /// Output tokens, one after the other.
    Decode(DecodeFile),
    /// Nothing is asked for.
    Settle(WaitFile),
    /// The target is asked to end, until it is gone.
    Unload(BoundFile),
}

/// A phase that lasts a given time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitFile {
    /// How long it lasts.
    #[serde(rename = "for")]
    pub(super) lasts: Located<Period>,
    /// When to give up.
    pub(super) timeout: Period,
}

/// A phase that lasts until something happens.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BoundFile {
    /// When to give up.
    pub(super) timeout: Period,
}

/// The prefill phase.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PrefillFile {
    /// Tokens of the prompt: a number, or `maxInputLen`.
    pub(super) prompt_tokens: Located<Scalar>,
    /// How many prompts, one after the other. Default: 1.
    pub(super) requests: Option<Located<u32>>,
    /// When to give up.
    pub(super) timeout: Period,
}

/// The decode phase.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DecodeFile {
    /// Tokens of a prompt of its own. Left out: the stream of the prefill phase goes on, so that its cache stays filled.
    pub(super) prompt_tokens: Option<Located<Scalar>>,
    /// Tokens to generate, the first one included.
    pub(super) output_tokens: Located<u32>,
    /// When to give up.
    pub(super) timeout: Period,
}

/// One budget: `total`, `device`, `hostAndDevice` or `stack`; `class` with `bytes` or `share`; `growth`, `leak` or `drift`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BudgetFile {
    /// Its name, unique in the file.
    pub(super) id: Located<String>,
    /// The cells that it holds for. Left out: every cell.
    pub(super) when: Option<Located<WhenFile>>,
    /// Limits on the peak resident memory of the target's process tree.
    pub(super) total: Option<Located<Limit<Size>>>,
    /// Limits on the most device memory that the target holds.
    pub(super) device: Option<Located<Limit<Size>>>,
    /// Limits on the peaks of host and device memory together.
    pub(super) host_and_device: Option<Located<Limit<Size>>>,
    /// Limits on the peaks of the target, host and device, and of its co-residents, together.
    pub(super) stack: Option<Located<Limit<Size>>>,
    /// The buffer class that `bytes` or `share` limits.
    pub(super) class: Option<Located<String>>,
    /// Limits on the size of the class.
    pub(super) bytes: Option<Located<Limit<Size>>>,
    /// Limits on the part that the class has in the measured resident memory.
    pub(super) share: Option<Located<Limit<Share>>>,
    /// Limits on what a token more takes.
    pub(super) growth: Option<Located<GrowthFile>>,
    /// Limits on memory that grows while nothing is asked, in the phases `idle` and `settle`.
    pub(super) leak: Option<Located<Limit<LeakRate>>>,
    /// Limits on memory that grows from request to request, in the phase `prefill`.
    pub(super) drift: Option<Located<Limit<DriftRate>>>,
    /// The phase that counts. Left out: the worst of all phases.
    pub(super) phase: Option<Located<String>>,
    /// Why this limit.
    pub(super) why: String,
}

/// How long the machine rests between two trials: `for` so long, and until it is cooler than `below`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CooldownFile {
    /// So long at least.
    #[serde(rename = "for")]
    pub(super) lasts: Option<Period>,
    /// Until its hottest zone is below this.
    pub(super) below: Option<Temperature>,
    /// When to give up on `below`. Default: 120 s.
    pub(super) timeout: Option<Located<Period>>,
}

/// A cell that is known not to run to its end.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectFile {
    /// How its trials end.
    pub(super) outcome: ExpectedOutcome,
    /// The cells.
    pub(super) when: Located<WhenFile>,
    /// The last day on which that is accepted, for example `2027-01-31`.
    pub(super) until: Located<Scalar>,
    /// Why it is accepted until then.
    pub(super) why: String,
}

/// How quality is measured: over a text, against the exact path of the same checkpoint.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QualityFile {
    /// The cells that it is measured for. Left out: every cell.
    pub(super) when: Option<Located<WhenFile>>,
    /// A text in UTF-8.
    pub(super) text: String,
    /// The checkpoint whose exact path every engine is held against. Left out: its own.
    pub(super) reference: Option<String>,
    /// Tokens of it that are scored. Default: 2048.
    pub(super) tokens: Option<Located<u32>>,
    /// Greedy continuations that are compared. Default: 4.
    pub(super) continuations: Option<u32>,
    /// When to give up.
    pub(super) timeout: Period,
    /// What quality is held against. What could not be measured does not pass.
    #[serde(default)]
    pub(super) budgets: Vec<Located<QualityBudgetFile>>,
}

/// One limit on quality: exactly one of the four.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QualityBudgetFile {
    /// Its name, unique among these.
    pub(super) id: Located<String>,
    /// The cells that it holds for. Left out: every cell.
    pub(super) when: Option<Located<WhenFile>>,
    /// Mean KL divergence from the exact path, in nats, at most.
    pub(super) max_kl: Option<f64>,
    /// By how much perplexity may be larger than the exact path's.
    pub(super) max_ppl_increase: Option<Share>,
    /// Part of the positions with the same likeliest token, at least.
    pub(super) min_top1: Option<Share>,
    /// Part of greedily continued tokens before the first that differs, at least.
    pub(super) min_token_match: Option<Share>,
    /// Why this limit.
    pub(super) why: String,
}

/// What decides against a baseline.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GateFile {
    /// Its name, unique in the file.
    pub(super) id: Located<String>,
    /// The cells that it holds for. Left out: every cell.
    pub(super) when: Option<Located<WhenFile>>,
    /// What is compared: `peak`, `device`, `class NAME`, `planned NAME`, `load_time`, `ttft`, `decode_rate` or `prefill_rate`.
    pub(super) metric: Located<String>,
    /// How much worse it may be: a size, or a part of the baseline's.
    pub(super) allow: Located<Scalar>,
    /// Why so much.
    pub(super) why: String,
}

/// Where a budget ends.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit<T> {
    /// Above this, a warning.
    pub(super) warn: Option<T>,
    /// Above this, a failure.
    pub(super) fail: Option<T>,
}

/// Limits on what a token more takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrowthFile {
    /// What grows: `total`, `device`, `hostAndDevice`, or a buffer class.
    pub(super) of: Located<String>,
    /// With what: an axis that counts tokens, between cells that differ in it alone; or `context`, of a class, within a trial.
    pub(super) per: GrowthPer,
    /// Above this for each token, a warning.
    pub(super) warn: Option<Size>,
    /// Above this for each token, a failure.
    pub(super) fail: Option<Size>,
}

/// Which cells something is for: names with the values that they must all have, or a condition in one line.
#[derive(Debug, Clone)]
pub(super) enum WhenFile {
    /// `{model: tiny, mtp: true}`.
    Equal(Entries<Located<Scalar>>),
    /// `model == tiny and maxInputLen > 1024`.
    Expression(String),
}

impl<'de> Deserialize<'de> for WhenFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WhenFile, D::Error> {
        struct WhenVisitor;

        impl<'de> Visitor<'de> for WhenVisitor {
            type Value = WhenFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names with values, or a condition such as `maxInputLen > 1024 and not mtp`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WhenFile, E> {
                Ok(WhenFile::Expression(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<WhenFile, A::Error> {
                Entries::deserialize(MapAccessDeserializer::new(map)).map(WhenFile::Equal)
            }
        }

        deserializer.deserialize_any(WhenVisitor)
    }
}

impl JsonSchema for WhenFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "When".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let equal = generator.subschema_for::<Entries<Located<Scalar>>>();
        json_schema!({
            "description": "Which cells: names with the values that they must all have, or a condition in one line.",
            "anyOf": [equal, {"type": "string", "examples": ["model == tiny and maxInputLen > 1024 or not mtp"]}],
        })
    }
}

/// A value of an axis: a number or a word, kept as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct ScalarVisitor;

        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a word")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }

        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer", "boolean"]})
    }
}

/// Every buffer class by name, for the words of an error.
pub(super) fn class_names() -> Vec<&'static str> {
    BufferClass::ALL.iter().map(|class| class.name()).collect()
}
