//! Kernels: CUDA C in `ops/OPERATOR/kernel.cu`, compiled once for a GPU and kept as cubins.
//!
//! - `sources`: the kernels of this program. `architecture`: what they are compiled for.
//! - `compiler`: what compiles them; `nvrtc`: the one that does, and `search`: where it may be.
//! - `cache`: where cubins are kept. `build`: making those that are missing. `images`: having them made by a child process,
//!   so that a process that serves never loads the compiler.
//! - `cubin`: registers, shared and local memory of each kernel, read from a cubin; `elf`: its sections.

mod architecture;
mod build;
mod cache;
mod compiler;
mod cubin;
mod elf;
mod images;
mod nvrtc;
mod search;
mod sources;
#[cfg(test)]
mod tests;

pub use architecture::{Architecture, ArchitectureError};
pub use build::{BuildError, Built, build};
pub use cache::{CacheError, CubinEntry, CubinFolder, CubinRecord, Folders, KERNELS_VARIABLE};
pub use compiler::{CompileError, Compiled, Compiler, CompilerVersion};
pub use cubin::{CubinError, KernelResources, resources};
pub use images::{KernelError, KernelImage, PROGRAM_VARIABLE, images};
pub use nvrtc::{Nvrtc, NvrtcNotFound};
pub use search::NVRTC_VARIABLE;
pub use sources::{KernelSource, OPTIONS, SOURCES};
