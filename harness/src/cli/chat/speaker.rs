//! A loaded model that answers one conversation, and what its answers came to.

use std::path::Path;
use std::sync::Arc;

use ledger::{Bytes, Tokens};
use runtime::generate::chat_template::{ChatTemplate, Conversation};
use runtime::generate::sample::Sampling;
use runtime::generate::tokenizer::{Decoder, SpecialTokens, Tokenizer};
use runtime::plan::RuntimeOptions;
use serde_json::{Map, Value, json};
use server::{GenerateOptions, MemoryWitness, TextEngine, Turn, builtin};

use crate::cli::CliError;
use crate::clock::TrialClock;
use crate::record::acceptance_length;

/// The one place of an engine that answers nobody else.
const PLACE: usize = 0;

/// Tokens and rounds of all answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pace {
    /// Tokens after the first one of each answer.
    pub(super) decoded: u64,
    /// The time that they took.
    decode_us: u64,
    /// Rounds with drafts.
    rounds: u64,
    /// Drafts that the model agreed with.
    accepted: u64,
}

impl Pace {
    /// Tokens after the first a second. `None` where there was none.
    pub(super) fn tokens_per_second(&self) -> Option<f64> {
        (self.decoded > 0 && self.decode_us > 0).then(|| self.decoded as f64 * 1e6 / self.decode_us as f64)
    }

    /// Tokens a round, accepted drafts and one more. `None` where nothing was drafted.
    pub(super) fn acceptance_length(&self) -> Option<f64> {
        acceptance_length(self.rounds, self.accepted)
    }
}

/// A model in conversation.
pub(super) struct Speaker {
    engine: Box<dyn TextEngine>,
    witness: Arc<MemoryWitness>,
    tokenizer: Arc<Tokenizer>,
    template: Arc<ChatTemplate>,
    options: GenerateOptions,
    messages: Vec<Value>,
    pace: Pace,
}

impl Speaker {
    /// Loads the engine in `folder`.
    ///
    /// # Errors
    /// When it cannot be loaded, or has no tokenizer or no chat template.
    pub(super) fn load(
        folder: &Path,
        options: &RuntimeOptions,
        sampling: Sampling,
        max_tokens: Tokens,
    ) -> Result<Speaker, CliError> {
        let witness = MemoryWitness::new();
        let engine =
            builtin::load(folder, options, &witness).map_err(|error| CliError::Runtime(error.to_string()))?;
        let missing = |what| CliError::NoSpeech { what, folder: folder.display().to_string() };
        let tokenizer = engine.tokenizer().ok_or_else(|| missing("tokenizer"))?;
        let template = engine.chat_template().ok_or_else(|| missing("chat template"))?;
        let options = GenerateOptions { max_tokens, sampling, stop_ids: engine.stop_ids().to_vec() };
        let (messages, pace) = (Vec::new(), Pace::default());
        Ok(Speaker { engine, witness, tokenizer, template, options, messages, pace })
    }

    /// Answers `text` after all that was said before, and hands out each piece as it comes. Once `cancelled` is true the answer
    /// ends where it is, and counts as said.
    ///
    /// # Errors
    /// When the conversation does not fit, the engine fails, or `said` does.
    pub(super) fn answer(
        &mut self,
        text: &str,
        cancelled: &dyn Fn() -> bool,
        said: &mut dyn FnMut(&str) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.messages.push(json!({"role": "user", "content": text}));
        let spoken = self.speak(cancelled, said);
        self.engine.end(PLACE);
        self.messages.push(json!({"role": "assistant", "content": spoken?}));
        Ok(())
    }

    fn speak(
        &mut self,
        cancelled: &dyn Fn() -> bool,
        said: &mut dyn FnMut(&str) -> Result<(), CliError>,
    ) -> Result<String, CliError> {
        let failed = |error: &dyn std::error::Error| CliError::Runtime(error.to_string());
        let conversation = Conversation { messages: &self.messages, tools: None, variables: &Map::new() };
        let prompt = self.template.render(&conversation).map_err(|error| failed(&error))?;
        let prompt = self.tokenizer.encode(&prompt).map_err(|error| failed(&error))?;
        let context = self.engine.max_context();
        let room = (context.0 as usize).saturating_sub(prompt.len());
        if room == 0 {
            return Err(CliError::ConversationTooLong { tokens: prompt.len(), context });
        }
        let most = room.min(self.options.max_tokens.0 as usize);
        let begun = self.engine.begin(PLACE, &prompt, &self.options, cancelled);
        let Some(first) = begun.map_err(|error| failed(&error))? else { return Ok(String::new()) };

        let clock = TrialClock::start();
        let mut decoder = Decoder::new(SpecialTokens::Skip);
        let (mut spoken, mut produced, mut tokens) = (String::new(), 0, vec![first]);
        'answer: loop {
            for id in tokens {
                if self.options.stop_ids.contains(&id) {
                    break 'answer;
                }
                produced += 1;
                let piece = decoder.push(&self.tokenizer, id);
                said(&piece)?;
                spoken.push_str(&piece);
                if produced == most {
                    break 'answer;
                }
            }
            if cancelled() {
                break;
            }
            let turn = Turn { place: PLACE, wanted: most - produced, cancelled };
            let step = self.engine.step(&[turn]).map_err(|error| failed(&error))?;
            let step = step.into_iter().next().unwrap_or_default();
            // What a stop token cuts off was decoded all the same.
            self.pace.decoded += step.tokens.len() as u64;
            if let Some(drafted) = step.drafted {
                self.pace.rounds += 1;
                self.pace.accepted += drafted.accepted as u64;
            }
            tokens = step.tokens;
        }
        self.pace.decode_us += clock.now().0;
        let rest = decoder.finish();
        said(&rest)?;
        spoken.push_str(&rest);
        Ok(spoken)
    }

    /// What all answers came to.
    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// What it holds of a device's own memory, context included. `None` where it holds none.
    pub(super) fn device_bytes(&self) -> Option<Bytes> {
        self.witness.report().device.map(|device| device.context + device.buffers)
    }
}
