//! Prompts: token ids that follow from the scenario's seed and nothing else.

use ledger::Tokens;

use crate::engines::Engine;
use crate::random::SplitMix64;

/// Ids below this are often special: padding, unknown, ends.
const FIRST_ID: u32 = 10;
/// Ids above this are left alone, so that models with larger vocabularies get the same prompts.
const END_ID: u32 = 10_000;

/// `length` ids for the request number `request` of a trial. In place of an id that `engine` has not kept stands the next one
/// that it has.
pub fn prompt(seed: u64, request: u32, length: Tokens, engine: &Engine) -> Vec<u32> {
    let end = engine.vocab_size.clamp(1, END_ID);
    let first = FIRST_ID.min(end - 1);
    let mut random = SplitMix64::new(seed ^ (u64::from(request) << 32));
    let ids = (0..length.0).map(|_| first + (random.next_word() % u64::from(end - first)) as u32);
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
