mod successor;

use super::*;
use crate::checkpoint::{CheckpointSource, DenseType, Int4Rows, LinearKind, SourceIdentity};
use crate::config::ModelConfig;

fn published(name: &str, options: SyntheticOptions) -> SyntheticCheckpoint {
    let config = ModelConfig::published(name).expect("a published name");
    SyntheticCheckpoint::new(name, config, options).expect("a group size that fits")
}

fn mean_and_std(values: &[f32]) -> (f64, f64) {
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, variance.sqrt())
}

fn dequantized(rows: &Int4Rows) -> Vec<f32> {
    let mut out = vec![0.0; rows.rows * rows.columns];
    out.chunks_exact_mut(rows.columns).enumerate().for_each(|(row, out)| rows.dequantize_row(row, out));
    out
}

#[test]
fn rows_do_not_depend_on_how_they_are_asked_for() {
    let source = published("Qwen3.5-0.8B", SyntheticOptions::default());
    let module = "layers.0.linear_attn.in_proj_z";
    let whole = source.read_int4_whole(module).unwrap();
    let mut part = Int4Rows::default();
    source.read_int4(module, 1000..1032, &mut part).unwrap();
    let (half, groups) = (whole.columns / 2, whole.groups());
    assert_eq!(part.values, whole.values[1000 * half..1032 * half]);
    assert_eq!(part.scales, whole.scales[1000 * groups..1032 * groups]);
    assert_eq!(part.zero_points.unwrap(), whole.zero_points.unwrap()[1000 * groups..1032 * groups]);

    let mut one = vec![0.0; 1024];
    let mut three = vec![0.0; 3 * 1024];
    source.read_rows_f32("embed_tokens.weight", 77..78, &mut one).unwrap();
    source.read_rows_f32("embed_tokens.weight", 76..79, &mut three).unwrap();
    assert_eq!(one, three[1024..2048]);

    let mut raw = vec![0; 2048];
    source.read_rows_raw("embed_tokens.weight", 77..78, &mut raw).unwrap();
    let from_raw: Vec<f32> = raw
        .chunks_exact(2)
        .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
        .collect();
    assert_eq!(from_raw, one);
}

#[test]
fn seeds_names_and_rows_give_other_values() {
    let options = SyntheticOptions::default();
    let first = published("Qwen3-0.6B", options);
    let second = published("Qwen3-0.6B", SyntheticOptions { seed: 1, ..options });
    let read = |source: &SyntheticCheckpoint, module: &str| {
        let mut rows = Int4Rows::default();
        source.read_int4(module, 0..8, &mut rows).unwrap();
        rows
    };
    let gate = read(&first, "layers.0.mlp.gate_proj");
    assert_eq!(gate, read(&first, "layers.0.mlp.gate_proj"));
    assert_ne!(gate.values, read(&second, "layers.0.mlp.gate_proj").values);
    assert_ne!(gate.values, read(&first, "layers.0.mlp.up_proj").values);
    assert_ne!(gate.values, read(&first, "layers.1.mlp.gate_proj").values);
    assert_ne!(gate.values[..512], gate.values[512..1024]);
}

