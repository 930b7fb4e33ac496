//! HTTP over a runtime, in the shape of the OpenAI interface.
//!
//! One thread serves sockets, one runs the model. A request is checked and its prompt encoded as it arrives, so that
//! mistakes are told at once; then it waits its turn in a queue of limited length. The engine's thread decodes tokens
//! to text, looks for stop strings, and sends each token on as it comes. When the client goes away its
//! channel closes, and the engine stops at the next token.
//!
//! - [`builtin`]: the runtime of this workspace behind that trait.
//! - [`engine`]: what a runtime has to offer to be served.
//! - [`mod@serve`]: binding, loading, signals, the orderly end.
//! - `memory`: what the loaded runtime says of its memory.
//! - `connection`: the accept loop and its limits. `routes`: the endpoints.
//! - `request`: bodies in, checked. `reply`: bodies and event streams out. `error`: OpenAI's form of errors.
//! - `queue`, `batch`, `job`: requests that wait, those that run together, and each of them. `speculation`: what drafts came to.
//!   `stop`: stop strings.

#![forbid(unsafe_code)]

mod batch;
pub mod builtin;
mod clock;
mod connection;
pub mod engine;
mod error;
mod job;
mod memory;
mod queue;
mod reply;
mod request;
mod routes;
pub mod serve;
mod speculation;
mod stop;

pub use engine::{Drafted, GenerateError, GenerateOptions, Step, TextEngine, Turn};
pub use memory::MemoryWitness;
pub use serve::{MemoryHandle, ServeError, ServeOptions, serve, serve_until};
