//! What a configuration gives up or takes, one knob after the other, and the bytes of each step. The steps add up to the
//! difference from the defaults.

use serde::Serialize;

use super::planner::{Configuration, Planner};
use crate::engines::EngineError;
use crate::scenario::{BuildOptions, SettingsDraft};

/// One knob that does not stand at its default.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trade {
    /// The knob.
    pub knob: &'static str,
    /// Its default.
    pub from: String,
    /// Its value.
    pub to: String,
    /// By how much the predicted peak changes: below zero is saved.
    pub bytes: i64,
}

/// The knobs in the order in which they are turned: drafting settings follow the switch that makes them count, and streaming
/// comes last, for it takes what the others leave.
const ORDER: [&str; 9] = [
    "lmHead",
    "vocab",
    "kvCacheType",
    "mtp",
    "maxVerifyTreeSize",
    "draftVocab",
    "maxBatchSize",
    "gdnPrefillMaxSeq",
    "weightStreamingBudget",
];

/// What tells `configuration` from the defaults at its own lengths.
///
/// # Errors
/// When the model cannot be had.
pub fn trades(planner: &mut Planner<'_>, configuration: &Configuration) -> Result<Vec<Trade>, EngineError> {
    let built = planner.source().is_engine();
    let mut wanted = configuration.build.to_map();
    wanted.extend(configuration.settings.to_map());
    let (mut build, mut settings) = (BuildOptions::default(), SettingsDraft::default());
    for (knob, value) in wanted.iter().filter(|(knob, _)| !ORDER.contains(&knob.as_str())) {
        let _ = settings.set(knob, value).or_else(|| build.set(knob, value));
    }
    let whole = |build: &BuildOptions, settings: SettingsDraft| Configuration {
        build: build.clone(),
        settings: settings.resolve(super::search::OUTPUT_ROOM),
    };
    let mut trades = Vec::new();
    let mut before = whole(&build, settings);
    let mut total = planner.total(&before)?;
    for knob in ORDER {
        let (Some(to), false) = (wanted.get(knob), built && matches!(knob, "lmHead" | "vocab")) else {
            continue;
        };
        let mut known = before.build.to_map();
        known.extend(before.settings.to_map());
        let from = known.remove(knob).unwrap_or_default();
        if from == *to || is_idle(knob, configuration) {
            continue;
        }
        let _ = settings.set(knob, to).or_else(|| build.set(knob, to));
        let after = whole(&build, settings);
        let next = planner.total(&after)?;
        trades.push(Trade { knob, from, to: to.clone(), bytes: next.signed_difference(total) });
        (before, total) = (after, next);
    }
    Ok(trades)
}

/// True for what means nothing where no draft is made.
fn is_idle(knob: &str, configuration: &Configuration) -> bool {
    !configuration.settings.mtp && matches!(knob, "maxVerifyTreeSize" | "draftVocab")
}

impl Trade {
    /// The knob and its value, short: `int4 table`, `vocab 64k`, `mtp`.
    pub fn label(&self) -> String {
        match self.knob {
            "lmHead" => format!("{} table", self.to),
            "vocab" => format!("vocab {}", self.to),
            "kvCacheType" => format!("{} KV", self.to),
            "mtp" => "mtp".to_owned(),
            "maxVerifyTreeSize" => format!("verify {}", self.to),
            "draftVocab" => format!("draft {}", self.to),
            "maxBatchSize" => format!("batch {}", self.to),
            "gdnPrefillMaxSeq" => format!("chunk {}", self.to),
            "weightStreamingBudget" => format!("stream {}", self.to),
            knob => format!("{knob} {}", self.to),
        }
    }
}
