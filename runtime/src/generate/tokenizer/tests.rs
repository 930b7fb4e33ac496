//! The tokenizer as a whole, on a small vocabulary; the checkpoints' own are in `tests/`.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod large;

/// A `tokenizer.json` with the 256 bytes, five merges, and two added tokens.
fn source() -> Value {
    let mut vocab = serde_json::Map::new();
    let mut shifted = 0x100;
    for byte in 0..=255_u8 {
        let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let character = if printable { char::from(byte) } else { char::from_u32(shifted).unwrap() };
        shifted += u32::from(!printable);
        vocab.insert(character.to_string(), json!(byte));
    }
    for (id, entry) in ["ab", "bc", "abc", "Ġab", "ÃĹ"].iter().enumerate() {
        vocab.insert((*entry).to_owned(), json!(256 + id));
    }
    json!({
        "added_tokens": [
            {"id": 261, "content": "<|end|>", "special": true, "normalized": false},
            {"id": 263, "content": "<note>", "special": false, "normalized": false},
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": r" ?\p{L}+|\p{N}|\s+(?!\S)|\s+"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
        ]},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab,
            "merges": [["b", "c"], ["a", "b"], ["a", "bc"], "Ġ ab", ["Ã", "Ĺ"]]},
    })
}

fn table() -> Vec<u8> {
    compile(source().to_string().as_bytes(), None).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::open(table()).unwrap()
}

fn compile_error(change: impl FnOnce(&mut Value)) -> String {
    let mut source = source();
    change(&mut source);
    compile(source.to_string().as_bytes(), None).unwrap_err().to_string()
}

#[test]
fn merges_go_by_rank_and_never_cross_a_cut() {
    let encode = |text| tokenizer().encode(text).unwrap();
    // `b c` comes before `a b` in the list, so `abc` is `a` + `bc`, which is `abc`.
    assert_eq!(encode("abc"), [258]);
    assert_eq!(encode("ab c"), [256, 32, 99]);
    assert_eq!(encode(" ab"), [259]);
    // Two spaces: the look-ahead leaves the last one to the word.
    assert_eq!(encode("  ab"), [32, 259]);
    assert!(encode("").is_empty());
}

#[test]
fn added_tokens_come_first() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.encode("ab<|end|>bc<note>").unwrap(), [256, 261, 257, 263]);
    assert_eq!(tokenizer.added_token("<|end|>"), Some(261));
    assert_eq!(tokenizer.added_token("ab"), None);
    assert!(tokenizer.is_special(261) && !tokenizer.is_special(263));
}

#[test]
fn text_is_composed_before_it_is_split() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.encode("e\u{301}").unwrap(), tokenizer.encode("é").unwrap());
}

#[test]
fn special_tokens_are_skipped_or_kept() {
    let tokenizer = tokenizer();
    let ids = [256, 261, 263, 262, 9999];
    assert_eq!(tokenizer.decode(&ids, SpecialTokens::Skip), "ab<note>");
    assert_eq!(tokenizer.decode(&ids, SpecialTokens::Keep), "ab<|end|><note>");
}

#[test]
fn a_character_appears_with_its_last_byte() {
    let (tokenizer, mut decoder) = (tokenizer(), Decoder::new(SpecialTokens::Skip));
    let pieces: Vec<String> = "€a".bytes().map(|byte| decoder.push(&tokenizer, u32::from(byte))).collect();
    assert_eq!(pieces, ["", "", "€", "a"]);
    assert_eq!(decoder.push(&tokenizer, 0xE2), "");
    assert_eq!(decoder.push(&tokenizer, 97), "\u{FFFD}a");
    assert_eq!(decoder.push(&tokenizer, 0xE2), "");
    assert_eq!(decoder.finish(), "\u{FFFD}");
    assert_eq!(decoder.finish(), "");
}

#[test]
fn the_configuration_can_add_tokens() {
    let config = json!({"added_tokens_decoder": {"270": {"content": "<late>", "special": true}}});
    let table = compile(source().to_string().as_bytes(), Some(config.to_string().as_bytes())).unwrap();
    assert_eq!(Tokenizer::open(table).unwrap().encode("a<late>").unwrap(), [97, 270]);

    let config = json!({"added_tokens_decoder": {"261": {"content": "<other>"}}});
    let error = compile(source().to_string().as_bytes(), Some(config.to_string().as_bytes())).unwrap_err();
    assert!(error.to_string().contains("added token 261 `<|end|>` is 261 `<other>`"), "{error}");
}

#[test]
fn a_source_that_is_not_supported_is_refused_by_name() {
    let cases: [(&str, Value, &str); 12] = [
        ("/model/type", json!("Unigram"), "model type `Unigram`"),
        ("/model/byte_fallback", json!(true), "`byte_fallback`"),
        ("/model/ignore_merges", json!(true), "`ignore_merges`"),
        ("/model/end_of_word_suffix", json!("</w>"), "`end_of_word_suffix`"),
        ("/normalizer", json!({"type": "Lowercase"}), "normalizer `Lowercase`"),
        ("/pre_tokenizer", json!({"type": "Metaspace"}), "pre_tokenizer `Metaspace`"),
        ("/pre_tokenizer", Value::Null, "no pre_tokenizer"),
        ("/pre_tokenizer/pretokenizers/0/behavior", json!("Removed"), "`Isolated`"),
        ("/pre_tokenizer/pretokenizers/0/pattern", json!({"Regex": "("}), "pre_tokenizer pattern"),
        ("/post_processor", json!({"type": "TemplateProcessing"}), "post_processor `TemplateProcessing`"),
        ("/added_tokens/0/lstrip", json!(true), "`lstrip`"),
        ("/model/merges/0", json!(["b", "x"]), "a merge names `bx`"),
    ];
    for (place, value, expected) in cases {
        let error = compile_error(|source| {
            let (parent, key) = place.rsplit_once('/').unwrap();
            match source.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
                object => object[key] = value,
            }
        });
        assert!(error.contains(expected), "{place}: {error}");
    }
}

