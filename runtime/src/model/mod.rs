//! The wiring of Qwen3 and Qwen3.5, as a list of operator calls.
//!
//! - [`modules`]: which weights a model has.
//! - [`operators`]: what a device offers.
//! - [`layers`]: the loaded weights, layer by layer.
//! - [`shapes`]: sizes in the form that operators take.
//! - [`state`]: what a sequence carries from token to token.
//! - [`workspace`]: the activations of one chunk.
//! - [`forward`]: the pass itself; [`draft`]: the MTP head.

pub mod draft;
pub mod forward;
pub mod layers;
pub mod modules;
pub mod operators;
pub mod shapes;
pub mod state;
pub mod workspace;
