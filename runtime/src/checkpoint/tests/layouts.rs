//! Each packed layout against the formula of its format, written out plainly.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{CheckpointSource, DirectoryCheckpoint, HalfType, Int4Rows, LinearKind};
use super::*;

/// A weight before packing: unsigned values and zero points, as floats would be computed from them.
#[derive(Debug, Clone)]
struct Weight {
    rows: usize,
    columns: usize,
    group_size: usize,
    q: Vec<u8>,
    z: Vec<u8>,
    scales: Vec<u16>,
}

impl Weight {
    fn groups(&self) -> usize {
        self.columns / self.group_size
    }

    fn q(&self, row: usize, column: usize) -> u32 {
        u32::from(self.q[row * self.columns + column])
    }

    fn z(&self, row: usize, group: usize) -> u32 {
        u32::from(self.z[row * self.groups() + group])
    }

    /// `scales` as `[groups, rows]`.
    fn scales_by_group(&self) -> Vec<u16> {
        let at = |group: usize, row: usize| self.scales[row * self.groups() + group];
        (0..self.groups()).flat_map(|group| (0..self.rows).map(move |row| at(group, row))).collect()
    }

    fn expected(&self, rows: std::ops::Range<usize>, zero_points: bool) -> Int4Rows {
        let (columns, groups) = (self.columns, self.groups());
        let of_rows = |per_row: usize| rows.start * per_row..rows.end * per_row;
        Int4Rows {
            rows: rows.len(),
            columns,
            group_size: self.group_size,
            values: self.q[of_rows(columns)].chunks_exact(2).map(|pair| pair[0] | pair[1] << 4).collect(),
            scales: self.scales[of_rows(groups)].to_vec(),
            scale_type: HalfType::F16,
            zero_points: zero_points.then(|| self.z[of_rows(groups)].to_vec()),
        }
    }
}

fn weight() -> impl Strategy<Value = Weight> {
    let sizes = (1..6_usize, 1..5_usize, prop_oneof![Just(32_usize), Just(64), Just(128)]);
    sizes.prop_flat_map(|(row_blocks, groups, group_size)| {
        // `hidden_size` is a multiple of 32, `intermediate_size` whole groups.
        let (rows, columns) = (32 * row_blocks, group_size * groups);
        let nibbles = |count: usize| proptest::collection::vec(0..16_u8, count);
        let scales = proptest::collection::vec(0x0400..0x3C00_u16, rows * groups);
        (nibbles(rows * columns), nibbles(rows * groups), scales).prop_map(move |(q, z, scales)| Weight {
            rows,
            columns,
            group_size,
            q,
            z,
            scales,
        })
    })
}

/// Word `index` along a packed dimension: nibble `n` is `value(8 * index + order[n])`.
fn pack(index: usize, order: [usize; 8], value: impl Fn(usize) -> u32) -> u32 {
    (0..8).fold(0, |word, nibble| word | value(8 * index + order[nibble]) << (4 * nibble))
}

const IN_ORDER: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const AWQ_ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

fn pack_matrix(rows: usize, columns: usize, word: impl Fn(usize, usize) -> u32) -> Vec<u32> {
    (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| word(r, c)).collect()
}

fn awq(w: &Weight) -> (Value, Vec<Stored>) {
    let qweight = pack_matrix(w.columns, w.rows / 8, |i, c| pack(c, AWQ_ORDER, |o| w.q(o, i)));
    let qzeros = pack_matrix(w.groups(), w.rows / 8, |g, c| pack(c, AWQ_ORDER, |o| w.z(o, g)));
    let tensors = vec![
        words(format!("{STORED_MODULE}.qweight"), &[w.columns, w.rows / 8], &qweight),
        words(format!("{STORED_MODULE}.qzeros"), &[w.groups(), w.rows / 8], &qzeros),
        halves(format!("{STORED_MODULE}.scales"), "F16", &[w.groups(), w.rows], &w.scales_by_group()),
    ];
    let quantization = json!({"quant_method": "awq", "bits": 4, "group_size": w.group_size,
        "version": "gemm", "zero_point": true});
    (quantization, tensors)
}

/// `stored_zero` maps a zero point to what the file holds.
fn gptq(w: &Weight, format: &str, stored_zero: impl Fn(u32) -> u32) -> (Value, Vec<Stored>) {
    let qweight = pack_matrix(w.columns / 8, w.rows, |i, o| pack(i, IN_ORDER, |input| w.q(o, input)));
    let qzeros =
        pack_matrix(w.groups(), w.rows / 8, |g, c| pack(c, IN_ORDER, |output| stored_zero(w.z(output, g))));
    let g_idx: Vec<u32> = (0..w.columns).map(|column| (column / w.group_size) as u32).collect();
    let tensors = vec![
        words(format!("{STORED_MODULE}.qweight"), &[w.columns / 8, w.rows], &qweight),
        words(format!("{STORED_MODULE}.qzeros"), &[w.groups(), w.rows / 8], &qzeros),
        halves(format!("{STORED_MODULE}.scales"), "F16", &[w.groups(), w.rows], &w.scales_by_group()),
        words(format!("{STORED_MODULE}.g_idx"), &[w.columns], &g_idx),
    ];
    let quantization = json!({"quant_method": "gptq", "bits": 4, "group_size": w.group_size,
        "desc_act": false, "sym": false, "checkpoint_format": format});
    (quantization, tensors)
}

