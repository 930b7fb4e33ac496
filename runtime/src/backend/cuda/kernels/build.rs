//! Compiling what is missing.

use std::path::PathBuf;

use super::cache::{CacheError, CubinFolder};
use super::compiler::{CompileError, Compiler};
use super::cubin::{CubinError, resources};
use super::{Architecture, KernelSource};

/// A cubin that is in the folder now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Whose kernels.
    pub operator: &'static str,
    /// For which GPU.
    pub architecture: Architecture,
    /// Where it lies.
    pub path: PathBuf,
    /// True if it was compiled, false if it was there.
    pub compiled: bool,
    /// What the compiler had to say; empty if nothing.
    pub log: String,
}

/// Why kernels were not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A kernel was not compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A cubin could not be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The compiler made something else than a cubin.
    #[error("what NVRTC made of ops/{operator}/kernel.cu for {architecture} is {source}")]
    Cubin {
        /// Whose kernels.
        operator: &'static str,
        /// For which GPU.
        architecture: Architecture,
        /// What is wrong with it.
        source: CubinError,
    },
}

/// Compiles every source for every architecture into `folder`, except for what this compiler has made before, and hands each to
/// `built` when it is there.
///
/// # Errors
/// The first cubin that cannot be made or kept. Those before it stay.
pub fn build(
    sources: &[KernelSource],
    architectures: &[Architecture],
    compiler: &dyn Compiler,
    folder: &CubinFolder,
    built: &mut dyn FnMut(Built),
) -> Result<(), BuildError> {
    let version = compiler.version();
    for &architecture in architectures {
        for source in sources {
            let operator = source.operator;
            if let Some(entry) = folder.find_compiled(source, architecture, version) {
                built(Built {
                    operator,
                    architecture,
                    path: entry.path,
                    compiled: false,
                    log: String::new(),
                });
                continue;
            }
            let compiled = compiler.compile(source, architecture)?;
            // What cannot be read here could not be listed or checked later.
            resources(&compiled.cubin).map_err(|source| BuildError::Cubin {
                operator,
                architecture,
                source,
            })?;
            let path = folder.store(source, architecture, version, &compiled.cubin)?;
            built(Built { operator, architecture, path, compiled: true, log: compiled.log });
        }
    }
    Ok(())
}
