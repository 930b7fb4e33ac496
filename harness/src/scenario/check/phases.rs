//! The phases of a trial.

use std::time::Duration;

use ledger::{Phase, Tokens};

use super::super::diagnostic::Diagnostic;
use super::super::file::{PhaseFile, Scalar, WaitFile};
use super::super::located::Located;
use super::super::phases::{Decode, Phases, Prefill, PromptTokens, Wait};
use super::Mistakes;

fn prompt_of(prompt: &Located<Scalar>, mistakes: &mut Mistakes) -> PromptTokens {
    match (prompt.0.as_str(), prompt.0.parse()) {
        ("maxInputLen", _) => PromptTokens::MaxInputLen,
        (_, Ok(count @ 1..=1_048_576)) => PromptTokens::Count(Tokens(count)),
        _ => {
            mistakes.push(
                Diagnostic::new(format!("a prompt cannot have `{}` tokens", prompt.0), prompt.span.clone())
                    .hint("it takes a number from 1, or `maxInputLen`"),
            );
            PromptTokens::MaxInputLen
        }
    }
}

fn positive(count: &Located<u32>, what: &str, mistakes: &mut Mistakes) -> u32 {
    if count.value == 0 {
        mistakes.push(Diagnostic::new(format!("{what} must be at least 1"), count.span.clone()));
    }
    count.value
}

pub(super) fn phases_of(
    listed: &Located<Vec<Located<PhaseFile>>>,
    mistakes: &mut Mistakes,
) -> Option<Phases> {
    let (mut idle, mut load, mut prefill, mut decode, mut settle, mut unload) =
        (None, None, None, None, None, None);
    let mut before: Option<Phase> = None;
    for phase in &listed.value {
        let now = match &phase.value {
            PhaseFile::Idle(file) => {
                idle = Some(wait_of(file, mistakes));
                Phase::Idle
            }
            PhaseFile::Load(file) => {
                load = Some(file.timeout.0);
                Phase::Load
            }
            PhaseFile::Prefill(file) => {
                let requests = file.requests.as_ref();
                prefill = Some(Prefill {
                    prompt: prompt_of(&file.prompt_tokens, mistakes),
                    requests: requests.map_or(1, |requests| positive(requests, "requests", mistakes)),
                    timeout: file.timeout.0,
                });
                Phase::Prefill
            }
            PhaseFile::Decode(file) => {
                if file.prompt_tokens.is_none() && prefill.is_none() {
                    mistakes.push(
                        Diagnostic::new(
                            "there is no prefill phase whose stream could go on",
                            phase.span.clone(),
                        )
                        .hint("add `promptTokens`, or a prefill phase before this one"),
                    );
                }
                decode = Some(Decode {
                    prompt: file.prompt_tokens.as_ref().map(|prompt| prompt_of(prompt, mistakes)),
                    output: Tokens(positive(&file.output_tokens, "outputTokens", mistakes)),
                    timeout: file.timeout.0,
                });
                Phase::Decode
            }
            PhaseFile::Settle(file) => {
                settle = Some(wait_of(file, mistakes));
                Phase::Settle
            }
            PhaseFile::Unload(file) => {
                unload = Some(file.timeout.0);
                Phase::Unload
            }
        };
        if let Some(before) = before.filter(|before| *before >= now) {
            let message = if before == now {
                format!("the phase `{now}` stands here for the second time")
            } else {
                format!("the phase `{now}` cannot come after `{before}`")
            };
            let order = Phase::ALL.map(Phase::name).join(", ");
            mistakes.push(Diagnostic::new(message, phase.span.clone()).hint(format!("the order is {order}")));
        }
        before = Some(now);
    }
    let Some(load_timeout) = load else {
        mistakes.push(
            Diagnostic::new("the phase `load` is missing", listed.span.clone())
                .hint("add `- load: {timeout: 120 s}`"),
        );
        return None;
    };
    let unload_timeout = unload.unwrap_or(Duration::from_secs(10));
    Some(Phases { idle, load_timeout, prefill, decode, settle, unload_timeout })
}

fn wait_of(file: &WaitFile, mistakes: &mut Mistakes) -> Wait {
    if file.lasts.0 > file.timeout.0 {
        mistakes.push(Diagnostic::new(
            format!("the phase lasts {} but gives up after {}", file.lasts.value, file.timeout),
            file.lasts.span.clone(),
        ));
    }
    Wait { lasts: file.lasts.0, timeout: file.timeout.0 }
}
