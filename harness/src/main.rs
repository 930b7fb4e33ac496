//! The program `sweep`: see `cli` for what it can be asked to do.

fn main() {}
