//! The verb: which model, who speaks when, and the line at the end.

use std::io::{self, BufRead, IsTerminal};

use ledger::{Bytes, Tokens};
use runtime::backend;
use runtime::engine_dir::EngineDir;
use runtime::generate::sample::Sampling;
use runtime::plan::RuntimeOptions;

use super::speaker::{Pace, Speaker};
use crate::cli::arguments::ChatArguments;
use crate::cli::{CliError, Printer, build};
use crate::interrupt::{Interrupt, Request};
use crate::number::mib;
use crate::probe::OwnProcess;
use crate::scenario::BuildOptions;
use crate::verdict::ExitCode;

/// What stands before each line that the user types.
const PROMPT: &str = "> ";

/// Answers one prompt, or one line after the other until the input ends; then says how fast, and in how much memory.
pub(in crate::cli) fn chat(arguments: &ChatArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let sampling = Sampling::new(arguments.temperature, 0, 1.0, arguments.seed)?;
    let device = backend::resolve(arguments.device)?;
    // Ctrl-C ends an answer, and is heard there; a wait for the next line hears nothing, so SIGTERM ends the program itself.
    let interrupt = Interrupt::listen(|asked| {
        if asked == Request::Now {
            std::process::exit(ExitCode::Interrupted.code().into());
        }
    })
    .map_err(|source| CliError::Environment { what: "listen for signals", source })?;
    let source = arguments.model_source();
    let folder = build::ensure(&source, &BuildOptions::default(), &arguments.engines, &interrupt, printer)?;
    let mut options = RuntimeOptions::new(Tokens(arguments.context), arguments.threads.resolve());
    options.max_kv_cache_capacity = Tokens(arguments.context);
    options.device = device;
    options.mtp = arguments.mtp;
    options.check(&EngineDir::open(&folder)?.manifest().config)?;
    let mut speaker = Speaker::load(&folder, &options, sampling, Tokens(arguments.max_tokens))?;

    let spoken = match &arguments.prompt {
        Some(prompt) => answer(&mut speaker, prompt, &interrupt, printer),
        None => converse(&mut speaker, &interrupt, printer),
    };
    spoken?;
    printer.note(&summary(speaker.pace(), speaker.device_bytes()));
    Ok(ExitCode::Pass)
}

/// Answers every line of the input.
fn converse(speaker: &mut Speaker, interrupt: &Interrupt, printer: &Printer) -> Result<(), CliError> {
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if on_terminal {
        printer.note("Ctrl-C ends an answer, Ctrl-D the chat");
    }
    let mut line = String::new();
    loop {
        if on_terminal {
            printer.text(PROMPT)?;
        }
        line.clear();
        let read = io::stdin().lock().read_line(&mut line);
        if read.map_err(|source| CliError::Environment { what: "read the next line", source })? == 0 {
            if on_terminal {
                printer.line("")?;
            }
            return Ok(());
        }
        if !line.trim().is_empty() {
            answer(speaker, line.trim(), interrupt, printer)?;
        }
    }
}

/// Answers `text`, piece by piece.
fn answer(
    speaker: &mut Speaker,
    text: &str,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Result<(), CliError> {
    // What was asked before this answer does not end it.
    interrupt.forget();
    speaker.answer(text, &|| interrupt.is_asked(), &mut |piece| printer.text(piece))?;
    interrupt.forget();
    printer.line("")
}

/// How fast it decoded, and what this process holds.
fn summary(pace: Pace, on_device: Option<Bytes>) -> String {
    let speed = match pace.tokens_per_second() {
        Some(speed) => format!("decode {speed:.1} tokens/s over {} tokens", pace.decoded),
        None => "decode not timed: no answer had a second token".to_owned(),
    };
    let drafts = pace.acceptance_length();
    let drafts = drafts.map_or_else(String::new, |length| format!(", acceptance length {length:.2}"));
    let resident = match OwnProcess::resident() {
        Ok((now, peak)) => format!("resident {} MiB now, {} MiB at its peak", mib(now), mib(peak)),
        Err(why) => format!("resident memory unknown: {why}"),
    };
    let device = on_device.map_or_else(String::new, |bytes| format!(", device {} MiB", mib(bytes)));
    format!("{speed}{drafts}; {resident}{device}")
}
