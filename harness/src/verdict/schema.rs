//! The JSON Schema of `verdict.json`, for programs that read it.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::{BoardsVerdict, RunVerdict};

/// What stands in `verdict.json`: a run, or several boards side by side.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(title = "verdict.json of sweep")]
#[expect(dead_code, reason = "only its form is used")]
enum Verdict {
    /// A run.
    Run(Box<RunVerdict>),
    /// Several boards.
    Boards(BoardsVerdict),
}

/// The schema as `docs/verdict.schema.json` holds it.
pub fn schema_text() -> String {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<Verdict>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
