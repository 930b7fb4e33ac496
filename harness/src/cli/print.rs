//! The only place that writes to the screen: answers go to standard output, everything else to standard error.

use std::io::{self, Write};

use serde::Serialize;

use super::CliError;
use crate::scenario::ScenarioError;

/// Lets warnings of the runtime and the server through to standard error.
pub(super) fn show_warnings() {
    let warnings = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_target(false)
        .with_ansi(false)
        .without_time();
    // A test that calls the program twice in one process has set it up already.
    let _ = warnings.try_init();
}

/// Writes to the screen.
#[derive(Debug, Clone, Copy)]
pub struct Printer;

impl Printer {
    /// An answer, as it is.
    pub fn text(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::BrokenPipe,
            _ => CliError::Environment { what: "write the answer", source: error },
        })
    }

    /// An answer of one line.
    pub fn line(&self, line: &str) -> Result<(), CliError> {
        self.text(&format!("{line}\n"))
    }

    /// An answer for a program.
    pub fn json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text =
            serde_json::to_string_pretty(value).map_err(|error| CliError::Output(error.to_string()))?;
        self.line(&text)
    }

    /// An answer for a program, on one line: for long rows of numbers.
    pub fn json_line(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(|error| CliError::Output(error.to_string()))?;
        self.line(&text)
    }

    /// Something about the work, not part of the answer. Nobody may be there to read it.
    pub fn note(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// An error, and what to do about it.
    pub fn error(&self, error: &CliError) {
        match error {
            // The places in the file say `error:` themselves.
            CliError::Scenario(ScenarioError::Invalid { .. }) => self.note(&error.to_string()),
            error => self.note(&format!("error: {error}")),
        }
        if let Some(hint) = error.hint() {
            self.note(&format!("hint: {hint}"));
        }
    }
}

/// A table of text: the first column left, the others right, two spaces between.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                line.push_str(&format!("{cell:<width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
