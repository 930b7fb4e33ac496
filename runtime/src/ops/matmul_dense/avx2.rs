//! Kernel.
pub(super) use super::portable::multiply;