fn compressed(w: &Weight, symmetric: bool) -> (Value, Vec<Stored>) {
    // Stored values are signed ones plus 8, which is what `q` and `z` are here.
    let packed = pack_matrix(w.rows, w.columns / 8, |o, i| pack(i, IN_ORDER, |input| w.q(o, input)));
    let shape: Vec<u8> = [w.rows as i64, w.columns as i64].iter().flat_map(|n| n.to_le_bytes()).collect();
    let mut tensors = vec![
        words(format!("{STORED_MODULE}.weight_packed"), &[w.rows, w.columns / 8], &packed),
        halves(format!("{STORED_MODULE}.weight_scale"), "F16", &[w.rows, w.groups()], &w.scales),
        stored(format!("{STORED_MODULE}.weight_shape"), "I64", &[2], shape),
    ];
    if !symmetric {
        let zeros = pack_matrix(w.rows / 8, w.groups(), |c, g| pack(c, IN_ORDER, |output| w.z(output, g)));
        tensors.push(words(format!("{STORED_MODULE}.weight_zero_point"), &[w.rows / 8, w.groups()], &zeros));
    }
    let quantization = json!({"quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": null,
            "output_activations": null, "weights": {"num_bits": 4, "type": "int", "strategy": "group",
            "group_size": w.group_size, "symmetric": symmetric}}}});
    (quantization, tensors)
}

fn open(w: &Weight, (quantization, mut tensors): (Value, Vec<Stored>)) -> (Directory, DirectoryCheckpoint) {
    tensors.push(marker(w.rows));
    let directory = Directory::new(&config(w.rows, w.columns, quantization), &tensors);
    let checkpoint = DirectoryCheckpoint::open(directory.path()).unwrap();
    (directory, checkpoint)
}

