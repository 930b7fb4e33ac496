//! Checkpoints from the Hub, whole or not at all: every file is held against its hash before it gets its name.
//!
//! - `engine`: an engine of the lock, fetched and pinned.
//! - `endpoint`: where the Hub is, or a folder that stands for it; `token`: who asks.
//! - `hub`: which files a repository has, and where they are; `http`: one request, redirects included.
//! - `transfer`: one file from the Hub, taken up again where it broke off; `mirror`: one file from a folder.
//! - `part`: the unfinished file; `patience`: when to try again, and when to stop; `exclusive`: one fetch at a time in a folder.

mod blob;
mod endpoint;
mod engine;
mod error;
mod exclusive;
mod http;
mod hub;
mod mirror;
mod part;
mod patience;
mod token;
mod transfer;

pub use endpoint::Endpoint;
pub use engine::{Fetched, Pinning, Request, fetch};
pub use error::FetchError;
pub use patience::Patience;
pub use token::Token;
