//! Engine directories of TensorRT Edge-LLM: what is in one, and what a server of it will need, by its `config.json` and the sizes
//! of its files. What TensorRT itself takes while it runs is not in them: its log says it once the engine is loaded.

use std::path::{Path, PathBuf};

use ledger::plan::PAGE;
use ledger::{
    Backing, BufferClass, Bytes, ElementType, Lifetime, MemoryKind, MemoryPlan, PlannedBuffer, Role,
};
use serde::Deserialize;

use crate::scenario::Settings;

/// `config.json` or `base_config.json`, as far as it decides memory.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    #[serde(default)]
    model_type: String,
    hidden_size: u64,
    num_hidden_layers: u64,
    num_key_value_heads: u64,
    head_dim: u64,
    vocab_size: u64,
    reduced_vocab_size: Option<u64>,
    #[serde(default = "whole")]
    partial_rotary_factor: f64,
    num_linear_attn_layers: Option<u64>,
    num_attention_layers: Option<u64>,
    #[serde(default)]
    recurrent_state_num_heads: u64,
    #[serde(default)]
    recurrent_state_head_dim: u64,
    #[serde(default)]
    recurrent_state_size: u64,
    #[serde(default)]
    conv_dim: u64,
    #[serde(default)]
    conv_kernel: u64,
    builder_config: BuilderConfig,
}

fn whole() -> f64 {
    1.0
}

/// What `llm_build` was asked for.
#[derive(Debug, Clone, Deserialize)]
struct BuilderConfig {
    max_input_len: u64,
    max_kv_cache_capacity: u64,
    max_batch_size: u64,
    max_verify_tree_size: Option<u64>,
}

/// An engine directory.
#[derive(Debug, Clone)]
pub struct TensorrtEngine {
    folder: PathBuf,
    config: Config,
    base: PathBuf,
    draft: Option<PathBuf>,
}

/// Engine files by the names of 0.7.1 to 0.9.1: alone, or the target of a pair with its draft.
const PAIRS: [(&str, &str); 2] =
    [("spec_base.engine", "spec_draft.engine"), ("eagle_base.engine", "eagle_draft.engine")];

impl TensorrtEngine {
    /// Reads the directory `folder`.
    ///
    /// # Errors
    /// In words, when there is no engine or its configuration cannot be understood.
    pub fn open(folder: &Path) -> Result<TensorrtEngine, String> {
        let there = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        let pair = PAIRS.iter().find_map(|(base, draft)| Some((there(base)?, there(draft))));
        let (base, draft) = pair.or_else(|| Some((there("llm.engine")?, None))).ok_or_else(|| {
            format!("there is no llm.engine, spec_base.engine or eagle_base.engine in {}", folder.display())
        })?;
        let path = there("config.json").or_else(|| there("base_config.json"));
        let path = path.ok_or_else(|| format!("there is no config.json in {}", folder.display()))?;
        let text = std::fs::read(&path).map_err(|error| format!("read {}: {error}", path.display()))?;
        let config = serde_json::from_slice(&text)
            .map_err(|error| format!("understand {}: {error}", path.display()))?;
        Ok(TensorrtEngine { folder: folder.to_owned(), config, base, draft })
    }

    /// Ids that the model knows.
    pub fn vocab_size(&self) -> u32 {
        u32::try_from(self.config.vocab_size).unwrap_or(u32::MAX)
    }

    /// Why the engine is not what `settings` ask for: they were decided when it was built.
    pub fn refuses(&self, settings: &Settings) -> Option<String> {
        let built = &self.config.builder_config;
        let sizes = [
            ("maxInputLen", u64::from(settings.max_input_len.0), built.max_input_len),
            ("maxKVCacheCapacity", u64::from(settings.max_kv_cache_capacity.0), built.max_kv_cache_capacity),
            ("maxBatchSize", u64::from(settings.max_batch_size), built.max_batch_size),
        ];
        let of_size = sizes.iter().find(|(_, asked, built)| asked != built).map(|(name, asked, built)| {
            format!(
                "the engine in {} was built for {name} {built}, not {asked}: say {built}, or build one for {asked}",
                self.folder.display()
            )
        });
        of_size.or_else(|| match (settings.mtp, &self.draft) {
            (true, None) => Some(format!("the engine in {} has no draft", self.folder.display())),
            (false, Some(_)) => {
                Some(format!("the engine in {} drafts: say `mtp: true`", self.folder.display()))
            }
            _ => None,
        })
    }

