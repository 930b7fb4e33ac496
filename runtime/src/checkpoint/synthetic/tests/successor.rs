//! The construction by which a token's likeliest successor is the next row of the table, for the target and for the MTP head.

use super::*;
use crate::checkpoint::half::HalfType;
use crate::config::Family;

const QUANTIZATIONS: [SyntheticQuantization; 4] = [
    SyntheticQuantization::Int4 { group_size: 128, zero_points: true },
    SyntheticQuantization::Int4 { group_size: 128, zero_points: false },
    SyntheticQuantization::Int4 { group_size: 32, zero_points: true },
    SyntheticQuantization::Dense,
];

/// Some rows of a linear layer, however it is stored.
fn rows_of(source: &SyntheticCheckpoint, module: &str, rows: std::ops::Range<usize>) -> Vec<f32> {
    match source.linear_kind(module).unwrap() {
        LinearKind::Int4 { .. } => {
            let mut packed = Int4Rows::default();
            source.read_int4(module, rows, &mut packed).unwrap();
            dequantized(&packed)
        }
        _ => {
            let [_, columns] = source.config().linear_shape(module).unwrap();
            let mut out = vec![0.0; rows.len() * columns];
            source.read_rows_f32(&format!("{module}.weight"), rows, &mut out).unwrap();
            out
        }
    }
}

fn table_row(source: &SyntheticCheckpoint, tensor: &str, row: usize) -> Vec<f32> {
    let mut out = vec![0.0; source.config().hidden_size];
    source.read_rows_f32(tensor, row..row + 1, &mut out).unwrap();
    out
}

/// The next row of the group, and behind the last one the first.
fn successor(hidden: usize, row: usize) -> usize {
    let ring = hidden - 1;
    row / ring * ring + (row % ring + 1) % ring
}

/// `value` up to the rounding of f16 scales, or of bf16.
fn assert_near(found: f32, value: f64) {
    assert!((f64::from(found) - value).abs() <= value.abs() / 256.0, "{found} instead of {value}");
}

#[test]
fn the_next_row_of_the_table_is_the_row_shifted_by_a_channel() {
    let source = published("Qwen3.5-9B", SyntheticOptions::default());
    let hidden = source.config().hidden_size;
    let constant = table_row(&source, "embed_tokens.weight", 0)[hidden - 1];
    assert_near(constant, 8.0 / (hidden as f64).sqrt());
    for row in [0, 1, 4093, 4094, 4095, 32_766, 100_000, 248_318] {
        let mut shifted = table_row(&source, "embed_tokens.weight", row);
        assert_eq!(shifted[hidden - 1], constant);
        assert_eq!(shifted, table_row(&source, "lm_head.weight", row), "the head is the table");
        shifted[..hidden - 1].rotate_right(1);
        assert_eq!(shifted, table_row(&source, "embed_tokens.weight", successor(hidden, row)), "{row}");
    }
    // Another group, another base.
    assert_eq!(successor(hidden, 4094), 0);
    let other = table_row(&source, "embed_tokens.weight", 4095);
    assert_ne!(other[..8], table_row(&source, "embed_tokens.weight", 0)[..8]);
}

#[test]
fn frequent_rows_are_longer() {
    let source = published("Qwen3.5-4B", SyntheticOptions::default());
    let ring = source.config().hidden_size - 1;
    // Successive rows on both sides of the border hold the same numbers but for their lengths.
    let mut frequent = table_row(&source, "embed_tokens.weight", 32_767);
    let rare = table_row(&source, "embed_tokens.weight", 32_768);
    frequent[..ring].rotate_right(1);
    assert_eq!(frequent[ring], rare[ring]);
    for (&frequent, &rare) in frequent[..ring].iter().zip(&rare) {
        // Both are rounded to bf16.
        let expected = 1.22 * rare;
        assert!((frequent - expected).abs() <= expected.abs() / 128.0, "{frequent} instead of {expected}");
    }
}

