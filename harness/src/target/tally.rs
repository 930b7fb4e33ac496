//! What the events of a stream have said so far: how many tokens there are, and what drafting came to.

use std::sync::Arc;

use serde::Deserialize;

use crate::engines::TextCounter;
use crate::record::Speculation;

/// A target's message longer than this is cut.
pub(super) const MAX_MESSAGE_CHARS: usize = 500;

/// No answer is longer, where its tokens are counted by its text.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// Why an event cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    /// It is not what a completion sends.
    Garbage(String),
    /// The target tells of a failure, in its own words.
    Failed(String),
}

/// Tokens and rounds so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) tokens: u32,
    /// Counts the tokens of an answer that does not say how many it has.
    counter: Option<Arc<TextCounter>>,
    /// The answer so far, where it is counted.
    text: String,
    /// Of the whole request; a target that drafts says it with each round, or at the end.
    pub(super) speculation: Option<Speculation>,
}

#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    choices: Vec<serde_json::Value>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    speculation: Option<serde_json::Value>,
    /// llama.cpp says so with each piece, where it is asked to.
    #[serde(default)]
    timings: Option<Timings>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Usage {
    completion_tokens: u32,
    #[serde(default)]
    speculation: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Timings {
    predicted_n: Option<u32>,
}

impl Tally {
    /// Counts the tokens of answers with `counter`, where they do not say it themselves.
    pub(super) fn with(counter: Option<Arc<TextCounter>>) -> Tally {
        Tally { counter, ..Tally::default() }
    }

    /// Takes one event: its tokens as its usage or its timings say, else as many as it has ids, else those of its text as the counter
    /// has them, else one where it has text. A round of speculative decoding may bring several tokens in one event. True where
    /// there are more than before.
    pub(super) fn take(&mut self, event: &str) -> Result<bool, EventError> {
        let piece: Piece =
            serde_json::from_str(event).map_err(|error| EventError::Garbage(error.to_string()))?;
        if let Some(error) = piece.error {
            let message = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
            return Err(EventError::Failed(message.chars().take(MAX_MESSAGE_CHARS).collect()));
        }
        let before = self.tokens;
        let of_usage = piece.usage.as_ref().and_then(|usage| usage.speculation.as_ref());
        // What does not have this form is something else of that name.
        let said = of_usage.or(piece.speculation.as_ref());
        if let Some(said) = said.and_then(|said| Speculation::deserialize(said).ok()) {
            self.speculation = Some(said);
        }
        let timed = piece.timings.and_then(|timings| timings.predicted_n);
        match (piece.usage.map(|usage| usage.completion_tokens).or(timed), &self.counter) {
            (Some(said), _) => self.tokens = self.tokens.max(said),
            (None, Some(counter)) => {
                piece.choices.iter().filter_map(delta_of).for_each(|delta| self.text.push_str(delta));
                if self.text.len() > MAX_TEXT_BYTES {
                    let why = format!("the answer has more than {} MiB", MAX_TEXT_BYTES >> 20);
                    return Err(EventError::Garbage(why));
                }
                let counted = counter.count(&self.text).map_or(0, |tokens| tokens.0);
                self.tokens = self.tokens.max(counted);
            }
            (None, None) => {
                let new = piece.choices.iter().map(tokens_of).max().unwrap_or(0);
                self.tokens = self.tokens.saturating_add(new);
            }
        }
        Ok(self.tokens > before)
    }
}

/// What a chat says, or thinks: `None` where the piece only says whose turn it is, or how it ends.
fn delta_of(choice: &serde_json::Value) -> Option<&str> {
    let delta = choice.get("delta")?;
    let words = ["content", "reasoning", "reasoning_content"].map(|word| delta[word].as_str());
    words.into_iter().flatten().find(|text| !text.is_empty())
}

/// Tokens that a choice brings: a choice without ids brings one, unless it only says how the stream ends.
fn tokens_of(choice: &serde_json::Value) -> u32 {
    if choice.get("delta").is_some() {
        return u32::from(delta_of(choice).is_some());
    }
    let ids = choice["token_ids"].as_array().map_or(0, Vec::len);
    let has_text = choice["text"].as_str().is_some_and(|text| !text.is_empty());
    match u32::try_from(ids).unwrap_or(u32::MAX) {
        0 => u32::from(has_text || choice["finish_reason"].is_null()),
        ids => ids,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallied(events: &[&str]) -> Tally {
        let mut tally = Tally::default();
        events.iter().for_each(|event| assert!(tally.take(event).is_ok(), "{event}"));
        tally
    }

    #[test]
    fn tokens_are_counted_and_not_events() {
        let one = r#"{"choices":[{"text":"a","finish_reason":null}]}"#;
        let held_back = r#"{"choices":[{"text":"","finish_reason":null,"token_ids":[7]}]}"#;
        let burst = r#"{"choices":[{"text":"abc","finish_reason":null,"token_ids":[1,2,3]}]}"#;
        let last = r#"{"choices":[{"text":"","finish_reason":"length","token_ids":[]}]}"#;
        assert_eq!(tallied(&[one, held_back, burst, last]).tokens, 5);
        let running = r#"{"choices":[{"text":"x","finish_reason":null}],"usage":{"completion_tokens":9}}"#;
        assert_eq!(tallied(&[one, running]).tokens, 9);
        let mut tally = tallied(&[burst]);
        assert_eq!(tally.take(last), Ok(false), "the end of a stream is no token");
    }

    #[test]
    fn what_a_server_says_of_its_tokens_counts_more_than_its_pieces() {
        let timed = |count: u32| {
            format!(
                r#"{{"choices":[{{"text":"x","finish_reason":null}}],"timings":{{"predicted_n":{count}}}}}"#
            )
        };
        assert_eq!(tallied(&[&timed(1), &timed(4)]).tokens, 4, "three tokens were held back between the two");
        let turn = r#"{"choices":[{"delta":{"role":"assistant"},"finish_reason":null}]}"#;
        let said = r#"{"choices":[{"delta":{"content":"river stone"}}]}"#;
        let thought = r#"{"choices":[{"delta":{"reasoning":"so"},"finish_reason":null}]}"#;
        let end = r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#;
        assert_eq!(tallied(&[turn, said, thought, end]).tokens, 2, "a piece is a token where nobody counts");
    }

    #[test]
    fn rounds_are_read_from_the_usage_or_from_any_event_and_the_last_one_counts() {
        let rounds = |rounds: u64, accepted: u64| Speculation {
            round_count: rounds,
            drafted: rounds * 3,
            accepted,
            acceptance_length: Some(2.5),
        };
        let said = |rounds: u64, accepted: u64| {
            format!(
                r#""speculation":{{"round_count":{rounds},"rounds":[],"drafted":{},"accepted":{accepted},"acceptance_length":2.5}}"#,
                rounds * 3
            )
        };
        let event = format!(r#"{{"choices":[{{"text":"ab","token_ids":[1,2]}}],{}}}"#, said(1, 1));
        assert_eq!(tallied(&[&event]).speculation, Some(rounds(1, 1)));
        let end = format!(r#"{{"choices":[],"usage":{{"completion_tokens":5,{}}}}}"#, said(2, 3));
        let tally = tallied(&[&event, &end]);
        assert_eq!((tally.tokens, tally.speculation), (5, Some(rounds(2, 3))));
        let odd = r#"{"choices":[],"speculation":"none"}"#;
        assert_eq!(tallied(&[&event, odd]).speculation, Some(rounds(1, 1)), "another target's word");
        assert_eq!(tallied(&[odd]).speculation, None);
    }

    #[test]
    fn failures_are_told_in_the_targets_words() {
        let mut tally = Tally::default();
        assert_eq!(tally.take(r#"{"error":{"message":"no"}}"#), Err(EventError::Failed("no".to_owned())));
        assert!(matches!(tally.take("{"), Err(EventError::Garbage(_))));
    }
}