    /// Every buffer that follows from the configuration and the files. The execution context is not among them.
    pub fn plan(&self) -> MemoryPlan {
        let (config, built) = (&self.config, &self.config.builder_config);
        let (batch, input, capacity) =
            (built.max_batch_size, built.max_input_len, built.max_kv_cache_capacity);
        let linear = config.num_linear_attn_layers.unwrap_or(0);
        let attention =
            config.num_attention_layers.unwrap_or(config.num_hidden_layers.saturating_sub(linear));
        let state = config.recurrent_state_num_heads
            * config.recurrent_state_head_dim
            * config.recurrent_state_size
            * 4;
        let conv = config.conv_dim * config.conv_kernel * 2;
        let kv_token = 2 * config.num_key_value_heads * config.head_dim * 2;
        let rotary = (config.head_dim as f64 * config.partial_rotary_factor) as u64;
        let verified = built.max_verify_tree_size.unwrap_or(1);
        let is_mtp = config.model_type.contains("mtp") || self.draft.is_some();
        let vocab = config.reduced_vocab_size.unwrap_or(config.vocab_size);
        let mut plan = Buffers::default();
        plan.file(BufferClass::WeightsLinear, Role::Target, &self.base);
        if let Some(draft) = &self.draft {
            plan.file(BufferClass::WeightsDraft, Role::Draft, draft);
        }
        for (path, class) in self.sidecars() {
            plan.file(class, Role::Target, &path);
        }
        let kv = |layers: u64| layers * kv_token * capacity * batch;
        plan.add(
            BufferClass::KvCache,
            Role::Target,
            "kv_cache",
            kv(attention),
            "layers x 2 x KV heads x head dim x capacity x batch x 2 B",
        );
        plan.add(
            BufferClass::RecurrentState,
            Role::Target,
            "recurrent_state",
            linear * state * batch,
            "layers x heads x head dim x state x batch x 4 B",
        );
        plan.add(
            BufferClass::ConvState,
            Role::Target,
            "conv_state",
            linear * conv * batch,
            "layers x channels x width x batch x 2 B",
        );
        if is_mtp {
            plan.add(BufferClass::KvCache, Role::Draft, "draft_kv_cache", kv(1), "1 layer");
            let copies = verified * linear * (state + conv) * batch;
            plan.add(
                BufferClass::Rollback,
                Role::Target,
                "intermediate_states",
                copies,
                "verified tokens x all recurrent and conv states",
            );
        }
        plan.add(
            BufferClass::Rope,
            Role::Target,
            "rope_cache",
            capacity * rotary * 4,
            "capacity x rotary dim x 4 B",
        );
        let hidden = batch * input * config.hidden_size * 2;
        let copies = if is_mtp { 4 } else { 2 };
        plan.add(
            BufferClass::PrefillWorkspace,
            Role::Target,
            "hidden_states",
            copies * hidden,
            "copies x batch x input x hidden x 2 B",
        );
        plan.add(
            BufferClass::Logits,
            Role::Target,
            "logits",
            verified * batch * vocab * 4,
            "verified tokens x batch x vocabulary x 4 B",
        );
        MemoryPlan { buffers: plan.0 }
    }

    /// Files beside the engines whose contents are copied to where it runs.
    fn sidecars(&self) -> Vec<(PathBuf, BufferClass)> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let mut files: Vec<(PathBuf, BufferClass)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let class = match name.as_str() {
                    "embedding.safetensors" => BufferClass::WeightsEmbedding,
                    name if name.starts_with("external_") && name.ends_with(".safetensors") => {
                        BufferClass::WeightsLinear
                    }
                    _ => return None,
                };
                Some((entry.path(), class))
            })
            .collect();
        files.sort();
        files
    }
}

#[derive(Default)]
struct Buffers(Vec<PlannedBuffer>);

impl Buffers {
    fn file(&mut self, class: BufferClass, role: Role, path: &Path) {
        let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.add(class, role, &name, bytes, "the file's size");
    }

