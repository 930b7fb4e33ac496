//! Logs of TensorRT, and of TensorRT Edge-LLM. Their framing differs by program and version, so a line is known by its words.
//!
//! `[MemUsageChange] …, now: CPU a, GPU b` counts all that is taken of the device; only lines with `TensorRT-managed allocation` count
//! what TensorRT itself has.

use ledger::{BufferClass, Bytes, MemoryKind, Role};

use super::evidence::{Evidence, Line, Part, WholeDevice, size};

const MIB: u64 = 1 << 20;

/// Reads every line that is known.
pub(super) fn read(lines: &[Line]) -> Evidence {
    let mut log = Log::default();
    for line in lines {
        log.read(line);
    }
    // Each tensor by itself says more than the sums that its managers print.
    if !log.tensors.is_empty() {
        log.managers.clear();
    }
    let Log { engines, contexts, embeddings, managers, tensors, devices, .. } = log;
    let parts = [engines, embeddings, contexts, managers, tensors].concat();
    Evidence { parts, devices, ..Evidence::default() }
}

#[derive(Default)]
struct Log {
    engines: Vec<Part>,
    embeddings: Vec<Part>,
    contexts: Vec<Part>,
    managers: Vec<Part>,
    tensors: Vec<Part>,
    devices: Vec<WholeDevice>,
}

impl Log {
    fn read(&mut self, line: &Line) {
        let text = line.text;
        if let Some(rest) = after(text, "Loaded engine size: ") {
            self.engine(rest, line);
        } else if let Some(rest) = after(text, "[MemUsageChange] ") {
            self.change(rest, line);
        } else if let Some(rest) = after(text, "Setup shared execution context memory: ") {
            let bytes = number(rest).and_then(|bytes| size(bytes, 1));
            self.contexts.clear();
            self.contexts.extend(
                bytes.map(|bytes| {
                    part(BufferClass::PrefillWorkspace, "shared execution context", bytes, line)
                }),
            );
        } else if let Some((element, rest)) = embedding(text) {
            let bytes = shape(rest).and_then(|elements| size(elements, element));
            self.embeddings
                .extend(bytes.map(|bytes| part(BufferClass::WeightsEmbedding, "embedding", bytes, line)));
        } else if let Some(manager) = manager(text) {
            let bytes = after(text, " allocated ").and_then(number).and_then(|mib| size(mib, MIB));
            self.managers.extend(bytes.map(|bytes| part(manager.0, manager.1, bytes, line)));
        } else if let Some(rest) = after(text, "Tensor ") {
            self.tensor(rest, line);
        }
    }

    /// The second engine is the draft's: Edge-LLM loads the base model first.
    fn engine(&mut self, rest: &str, line: &Line) {
        let Some(bytes) = number(rest).and_then(|mib| size(mib, MIB)) else { return };
        let (class, role) = match self.engines.len() {
            0 => (BufferClass::WeightsLinear, Role::Target),
            _ => (BufferClass::WeightsDraft, Role::Draft),
        };
        self.engines.push(Part { role, ..part(class, "serialized engine", bytes, line) });
    }

    fn change(&mut self, rest: &str, line: &Line) {
        let Some((what, rest)) = rest.split_once(": CPU ") else { return };
        let numbers = |text| after(text, "GPU ").and_then(number);
        let grown = numbers(rest);
        let now = after(rest, "now: ").and_then(numbers).and_then(|mib| size(mib, MIB));
        match what.strip_prefix("TensorRT-managed allocation in ") {
            // The engine's weights, which the line about its size has counted already: the larger of the two.
            Some("engine deserialization") => {
                let bytes = grown.and_then(|mib| size(mib, MIB));
                if let (Some(engine), Some(bytes)) = (self.engines.last_mut(), bytes) {
                    engine.bytes = engine.bytes.max(bytes);
                }
            }
            Some("IExecutionContext creation") => {
                let bytes = grown.and_then(|mib| size(mib, MIB)).filter(|bytes| bytes.0 > 0);
                self.contexts.extend(
                    bytes.map(|bytes| part(BufferClass::PrefillWorkspace, "execution context", bytes, line)),
                );
            }
            Some(_) => {}
            None => self.devices.extend(now.map(|bytes| WholeDevice {
                after: what.to_owned(),
                bytes,
                place: line.place(),
            })),
        }
    }

    /// `NAME of shape … with size N bytes (…) allocated on GPU`, or `freed on GPU`.
    fn tensor(&mut self, rest: &str, line: &Line) {
        let Some((name, rest)) = rest.split_once(" of shape ") else { return };
        let bytes = after(rest, "with size ").and_then(number).and_then(|bytes| size(bytes, 1));
        let Some(bytes) = bytes else { return };
        if rest.contains("freed on ") {
            let held = self.tensors.iter().rposition(|part| part.what == name && part.bytes == bytes);
            held.map(|at| self.tensors.remove(at));
        } else if rest.contains("allocated on ") {
            let memory =
                if rest.contains("allocated on CPU") { MemoryKind::Host } else { MemoryKind::Device };
            self.tensors.push(Part { memory, ..part(tensor_class(name), name, bytes, line) });
        }
    }
}

/// Something that TensorRT keeps where its engine runs.
fn part(class: BufferClass, what: &str, bytes: Bytes, line: &Line) -> Part {
    let what = what.to_owned();
    let (role, memory) = (Role::Target, MemoryKind::Device);
    Part { class, role, what, memory, mapped: false, bytes, place: line.place() }
}

/// By the words that Edge-LLM's tensors carry; what carries none of them is work space.
fn tensor_class(name: &str) -> BufferClass {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["intermediate", "rollback"]) {
        BufferClass::Rollback
    } else if has(&["kvcache", "kv_cache"]) {
        BufferClass::KvCache
    } else if has(&["recurrent", "ssm"]) {
        BufferClass::RecurrentState
    } else if has(&["conv"]) {
        BufferClass::ConvState
    } else if has(&["logits"]) {
        BufferClass::Logits
    } else if has(&["rope", "cossin", "cos_sin"]) {
        BufferClass::Rope
    } else if has(&["embedding_table", "embeddingtable"]) {
        BufferClass::WeightsEmbedding
    } else {
        BufferClass::DecodeWorkspace
    }
}

fn manager(text: &str) -> Option<(BufferClass, &'static str)> {
    let managers = [
        ("KVCacheManager(", BufferClass::KvCache, "KVCacheManager"),
        ("MambaCacheManager(", BufferClass::RecurrentState, "MambaCacheManager"),
    ];
    let known = managers.into_iter().find(|(word, ..)| text.contains(word));
    known.map(|(_, class, what)| (class, what))
}

/// The bytes of an element, and what follows the line's words.
fn embedding(text: &str) -> Option<(u64, &str)> {
    let fp16 = after(text, "Loaded FP16 embedding: ").map(|rest| (2, rest));
    fp16.or_else(|| after(text, "Loaded FP8 embedding: ").map(|rest| (1, rest)))
}

/// `[248320, 2560]`: how many elements.
fn shape(text: &str) -> Option<f64> {
    let inner = text.trim_start().strip_prefix('[')?.split(']').next()?;
    inner.split(',').map(|number| number.trim().parse::<f64>().ok()).product()
}

fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.split_once(word).map(|(_, rest)| rest)
}

/// The number at the start of `text`, with its sign.
fn number(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
    text[..end].trim_end_matches('.').parse().ok()
}
