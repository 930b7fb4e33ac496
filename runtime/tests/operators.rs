//! The operators against golden files, which an independent implementation computed in f64 (`fixtures/recipe/operators.py`).

#![expect(clippy::unwrap_used, reason = "where a fixture cannot be read, the test fails")]

use std::collections::HashMap;
use std::path::Path;

use runtime::backend::cpu::{Cpu, InstructionSet, Pool};
use runtime::ops::attention::{self, KvSlice, KvSliceMut};
use runtime::ops::gated_delta_rule::{self, Inputs};
use runtime::ops::{Heads, causal_conv1d, rms_norm, rope};

type Tensors = HashMap<String, Vec<f32>>;

/// Every tensor of a golden file.
fn golden(operator: &str) -> Tensors {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/operators");
    let bytes = std::fs::read(folder.join(format!("{operator}.safetensors"))).unwrap();
    let header_length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(header_length);
    let mut header: HashMap<String, serde_json::Value> = serde_json::from_slice(header).unwrap();
    header.remove("__metadata__");
    let values = |entry: &serde_json::Value| {
        assert_eq!(entry["dtype"], "F32");
        let [start, end] = [0, 1].map(|index| entry["data_offsets"][index].as_u64().unwrap() as usize);
        data[start..end].as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    header.iter().map(|(name, entry)| (name.clone(), values(entry))).collect()
}

fn every_cpu() -> impl Iterator<Item = Cpu> {
    InstructionSet::all_supported().map(|isa| Cpu { pool: Pool::new(2).unwrap(), isa })
}

/// Panics unless the values agree relative to the largest expected one.
#[track_caller]
fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= tolerance * scale, "value {index} is {a}, expected {e}, scale {scale}");
    }
}

/// `[outer, inner]` to `[inner, outer]`.
fn transposed(values: &[f32], inner: usize) -> Vec<f32> {
    (0..inner).flat_map(|column| values.iter().skip(column).step_by(inner).copied()).collect()
}

#[test]
fn norms() {
    let t = golden("rms_norm");
    let one_plus: Vec<f32> = t["weight"].iter().map(|w| 1.0 + w).collect();
    for cpu in every_cpu() {
        for (weight, expected) in [(&t["weight"], &t["plain"]), (&one_plus, &t["one_plus"])] {
            let mut out = vec![f32::NAN; t["x"].len()];
            rms_norm::forward(&cpu, &t["x"], weight, 1e-6, &mut out);
            assert_close(&out, expected, 2e-6);
        }
        let mut out = t["x"].clone();
        rms_norm::gated(&cpu, &mut out, &t["gate"], &t["weight"], 1e-6);
        assert_close(&out, &t["gated"], 2e-6);
    }
}

#[test]
fn rotation() {
    let t = golden("rope");
    let row = 2 * 64;
    for cpu in every_cpu() {
        for (expected, dims, theta) in [("partial", 16, 1e7), ("full", 64, 1e6)] {
            for (index, position) in [0, 1, 37, 255, 4095, 200_000].into_iter().enumerate() {
                let (mut cos, mut sin) = (vec![0.0; dims / 2], vec![0.0; dims / 2]);
                rope::fill(position, dims, theta, &mut cos, &mut sin);
                let mut x = t["x"][index * row..][..row].to_vec();
                rope::forward(&cpu, &mut x, Heads::packed(1, 2, 64), dims, &cos, &sin);
                // The file's angles are exact, ours are f32: off by one rounding of the angle and one of the frequency.
                let tolerance = 2e-6 + 1.2e-7 * position as f32;
                assert_close(&x, &t[expected][index * row..][..row], tolerance);
            }
        }
    }
}

#[test]
fn convolution() {
    let t = golden("causal_conv1d");
    let taps = transposed(&t["weight"], 4);
    for cpu in every_cpu() {
        for split in [0, 1, 2, 5] {
            let (mut x, mut state) = (t["u"].clone(), t["initial_state"].clone());
            let (first, second) = x.split_at_mut(split * 24);
            causal_conv1d::forward(&cpu, 24, &taps, first, &mut state);
            causal_conv1d::forward(&cpu, 24, &taps, second, &mut state);
            assert_close(&x, &t["output"], 2e-6);
            assert_eq!(state, t["final_state"]);
        }
    }
}

#[test]
fn delta_rule() {
    let t = golden("gated_delta_rule");
    let shape = gated_delta_rule::Shape { key_heads: 2, value_heads: 4, key_dim: 32, value_dim: 32 };
    let tokens = t["g"].len() / 4;
    let qkv: Vec<f32> = (0..tokens)
        .flat_map(|token| {
            [("q", 64), ("k", 64), ("v", 128)].map(|(name, row)| &t[name][token * row..][..row])
        })
        .flatten()
        .copied()
        .collect();
    let inputs = Inputs { qkv: &qkv, g: &t["g"], beta: &t["beta"] };
    for cpu in every_cpu() {
        // The file's keys have unit length to the last digit, ours divide by sqrt(1 + 1e-6).
        let (mut out, mut state) = (vec![f32::NAN; t["output"].len()], t["initial_state"].clone());
        gated_delta_rule::forward(&cpu, &shape, inputs, &mut state, &mut out);
        assert_close(&out, &t["output"], 1e-5);
        assert_close(&state, &t["final_state"], 1e-5);

        let (mut out, mut state) = (vec![f32::NAN; t["output"].len()], t["initial_state"].clone());
        let mut workspace = vec![f32::NAN; shape.chunked_workspace(64, cpu.pool.threads()).0 as usize / 4];
        gated_delta_rule::chunked(&cpu, &shape, 64, inputs, &mut state, &mut out, &mut workspace);
        assert_close(&out, &t["output"], 1e-5);
        assert_close(&state, &t["final_state"], 1e-5);
    }
}

#[test]
fn grouped_attention() {
    let t = golden("attention");
    let shape = attention::Shape { heads: 4, kv_heads: 2, head_dim: 32 };
    for cpu in every_cpu() {
        let (mut k, mut v) = (vec![f32::NAN; shape.block_len()], vec![f32::NAN; shape.block_len()]);
        let (to_k, to_v) = (KvSliceMut::F32(&mut k), KvSliceMut::F32(&mut v));
        attention::append(&cpu, &shape, 0, 12, &t["k"], &t["v"], to_k, to_v);
        let mut out = vec![f32::NAN; t["output"].len()];
        let mut workspace = vec![f32::NAN; shape.workspace(cpu.pool.threads()).0 as usize / 4];
        let layout = Heads::packed(5, 4, 32);
        let (k, v) = (KvSlice::F32(&k), KvSlice::F32(&v));
        attention::forward(&cpu, &shape, 7, 5, &t["q"], layout, k, v, &mut out, &mut workspace);
        assert_close(&out, &t["output"], 3e-6);
    }
}