    /// Held from load on: its caches are not committed as sequences grow.
    fn add(&mut self, class: BufferClass, role: Role, name: &str, bytes: u64, formula: &str) {
        if bytes == 0 {
            return;
        }
        self.0.push(PlannedBuffer {
            role,
            class,
            layer: None,
            sequence: 0,
            name: name.to_owned(),
            element: ElementType::U8,
            shape: vec![bytes],
            bytes: Bytes(bytes),
            lifetime: Lifetime::Resident,
            backing: Backing::Anonymous,
            memory: MemoryKind::Device,
            page: Bytes(PAGE),
            growth: None,
            formula: formula.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use ledger::Tokens;

    use super::*;
    use crate::scenario::SettingsDraft;

    /// The published shapes of Qwen3.5-4B, with sparse files of the sizes that a report names.
    fn directory(draft: bool) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let (base, draft_name) = if draft { PAIRS[0] } else { ("llm.engine", "") };
        let mut files = vec![(base, 2_168_000_000), ("embedding.safetensors", 248_320 * 2560 * 2 + 128)];
        if draft {
            files.push((draft_name, 390_000_000));
        }
        for (name, size) in files {
            let file = std::fs::File::create(folder.path().join(name)).expect("writable");
            file.set_len(size).expect("sparse");
        }
        let config = serde_json::json!({
            "model_type": if draft { "mtp_base" } else { "hybrid_mamba" },
            "hidden_size": 2560, "num_hidden_layers": 32, "num_key_value_heads": 4, "head_dim": 256,
            "vocab_size": 248_320, "partial_rotary_factor": 0.25, "num_linear_attn_layers": 24,
            "num_attention_layers": 8, "recurrent_state_num_heads": 32, "recurrent_state_head_dim": 128,
            "recurrent_state_size": 128, "conv_dim": 8192, "conv_kernel": 4,
            "builder_config": {"max_input_len": 4096, "max_kv_cache_capacity": 4096, "max_batch_size": 1,
                "max_verify_tree_size": if draft { Some(8) } else { None }}
        });
        let name = if draft { "base_config.json" } else { "config.json" };
        std::fs::write(folder.path().join(name), config.to_string()).expect("writable");
        folder
    }

    fn by_class(folder: &Path) -> std::collections::BTreeMap<BufferClass, Bytes> {
        let plan = TensorrtEngine::open(folder).expect("an engine").plan();
        plan.by_class(ledger::Phase::Decode, Tokens(1))
    }

    #[test]
    fn a_footprint_follows_from_shapes_and_files() {
        let plain = directory(false);
        let held = by_class(plain.path());
        assert_eq!(held[&BufferClass::KvCache], Bytes::mib(128));
        assert_eq!(held[&BufferClass::RecurrentState], Bytes::mib(48));
        assert_eq!(held[&BufferClass::ConvState], Bytes::kib(1536));
        assert_eq!(held[&BufferClass::Rope], Bytes::mib(1));
        assert_eq!(held[&BufferClass::PrefillWorkspace], Bytes::mib(40));
        assert_eq!(held[&BufferClass::WeightsEmbedding], Bytes(248_320 * 2560 * 2 + 128));
        assert!(!held.contains_key(&BufferClass::Rollback));
        let pair = directory(true);
        let held = by_class(pair.path());
        assert_eq!(held[&BufferClass::Rollback], Bytes::mib(396), "eight copies of 49.5 MiB");
        assert_eq!(held[&BufferClass::KvCache], Bytes::mib(144));
        assert_eq!(held[&BufferClass::WeightsDraft], Bytes(390_000_000));
    }

    #[test]
    fn settings_that_an_engine_was_not_built_for_are_refused() {
        let folder = directory(false);
        let engine = TensorrtEngine::open(folder.path()).expect("an engine");
        let refused = |set: &[(&str, &str)]| {
            let mut draft = SettingsDraft::default();
            for (name, value) in set {
                draft.set(name, value).expect("known").expect("valid");
            }
            engine.refuses(&draft.resolve(Tokens(1)))
        };
        let built = [("maxInputLen", "4096"), ("maxKVCacheCapacity", "4096")];
        assert_eq!(refused(&built), None);
        let said = refused(&[("maxInputLen", "1024"), ("maxKVCacheCapacity", "4096")]).expect("another one");
        assert!(said.contains("maxInputLen 4096, not 1024"), "{said}");
        assert!(refused(&[built[0], built[1], ("mtp", "true")]).is_some_and(|why| why.contains("no draft")));
        let error = TensorrtEngine::open(Path::new("no/such/folder")).expect_err("nothing there");
        assert!(error.contains("llm.engine"), "{error}");
    }
}
