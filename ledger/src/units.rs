//! Sizes, times and counts as types, so that no bare integer holds a size.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A size in bytes. Prints in binary units with one decimal, and parses only with a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Binary units, largest first, with their size in bytes.
const BINARY_UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Bytes {
    /// Nothing.
    pub const ZERO: Bytes = Bytes(0);

    /// `count` KiB.
    pub const fn kib(count: u64) -> Bytes {
        Bytes(count << 10)
    }

    /// `count` MiB.
    pub const fn mib(count: u64) -> Bytes {
        Bytes(count << 20)
    }

    /// `count` GiB.
    pub const fn gib(count: u64) -> Bytes {
        Bytes(count << 30)
    }

    /// The size in MiB, for tables and charts.
    pub fn as_mib(self) -> f64 {
        self.0 as f64 / (1 << 20) as f64
    }

    /// The smallest multiple of `alignment` that holds `self`. `alignment` must be a power of two.
    pub const fn round_up(self, alignment: u64) -> Bytes {
        Bytes((self.0 + alignment - 1) & !(alignment - 1))
    }

    /// `self - other`, or zero where `other` is larger.
    pub const fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }

    /// `self - other` with its sign.
    pub const fn signed_difference(self, other: Bytes) -> i64 {
        self.0 as i64 - other.0 as i64
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in BINARY_UNITS {
            if self.0 >= size {
                return f.pad(&format!("{:.1} {unit}", self.0 as f64 / size as f64));
            }
        }
        f.pad(&format!("{} B", self.0))
    }
}

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseBytesError {
    /// There is a number and no unit behind it.
    UnitMissing,
    /// The unit is not one that is known, for example `MB`, which means two sizes to two readers.
    UnitUnknown(String),
    /// The number cannot be read, is negative, or is too large.
    NumberInvalid,
}

impl fmt::Display for ParseBytesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseBytesError::UnitMissing => f.write_str("a size needs a unit: B, KiB, MiB, GiB or TiB"),
            ParseBytesError::UnitUnknown(unit) => {
                write!(f, "unknown unit `{unit}`: write B, KiB, MiB, GiB or TiB (powers of 1024)")
            }
            ParseBytesError::NumberInvalid => {
                f.write_str("a size is a number with a unit, for example 512 MiB")
            }
        }
    }
}

impl std::error::Error for ParseBytesError {}

impl FromStr for Bytes {
    type Err = ParseBytesError;

    fn from_str(text: &str) -> Result<Bytes, ParseBytesError> {
        let text = text.trim();
        let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
        let (number, unit) = (text[..split].replace('_', ""), text[split..].trim());
        let number: f64 = number.parse().map_err(|_| ParseBytesError::NumberInvalid)?;
        let size = match unit {
            "" => return Err(ParseBytesError::UnitMissing),
            "B" => 1,
            _ => BINARY_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, size)| *size)
                .ok_or_else(|| ParseBytesError::UnitUnknown(unit.to_owned()))?,
        };
        let bytes = number * size as f64;
        if !(0.0..=(1_u64 << 60) as f64).contains(&bytes) {
            return Err(ParseBytesError::NumberInvalid);
        }
        Ok(Bytes(bytes.round() as u64))
    }
}

impl Add for Bytes {
    type Output = Bytes;
    fn add(self, other: Bytes) -> Bytes {
        Bytes(self.0 + other.0)
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Bytes) {
        self.0 += other.0;
    }
}

impl Sub for Bytes {
    type Output = Bytes;
    fn sub(self, other: Bytes) -> Bytes {
        Bytes(self.0 - other.0)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(sizes: I) -> Bytes {
        Bytes(sizes.map(|size| size.0).sum())
    }
}

/// A duration or a point in time, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub f64);

/// A duration or a point in time, in whole microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// The same time in milliseconds.
    pub fn as_millis(self) -> Millis {
        Millis(self.0 as f64 / 1000.0)
    }
}

/// A count of tokens, or a position in a sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_in_binary_units_with_one_decimal() {
        assert_eq!(Bytes(999).to_string(), "999 B");
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes::gib(3).to_string(), "3.0 GiB");
        assert_eq!(format!("{:>9}", Bytes::mib(12)), " 12.0 MiB");
    }

    #[test]
    fn sizes_parse_only_with_a_unit() {
        assert_eq!("512 MiB".parse(), Ok(Bytes::mib(512)));
        assert_eq!("1.5GiB".parse(), Ok(Bytes::mib(1536)));
        assert_eq!("2_048 B".parse(), Ok(Bytes(2048)));
        assert_eq!("512".parse::<Bytes>(), Err(ParseBytesError::UnitMissing));
        assert_eq!("512 MB".parse::<Bytes>(), Err(ParseBytesError::UnitUnknown("MB".into())));
        assert_eq!("-1 MiB".parse::<Bytes>(), Err(ParseBytesError::NumberInvalid));
        assert_eq!("99999999 TiB".parse::<Bytes>(), Err(ParseBytesError::NumberInvalid));
    }
}
