//! What turns a kernel file into a cubin.

use std::fmt;
use std::str::FromStr;

use super::{Architecture, KernelSource};

/// Compiles kernels. NVRTC is one; tests have their own.
pub trait Compiler {
    /// Which it is. Two versions may make different cubins of one text.
    fn version(&self) -> CompilerVersion;

    /// A cubin of all kernels of `source` for `architecture`.
    fn compile(&self, source: &KernelSource, architecture: Architecture) -> Result<Compiled, CompileError>;
}

/// A cubin, and what the compiler had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// An ELF file.
    pub cubin: Vec<u8>,
    /// Warnings; empty if there are none.
    pub log: String,
}

/// Version of NVRTC, which is that of its CUDA toolkit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompilerVersion {
    /// 12 of 12.6.
    pub major: u32,
    /// 6 of 12.6.
    pub minor: u32,
}

impl fmt::Display for CompilerVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for CompilerVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<CompilerVersion, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        Ok(CompilerVersion { major: number(major)?, minor: number(minor)? })
    }
}

/// Why there is no cubin.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler is too old or too new for a GPU.
    #[error(
        "NVRTC {version} cannot compile for {architecture}, only for {}; `--nvrtc PATH` names another one",
        names(.known)
    )]
    UnknownArchitecture {
        /// What was asked for.
        architecture: Architecture,
        /// The compiler.
        version: CompilerVersion,
        /// Numbers of the architectures that it knows.
        known: Vec<u32>,
    },
    /// A mistake in a kernel file.
    #[error("ops/{operator}/kernel.cu does not compile for {architecture} (NVRTC {version}):\n{log}")]
    Refused {
        /// Whose file.
        operator: &'static str,
        /// For which GPU.
        architecture: Architecture,
        /// The compiler.
        version: CompilerVersion,
        /// What it said.
        log: String,
    },
    /// A call of the library failed.
    #[error("NVRTC {version}: {call} failed: {reason}")]
    Call {
        /// The compiler.
        version: CompilerVersion,
        /// The function.
        call: &'static str,
        /// What the library calls its error.
        reason: String,
    },
}

fn names(known: &[u32]) -> String {
    known.iter().map(|number| format!("sm_{number}")).collect::<Vec<_>>().join(", ")
}
