//! A measured value, or why there is none.

use serde::{Deserialize, Serialize};

/// A measured value, or the reason why there is none. A missing value is never zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// The value.
    Measured(T),
    /// Why it could not be measured on this machine.
    Unavailable(String),
}

impl<T> Default for Reading<T> {
    fn default() -> Reading<T> {
        Reading::Unavailable("not in this record".to_owned())
    }
}

impl<T> Reading<T> {
    /// The value, where there is one.
    pub fn measured(&self) -> Option<&T> {
        match self {
            Reading::Measured(value) => Some(value),
            Reading::Unavailable(_) => None,
        }
    }

    /// The same reading of something that follows from the value.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Reading::Measured(value) => Reading::Measured(form(value)),
            Reading::Unavailable(why) => Reading::Unavailable(why),
        }
    }
}
