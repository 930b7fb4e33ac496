//! Runtimes as child processes with an OpenAI-compatible interface.
//!
//! - `builtin`: this program's own runtime.
//! - `child`: starting, watching and ending a process tree.
//! - `client`, `sse`, `tally`: the interface.
//! - `guardian`: who ends the tree when the harness itself is killed.

mod builtin;
mod child;
mod client;
mod guardian;
mod memory_cgroup;
mod sse;
mod tally;

use std::io;
use std::path::Path;
use std::process::Command;

pub use builtin::Builtin;
pub use child::{Child, ChildOptions, Ending};
pub use client::{Client, ClientError, CompletionRequest, TokenStream};
pub use guardian::{Guardian, guard};
pub use memory_cgroup::MemoryCgroup;

use crate::scenario::Settings;

/// What a target is started with.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The engine's folder.
    pub engine: &'a Path,
    /// The cell's settings.
    pub settings: &'a Settings,
    /// The name under which it serves the model.
    pub model: &'a str,
    /// Where it writes its address, `127.0.0.1:PORT` and a line feed, once it listens.
    pub port_file: &'a Path,
    /// True where it must wait for a line on its standard input before it loads the engine.
    pub waits_for_go: bool,
}

/// A runtime that can be started.
pub trait Target {
    /// Its name, for messages.
    fn name(&self) -> &str;

    /// True where it can listen without an engine until it is told to load: such a target has an idle phase.
    fn can_wait(&self) -> bool;

    /// Why this machine cannot run it with these settings; asked before anything is started.
    fn refusal(&self, _settings: &Settings) -> Option<String> {
        None
    }

    /// The command that starts it. Its streams and its place in the system are the caller's to set.
    fn command(&self, launch: &Launch<'_>) -> io::Result<Command>;
}
