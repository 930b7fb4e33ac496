//! The LLM engine: checkpoints, engine directories, the memory plan, operators, models, generation.

pub mod backend;
pub mod checkpoint;
pub mod config;
pub mod generate;
pub mod memory;
