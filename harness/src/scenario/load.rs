//! From text to a scenario. The only place that knows which YAML parser is used.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_saphyr::{Error as YamlError, Location};

use super::check::check;
use super::diagnostic::{Diagnostic, ScenarioError};
use super::file::ScenarioFile;
use super::located::byte_range;
use super::{Scenario, hex_sha256};

/// No scenario is larger than this: a hostile file must not take the machine.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads and checks the scenario at `path`.
pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
    let unreadable = |source| ScenarioError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // A device or pipe tells no size: only what is read can be counted.
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ScenarioError::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let read = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..read].iter().filter(|byte| **byte == b'\n').count() + 1;
        ScenarioError::NotText { path: path.to_owned(), line }
    })?;
    parse(path, text)
}

/// Checks the scenario `text`; `path` is for its errors.
pub fn parse(path: &Path, text: String) -> Result<Scenario, ScenarioError> {
    let invalid = |mistakes| ScenarioError::Invalid { path: path.to_owned(), text: text.clone(), mistakes };
    let options = serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: false,
        strict_booleans: true,
    };
    let file: ScenarioFile = serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| invalid(vec![diagnose(&error, &text)]))?;
    let mut scenario = check(&file).map_err(invalid)?;
    scenario.path = PathBuf::from(path);
    scenario.sha256 = hex_sha256(text.as_bytes());
    scenario.text = text;
    Ok(scenario)
}

/// Our words for a parser's error.
fn diagnose(error: &YamlError, text: &str) -> Diagnostic {
    let error = match error.without_snippet() {
        YamlError::AliasError { error, .. } => error,
        error => error,
    };
    let span = error.location().map_or(0..0, |location| place(location, text));
    match error {
        YamlError::Eof { .. } => Diagnostic::new("this file says nothing, or ends too early", span),
        YamlError::InvalidScalar { ty, .. } if ty.contains("32") || ty.contains("64") => {
            Diagnostic::new("expected a whole number that is not negative", span)
        }
        YamlError::SerdeUnknownField { field, expected, .. } => {
            Diagnostic::new(format!("unknown field `{field}`"), span).suggest(field, expected.iter().copied())
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            Diagnostic::new(format!("unknown value `{variant}`"), span)
                .suggest(variant, expected.iter().copied())
        }
        YamlError::SerdeMissingField { field, .. } => {
            Diagnostic::new(format!("the field `{field}` is missing here"), span)
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("this key");
            Diagnostic::new(format!("`{key}` stands here for the second time"), span).hint("keep one of them")
        }
        YamlError::SerdeInvalidType { unexpected, expected, .. }
        | YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            Diagnostic::new(format!("expected {expected}, found {unexpected}"), span)
        }
        YamlError::MultipleDocuments { .. } => {
            Diagnostic::new("a second document begins here", span).hint("a scenario is one document")
        }
        YamlError::NullIntoString { .. } => Diagnostic::new("expected a text, found nothing", span),
        YamlError::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            Diagnostic::new("only one name may stand here", span)
                .hint("is a `- ` or a `}` missing before it?")
        }
        YamlError::ExpectedStringKeyForExternallyTaggedEnum { .. } => {
            Diagnostic::new("a name is missing here", span)
        }
        YamlError::Unexpected { expected: "mapping start", .. } => {
            Diagnostic::new("expected names with values, for example `name: value`", span)
        }
        YamlError::Unexpected { expected: "sequence start", .. } => {
            Diagnostic::new("expected a list, for example `[1024, 4096]`", span)
        }
        YamlError::Message { msg, .. } => Diagnostic::new(msg.clone(), span),
        other => {
            let options = serde_saphyr::render_options! { snippets: serde_saphyr::SnippetMode::Off };
            Diagnostic::new(without_place(&other.render_with_options(options)), span)
        }
    }
}

/// Where a parser's error is. Its scanner knows lines and columns only, and counts both from 1.
fn place(location: Location, text: &str) -> Range<usize> {
    if location.span().byte_offset().is_some() {
        return byte_range(location);
    }
    let before = location.line().saturating_sub(1) as usize;
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let columns = location.column().saturating_sub(1) as usize;
    let line: String = text[start..].lines().next().unwrap_or_default().chars().take(columns).collect();
    let at = start + line.len();
    at..at
}

/// The parser's text without its own `at line 3, column 4`, which the snippet shows better.
fn without_place(text: &str) -> String {
    let cut = text.find(" at line ").unwrap_or(text.len());
    text[..cut].trim_start_matches("error: ").to_owned()
}
