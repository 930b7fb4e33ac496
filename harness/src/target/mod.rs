//! Runtimes as processes with an OpenAI-compatible interface.
//!
//! - `builtin`, `llama_server`, `tensorrt`, `openai`: one file a kind of runtime.
//! - `answers`: what a runtime can answer; `account`: what it says that it holds.
//! - `child`: starting, watching and ending a process tree; `attached`: one that somebody else has started.
//! - `client`, `token_counter`, `sse`, `tally`: the interface.
//! - `guardian`: who ends the tree when the harness itself is killed.

mod account;
mod answers;
mod attached;
mod builtin;
mod child;
mod client;
mod guardian;
mod llama_server;
mod memory_cgroup;
mod openai;
mod sse;
mod tally;
mod tensorrt;
mod token_counter;

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

pub use account::TargetAccount;
pub use answers::{Abilities, AccountSource, ProcessAbility, SettingAnswer, target_record, unanswerable};
pub use attached::{Attached, TargetProcess};
pub use builtin::Builtin;
pub use child::{Child, ChildOptions, Ending};
pub use client::{Client, ClientError, CompletionRequest, TokenStream};
pub use guardian::{Guardian, Wards, guard};
pub use llama_server::LlamaServer;
pub use memory_cgroup::MemoryCgroup;
pub use openai::Openai;
pub use tally::EventError;
pub use tensorrt::TensorrtEdgeLlm;
pub use token_counter::TokenCounter;

use crate::engines::TextCounter;
use crate::scenario::{Cell, Quality, Settings, TargetKind};

/// What an engine is scored with.
#[derive(Debug, Clone, Copy)]
pub struct ScoreJob<'a> {
    /// The engine's folder.
    pub engine: &'a Path,
    /// The engine whose exact path it is held against.
    pub reference: &'a Path,
    /// The cell's settings.
    pub settings: &'a Settings,
    /// The text, and how much of it.
    pub quality: &'a Quality,
}

/// What a target is started with.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The engine's folder, or the model's file.
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

/// How a target comes to be there.
#[derive(Debug)]
pub enum Start {
    /// It is started as a child. Its streams and its place in the system are the caller's to set.
    Process {
        /// What starts it.
        command: Command,
        /// Where it will answer.
        address: Address,
        /// How it is spoken to.
        interface: Interface,
    },
    /// It runs already.
    Attach {
        /// Where it answers, up to `/v1`.
        url: String,
        /// Its process, where it is known.
        pid: Option<u32>,
        /// How it is spoken to.
        interface: Interface,
    },
}

/// Where a child answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// It writes [`Launch::port_file`] once it listens.
    PortFile,
    /// `127.0.0.1:PORT`, where it listens some time after its start.
    Known(String),
}

/// How a target is spoken to.
#[derive(Debug, Clone)]
pub enum Interface {
    /// `/v1/completions` with a prompt of token ids.
    Completions,
    /// `/v1/chat/completions` with a text, whose tokens are counted with the model's own tokenizer where it is there.
    Chat(Option<Arc<TextCounter>>),
}

/// A runtime that can be measured.
pub trait Target {
    /// Its kind, for messages.
    fn name(&self) -> &str;

    /// What it can do.
    fn abilities(&self) -> Abilities;

    /// What it makes of the setting or build option `name` at `value`.
    fn setting(&self, _name: &str, _value: &str) -> SettingAnswer {
        SettingAnswer::Applied
    }

    /// Why this machine cannot run `cell` on it; asked before anything is started.
    fn refusal(&self, _cell: &Cell) -> Option<String> {
        None
    }

    /// The command that prints a [`crate::record::QualityReading`] as JSON. `None` where it cannot score a text.
    fn score(&self, _job: &ScoreJob<'_>) -> Option<Command> {
        None
    }

    /// How it is started, or where it runs.
    fn start(&self, launch: &Launch<'_>) -> io::Result<Start>;
}

/// Runtimes by their names in a scenario.
pub type NamedTargets = Vec<(String, Box<dyn Target>)>;

/// The runtime that a scenario names.
///
/// # Errors
/// When this program's own file cannot be found.
pub fn target_of(kind: &TargetKind) -> io::Result<Box<dyn Target>> {
    Ok(match kind {
        TargetKind::Builtin => Box::new(Builtin::new()?),
        TargetKind::LlamaServer(options) => Box::new(LlamaServer::new(options.clone())),
        TargetKind::Openai(options) => Box::new(Openai::new(options.clone())),
        TargetKind::TensorrtEdgeLlm(options) => Box::new(TensorrtEdgeLlm::new(options.clone())),
    })
}
