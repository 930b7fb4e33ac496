//! Where an engine of the lock is from: `hf:OWNER/NAME@REVISION`, `path:FOLDER` or `synthetic:ARCHITECTURE@SEED`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use runtime::config::PUBLISHED;

use crate::scenario::ModelSource;

/// A commit of a repository: 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit(String);

impl Commit {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = String;

    fn from_str(text: &str) -> Result<Commit, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.len() == 40 && text.bytes().all(is_digit) {
            true => Ok(Commit(text.to_owned())),
            false => Err(format!("`{text}` is no commit: 40 digits from 0 to f")),
        }
    }
}

/// A repository of the Hub at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSource {
    /// `OWNER/NAME`.
    pub repository: String,
    /// A commit, or, as long as nothing is pinned, a branch or tag.
    pub revision: String,
}

impl HubSource {
    /// The commit, where the revision is one.
    pub fn commit(&self) -> Option<Commit> {
        self.revision.parse().ok()
    }

    /// The folder of this source below the folder of checkpoints: one for each commit, so that they never mix.
    pub fn folder(&self, checkpoints: &Path) -> PathBuf {
        let revision: String =
            self.revision.chars().map(|c| if c == '/' { '-' } else { c }).take(12).collect();
        checkpoints.join(format!("{}-{revision}", self.repository.replace('/', "--")))
    }
}

/// Where an engine is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockedSource {
    /// A repository of the Hub.
    Hub(HubSource),
    /// A folder in Hugging Face layout, from the lock's own folder.
    Path(String),
    /// Random weights in the true shapes of an architecture.
    Synthetic {
        /// The architecture.
        architecture: String,
        /// Decides the weights.
        seed: u64,
    },
}

impl LockedSource {
    /// The same as a model's source; what comes from the Hub lies below `checkpoints`.
    pub fn model_source(&self, checkpoints: &Path) -> ModelSource {
        match self {
            LockedSource::Hub(hub) => {
                ModelSource::Checkpoint(hub.folder(checkpoints).to_string_lossy().into_owned())
            }
            LockedSource::Path(path) => ModelSource::Checkpoint(path.clone()),
            LockedSource::Synthetic { architecture, seed } => {
                ModelSource::Synthetic { architecture: architecture.clone(), seed: *seed }
            }
        }
    }

    /// The folder of its files; `None` where everything follows from a seed.
    pub fn folder(&self, checkpoints: &Path) -> Option<PathBuf> {
        match self {
            LockedSource::Hub(hub) => Some(hub.folder(checkpoints)),
            LockedSource::Path(path) => Some(PathBuf::from(path)),
            LockedSource::Synthetic { .. } => None,
        }
    }
}

impl fmt::Display for LockedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockedSource::Hub(hub) => write!(f, "hf:{}@{}", hub.repository, hub.revision),
            LockedSource::Path(path) => write!(f, "path:{path}"),
            LockedSource::Synthetic { architecture, seed } => write!(f, "synthetic:{architecture}@{seed}"),
        }
    }
}

impl FromStr for LockedSource {
    type Err = String;

    fn from_str(text: &str) -> Result<LockedSource, String> {
        let forms = || {
            format!(
                "`{text}` is no source: hf:OWNER/NAME@REVISION, path:FOLDER or synthetic:ARCHITECTURE@SEED"
            )
        };
        let is_plain = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && part.chars().all(plain) && !part.starts_with('.') && !part.contains("..")
        };
        match text.split_once(':').ok_or_else(forms)? {
            ("hf", rest) => {
                let (repository, revision) = rest.split_once('@').ok_or_else(forms)?;
                let is_repository = repository.split('/').count() == 2 && repository.split('/').all(is_plain);
                match is_repository && revision.split('/').all(is_plain) {
                    true => Ok(LockedSource::Hub(HubSource {
                        repository: repository.to_owned(),
                        revision: revision.to_owned(),
                    })),
                    false => Err(forms()),
                }
            }
            ("path", path) if !path.is_empty() => Ok(LockedSource::Path(path.to_owned())),
            ("synthetic", rest) => {
                let (architecture, seed) = rest.split_once('@').ok_or_else(forms)?;
                if !PUBLISHED.contains(&architecture) {
                    let known = PUBLISHED.join(", ");
                    return Err(format!("there is no architecture `{architecture}`; there are {known}"));
                }
                let seed = seed.parse().map_err(|_| forms())?;
                Ok(LockedSource::Synthetic { architecture: architecture.to_owned(), seed })
            }
            _ => Err(forms()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_as_they_are_written() {
        for text in [
            "hf:Qwen/Qwen3-4B-AWQ@main",
            "hf:Qwen/Qwen3-4B-AWQ@refs/pr/1",
            "path:fixtures/trained/hybrid-awq",
            "synthetic:Qwen3.5-4B@1",
        ] {
            assert_eq!(text.parse::<LockedSource>().map(|source| source.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "Qwen/Qwen3-4B",
            "hf:Qwen/Qwen3-4B",
            "hf:Qwen@main",
            "hf:../x@main",
            "hf:a/b/c@main",
            "hf:a/..@main",
            "hf:a/b@../x",
            "path:",
            "synthetic:Qwen9@1",
            "synthetic:Qwen3-4B@one",
            "http:a/b@c",
        ] {
            assert!(text.parse::<LockedSource>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_commit_has_a_folder_of_its_own() {
        let folder = |revision: &str| {
            let hub = HubSource { repository: "Qwen/Qwen3-4B-AWQ".to_owned(), revision: revision.to_owned() };
            hub.folder(Path::new("checkpoints"))
        };
        let first = folder(&"0123456789abcdef0123".repeat(2));
        assert_eq!(first, Path::new("checkpoints/Qwen--Qwen3-4B-AWQ-0123456789ab"));
        assert_ne!(first, folder(&"f".repeat(40)));
    }
}