#[test]
fn the_last_mlp_rotates_the_ring_and_leaves_the_constant() {
    for name in ["Qwen3.5-0.8B", "Qwen3.5-4B", "Qwen3-0.6B"] {
        for quantization in QUANTIZATIONS {
            let source = published(name, SyntheticOptions { seed: 5, quantization, mtp: true });
            let config = source.config();
            let (hidden, inner, last) =
                (config.hidden_size, config.intermediate_size, config.layers.len() - 1);
            let root = (hidden as f64).sqrt();
            let target = (format!("layers.{last}.mlp"), 8.0 * 0.48 * root / 8.0, 4.0 * 0.48 / 8.0);
            let head = ("mtp.layers.0.mlp".to_owned(), 8.0 * 1.22 / 4.0, 4.0 / 8.0);
            let mlps = if config.family == Family::Qwen35 { vec![target, head] } else { vec![target] };
            for (mlp, gate, down) in mlps {
                for start in [0, hidden - 8, inner - 8] {
                    let rows = rows_of(&source, &format!("{mlp}.gate_proj"), start..start + 8);
                    for row in rows.chunks_exact(hidden) {
                        assert_near(row[hidden - 1], gate);
                        assert!(row[..hidden - 1].iter().all(|&value| value == 0.0));
                    }
                    let rows = rows_of(&source, &format!("{mlp}.up_proj"), start..start + 8);
                    for (row, values) in (start..).zip(rows.chunks_exact(hidden)) {
                        let ring = hidden - 1;
                        let reads = (row < ring).then_some((row + ring - 1) % ring);
                        for (column, value) in values.iter().enumerate() {
                            assert_near(*value, if Some(column) == reads { 1.0 } else { 0.0 });
                        }
                    }
                }
                for start in [0, hidden - 8] {
                    let rows = rows_of(&source, &format!("{mlp}.down_proj"), start..start + 8);
                    for (row, values) in (start..).zip(rows.chunks_exact(inner)) {
                        for (column, value) in values.iter().enumerate() {
                            assert_near(*value, if column == row && row < hidden - 1 { down } else { 0.0 });
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn no_layer_touches_the_constant() {
    for quantization in QUANTIZATIONS {
        let source = published("Qwen3.5-0.8B", SyntheticOptions { seed: 5, quantization, mtp: true });
        for module in [
            "layers.0.linear_attn.out_proj",
            "layers.0.mlp.down_proj",
            "layers.23.self_attn.o_proj",
            "mtp.layers.0.self_attn.o_proj",
        ] {
            let rows = rows_of(&source, module, 1016..1024);
            let rows: Vec<_> = rows.chunks_exact(rows.len() / 8).collect();
            assert!(rows[7].iter().all(|&value| value == 0.0), "{module}");
            assert!(rows[..7].iter().all(|row| row.iter().any(|&value| value != 0.0)), "{module}");
        }
        let rows = rows_of(&source, "mtp.fc", 1016..1024);
        for (row, values) in (1016..).zip(rows.chunks_exact(2048)) {
            for (column, value) in values[..1024].iter().enumerate() {
                assert_near(*value, if column == row { 1.0 } else { 0.0 });
            }
            assert_eq!(values[1024..].iter().any(|&value| value != 0.0), row < 1023);
        }
    }
}

#[test]
fn scales_are_normal_numbers_in_every_size() {
    for name in crate::config::PUBLISHED {
        let source = published(name, SyntheticOptions { mtp: true, ..SyntheticOptions::default() });
        let last = source.config().layers.len() - 1;
        let mut modules = vec!["layers.3.self_attn.o_proj".to_owned(), "layers.3.mlp.down_proj".to_owned()];
        modules.extend(["gate", "up", "down"].map(|part| format!("layers.{last}.mlp.{part}_proj")));
        if source.config().mtp_layers > 0 {
            modules.extend(
                ["mtp.fc", "mtp.layers.0.self_attn.o_proj", "mtp.layers.0.mlp.down_proj"].map(String::from),
            );
        }
        for module in modules {
            let mut rows = Int4Rows::default();
            source.read_int4(&module, 0..8, &mut rows).unwrap();
            for scale in rows.scales {
                let scale = HalfType::F16.to_f32(scale);
                assert!((6.2e-5..100.0).contains(&scale), "{name} {module}: {scale}");
            }
        }
    }
}

/// The MTP head of one token, in f64.
struct Head<'a> {
    source: &'a SyntheticCheckpoint,
    tensors: std::collections::BTreeMap<&'static str, Vec<f32>>,
}

impl Head<'_> {
    fn new(source: &SyntheticCheckpoint) -> Head<'_> {
        let mut tensors = std::collections::BTreeMap::new();
        for module in [
            "mtp.fc",
            "mtp.layers.0.self_attn.q_proj",
            "mtp.layers.0.self_attn.v_proj",
            "mtp.layers.0.self_attn.o_proj",
            "mtp.layers.0.mlp.gate_proj",
            "mtp.layers.0.mlp.up_proj",
            "mtp.layers.0.mlp.down_proj",
        ] {
            let [rows, _] = source.config().linear_shape(module).unwrap();
            tensors.insert(module, rows_of(source, module, 0..rows));
        }
        for norm in [
            "mtp.pre_fc_norm_embedding.weight",
            "mtp.pre_fc_norm_hidden.weight",
            "mtp.layers.0.input_layernorm.weight",
            "mtp.layers.0.post_attention_layernorm.weight",
            "mtp.norm.weight",
        ] {
            tensors.insert(norm, source.read_whole_f32(norm).unwrap());
        }
        Head { source, tensors }
    }

    fn linear(&self, module: &str, input: &[f64]) -> Vec<f64> {
        let dot = |row: &[f32]| row.iter().zip(input).map(|(&w, x)| f64::from(w) * x).sum();
        self.tensors[module].chunks_exact(input.len()).map(dot).collect()
    }

    fn norm(&self, weight: &str, input: &[f64]) -> Vec<f64> {
        let mean_square = input.iter().map(|x| x * x).sum::<f64>() / input.len() as f64;
        let scale = 1.0 / (mean_square + 1e-6).sqrt();
        input.iter().zip(&self.tensors[weight]).map(|(x, &w)| x * scale * (1.0 + f64::from(w))).collect()
    }

    /// The hidden state behind token `id`, given the one before it; a context of one token.
    fn step(&self, id: usize, hidden: &[f64]) -> Vec<f64> {
        let embedding = table_row(self.source, "embed_tokens.weight", id);
        let embedding: Vec<f64> = embedding.into_iter().map(f64::from).collect();
        let mut joined = self.norm("mtp.pre_fc_norm_embedding.weight", &embedding);
        joined.extend(self.norm("mtp.pre_fc_norm_hidden.weight", hidden));
        let mut stream = self.linear("mtp.fc", &joined);

        let attention = &self.source.config().attention;
        let normed = self.norm("mtp.layers.0.input_layernorm.weight", &stream);
        let queries = self.linear("mtp.layers.0.self_attn.q_proj", &normed);
        let values = self.linear("mtp.layers.0.self_attn.v_proj", &normed);
        let mixed: Vec<f64> = (0..attention.output_columns())
            .map(|at| {
                let (head, dim) = (at / attention.head_dim, at % attention.head_dim);
                let gate = queries[(2 * head + 1) * attention.head_dim + dim];
                let kv_head = head * attention.kv_heads / attention.query_heads;
                values[kv_head * attention.head_dim + dim] / (1.0 + (-gate).exp())
            })
            .collect();
        let back = self.linear("mtp.layers.0.self_attn.o_proj", &mixed);
        stream.iter_mut().zip(back).for_each(|(x, back)| *x += back);

        let normed = self.norm("mtp.layers.0.post_attention_layernorm.weight", &stream);
        let gate = self.linear("mtp.layers.0.mlp.gate_proj", &normed);
        let up = self.linear("mtp.layers.0.mlp.up_proj", &normed);
        let inner: Vec<f64> = gate.iter().zip(up).map(|(g, up)| g / (1.0 + (-g).exp()) * up).collect();
        let back = self.linear("mtp.layers.0.mlp.down_proj", &inner);
        stream.iter_mut().zip(back).for_each(|(x, back)| *x += back);
        self.norm("mtp.norm.weight", &stream)
    }
}

#[test]
fn the_mtp_head_drafts_the_successor_and_its_successor() {
    for quantization in QUANTIZATIONS {
        let source = published("Qwen3.5-0.8B", SyntheticOptions { seed: 1, quantization, mtp: true });
        let head = Head::new(&source);
        let mut wanted = Vec::new();
        let mut states = Vec::new();
        // The ends of the first group and of the longer rows, and some in between.
        for id in [0, 500, 1022, 9_999, 20_000, 32_766, 150_000] {
            // A hidden state that has nothing to do with the token, which is the worst that a target can hand over.
            let other: Vec<f64> = table_row(&source, "embed_tokens.weight", 777 + 13 * id % 5000)
                .into_iter()
                .map(f64::from)
                .collect();
            let first = head.step(id, &other);
            let next = successor(1024, id);
            let second = head.step(next, &first);
            wanted.extend([next, successor(1024, next)]);
            states.extend([first, second]);
        }
        // The rows that a draft of 32k scores, and every 64th of the others.
        let mut best = vec![(f64::NEG_INFINITY, 0); states.len()];
        let sampled = (0..32_768).chain((32_768..248_320).step_by(64)).chain(wanted.clone());
        for row in sampled {
            let values = table_row(&source, "embed_tokens.weight", row);
            for (state, best) in states.iter().zip(&mut best) {
                let score = values.iter().zip(state).map(|(&w, x)| f64::from(w) * x).sum::<f64>();
                if score > best.0 {
                    *best = (score, row);
                }
            }
        }
        let found: Vec<usize> = best.iter().map(|&(_, row)| row).collect();
        assert_eq!(found, wanted, "{quantization:?}");
    }
}
