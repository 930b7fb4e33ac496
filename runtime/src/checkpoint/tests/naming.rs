//! Finding tensors: prefixes, shards, tied heads, MTP heads, dense reads.

use serde_json::{Value, json};

use super::super::{CheckpointSource, DenseType, DirectoryCheckpoint, LinearKind, SourceIdentity};
use super::*;

fn hybrid_text() -> Value {
    json!({
        "model_type": "qwen3_5_text", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "linear_num_key_heads": 1,
        "linear_num_value_heads": 2, "linear_key_head_dim": 32, "linear_value_head_dim": 32,
        "linear_conv_kernel_dim": 4, "full_attention_interval": 2, "tie_word_embeddings": true,
        "vocab_size": 24, "rms_norm_eps": 1e-6, "max_position_embeddings": 128, "mtp_num_hidden_layers": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25}
    })
}

fn hybrid() -> Value {
    json!({"model_type": "qwen3_5", "architectures": ["Qwen3_5ForConditionalGeneration"],
        "text_config": hybrid_text()})
}

fn index(shards: &[(&str, &[Stored])]) -> Vec<u8> {
    let mut map = json!({});
    for (shard, tensors) in shards {
        tensors.iter().for_each(|tensor| map[&tensor.name] = json!(shard));
    }
    json!({"metadata": {"total_size": 0}, "weight_map": map}).to_string().into_bytes()
}

#[test]
fn the_prefix_is_found_from_the_tensors() {
    for (config, prefix) in [
        (hybrid(), "model.language_model."),
        (hybrid(), "language_model.model."),
        (hybrid_text(), "model."),
        (hybrid_text(), ""),
    ] {
        let tensors = [
            ones(format!("{prefix}layers.0.input_layernorm.weight"), &[64]),
            floats(format!("{prefix}layers.0.linear_attn.A_log"), &[2], &[0.5, 2.0]),
            ones(format!("{prefix}layers.0.linear_attn.conv1d.weight"), &[128, 1, 4]),
            ones(format!("{prefix}embed_tokens.weight"), &[24, 64]),
            ones("model.visual.patch_embed.proj.weight", &[8]),
        ];
        let directory = Directory::new(&config, &tensors);
        let checkpoint = DirectoryCheckpoint::open(directory.path()).unwrap();
        assert_eq!(checkpoint.read_whole_f32("layers.0.linear_attn.A_log").unwrap(), [0.5, 2.0]);
        assert_eq!(checkpoint.read_whole_f32("layers.0.linear_attn.conv1d.weight").unwrap(), [1.0; 512]);
        assert_eq!(checkpoint.linear_kind("embed_tokens").unwrap(), LinearKind::Dense(DenseType::Bf16));
        assert_eq!(checkpoint.linear_kind("lm_head").unwrap(), LinearKind::Absent);
        // The file announces an MTP head, the tensors do not have it.
        assert_eq!(checkpoint.config().mtp_layers, 0);
    }
}

#[test]
fn an_mtp_head_may_sit_in_a_shard_of_its_own() {
    let text = [ones("model.language_model.layers.0.input_layernorm.weight", &[64])];
    let mtp = [
        ones("mtp.pre_fc_norm_hidden.weight", &[64]),
        ones("mtp.fc.weight", &[64, 128]),
        ones("mtp.layers.0.mlp.up_proj.weight", &[96, 64]),
    ];
    let directory = Directory::new(&hybrid(), &text);
    directory.write("model-mtp.safetensors", &safetensors(&mtp));
    let open = || DirectoryCheckpoint::open(directory.path()).unwrap();
    assert_eq!(open().config().mtp_layers, 0);

    let shards = [("model.safetensors", &text[..]), ("model-mtp.safetensors", &mtp[..])];
    directory.write("model.safetensors.index.json", &index(&shards));
    let checkpoint = open();
    assert_eq!(checkpoint.config().mtp_layers, 1);
    assert_eq!(checkpoint.linear_kind("mtp.fc").unwrap(), LinearKind::Dense(DenseType::Bf16));
    assert_eq!(checkpoint.read_whole_f32("mtp.layers.0.mlp.up_proj.weight").unwrap(), vec![1.0; 96 * 64]);
    let SourceIdentity::Directory { files, .. } = checkpoint.identity() else { panic!("a directory") };
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    let expected =
        ["config.json", "model.safetensors.index.json", "model-mtp.safetensors", "model.safetensors"];
    assert_eq!(names, expected);

    // An index from before a conversion to one file does not count.
    directory.write("model.safetensors.index.json", &index(&[("model-00001-of-00002.safetensors", &mtp)]));
    assert_eq!(open().config().mtp_layers, 0);
}

