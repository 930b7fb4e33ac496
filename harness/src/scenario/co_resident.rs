//! What runs beside the target.

use std::time::Duration;

use ledger::Bytes;

/// A program that is there while the target is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoResident {
    /// Its name, unique in the scenario.
    pub name: String,
    /// What runs.
    pub program: CoResidentProgram,
    /// When the next one, or the target, may start.
    pub ready: Ready,
    /// When to give up on its getting ready.
    pub timeout: Duration,
    /// What it stands for.
    pub why: String,
}

/// What runs as a co-resident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoResidentProgram {
    /// A program and its arguments.
    Command(Vec<String>),
    /// This program itself, which takes so much.
    StandIn(StandIn),
}

/// What a stand-in takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandIn {
    /// Main memory, all of it resident.
    pub host: Bytes,
    /// Memory of the first GPU.
    pub device: Bytes,
    /// What it reads of its main memory a second.
    pub reads: Bytes,
}

/// When a co-resident is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// Once it has written this.
    Says(String),
    /// After this time.
    After(Duration),
}

/// What a stand-in writes once it holds its memory.
pub const HOLDS: &str = "the stand-in holds its memory";

/// How a line begins in which a stand-in says that it does not read as fast as it was told to.
pub const FALLS_SHORT: &str = "the stand-in falls short: ";
