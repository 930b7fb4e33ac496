//! What a cubin is made for.

use std::fmt;
use std::str::FromStr;

/// A real GPU architecture, such as `sm_87` (Orin) or `sm_90` (Hopper).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Architecture {
    number: u32,
    suffix: Option<Suffix>,
}

/// Instructions that only some GPUs of a number have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Suffix {
    /// This very architecture.
    A,
    /// Its family.
    F,
}

/// A name that is no architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no GPU architecture; they are written as sm_87 or sm_90, from a compute capability of 8.7 or 9.0"
)]
pub struct ArchitectureError(String);

impl Architecture {
    /// The one of compute capability `major.minor`, as the driver reports it.
    pub const fn of_capability(major: u32, minor: u32) -> Architecture {
        Architecture { number: major * 10 + minor, suffix: None }
    }

    /// Ten times the compute capability: 87 of `sm_87`.
    pub const fn number(self) -> u32 {
        self.number
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.suffix {
            None => "",
            Some(Suffix::A) => "a",
            Some(Suffix::F) => "f",
        };
        formatter.pad(&format!("sm_{}{suffix}", self.number))
    }
}

impl FromStr for Architecture {
    type Err = ArchitectureError;

    fn from_str(text: &str) -> Result<Architecture, ArchitectureError> {
        let wrong = || ArchitectureError(text.to_owned());
        let rest = text.strip_prefix("sm_").ok_or_else(wrong)?;
        let (digits, suffix) = match rest.strip_suffix(['a', 'f']) {
            Some(digits) if rest.ends_with('a') => (digits, Some(Suffix::A)),
            Some(digits) => (digits, Some(Suffix::F)),
            None => (rest, None),
        };
        let plain = (2..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        match digits.parse() {
            Ok(number) if plain && number >= 10 => Ok(Architecture { number, suffix }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["sm_87", "sm_90", "sm_90a", "sm_100f", "sm_120"] {
            assert_eq!(name.parse::<Architecture>().map(|found| found.to_string()), Ok(name.to_owned()));
        }
        assert_eq!(Architecture::of_capability(8, 7).to_string(), "sm_87");
        assert_eq!(Architecture::of_capability(12, 0).number(), 120);
        for name in [
            "",
            "87",
            "sm_",
            "sm_8",
            "sm_09",
            "sm_+87",
            "sm_87b",
            "sm_87aa",
            "compute_87",
            "sm_1000",
            "sm_٨٧",
        ] {
            let error = name.parse::<Architecture>().expect_err(name);
            assert!(error.to_string().contains("sm_87"), "{error}");
        }
    }
}
