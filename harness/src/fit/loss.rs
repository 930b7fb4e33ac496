//! What a configuration costs in quality: measured where there is a record, assumed where there is none.
//!
//! The figure is the mean Kullback-Leibler divergence from the exact path, in nats a token; the losses of several knobs are
//! added. What is assumed is an order more than a size:
//!
//! | knob | assumed loss |
//! | --- | --- |
//! | `lmHead: int8` | 0.0002: nearly nothing |
//! | `kvCacheType: int8` | 0.001: small |
//! | `lmHead: int4` | 0.008 |
//! | `vocab`, `R` rows | `-ln(1 - 0.01 · (131072 / R)^1.4)`: the share of text that the dropped rows would have written |
//!
//! Everything else that the search turns changes no score.

use std::collections::BTreeMap;

use serde::Serialize;

use super::planner::Configuration;
use crate::engines::BuiltinEngines;
use crate::scenario::{BuildOptions, KvCacheType, LmHead, ModelSource, Vocab};

/// Losses that differ by less are the same to a reader: time decides between them.
pub const STEP: f64 = 0.001;

/// A loss, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Loss {
    /// Mean divergence, in nats a token.
    pub kl_nats: f64,
    /// True where every part of it was measured.
    pub measured: bool,
}

/// Where measured losses are found.
pub trait QualityRecords {
    /// The mean divergence that `knob` costs at `value`, in nats a token, as both are spelled in scenario files.
    fn quality(&self, knob: &str, value: &str) -> Option<f64>;
}

/// Nothing has been measured: every loss is assumed.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecords;

impl QualityRecords for NoRecords {
    fn quality(&self, _knob: &str, _value: &str) -> Option<f64> {
        None
    }
}

/// What `sweep explain` has measured for the engines of one model, read once: a search asks for it thousands of times.
#[derive(Debug, Clone, Default)]
pub struct ExplainedQuality {
    losses: BTreeMap<(&'static str, &'static str), f64>,
}

impl ExplainedQuality {
    /// The records beside the engines of `source` that are built.
    pub fn of(engines: &BuiltinEngines, source: &ModelSource) -> ExplainedQuality {
        let heads = [LmHead::F16, LmHead::Int8, LmHead::Int4].map(|value| ("lmHead", value.name()));
        let caches = [KvCacheType::F16, KvCacheType::Int8].map(|value| ("kvCacheType", value.name()));
        let measured = heads.into_iter().chain(caches).filter_map(|(knob, value)| {
            let record = engines.quality(source, &BuildOptions::default(), knob, value)?;
            Some(((knob, value), record.mean_kl_nats))
        });
        ExplainedQuality { losses: measured.collect() }
    }
}

impl QualityRecords for ExplainedQuality {
    fn quality(&self, knob: &str, value: &str) -> Option<f64> {
        let found = self.losses.iter().find(|((of, at), _)| (*of, *at) == (knob, value));
        found.map(|(_, loss)| *loss)
    }
}

/// The share of text that a vocabulary of `rows`, of `all`, can write; assumed.
pub fn coverage(rows: usize, all: usize) -> f64 {
    const MISSING_AT_128K: f64 = 0.01;
    const FALL: f64 = 1.4;
    if rows >= all {
        return 1.0;
    }
    let missing = MISSING_AT_128K * (131_072.0 / rows as f64).powf(FALL);
    1.0 - missing.min(0.99)
}

impl Loss {
    /// The loss of `configuration`, of whose engine `rows` of `all` are kept. Where the engine is `built` already, its own loss is
    /// given, and left out.
    pub fn of(
        configuration: &Configuration,
        rows: usize,
        all: usize,
        built: bool,
        records: &dyn QualityRecords,
    ) -> Loss {
        let Configuration { build, settings } = configuration;
        let vocabulary = if build.vocab == Vocab::Full { 0.0 } else { -coverage(rows, all).ln() };
        let (head, cache) = (build.lm_head.name(), settings.kv_cache_type.name());
        let of_target = [("kvCacheType", cache.to_owned(), assumed("kvCacheType", cache))];
        let of_engine = [
            ("lmHead", head.to_owned(), assumed("lmHead", head)),
            ("vocab", build.vocab.to_string(), vocabulary),
        ];
        let mut loss = Loss { kl_nats: 0.0, measured: true };
        for (knob, value, assumed) in of_target.into_iter().chain(of_engine.into_iter().filter(|_| !built)) {
            let measured = records.quality(knob, &value);
            loss.kl_nats += measured.unwrap_or(assumed);
            // What is exact by definition needs no measurement.
            loss.measured &= measured.is_some() || assumed == 0.0;
        }
        loss
    }

    /// Steps of [`STEP`] above nothing: what configurations are ordered by.
    pub fn steps(&self) -> u64 {
        // A thousandth of a step more, so that a loss that is a whole number of steps is not rounded below it.
        (self.kl_nats / STEP + 1e-3).floor() as u64
    }
}

fn assumed(knob: &str, value: &str) -> f64 {
    match (knob, value) {
        ("lmHead", "int8") => 0.0002,
        ("lmHead", "int4") => 0.008,
        ("kvCacheType", "int8") => 0.001,
        _ => 0.0,
    }
}
