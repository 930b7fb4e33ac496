//! A budget, checked once: after that its limits are of one kind, in order, and meaningful for its subject.

use std::fmt;

use ledger::{BufferClass, Bytes, Phase};
use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use crate::number::mib;
use crate::record::{BudgetLimit, BudgetRecord, BudgetSubject, CellRecord, GrowthOf, GrowthPer, schema};
use crate::scenario::Condition;

/// Parts of a whole that a share is kept in, so that 0.29 means 29 of 100 to the byte.
const PARTS: u64 = 1_000_000_000;

/// Where a budget ends. A value equal to the limit is within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// At most so many bytes.
    Bytes(#[schemars(with = "schema::Bytes")] Bytes),
    /// At most so many parts of 10⁹ of the resident memory at the same phase edge.
    ShareBillionths(u64),
}

impl Limit {
    /// True where `amount` is more than the limit allows.
    pub fn is_exceeded_by(self, amount: Amount) -> bool {
        match self {
            Limit::Bytes(limit) => amount.bytes > limit,
            Limit::ShareBillionths(parts) => {
                u128::from(amount.bytes.0) * u128::from(PARTS) > u128::from(amount.of.0) * u128::from(parts)
            }
        }
    }

    /// The limit in bytes where the whole is `of`; a share is rounded down.
    pub fn bytes_of(self, of: Bytes) -> Bytes {
        match self {
            Limit::Bytes(limit) => limit,
            Limit::ShareBillionths(parts) => {
                let bytes = u128::from(of.0) * u128::from(parts) / u128::from(PARTS);
                Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Bytes(bytes) => f.pad(&format!("{} MiB", mib(*bytes))),
            Limit::ShareBillionths(parts) => f.pad(&format!("{} %", *parts as f64 * 100.0 / PARTS as f64)),
        }
    }
}

/// A measured amount, and the whole that it is a part of. For a budget on the total both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Amount {
    /// The amount.
    #[serde(rename = "amount_bytes")]
    #[schemars(with = "schema::Bytes")]
    pub bytes: Bytes,
    /// Resident memory at the same moment, with the device memory of a target that holds some.
    #[serde(rename = "resident_bytes")]
    #[schemars(with = "schema::Bytes")]
    pub of: Bytes,
}

impl Amount {
    /// The part of the whole, from 0 to 1 and beyond. `None` where the whole is nothing.
    pub fn share(self) -> Option<f64> {
        (self.of > Bytes::ZERO).then(|| self.bytes.0 as f64 / self.of.0 as f64)
    }
}

/// What a budget limits. Written as words: `peak resident`, `kv_cache after decode`, `share of unaccounted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The highest resident memory of any phase.
    Total,
    /// The highest resident memory within one phase.
    PhasePeak(Phase),
    /// The most device memory of one phase, or of any.
    Device(Option<Phase>),
    /// Peak resident and peak device memory of one phase together, or of any.
    HostAndDevice(Option<Phase>),
    /// The same with the peaks of the co-residents, of one phase, or of any.
    Stack(Option<Phase>),
    /// The bytes of one class, at the edge of one phase or at their highest.
    Class(BufferClass, Option<Phase>),
    /// The share of one class in resident memory, at the edge of one phase or at their highest.
    ClassShare(BufferClass, Option<Phase>),
    /// What a token more takes. Limits of the budget are bytes for each token.
    Growth(GrowthOf, GrowthPer, Option<Phase>),
    /// Growth while nothing is asked, in one phase, or in any. Limits of the budget are bytes a minute.
    Leak(Option<Phase>),
    /// Growth from request to request. Limits of the budget are bytes for each request.
    Drift,
}

