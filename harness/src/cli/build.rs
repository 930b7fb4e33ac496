//! `sweep build`: a checkpoint packed into an engine directory.

use std::path::{Path, PathBuf};

use runtime::engine_dir::Manifest;

use super::arguments::{BuildArguments, PackArguments, SourceArguments};
use super::progress::Screen;
use super::{CliError, Printer};
use crate::engines::{BuiltinEngines, EngineError, EngineProvider, build_engine, open_source, open_trimmed};
use crate::interrupt::Interrupt;
use crate::lock::{EngineLock, LockedEngine, build_as_locked, build_into_lock};
use crate::scenario::{BuildOptions, LmHead, ModelSource};
use crate::verdict::ExitCode;

/// Builds an engine and says where it is and how large.
pub(super) fn build(arguments: &BuildArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    if let Some(name) = &arguments.engine {
        return build_locked(name, arguments, printer);
    }
    let source = arguments.model_source();
    let options = options(&arguments.pack, LmHead::Int8);
    let directory = match &arguments.output {
        Some(directory) => directory.clone(),
        None => BuiltinEngines::new(&arguments.pack.engines).directory(&source, &options),
    };
    let checkpoint = open_trimmed(&source, &options)?;
    let interrupt = interrupt()?;
    let screen = Screen::new(*printer, &interrupt);
    let manifest = build_engine(checkpoint.as_ref(), &options, &directory, &source.describe(), &screen)?;
    match arguments.json {
        true => printer.json(&manifest)?,
        false => printer.text(&summary(&manifest, &directory))?,
    }
    Ok(ExitCode::Pass)
}

/// Builds an engine of the lock, and says what that did to the lock.
fn build_locked(name: &str, arguments: &BuildArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let places = arguments.lock.places(&arguments.pack.engines);
    let engine = EngineLock::load(&places.lock)?.engine(name)?.clone();
    let build = typed(&arguments.pack, engine.build.clone());
    let (folder, interrupt) = (arguments.output.as_deref(), interrupt()?);
    let screen = Screen::new(*printer, &interrupt);
    let (manifest, said) = if arguments.locked {
        engine.check_options(&build)?;
        (build_as_locked(&engine, &places, folder, &screen)?, "as locked".to_owned())
    } else {
        let engine = LockedEngine { build, ..engine };
        let (manifest, changed) = build_into_lock(&engine, &places, folder, &screen)?;
        let lock = places.lock.display();
        let said = if changed { format!("{lock} has changed") } else { format!("{lock} says the same") };
        (manifest, said)
    };
    let directory = folder.map_or_else(|| places.engine(name), Path::to_owned);
    match arguments.json {
        true => printer.json(&manifest)?,
        false => printer.text(&format!("{}{said}\n", summary(&manifest, &directory)))?,
    }
    Ok(ExitCode::Pass)
}

/// The engine that a verb was given or asked to make.
pub(super) fn engine(
    source: &SourceArguments,
    pack: &PackArguments,
    lm_head: LmHead,
    printer: &Printer,
) -> Result<PathBuf, CliError> {
    let source = source.model_source(pack.seed);
    ensure(&source, &options(pack, lm_head), &pack.engines, &interrupt()?, printer)
}

/// The engine of `source` under `build` in the folder `engines`, made unless it is there.
pub(super) fn ensure(
    source: &ModelSource,
    build: &BuildOptions,
    engines: &Path,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Result<PathBuf, CliError> {
    match source {
        ModelSource::Engine(folder) => return Ok(PathBuf::from(folder)),
        // A checkpoint that has been damaged since its engine was built is still worth a word.
        ModelSource::Checkpoint(_) => drop(open_source(source)?),
        ModelSource::Synthetic { .. } | ModelSource::Locked(_) => {}
    }
    let screen = Screen::new(*printer, interrupt);
    Ok(BuiltinEngines::new(engines).ensure(source, build, &screen)?.folder)
}

pub(super) fn interrupt() -> Result<Interrupt, CliError> {
    Interrupt::listen(|_| {}).map_err(|source| CliError::Environment { what: "listen for signals", source })
}

fn options(pack: &PackArguments, lm_head: LmHead) -> BuildOptions {
    typed(pack, BuildOptions { lm_head, ..BuildOptions::default() })
}

/// `options`, with those that were typed in the place of their own.
fn typed(pack: &PackArguments, options: BuildOptions) -> BuildOptions {
    BuildOptions {
        lm_head: pack.lm_head.unwrap_or(options.lm_head),
        linears: pack.linears.unwrap_or(options.linears),
        vocab: pack.vocab.clone().unwrap_or(options.vocab),
    }
}

fn summary(manifest: &Manifest, directory: &Path) -> String {
    // Tokens that are always kept may be more than were asked for, and a checkpoint may have fewer.
    let rows = match (manifest.config.vocab_size, manifest.vocabulary_size()) {
        (rows, all) if rows < all => format!(", {rows} of {all} rows"),
        _ => String::new(),
    };
    format!(
        "{}: {} in {} segments{rows}, sha256 {}\n",
        directory.display(),
        manifest.weights_bytes,
        manifest.segments.len(),
        &manifest.sha256[..manifest.sha256.len().min(16)]
    )
}

impl From<runtime::engine_dir::EngineError> for CliError {
    fn from(error: runtime::engine_dir::EngineError) -> CliError {
        CliError::Engine(EngineError::from(error))
    }
}
