//! Choices, lists of ids, and maps.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn set(ids: &[u32]) -> BTreeSet<u32> {
    ids.iter().copied().collect()
}

fn rows(rows: u32) -> Vocab {
    Vocab::Rows(RowCount(rows))
}

#[test]
fn a_choice_is_read_as_it_is_printed() {
    for text in ["full", "32k", "64k", "1", "1000", "vocab_map.safetensors", "maps/ids", "./ids"] {
        assert_eq!(text.parse::<Vocab>().unwrap().to_string(), text);
    }
    assert_eq!("65536".parse::<Vocab>().unwrap().to_string(), "64k");
    for text in ["", "0", "0k", "-1", "+5", "k", "32K", "32 k", "4194304k", "fulll", "half", "1.5k", "12MiB"]
    {
        let error = text.parse::<Vocab>().unwrap_err();
        assert!(error.starts_with("full, a number of rows such as 32k, or a file"), "{text}: {error}");
    }
}

#[test]
fn a_number_of_rows_is_kept_to_unless_more_is_indispensable() {
    let kept = |vocab: Vocab, always: &[u32], vocabulary| vocab.kept(&set(always), vocabulary).unwrap();
    assert_eq!(kept(Vocab::Full, &[7], 10), None);
    assert_eq!(kept(rows(4), &[7, 9], 10), Some(vec![0, 1, 7, 9]));
    assert_eq!(kept(rows(4), &[1, 2], 10), Some(vec![0, 1, 2, 3]));
    assert_eq!(kept(rows(1), &[7, 9], 10), Some(vec![7, 9]));
    assert_eq!(kept(rows(10), &[7], 10), None, "all of them");
    assert_eq!(kept(rows(4_000_000_000), &[7], 10), None);
}

