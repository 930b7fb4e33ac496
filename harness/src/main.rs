//! The program `sweep`: see `cli` for what it can be asked to do.

use std::process::ExitCode;

use harness::cli;
use harness::engines::NoEngines;

fn main() -> ExitCode {
    ExitCode::from(cli::main(std::env::args_os(), &NoEngines).code())
}