#[test]
fn values_have_the_statistics_of_a_model() {
    let near = |found: f64, wanted: f64, tolerance: f64| {
        assert!((found - wanted).abs() <= tolerance, "{found} instead of {wanted} +- {tolerance}");
    };
    for zero_points in [true, false] {
        let quantization = SyntheticQuantization::Int4 { group_size: 128, zero_points };
        let source = published("Qwen3.5-4B", SyntheticOptions { seed: 7, quantization, mtp: true });
        let mut rows = Int4Rows::default();
        // What a layer adds to the residual stream is small: 24 Gated DeltaNet layers and 31 random MLPs share the noise.
        let branch = 0.48 / 0.6 / 55_f64.sqrt();
        for (module, columns, size) in [
            ("layers.3.mlp.up_proj", 2560_f64, 1.0),
            ("layers.3.mlp.down_proj", 9216.0, branch),
            ("layers.3.self_attn.o_proj", 4096.0, branch),
            ("layers.4.linear_attn.out_proj", 4096.0, branch),
            ("mtp.layers.0.self_attn.o_proj", 4096.0, 0.1),
        ] {
            source.read_int4(module, 0..64, &mut rows).unwrap();
            assert_eq!(rows.zero_points.is_some(), zero_points);
            let values = dequantized(&rows);
            let (mean, _) = mean_and_std(&values);
            let rms =
                (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
            near(rms * columns.sqrt() / size, 1.0, 0.02);
            near(mean * columns.sqrt() / size, 0.0, 0.02);
        }
    }

    // Without Gated DeltaNet and without an output gate: 35 random MLPs, and attention at three tenths.
    let mut rows = Int4Rows::default();
    published("Qwen3-4B", SyntheticOptions::default())
        .read_int4("layers.3.self_attn.o_proj", 0..64, &mut rows)
        .unwrap();
    let (_, std) = mean_and_std(&dequantized(&rows));
    near(std * 4096_f64.sqrt() / (0.3 * 0.48 / 0.6 / 35_f64.sqrt()), 1.0, 0.02);

    let source = published("Qwen3.5-4B", SyntheticOptions { mtp: true, ..SyntheticOptions::default() });
    // Rows of a group are shifts of one vector: one row of each of 64 groups, behind the frequent rows.
    let mut row = vec![0.0; 2560];
    let mut ring = Vec::new();
    for id in (40_000..).step_by(2559).take(64) {
        source.read_rows_f32("embed_tokens.weight", id..id + 1, &mut row).unwrap();
        ring.extend_from_slice(&row[..2559]);
    }
    let (mean, std) = mean_and_std(&ring);
    near(mean * 2560_f64.sqrt(), 0.0, 0.02);
    near(std * 2560_f64.sqrt(), 2.0, 0.04);
    let read = |tensor: &str| source.read_whole_f32(tensor).unwrap();
    let (mean, std) = mean_and_std(&read("norm.weight"));
    near(mean, 0.0, 0.01);
    near(std, 0.05, 0.01);
    near(mean_and_std(&read("layers.0.linear_attn.norm.weight")).0, 1.0, 0.02);
    near(mean_and_std(&read("layers.0.linear_attn.conv1d.weight")).1, 0.5, 0.01);

    let (a_log, dt_bias) = (read("layers.5.linear_attn.A_log"), read("layers.5.linear_attn.dt_bias"));
    for (a_log, dt_bias) in a_log.iter().zip(&dt_bias) {
        assert!((0.0..=16_f32.ln()).contains(a_log));
        let decay = (-a_log.exp() * dt_bias.exp().ln_1p()).exp();
        // bf16 moves the rate by up to 2^-9 of the logarithm, at most about 4 %.
        assert!((0.48..0.9991).contains(&decay), "{decay}");
    }
    assert!(dt_bias.iter().any(|&other| other != dt_bias[0]));
}

#[test]
fn every_tensor_of_every_size_can_be_read() {
    for name in crate::config::PUBLISHED {
        let options = SyntheticOptions { mtp: true, ..SyntheticOptions::default() };
        let source = published(name, options);
        let mut rows = Int4Rows::default();
        for module in ["layers.3.self_attn.q_proj", "layers.3.self_attn.o_proj", "layers.3.mlp.down_proj"] {
            assert!(matches!(source.linear_kind(module).unwrap(), LinearKind::Int4 { group_size: 128, .. }));
            source.read_int4(module, 8..16, &mut rows).unwrap();
            assert_eq!(rows.values.len(), 8 * source.config().linear_shape(module).unwrap()[1] / 2);
        }
        assert_eq!(source.linear_kind("embed_tokens").unwrap(), LinearKind::Dense(DenseType::Bf16));
        let head = source.linear_kind("lm_head").unwrap();
        assert_eq!(head == LinearKind::Absent, source.config().tie_word_embeddings);
        assert_eq!(source.dense_type("layers.3.mlp.down_proj.weight").unwrap(), None);
        assert!(source.read_rows_f32("layers.3.mlp.down_proj.weight", 0..1, &mut [0.0]).is_err());
        assert!(source.linear_kind("layers.99.mlp.down_proj").is_err());
        assert!(source.read_int4("embed_tokens", 0..8, &mut rows).is_err());
        assert!(source.read_int4("layers.3.mlp.down_proj", 3..8, &mut rows).is_err());
        if source.config().mtp_layers > 0 {
            source.read_int4("mtp.fc", 0..8, &mut rows).unwrap();
        }
    }
}

#[test]
fn a_recipe_names_everything_that_values_depend_on() {
    let recipe = |options| match published("Qwen3.5-4B", options).identity() {
        SourceIdentity::Synthetic { recipe } => recipe,
        other => panic!("{other:?}"),
    };
    let options = SyntheticOptions::default();
    insta::assert_snapshot!(recipe(options), @"Qwen3.5-4B, seed 0, int4 g128 asymmetric, generator 2");
    let dense = SyntheticOptions { seed: 3, quantization: SyntheticQuantization::Dense, mtp: true };
    insta::assert_snapshot!(recipe(dense), @"Qwen3.5-4B, seed 3, bf16, mtp, generator 2");
}

#[test]
fn group_sizes_that_do_not_fit_are_refused() {
    for group_size in [0, 16, 100, 96] {
        let quantization = SyntheticQuantization::Int4 { group_size, zero_points: true };
        let config = ModelConfig::published("Qwen3-4B").unwrap();
        let options = SyntheticOptions { quantization, ..SyntheticOptions::default() };
        let error = SyntheticCheckpoint::new("Qwen3-4B", config, options).unwrap_err();
        assert!(error.to_string().contains(&format!("group size {group_size} is not")), "{error}");
    }
}

/// Writes what reading costs on this machine; run it with `--ignored --nocapture`.
#[test]
#[ignore = "prints speeds, asserts nothing about them"]
fn generation_speed() {
    let source = published("Qwen3.5-4B", SyntheticOptions::default());
    let mut rows = Int4Rows::default();
    source.read_int4("layers.0.mlp.gate_proj", 0..9216, &mut rows).unwrap();
    let clock = std::time::Instant::now();
    for layer in 0..32 {
        source.read_int4(&format!("layers.{layer}.mlp.gate_proj"), 0..9216, &mut rows).unwrap();
    }
    let bytes = 32.0 * rows.values.len() as f64;
    println!("int4: {:.2} GB/s", bytes / clock.elapsed().as_secs_f64() / 1e9);

    let mut table = vec![0.0; 1024 * 2560];
    let mut raw = vec![0; 2 * table.len()];
    source.read_rows_f32("embed_tokens.weight", 0..1024, &mut table).unwrap();
    let clock = std::time::Instant::now();
    for block in 0..16 {
        source.read_rows_f32("embed_tokens.weight", block * 1024..(block + 1) * 1024, &mut table).unwrap();
    }
    println!("table f32: {:.0} M values/s", 16.0 * table.len() as f64 / clock.elapsed().as_secs_f64() / 1e6);
    let clock = std::time::Instant::now();
    for block in 0..16 {
        source.read_rows_raw("embed_tokens.weight", block * 1024..(block + 1) * 1024, &mut raw).unwrap();
    }
    println!("table raw: {:.0} M values/s", 16.0 * table.len() as f64 / clock.elapsed().as_secs_f64() / 1e6);
}
