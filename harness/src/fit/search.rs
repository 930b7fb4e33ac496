//! The candidates: which configurations are looked at.
//!
//! Every choice of head, vocabulary, cache type, drafting and length is tried once. What costs no quality is given up only as far
//! as it must be: prefill chunks are shortened and weights are streamed where the rest does not fit, in that order, and a stream
//! keeps as much resident as the budget leaves.

use ledger::{Bytes, Role, Tokens};
use runtime::plan::{DraftVocab, WeightStreaming};

use super::axes::Axes;
use super::keep::Relation;
use super::loss::{Loss, QualityRecords};
use super::planner::{Configuration, Planner, Weights};
use super::rank::{Candidate, Found, Least, found};
use super::speed::Speed;
use crate::engines::EngineError;
use crate::scenario::{BuildOptions, Settings, SettingsDraft, Vocab};

/// Tokens of output that the cache has room for beside the longest prompt, where nothing else is asked for.
pub const OUTPUT_ROOM: Tokens = Tokens(64);

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
        let built = planner.source().is_engine();
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
        let Weights { floor, on_top, .. } =
            self.planner.weights(&with(configuration, WeightStreaming::Min))?;
        let bounds = self.axes.keeps().iter().filter(|keep| keep.knob == "weightStreamingBudget");
        let bounds = bounds.filter_map(|keep| match keep.value.parse() {
            Ok(WeightStreaming::Budget(bound)) => Some(bound),
            _ => None,
        });
        let left = self.budget.saturating_sub(beside + on_top);
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
        let speed = Speed::of(shape, &configuration, &weights);
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