impl Subject {
    /// True for a limit on everything that is held in host memory, on a device, or in both.
    pub fn is_whole(self) -> bool {
        matches!(
            self,
            Subject::Total | Subject::Device(None) | Subject::HostAndDevice(None) | Subject::Stack(None)
        )
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Subject::Total => "peak resident".to_owned(),
            Subject::PhasePeak(phase) => format!("peak resident in {phase}"),
            Subject::Device(None) => "peak device memory".to_owned(),
            Subject::Device(Some(phase)) => format!("peak device memory in {phase}"),
            Subject::HostAndDevice(None) => "peak host and device".to_owned(),
            Subject::HostAndDevice(Some(phase)) => format!("peak host and device in {phase}"),
            Subject::Stack(None) => "peak of the whole stack".to_owned(),
            Subject::Stack(Some(phase)) => format!("peak of the whole stack in {phase}"),
            Subject::Class(class, None) => format!("{class}"),
            Subject::Class(class, Some(phase)) => format!("{class} after {phase}"),
            Subject::ClassShare(class, None) => format!("share of {class}"),
            Subject::ClassShare(class, Some(phase)) => format!("share of {class} after {phase}"),
            Subject::Growth(of, per, phase) => {
                let of = match of {
                    GrowthOf::Total => "peak resident".to_owned(),
                    GrowthOf::Device => "peak device memory".to_owned(),
                    GrowthOf::HostAndDevice => "peak host and device".to_owned(),
                    GrowthOf::Class(class) => class.to_string(),
                };
                let phase = phase.map_or(String::new(), |phase| format!(" in {phase}"));
                format!("growth of {of}{phase} with {}", per.axis().unwrap_or("context"))
            }
            Subject::Leak(None) => "leak".to_owned(),
            Subject::Leak(Some(phase)) => format!("leak in {phase}"),
            Subject::Drift => "drift".to_owned(),
        };
        f.pad(&text)
    }
}

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One budget that can be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Its name.
    pub id: String,
    /// The cells that it is for.
    pub when: Condition,
    /// What it limits.
    pub subject: Subject,
    /// Above this, a warning.
    pub warn: Option<Limit>,
    /// Above this, a failure.
    pub fail: Option<Limit>,
    /// Why this limit.
    pub why: String,
}

/// Why a budget cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BudgetError {
    /// Neither limit is given.
    #[error("the budget `{id}` has no limit; give it `warn`, `fail` or both")]
    NoLimit {
        /// The budget.
        id: String,
    },
    /// The warning limit lies above the failing one.
    #[error("the budget `{id}` would fail before it warns; `warn` must not be larger than `fail`")]
    WarnAboveFail {
        /// The budget.
        id: String,
    },
    /// One limit is a size and the other a share.
    #[error("the budget `{id}` mixes a size with a share; give both limits in the same kind")]
    MixedLimits {
        /// The budget.
        id: String,
    },
    /// A share outside of 0 to 1.
    #[error("the budget `{id}` has a share that is not from 0 to 1")]
    ShareOutOfRange {
        /// The budget.
        id: String,
    },
    /// A total as a share of itself.
    #[error("the budget `{id}` limits a total to a share of itself; give a size, or name a class")]
    ShareOfTotal {
        /// The budget.
        id: String,
    },
}

impl Budget {
    /// Checks what a scenario says.
    pub fn check(record: &BudgetRecord) -> Result<Budget, BudgetError> {
        let id = || record.id.clone();
        let limit = |limit: BudgetLimit| match limit {
            BudgetLimit::Bytes(bytes) => Ok(Limit::Bytes(bytes)),
            BudgetLimit::Share(share) if (0.0..=1.0).contains(&share) => {
                Ok(Limit::ShareBillionths((share * PARTS as f64).round() as u64))
            }
            BudgetLimit::Share(_) => Err(BudgetError::ShareOutOfRange { id: id() }),
        };
        let warn = record.warn.map(limit).transpose()?;
        let fail = record.fail.map(limit).transpose()?;
        let is_share = match (warn, fail) {
            (None, None) => return Err(BudgetError::NoLimit { id: id() }),
            (Some(Limit::Bytes(warn)), Some(Limit::Bytes(fail))) if warn > fail => {
                return Err(BudgetError::WarnAboveFail { id: id() });
            }
            (Some(Limit::ShareBillionths(warn)), Some(Limit::ShareBillionths(fail))) if warn > fail => {
                return Err(BudgetError::WarnAboveFail { id: id() });
            }
            (Some(Limit::Bytes(_)), Some(Limit::ShareBillionths(_)))
            | (Some(Limit::ShareBillionths(_)), Some(Limit::Bytes(_))) => {
                return Err(BudgetError::MixedLimits { id: id() });
            }
            (Some(limit), _) | (None, Some(limit)) => matches!(limit, Limit::ShareBillionths(_)),
        };
        let subject = match (record.subject, record.phase, is_share) {
            (
                BudgetSubject::Total
                | BudgetSubject::Device
                | BudgetSubject::HostAndDevice
                | BudgetSubject::Stack
                | BudgetSubject::Growth { .. }
                | BudgetSubject::Leak
                | BudgetSubject::Drift,
                _,
                true,
            ) => {
                return Err(BudgetError::ShareOfTotal { id: id() });
            }
            (BudgetSubject::Device, phase, false) => Subject::Device(phase),
            (BudgetSubject::Stack, phase, false) => Subject::Stack(phase),
            (BudgetSubject::HostAndDevice, phase, false) => Subject::HostAndDevice(phase),
            (BudgetSubject::Total, None, false) => Subject::Total,
            (BudgetSubject::Total, Some(phase), false) => Subject::PhasePeak(phase),
            (BudgetSubject::Growth { of, per }, phase, false) => Subject::Growth(of, per, phase),
            (BudgetSubject::Leak, phase, false) => Subject::Leak(phase),
            (BudgetSubject::Drift, _, false) => Subject::Drift,
            (BudgetSubject::Class(class), phase, false) => Subject::Class(class, phase),
            (BudgetSubject::Class(class), phase, true) => Subject::ClassShare(class, phase),
        };
        Ok(Budget { id: id(), when: record.when.clone(), subject, warn, fail, why: record.why.clone() })
    }

