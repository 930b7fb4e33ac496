//! Shards: parts of a scenario's cells, each for another machine, and the run that they are joined into.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{CellRecord, EnvironmentRecord};

/// More machines than anybody has, so that a slip of the finger is one.
const MOST: u32 = 1000;

/// One part of a scenario's cells: `1/3` is the first of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Shard {
    number: u32,
    of: u32,
}

/// A text is no shard.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no shard: NUMBER/OF is, where NUMBER is from 1 to OF, and OF at most {MOST}: 1/3")]
pub struct NoShard(String);

impl Shard {
    /// Which one, from 1.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// How many there are, this one included.
    pub const fn of(self) -> u32 {
        self.of
    }

    /// Every shard of the same division, in order.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        (1..=self.of).map(move |number| Shard { number, ..self })
    }
}

impl FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Shard, NoShard> {
        let part = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        let parts = text.split_once('/').and_then(|(number, of)| Some((part(number)?, part(of)?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) && of <= MOST => Ok(Shard { number, of }),
            _ => Err(NoShard(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = NoShard;

    fn try_from(text: String) -> Result<Shard, NoShard> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// What the record of a shard says beside that of a whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Which one.
    pub shard: Shard,
    /// The machine when the shard began: one without cells has no trial that could say it.
    pub environment: EnvironmentRecord,
    /// The scenario's other cells, in the order of the axes.
    pub elsewhere: Vec<CellElsewhere>,
}

/// A cell that another shard runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellElsewhere {
    /// The cell's place among all cells of the scenario, from 0, in the order of the axes.
    pub place: usize,
    /// The shard that runs it.
    pub shard: Shard,
    /// The cell.
    pub cell: CellRecord,
}

/// A shard that a run was joined from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MergedShard {
    /// Which one.
    pub shard: Shard,
    /// The name of its run folder.
    pub run: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339. `None` where it was killed.
    pub finished_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_a_number() {
        for text in ["1/1", "1/3", "3/3", "1000/1000"] {
            assert_eq!(text.parse::<Shard>().map(|shard| shard.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "0/3", "4/3", "a/b", "1", "1/", "/3", "1/0", "0/0", "-1/3", "+1/3", "1/3/5", "1 /3", "1/1001", "",
        ] {
            let error = text.parse::<Shard>().expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
        let all: Vec<String> = "2/3".parse::<Shard>().expect("a shard").all().map(String::from).collect();
        assert_eq!(all, ["1/3", "2/3", "3/3"]);
    }
}
