//! Every corrupt or unsupported checkpoint gives one error that names the file and says what to do.

use serde_json::{Value, json};

use super::super::{CheckpointSource, DirectoryCheckpoint};
use super::*;

fn plain() -> Value {
    config(32, 64, Value::Null)
}

/// The error of opening a `model.safetensors` of these bytes.
fn file_error(bytes: &[u8]) -> String {
    let directory = Directory::new(&plain(), &[]);
    directory.write("model.safetensors", bytes);
    directory.open_error()
}

fn header_error(header: &[u8], data: usize) -> String {
    let mut file = with_header(header);
    file.extend(vec![0; data]);
    file_error(&file)
}

#[test]
fn damaged_safetensors_files() {
    let good = safetensors(&[marker(32)]);
    insta::assert_snapshot!(file_error(&good[..good.len() - 1]), @"open MODEL/model.safetensors: tensor `model.layers.0.input_layernorm.weight` ends at byte 64 of the data, but the file has 63; it is truncated: download it again");
    insta::assert_snapshot!(file_error(&good[..40]), @"open MODEL/model.safetensors: the header claims 124 bytes, but the file has 40; it is truncated: download it again");
    insta::assert_snapshot!(file_error(&good[..5]), @"open MODEL/model.safetensors: the file has 5 bytes, too few for a safetensors header; download it again");
    insta::assert_snapshot!(file_error(&[good.clone(), vec![0; 7]].concat()), @"open MODEL/model.safetensors: 7 bytes at 64 of the data belong to no tensor; the file is damaged: download it again");
    let huge = [&(1_u64 << 60).to_le_bytes()[..], &good[8..]].concat();
    insta::assert_snapshot!(file_error(&huge), @"open MODEL/model.safetensors: the header claims 1152921504606846976 bytes, above the limit of 100000000; this is not a safetensors file, or it is damaged: download it again");
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
    insta::assert_snapshot!(file_error(pointer), @"open MODEL/model.safetensors: the file is a Git LFS pointer, not the weights; run `git lfs pull` in the model directory");
    insta::assert_snapshot!(header_error(b"{\"a\": \xFF}", 0), @"open MODEL/model.safetensors: the header is not UTF-8 text; this is not a safetensors file, or it is damaged: download it again");
    insta::assert_snapshot!(header_error(b"{\"a\": {\"dtype\": \"F32\"", 0), @"open MODEL/model.safetensors: the header is malformed: EOF while parsing an object at line 1 column 21; the file is damaged: download it again");
    insta::assert_snapshot!(header_error(b"[]", 0), @"open MODEL/model.safetensors: the header is malformed: invalid type: sequence, expected a map from tensor names to dtype, shape and data_offsets at line 1 column 0; the file is damaged: download it again");
}

#[test]
fn headers_that_contradict_themselves() {
    let entry = |dtype: &str, shape: &[u64], begin: u64, end: u64| json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]});
    let error = |header: Value, data| header_error(header.to_string().as_bytes(), data);
    let f32 = |begin, end| entry("F32", &[2], begin, end);
    insta::assert_snapshot!(error(json!({"a": f32(0, 8), "b": f32(4, 12)}), 12), @"open MODEL/model.safetensors: tensors `a` and `b` overlap; the file is damaged: download it again");
    insta::assert_snapshot!(error(json!({"a": f32(0, 8), "b": f32(12, 20)}), 20), @"open MODEL/model.safetensors: 4 bytes at 8 of the data belong to no tensor; the file is damaged: download it again");
    insta::assert_snapshot!(error(json!({"a": f32(8, 0)}), 8), @"open MODEL/model.safetensors: tensor `a` has the byte range 8..0; the file is damaged: download it again");
    insta::assert_snapshot!(error(json!({"a": entry("F32", &[3], 0, 8)}), 8), @"open MODEL/model.safetensors: tensor `a` of type F32 and shape [3] has a range of 8 bytes, which do not agree; the file is damaged: download it again");
    insta::assert_snapshot!(error(json!({"a": entry("Q4_K", &[8], 0, 8)}), 8), @"open MODEL/model.safetensors: tensor `a` has the unknown dtype `Q4_K`; export the checkpoint in bf16, f16 or f32");
    insta::assert_snapshot!(error(json!({"a": entry("F32", &[2, -1_i64 as u64], 0, 8)}), 8), @"open MODEL/model.safetensors: tensor `a` of type F32 and shape [2, 18446744073709551615] has a range of 8 bytes, which do not agree; the file is damaged: download it again");
    let twice = format!("{{\"a\": {0}, \"a\": {1}}}", f32(0, 8), f32(8, 16));
    insta::assert_snapshot!(header_error(twice.as_bytes(), 16), @"open MODEL/model.safetensors: tensor `a` appears twice; export the checkpoint again");
}

