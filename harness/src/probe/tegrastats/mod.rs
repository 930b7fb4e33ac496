//! NVIDIA's `tegrastats`, as a second witness: it prints once a second, with memory in whole MiB, so nothing is judged by it.
//!
//! - `line`: one line in any of its dialects (JetPack 5, 6, 7 on Orin, and Thor).
//! - `stream`: the program as a child, its lines kept with their times.

mod line;
mod stream;

pub use line::{CoreState, GpuState, RailReading, TegraLine, Temperature};
pub use stream::{TEGRASTATS, Tegrastats, TegrastatsStream};
