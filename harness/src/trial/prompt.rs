//! Prompts: token ids that follow from the scenario's seed and nothing else.

use ledger::Tokens;

use crate::engines::Engine;

/// Ids below this are often special: padding, unknown, ends.
const FIRST_ID: u32 = 10;
/// Ids above this are left alone, so that models with larger vocabularies get the same prompts.
const END_ID: u32 = 10_000;

/// `length` ids for the request number `request` of a trial. In place of an id that `engine` has not kept stands the next one
/// that it has.
pub fn prompt(seed: u64, request: u32, length: Tokens, engine: &Engine) -> Vec<u32> {
    let end = engine.vocab_size.clamp(1, END_ID);
    let first = FIRST_ID.min(end - 1);
    let mut state = seed ^ (u64::from(request) << 32);
    let ids = (0..length.0).map(|_| first + (split_mix(&mut state) % u64::from(end - first)) as u32);
    match engine.kept.as_deref() {
        None => ids.collect(),
        Some(kept) => ids.map(|id| next_kept(kept, id)).collect(),
    }
}

/// The first of the ids in `kept`, which ascend, that is not below `id`, or else the last.
fn next_kept(kept: &[u32], id: u32) -> u32 {
    let at = kept.partition_point(|kept| *kept < id);
    kept.get(at).or(kept.last()).copied().unwrap_or(id)
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same on every machine.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_in_range_and_follow_from_seed_and_request() {
        let engine = |vocab_size, kept: Option<&[u32]>| Engine {
            folder: "nowhere".into(),
            vocab_size,
            kept: kept.map(<[u32]>::to_vec),
        };
        let large = engine(151_936, None);
        let one = prompt(7, 0, Tokens(1000), &large);
        let larger = engine(248_320, None);
        assert_eq!(one, prompt(7, 0, Tokens(1000), &larger), "the vocabulary's size must not matter");
        assert_ne!(one, prompt(8, 0, Tokens(1000), &large));
        assert_ne!(one, prompt(7, 1, Tokens(1000), &large));
        assert!(one.iter().all(|id| (FIRST_ID..END_ID).contains(id)));
        assert!(prompt(7, 0, Tokens(100), &engine(16, None)).iter().all(|id| (10..16).contains(id)));
        assert!(prompt(7, 0, Tokens(100), &engine(4, None)).iter().all(|id| *id < 4));
        let kept: Vec<u32> = (0..10_000).chain([248_044]).collect();
        assert_eq!(one, prompt(7, 0, Tokens(1000), &engine(248_320, Some(&kept))), "all of them are kept");
        let few = prompt(7, 0, Tokens(100), &engine(248_320, Some(&[3, 5000, 6000])));
        assert!(few.contains(&5000) && few.iter().all(|id| [5000, 6000].contains(id)));
        // From an independent implementation.
        assert_eq!(one[..3], [5647, 2734, 6256]);
    }
}
