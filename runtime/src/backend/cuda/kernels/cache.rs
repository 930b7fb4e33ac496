//! Where cubins are kept, and which of them are trusted.
//!
//! An entry is two files: `OPERATOR-ARCHITECTURE-SOURCE-nvrtcVERSION.cubin` and beside it `….json` with the hashes of the source and
//! of the cubin. `SOURCE` is the beginning of the source's hash. An entry whose hashes do not match is as good as none.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Architecture, CompilerVersion, KernelSource};
use crate::engine_dir::hexadecimal;

/// Version of the JSON beside a cubin.
const FORMAT_VERSION: u32 = 1;

/// How much of the source's hash stands in a file's name.
const HASH_IN_NAME: usize = 16;

/// The variable that names the folder with shipped cubins.
pub const KERNELS_VARIABLE: &str = "SWEEP_KERNELS";

/// A folder with cubins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CubinFolder {
    path: PathBuf,
}

/// What stands beside a cubin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CubinRecord {
    format_version: u32,
    /// Whose kernels.
    pub operator: String,
    /// For which GPU.
    pub architecture: String,
    /// Version of NVRTC.
    pub nvrtc: String,
    /// [`KernelSource::sha256`].
    pub source_sha256: String,
    /// SHA-256 of the cubin.
    pub cubin_sha256: String,
}

/// A cubin that is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CubinEntry {
    /// Where it lies.
    pub path: PathBuf,
    /// What stands beside it.
    pub record: CubinRecord,
    /// The compiler that made it.
    pub version: CompilerVersion,
    /// The cubin.
    pub cubin: Vec<u8>,
}

/// A cubin could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct CacheError {
    path: PathBuf,
    source: io::Error,
}

/// The folders that cubins are looked for in: the shipped one, which is only read, then the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// [`KERNELS_VARIABLE`], or `kernels/` beside the program where there is one.
    pub shipped: Option<CubinFolder>,
    /// `sweep/kernels` in the user's cache; `None` where no variable says where that is.
    pub own: Option<CubinFolder>,
}

impl Folders {
    /// Those of this process's environment.
    pub fn of_environment() -> Folders {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let beside = || {
            let program = std::env::current_exe().ok()?;
            Some(program.parent()?.join("kernels")).filter(|folder| folder.is_dir())
        };
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        Folders {
            shipped: variable(KERNELS_VARIABLE).or_else(beside).map(CubinFolder::new),
            own: cache.map(|cache| CubinFolder::new(cache.join("sweep/kernels"))),
        }
    }

    /// Cubins of `source` for `architecture`: the first folder that has one decides. Any compiler will do, the oldest first,
    /// because a driver runs what compilers of its age or older made.
    pub fn find(&self, source: &KernelSource, architecture: Architecture) -> Option<CubinEntry> {
        self.all().find_map(|folder| folder.find(source, architecture))
    }

    /// Both folders, in the order in which they are looked through.
    pub fn all(&self) -> impl Iterator<Item = &CubinFolder> {
        self.shipped.iter().chain(&self.own)
    }
}

impl CubinFolder {
    /// The folder at `path`; it need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> CubinFolder {
        CubinFolder { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cubin of `source` for `architecture`, whatever compiler made it, the oldest first.
    pub fn find(&self, source: &KernelSource, architecture: Architecture) -> Option<CubinEntry> {
        let prefix = format!("{}nvrtc", prefix(source, architecture));
        let mut entries: Vec<CubinEntry> = self
            .cubins()
            .into_iter()
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .filter_map(|path| read(&path))
            .filter(|entry| entry.is_of(source, architecture))
            .collect();
        entries.sort_by_key(|entry| entry.version);
        entries.into_iter().next()
    }

    /// The cubin that `version` made of `source` for `architecture`.
    pub fn find_compiled(
        &self,
        source: &KernelSource,
        architecture: Architecture,
        version: CompilerVersion,
    ) -> Option<CubinEntry> {
        read(&self.path_of(source, architecture, version))
            .filter(|entry| entry.is_of(source, architecture) && entry.version == version)
    }

    /// Every file that is named as a cubin, with its entry if it can be trusted.
    pub fn entries(&self) -> Vec<(PathBuf, Option<CubinEntry>)> {
        self.cubins().into_iter().map(|path| (path.clone(), read(&path))).collect()
    }

    /// Keeps a cubin, in place of one of the same key.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn store(
        &self,
        source: &KernelSource,
        architecture: Architecture,
        version: CompilerVersion,
        cubin: &[u8],
    ) -> Result<PathBuf, CacheError> {
        let path = self.path_of(source, architecture, version);
        let record = CubinRecord {
            format_version: FORMAT_VERSION,
            operator: source.operator.to_owned(),
            architecture: architecture.to_string(),
            nvrtc: version.to_string(),
            source_sha256: source.sha256(),
            cubin_sha256: sha256(cubin),
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CacheError { path, source }
        };
        std::fs::create_dir_all(&self.path).map_err(failed(&self.path))?;
        let text = serde_json::to_vec_pretty(&record).map_err(io::Error::from).map_err(failed(&path))?;
        // The record last: until it fits the cubin, the entry is not trusted.
        for (path, content) in [(path.clone(), cubin), (record_path(&path), &text)] {
            replace(&path, content).map_err(failed(&path))?;
        }
        Ok(path)
    }

    fn path_of(
        &self,
        source: &KernelSource,
        architecture: Architecture,
        version: CompilerVersion,
    ) -> PathBuf {
        self.path.join(format!("{}nvrtc{version}.cubin", prefix(source, architecture)))
    }

    /// Files that are named as cubins, sorted.
    fn cubins(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut cubins: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|extension| extension == "cubin")).collect();
        cubins.sort();
        cubins
    }
}

impl CubinEntry {
    fn is_of(&self, source: &KernelSource, architecture: Architecture) -> bool {
        let record = &self.record;
        record.operator == source.operator
            && record.architecture == architecture.to_string()
            && record.source_sha256 == source.sha256()
    }
}

/// What the names of a source's entries begin with.
fn prefix(source: &KernelSource, architecture: Architecture) -> String {
    let hash = source.sha256();
    format!("{}-{architecture}-{}-", source.operator, &hash[..HASH_IN_NAME])
}

fn record_path(cubin: &Path) -> PathBuf {
    cubin.with_added_extension("json")
}

/// The entry at `path`, if cubin and record are there and fit each other.
fn read(path: &Path) -> Option<CubinEntry> {
    let record: CubinRecord = serde_json::from_slice(&std::fs::read(record_path(path)).ok()?).ok()?;
    let cubin = std::fs::read(path).ok()?;
    let version = record.nvrtc.parse().ok()?;
    let trusted = record.format_version == FORMAT_VERSION && record.cubin_sha256 == sha256(&cubin);
    trusted.then(|| CubinEntry { path: path.to_owned(), record, version, cubin })
}

/// Writes a file beside `path` and gives it that name, so that nobody reads half of it.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension(format!("{}.part", std::process::id()));
    let written = std::fs::write(&beside, content).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // Whatever is left of it is of no use; the first error is the one to report.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}
