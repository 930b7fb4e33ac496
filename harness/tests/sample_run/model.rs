//! Plans with the buffers that the two models need, from their published shapes.

use ledger::plan::{Growth, PAGE};
use ledger::{
    Backing, BufferClass, Bytes, ElementType, Lifetime, MemoryKind, MemoryPlan, PlannedBuffer, Role, Tokens,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    Qwen3,
    Qwen35,
}

/// Bytes of an int4 matrix in groups of 128 with a 16-bit scale and a zero point each.
fn int4(rows: u64, columns: u64) -> Bytes {
    Bytes(rows * columns / 2 + rows * columns / 128 * 2 + rows * columns / 128 / 2)
}

impl Model {
    pub fn name(self) -> &'static str {
        match self {
            Model::Qwen3 => "qwen3-4b",
            Model::Qwen35 => "qwen3.5-4b",
        }
    }

    fn layers(self) -> u32 {
        match self {
            Model::Qwen3 => 36,
            Model::Qwen35 => 32,
        }
    }

    fn vocabulary(self) -> u64 {
        match self {
            Model::Qwen3 => 151_936,
            Model::Qwen35 => 248_320,
        }
    }

    /// Every fourth layer of the hybrid has attention, every layer of the dense model.
    fn has_attention(self, layer: u32) -> bool {
        self == Model::Qwen3 || layer % 4 == 3
    }

    pub fn plan(self, max_input_len: u32) -> MemoryPlan {
        let mut buffers = Vec::new();
        let hidden = 2560_u64;
        let intermediate = if self == Model::Qwen3 { 9728 } else { 9216 };
        for layer in 0..self.layers() {
            let attention = self.has_attention(layer);
            let parts: &[(&str, u64, u64)] = if attention {
                &[("self_attn.qkv_proj", 6144, hidden), ("self_attn.o_proj", hidden, 4096)]
            } else {
                &[("linear_attn.in_proj_qkv", 8192, hidden), ("linear_attn.out_proj", hidden, 4096)]
            };
            let mlp = [("mlp.gate_proj", intermediate, hidden), ("mlp.up_proj", intermediate, hidden)];
            let down = [("mlp.down_proj", hidden, intermediate)];
            for (name, rows, columns) in parts.iter().chain(&mlp).chain(&down) {
                buffers.push(PlannedBuffer {
                    layer: Some(layer),
                    name: format!("model.layers.{layer}.{name}.weight"),
                    shape: vec![*rows, *columns],
                    ..weights(
                        BufferClass::WeightsLinear,
                        ElementType::Int4,
                        int4(*rows, *columns),
                        "rows * columns / 2 + groups * (2 + 1/2)",
                    )
                });
            }
            buffers.push(PlannedBuffer {
                layer: Some(layer),
                name: format!("model.layers.{layer}.input_layernorm.weight"),
                shape: vec![hidden],
                ..weights(BufferClass::WeightsNorm, ElementType::F32, Bytes(hidden * 4), "hidden_size * 4")
            });
        }
        buffers.push(PlannedBuffer {
            name: "model.embed_tokens.weight".to_owned(),
            shape: vec![self.vocabulary(), hidden],
            ..weights(
                BufferClass::WeightsLmHead,
                ElementType::Int8,
                Bytes(self.vocabulary() * (hidden + 4)),
                "vocab_size * (hidden_size + 4)",
            )
        });
        self.push_state(&mut buffers, max_input_len);
        MemoryPlan { buffers }
    }

    fn push_state(self, buffers: &mut Vec<PlannedBuffer>, max_input_len: u32) {
        let capacity = u64::from(max_input_len) + 128;
        // Keys and values of 8 heads by 128 or of 4 heads by 256, in 16 bits: the same for both.
        let row = 2 * 1024 * 2_u64;
        for layer in 0..self.layers() {
            if self.has_attention(layer) {
                buffers.push(PlannedBuffer {
                    layer: Some(layer),
                    name: "kv".to_owned(),
                    shape: vec![capacity, row / 2],
                    growth: Some(Growth { tokens: Tokens(64), bytes: Bytes(64 * row) }),
                    lifetime: Lifetime::PerSequence,
                    ..weights(
                        BufferClass::KvCache,
                        ElementType::F16,
                        Bytes(capacity * row),
                        "2 * capacity * kv_heads * head_dim * 2",
                    )
                });
                continue;
            }
            for (class, name, bytes, formula) in [
                (
                    BufferClass::RecurrentState,
                    "state",
                    32 * 128 * 128 * 4,
                    "value_heads * key_dim * value_dim * 4",
                ),
                (BufferClass::ConvState, "taps", 8192 * 3 * 4, "conv_dim * (kernel - 1) * 4"),
            ] {
                buffers.push(PlannedBuffer {
                    layer: Some(layer),
                    name: name.to_owned(),
                    shape: vec![bytes / 4],
                    lifetime: Lifetime::PerSequence,
                    ..weights(class, ElementType::F32, Bytes(bytes), formula)
                });
            }
        }
        buffers.push(PlannedBuffer {
            name: "activations".to_owned(),
            shape: vec![256, 24_576],
            lifetime: Lifetime::PerPrefillChunk,
            ..weights(
                BufferClass::PrefillWorkspace,
                ElementType::F32,
                Bytes(256 * 24_576 * 4),
                "gdnPrefillMaxSeq * widest * 4",
            )
        });
        buffers.push(PlannedBuffer {
            name: "logits".to_owned(),
            shape: vec![self.vocabulary()],
            ..weights(BufferClass::Logits, ElementType::F32, Bytes(self.vocabulary() * 4), "vocab_size * 4")
        });
    }
}

fn weights(class: BufferClass, element: ElementType, bytes: Bytes, formula: &str) -> PlannedBuffer {
    PlannedBuffer {
        role: Role::Target,
        sequence: 0,
        class,
        layer: None,
        name: String::new(),
        element,
        shape: Vec::new(),
        bytes,
        lifetime: Lifetime::Resident,
        backing: Backing::Anonymous,
        memory: MemoryKind::Host,
        page: Bytes(PAGE),
        growth: None,
        formula: formula.to_owned(),
    }
}