/// Reads the whole layer and a part of it, into a buffer that held something else.
fn check(w: &Weight, packed: (Value, Vec<Stored>), zero_points: bool, first: usize) {
    let (_directory, checkpoint) = open(w, packed);
    let kind = LinearKind::Int4 { group_size: w.group_size, zero_points, scale_type: HalfType::F16 };
    assert_eq!(checkpoint.linear_kind(MODULE).unwrap(), kind);
    let mut rows = checkpoint.read_int4_whole(MODULE).unwrap();
    assert_eq!(rows, w.expected(0..w.rows, zero_points));

    let part = first.min(w.rows - 8) / 8 * 8..w.rows;
    checkpoint.read_int4(MODULE, part.clone(), &mut rows).unwrap();
    assert_eq!(rows, w.expected(part, zero_points));
    checkpoint.read_int4(MODULE, 8..8, &mut rows).unwrap();
    assert_eq!(rows, w.expected(8..8, zero_points));
    assert!(checkpoint.read_int4(MODULE, 4..8, &mut rows).is_err());
    assert!(checkpoint.read_int4(MODULE, 0..w.rows + 8, &mut rows).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn autoawq(w in weight(), first in 0..200_usize) {
        check(&w, awq(&w), true, first);
    }

    #[test]
    fn gptq_version_1_adds_one_to_zero_points(mut w in weight(), first in 0..200_usize) {
        w.z.iter_mut().for_each(|z| *z += 1);
        check(&w, gptq(&w, "gptq", |z| z - 1), true, first);
    }

    #[test]
    fn gptq_version_2_does_not(w in weight(), first in 0..200_usize) {
        check(&w, gptq(&w, "gptq_v2", |z| z), true, first);
    }

    #[test]
    fn compressed_tensors_symmetric(w in weight(), first in 0..200_usize) {
        check(&w, compressed(&w, true), false, first);
    }

    #[test]
    fn compressed_tensors_asymmetric(w in weight(), first in 0..200_usize) {
        check(&w, compressed(&w, false), true, first);
    }

    #[test]
    fn rows_dequantise_by_the_formula(w in weight()) {
        let rows = w.expected(0..w.rows, true);
        let mut out = vec![0.0; w.columns];
        for row in [0, w.rows / 2, w.rows - 1] {
            rows.dequantize_row(row, &mut out);
            for (column, &found) in out.iter().enumerate() {
                let group = column / w.group_size;
                let scale = ::half::f16::from_bits(w.scales[row * w.groups() + group]).to_f32();
                let difference = w.q(row, column) as f32 - w.z(row, group) as f32;
                prop_assert_eq!(found, difference * scale);
            }
        }
    }
}

/// A weight whose groups have the zero points 0 to 15 in turn, so that differences reach -15 and 15.
fn ramp() -> Weight {
    let (rows, columns, group_size) = (32, 64, 32);
    Weight {
        rows,
        columns,
        group_size,
        q: (0..rows * columns).map(|index| (index * 7 % 16) as u8).collect(),
        z: (0..rows * 2).map(|index| (index % 16) as u8).collect(),
        scales: (0..rows * 2).map(|index| 0x3C00 + index as u16).collect(),
    }
}

#[test]
fn differences_are_not_clamped() {
    let w = ramp();
    let (_directory, checkpoint) = open(&w, awq(&w));
    let rows = checkpoint.read_int4_whole(MODULE).unwrap();
    let mut out = vec![0.0; w.columns];
    let mut extremes = (0.0_f32, 0.0_f32);
    for row in 0..w.rows {
        rows.dequantize_row(row, &mut out);
        extremes = out.iter().fold(extremes, |(least, most), &v| (least.min(v), most.max(v)));
    }
    assert!(extremes.0 < -15.0 && extremes.1 >= 15.0, "{extremes:?}");
}

#[test]
fn empty_gptq_zero_points_stand_for_eight() {
    let w = ramp();
    let (quantization, mut tensors) = gptq(&w, "gptq", |z| z.saturating_sub(1));
    tensors[1] = words(format!("{STORED_MODULE}.qzeros"), &[w.groups(), 0], &[]);
    check(&w, (quantization, tensors), false, 8);
}

#[test]
fn autoround_files_are_read_in_the_layout_that_they_name() {
    let w = ramp();
    let (_, tensors) = gptq(&w, "gptq_v2", |z| (z + 15) % 16);
    let quantization = json!({"quant_method": "auto-round", "bits": 4, "group_size": 32, "sym": true,
        "packing_format": "auto_round:auto_gptq", "data_type": "int"});
    let (_directory, checkpoint) = open(&w, (quantization, tensors));
    let zero_points = checkpoint.read_int4_whole(MODULE).unwrap().zero_points.unwrap();
    let expected: Vec<u8> = w.z.iter().map(|&z| if z == 0 { 16 } else { z }).collect();
    assert_eq!(zero_points, expected);
}

#[test]
fn one_group_may_be_a_whole_row() {
    let mut w = ramp();
    w.group_size = 64;
    (w.z, w.scales) = (w.z[..32].to_vec(), w.scales[..32].to_vec());
    let (mut quantization, tensors) = awq(&w);
    quantization["group_size"] = json!(-1);
    check(&w, (quantization, tensors), true, 16);
    let (mut quantization, tensors) = compressed(&w, true);
    quantization["config_groups"]["group_0"]["weights"]["strategy"] = json!("channel");
    quantization["config_groups"]["group_0"]["weights"]["group_size"] = json!(null);
    check(&w, (quantization, tensors), false, 16);
}

#[test]
fn plain_zero_points_can_be_dropped() {
    let mut rows = ramp().expected(0..32, true);
    rows.drop_plain_zero_points();
    assert!(rows.zero_points.is_some());
    rows.zero_points.as_mut().unwrap().fill(8);
    rows.drop_plain_zero_points();
    assert_eq!(rows.zero_points, None);
}

#[test]
fn f32_scales_become_the_half_type_that_holds_them() {
    let w = ramp();
    let with_scales = |scales: Vec<f32>| {
        let (quantization, mut tensors) = compressed(&w, true);
        tensors[1] = floats(format!("{STORED_MODULE}.weight_scale"), &[w.rows, 2], &scales);
        open(&w, (quantization, tensors))
    };
    let type_of = |checkpoint: &DirectoryCheckpoint| match checkpoint.linear_kind(MODULE).unwrap() {
        LinearKind::Int4 { scale_type, .. } => scale_type,
        other => panic!("{other:?}"),
    };
    // 1 + 2^-10 needs the 10 bits of an f16 mantissa; 2^-30 needs the exponent of a bf16.
    let (_directory, checkpoint) = with_scales(vec![1.0 + 2_f32.powi(-10); 64]);
    assert_eq!(type_of(&checkpoint), HalfType::F16);
    let rows = checkpoint.read_int4_whole(MODULE).unwrap();
    assert_eq!(rows.scales, [0x3C01; 64]);

    let (_directory, checkpoint) = with_scales(vec![2_f32.powi(-30); 64]);
    assert_eq!(type_of(&checkpoint), HalfType::Bf16);
    let rows = checkpoint.read_int4_whole(MODULE).unwrap();
    assert_eq!(rows.scale_type.to_f32(rows.scales[63]), 2_f32.powi(-30));

    let (directory, checkpoint) = with_scales(vec![0.1; 64]);
    let error = directory.message(&checkpoint.linear_kind(MODULE).unwrap_err());
    insta::assert_snapshot!(error, @"read `model.layers.0.mlp.down_proj.weight_scale` in MODEL/model.safetensors: its f32 scales are exact neither in f16 nor in bf16; export the checkpoint with 16-bit scales");
}
