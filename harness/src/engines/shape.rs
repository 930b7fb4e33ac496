//! What an engine holds, and what a target of it will need: arithmetic over its plan, nothing is loaded.

use ledger::{BufferClass, Bytes, MemoryKind, Millis, Phase, Role, Tokens};
use runtime::backend;
use runtime::config::ModelConfig;
use runtime::engine_dir::SegmentRecord;
use runtime::plan::{self, Device, RuntimeOptions, Streaming, TextTables};

use super::{EngineError, Forecast, Peak, Rates, StreamingForecast};
use crate::scenario;

/// Resident memory of `sweep serve` beside the engine's buffers, as measured: code, libraries, stacks and heap.
pub const PROGRAM: Bytes = Bytes::mib(12);

/// The model and the weights of an engine, built or not.
#[derive(Debug, Clone)]
pub struct EngineShape {
    /// The model.
    pub config: ModelConfig,
    /// Its weights, as they stand in the file.
    pub segments: Vec<SegmentRecord>,
    /// The files between text and rows.
    pub tables: TextTables,
    /// Whether the engine is there.
    pub built: bool,
}

impl EngineShape {
    /// What a target needs that is started with `settings`.
    ///
    /// # Errors
    /// When the settings contradict each other or the model.
    pub fn forecast(&self, settings: &scenario::Settings) -> Result<Forecast, EngineError> {
        let options = runtime_options(settings);
        options.check(&self.config)?;
        let streaming = Streaming::choose(&self.segments, &options);
        if let Some(streaming) = &streaming {
            streaming.check(options.weight_streaming_budget)?;
        }
        let streaming = streaming.map(|streaming| StreamingForecast {
            streamable_bytes: streaming.streamable,
            floor_bytes: streaming.floor,
            resident_bytes: streaming.resident,
            streamed_bytes_per_token: streaming.streamed_per_token,
        });
        let streamed = streaming.map_or(Bytes::ZERO, |streaming| streaming.streamed_bytes_per_token);
        let rates = rates(&self.segments, &options).limited_by_storage(streamed, options.prefill_chunk());
        Ok(Forecast {
            plan: plan::plan(&self.config, &self.segments, self.tables, &options),
            program: PROGRAM,
            left_out: None,
            rates: Some(rates),
            build_time: (!self.built).then(|| build_time(&self.segments)),
            streaming,
        })
    }
}

impl Forecast {
    /// The phase of `phases` that needs most with `open` sequences of `context` tokens each, the program included.
    pub fn peak(&self, phases: impl IntoIterator<Item = Phase>, context: Tokens, open: u32) -> Peak {
        let in_phase = |phase| {
            let by_class = self.plan.by_class_with(phase, context, open);
            (phase, by_class.values().copied().sum::<Bytes>(), by_class)
        };
        let most = phases.into_iter().map(in_phase).max_by_key(|(_, total, _)| *total);
        let (phase, _, mut by_class) = most.unwrap_or_else(|| in_phase(Phase::Load));
        if self.program > Bytes::ZERO {
            *by_class.entry(BufferClass::Program).or_default() += self.program;
        }
        let by_memory = self.plan.by_memory_with(phase, context, open);
        let on_device = by_memory.get(&MemoryKind::Device).copied().unwrap_or_default();
        Peak { phase, total: by_class.values().copied().sum(), by_class, on_device }
    }
}

/// The runtime's form of settings, whether a cell or a command line has them. `auto` is the device of this machine.
pub(crate) fn runtime_options(settings: &scenario::Settings) -> RuntimeOptions {
    let mut options = RuntimeOptions::new(settings.max_input_len, settings.threads.resolve());
    options.device = backend::planned(settings.device);
    options.max_kv_cache_capacity = settings.max_kv_cache_capacity;
    options.gdn_prefill_max_seq = settings.gdn_prefill_max_seq;
    options.weights = match settings.weights {
        scenario::WeightPlacement::Mapped => plan::WeightsMode::Mapped,
        scenario::WeightPlacement::Resident => plan::WeightsMode::Resident,
    };
    options.kv_cache_type = settings.kv_cache_type.in_runtime();
    options.mtp = settings.mtp;
    options.max_verify_tree_size = settings.max_verify_tree_size;
    options.draft_vocab = settings.draft_vocab;
    options.weight_streaming_budget = settings.weight_streaming_budget;
    options.max_batch_size = settings.max_batch_size;
    options.precision = settings.precision.in_runtime();
    options
}

/// How fast a model of `segments` runs: on threads of modest x86 cores, or on a GPU like that of an Orin NX, at four fifths of its
/// published bandwidth and a quarter of its multiplications. Decoding waits for every weight once a token, reading a prompt for
/// one multiplication a weight and token; the table is read for the last token alone.
pub(crate) fn rates(segments: &[SegmentRecord], options: &RuntimeOptions) -> Rates {
    const LOAD_BYTES_PER_SECOND: f64 = 2e9;
    let (read_bytes_per_second, products_per_second) = match options.device {
        Device::Cpu => (12e9 * options.threads as f64, 130e9 * options.threads as f64),
        Device::Cuda { .. } => (80e9, 2e12),
    };
    let target = segments.iter().filter(|segment| segment.role == Role::Target);
    let bytes: Bytes = target.map(|segment| segment.bytes).sum();
    let layers =
        segments.iter().filter(|segment| segment.layer.is_some()).flat_map(|segment| &segment.tensors);
    let weights: f64 = layers.map(|tensor| (tensor.rows * tensor.columns) as f64).sum();
    Rates {
        load: Millis(bytes.0 as f64 * 1000.0 / LOAD_BYTES_PER_SECOND),
        prefill_token: Millis(weights * 1000.0 / products_per_second),
        decode_token: Millis(bytes.0 as f64 * 1000.0 / read_bytes_per_second),
    }
}

impl Rates {
    /// These rates where `streamed` bytes come from storage once a token, or once a prompt's `chunk`, while the rest is computed.
    fn limited_by_storage(self, streamed: Bytes, chunk: usize) -> Rates {
        const STORAGE_BYTES_PER_SECOND: f64 = 1e9;
        let storage = streamed.0 as f64 * 1000.0 / STORAGE_BYTES_PER_SECOND;
        Rates {
            prefill_token: Millis(self.prefill_token.0.max(storage / chunk as f64)),
            decode_token: Millis(self.decode_token.0.max(storage)),
            ..self
        }
    }
}

/// How long a build of `segments` takes, at the rate of a slow disk: packing is faster than that.
fn build_time(segments: &[SegmentRecord]) -> Millis {
    const BYTES_PER_SECOND: f64 = 150e6;
    let bytes: Bytes = segments.iter().map(|segment| segment.bytes).sum();
    Millis(bytes.0 as f64 * 1000.0 / BYTES_PER_SECOND)
}
