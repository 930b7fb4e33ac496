//! The rule: what was promised against what came of it.

use std::fmt;

use ledger::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::{grouped, mib, signed_mib};
use crate::verdict::Word;

/// A promise below this is none: nobody sets a knob for it.
pub const LEAST_PROMISE: Bytes = Bytes::mib(1);

/// What the program's own memory may move from run to run, whatever the knob.
pub const NOISE: Bytes = Bytes::mib(2);

/// The same as a part of the promise: large changes touch more of the allocator and the page tables.
pub const NOISE_SHARE: f64 = 0.03;

/// However large the noise is beside a small promise, so much of it must be seen.
const LEAST_SEEN: f64 = 0.5;

/// How a lever did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LeverWord {
    /// The plan itself promises nothing, and nothing moved.
    #[serde(rename = "inert")]
    Inert,
    /// It moved what the plan promises.
    #[serde(rename = "works")]
    Works,
    /// Not measured, or not well enough to decide.
    #[serde(rename = "INCONCLUSIVE")]
    Inconclusive,
    /// It moved less than it promised, or cost more.
    #[serde(rename = "fails")]
    Fails,
}

impl LeverWord {
    /// The word as it stands in files and on screens.
    pub const fn text(self) -> &'static str {
        match self {
            LeverWord::Inert => "inert",
            LeverWord::Works => "works",
            LeverWord::Inconclusive => "INCONCLUSIVE",
            LeverWord::Fails => "fails",
        }
    }

    /// What it means for the run. An inert lever was expected to be so.
    pub const fn word(self) -> Word {
        match self {
            LeverWord::Inert => Word::NoBudget,
            LeverWord::Works => Word::Pass,
            LeverWord::Inconclusive => Word::Inconclusive,
            LeverWord::Fails => Word::Fail,
        }
    }
}

impl fmt::Display for LeverWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// By how much a measured change may miss `expected` without anything being wrong: the larger of 2 MiB and 3 %.
pub fn tolerance(expected: i64) -> Bytes {
    let share = expected.unsigned_abs() as f64 * NOISE_SHARE;
    NOISE.max(Bytes(share as u64))
}

/// The least saving that is as good as `promised`, for a lever that works above the part `works_above` of it.
pub fn least_saving(promised: Bytes, works_above: f64) -> Bytes {
    let promised_bytes = promised.0 as f64;
    let wanted = promised_bytes * works_above - tolerance(promised.0 as i64).0 as f64;
    Bytes(wanted.max(promised_bytes * works_above.min(LEAST_SEEN)) as u64)
}

/// Judges a change that was measured by the one that the plan promises: below zero is saved, above it is taken. The reason is
/// there where the word alone does not say it.
pub fn decide(expected: i64, measured: i64, works_above: f64) -> (LeverWord, Option<String>) {
    let promised = Bytes(expected.unsigned_abs());
    let tolerance = tolerance(expected);
    let moved = Bytes(measured.unsigned_abs());
    if promised < LEAST_PROMISE {
        return nothing_promised(expected, measured, tolerance);
    }
    if expected > 0 {
        let most = expected.saturating_add(tolerance.0 as i64);
        return if measured > most {
            let why = format!(
                "it takes {} MiB, and the plan says {} MiB; the program's own memory explains {} MiB of the difference",
                mib(moved),
                mib(promised),
                mib(tolerance)
            );
            (LeverWord::Fails, Some(why))
        } else if measured < expected.saturating_sub(tolerance.0 as i64) {
            let less = Bytes(expected.saturating_sub(measured).unsigned_abs());
            (LeverWord::Works, Some(format!("it takes {} MiB less than planned", mib(less))))
        } else {
            (LeverWord::Works, None)
        };
    }
    let least = least_saving(promised, works_above);
    let saved = Bytes(measured.min(0).unsigned_abs());
    if saved >= least {
        return (LeverWord::Works, None);
    }
    let share = grouped(saved.0 as f64 * 100.0 / promised.0 as f64, 0);
    let why = match measured {
        0.. => format!(
            "it saves nothing ({} MiB) of the {} MiB that the plan promises",
            signed_mib(measured),
            mib(promised)
        ),
        _ => format!(
            "it saves {} of the {} MiB that the plan promises ({share} %); from {} MiB on it would work",
            mib(saved),
            mib(promised),
            mib(least)
        ),
    };
    (LeverWord::Fails, Some(why))
}

