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
    /// This program itself, holding so much of main memory.
    StandIn(Bytes),
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
