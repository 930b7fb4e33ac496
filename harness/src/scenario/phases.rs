//! What happens in a trial, checked.

use std::time::Duration;

use ledger::{Phase, Tokens};

/// The length of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptTokens {
    /// So many tokens.
    Count(Tokens),
    /// As many as the target accepts.
    MaxInputLen,
}

impl PromptTokens {
    /// The number of tokens, for a target that accepts `max_input_len`.
    pub fn resolve(self, max_input_len: Tokens) -> Tokens {
        match self {
            PromptTokens::Count(count) => count,
            PromptTokens::MaxInputLen => max_input_len,
        }
    }
}

/// A phase that lasts a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How long.
    pub lasts: Duration,
    /// When to give up.
    pub timeout: Duration,
}

/// The prefill phase: one prompt after the other, each up to its first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefill {
    /// Length of each prompt.
    pub prompt: PromptTokens,
    /// How many.
    pub requests: u32,
    /// When to give up, over all prompts.
    pub timeout: Duration,
}

/// The decode phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decode {
    /// Length of a prompt of its own; without one, the last stream of the prefill phase goes on.
    pub prompt: Option<PromptTokens>,
    /// Tokens to generate, the first one included.
    pub output: Tokens,
    /// When to give up.
    pub timeout: Duration,
}

/// The phases of a trial. Their order is that of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases {
    /// Before anything is loaded.
    pub idle: Option<Wait>,
    /// When to give up on loading.
    pub load_timeout: Duration,
    /// Reading prompts.
    pub prefill: Option<Prefill>,
    /// Generating.
    pub decode: Option<Decode>,
    /// Quiet after work.
    pub settle: Option<Wait>,
    /// When to give up on an orderly end.
    pub unload_timeout: Duration,
}

impl Phases {
    /// The longest output of any request. A prefill alone asks for one token.
    pub fn output(&self) -> Tokens {
        self.decode.map_or(Tokens(1), |decode| decode.output)
    }

    /// The longest context of any request: prompt and output together.
    pub fn context(&self, max_input_len: Tokens) -> Tokens {
        let resolve = |prompt: PromptTokens| prompt.resolve(max_input_len).0;
        let prefill = self.prefill.map_or(0, |prefill| resolve(prefill.prompt));
        let decode = self
            .decode
            .map_or(0, |decode| decode.prompt.map_or(prefill, resolve).saturating_add(decode.output.0));
        Tokens(decode.max(prefill.saturating_add(u32::from(prefill > 0))))
    }

    /// The phases that will be entered.
    pub fn listed(&self) -> Vec<Phase> {
        let present = |phase: &Phase| match phase {
            Phase::Idle => self.idle.is_some(),
            Phase::Prefill => self.prefill.is_some(),
            Phase::Decode => self.decode.is_some(),
            Phase::Settle => self.settle.is_some(),
            Phase::Load | Phase::Unload => true,
        };
        Phase::ALL.into_iter().filter(present).collect()
    }
}
