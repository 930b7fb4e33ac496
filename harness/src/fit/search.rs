//! Candidates, the frontier, and their order.
//!
//! Every choice of head, vocabulary, cache type, drafting and length is tried once. What costs no quality is given up only as far
//! as it must be: prefill chunks are shortened and weights are streamed where the rest does not fit, in that order, and a stream
//! keeps as much resident as the budget leaves.

use std::cmp::Ordering;

use ledger::{Bytes, Role, Tokens};
use runtime::plan::{DraftVocab, WeightStreaming};

use super::axes::Axes;
use super::keep::Relation;
use super::loss::{Loss, QualityRecords};
use super::planner::{Configuration, Planner};
use super::speed::Speed;
use crate::engines::EngineError;
use crate::scenario::{BuildOptions, ModelSource, Settings, SettingsDraft, Vocab};

/// Tokens of output that the cache has room for beside the longest prompt, where nothing else is asked for.
pub const OUTPUT_ROOM: Tokens = Tokens(64);

/// A configuration that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What it is.
    pub configuration: Configuration,
    /// Its predicted peak, the program included.
    pub total: Bytes,
    /// What it costs in quality.
    pub loss: Loss,
    /// What it costs in time.
    pub speed: Speed,
}

/// The smallest configuration that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Least {
    /// What it is.
    pub configuration: Configuration,
    /// Its predicted peak.
    pub total: Bytes,
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// The configurations that fit and that none other beats in everything, best first.
    pub frontier: Vec<Candidate>,
    /// Of them, the best for each choice of head, vocabulary and cache type. A choice whose best is beaten has none.
    pub best_of_each_quality: Vec<Candidate>,
    /// The smallest configuration of all, whether or not it fits; `None` where none is possible.
    pub least: Option<Least>,
    /// Why configurations were left out that the model cannot run.
    pub refused: Option<String>,
}

/// A search for one model.
pub struct Search<'a, 'b> {
    planner: &'a mut Planner<'b>,
    axes: &'a Axes,
    records: &'a dyn QualityRecords,
    budget: Bytes,
    /// Rows of the model's whole table.
    rows: usize,
    /// True where the engine is built, so that its quality is given.
    built: bool,
    fitting: Vec<Candidate>,
    least: Option<Least>,
    refused: Option<String>,
}

impl<'a, 'b> Search<'a, 'b> {
    /// Looks for configurations of at most `budget`.
    ///
    /// # Errors
    /// When the model cannot be had.
    pub fn run(
        planner: &'a mut Planner<'b>,
        axes: &'a Axes,
        records: &'a dyn QualityRecords,
        budget: Bytes,
    ) -> Result<Found, EngineError> {
        let built = matches!(planner.source(), ModelSource::Engine(_));
        let rows = planner.shape(&BuildOptions::default())?.config.vocab_size;
        let (fitting, least, refused) = (Vec::new(), None, None);
        let mut search = Search { planner, axes, records, budget, rows, built, fitting, least, refused };
        for build in search.builds() {
            for target in search.targets(&build)? {
                search.place(&build, &target)?;
            }
        }
        Ok(found(search.fitting, search.least, search.refused))
    }

    /// Every way to build the engine; what is built already is one.
    fn builds(&self) -> Vec<BuildOptions> {
        let mut base = BuildOptions::default();
        if self.built {
            return vec![base];
        }
        for (knob, value) in self.axes.fixed() {
            base.set(knob, value);
        }
        let mut builds: Vec<BuildOptions> = Vec::new();
        for lm_head in self.axes.values("lmHead") {
            for vocab in self.axes.values("vocab") {
                let mut build = base.clone();
                build.set("lmHead", lm_head);
                build.set("vocab", vocab);
                builds.push(build);
            }
        }
        // As many rows as the model has, or more, are the whole table by another name.
        let whole =
            |build: &BuildOptions| matches!(build.vocab, Vocab::Rows(rows) if rows.0 as usize >= self.rows);
        if builds.iter().any(|build| !whole(build)) {
            builds.retain(|build| !whole(build));
        }
        builds
    }

