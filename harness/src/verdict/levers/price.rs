//! Memory against speed: what a lever costs, or what it buys.

use ledger::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use super::rule::NOISE;
use crate::number::grouped;
use crate::record::Reading;

/// Speeds that differ by less than this part are the same: they scatter as much between two runs of one cell.
const SAME_SPEED: f64 = 0.03;

/// What memory was exchanged for, in decoded tokens per second.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Price {
    /// No memory moved beyond what the program's own does, so that there is nothing to pay for.
    NothingMoved,
    /// Memory was saved and speed lost: MiB for each lost token per second.
    SavedPerLost(f64),
    /// Memory was saved, and the speed is the same.
    Free,
    /// Memory was saved, and it is faster: by so many tokens per second.
    Gains(f64),
    /// Memory was taken, and it is faster: MiB for each gained token per second.
    TakenPerGained(f64),
    /// Memory was taken, and the speed is the same.
    BuysNothing,
    /// Memory was taken, and it is slower: by so many tokens per second.
    Loses(f64),
    /// Why it cannot be said.
    Unknown(String),
}

impl Price {
    /// The price of a change of memory by `measured` bytes, from the speed `before` to the speed `after`.
    pub fn of(measured: &Reading<i64>, before: &Reading<f64>, after: &Reading<f64>) -> Price {
        let (bytes, before, after) = match (measured, before, after) {
            (Reading::Measured(bytes), Reading::Measured(before), Reading::Measured(after)) => {
                (*bytes, *before, *after)
            }
            (Reading::Unavailable(why), ..) => return Price::Unknown(why.clone()),
            (_, Reading::Unavailable(why), _) | (.., Reading::Unavailable(why)) => {
                return Price::Unknown(why.clone());
            }
        };
        let moved = Bytes(bytes.unsigned_abs());
        let gained = after - before;
        let same = gained.abs() <= before.abs() * SAME_SPEED;
        match (moved <= NOISE, bytes < 0, same) {
            (true, ..) => Price::NothingMoved,
            (_, true, true) => Price::Free,
            (_, true, _) if gained > 0.0 => Price::Gains(gained),
            (_, true, _) => Price::SavedPerLost(moved.as_mib() / -gained),
            (_, false, true) => Price::BuysNothing,
            (_, false, _) if gained > 0.0 => Price::TakenPerGained(moved.as_mib() / gained),
            (_, false, _) => Price::Loses(-gained),
        }
    }

    /// In words, for tables.
    pub fn words(&self) -> String {
        match self {
            Price::NothingMoved => "–".to_owned(),
            Price::SavedPerLost(mib) => format!("{} MiB per lost tok/s", grouped(*mib, 1)),
            Price::Free => "free".to_owned(),
            Price::Gains(speed) => format!("gains {} tok/s", grouped(*speed, 2)),
            Price::TakenPerGained(mib) => format!("{} MiB per gained tok/s", grouped(*mib, 1)),
            Price::BuysNothing => "buys nothing".to_owned(),
            Price::Loses(speed) => format!("loses {} tok/s, too", grouped(*speed, 2)),
            Price::Unknown(_) => "n/a".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(mib: i64, before: f64, after: f64) -> String {
        Price::of(&Reading::Measured(mib << 20), &Reading::Measured(before), &Reading::Measured(after))
            .words()
    }

    #[test]
    fn every_exchange_has_its_words() {
        assert_eq!(words(-300, 8.0, 6.5), "200.0 MiB per lost tok/s");
        assert_eq!(words(-300, 8.0, 7.9), "free");
        assert_eq!(words(-300, 8.0, 9.0), "gains 1.00 tok/s");
        assert_eq!(words(90, 8.0, 11.0), "30.0 MiB per gained tok/s");
        assert_eq!(words(90, 8.0, 8.1), "buys nothing");
        assert_eq!(words(90, 8.0, 6.0), "loses 2.00 tok/s, too");
        assert_eq!(words(2, 8.0, 6.0), "–");
        let unknown = Price::of(
            &Reading::Measured(1 << 30),
            &Reading::Unavailable("no request was timed".to_owned()),
            &Reading::Measured(1.0),
        );
        assert_eq!(unknown, Price::Unknown("no request was timed".to_owned()));
    }
}
