//! Levers: does each knob move the memory that the plan says it moves, and what does that cost in speed?
//!
//! A lever is judged by pairs of cells that differ in its axis alone, of which one has every axis at its base. What the
//! plan promises is the difference of the planned peaks, what came of it the difference of the measured ones.
//!
//! - [`pair`]: the cells that belong together.
//! - [`rule`]: works, inert or fails.
//! - [`price`]: memory against speed.
//! - [`result`]: one lever at one value.

pub mod pair;
pub mod price;
pub mod result;
pub mod rule;

pub use price::Price;
pub use result::{Change, LeverResult, judge_levers};
pub use rule::LeverWord;
