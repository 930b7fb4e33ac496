//! The cubins of every operator for one GPU, compiled by a child process where they are missing.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cache::Folders;
use super::sources::SOURCES;
use super::{Architecture, KernelSource};

/// The variable that names the program that compiles kernels, where that is not this one: in tests and benches.
pub const PROGRAM_VARIABLE: &str = "SWEEP_PROGRAM";

/// Set for the child. A program that is no `sweep` could end up here again, and start itself for ever.
const CHILD_VARIABLE: &str = "SWEEP_KERNELS_CHILD";

/// The kernels of one operator, as the driver loads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelImage {
    /// The operator, by the name of its folder under `ops/`.
    pub operator: &'static str,
    /// An ELF file.
    pub cubin: Vec<u8>,
}

/// Why there are no kernels.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Nowhere to keep them.
    #[error(
        "kernels for {architecture} must be compiled, and there is no folder to keep them in: set HOME or XDG_CACHE_HOME, or \
         SWEEP_KERNELS to a folder that `sweep kernels build --arch {architecture} --out DIR` filled"
    )]
    NoFolder {
        /// For which GPU.
        architecture: Architecture,
    },
    /// The child did not start.
    #[error("cannot start {program} to compile kernels for {architecture}: {source}")]
    Start {
        /// What was started.
        program: PathBuf,
        /// For which GPU.
        architecture: Architecture,
        /// What the system says.
        source: io::Error,
    },
    /// The child could not do it.
    #[error("`{program} kernels build --arch {architecture}` failed ({status}):\n{said}")]
    Failed {
        /// What was started.
        program: PathBuf,
        /// For which GPU.
        architecture: Architecture,
        /// How it ended.
        status: String,
        /// What it said.
        said: String,
    },
    /// The child did it, and there is still no cubin.
    #[error(
        "{program} did not compile the kernels of {operator} for {architecture} that this program has; {PROGRAM_VARIABLE} must \
         name a `sweep` of the same build"
    )]
    OtherKernels {
        /// What was started.
        program: PathBuf,
        /// Whose kernels are missing.
        operator: &'static str,
        /// For which GPU.
        architecture: Architecture,
    },
}

/// The kernels of every operator for `architecture`, in the order of [`SOURCES`]: shipped, kept from an earlier time, or compiled
/// now, which takes seconds.
///
/// # Errors
/// If some are missing and cannot be compiled: no NVRTC, a GPU that it does not know, nowhere to keep them.
pub fn images(architecture: Architecture) -> Result<Vec<KernelImage>, KernelError> {
    images_of(SOURCES, architecture, &Folders::of_environment(), &compile_in_child)
}

/// As [`images`], with the sources, the folders and the way of compiling from outside. `compile` returns the program it used.
pub(super) fn images_of(
    sources: &[KernelSource],
    architecture: Architecture,
    folders: &Folders,
    compile: &dyn Fn(Architecture) -> Result<PathBuf, KernelError>,
) -> Result<Vec<KernelImage>, KernelError> {
    let find = |source: &KernelSource| {
        let entry = folders.find(source, architecture).ok_or(source.operator)?;
        Ok(KernelImage { operator: source.operator, cubin: entry.cubin })
    };
    let found: Result<Vec<_>, &'static str> = sources.iter().map(find).collect();
    if let Ok(images) = found {
        return Ok(images);
    }
    if folders.own.is_none() {
        return Err(KernelError::NoFolder { architecture });
    }
    let program = compile(architecture)?;
    let found: Result<Vec<_>, &'static str> = sources.iter().map(find).collect();
    found.map_err(|operator| KernelError::OtherKernels { program, operator, architecture })
}

/// Runs `sweep kernels build` for what is missing, with the program that the environment names or this one.
fn compile_in_child(architecture: Architecture) -> Result<PathBuf, KernelError> {
    let start = |program: PathBuf| move |source| KernelError::Start { program, architecture, source };
    let named = std::env::var_os(PROGRAM_VARIABLE).filter(|program| !program.is_empty()).map(PathBuf::from);
    let program = match named {
        Some(program) => program,
        None => std::env::current_exe().map_err(start(PathBuf::from("this program")))?,
    };
    if std::env::var_os(CHILD_VARIABLE).is_some() {
        return Err(start(program)(io::Error::other(format!(
            "it is no `sweep`; {PROGRAM_VARIABLE} names one"
        ))));
    }
    tracing::info!(%architecture, "compiling kernels");
    run_child(&program, architecture)?;
    Ok(program)
}

/// Runs `program kernels build` to its end.
pub(super) fn run_child(program: &Path, architecture: Architecture) -> Result<(), KernelError> {
    let output = Command::new(program)
        .args(["kernels", "build", "--arch", &architecture.to_string()])
        .env(CHILD_VARIABLE, "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| KernelError::Start { program: program.to_owned(), architecture, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(KernelError::Failed {
        program: program.to_owned(),
        architecture,
        status: output.status.to_string(),
        said,
    })
}