#[test]
fn missing_and_misnamed_files() {
    let directory = Directory::new(&plain(), &[marker(32)]);
    directory.remove("model.safetensors");
    insta::assert_snapshot!(directory.open_error(), @"open the checkpoint MODEL: no model.safetensors and no model.safetensors.index.json there; download them, or convert the weights to safetensors");

    let index = |map: Value| {
        directory.write("model.safetensors.index.json", json!({"weight_map": map}).to_string().as_bytes());
        directory.open_error()
    };
    insta::assert_snapshot!(index(json!({"a": "one.safetensors", "b": "one.safetensors"})), @"read MODEL/model.safetensors.index.json: shard `one.safetensors` with 2 tensors is missing; download it into the same directory");
    insta::assert_snapshot!(index(json!({"a": "../one.safetensors"})), @"read MODEL/model.safetensors.index.json: tensor `a` is in `../one.safetensors`, which is not a plain file name; do not use this checkpoint unless you trust where it came from");
    insta::assert_snapshot!(index(json!({"a": "/elsewhere/one.safetensors"})), @"read MODEL/model.safetensors.index.json: tensor `a` is in `/elsewhere/one.safetensors`, which is not a plain file name; do not use this checkpoint unless you trust where it came from");
    directory.write("one.safetensors", &safetensors(&[marker(32)]));
    insta::assert_snapshot!(index(json!({"a": "one.safetensors"})), @"read MODEL/model.safetensors.index.json: tensor `a` is not in its shard `one.safetensors`; download the index and the shard again, from one revision");
    insta::assert_snapshot!(index(json!(["a"])), @"read MODEL/model.safetensors.index.json: invalid type: sequence, expected a map at line 1 column 14; download the index again");
    directory.write("model.safetensors.index.json", b"{\"weight_map\": ");
    insta::assert_snapshot!(directory.open_error(), @"read MODEL/model.safetensors.index.json: EOF while parsing a value at line 1 column 15; download the index again");

    let directory = Directory::new(&plain(), &[ones("transformer.h.0.ln_1.weight", &[32])]);
    insta::assert_snapshot!(directory.open_error(), @"open the checkpoint MODEL: tensor `layers.0.input_layernorm.weight` is missing; download all files of one revision again");
    directory.remove("config.json");
    insta::assert_snapshot!(directory.open_error(), @"read the model configuration MODEL/config.json: No such file or directory (os error 2); point at a Hugging Face model directory that has this file");
}

/// The error that a quantisation gives when the checkpoint is opened.
fn quantization_error(quantization: Value) -> String {
    Directory::new(&config(32, 64, quantization), &[marker(32)]).open_error()
}

