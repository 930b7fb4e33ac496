//! The built-in runtime, served.

use std::path::Path;
use std::sync::Arc;

use ledger::Tokens;
use runtime::backend::Backend;
use runtime::backend::cpu::CpuDevice;
use runtime::backend::cuda::CudaDevice;
use runtime::engine::{Drafts, Engine, EngineLoadError, Flow, Round, Sequence, SequenceError};
use runtime::engine_dir::{EngineDir, EngineError};
use runtime::generate::chat_template::{ChatTemplate, ChatTemplateError};
use runtime::generate::sample::Sampler;
use runtime::generate::tokenizer::Tokenizer;
use runtime::generate::{CHAT_TEMPLATE, TOKENIZER_CONFIG, TextFilesError, read_optional};
use runtime::memory::MemoryError;
use runtime::plan::{Device, RuntimeOptions};
use thiserror::Error;

use crate::engine::{Drafted, GenerateError, GenerateOptions, Step, TextEngine, Turn};
use crate::memory::{MemoryWitness, ProgramStart};

/// Why an engine could not be made ready to be served.
#[derive(Debug, Error)]
pub enum BuiltinError {
    /// The directory is no engine.
    #[error(transparent)]
    Directory(#[from] EngineError),
    /// It could not be loaded.
    #[error(transparent)]
    Load(#[from] EngineLoadError),
    /// Its text files could not be read.
    #[error(transparent)]
    Text(#[from] TextFilesError),
    /// Its chat template cannot be used.
    #[error(transparent)]
    ChatTemplate(#[from] ChatTemplateError),
}

/// A loaded engine behind the server's trait.
#[derive(Debug)]
pub struct Builtin<B: Backend> {
    engine: Engine<B>,
    chat_template: Option<Arc<ChatTemplate>>,
    /// One for each request that may run.
    places: Vec<Option<Generation<B>>>,
}

/// A request between two steps.
#[derive(Debug)]
struct Generation<B: Backend> {
    sequence: Sequence<B>,
    sampler: Sampler,
    /// The token that was chosen last, as a row of the table.
    token: u32,
}

/// Loads the engine in `directory` on the device that `options` name, and tells `witness` about it.
///
/// # Errors
/// As [`Builtin::load`].
pub fn load(
    directory: &Path,
    options: &RuntimeOptions,
    witness: &MemoryWitness,
) -> Result<Box<dyn TextEngine>, BuiltinError> {
    match options.device {
        Device::Cpu => Ok(Box::new(Builtin::<CpuDevice>::load(directory, options, witness)?)),
        Device::Cuda { .. } => Ok(Box::new(Builtin::<CudaDevice>::load(directory, options, witness)?)),
    }
}

impl<B: Backend> Builtin<B> {
    /// Loads the engine in `directory` and tells `witness` about it.
    ///
    /// # Errors
    /// When the directory is no engine, its text files cannot be used, or memory is short.
    pub fn load(
        directory: &Path,
        options: &RuntimeOptions,
        witness: &MemoryWitness,
    ) -> Result<Builtin<B>, BuiltinError> {
        let program = ProgramStart::now();
        let engine_dir = EngineDir::open(directory)?;
        let template = read_optional(&directory.join(CHAT_TEMPLATE))?;
        let template = template.map(|text| String::from_utf8_lossy(&text).into_owned());
        let config = read_optional(&directory.join(TOKENIZER_CONFIG))?;
        let chat_template = ChatTemplate::from_checkpoint(template.as_deref(), config.as_deref())?;
        let engine = Engine::load(&engine_dir, options)?;
        witness.watch(&engine, program);
        let mut places = Vec::new();
        places.resize_with(engine.options().max_batch_size as usize, || None);
        Ok(Builtin { engine, chat_template: chat_template.map(Arc::new), places })
    }
}

impl<B: Backend> TextEngine for Builtin<B> {
    fn max_prompt_tokens(&self) -> Tokens {
        self.engine.options().max_input_len
    }

    fn max_context(&self) -> Tokens {
        self.engine.options().max_kv_cache_capacity
    }

    fn vocabulary_size(&self) -> u32 {
        u32::try_from(self.engine.vocabulary_size()).unwrap_or(u32::MAX)
    }

    fn tokenizer(&self) -> Option<Arc<Tokenizer>> {
        self.engine.tokenizer()
    }

    fn chat_template(&self) -> Option<Arc<ChatTemplate>> {
        self.chat_template.clone()
    }

    fn stop_ids(&self) -> &[u32] {
        &self.engine.config().stop_ids
    }

    fn max_batch(&self) -> usize {
        self.engine.options().max_batch_size as usize
    }

    fn begin(
        &mut self,
        place: usize,
        prompt: &[u32],
        options: &GenerateOptions,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<u32>, GenerateError> {
        self.end(place);
        // Inside, a token is a row of the table; outside, it is an id.
        let rows = self.engine.rows_of(prompt).map_err(refused)?;
        let mut sequence = self.engine.open_sequence().map_err(refused)?;
        let mut before_chunk = || if cancelled() { Flow::Stop } else { Flow::Continue };
        let read = self.engine.prefill(&mut sequence, &rows, &mut before_chunk).map_err(refused)?;
        if read < prompt.len() {
            return Ok(None);
        }
        let mut sampler = Sampler::new(options.sampling);
        let token = self.engine.sample(&sequence, &mut sampler).map_err(refused)?;
        self.places[place] = Some(Generation { sequence, sampler, token });
        Ok(Some(self.engine.id_of(token)))
    }

    fn step(&mut self, turns: &[Turn<'_>]) -> Result<Vec<Step>, GenerateError> {
        let wanted = |place: usize| turns.iter().find(|turn| turn.place == place).map(|turn| turn.wanted);
        let running = self.places.iter_mut().enumerate();
        let mut rounds: Vec<runtime::engine::Turn<'_, B>> = running
            .filter_map(|(place, generation)| {
                let (wanted, Generation { sequence, sampler, token }) =
                    (wanted(place)?, generation.as_mut()?);
                // The round brings one token beside its drafts.
                let drafts = Drafts::Head(wanted.saturating_sub(1));
                Some(runtime::engine::Turn { sequence, token: *token, drafts, sampler })
            })
            .collect();
        let drafts = self.engine.options().mtp;
        // The server has held every request against the limits, so nothing that fails now is a client's doing.
        let failed = |error: SequenceError| match refused(error) {
            GenerateError::Request { reason } => GenerateError::Engine { reason },
            other => other,
        };
        let rounds = self.engine.round(&mut rounds).map_err(failed)?;
        let running = self.places.iter_mut().enumerate();
        let running = running.filter_map(|(place, generation)| wanted(place).and(generation.as_mut()));
        let steps = running.zip(rounds).map(|(generation, round)| {
            let Round { drafts: guesses, accepted, emitted } = round;
            generation.token = emitted.last().copied().unwrap_or(generation.token);
            let ids = |rows: Vec<u32>| rows.into_iter().map(|row| self.engine.id_of(row)).collect();
            let drafted = drafts.then(|| Drafted { drafts: ids(guesses), accepted });
            Step { tokens: ids(emitted), drafted }
        });
        Ok(steps.collect())
    }

    fn end(&mut self, place: usize) {
        self.places[place] = None;
    }
}

/// Whose fault an error is: a request that does not fit, memory that others have, or an engine that cannot go on.
fn refused(error: SequenceError) -> GenerateError {
    let reason = error.to_string();
    match error {
        SequenceError::Memory(MemoryError::OutOfMemory { .. }) => GenerateError::NoMemory { reason },
        SequenceError::Memory(_)
        | SequenceError::Device(_)
        | SequenceError::Sample(_)
        | SequenceError::TooMany { .. } => GenerateError::Engine { reason },
        _ => GenerateError::Request { reason },
    }
}
