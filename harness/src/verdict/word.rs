//! The words of a verdict, and which is worse.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ExitCode;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $exit:ident;)*) => {
        /// One word for how it went, from best to worst.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Word {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Word {
            /// Every word, from best to worst.
            pub const ALL: &'static [Word] = &[$(Word::$name,)*];

            /// The word as it stands in files and on screens.
            pub const fn text(self) -> &'static str {
                match self { $(Word::$name => $text,)* }
            }

            /// What the process answers for it.
            pub const fn exit_code(self) -> ExitCode {
                match self { $(Word::$name => ExitCode::$exit,)* }
            }
        }
    };
}

words! {
    /// Left out on purpose; the reason stands beside it.
    Skipped = "SKIPPED", Pass;
    /// Measured, and no budget is for it.
    NoBudget = "NO BUDGET", Pass;
    /// Every budget that is for it holds, with certainty.
    Pass = "PASS", Pass;
    /// It did not run to its end, as is expected for now.
    Expected = "EXPECTED", Pass;
    /// Needs less than its baseline, which can be made tighter.
    Improved = "IMPROVED", Pass;
    /// Over a warning limit, or within a failing limit by less than the trials scatter.
    Warn = "WARN", Pass;
    /// Not measured, or not well enough to decide.
    Inconclusive = "INCONCLUSIVE", Inconclusive;
    /// The baseline was measured under other conditions.
    Incomparable = "INCOMPARABLE", Incomparable;
    /// Needs more than its baseline.
    Regression = "FAIL (regression)", Regression;
    /// Over a limit.
    Fail = "FAIL", BudgetFailed;
    /// A trial that was asked for is not there.
    Incomplete = "INCOMPLETE", Incomplete;
    /// The harness was asked to stop.
    Interrupted = "INTERRUPTED", Incomplete;
    /// The target answered with an error.
    Failed = "FAILED", Incomplete;
    /// A phase took longer than its timeout.
    Timeout = "TIMEOUT", Incomplete;
    /// The target's process ended by itself.
    Crash = "CRASH", Incomplete;
    /// Memory ran out.
    Oom = "OOM", Incomplete;
}

impl Word {
    /// True for words that say that a trial did not run to its end.
    pub fn is_incomplete(self) -> bool {
        self.exit_code() == ExitCode::Incomplete
    }

    /// The word in small letters without spaces and brackets, for names of styles and files.
    pub fn slug(self) -> String {
        self.text().to_lowercase().replace(' ', "-").replace(['(', ')'], "")
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}
