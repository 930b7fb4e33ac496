//! What the machine says of itself beside memory. Everything is found by what is there, never by the product's name: a board
//! that is not known yet has what it has.
//!
//! - `identity`: model, release, kernel.
//! - `hwmon`: sensor chips, found by name, since their numbers change from boot to boot.
//! - `power`, `thermal`, `clocks`, `throttle`, `power_mode`: one file a kind of reading.

mod clocks;
mod hwmon;
mod identity;
mod power;
mod power_mode;
mod thermal;
mod throttle;

pub use clocks::{ClockReading, Clocks, GpuClock};
pub use identity::Board;
pub use power::{PowerRails, Rail};
pub use power_mode::{PowerMode, PowerModes};
pub use thermal::{Thermal, Zone};
pub use throttle::{Throttle, ThrottleCounter};
