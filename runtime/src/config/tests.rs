use serde_json::{Value, json};

use super::*;

fn qwen3() -> Value {
    json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": false,
        "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000, "rope_scaling": null, "hidden_act": "silu",
        "tie_word_embeddings": true, "use_sliding_window": false, "sliding_window": null,
        "max_window_layers": 36, "eos_token_id": 151645, "torch_dtype": "bfloat16"
    })
}

fn qwen3_5_text() -> Value {
    json!({
        "model_type": "qwen3_5_text", "hidden_size": 2560, "intermediate_size": 9216, "num_hidden_layers": 32,
        "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 256, "linear_num_key_heads": 16,
        "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4, "full_attention_interval": 4, "tie_word_embeddings": true,
        "vocab_size": 248320, "rms_norm_eps": 1e-6, "hidden_act": "silu", "attention_bias": false,
        "attn_output_gate": true, "max_position_embeddings": 262144, "mtp_num_hidden_layers": 1,
        "mtp_use_dedicated_embeddings": false, "mlp_only_layers": [], "eos_token_id": 248044,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000000, "partial_rotary_factor": 0.25,
            "mrope_interleaved": true, "mrope_section": [11, 11, 10]}
    })
}

fn qwen3_5() -> Value {
    json!({
        "architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5",
        "tie_word_embeddings": true, "text_config": qwen3_5_text(), "vision_config": {"hidden_size": 1024}
    })
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

fn without(mut config: Value, key: &str) -> Value {
    config.as_object_mut().expect("an object").remove(key);
    config
}

fn parse(config: &Value) -> Result<ModelConfig, ConfigProblem> {
    ModelConfig::parse(&config.to_string(), &[])
}

#[test]
fn published_files_give_published_sizes() {
    let parsed = ModelConfig::parse(&qwen3().to_string(), &[151_645, 151_643]).unwrap();
    assert_eq!(Some(parsed), ModelConfig::published("Qwen3-4B"));
    let stop_ids = [248_046, 248_044];
    let nested = ModelConfig::parse(&qwen3_5().to_string(), &stop_ids).unwrap();
    let flat = ModelConfig::parse(&qwen3_5_text().to_string(), &stop_ids).unwrap();
    assert_eq!(Some(&nested), ModelConfig::published("Qwen3.5-4B").as_ref());
    assert_eq!(nested, flat);
    assert_eq!(nested.count(LayerKind::FullAttention), 8);
    assert_eq!(nested.layers[3], LayerKind::FullAttention);
    assert_eq!(nested.layers[0], LayerKind::LinearAttention);
}

/// Parameters by the table of the architecture, against the byte counts of the published bf16 files.
#[test]
fn shapes_add_up_to_the_published_sizes() {
    let cases = [
        ("Qwen3-0.6B", 1_192_099_840_u64),
        ("Qwen3-1.7B", 3_441_149_952),
        ("Qwen3-4B", 8_044_936_192),
        ("Qwen3.5-0.8B", 1_504_786_048),
        ("Qwen3.5-2B", 3_763_650_176),
        ("Qwen3.5-4B", 8_411_502_592),
    ];
    for (name, bytes) in cases {
        let config = ModelConfig::published(name).unwrap();
        let mut names = vec!["embed_tokens.weight".to_owned(), "norm.weight".to_owned()];
        for (index, kind) in config.layers.iter().enumerate() {
            names.extend(layer_tensors(&format!("layers.{index}"), *kind));
        }
        assert_eq!(2 * parameters(&config, &names), bytes, "{name}");
    }
    let config = ModelConfig::published("Qwen3.5-4B").unwrap();
    let mut names: Vec<String> = ["fc", "norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"]
        .iter()
        .map(|name| format!("mtp.{name}.weight"))
        .collect();
    names.extend(layer_tensors("mtp.layers.0", LayerKind::FullAttention));
    assert_eq!(parameters(&config, &names), 120_599_552);
}

fn parameters(config: &ModelConfig, names: &[String]) -> u64 {
    let size = |name: &String| config.tensor_shape(name).expect(name).iter().product::<usize>() as u64;
    names.iter().map(size).sum()
}

fn layer_tensors(layer: &str, kind: LayerKind) -> Vec<String> {
    let mut parts = vec!["input_layernorm", "post_attention_layernorm"];
    parts.extend(["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]);
    let mut names = Vec::new();
    match kind {
        LayerKind::FullAttention => parts.extend([
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "self_attn.q_norm",
            "self_attn.k_norm",
        ]),
        LayerKind::LinearAttention => {
            parts.extend([
                "linear_attn.in_proj_qkv",
                "linear_attn.in_proj_z",
                "linear_attn.in_proj_a",
                "linear_attn.in_proj_b",
                "linear_attn.conv1d",
                "linear_attn.norm",
                "linear_attn.out_proj",
            ]);
            names.extend(["A_log", "dt_bias"].map(|part| format!("{layer}.linear_attn.{part}")));
        }
    }
    names.extend(parts.iter().map(|part| format!("{layer}.{part}.weight")));
    names
}

#[test]
fn names_that_the_model_lacks_have_no_shape() {
    let dense = ModelConfig::published("Qwen3-4B").unwrap();
    let hybrid = ModelConfig::published("Qwen3.5-4B").unwrap();
    for name in
        ["layers.36.mlp.up_proj.weight", "layers.01.mlp.up_proj.weight", "layers.+1.mlp.up_proj.weight"]
    {
        assert_eq!(dense.tensor_shape(name), None, "{name}");
    }
    for name in ["layers.0.linear_attn.A_log", "mtp.fc.weight", "", "layers", "layers.0", "visual.x.weight"] {
        assert_eq!(dense.tensor_shape(name), None, "{name}");
    }
    assert_eq!(hybrid.tensor_shape("layers.0.self_attn.q_proj.weight"), None);
    assert_eq!(hybrid.tensor_shape("mtp.layers.1.self_attn.q_proj.weight"), None);
    assert_eq!(hybrid.linear_shape("layers.3.self_attn.q_proj"), Some([8192, 2560]));
    assert_eq!(hybrid.linear_shape("layers.0.linear_attn.conv1d"), None);
    assert_eq!(hybrid.linear_shape("norm"), None);
}

#[test]
fn older_and_newer_spellings_mean_the_same() {
    let old = parse(&qwen3()).unwrap();
    let rope = json!({"rope_type": "default", "rope_theta": 1000000});
    let new = with(without(qwen3(), "rope_theta"), "rope_parameters", rope);
    assert_eq!(parse(&new).unwrap(), old);
    let layers = json!(vec!["full_attention"; 36]);
    assert_eq!(parse(&with(qwen3(), "layer_types", layers)).unwrap(), old);

    let hybrid = parse(&qwen3_5_text()).unwrap();
    let types: Vec<&str> =
        (1..=32).map(|layer| if layer % 4 == 0 { "full_attention" } else { "linear_attention" }).collect();
    let listed = with(without(qwen3_5_text(), "full_attention_interval"), "layer_types", json!(types));
    assert_eq!(parse(&listed).unwrap(), hybrid);
    let top = with(without(qwen3_5_text(), "rope_parameters"), "rope_theta", json!(1e7));
    assert_eq!(parse(&with(top, "partial_rotary_factor", json!(0.25))).unwrap(), hybrid);

    let mut inner_only = qwen3_5();
    inner_only.as_object_mut().unwrap().remove("tie_word_embeddings");
    assert!(parse(&inner_only).unwrap().tie_word_embeddings);
    let window_unused = with(qwen3(), "sliding_window", json!(4096));
    assert_eq!(parse(&window_unused).unwrap(), old);
}

#[test]
fn stop_ids_are_the_union_within_the_vocabulary() {
    let config = with(qwen3(), "eos_token_id", json!([151_643, 7, 4_000_000]));
    let parsed = ModelConfig::parse(&config.to_string(), &[151_645, 7]).unwrap();
    assert_eq!(parsed.stop_ids, [151_645, 7, 151_643]);
    assert!(parse(&without(qwen3(), "eos_token_id")).unwrap().stop_ids.is_empty());
    assert!(parse(&with(qwen3(), "eos_token_id", json!(null))).unwrap().stop_ids.is_empty());
    assert!(parse(&with(qwen3(), "eos_token_id", json!(-1))).is_err());
}

#[test]
fn a_config_survives_a_manifest() {
    for name in PUBLISHED {
        let config = ModelConfig::published(name).unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
    }
}

fn refusal(config: &Value) -> String {
    parse(config).expect_err("an unsupported config").to_string()
}

#[test]
fn other_architectures_are_refused_by_name() {
    let flat = |name: &str| refusal(&with(qwen3(), "model_type", json!(name)));
    let class = |name: &str| refusal(&with(qwen3(), "architectures", json!([name])));
    insta::assert_snapshot!(flat("llama"), @"`model_type` `llama` is not supported (another architecture); supported are Qwen3 (`qwen3`) and Qwen3.5 (`qwen3_5`, `qwen3_5_text`)");
    insta::assert_snapshot!(class("Qwen3NextForCausalLM"), @"architecture `Qwen3NextForCausalLM` is not supported (its fused in_proj_qkvz and in_proj_ba have another row order than Qwen3.5's); supported are Qwen3 (`qwen3`) and Qwen3.5 (`qwen3_5`, `qwen3_5_text`)");
    insta::assert_snapshot!(class("Qwen3MoeForCausalLM"), @"architecture `Qwen3MoeForCausalLM` is not supported (mixture of experts); supported are Qwen3 (`qwen3`) and Qwen3.5 (`qwen3_5`, `qwen3_5_text`)");
    insta::assert_snapshot!(class("Qwen3ForSequenceClassification"), @"architecture `Qwen3ForSequenceClassification` is not supported (it has no language-model head); supported are Qwen3 (`qwen3`) and Qwen3.5 (`qwen3_5`, `qwen3_5_text`)");
    let mut nested = qwen3_5();
    nested["text_config"]["model_type"] = json!("qwen3_5_moe_text");
    insta::assert_snapshot!(refusal(&nested), @"`text_config.model_type` `qwen3_5_moe_text` is not supported (mixture of experts); supported are Qwen3 (`qwen3`) and Qwen3.5 (`qwen3_5`, `qwen3_5_text`)");
    insta::assert_snapshot!(refusal(&with(qwen3(), "num_experts", json!(128))), @"`num_experts` is 128, but mixture of experts is not supported; use another checkpoint");
    insta::assert_snapshot!(refusal(&json!({"model_type": "qwen3_5"})), @"`text_config` is missing; add it, or use the config.json that belongs to the weights");
    insta::assert_snapshot!(refusal(&json!({})), @"`model_type` is missing; add it, or use the config.json that belongs to the weights");
}

#[test]
fn features_that_are_not_computed_are_refused_by_name() {
    let qwen3 = |key, value| refusal(&with(qwen3(), key, value));
    insta::assert_snapshot!(qwen3("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0})), @"`rope_scaling.rope_type` is `yarn`, but only `default` RoPE is computed; use another checkpoint");
    insta::assert_snapshot!(qwen3("rope_scaling", json!({"type": "linear", "factor": 2.0})), @"`rope_scaling.rope_type` is `linear`, but only `default` RoPE is computed; use another checkpoint");
    insta::assert_snapshot!(qwen3("attention_bias", json!(true)), @"`attention_bias` is true, but projections are computed without a bias; use another checkpoint");
    insta::assert_snapshot!(qwen3("hidden_act", json!("gelu")), @"`hidden_act` is `gelu`, but the MLP computes `silu`; use another checkpoint");
    let mut types = vec!["full_attention"; 36];
    types[35] = "sliding_attention";
    insta::assert_snapshot!(qwen3("layer_types", json!(types)), @"`layer_types` is `sliding_attention`, but layers of this family are full attention, or for Qwen3.5 linear attention; use another checkpoint");
    let windowed = with(self::qwen3(), "use_sliding_window", json!(true));
    let windowed = with(with(windowed, "sliding_window", json!(4096)), "max_window_layers", json!(28));
    insta::assert_snapshot!(refusal(&windowed), @"`sliding_window` is 4096, but attention here is over the whole context; use another checkpoint");
    let dedicated = with(qwen3_5_text(), "mtp_use_dedicated_embeddings", json!(true));
    insta::assert_snapshot!(refusal(&dedicated), @"`mtp_use_dedicated_embeddings` is true, but the MTP head shares the target's embedding table; use another checkpoint");
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let qwen3 = |key, value| refusal(&with(qwen3(), key, value));
    insta::assert_snapshot!(qwen3("hidden_size", json!(0)), @"`hidden_size` is 0, which is not in 1..=1048576; check it against the model card");
    insta::assert_snapshot!(qwen3("hidden_size", json!(2570)), @"`hidden_size` is 2570, which is not a multiple of 32; check it against the model card");
    insta::assert_snapshot!(qwen3("vocab_size", json!(1_u64 << 60)), @"`vocab_size` is 1152921504606846976, which is not in 1..=16777216; check it against the model card");
    insta::assert_snapshot!(qwen3("num_key_value_heads", json!(5)), @"`num_attention_heads` is 32, which is not a multiple of `num_key_value_heads` 5; check it against the model card");
    insta::assert_snapshot!(qwen3("layer_types", json!(["full_attention"])), @"`layer_types` has 1 entries for 36 layers; check it against the model card");
    insta::assert_snapshot!(qwen3("rms_norm_eps", json!(0.0)), @"`rms_norm_eps` is 0, which is not between 0 and 1; check it against the model card");
    insta::assert_snapshot!(qwen3("rope_theta", json!(0.5)), @"`rope_theta` is 0.5, which is not a finite number above 1; check it against the model card");
    insta::assert_snapshot!(qwen3("hidden_size", json!("2560")), @r#"invalid type: string "2560", expected u64 at line 1 column 102; download the file again, or correct the value at that line"#);
    insta::assert_snapshot!(refusal(&with(qwen3_5_text(), "linear_num_value_heads", json!(24))), @"`linear_num_value_heads` is 24, which is not a multiple of `linear_num_key_heads` 16; check it against the model card");
    insta::assert_snapshot!(refusal(&with(qwen3_5_text(), "full_attention_interval", json!(0))), @"`full_attention_interval` is 0, which is not in 1..=1024; check it against the model card");
    let mut odd = qwen3_5_text();
    odd["rope_parameters"]["partial_rotary_factor"] = json!(0.3);
    insta::assert_snapshot!(refusal(&odd), @"`partial_rotary_factor` 0.3 of `head_dim` 256 is not an even number of dims; check it against the model card");
    insta::assert_snapshot!(refusal(&without(self::qwen3(), "head_dim")), @"`head_dim` is missing; add it, or use the config.json that belongs to the weights");
    insta::assert_snapshot!(refusal(&without(self::qwen3(), "rope_theta")), @"`rope_parameters.rope_theta` is missing; add it, or use the config.json that belongs to the weights");
}

#[test]
fn errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let read = || {
        let error = ModelConfig::read(directory.path()).expect_err("a broken directory").to_string();
        error.replace(&directory.path().display().to_string(), "MODEL")
    };
    insta::assert_snapshot!(read(), @"read the model configuration MODEL/config.json: No such file or directory (os error 2); point at a Hugging Face model directory that has this file");
    std::fs::write(directory.path().join("config.json"), "{\"model_type\": ").unwrap();
    insta::assert_snapshot!(read(), @"read the model configuration MODEL/config.json: EOF while parsing a value at line 1 column 15; download the file again, or correct the value at that line");
    std::fs::write(directory.path().join("config.json"), qwen3().to_string()).unwrap();
    std::fs::write(directory.path().join("generation_config.json"), "{\"eos_token_id\": \"</s>\"}").unwrap();
    insta::assert_snapshot!(read(), @r#"read the model configuration MODEL/generation_config.json: invalid type: string "</s>", expected a token id, or a list of token ids at line 1 column 23; download the file again, or correct the value at that line"#);
    std::fs::write(directory.path().join("generation_config.json"), "{\"eos_token_id\": [9, 11]}").unwrap();
    assert_eq!(ModelConfig::read(directory.path()).unwrap().stop_ids, [9, 11, 151_645]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = ModelConfig::parse(&text, &[]);
    }

    #[test]
    fn no_value_makes_the_reader_panic(key in 0..40_usize, number in proptest::num::f64::ANY, whole in proptest::num::u64::ANY) {
        for base in [qwen3(), qwen3_5_text()] {
            let key = base.as_object().unwrap().keys().nth(key % base.as_object().unwrap().len()).unwrap().clone();
            for value in [json!(number), json!(whole), json!(whole % 8), json!([whole]), json!(null)] {
                if let Ok(config) = parse(&with(base.clone(), &key, value)) {
                    proptest::prop_assert!(config.tensor_shape("layers.0.mlp.up_proj.weight").is_some());
                }
            }
        }
    }
}
