//! Places of files as a scenario writes them: `${NAME}` stands for an environment variable, so that a committed scenario
//! names nobody's folders.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// A path, relative to the working directory, in which `${NAME}` is replaced when it is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place(String);

/// Why a place cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// A variable that it names is not there.
    #[error(
        "the environment variable {name} is not set: set it to the path that `{place}` stands for, or write the path in the scenario"
    )]
    Unset {
        /// The variable.
        name: String,
        /// The place, as it is written.
        place: String,
    },
    /// A variable's name does not end.
    #[error("`{place}` has a `${{` without its `}}`")]
    Unclosed {
        /// The place, as it is written.
        place: String,
    },
    /// Nothing is there.
    #[error("there is no {}{}", path.display(), of(place, path))]
    Missing {
        /// Where it would be.
        path: PathBuf,
        /// The place, as it is written.
        place: String,
    },
}

/// The words of the scenario, where they differ from the path.
fn of(place: &str, path: &Path) -> String {
    if path == Path::new(place) { String::new() } else { format!(", which is what `{place}` stands for") }
}

impl Place {
    /// As it is written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The path, whether or not anything is there.
    ///
    /// # Errors
    /// When a variable is not set, or its name does not end.
    pub fn resolve(&self) -> Result<PathBuf, PlaceError> {
        self.resolve_with(|name| std::env::var(name).ok())
    }

    fn resolve_with(&self, value: impl Fn(&str) -> Option<String>) -> Result<PathBuf, PlaceError> {
        let place = || self.0.clone();
        let (mut path, mut rest) = (String::new(), self.0.as_str());
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) =
                after.split_once('}').ok_or_else(|| PlaceError::Unclosed { place: place() })?;
            let value = value(name).filter(|value| !value.is_empty());
            let unset = || PlaceError::Unset { name: name.to_owned(), place: place() };
            path.push_str(before);
            path.push_str(&value.ok_or_else(unset)?);
            rest = behind;
        }
        path.push_str(rest);
        Ok(PathBuf::from(path))
    }

    /// The path of something that is there.
    ///
    /// # Errors
    /// As [`Place::resolve`], and when nothing is there.
    pub fn existing(&self) -> Result<PathBuf, PlaceError> {
        let path = self.resolve()?;
        if path.exists() { Ok(path) } else { Err(PlaceError::Missing { path, place: self.0.clone() }) }
    }

    /// The path of a program; a bare word is looked for where the system looks for programs.
    ///
    /// # Errors
    /// As [`Place::existing`].
    pub fn program(&self) -> Result<PathBuf, PlaceError> {
        let path = self.resolve()?;
        if path.components().count() > 1 || path.is_absolute() {
            return self.existing();
        }
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&folders).map(|folder| folder.join(&path)).find(|at| at.is_file());
        found.ok_or(PlaceError::Missing { path, place: self.0.clone() })
    }

    /// Length and moment of change of the file, or of every file of the folder: they stand for what is in it. Empty where
    /// nothing is there.
    pub fn contents(&self) -> String {
        let path = self.program().or_else(|_| self.resolve());
        path.map_or_else(|_| String::new(), |path| contents_of(&path))
    }
}

/// Names, lengths and moments of change of the file at `path`, or of the files in the folder there.
pub(super) fn contents_of(path: &Path) -> String {
    let line = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        let changed = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Some(format!("{name} {} {}", metadata.len(), changed.as_nanos()))
    };
    let mut lines: Vec<String> = match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().filter_map(|entry| line(&entry.path())).collect(),
        Err(_) => line(path).into_iter().collect(),
    };
    lines.sort();
    lines.join("\n")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
        String::deserialize(deserializer).map(Place)
    }
}

impl JsonSchema for Place {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Place".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_what_is_missing_is_named() {
        let resolved = |text: &str| {
            let value = |name: &str| match name {
                "A" => Some("/opt/a".to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            };
            Place(text.to_owned()).resolve_with(value)
        };
        assert_eq!(resolved("${A}/bin/${A}"), Ok(PathBuf::from("/opt/a/bin//opt/a")));
        assert_eq!(resolved("plain/path"), Ok(PathBuf::from("plain/path")));
        for text in ["${B}/x", "${EMPTY}/x"] {
            let error = resolved(text).expect_err("nobody set it").to_string();
            assert!(error.contains("is not set") && error.contains(text), "{error}");
        }
        assert!(matches!(resolved("${A"), Err(PlaceError::Unclosed { .. })));
    }

    #[test]
    fn a_program_is_looked_for_and_a_file_that_is_not_there_is_an_answer() {
        assert!(Place("sh".to_owned()).program().is_ok_and(|path| path.is_absolute()));
        assert!(!Place("sh".to_owned()).contents().is_empty());
        let error = Place("no/such/file".to_owned()).existing().expect_err("it is not there");
        assert_eq!(error.to_string(), "there is no no/such/file");
        assert_eq!(Place("no/such/file".to_owned()).contents(), "");
    }
}
