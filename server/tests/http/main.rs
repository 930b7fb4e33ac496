//! The server over real sockets, with an engine that follows a script.

#![expect(clippy::unwrap_used, reason = "where the scaffolding fails, the test fails")]

mod chat;
mod client;
mod completions;
mod fake;
mod lifecycle;
mod queueing;
mod refusals;
