//! Sizes, durations and shares as people write them: a number and its unit, never a bare number.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ledger::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A size with its unit, for example `512 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub Bytes);

/// A duration with its unit, for example `300 ms`, `10 s` or `2 min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// Growth while nothing is asked, for example `1 MiB/min` or `64 KiB/s`. Held in bytes a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeakRate(pub Bytes);

/// Growth from request to request, for example `64 KiB/request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriftRate(pub Bytes);

/// A temperature with its unit, for example `55 °C`. Held in thousandths of a degree Celsius.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Temperature(pub i64);

/// A part of a whole with its unit, for example `3 %`. Held as a fraction from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

/// Bytes a second with their unit, for example `2 GiB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(pub(super) Bytes);

/// Why a text is not what its place in the file asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a size.
    #[error("{0}")]
    Size(String),
    /// Not a duration.
    #[error("a duration needs a number and a unit: us, ms, s or min, for example 300 ms")]
    Period,
    /// A duration that no phase can have.
    #[error("a duration must be at least 1 us and at most 24 h")]
    PeriodOutOfRange,
    /// Not so many bytes a second.
    #[error("a rate is a size a second, for example 2 GiB/s")]
    Rate,
    /// Not a size for some time.
    #[error("a leak is a size for some time, for example 1 MiB/min or 64 KiB/s")]
    LeakRate,
    /// Not a size for a request.
    #[error("a drift is a size for each request, for example 64 KiB/request")]
    DriftRate,
    /// Not a temperature.
    #[error("a temperature is a number from 0 to 150 with its unit, for example 55 °C")]
    Temperature,
    /// Not a share.
    #[error("a share is a number from 0 to 100 with a percent sign, for example 3 %")]
    Share,
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Size, UnitError> {
        text.parse()
            .map(Size)
            .map_err(|error: ledger::units::ParseBytesError| UnitError::Size(error.to_string()))
    }
}

/// Splits `12.5 ms` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let number: f64 = text[..split].parse().ok()?;
    Some((number, text[split..].trim()))
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Period, UnitError> {
        let (number, unit) = number_and_unit(text).ok_or(UnitError::Period)?;
        let seconds = match unit {
            "us" => number / 1e6,
            "ms" => number / 1e3,
            "s" => number,
            "min" => number * 60.0,
            _ => return Err(UnitError::Period),
        };
        if !(1e-6..=86_400.0).contains(&seconds) {
            return Err(UnitError::PeriodOutOfRange);
        }
        Ok(Period(Duration::from_secs_f64(seconds)))
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Rate, UnitError> {
        let size = text.trim().strip_suffix("/s").ok_or(UnitError::Rate)?;
        size.parse().map(Rate).map_err(|_: ledger::units::ParseBytesError| UnitError::Rate)
    }
}

impl FromStr for LeakRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<LeakRate, UnitError> {
        let (size, time) = text.rsplit_once('/').ok_or(UnitError::LeakRate)?;
        let Size(Bytes(size)) = size.parse().map_err(|_| UnitError::LeakRate)?;
        match time.trim() {
            "min" => Ok(LeakRate(Bytes(size))),
            "s" => Ok(LeakRate(Bytes(size.saturating_mul(60)))),
            _ => Err(UnitError::LeakRate),
        }
    }
}

impl FromStr for DriftRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<DriftRate, UnitError> {
        match text.rsplit_once('/').map(|(size, each)| (size.parse::<Size>(), each.trim())) {
            Some((Ok(Size(bytes)), "request")) => Ok(DriftRate(bytes)),
            _ => Err(UnitError::DriftRate),
        }
    }
}

impl FromStr for Temperature {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Temperature, UnitError> {
        match number_and_unit(text).ok_or(UnitError::Temperature)? {
            (degrees, "°C" | "C") if (0.0..=150.0).contains(&degrees) => {
                Ok(Temperature((degrees * 1000.0).round() as i64))
            }
            _ => Err(UnitError::Temperature),
        }
    }
}

impl fmt::Display for Temperature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} °C", self.0 as f64 / 1000.0)
    }
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Share, UnitError> {
        match number_and_unit(text).ok_or(UnitError::Share)? {
            (number, "%") if (0.0..=100.0).contains(&number) => Ok(Share(number / 100.0)),
            _ => Err(UnitError::Share),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds >= 1.0 { write!(f, "{seconds} s") } else { write!(f, "{} ms", seconds * 1e3) }
    }
}

macro_rules! from_text {
    ($name:ident, $pattern:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "examples": [$example]})
            }
        }
    };
}

from_text!(Size, r"^[0-9._]+ ?(B|KiB|MiB|GiB|TiB)$", "512 MiB");
from_text!(Rate, r"^[0-9._]+ ?(B|KiB|MiB|GiB|TiB)/s$", "2 GiB/s");
from_text!(Period, r"^[0-9.]+ ?(us|ms|s|min)$", "300 ms");
from_text!(LeakRate, r"^[0-9._]+ ?(B|KiB|MiB|GiB|TiB) ?/ ?(min|s)$", "1 MiB/min");
from_text!(DriftRate, r"^[0-9._]+ ?(B|KiB|MiB|GiB|TiB) ?/ ?request$", "64 KiB/request");
from_text!(Temperature, r"^[0-9.]+ ?°?C$", "55 °C");
from_text!(Share, r"^[0-9.]+ ?%$", "3 %");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_shares_need_their_unit() {
        assert_eq!("300 ms".parse(), Ok(Period(Duration::from_millis(300))));
        assert_eq!("2min".parse(), Ok(Period(Duration::from_secs(120))));
        assert_eq!("1.5 s".parse(), Ok(Period(Duration::from_millis(1500))));
        assert_eq!("300".parse::<Period>(), Err(UnitError::Period));
        assert_eq!("3 hours".parse::<Period>(), Err(UnitError::Period));
        assert_eq!("0 s".parse::<Period>(), Err(UnitError::PeriodOutOfRange));
        assert_eq!("99999 min".parse::<Period>(), Err(UnitError::PeriodOutOfRange));
        assert_eq!("1 KiB/s".parse(), Ok(LeakRate(Bytes::kib(60))));
        assert_eq!("1 MiB / min".parse(), Ok(LeakRate(Bytes::mib(1))));
        assert_eq!("1 MiB".parse::<LeakRate>(), Err(UnitError::LeakRate));
        assert_eq!("64 KiB/request".parse(), Ok(DriftRate(Bytes::kib(64))));
        assert_eq!("64 KiB/min".parse::<DriftRate>(), Err(UnitError::DriftRate));
        assert_eq!("55.5 °C".parse(), Ok(Temperature(55_500)));
        assert_eq!("40C".parse(), Ok(Temperature(40_000)));
        assert_eq!("40".parse::<Temperature>(), Err(UnitError::Temperature));
        assert_eq!("400 °C".parse::<Temperature>(), Err(UnitError::Temperature));
        assert_eq!("3 %".parse(), Ok(Share(0.03)));
        assert_eq!("0.03".parse::<Share>(), Err(UnitError::Share));
        assert_eq!("101 %".parse::<Share>(), Err(UnitError::Share));
        assert_eq!("2 GiB/s".parse(), Ok(Rate(Bytes::gib(2))));
        assert_eq!("2 GiB".parse::<Rate>(), Err(UnitError::Rate));
        assert_eq!("GiB/s".parse::<Rate>(), Err(UnitError::Rate));
    }
}