    /// Every way to start a target of `build`, but for what is given up only where it must be.
    fn targets(&mut self, build: &BuildOptions) -> Result<Vec<SettingsDraft>, EngineError> {
        let shape = self.planner.shape(build)?;
        let drafts = shape.segments.iter().any(|segment| segment.role == Role::Draft);
        let vocabulary = shape.config.vocab_size;
        let mut base = SettingsDraft::default();
        for (knob, value) in self.axes.fixed() {
            base.set(knob, value);
        }
        let mut targets = Vec::new();
        let axes = self.axes;
        for length in axes.values("maxInputLen") {
            for kv_cache_type in axes.values("kvCacheType") {
                let mut target = base;
                target.set("maxInputLen", length);
                target.set("kvCacheType", kv_cache_type);
                target.set("maxBatchSize", &axes.values("maxBatchSize")[0]);
                for mtp in axes.values("mtp") {
                    target.set("mtp", mtp);
                    if mtp == "false" {
                        targets.push(target);
                        continue;
                    }
                    if !drafts {
                        self.refuse("the model has no MTP head, so that nothing can draft".to_owned());
                        continue;
                    }
                    let mut scored = Vec::new();
                    for rows in axes.values("draftVocab") {
                        target.set("draftVocab", rows);
                        let rows = rows.parse().unwrap_or(DraftVocab::Full).rows(vocabulary);
                        // Two ways to say every row are one.
                        if scored.contains(&rows) {
                            continue;
                        }
                        scored.push(rows);
                        for verified in axes.values("maxVerifyTreeSize") {
                            target.set("maxVerifyTreeSize", verified);
                            targets.push(target);
                        }
                    }
                }
            }
        }
        Ok(targets)
    }

