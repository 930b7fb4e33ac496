//! The LLM engine: checkpoints, engine directories, the memory plan, operators, models, generation.

pub mod generate;
pub mod memory;