#[test]
fn a_source_that_contradicts_itself_is_refused() {
    let error = compile_error(|source| source["model"]["vocab"]["ab"] = json!(257));
    assert!(error.contains("two vocabulary entries have the id 257"), "{error}");
    let error = compile_error(|source| drop(source["model"]["vocab"].as_object_mut().unwrap().remove("Ġ")));
    assert!(error.contains("no token for the byte 0x20"), "{error}");
    let error = compile_error(|source| source["model"]["vocab"]["ab"] = json!(u32::MAX));
    assert!(error.contains("id 4294967295 is beyond any vocabulary"), "{error}");
    let error = compile_error(|source| source["added_tokens"][1]["id"] = json!(256));
    assert!(error.contains("added token `<note>` contradicts"), "{error}");
    let error = compile(&source().to_string().as_bytes()[..500], None).unwrap_err();
    assert!(error.to_string().starts_with("tokenizer.json cannot be read: EOF"), "{error}");
}

#[test]
fn the_table_is_read_in_place() {
    let table = table();
    assert!(table.len() < 7000, "{}", table.len());
    static BLOCK: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let tokenizer = Tokenizer::open(BLOCK.get_or_init(|| table).as_slice()).unwrap();
    let text = tokenizer.token_bytes(258).as_ptr();
    assert!(BLOCK.get().unwrap().as_ptr_range().contains(&text));
}

#[test]
fn other_blocks_are_no_tables() {
    assert!(matches!(Tokenizer::open(Vec::new()), Err(OpenError::NotATable)));
    assert!(matches!(Tokenizer::open(vec![0; 4096]), Err(OpenError::NotATable)));
    let mut newer = table();
    newer[8] = 9;
    assert!(matches!(Tokenizer::open(newer), Err(OpenError::Version { found: 9 })));
    let cut = table()[..table().len() / 2].to_vec();
    assert!(matches!(Tokenizer::open(cut), Err(OpenError::Damaged { .. })));
}

proptest! {
    #[test]
    fn any_text_survives_and_arrives_whole(text in any::<String>()) {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode(&text).unwrap();
        let mut decoder = Decoder::new(SpecialTokens::Keep);
        let mut streamed: String = ids.iter().map(|id| decoder.push(&tokenizer, *id)).collect();
        streamed.push_str(&decoder.finish());
        prop_assert_eq!(&streamed, &super::normalise::normalise(&text, true));
        if !text.contains(super::normalise::is_newer) {
            let composed: String = unicode_normalization::UnicodeNormalization::nfc(text.as_str()).collect();
            prop_assert_eq!(&streamed, &composed);
        }
        prop_assert!(ids.len() >= tokenizer.fewest_tokens(text.len()));
    }

    #[test]
    fn any_ids_decode_as_their_bytes_do(ids in proptest::collection::vec(0_u32..300, 0..40)) {
        let tokenizer = tokenizer();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id).to_vec()).collect();
        prop_assert_eq!(tokenizer.decode(&ids, SpecialTokens::Keep), String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_table_is_an_error_or_still_works(at in 0_usize..6000, value in any::<u8>()) {
        let mut table = table();
        let at = at % table.len();
        table[at] = value;
        if let Ok(tokenizer) = Tokenizer::open(table) {
            let ids = tokenizer.encode("abc <|end|> ab × 12").unwrap_or_default();
            tokenizer.decode(&ids, SpecialTokens::Keep);
        }
    }
}

#[test]
fn a_trimmed_table_never_produces_what_was_dropped() {
    let whole = tokenizer();
    let trimmed = |kept: &[u32]| Tokenizer::open(whole.trimmed(kept)).unwrap();
    let bytes_and_added: Vec<u32> = (0..256).chain([261, 263]).collect();
    assert_eq!(whole.indispensable().into_iter().collect::<Vec<u32>>(), bytes_and_added);
    // Without `abc`, `a bc` stays apart; `ab` cannot come up, because `b c` goes first.
    assert_eq!(trimmed(&[256, 257]).encode("abc ab<|end|>").unwrap(), [97, 257, 32, 256, 261]);
    // `abc` is kept, and what it is made of is not.
    assert_eq!(trimmed(&[258]).encode("abc").unwrap(), [97, 98, 99]);
    assert_eq!(trimmed(&[258]).token_bytes(258), b"abc");
    assert_eq!(trimmed(&[258]).token_bytes(257), b"");
    assert_eq!(
        trimmed(&[256, 257, 258, 259, 260]).encode("abc ab×").unwrap(),
        whole.encode("abc ab×").unwrap()
    );
    let all: Vec<u32> = (0..264).collect();
    assert_eq!(whole.trimmed(&all), table(), "nothing dropped, nothing changed");
}

proptest! {
    #[test]
    fn any_text_survives_any_trimming(text in any::<String>(), kept in proptest::collection::btree_set(0_u32..264, 0..264)) {
        let (whole, kept) = (tokenizer(), kept.into_iter().collect::<Vec<u32>>());
        let trimmed = Tokenizer::open(whole.trimmed(&kept)).unwrap();
        let ids = trimmed.encode(&text).unwrap();
        prop_assert!(ids.iter().all(|id| *id < 256 || *id == 261 || *id == 263 || kept.contains(id)));
        let before = whole.encode(&text).unwrap();
        prop_assert_eq!(trimmed.decode(&ids, SpecialTokens::Keep), whole.decode(&before, SpecialTokens::Keep));
    }
}