#[test]
fn the_most_frequent_are_kept_then_the_lowest() {
    let counts = [0, 5, 0, 9, 5, 0];
    assert_eq!(most_frequent(&counts, &set(&[7]), 3, 8), [1, 3, 7]);
    assert_eq!(most_frequent(&counts, &set(&[7]), 4, 8), [1, 3, 4, 7]);
    assert_eq!(most_frequent(&counts, &set(&[7]), 6, 8), [0, 1, 2, 3, 4, 7]);
    assert_eq!(most_frequent(&counts, &set(&[3, 7]), 1, 8), [3, 7]);
    assert_eq!(most_frequent(&counts, &set(&[]), 99, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
}

/// A map as the format's library writes it.
const THREE: &[u8] =
    b"\x40\0\0\0\0\0\0\0{\"vocab_map\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[0,12]}} \
    \x02\0\0\0\x05\0\0\0\x00\x01\0\0";

#[test]
fn a_map_has_the_bytes_of_the_vendor() {
    assert_eq!(to_file(&[2, 5, 256]), THREE);
    let map = VocabMap::open(THREE).unwrap();
    assert_eq!(map.ids().collect::<Vec<_>>(), [2, 5, 256]);
    assert_eq!([0, 1, 2, 3].map(|row| map.id_of(row)), [Some(2), Some(5), Some(256), None]);
    assert_eq!(
        [2, 5, 256, 0, 6, 257].map(|id| map.row_of(id)),
        [Some(0), Some(1), Some(2), None, None, None]
    );
    // The header is filled up, so that the ids begin at a multiple of eight.
    let hundred: Vec<u32> = (0..100).collect();
    assert_eq!(to_file(&hundred)[..8], 72_u64.to_le_bytes());
    assert!(to_file(&hundred)[8..80].ends_with(b"[0,400]}}      "));
}

/// What is said about a file of this name and content, for a model of 1000 rows.
fn refusal(name: &str, content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let error = read_ids(&path, 1000).unwrap_err().to_string();
    let (place, problem) = error.split_once(": ").unwrap();
    assert!(place.starts_with("the vocabulary map ") && place.ends_with(name), "{error}");
    problem.to_owned()
}

/// A safetensors file with this header and data.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn a_map_that_cannot_be_used_is_refused_by_name() {
    let refusal = |content: &[u8]| refusal("vocab_map.safetensors", content);
    insta::assert_snapshot!(refusal(&to_file(&[2, 5, 1000])), @"it lists 1000, and ids of this model are below 1000; the list belongs to another model");
    insta::assert_snapshot!(refusal(&to_file(&[5, 2])), @"2 stands behind 5; sort the ids in ascending order");
    insta::assert_snapshot!(refusal(&to_file(&[2, 5, 5])), @"5 is listed twice; keep one of them");
    insta::assert_snapshot!(refusal(&to_file(&[])), @"it lists no ids");
    insta::assert_snapshot!(refusal(&to_file(&[2, u32::MAX])), @"it lists -1, and ids are not negative; the file is damaged, or not a vocabulary map");
    insta::assert_snapshot!(refusal(&to_file(&[2, 5])[..72]), @"tensor `vocab_map` ends at byte 8 of the data, but the file has 0; it is truncated: download it again");
    insta::assert_snapshot!(refusal(b"no"), @"the file has 2 bytes, too few for a safetensors header; download it again");
    insta::assert_snapshot!(refusal(b"1\n2\n3\n4\n5\n"), @"the header claims 735223853498894897 bytes, above the limit of 100000000; this is not a safetensors file, or it is damaged: download it again");
    let wide = safetensors(r#"{"vocab_map":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#, &[0; 8]);
    insta::assert_snapshot!(refusal(&wide), @"`vocab_map` has the dtype I64, but I32 is needed; export the map again");
    let table = safetensors(r#"{"vocab_map":{"dtype":"I32","shape":[1,2],"data_offsets":[0,8]}}"#, &[0; 8]);
    insta::assert_snapshot!(refusal(&table), @"`vocab_map` has the shape [1, 2], but one dimension is needed; export the map again");
    let other = safetensors(r#"{"d2t":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]);
    insta::assert_snapshot!(refusal(&other), @"it has no tensor `vocab_map`; is this another safetensors file?");
}

#[test]
fn a_text_of_ids_is_read_or_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.txt");
    for text in ["1\n20\n300\n", "1,20,300", " 1, 20,\n300 \r\n\n"] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(read_ids(&path, 301).unwrap(), [1, 20, 300], "{text:?}");
    }
    let refusal = |text: &str| refusal("ids.txt", text.as_bytes());
    insta::assert_snapshot!(refusal("1\n2, x3\n"), @"line 2 has `x3`, which is not an id; write one id a line, or separate ids by commas");
    insta::assert_snapshot!(refusal("-1"), @"line 1 has `-1`, which is not an id; write one id a line, or separate ids by commas");
    insta::assert_snapshot!(refusal("4294967295"), @"line 1 has `4294967295`, which is not an id; write one id a line, or separate ids by commas");
    insta::assert_snapshot!(refusal("\n\n"), @"it lists no ids");
    insta::assert_snapshot!(refusal("7, 5"), @"5 stands behind 7; sort the ids in ascending order");
    insta::assert_snapshot!(refusal("7, 7"), @"7 is listed twice; keep one of them");
    insta::assert_snapshot!(refusal("7, 1000"), @"it lists 1000, and ids of this model are below 1000; the list belongs to another model");
    let error = read_ids(Path::new("no/such/ids.txt"), 10).unwrap_err().to_string();
    assert_eq!(error, "read the vocabulary map no/such/ids.txt: No such file or directory (os error 2)");
}

proptest! {
    #[test]
    fn rows_and_ids_are_each_others_inverse(ids in proptest::collection::btree_set(0_u32..5000, 1..200)) {
        let ids: Vec<u32> = ids.into_iter().collect();
        let file = to_file(&ids);
        prop_assert_eq!(file_bytes(ids.len()).0, file.len() as u64);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(VOCAB_MAP);
        write_ids(&path, &ids).unwrap();
        prop_assert_eq!(&std::fs::read(&path).unwrap(), &file);
        prop_assert_eq!(&read_ids(&path, 5000).unwrap(), &ids);
        let map = VocabMap::open(file).unwrap();
        prop_assert_eq!(map.rows(), ids.len());
        for (row, id) in ids.iter().enumerate() {
            prop_assert_eq!((map.row_of(*id), map.id_of(row as u32)), (Some(row as u32), Some(*id)));
        }
        for id in (0..5000).filter(|id| !ids.contains(id)) {
            prop_assert_eq!(map.row_of(id), None);
        }
    }

    #[test]
    fn a_damaged_map_is_an_error_or_still_ascends(at in 0_usize..84, value in any::<u8>()) {
        let mut file = THREE.to_vec();
        file[at] = value;
        if let Ok(map) = VocabMap::open(file) {
            let ids: Vec<u32> = map.ids().collect();
            prop_assert!(ids.is_sorted() && ids.len() == map.rows());
        }
    }

    #[test]
    fn whatever_is_indispensable_stays(
        always in proptest::collection::btree_set(0_u32..300, 0..40), count in 1_u32..400,
    ) {
        let kept = rows(count).kept(&always, 300).unwrap();
        let kept: BTreeSet<u32> = kept.map_or((0..300).collect(), |ids| ids.into_iter().collect());
        prop_assert!(kept.is_superset(&always));
        prop_assert_eq!(kept.len(), (count as usize).max(always.len()).min(300));
    }
}
