//! From the bytes of a stream to the tokens that have come.

use std::collections::VecDeque;
use std::sync::Arc;

use super::sse::SseParser;
use super::tally::{EventError, Tally};
use crate::engines::TextCounter;
use crate::record::Speculation;

/// Counts tokens as pieces of a stream arrive.
#[derive(Debug, Default)]
pub struct TokenCounter {
    parser: SseParser,
    waiting: VecDeque<String>,
    tally: Tally,
    done: bool,
}

impl TokenCounter {
    /// Counts the tokens of answers with `counter`, where they do not say it themselves.
    pub fn with(counter: Option<Arc<TextCounter>>) -> TokenCounter {
        TokenCounter { tally: Tally::with(counter), ..TokenCounter::default() }
    }

    /// Takes a piece of the stream, wherever it was cut.
    ///
    /// # Errors
    /// When it is no stream of events.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), EventError> {
        let waiting = &mut self.waiting;
        let fed = self.parser.feed(piece, |data| waiting.push_back(data.to_owned()));
        fed.map_err(|error| EventError::Garbage(error.to_string()))
    }

    /// How many tokens have come, once there are more than before. `None` where more of the stream is needed.
    ///
    /// # Errors
    /// When an event is not what a completion sends, or tells of a failure.
    pub fn next_count(&mut self) -> Result<Option<u32>, EventError> {
        while let Some(event) = self.waiting.pop_front() {
            if event == "[DONE]" {
                self.done = true;
            } else if self.tally.take(&event)? {
                return Ok(Some(self.tally.tokens));
            }
        }
        Ok(None)
    }

    /// True once the stream has said that it is over.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What drafting came to so far, where the target drafts and says so.
    pub fn speculation(&self) -> Option<Speculation> {
        self.tally.speculation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_same_however_the_stream_is_cut() {
        let stream = "data: {\"choices\":[{\"text\":\"x\"}]}\n\ndata: {\"choices\":[{\"text\":\"y\"}]}\n\ndata: [DONE]\n\n";
        for length in 1..stream.len() {
            let (mut counter, mut counts) = (TokenCounter::default(), Vec::new());
            for piece in stream.as_bytes().chunks(length) {
                counter.feed(piece).expect("events");
                while let Some(count) = counter.next_count().expect("tokens") {
                    counts.push(count);
                }
            }
            assert_eq!((counts, counter.is_done()), (vec![1, 2], true), "in pieces of {length}");
        }
    }
}
