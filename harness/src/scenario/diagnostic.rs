//! What is wrong with a scenario file, shown where it is wrong.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Where: byte offsets into the file.
    pub span: Range<usize>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A mistake at `span`.
    pub fn new(message: impl Into<String>, span: Range<usize>) -> Diagnostic {
        Diagnostic { message: message.into(), span, hint: None }
    }

    /// The same with what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the nearest of `known`, or all of them, as a hint.
    pub fn suggest<'a>(self, typed: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
        let known: Vec<&str> = known.into_iter().collect();
        match closest(typed, &known) {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None if known.is_empty() => self,
            None => self.hint(format!("known here: {}", known.join(", "))),
        }
    }
}

/// A scenario file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("read the scenario {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is far larger than any scenario.
    #[error("read the scenario {}: it has more than the 1 MiB that a scenario may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not text.
    #[error("read the scenario {}: line {line} is not UTF-8; save the file as UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first line that cannot be read, counted from 1.
        line: usize,
    },
    /// The file can be read but says something that it must not.
    #[error("{}", self.render())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its text.
        text: String,
        /// Every mistake that was found.
        mistakes: Vec<Diagnostic>,
    },
}

impl ScenarioError {
    /// The mistakes with file, line and caret; for an unreadable file, nothing.
    fn render(&self) -> String {
        let ScenarioError::Invalid { path, text, mistakes } = self else { return String::new() };
        let mut rendered = String::new();
        for mistake in mistakes {
            if !rendered.is_empty() {
                rendered.push_str("\n\n");
            }
            rendered.push_str(&render(path, text, mistake));
        }
        rendered
    }
}

fn render(path: &Path, text: &str, mistake: &Diagnostic) -> String {
    let path = path.display().to_string();
    let snippet = Snippet::source(text)
        .path(path)
        .annotation(AnnotationKind::Primary.span(visible(text, mistake.span.clone())));
    let mut group = Level::ERROR.primary_title(mistake.message.as_str()).element(snippet);
    if let Some(hint) = &mistake.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
    }
    Renderer::plain().render(&[group])
}

/// A range that a caret can stand under: within the text, on character borders, at most to the end of its first line.
/// A parser that knows only where something begins gets the rest of the line.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let end = if span.end > start { floor(span.end).min(line_end) } else { line_end };
    let end = start + text[start..end].trim_end().len();
    start..end.max(start)
}

/// The name that was probably meant: at most a third of its letters differ.
pub(crate) fn closest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = typed.to_lowercase();
    let distance = |name: &str| edit_distance(&lower, &name.to_lowercase());
    known
        .iter()
        .map(|name| (distance(name), *name))
        .filter(|(distance, name)| *distance <= name.chars().count().max(lower.chars().count()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's distance: insertions, deletions and replacements that turn `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_found_and_far_ones_are_not() {
        assert_eq!(closest("maxInputLength", &["threads", "maxInputLen"]), Some("maxInputLen"));
        assert_eq!(closest("MODEL", &["model"]), Some("model"));
        assert_eq!(closest("colour", &["threads", "weights"]), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn carets_stay_inside_the_text() {
        let text = "é: x\nnext";
        assert_eq!(visible(text, 0..0), 0..5);
        assert_eq!(visible(text, 1..99), 0..5);
        assert_eq!(visible(text, 99..200), text.len()..text.len());
    }
}
