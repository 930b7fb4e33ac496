//! What goes wrong on the way from the Hub to the disk.

use std::io;
use std::path::{Path, PathBuf};

use ledger::Bytes;

use crate::lock::{FileNameError, LockError};

/// Why a checkpoint is not there. Addresses are without their query, which may be a signature.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address of the Hub cannot be used.
    #[error("HF_ENDPOINT is no address of a hub: {why}")]
    Endpoint {
        /// Why.
        why: String,
    },
    /// A token would travel where everyone can read it.
    #[error("HF_TOKEN would be sent unencrypted to {address}")]
    TokenUnprotected {
        /// Where.
        address: String,
    },
    /// There is no encrypted connection, and trying again would not make one.
    #[error("no encrypted connection to {address}: {why}")]
    Tls {
        /// To whom.
        address: String,
        /// What the library says.
        why: String,
    },
    /// The engine does not come from the Hub.
    #[error("`{engine}` is from {origin}, so there is nothing to fetch")]
    NotOfHub {
        /// The engine.
        engine: String,
        /// Where it is from.
        origin: String,
    },
    /// Nobody knows what the files should be.
    #[error("nothing of `{engine}` is pinned, so nobody knows what its files should be")]
    Unpinned {
        /// The engine.
        engine: String,
    },
    /// The Hub, or whoever answered in its place, says no.
    #[error("{address} answered {status}")]
    Refused {
        /// What was asked.
        address: String,
        /// The status.
        status: u16,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The Hub has too much to do, for too long.
    #[error("{address} answered {status} {tries} times")]
    Busy {
        /// What was asked.
        address: String,
        /// The status.
        status: u16,
        /// How often.
        tries: u32,
    },
    /// The connection is not made, or breaks, and nothing more arrives.
    #[error("{address} cannot be read, {tries} tries brought nothing more: {why}")]
    Broken {
        /// What was asked.
        address: String,
        /// How often in a row.
        tries: u32,
        /// What the transport says.
        why: String,
    },
    /// A redirect that is not followed.
    #[error("{address} leads elsewhere, and {why}")]
    Redirect {
        /// What was asked.
        address: String,
        /// Why it is not followed.
        why: String,
    },
    /// The list of a repository's files cannot be used.
    #[error("the list of the files of {repository} cannot be used: {why}")]
    List {
        /// The repository.
        repository: String,
        /// Why.
        why: String,
    },
    /// A listed file would be written somewhere else.
    #[error("the list of the files of {repository} is refused whole: {name}")]
    UnsafeName {
        /// The repository.
        repository: String,
        /// What is wrong with the name.
        name: FileNameError,
    },
    /// The files are those of another commit.
    #[error("{repository} was asked for commit {asked} and answered with {found}")]
    OtherCommit {
        /// The repository.
        repository: String,
        /// What was asked for.
        asked: String,
        /// What came.
        found: String,
    },
    /// What is offered under a file's name is another file.
    #[error("{file} is offered with sha256 {found}, and should have {expected}")]
    OtherFile {
        /// The file.
        file: String,
        /// As pinned or listed.
        expected: String,
        /// As offered.
        found: String,
    },
    /// A file has another length.
    #[error("{file} has {found} B where {expected} B were announced")]
    Length {
        /// The file.
        file: String,
        /// As pinned or listed.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A file has other bytes. They are gone.
    #[error("{file} arrived with {hash} {found}, and should have {expected}; it was deleted")]
    WrongHash {
        /// The file.
        file: String,
        /// Which hash, in words.
        hash: &'static str,
        /// As pinned or listed.
        expected: String,
        /// What came.
        found: String,
    },
    /// The disk has no room.
    #[error("{folder} needs {needed} more and its disk has {free} free; nothing was fetched")]
    DiskFull {
        /// Where the files would go.
        folder: PathBuf,
        /// What is missing of them, and what stays free.
        needed: Bytes,
        /// What the disk has.
        free: Bytes,
    },
    /// A file operation failed.
    #[error("{action} {path}: {cause}")]
    Io {
        /// What was done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A folder has no commit.
    #[error(
        "{folder} is a folder and does not say which commit it holds, so `{engine}` cannot be pinned from it"
    )]
    NoCommit {
        /// The folder.
        folder: PathBuf,
        /// The engine.
        engine: String,
    },
    /// The lock cannot be read or written.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The user asked to stop.
    #[error("fetching was interrupted; the same command goes on where it stopped")]
    Interrupted,
}

impl FetchError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            FetchError::TokenUnprotected { .. } => "use an https:// address, or unset HF_TOKEN",
            FetchError::Tls { .. } => {
                "the system's certificates decide who is trusted: where there are none, install ca-certificates; SSL_CERT_FILE names others"
            }
            FetchError::Unpinned { .. } => {
                "`--pin` fetches what there is now, and writes commit and hashes into engines.lock"
            }
            FetchError::NotOfHub { .. } => "`sweep build NAME` builds it",
            FetchError::Refused { status: 401 | 403, with_token: false, .. } => {
                "the repository may be private or ask for consent: set HF_TOKEN"
            }
            FetchError::Refused { status: 401 | 403, .. } => {
                "HF_TOKEN was sent: does it stand for someone who may read the repository?"
            }
            FetchError::Refused { status: 404, .. } => {
                "look for a typing mistake in repository and revision in engines.lock; a mirror may lack them"
            }
            FetchError::Busy { .. } | FetchError::Broken { .. } => {
                "what has arrived is kept: the same command goes on later. HF_ENDPOINT names a mirror"
            }
            FetchError::OtherFile { .. } | FetchError::WrongHash { .. } | FetchError::Length { .. } => {
                "a mirror that changed something, or a damaged connection: try again, or another HF_ENDPOINT"
            }
            FetchError::DiskFull { .. } => "free some, or `--checkpoints DIR` on another disk",
            FetchError::NoCommit { .. } => {
                "write the commit into engines.lock, `hf:OWNER/NAME@` and its 40 digits, and pin again"
            }
            FetchError::Lock(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// For `map_err` on a file operation.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FetchError {
        let path = path.to_owned();
        move |cause| FetchError::Io { action, path, cause }
    }
}
