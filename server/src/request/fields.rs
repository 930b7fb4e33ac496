//! A JSON object as named fields that are read one by one, so that an error can name the field.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::ApiError;

/// The fields of a body. Their values stay in the body until they are asked for.
pub(super) struct Fields<'a>(HashMap<Name<'a>, &'a RawValue>);

#[derive(PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// Splits a body into its fields. Where a name comes twice, the last one counts.
    pub(super) fn read(body: &'a [u8]) -> Result<Fields<'a>, ApiError> {
        let fields = serde_json::from_slice(body).map_err(|error| {
            ApiError::malformed(format!("the body is not a JSON object that can be read: {error}"))
        })?;
        Ok(Fields(fields))
    }

    /// A field as `T`; `None` where it is absent or null.
    pub(super) fn get<T: Deserialize<'a>>(&self, name: &'static str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.0.get(&Name(name.into())) else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|error| {
            // The position would count from the start of the value, which nobody can see.
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            ApiError::invalid(name, format!("`{name}` cannot be read: {reason}"))
        })
    }

    /// A field that has to be there.
    pub(super) fn require<T: Deserialize<'a>>(&self, name: &'static str) -> Result<T, ApiError> {
        self.get(name)?.ok_or_else(|| ApiError::invalid(name, format!("`{name}` is missing")))
    }
}
