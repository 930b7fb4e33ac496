//! What a lock pins: files by length and SHA-256, under names that cannot lead out of their folder.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use ledger::Bytes;

/// The word for what is not known yet.
pub const UNPINNED: &str = "unpinned";

/// A SHA-256 as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sha256Text(String);

impl Sha256Text {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for Sha256Text {
    type Err = String;

    fn from_str(text: &str) -> Result<Sha256Text, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.len() == 64 && text.bytes().all(is_digit) {
            true => Ok(Sha256Text(text.to_owned())),
            false => Err(format!("`{text}` is no SHA-256: 64 digits from 0 to f")),
        }
    }
}

impl fmt::Display for Sha256Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePin {
    /// Its length.
    pub bytes: Bytes,
    /// Its hash.
    pub sha256: Sha256Text,
}

/// The name of a file of a checkpoint. Checkpoints are flat, so it is a name and never a way: nothing that is written under it can
/// leave the folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

/// Why a text is not the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {why}", name.escape_debug())]
pub struct FileNameError {
    /// What it was.
    name: String,
    /// What is wrong with it.
    why: &'static str,
}

impl FileName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A path within a repository, checked as one that may be listed; `None` where it lies in a folder, which a checkpoint's
    /// files do not.
    ///
    /// # Errors
    /// When it leads out of the repository, or could on some system.
    pub fn from_listed(path: &str) -> Result<Option<FileName>, FileNameError> {
        let refuse = |why| Err(FileNameError { name: path.to_owned(), why });
        if path.is_empty() || path.len() > 512 {
            return refuse("is empty or too long for a file name");
        }
        if path.starts_with('/') || path.contains(['\\', ':']) {
            return refuse("is an absolute path, or has a drive or a backslash");
        }
        if path.chars().any(char::is_control) {
            return refuse("has control characters");
        }
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return refuse("leads out of its folder");
        }
        Ok((!path.contains('/')).then(|| FileName(path.to_owned())))
    }

    /// True for what a checkpoint is made of: configuration, weights, tokenizer, chat template, licence.
    pub fn is_needed(&self) -> bool {
        let name = self.0.as_str();
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("safetensors" | "json"))
            || ["merges.txt", "chat_template.jinja", "LICENSE"].contains(&name)
            || name.starts_with("tokenizer")
    }
}

impl FromStr for FileName {
    type Err = FileNameError;

    fn from_str(text: &str) -> Result<FileName, FileNameError> {
        let in_folder = || FileNameError { name: text.to_owned(), why: "lies in a folder of its own" };
        FileName::from_listed(text)?.ok_or_else(in_folder)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_anywhere() {
        for name in [
            "../up",
            "a/../../up",
            "/etc/passwd",
            "C:evil",
            "a\\..\\b",
            "",
            ".",
            "..",
            "a//b",
            "a\nb",
            "a\0b",
        ] {
            assert!(FileName::from_listed(name).is_err(), "{name:?}");
            assert!(name.parse::<FileName>().is_err(), "{name:?}");
        }
        assert_eq!(FileName::from_listed("onnx/model.json"), Ok(None));
        assert!("onnx/model.json".parse::<FileName>().is_err());
        assert!("..model".parse::<FileName>().is_ok(), "two dots are only dangerous alone");
    }

    #[test]
    fn what_a_checkpoint_is_made_of() {
        let needed = |name: &str| name.parse::<FileName>().expect("a name").is_needed();
        for name in [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
            "vocab.json",
            "merges.txt",
            "tokenizer.model",
            "chat_template.jinja",
            "LICENSE",
        ] {
            assert!(needed(name), "{name}");
        }
        for name in ["README.md", ".gitattributes", "model.gguf", "pytorch_model.bin", "run.py"] {
            assert!(!needed(name), "{name}");
        }
    }

    #[test]
    fn a_hash_has_64_digits() {
        assert!("0123456789abcdef".repeat(4).parse::<Sha256Text>().is_ok());
        for text in [&"A".repeat(64), "", "unpinned", &"é".repeat(32)] {
            assert!(text.parse::<Sha256Text>().is_err(), "{text}");
        }
    }
}
