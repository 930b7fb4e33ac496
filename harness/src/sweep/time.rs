//! How long a trial takes, foretold.

use std::time::Duration;

use ledger::{Millis, Tokens};

use crate::engines::Rates;
use crate::scenario::{Phases, PromptTokens};

/// Every phase of a trial, and what it takes to start and to stop a process.
pub fn trial_time(phases: &Phases, max_input_len: Tokens, rates: Rates) -> Millis {
    const PROCESS: Duration = Duration::from_millis(200);
    let prefill = |prompt: PromptTokens| f64::from(prompt.resolve(max_input_len).0) * rates.prefill_token.0;
    let waits = phases.idle.iter().chain(&phases.settle).map(|wait| wait.lasts).sum::<Duration>() + PROCESS;
    let prompts = phases.prefill.map_or(0.0, |phase| prefill(phase.prompt) * f64::from(phase.requests));
    let decode = phases.decode.map_or(0.0, |phase| {
        phase.prompt.map_or(0.0, prefill) + f64::from(phase.output.0) * rates.decode_token.0
    });
    Millis(waits.as_secs_f64() * 1000.0 + rates.load.0 + prompts + decode)
}
