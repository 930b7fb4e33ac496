//! The header of a safetensors file.

use proptest::prelude::*;
use serde_json::json;

use super::super::header::{Dtype, HeaderProblem, parse};

fn text(entries: &[(&str, &str, &[u64], [u64; 2])]) -> String {
    let mut header = json!({});
    for (name, dtype, shape, offsets) in entries {
        header[*name] = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
    }
    header.to_string()
}

#[test]
fn ranges_types_and_shapes_are_read_in_any_order() {
    let header = text(&[
        ("second", "I32", &[2, 3], [6, 30]),
        ("empty", "I32", &[4, 0], [6, 6]),
        ("first", "BF16", &[3], [0, 6]),
        ("scalar", "F64", &[], [30, 38]),
        ("nibbles", "F4", &[2, 2], [38, 40]),
    ]);
    let tensors = parse(header.as_bytes(), 40).unwrap();
    assert_eq!(tensors.len(), 5);
    let second = &tensors["second"];
    assert_eq!((second.dtype, second.begin, second.end), (Dtype::I32, 6, 30));
    assert_eq!(second.shape, [2, 3]);
    assert_eq!(tensors["scalar"].shape, [0_usize; 0]);
    assert_eq!(tensors["empty"].shape, [4, 0]);
}

#[test]
fn each_dtype_has_its_name() {
    for name in ["F4", "BOOL", "U8", "F8_E4M3", "I16", "F16", "BF16", "I32", "F32", "I64", "F64", "C64"] {
        let bits = match name {
            "F4" => 4,
            "BOOL" | "U8" | "F8_E4M3" => 8,
            "I16" | "F16" | "BF16" => 16,
            "I32" | "F32" => 32,
            _ => 64,
        };
        let header = text(&[("tensor", name, &[2], [0, 2 * bits / 8])]);
        let tensors = parse(header.as_bytes(), 2 * bits / 8).unwrap();
        assert_eq!(tensors["tensor"].dtype.to_string(), name);
    }
}

#[test]
fn spaces_after_the_header_are_padding() {
    let header = format!("{}      ", text(&[("a", "U8", &[1], [0, 1])]));
    assert_eq!(parse(header.as_bytes(), 1).unwrap().len(), 1);
}

#[test]
fn shapes_whose_product_overflows_are_refused() {
    let header = text(&[("a", "F32", &[1 << 62, 1 << 62], [0, 4])]);
    assert!(matches!(parse(header.as_bytes(), 4), Err(HeaderProblem::RangeLength { .. })));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), data in any::<u64>()) {
        let _ = parse(&bytes, data);
    }

    #[test]
    fn no_numbers_make_the_reader_panic(
        shape in proptest::collection::vec(any::<u64>(), 0..4),
        begin in any::<u64>(),
        end in any::<u64>(),
        data in any::<u64>(),
    ) {
        let header = text(&[("a", "F32", &shape, [begin, end])]);
        if let Ok(tensors) = parse(header.as_bytes(), data) {
            prop_assert_eq!(tensors["a"].end, data);
        }
    }

    /// A header that is accepted covers its data exactly; one with any single offset moved is refused.
    #[test]
    fn accepted_ranges_cover_the_data(sizes in proptest::collection::vec(0_u64..9, 1..6), moved in 0..12_usize) {
        let mut ranges = Vec::new();
        let mut end = 0;
        for size in &sizes {
            ranges.push([end, end + size]);
            end += size;
        }
        let header = |ranges: &[[u64; 2]]| {
            let mut header = json!({});
            for (index, range) in ranges.iter().enumerate() {
                header[format!("t{index}")] =
                    json!({"dtype": "U8", "shape": [range[1].saturating_sub(range[0])], "data_offsets": range});
            }
            header.to_string()
        };
        prop_assert_eq!(parse(header(&ranges).as_bytes(), end).unwrap().len(), sizes.len());
        ranges[moved / 2 % sizes.len()][moved % 2] += 1;
        let of_moved = parse(header(&ranges).as_bytes(), end);
        // An empty tensor whose begin moves ends before it begins; all other moves leave a hole or an overlap.
        prop_assert!(of_moved.is_err());
    }
}
