//! What the process answers. The numbers are stable.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Exit codes of `sweep`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "u8", try_from = "u8")]
#[schemars(with = "u8")]
pub enum ExitCode {
    /// Everything that was compared held; a warning is a pass.
    Pass = 0,
    /// A budget was exceeded, or a lever moved less than it promised.
    BudgetFailed = 1,
    /// The command line or the scenario is wrong.
    Usage = 2,
    /// Worse than the baseline.
    Regression = 3,
    /// Something could not be measured, or not well enough to decide.
    Inconclusive = 4,
    /// A trial crashed, hung, ran out of memory, or is missing.
    Incomplete = 5,
    /// This machine cannot run the scenario.
    EnvironmentRefused = 6,
    /// The baseline was measured under other conditions.
    Incomparable = 7,
    /// A mistake of `sweep` itself.
    Internal = 70,
    /// Stopped on request, with its state saved.
    Interrupted = 130,
}

/// Which code wins where several apply, strongest first. `Usage` and `Interrupted` end a run before there is a
/// verdict, so they come first.
const PRECEDENCE: [ExitCode; 10] = [
    ExitCode::Usage,
    ExitCode::Interrupted,
    ExitCode::Internal,
    ExitCode::EnvironmentRefused,
    ExitCode::Incomplete,
    ExitCode::BudgetFailed,
    ExitCode::Regression,
    ExitCode::Incomparable,
    ExitCode::Inconclusive,
    ExitCode::Pass,
];

impl ExitCode {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The code that stands for all of `codes`: 70 > 6 > 5 > 1 > 3 > 7 > 4 > 0.
    pub fn strongest(codes: impl IntoIterator<Item = ExitCode>) -> ExitCode {
        let rank = |code: &ExitCode| PRECEDENCE.iter().position(|other| other == code);
        codes.into_iter().min_by_key(rank).unwrap_or(ExitCode::Pass)
    }

    /// What the number means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            ExitCode::Pass => "pass",
            ExitCode::BudgetFailed => "budget or lever failed",
            ExitCode::Usage => "usage or invalid scenario",
            ExitCode::Regression => "regression",
            ExitCode::Inconclusive => "inconclusive",
            ExitCode::Incomplete => "incomplete",
            ExitCode::EnvironmentRefused => "environment refused",
            ExitCode::Incomparable => "incomparable baseline",
            ExitCode::Internal => "internal error",
            ExitCode::Interrupted => "interrupted",
        }
    }
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> u8 {
        code.code()
    }
}

impl TryFrom<u8> for ExitCode {
    type Error = String;

    fn try_from(number: u8) -> Result<ExitCode, String> {
        PRECEDENCE
            .into_iter()
            .find(|code| code.code() == number)
            .ok_or_else(|| format!("{number} is not an exit code of sweep"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_is_as_documented() {
        let order = [70, 6, 5, 1, 3, 7, 4, 0].map(|number| ExitCode::try_from(number).unwrap());
        for (place, strong) in order.iter().enumerate() {
            for weak in &order[place..] {
                assert_eq!(ExitCode::strongest([*weak, *strong]), *strong, "{strong:?} against {weak:?}");
            }
        }
        assert_eq!(ExitCode::strongest([]), ExitCode::Pass);
    }

    #[test]
    fn numbers_go_round() {
        for code in PRECEDENCE {
            assert_eq!(ExitCode::try_from(code.code()), Ok(code));
        }
        assert!(ExitCode::try_from(8).is_err());
    }
}
