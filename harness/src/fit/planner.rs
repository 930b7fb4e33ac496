//! The bytes of a configuration: what `sweep plan` says of the same cell.
//!
//! Weights are held from load to unload, so a peak is the weights and the most that any phase adds to them. Both halves are kept
//! once they are known: a thousand configurations share a few hundred of them.

use std::collections::{BTreeSet, HashMap};

use ledger::{Bytes, Phase, Role, Tokens};
use runtime::plan::{RuntimeOptions, Streaming, WeightStreaming, is_loaded};

use crate::engines::{BuiltinEngines, EngineError, EngineShape, Forecast, Peak, runtime_options};
use crate::scenario::{BuildOptions, ModelSource, Settings};

/// What an engine is built with, and what a target of it is started with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// The engine.
    pub build: BuildOptions,
    /// The target.
    pub settings: Settings,
}

/// Where the weights of a configuration are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// In memory, with all that they pass through.
    pub resident: Bytes,
    /// What of that no budget counts: the slots in main memory, where weights are streamed to a device.
    pub on_top: Bytes,
    /// Read from storage for each pass of the target.
    pub streamed_per_pass: Bytes,
    /// Read from storage for each pass of the draft.
    pub streamed_per_draft: Bytes,
    /// The smallest budget that the engine can be streamed in; all of the weights where nothing is streamed.
    pub floor: Bytes,
}

/// Predicts the configurations of one model.
#[derive(Debug)]
pub struct Planner<'a> {
    engines: &'a BuiltinEngines,
    source: &'a ModelSource,
    context: Option<Tokens>,
    shapes: HashMap<BuildOptions, EngineShape>,
    /// Ids that every engine keeps, once the tokenizer has been read for them.
    always: Option<BTreeSet<u32>>,
    weights: HashMap<Configuration, Weights>,
    added: HashMap<(Configuration, Option<usize>), Bytes>,
}

impl<'a> Planner<'a> {
    /// Configurations of `source`, with `context` tokens held; without it, with the cache full.
    pub fn new(engines: &'a BuiltinEngines, source: &'a ModelSource, context: Option<Tokens>) -> Planner<'a> {
        let (shapes, weights, added) = (HashMap::new(), HashMap::new(), HashMap::new());
        Planner { engines, source, context, shapes, always: None, weights, added }
    }

    /// Where the model comes from.
    pub fn source(&self) -> &ModelSource {
        self.source
    }

    /// Tokens that each sequence is to hold at the peak, where they were asked for.
    pub fn asked_context(&self) -> Option<Tokens> {
        self.context
    }

    /// Tokens that each sequence holds at the peak.
    pub fn context(&self, settings: &Settings) -> Tokens {
        self.context.unwrap_or(settings.max_kv_cache_capacity)
    }

    /// The engine of `build`.
    ///
    /// # Errors
    /// When there is no such engine, architecture or checkpoint, or it cannot be packed so.
    pub fn shape(&mut self, build: &BuildOptions) -> Result<&EngineShape, EngineError> {
        if !self.shapes.contains_key(build) {
            let shape = self.engines.shape(self.source, build, &mut self.always)?;
            self.shapes.insert(build.clone(), shape);
        }
        Ok(&self.shapes[build])
    }

    /// The whole plan of a configuration.
    ///
    /// # Errors
    /// When the engine cannot be had, or the settings contradict each other or the model.
    pub fn forecast(&mut self, configuration: &Configuration) -> Result<Forecast, EngineError> {
        self.shape(&configuration.build)?.forecast(&configuration.settings)
    }

    /// The peak of a configuration by class, with every sequence of its batch open.
    ///
    /// # Errors
    /// As [`Planner::forecast`].
    pub fn peak(&mut self, configuration: &Configuration) -> Result<Peak, EngineError> {
        let settings = &configuration.settings;
        let context = self.context(settings);
        Ok(self.forecast(configuration)?.peak(Phase::ALL, context, settings.max_batch_size))
    }

    /// The total of [`Planner::peak`], much faster.
    ///
    /// # Errors
    /// As [`Planner::forecast`].
    pub fn total(&mut self, configuration: &Configuration) -> Result<Bytes, EngineError> {
        Ok(self.weights(configuration)?.resident + self.beside_weights(configuration)?)
    }

    /// Where the weights are.
    ///
    /// # Errors
    /// As [`Planner::forecast`].
    pub fn weights(&mut self, configuration: &Configuration) -> Result<Weights, EngineError> {
        // What decides where a stripe is, and nothing else.
        let mut key = configuration.clone();
        let Settings { device, mtp, draft_vocab, weight_streaming_budget, .. } = configuration.settings;
        key.settings = Settings { device, mtp, draft_vocab, weight_streaming_budget, ..NEUTRAL };
        if let Some(known) = self.weights.get(&key) {
            return Ok(*known);
        }
        let options = runtime_options(&key.settings);
        let weights = weights_of(self.shape(&key.build)?, &options);
        self.weights.insert(key, weights);
        Ok(weights)
    }

    /// Everything but the weights, at the phase that needs most, the program included.
    ///
    /// # Errors
    /// As [`Planner::forecast`].
    pub fn beside_weights(&mut self, configuration: &Configuration) -> Result<Bytes, EngineError> {
        let mut unstreamed = configuration.clone();
        unstreamed.settings.weight_streaming_budget = WeightStreaming::Unset;
        let shape = self.shape(&configuration.build)?;
        // Of how the table is packed, only the length of its groups matters to an activation.
        let group_size = shape
            .segments
            .iter()
            .flat_map(|segment| &segment.tensors)
            .filter_map(|it| it.format.group_size())
            .min();
        let mut key = unstreamed.clone();
        key.build.lm_head = BuildOptions::default().lm_head;
        let key = (key, group_size);
        if let Some(known) = self.added.get(&key) {
            return Ok(*known);
        }
        let all = self.peak(&unstreamed)?.total;
        let added = all.saturating_sub(self.weights(&unstreamed)?.resident);
        self.added.insert(key, added);
        Ok(added)
    }
}