#[test]
fn quantisations_that_have_no_reader() {
    let method = |name: &str| quantization_error(json!({"quant_method": name, "bits": "eight"}));
    insta::assert_snapshot!(method("fp8"), @"read the quantisation in MODEL/config.json: quant_method `fp8` is not supported; supported are AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
    insta::assert_snapshot!(method("bitsandbytes"), @"read the quantisation in MODEL/config.json: quant_method `bitsandbytes` is not supported; supported are AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
    insta::assert_snapshot!(quantization_error(json!({"bits": 4})), @"read the quantisation in MODEL/config.json: `quantization_config.quant_method` is missing; use the config.json that belongs to the weights");

    let awq = |key: &str, value: Value| {
        let mut quantization = json!({"quant_method": "awq", "bits": 4, "group_size": 32});
        quantization[key] = value;
        quantization_error(quantization)
    };
    insta::assert_snapshot!(awq("group_size", json!(100)), @"read the quantisation in MODEL/config.json: group size 100 is not a multiple of 32; quantise again with a group size of 32, 64 or 128");
    insta::assert_snapshot!(awq("group_size", json!(0)), @"read the quantisation in MODEL/config.json: group size 0 is not a multiple of 32; quantise again with a group size of 32, 64 or 128");
    insta::assert_snapshot!(awq("bits", json!(8)), @"read the quantisation in MODEL/config.json: `bits` is 8, but 4 bits are read; use a checkpoint in one of the supported forms: AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
    insta::assert_snapshot!(awq("version", json!("gemv")), @"read the quantisation in MODEL/config.json: `version` is `gemv`, but the GEMM layout is read; use a checkpoint in one of the supported forms: AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
    insta::assert_snapshot!(awq("bits", json!("four")), @r#"read the quantisation in MODEL/config.json: invalid type: string "four", expected i64 at line 1 column 353; correct the value at that line"#);
    let marlin = json!({"quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "marlin"});
    insta::assert_snapshot!(quantization_error(marlin), @"read the quantisation in MODEL/config.json: `checkpoint_format` is `marlin`, but `gptq` or `gptq_v2` is read; use a checkpoint in one of the supported forms: AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
    let native = json!({"quant_method": "auto-round", "bits": 4, "group_size": 128, "packing_format": "auto_round:llm_compressor"});
    insta::assert_snapshot!(quantization_error(native), @"read the quantisation in MODEL/config.json: `packing_format` is `auto_round:llm_compressor`, but `auto_round:auto_gptq` or `auto_round:auto_awq` is read; use a checkpoint in one of the supported forms: AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");

    let compressed = |change: &dyn Fn(&mut Value)| {
        let mut quantization = json!({"quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}}}});
        change(&mut quantization);
        quantization_error(quantization)
    };
    let group = |key: &'static str, value: Value| {
        compressed(&move |quantization| {
            quantization["config_groups"]["group_0"]["weights"][key] = value.clone()
        })
    };
    insta::assert_snapshot!(group("group_size", json!(100)), @"read the quantisation in MODEL/config.json: group size 100 is not a multiple of 32; quantise again with a group size of 32, 64 or 128");
    insta::assert_snapshot!(group("num_bits", json!(8)), @"read the quantisation in MODEL/config.json: `num_bits` is 8, but 4 bits are read; use a checkpoint in one of the supported forms: AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
    insta::assert_snapshot!(group("strategy", json!("tensor")), @"read the quantisation in MODEL/config.json: `weights.strategy` is `tensor`, but `group` or `channel` is read; use a checkpoint in one of the supported forms: AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
    insta::assert_snapshot!(compressed(&|q| q["format"] = json!("nvfp4-pack-quantized")), @"read the quantisation in MODEL/config.json: `format` is `nvfp4-pack-quantized`, but `pack-quantized` is read; use a checkpoint in one of the supported forms: AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
    insta::assert_snapshot!(compressed(&|q| q["config_groups"]["group_0"]["input_activations"] = json!({"num_bits": 8})), @"read the quantisation in MODEL/config.json: `input_activations` is present, but activations keep their precision; use a checkpoint in one of the supported forms: AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
    insta::assert_snapshot!(compressed(&|q| q["transform_config"] = json!({"config_groups": {"R1": {}}})), @"read the quantisation in MODEL/config.json: `transform_config` is present, but rotations of activations are not applied; use a checkpoint in one of the supported forms: AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32");
}

/// The error of asking for the layer of a checkpoint that opens.
fn layer_error(quantization: Value, tensors: Vec<Stored>) -> String {
    let tensors = [vec![marker(32)], tensors].concat();
    let directory = Directory::new(&config(32, 64, quantization), &tensors);
    let checkpoint = DirectoryCheckpoint::open(directory.path()).expect("a checkpoint that opens");
    directory.message(&checkpoint.linear_kind(MODULE).expect_err("a broken layer"))
}

fn tensor(name: &str, shape: &[usize]) -> Stored {
    words(format!("{STORED_MODULE}.{name}"), shape, &vec![0; shape.iter().product()])
}

fn scales(name: &str, shape: &[usize]) -> Stored {
    ones(format!("{STORED_MODULE}.{name}"), shape)
}

#[test]
fn layers_that_do_not_fit_their_config() {
    let weight = |shape: &[usize]| vec![ones(format!("{STORED_MODULE}.weight"), shape)];
    insta::assert_snapshot!(layer_error(Value::Null, weight(&[64, 32])), @"read `model.layers.0.mlp.down_proj.weight` in MODEL/model.safetensors: its shape is [64, 32], but config.json makes it [32, 64]; use the config.json that belongs to these weights");
    insta::assert_snapshot!(layer_error(Value::Null, vec![tensor("weight", &[32, 64])]), @"read `model.layers.0.mlp.down_proj.weight` in MODEL/model.safetensors: its dtype is I32, but BF16, F16 or F32 is needed; export the checkpoint in a supported format");
    insta::assert_snapshot!(layer_error(Value::Null, vec![tensor("qweight", &[64, 4])]), @"read the quantisation in MODEL/config.json: tensor `model.layers.0.mlp.down_proj.qweight` is packed in a layout that `quantization_config` does not announce; use the config.json that belongs to the weights");

    let awq = |group_size: i64| json!({"quant_method": "awq", "bits": 4, "group_size": group_size});
    let packed = |tensors: [(&str, &[usize]); 2]| {
        let mut all: Vec<Stored> = tensors.iter().map(|(name, shape)| tensor(name, shape)).collect();
        all.push(scales("scales", &[2, 32]));
        all
    };
    let good: [(&str, &[usize]); 2] = [("qweight", &[64, 4]), ("qzeros", &[2, 4])];
    insta::assert_snapshot!(layer_error(awq(32), packed([("qweight", &[64, 8]), good[1]])), @"read `model.layers.0.mlp.down_proj.qweight` in MODEL/model.safetensors: its shape is [64, 8], but config.json makes it [64, 4]; use the config.json that belongs to these weights");
    insta::assert_snapshot!(layer_error(awq(32), packed([good[0], ("qzeros", &[2, 2])])), @"read `model.layers.0.mlp.down_proj.qzeros` in MODEL/model.safetensors: its shape is [2, 2], but config.json makes it [2, 4]; use the config.json that belongs to these weights");
    insta::assert_snapshot!(layer_error(awq(32), vec![tensor("qweight", &[64, 4])]), @"open the checkpoint MODEL: tensor `model.layers.0.mlp.down_proj.scales` is missing; download all files of one revision again");
    insta::assert_snapshot!(layer_error(awq(128), packed(good)), @"read `model.layers.0.mlp.down_proj.scales` in MODEL/model.safetensors: its 64 columns are not whole groups of 128; quantise again with a group size of 32, 64 or 128 that divides them");
    insta::assert_snapshot!(layer_error(awq(64), packed(good)), @"read `model.layers.0.mlp.down_proj.scales` in MODEL/model.safetensors: its shape is [2, 32], but config.json makes it [1, 32]; use the config.json that belongs to these weights");
    insta::assert_snapshot!(layer_error(awq(32), [packed(good), weight(&[32, 64])].concat()), @"read `model.layers.0.mlp.down_proj.weight` in MODEL/model.safetensors: the layer is there twice, packed and as `.weight`; export the checkpoint again");
    insta::assert_snapshot!(layer_error(awq(32), vec![tensor("weight_packed", &[32, 8])]), @"read the quantisation in MODEL/config.json: tensor `model.layers.0.mlp.down_proj.weight_packed` is packed in a layout that `quantization_config` does not announce; use the config.json that belongs to the weights");
}

#[test]
fn reordered_columns_and_stray_groups() {
    let gptq =
        |desc_act: bool| json!({"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": desc_act});
    let mut tensors =
        vec![tensor("qweight", &[8, 32]), tensor("qzeros", &[2, 4]), scales("scales", &[2, 32])];
    insta::assert_snapshot!(layer_error(gptq(true), tensors.clone()), @"read `model.layers.0.mlp.down_proj.scales` in MODEL/model.safetensors: `desc_act` is true, but `model.layers.0.mlp.down_proj.g_idx` is missing; use a checkpoint quantised without `desc_act`");
    let shuffled: Vec<u32> = (0..64).map(|column| column % 2).collect();
    tensors.push(words(format!("{STORED_MODULE}.g_idx"), &[64], &shuffled));
    insta::assert_snapshot!(layer_error(gptq(true), tensors), @"read `model.layers.0.mlp.down_proj.g_idx` in MODEL/model.safetensors: columns are reordered by activation (`desc_act`, `actorder: group`), which is not supported; use a checkpoint quantised without it");

    let compressed = json!({"quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": {"group_0": {"weights": {"num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": true}}}});
    let packed = tensor("weight_packed", &[32, 8]);
    let stray = vec![packed.clone(), scales("weight_scale", &[32, 1])];
    insta::assert_snapshot!(layer_error(compressed.clone(), stray), @"read `model.layers.0.mlp.down_proj.weight_scale` in MODEL/model.safetensors: its shape [32, 1] without a zero point fits none of the group sizes of config.json for 32 rows of 64 columns: 32 (symmetric); use the config.json that belongs to these weights");
    let wrong_shape: Vec<u8> = [64_i64, 32].iter().flat_map(|size| size.to_le_bytes()).collect();
    let shape = stored(format!("{STORED_MODULE}.weight_shape"), "I64", &[2], wrong_shape);
    let contradicting = vec![packed, scales("weight_scale", &[32, 2]), shape];
    insta::assert_snapshot!(layer_error(compressed, contradicting), @"read `model.layers.0.mlp.down_proj.weight_shape` in MODEL/model.safetensors: it says [64, 32], but config.json makes the layer [32, 64]; use the config.json that belongs to these weights");
}

#[test]
fn a_file_that_shrinks_later_is_an_error_too() {
    let table = ones("model.embed_tokens.weight", &[16, 32]);
    let directory = Directory::new(&plain(), &[marker(32), table]);
    let checkpoint = DirectoryCheckpoint::open(directory.path()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(directory.file("model.safetensors")).unwrap();
    file.set_len(600).unwrap();
    let error = checkpoint.read_whole_f32("embed_tokens.weight").unwrap_err();
    insta::assert_snapshot!(directory.message(&error), @"read MODEL/model.safetensors: failed to fill whole buffer; check that the file is there, readable and complete");
}
