//! A vocabulary of the size of Qwen3.5's: what its table takes, and that it works.
//!
//! The vocabulary is made up, with the published one's number of tokens (248,044), its one merge a token, and its mean length
//! (7.4 bytes): these are what a table's size follows from.

use std::collections::HashSet;
use std::fmt::Write;

use super::super::byte_level::byte_of;
use super::*;

const TOKENS: usize = 248_044;
const ADDED: usize = 33;

/// What a server may hold resident for its tokenizer.
const PROMISED: usize = 24 << 20;
/// Of that, for what is not the table: the compiled split pattern, the added tokens, a request's scratch.
const BESIDE_THE_TABLE: usize = 2 << 20;

/// SplitMix64 below `end`.
fn below(state: &mut u64, end: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % end as u64) as usize
}

/// The tokens by id, and the two parts of each behind the 256 bytes: letters of several scripts first, then words of them.
fn vocabulary() -> (Vec<Vec<u8>>, Vec<(usize, usize)>) {
    let mut tokens: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).collect();
    let mut merges = Vec::new();
    let mut seen: HashSet<Vec<u8>> = tokens.iter().cloned().collect();
    let mut parts: Vec<usize> = (b'a'..=b'z').chain([b' ']).map(usize::from).collect();
    let letters = ('а'..='я').chain('α'..='ω').chain('ا'..='ي').chain('अ'..='ह').chain('一'..='丿');
    for letter in letters {
        // Each byte is joined to those before it, so that every prefix of a letter is a token as well.
        let mut text = letter.to_string().into_bytes();
        let last = text.split_off(text.len() - 1);
        let left = tokens.iter().position(|token| *token == text);
        let left = left.unwrap_or_else(|| {
            merges.push((text[0].into(), text[1].into()));
            seen.insert(text.clone());
            tokens.push(text.clone());
            tokens.len() - 1
        });
        text.extend(&last);
        merges.push((left, last[0].into()));
        seen.insert(text.clone());
        parts.push(tokens.len());
        tokens.push(text);
    }
    let mut state = 5;
    while tokens.len() < TOKENS {
        // Frequent parts have low ids, as in a trained vocabulary: the square of a uniform number prefers them.
        let mut part =
            || parts[(below(&mut state, 1000) * below(&mut state, 1000) * parts.len()) / 1_000_000];
        let (left, right) = (part(), part());
        let (head, tail) = (&tokens[left], &tokens[right]);
        // Short tokens are the most, and a space only begins one.
        if head.len() + tail.len() > 2 + below(&mut state, 8) || tail[0] == b' ' {
            continue;
        }
        let text = [&head[..], &tail[..]].concat();
        if seen.insert(text.clone()) {
            merges.push((left, right));
            parts.push(tokens.len());
            tokens.push(text);
        }
    }
    (tokens, merges)
}

/// The `tokenizer.json` of such a vocabulary.
fn json(tokens: &[Vec<u8>], merges: &[(usize, usize)]) -> String {
    let mut alphabet = ['\0'; 256];
    for character in (0..0x200).filter_map(char::from_u32) {
        if let Some(byte) = byte_of(character) {
            alphabet[byte as usize] = character;
        }
    }
    let written = |id: usize| -> String {
        let characters = tokens[id].iter().map(|byte| alphabet[*byte as usize]);
        characters
            .flat_map(|character| match character {
                '"' | '\\' => vec!['\\', character],
                _ => vec![character],
            })
            .collect()
    };
    let mut text = source().to_string();
    let mut model = String::from(r#""model":{"type":"BPE","vocab":{"#);
    for id in 0..tokens.len() {
        let comma = if id == 0 { "" } else { "," };
        write!(model, "{comma}\"{}\":{id}", written(id)).unwrap();
    }
    model.push_str("},\"merges\":[");
    for (index, (left, right)) in merges.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(model, "{comma}[\"{}\",\"{}\"]", written(*left), written(*right)).unwrap();
    }
    model.push_str("]},");
    let added = (0..ADDED).map(|index| {
        let id = tokens.len() + index;
        json!({"id": id, "content": format!("<|added {index}|>"), "special": true, "normalized": false})
    });
    let mut frame: Value = serde_json::from_str(&text).unwrap();
    frame["added_tokens"] = added.collect();
    frame.as_object_mut().unwrap().remove("model");
    text = frame.to_string();
    text.insert_str(1, &model);
    text
}

#[test]
fn a_vocabulary_of_248k_tokens_takes_less_than_was_promised() {
    let (tokens, merges) = vocabulary();
    let bytes: usize = tokens.iter().map(Vec::len).sum();
    let mean = bytes as f64 / tokens.len() as f64;
    assert!((7.0..8.0).contains(&mean), "{mean} bytes a token");
    assert_eq!((tokens.len(), merges.len()), (TOKENS, TOKENS - 256));

    let table = compile(json(&tokens, &merges).as_bytes(), None).unwrap();
    println!("a table of {TOKENS} tokens of {mean:.2} bytes takes {:.2} MiB", table.len() as f64 / 1048576.0);
    // Offsets and merge index, text, merges; the rest is headers.
    let formula = 2 * 4 * (TOKENS + ADDED + 1) + bytes + 12 * merges.len();
    assert!((formula..formula + 4096).contains(&table.len()), "{} against {formula}", table.len());
    assert!(table.len() <= PROMISED - BESIDE_THE_TABLE);

    let whole = Tokenizer::open(table).unwrap();
    let kept: Vec<u32> = (0..64 << 10).collect();
    let trimmed = whole.trimmed(&kept);
    println!("trimmed to 64k it takes {:.2} MiB", trimmed.len() as f64 / 1048576.0);
    let trimmed = Tokenizer::open(trimmed).unwrap();
    let mut state = 9;
    for _ in 0..2000 {
        let words = 1 + below(&mut state, 20);
        let text: Vec<u8> =
            (0..words).flat_map(|_| tokens[256 + below(&mut state, TOKENS - 256)].clone()).collect();
        let text = format!("{}<|added 7|>", String::from_utf8_lossy(&text));
        let ids = whole.encode(&text).unwrap();
        assert_eq!(whole.decode(&ids, SpecialTokens::Keep), text);
        let fewer = trimmed.encode(&text).unwrap();
        assert!(fewer.iter().all(|id| *id < 64 << 10 || *id as usize >= TOKENS), "{text}");
        assert_eq!(trimmed.decode(&fewer, SpecialTokens::Keep), text);
        assert!(fewer.len() >= ids.len());
    }
}
