//! The LLM engine: checkpoints, engine directories, the memory plan, operators, models, generation.

pub mod backend;
pub mod checkpoint;
pub mod config;
pub mod engine;
pub mod engine_dir;
pub mod generate;
pub mod memory;
pub mod model;
pub mod number_type;
pub mod ops;
pub mod plan;
pub mod vocabulary;
pub mod weights;
