//! `sweep fetch`: the checkpoints of engines of the lock.

use std::path::Path;

use serde::Serialize;

use super::arguments::FetchArguments;
use super::build::interrupt;
use super::progress::Screen;
use super::{CliError, Printer};
use crate::fetch::{Endpoint, Fetched, Patience, Pinning, Request, Token, fetch as fetch_checkpoint};
use crate::lock::{EngineLock, FileName};
use crate::verdict::ExitCode;

/// Version of the answer of `sweep fetch --json`.
const FORMAT_VERSION: u32 = 1;

#[derive(Serialize)]
struct Answer {
    format_version: u32,
    fetched: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    engine: String,
    folder: String,
    commit: String,
    bytes: u64,
    /// Files that had to be fetched, and those that were there.
    fetched: Vec<String>,
    kept: Vec<String>,
    lock_changed: bool,
}

/// Fetches what is named, one after the other.
pub(super) fn fetch(arguments: &FetchArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let endpoint = match &arguments.from {
        Some(folder) => Endpoint::Folder(folder.clone()),
        None => variable(Endpoint::VARIABLE).as_deref().unwrap_or(Endpoint::HUB).parse()?,
    };
    let token = variable(Token::VARIABLE).as_deref().and_then(Token::new);
    // Nothing is built here.
    let places = arguments.lock.places(Path::new(""));
    let lock = EngineLock::load(&places.lock)?;
    let engines: Result<Vec<_>, _> = arguments.engines.iter().map(|name| lock.engine(name)).collect();
    let pinning = if arguments.pin { Pinning::Pin } else { Pinning::AsLocked };
    let interrupt = interrupt()?;
    let screen = Screen::new(*printer, &interrupt);
    let mut lines = Vec::new();
    for engine in engines? {
        let (token, patience) = (token.clone(), Patience::default());
        let request = Request { engine, places: &places, endpoint: &endpoint, token, patience, pinning };
        let fetched = fetch_checkpoint(&request, &screen)?;
        if !arguments.json {
            printer.text(&summary(&engine.name, &fetched))?;
        }
        lines.push(Line::of(&engine.name, fetched));
    }
    if arguments.json {
        printer.json(&Answer { format_version: FORMAT_VERSION, fetched: lines })?;
    }
    Ok(ExitCode::Pass)
}

impl Line {
    fn of(engine: &str, fetched: Fetched) -> Line {
        let names = |files: Vec<FileName>| files.iter().map(ToString::to_string).collect();
        Line {
            engine: engine.to_owned(),
            folder: fetched.folder.to_string_lossy().into_owned(),
            commit: fetched.commit.as_str().to_owned(),
            bytes: fetched.bytes.0,
            fetched: names(fetched.fetched),
            kept: names(fetched.kept),
            lock_changed: fetched.lock_changed,
        }
    }
}

fn summary(engine: &str, fetched: &Fetched) -> String {
    let lock = if fetched.lock_changed { "; engines.lock has changed" } else { "" };
    format!(
        "{engine}: {} files, {}, in {}: {} fetched, {} there already{lock}\n",
        fetched.fetched.len() + fetched.kept.len(),
        fetched.bytes,
        fetched.folder.display(),
        fetched.fetched.len(),
        fetched.kept.len()
    )
}
