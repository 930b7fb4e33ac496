//! The built-in runtime, served.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use ledger::{
    BufferClass, Bytes, FORMAT_VERSION, LedgerSnapshot, MemoryPlan, MemoryReport, Micros, ProgramMemory,
    Tokens,
};
use runtime::engine::{Engine, EngineLoadError, Flow as EngineFlow, SequenceError};
use runtime::engine_dir::{EngineDir, EngineError};
use runtime::generate::chat_template::{ChatTemplate, ChatTemplateError};
use runtime::generate::sample::Sampler;
use runtime::generate::tokenizer::Tokenizer;
use runtime::generate::{CHAT_TEMPLATE, TOKENIZER_CONFIG, TextFilesError, read_optional};
use runtime::memory::{CountingHeap, Ledger};
use runtime::plan::RuntimeOptions;
use thiserror::Error;

use crate::engine::{Finish, Flow, GenerateError, GenerateOptions, GenerateSummary, TextEngine};
use crate::serve::MemoryHandle;

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
pub struct Builtin {
    engine: Engine,
    chat_template: Option<Arc<ChatTemplate>>,
}

/// What `/v1/memory` answers from, while an engine loads, idles and runs.
#[derive(Debug, Default)]
pub struct MemoryWitness {
    loaded: OnceLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    plan: MemoryPlan,
    ledger: Arc<Ledger>,
    resident_at_start: Bytes,
    heap_at_start: Bytes,
}

impl MemoryWitness {
    /// A witness that knows only the program until [`Builtin::load`] is done.
    pub fn new() -> Arc<MemoryWitness> {
        Arc::default()
    }

    /// The report at this moment.
    pub fn report(&self) -> MemoryReport {
        let (plan, snapshot, program) = match self.loaded.get() {
            Some(loaded) => (
                loaded.plan.clone(),
                loaded.ledger.snapshot(),
                ProgramMemory {
                    resident_at_start: loaded.resident_at_start,
                    heap_growth: CountingHeap::held().saturating_sub(loaded.heap_at_start),
                },
            ),
            // Nothing is loaded: all that is resident is the program.
            None => {
                let resident_at_start = resident_memory().unwrap_or_default();
                let program = ProgramMemory { resident_at_start, heap_growth: Bytes::ZERO };
                (MemoryPlan::default(), LedgerSnapshot::default(), program)
            }
        };
        let mut by_class_bytes = snapshot.by_class();
        by_class_bytes.insert(BufferClass::Program, program.total());
        MemoryReport { format_version: FORMAT_VERSION, plan, ledger: snapshot, program, by_class_bytes }
    }

    /// The witness as the server wants it.
    pub fn handle(self: &Arc<Self>) -> MemoryHandle {
        let witness = self.clone();
        Arc::new(move || Some(witness.report()))
    }
}

impl Builtin {
    /// Loads the engine in `directory` and tells `witness` about it.
    ///
    /// # Errors
    /// When the directory is no engine, its text files cannot be used, or memory is short.
    pub fn load(
        directory: &Path,
        options: &RuntimeOptions,
        witness: &MemoryWitness,
    ) -> Result<Builtin, BuiltinError> {
        let resident_at_start = resident_memory().unwrap_or_default();
        let heap_at_start = CountingHeap::held();
        let engine_dir = EngineDir::open(directory)?;
        let template = read_optional(&directory.join(CHAT_TEMPLATE))?;
        let template = template.map(|text| String::from_utf8_lossy(&text).into_owned());
        let config = read_optional(&directory.join(TOKENIZER_CONFIG))?;
        let chat_template = ChatTemplate::from_checkpoint(template.as_deref(), config.as_deref())?;
        let engine = Engine::load(&engine_dir, options)?;
        let loaded =
            Loaded { plan: engine.plan().clone(), ledger: engine.ledger(), resident_at_start, heap_at_start };
        // A witness serves one load; a second one would not change what the first has seen.
        let _ = witness.loaded.set(loaded);
        Ok(Builtin { engine, chat_template: chat_template.map(Arc::new) })
    }
}

impl TextEngine for Builtin {
    fn max_prompt_tokens(&self) -> Tokens {
        self.engine.options().max_input_len
    }

    fn max_context(&self) -> Tokens {
        self.engine.options().max_kv_cache_capacity
    }

    fn vocabulary_size(&self) -> u32 {
        u32::try_from(self.engine.config().vocab_size).unwrap_or(u32::MAX)
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

    fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancelled: &dyn Fn() -> bool,
        on_token: &mut dyn FnMut(u32) -> Flow,
    ) -> Result<GenerateSummary, GenerateError> {
        let started = Instant::now();
        let mut sequence = self.engine.open_sequence().map_err(refused)?;
        let mut before_chunk = || if cancelled() { EngineFlow::Stop } else { EngineFlow::Continue };
        let read = self.engine.prefill(&mut sequence, prompt, &mut before_chunk).map_err(refused)?;
        let prefill_us = micros(started);
        let summary = |completion_tokens, finish| GenerateSummary {
            prompt_tokens: Tokens(prompt.len() as u32),
            completion_tokens: Tokens(completion_tokens),
            finish,
            prefill_us,
            decode_us: Micros(micros(started).0.saturating_sub(prefill_us.0)),
        };
        if read < prompt.len() {
            return Ok(summary(0, Finish::Cancelled));
        }
        let mut sampler = Sampler::new(options.sampling);
        let mut produced = 0;
        loop {
            let id = sampler
                .sample(&self.engine.logits(&sequence))
                .map_err(|cause| GenerateError::Engine { reason: cause.to_string() })?;
            if options.stop_ids.contains(&id) {
                return Ok(summary(produced, Finish::Stop));
            }
            produced += 1;
            if on_token(id) == Flow::Stop || cancelled() {
                return Ok(summary(produced, Finish::Cancelled));
            }
            if produced == options.max_tokens.0 {
                return Ok(summary(produced, Finish::Length));
            }
            self.engine.decode(&mut sequence, id).map_err(refused)?;
        }
    }
}

fn micros(since: Instant) -> Micros {
    Micros(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// Whose fault an error is: a request that does not fit, or an engine that cannot go on.
fn refused(error: SequenceError) -> GenerateError {
    let reason = error.to_string();
    match error {
        SequenceError::Memory(_) | SequenceError::Stream(_) => GenerateError::Engine { reason },
        _ => GenerateError::Request { reason },
    }
}

/// Resident memory of this process: the second number of `/proc/self/statm`, in pages.
fn resident_memory() -> Option<Bytes> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(Bytes(pages * rustix::param::page_size() as u64))
}
