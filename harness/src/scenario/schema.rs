//! The JSON Schema of scenario files, for editors that complete and check while one types.

use super::file::ScenarioFile;

/// The schema as `scenarios/schema.json` holds it.
pub fn schema_text() -> String {
    let schema = schemars::schema_for!(ScenarioFile);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