    /// Adds what of `target` fits: with the first prefill chunk that does, whole or streamed.
    fn place(&mut self, build: &BuildOptions, target: &SettingsDraft) -> Result<(), EngineError> {
        let axes = self.axes;
        for chunk in axes.values("gdnPrefillMaxSeq") {
            let mut target = *target;
            target.set("gdnPrefillMaxSeq", chunk);
            let Some(settings) = self.resolve(target) else { continue };
            let configuration = Configuration { build: build.clone(), settings };
            let beside = match self.planner.beside_weights(&configuration) {
                Ok(beside) => beside,
                Err(error) => {
                    self.refuse(error.what);
                    return Ok(());
                }
            };
            let before = self.fitting.len();
            for value in axes.values("weightStreamingBudget") {
                let Ok(streaming) = value.parse() else { continue };
                if streaming == WeightStreaming::Min && self.fitting.len() > before {
                    // Nothing is read from storage that memory has room for, unless it is asked for.
                    continue;
                }
                let fits = self.consider(with(&configuration, streaming), beside)?;
                if fits && streaming == WeightStreaming::Min {
                    self.fill(&configuration, beside)?;
                }
            }
            if self.fitting.len() > before {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Adds the largest streaming budget with which `configuration` fits.
    fn fill(&mut self, configuration: &Configuration, beside: Bytes) -> Result<(), EngineError> {
        let floor = self.planner.weights(&with(configuration, WeightStreaming::Min))?.floor;
        let bounds = self.axes.keeps().iter().filter(|keep| keep.knob == "weightStreamingBudget");
        let bounds = bounds.filter_map(|keep| match keep.value.parse() {
            Ok(WeightStreaming::Budget(bound)) => Some(bound),
            _ => None,
        });
        let left = self.budget.saturating_sub(beside);
        let most = bounds.chain([left]).min().unwrap_or(left);
        // Whole MiB: what is printed can be typed.
        let streaming = WeightStreaming::Budget(Bytes(most.0 >> 20 << 20));
        let sized = matches!(streaming, WeightStreaming::Budget(bytes) if bytes >= floor);
        if sized && self.axes.allows("weightStreamingBudget", &streaming.to_string()) {
            self.consider(with(configuration, streaming), beside)?;
        }
        Ok(())
    }

    /// Adds `configuration` where it fits, and says whether it does.
    fn consider(&mut self, configuration: Configuration, beside: Bytes) -> Result<bool, EngineError> {
        let weights = self.planner.weights(&configuration)?;
        if matches!(configuration.settings.weight_streaming_budget, WeightStreaming::Budget(size) if size < weights.floor)
        {
            let why = format!("a weightStreamingBudget below the floor of {} cannot be kept", weights.floor);
            self.refuse(why);
            return Ok(false);
        }
        let total = beside + weights.resident;
        if self.least.as_ref().is_none_or(|least| total < least.total) {
            self.least = Some(Least { configuration: configuration.clone(), total });
        }
        if total > self.budget {
            return Ok(false);
        }
        let shape = self.planner.shape(&configuration.build)?;
        let loss = Loss::of(&configuration, shape.config.vocab_size, self.rows, self.built, self.records);
        let speed = Speed::of(shape, &configuration, &weights)?;
        self.fitting.push(Candidate { configuration, total, loss, speed });
        Ok(true)
    }

    /// Whole settings: the cache holds the longest prompt and some output, or what is demanded of it. `None` where it cannot.
    fn resolve(&mut self, mut target: SettingsDraft) -> Option<Settings> {
        let length = target.max_input_len().0;
        let held = self.planner.asked_context().map_or(0, |context| context.0);
        let mut capacity = length.saturating_add(OUTPUT_ROOM.0).max(held).next_multiple_of(64);
        for keep in self.axes.keeps().iter().filter(|keep| keep.knob == "maxKVCacheCapacity") {
            let bound: u32 = keep.value.parse().unwrap_or(capacity);
            capacity = match keep.relation {
                Relation::Is => bound,
                Relation::AtLeast => capacity.max(bound),
                Relation::AtMost => capacity.min(bound),
            };
        }
        let named = capacity.to_string();
        let room = capacity >= length.max(held) && self.axes.allows("maxKVCacheCapacity", &named);
        match target.set("maxKVCacheCapacity", &named) {
            Some(Ok(())) if room => Some(target.resolve(OUTPUT_ROOM)),
            _ => {
                let why = format!("maxKVCacheCapacity {named} has no room for {} tokens", length.max(held));
                self.refuse(why);
                None
            }
        }
    }

    fn refuse(&mut self, why: String) {
        self.refused.get_or_insert(why);
    }
}

fn with(configuration: &Configuration, weight_streaming_budget: WeightStreaming) -> Configuration {
    let settings = Settings { weight_streaming_budget, ..configuration.settings };
    Configuration { build: configuration.build.clone(), settings }
}

impl Candidate {
    /// True where `other` is at least as good in everything and better in something.
    pub fn is_beaten_by(&self, other: &Candidate) -> bool {
        let (mine, its) = (&self.configuration.settings, &other.configuration.settings);
        let orders = [
            other.loss.kl_nats.total_cmp(&self.loss.kl_nats),
            other.total.cmp(&self.total),
            other.speed.decode_token.0.total_cmp(&self.speed.decode_token.0),
            other.speed.prefill_token.0.total_cmp(&self.speed.prefill_token.0),
            mine.max_input_len.cmp(&its.max_input_len),
            mine.max_kv_cache_capacity.cmp(&its.max_kv_cache_capacity),
            mine.max_batch_size.cmp(&its.max_batch_size),
        ];
        orders.iter().all(|order| order.is_le()) && orders.iter().any(|order| order.is_lt())
    }

    /// The better of two: by loss in steps that matter, by time, by bytes.
    pub fn rank(&self, other: &Candidate) -> Ordering {
        let steps = self.loss.steps().cmp(&other.loss.steps());
        let time = || self.speed.decode_token.0.total_cmp(&other.speed.decode_token.0);
        steps.then_with(time).then_with(|| self.total.cmp(&other.total))
    }

    /// True where the two differ in nothing that changes a score.
    pub fn has_quality_of(&self, other: &Candidate) -> bool {
        let kv_cache_type = |candidate: &Candidate| candidate.configuration.settings.kv_cache_type;
        self.configuration.build == other.configuration.build && kv_cache_type(self) == kv_cache_type(other)
    }
}

/// Orders the candidates and leaves out those that another beats.
fn found(mut candidates: Vec<Candidate>, least: Option<Least>, refused: Option<String>) -> Found {
    candidates.sort_by(Candidate::rank);
    let mut best: Vec<&Candidate> = Vec::new();
    for candidate in &candidates {
        if !best.iter().any(|known| known.has_quality_of(candidate)) {
            best.push(candidate);
        }
    }
    let stays = |candidate: &&Candidate| !candidates.iter().any(|other| candidate.is_beaten_by(other));
    let best_of_each_quality = best.into_iter().filter(stays).cloned().collect();
    let frontier = candidates.iter().filter(stays).cloned().collect();
    Found { frontier, best_of_each_quality, least, refused }
}
