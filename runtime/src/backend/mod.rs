//! Devices that operators run on. A backend is a value found at run time, never a `cfg` in model code.

pub mod cpu;
pub mod cuda;
pub mod nvml;
mod witness;

pub use witness::DeviceWitness;