    /// True where the budget is for `cell`.
    pub fn is_for(&self, cell: &CellRecord) -> bool {
        cell.matches(&self.when)
    }

    /// The limit that decides: the failing one, else the warning one. A checked budget has one of them.
    pub fn decisive(&self) -> Option<Limit> {
        self.fail.or(self.warn)
    }

    /// A limit in words: a growth has one for each step.
    pub fn limit_in_words(&self, limit: Limit) -> String {
        let each = match self.subject {
            Subject::Growth(..) => "token",
            Subject::Leak(_) => "minute",
            Subject::Drift => "request",
            _ => return limit.to_string(),
        };
        format!("{} a {each}", limit.bytes_of(Bytes(u64::MAX)))
    }

    /// True where the budget is about the whole resident memory, so that its limit can be drawn in a chart of it.
    pub fn is_total(&self) -> bool {
        matches!(self.subject, Subject::Total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(subject: BudgetSubject, warn: Option<BudgetLimit>, fail: Option<BudgetLimit>) -> BudgetRecord {
        BudgetRecord {
            id: "b".to_owned(),
            when: Condition::default(),
            subject,
            phase: None,
            warn,
            fail,
            why: "for a test".to_owned(),
        }
    }

    #[test]
    fn limits_must_make_sense() {
        let size = |n| Some(BudgetLimit::Bytes(Bytes(n)));
        let share = |part| Some(BudgetLimit::Share(part));
        let class = BudgetSubject::Class(BufferClass::Unaccounted);
        let check =
            |subject, warn, fail| Budget::check(&record(subject, warn, fail)).map(|budget| budget.subject);
        let id = || "b".to_owned();
        assert_eq!(check(BudgetSubject::Total, None, None), Err(BudgetError::NoLimit { id: id() }));
        assert_eq!(check(class, size(2), size(1)), Err(BudgetError::WarnAboveFail { id: id() }));
        assert_eq!(check(class, share(0.2), share(0.1)), Err(BudgetError::WarnAboveFail { id: id() }));
        assert_eq!(check(class, size(1), share(0.1)), Err(BudgetError::MixedLimits { id: id() }));
        assert_eq!(check(class, None, share(f64::NAN)), Err(BudgetError::ShareOutOfRange { id: id() }));
        assert_eq!(check(class, None, share(1.01)), Err(BudgetError::ShareOutOfRange { id: id() }));
        assert_eq!(
            check(BudgetSubject::Total, None, share(0.1)),
            Err(BudgetError::ShareOfTotal { id: id() })
        );
        assert_eq!(check(class, size(1), size(1)), Ok(Subject::Class(BufferClass::Unaccounted, None)));
        assert_eq!(check(class, share(0.1), None), Ok(Subject::ClassShare(BufferClass::Unaccounted, None)));
    }

    #[test]
    fn equal_to_the_limit_is_within_it() {
        let amount = |bytes, of| Amount { bytes: Bytes(bytes), of: Bytes(of) };
        assert!(!Limit::Bytes(Bytes(100)).is_exceeded_by(amount(100, 100)));
        assert!(Limit::Bytes(Bytes(100)).is_exceeded_by(amount(101, 101)));
        for percent in 0..=100_u64 {
            let limit = Budget::check(&record(
                BudgetSubject::Class(BufferClass::Unaccounted),
                None,
                Some(BudgetLimit::Share(percent as f64 / 100.0)),
            ))
            .unwrap()
            .fail
            .unwrap();
            assert!(!limit.is_exceeded_by(amount(percent << 30, 100 << 30)), "{percent} %");
            assert!(limit.is_exceeded_by(amount((percent << 30) + 1, 100 << 30)), "{percent} % and a byte");
        }
    }
}
