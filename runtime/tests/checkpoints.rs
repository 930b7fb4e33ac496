//! The committed checkpoints: what `transformers` and the quantisers wrote is what the reader finds.

use std::path::{Path, PathBuf};

use runtime::checkpoint::{CheckpointSource, DenseType, DirectoryCheckpoint, HalfType, LinearKind};
use runtime::config::{Family, LayerKind, ModelConfig};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/checkpoints").join(name)
}

/// Every linear layer of a model but the table, the MTP head's apart.
fn linear_modules(config: &ModelConfig) -> (Vec<String>, Vec<String>) {
    let attention = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
    let gated_delta = ["linear_attn.in_proj_qkv", "linear_attn.in_proj_z", "linear_attn.out_proj"];
    let mlp = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];
    let of_layer = |layer: String, kind: LayerKind| -> Vec<String> {
        let mixer: &[&str] = if kind == LayerKind::FullAttention { &attention } else { &gated_delta };
        mixer.iter().chain(&mlp).map(|part| format!("{layer}.{part}")).collect()
    };
    let text = config.layers.iter().enumerate().flat_map(|(i, &kind)| of_layer(format!("layers.{i}"), kind));
    let mtp =
        (0..config.mtp_layers).flat_map(|i| of_layer(format!("mtp.layers.{i}"), LayerKind::FullAttention));
    (text.collect(), mtp.chain((config.mtp_layers > 0).then(|| "mtp.fc".to_owned())).collect())
}

fn int4(group_size: usize, zero_points: bool, scale_type: HalfType) -> LinearKind {
    LinearKind::Int4 { group_size, zero_points, scale_type }
}

#[test]
fn each_layer_has_the_layout_that_its_checkpoint_announces() {
    let dense = LinearKind::Dense(DenseType::Bf16);
    let cases = [
        ("dense-bf16", Family::Qwen3, dense, 0),
        ("dense-awq", Family::Qwen3, int4(128, true, HalfType::F16), 0),
        ("dense-gptq", Family::Qwen3, int4(128, true, HalfType::F16), 0),
        ("hybrid-bf16", Family::Qwen35, dense, 1),
        ("hybrid-awq", Family::Qwen35, int4(128, true, HalfType::F16), 0),
        ("hybrid-ct", Family::Qwen35, int4(32, false, HalfType::Bf16), 1),
        ("hybrid-ct-asym", Family::Qwen35, int4(128, true, HalfType::Bf16), 0),
    ];
    for (name, family, expected, mtp_layers) in cases {
        let checkpoint = DirectoryCheckpoint::open(&folder(name)).unwrap();
        let config = checkpoint.config();
        assert_eq!((config.family, config.mtp_layers), (family, mtp_layers), "{name}");
        let (text, mtp) = linear_modules(config);
        for module in &text {
            assert_eq!(checkpoint.linear_kind(module).unwrap(), expected, "{name}: {module}");
        }
        for module in &mtp {
            assert_eq!(checkpoint.linear_kind(module).unwrap(), dense, "{name}: {module}");
        }
    }
}
