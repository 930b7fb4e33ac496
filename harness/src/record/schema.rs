//! The forms of the ledger's types in JSON Schemas: the ledger itself knows nothing of schemas.

use std::borrow::Cow;

use ledger::{BufferClass, Phase};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A measured value, or the reason why there is none. A missing value is never zero.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ReadingOf{T}")]
#[expect(dead_code, reason = "only its form is used")]
pub(crate) enum Reading<T> {
    /// The value.
    Measured(T),
    /// Why it could not be measured.
    Unavailable(String),
}

/// Bytes.
pub(crate) type Bytes = u64;

/// Whose buffer it is.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its form is used")]
pub(crate) enum Role {
    /// The model whose tokens count.
    Target,
    /// The MTP head that proposes tokens.
    Draft,
}

/// Who counted the bytes of a device that a process uses.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its form is used")]
pub(crate) enum CountedBy {
    /// The driver, for this process alone.
    Process,
    /// The driver, for the whole device.
    Device,
    /// The target's ledger.
    Ledger,
}

/// What the target says of its device; sizes in bytes.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its form is used")]
pub(crate) struct DeviceReport {
    name: String,
    architecture: String,
    driver: String,
    unified: bool,
    total: Bytes,
    free_at_start: Bytes,
    free_now: Bytes,
    context: Bytes,
    driver_on_host: Bytes,
    buffers: Bytes,
    used_by_process: Reading<Bytes>,
    unaccounted: Reading<i64>,
}

/// A phase of a trial.
pub(crate) enum PhaseName {}

impl JsonSchema for PhaseName {
    fn schema_name() -> Cow<'static, str> {
        "Phase".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": Phase::ALL.map(Phase::name)})
    }
}

/// A buffer class.
pub(crate) enum ClassName {}

impl JsonSchema for ClassName {
    fn schema_name() -> Cow<'static, str> {
        "BufferClass".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = BufferClass::ALL.iter().map(|class| class.name()).collect();
        json_schema!({"type": "string", "enum": names})
    }
}
