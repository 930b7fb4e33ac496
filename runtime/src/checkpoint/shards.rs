//! All tensors of a model directory: one `model.safetensors`, or the shards that `model.safetensors.index.json` lists.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::error::CheckpointError;
use super::safetensors::{SafetensorsFile, Tensor};

/// The file of a checkpoint in one piece.
const SINGLE_FILE: &str = "model.safetensors";
/// The file that lists the shards of a checkpoint in several.
const INDEX_FILE: &str = "model.safetensors.index.json";

/// Why an index of shards is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IndexProblem {
    /// Not the JSON of an index.
    #[error("{0}; download the index again")]
    Json(serde_json::Error),
    /// A shard outside the directory.
    #[error(
        "tensor `{tensor}` is in `{shard}`, which is not a plain file name; do not use this checkpoint unless you trust where it came from"
    )]
    ShardPath {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// A shard that is not in the directory.
    #[error("shard `{shard}` with {tensors} tensors is missing; download it into the same directory")]
    MissingShard {
        /// The shard.
        shard: String,
        /// How many tensors it should have.
        tensors: usize,
    },
    /// A tensor that is not in its shard.
    #[error(
        "tensor `{tensor}` is not in its shard `{shard}`; download the index and the shard again, from one revision"
    )]
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
}

/// The tensors of a directory. Opening it reads headers only.
#[derive(Debug)]
pub(super) struct Shards {
    directory: PathBuf,
    index: Option<PathBuf>,
    files: Vec<SafetensorsFile>,
    /// Tensor name to its place in `files`.
    tensors: HashMap<String, usize>,
}

impl Shards {
    /// Opens the checkpoint in `directory`.
    ///
    /// With both an index and a `model.safetensors` there, the index counts if it lists that file (an MTP head in a
    /// shard of its own is published so); otherwise it is left over from before a conversion.
    pub(super) fn open(directory: &Path) -> Result<Shards, CheckpointError> {
        let single = directory.join(SINGLE_FILE);
        let index = directory.join(INDEX_FILE);
        if !index.exists() {
            if single.exists() {
                return Shards::open_single(directory, &single);
            }
            return Err(CheckpointError::NoWeights { directory: directory.to_path_buf() });
        }
        let text = std::fs::read_to_string(&index)
            .map_err(|error| CheckpointError::Io { path: index.clone(), error })?;
        let Index { weight_map } = serde_json::from_str(&text).map_err(|error| CheckpointError::Index {
            path: index.clone(),
            problem: IndexProblem::Json(error),
        })?;
        if single.exists() && weight_map.values().all(|shard| shard != SINGLE_FILE) {
            return Shards::open_single(directory, &single);
        }
        Shards::open_indexed(directory, index, &weight_map)
    }

    fn open_single(directory: &Path, path: &Path) -> Result<Shards, CheckpointError> {
        let file = SafetensorsFile::open(path)?;
        let tensors = file.names().map(|name| (name.to_owned(), 0)).collect();
        Ok(Shards { directory: directory.to_path_buf(), index: None, files: vec![file], tensors })
    }

    fn open_indexed(
        directory: &Path,
        index: PathBuf,
        weight_map: &BTreeMap<String, String>,
    ) -> Result<Shards, CheckpointError> {
        let refuse = |problem| CheckpointError::Index { path: index.clone(), problem };
        let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in weight_map {
            if !is_plain_file_name(shard) {
                let (tensor, shard) = (tensor.clone(), shard.clone());
                return Err(refuse(IndexProblem::ShardPath { tensor, shard }));
            }
            shards.entry(shard).or_default().push(tensor);
        }
        let mut files = Vec::with_capacity(shards.len());
        let mut tensors = HashMap::with_capacity(weight_map.len());
        for (&shard, names) in &shards {
            let path = directory.join(shard);
            if !path.exists() {
                let (shard, tensors) = (shard.to_owned(), names.len());
                return Err(refuse(IndexProblem::MissingShard { shard, tensors }));
            }
            let file = SafetensorsFile::open(&path)?;
            for &name in names {
                if file.tensor(name).is_none() {
                    let (tensor, shard) = (name.to_owned(), shard.to_owned());
                    return Err(refuse(IndexProblem::MissingTensor { tensor, shard }));
                }
                tensors.insert(name.to_owned(), files.len());
            }
            files.push(file);
        }
        Ok(Shards { directory: directory.to_path_buf(), index: Some(index), files, tensors })
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The index, where there is one, and the files with weights.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.index.as_deref().into_iter().chain(self.files.iter().map(SafetensorsFile::path))
    }

    /// Whether there is a tensor `name` (as in the files).
    pub(super) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor `name` (as in the files).
    pub(super) fn find(&self, name: &str) -> Option<Tensor<'_>> {
        self.files[*self.tensors.get(name)?].tensor(name)
    }

    /// The tensor `name`, which must exist.
    pub(super) fn require(&self, name: &str) -> Result<Tensor<'_>, CheckpointError> {
        self.find(name).ok_or_else(|| CheckpointError::MissingTensor {
            directory: self.directory.clone(),
            tensor: name.to_owned(),
        })
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Whether `name` stays in its directory on every system.
fn is_plain_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0', ':'])
}