fn nothing_promised(expected: i64, measured: i64, tolerance: Bytes) -> (LeverWord, Option<String>) {
    let promise = match expected {
        0 => "the plan promises no change".to_owned(),
        some => format!("the plan promises next to nothing ({} MiB)", signed_mib(some)),
    };
    let beyond = measured.saturating_sub(expected);
    match beyond {
        beyond if beyond.unsigned_abs() <= tolerance.0 => (LeverWord::Inert, Some(promise)),
        1.. => {
            let why = format!("{promise}, and it takes {} MiB", mib(Bytes(measured.unsigned_abs())));
            (LeverWord::Fails, Some(why))
        }
        _ => {
            let saved = mib(Bytes(measured.unsigned_abs()));
            let why = format!("{promise}, and it saves {saved} MiB: what moved is not in the plan");
            (LeverWord::Inconclusive, Some(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    fn word(expected: i64, measured: i64) -> LeverWord {
        decide(expected, measured, 0.9).0
    }

    #[test]
    fn a_saving_must_come_to_nine_tenths_less_the_noise() {
        // Nine tenths of 1000 MiB, less 3 %, are 870 MiB.
        assert_eq!(word(-1000 * MIB, -1000 * MIB), LeverWord::Works);
        assert_eq!(word(-1000 * MIB, -870 * MIB), LeverWord::Works);
        assert_eq!(word(-1000 * MIB, -869 * MIB), LeverWord::Fails);
        assert_eq!(word(-1000 * MIB, 0), LeverWord::Fails);
        assert_eq!(word(-1000 * MIB, 50 * MIB), LeverWord::Fails);
        assert_eq!(word(-1000 * MIB, -1500 * MIB), LeverWord::Works);
        assert_eq!(decide(-1000 * MIB, -500 * MIB, 0.5).0, LeverWord::Works);
    }

    #[test]
    fn noise_does_not_swallow_a_small_promise() {
        assert_eq!(word(-2 * MIB, -MIB), LeverWord::Works);
        assert_eq!(word(-2 * MIB, -MIB + 1), LeverWord::Fails);
        assert_eq!(word(-2 * MIB, 0), LeverWord::Fails);
    }

    #[test]
    fn a_cost_must_not_exceed_its_promise() {
        assert_eq!(word(85 * MIB, 85 * MIB), LeverWord::Works);
        assert_eq!(word(85 * MIB, 85 * MIB + tolerance(85 * MIB).0 as i64), LeverWord::Works);
        assert_eq!(word(85 * MIB, 86 * MIB + tolerance(85 * MIB).0 as i64), LeverWord::Fails);
        let (word, reason) = decide(85 * MIB, 10 * MIB, 0.9);
        assert_eq!(
            (word, reason.as_deref()),
            (LeverWord::Works, Some("it takes 75.0 MiB less than planned"))
        );
    }

    #[test]
    fn a_lever_without_a_promise_is_inert_only_where_nothing_moved() {
        assert_eq!(word(0, 0), LeverWord::Inert);
        assert_eq!(word(-MIB + 1, 2 * MIB - MIB), LeverWord::Inert);
        assert_eq!(word(0, 2 * MIB), LeverWord::Inert);
        assert_eq!(word(0, 2 * MIB + 1), LeverWord::Fails);
        assert_eq!(word(0, -300 * MIB), LeverWord::Inconclusive);
        assert!(decide(0, 0, 0.9).1.is_some_and(|reason| reason == "the plan promises no change"));
    }

    #[test]
    fn extremes_do_not_overflow() {
        for expected in [i64::MIN, -1, 0, 1, i64::MAX] {
            for measured in [i64::MIN, -1, 0, 1, i64::MAX] {
                let _ = decide(expected, measured, 1.0);
            }
        }
    }
}
