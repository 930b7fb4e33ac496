//! `sweep chat`: a conversation with a model, on a terminal or through a pipe.
//!
//! - `command`: the verb: which model, who speaks when, and the line at the end.
//! - `speaker`: a loaded model that answers one conversation, and what its answers came to.

mod command;
mod speaker;

pub(super) use command::chat;
