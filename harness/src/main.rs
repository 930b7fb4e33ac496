//! The program `sweep`: see `cli` for what it can be asked to do.

use std::process::ExitCode;

use harness::cli;
use harness::engines::{BuiltinEngines, CACHE};
use runtime::memory::CountingHeap;

/// The heap is a line of the ledger, too.
#[global_allocator]
static HEAP: CountingHeap = CountingHeap;

fn main() -> ExitCode {
    ExitCode::from(cli::main(std::env::args_os(), &BuiltinEngines::new(CACHE)).code())
}
