//! The name that Git has for what is in a file: by it the Hub lists small files, of which it has no SHA-256.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use sha1::{Digest, Sha1};

use super::FetchError;

/// The SHA-1 of `blob LENGTH`, a zero byte and the bytes (Git, "Git Objects"), as 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlobName(String);

impl BlobName {
    /// The name of what is in the file at `path`.
    pub(super) fn of(path: &Path) -> Result<BlobName, FetchError> {
        let failed = FetchError::io("read", path);
        let read = || {
            let mut file = File::open(path)?;
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {}\0", file.metadata()?.len()));
            let mut buffer = vec![0; 1 << 16];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(hasher.finalize()),
                    read => hasher.update(&buffer[..read]),
                }
            }
        };
        let digest = read().map_err(failed)?;
        Ok(BlobName(digest.iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl FromStr for BlobName {
    type Err = String;

    fn from_str(text: &str) -> Result<BlobName, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.len() == 40 && text.bytes().all(is_digit) {
            true => Ok(BlobName(text.to_owned())),
            false => Err(format!("`{text}` is no name of a Git blob: 40 digits from 0 to f")),
        }
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_git_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // `git hash-object` of an empty file, and of one with these five bytes.
        for (bytes, name) in [
            ("", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            ("test\n", "9daeafb9864cf43055ae93beb0afd6c7d144bfa4"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(BlobName::of(&path).unwrap(), name.parse().unwrap());
        }
        assert!("e69d".parse::<BlobName>().is_err() && "E".repeat(40).parse::<BlobName>().is_err());
    }
}