#[test]
fn a_tied_model_ignores_a_redundant_head() {
    let tensors = [marker(32), ones("lm_head.weight", &[16, 32])];
    let mut config = config(32, 64, Value::Null);
    let directory = Directory::new(&config, &tensors);
    let open = || DirectoryCheckpoint::open(directory.path()).unwrap();
    assert_eq!(open().linear_kind("lm_head").unwrap(), LinearKind::Absent);
    config["tie_word_embeddings"] = json!(false);
    directory.write("config.json", config.to_string().as_bytes());
    assert_eq!(open().linear_kind("lm_head").unwrap(), LinearKind::Dense(DenseType::Bf16));
    directory.write("model.safetensors", &safetensors(&tensors[..1]));
    insta::assert_snapshot!(directory.open_error(), @"open the checkpoint MODEL: tensor `lm_head.weight` is missing; download all files of one revision again");
}

#[test]
fn dense_rows_come_as_f32_and_as_stored() {
    let values: Vec<f32> = (0..16 * 32).map(|index| index as f32 / 64.0 - 3.0).collect();
    let f16: Vec<u16> = values.iter().map(|&value| ::half::f16::from_f32(value).to_bits()).collect();
    let bf16: Vec<u16> = values.iter().map(|&value| ::half::bf16::from_f32(value).to_bits()).collect();
    let name = "model.embed_tokens.weight";
    let cases = [
        (halves(name, "F16", &[16, 32], &f16), DenseType::F16),
        (halves(name, "BF16", &[16, 32], &bf16), DenseType::Bf16),
        (floats(name, &[16, 32], &values), DenseType::F32),
    ];
    for (tensor, element) in cases {
        let directory = Directory::new(&config(32, 64, Value::Null), &[marker(32), tensor.clone()]);
        let checkpoint = DirectoryCheckpoint::open(directory.path()).unwrap();
        let table = "embed_tokens.weight";
        assert_eq!(checkpoint.dense_type(table).unwrap(), Some(element));
        let mut raw = vec![0; 3 * 32 * element.size()];
        checkpoint.read_rows_raw(table, 5..8, &mut raw).unwrap();
        assert_eq!(raw, tensor.bytes[5 * 32 * element.size()..8 * 32 * element.size()]);

        let mut found = vec![f32::NAN; 3 * 32];
        checkpoint.read_rows_f32(table, 5..8, &mut found).unwrap();
        let expected: Vec<f32> = match element {
            DenseType::F16 => f16.iter().map(|&bits| ::half::f16::from_bits(bits).to_f32()).collect(),
            DenseType::Bf16 => bf16.iter().map(|&bits| ::half::bf16::from_bits(bits).to_f32()).collect(),
            DenseType::F32 => values.clone(),
        };
        assert_eq!(found, expected[5 * 32..8 * 32]);
        assert!(checkpoint.read_rows_f32(table, 15..17, &mut found[..64]).is_err());
        assert!(checkpoint.read_rows_f32(table, 0..1, &mut found).is_err());
        assert!(checkpoint.read_rows_raw(table, 0..1, &mut raw).is_err());
        assert!(checkpoint.read_rows_f32("embed_tokens", 0..1, &mut found[..32]).is_err());
    }
}

/// More values than one band of the f32 path, so that bands meet.
#[test]
fn long_tensors_are_read_in_bands() {
    let (rows, columns) = (24_000, 32);
    let values: Vec<f32> = (0..rows * columns).map(|index| index as f32).collect();
    let mut config = config(32, 64, Value::Null);
    config["vocab_size"] = json!(rows);
    let table = floats("model.embed_tokens.weight", &[rows, columns], &values);
    let directory = Directory::new(&config, &[marker(32), table]);
    let checkpoint = DirectoryCheckpoint::open(directory.path()).unwrap();
    assert_eq!(checkpoint.read_whole_f32("embed_tokens.weight").unwrap(), values);
}

#[test]
fn biases_of_zero_are_harmless_and_others_refused() {
    let weight = ones(format!("{STORED_MODULE}.weight"), &[32, 64]);
    let name = format!("{STORED_MODULE}.bias");
    let zeros = floats(name.clone(), &[32], &[0.0; 32]);
    let directory = Directory::new(&config(32, 64, Value::Null), &[marker(32), weight.clone(), zeros]);
    let kind = || DirectoryCheckpoint::open(directory.path()).unwrap().linear_kind(MODULE);
    assert_eq!(kind().unwrap(), LinearKind::Dense(DenseType::Bf16));
    directory.write("model.safetensors", &safetensors(&[marker(32), weight, ones(name, &[32])]));
    insta::assert_snapshot!(directory.message(&kind().unwrap_err()), @"read `model.layers.0.mlp.down_proj.bias` in MODEL/model.safetensors: a bias that is not zero is not supported; use a checkpoint without biases");
}
