//! `sweep serve`: an engine behind HTTP.

use std::io::BufRead;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use runtime::backend;
use runtime::engine_dir::EngineDir;
use runtime::plan::{RuntimeOptions, Streaming};
use server::MemoryWitness;
use server::ServeOptions;
use server::builtin::{self, BuiltinError};

use super::arguments::ServeArguments;
use super::{CliError, Printer, build};
use crate::engines::runtime_options;
use crate::scenario::LmHead;
use crate::verdict::ExitCode;

/// Serves until it is told to stop.
pub(super) fn serve(arguments: &ServeArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    if let Some(file) = &arguments.port_file {
        // Whoever waits for the file must not wait for ever: what cannot be written is known before anything starts.
        std::fs::File::create(unfinished(file))
            .map_err(|source| CliError::Environment { what: "write the port file", source })?;
    }
    let device = backend::resolve(arguments.settings.device)?;
    let engine = build::engine(&arguments.source, &arguments.pack, LmHead::Int8, printer)?;
    let options = RuntimeOptions { device, ..runtime_options(&arguments.settings.settings()) };
    // What cannot be loaded is known before anything listens.
    let directory = EngineDir::open(&engine)?;
    options.check(&directory.manifest().config)?;
    if let Some(streaming) = Streaming::choose(&directory.manifest().segments, &options) {
        streaming.check(options.weight_streaming_budget)?;
    }
    drop(directory);
    let model_id = match &arguments.model_id {
        Some(name) => name.clone(),
        None => engine.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let witness = MemoryWitness::new();
    let memory = witness.handle();
    let waits = arguments.load_on_stdin;
    let load = move || -> Result<Box<dyn server::TextEngine>, BuiltinError> {
        if waits {
            // Whoever started this process wants to see it idle first. A closed input means go, too.
            let _ = std::io::stdin().lock().read_line(&mut String::new());
        }
        builtin::load(&engine, &options, &witness)
    };
    let mut announced = Ok(());
    let on_listening = |address: SocketAddr| {
        printer.note(&format!("listening on http://{address}"));
        if let Some(file) = &arguments.port_file {
            announced = announce(file, address);
        }
    };
    let address = SocketAddr::new(arguments.host, arguments.port);
    server::serve(ServeOptions::new(address, model_id), load, memory, on_listening)?;
    announced.map_err(|source| CliError::Environment { what: "write the port file", source })?;
    Ok(ExitCode::Pass)
}

/// Writes the address beside the file's name and moves it there: a reader sees all of it or nothing.
fn announce(file: &Path, address: SocketAddr) -> std::io::Result<()> {
    let unfinished = unfinished(file);
    std::fs::write(&unfinished, format!("{address}\n"))?;
    std::fs::rename(unfinished, file)
}

/// Where the port file is written before it gets its name.
fn unfinished(file: &Path) -> PathBuf {
    file.with_extension("new")
}