/// Settings that say nothing about weights.
const NEUTRAL: Settings = Settings {
    device: runtime::plan::DeviceChoice::Cpu,
    max_input_len: Tokens(1),
    max_kv_cache_capacity: Tokens(1),
    gdn_prefill_max_seq: Tokens(1),
    threads: crate::scenario::Threads::Count(1),
    kv_cache_type: crate::scenario::KvCacheType::F16,
    weights: crate::scenario::WeightPlacement::Mapped,
    mtp: false,
    max_verify_tree_size: RuntimeOptions::DEFAULT_VERIFY_TREE,
    draft_vocab: runtime::plan::DraftVocab::Full,
    weight_streaming_budget: WeightStreaming::Unset,
    max_batch_size: 1,
    precision: crate::scenario::Precision::Fast,
};

fn weights_of(shape: &EngineShape, options: &RuntimeOptions) -> Weights {
    let options = options.for_engine(&shape.segments);
    let Some(streaming) = Streaming::choose(&shape.segments, &options) else {
        let loaded = shape.segments.iter().filter(|segment| is_loaded(segment, &options));
        let resident = loaded.map(|segment| segment.bytes).sum();
        return Weights {
            resident,
            on_top: Bytes::ZERO,
            streamed_per_pass: Bytes::ZERO,
            streamed_per_draft: Bytes::ZERO,
            floor: resident,
        };
    };
    let draft = (0..shape.segments.len()).filter(|index| shape.segments[*index].role == Role::Draft);
    let draft = draft.filter_map(|index| streaming.segment(index)).flat_map(|segment| &segment.tensors);
    let on_top = match streaming.ring() {
        Some(ring) if ring.on_device > 0 => ring.host_bytes(),
        _ => Bytes::ZERO,
    };
    Weights {
        resident: streaming.resident + on_top,
        on_top,
        streamed_per_pass: streaming.streamed_per_token,
        streamed_per_draft: draft.map(|tensor| tensor.streamed).sum(),
        floor: streaming.floor,
    }
}
