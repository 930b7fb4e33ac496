//! Prompts: token ids that follow from the scenario's seed and nothing else.

use ledger::Tokens;

/// Ids below this are often special: padding, unknown, ends.
const FIRST_ID: u32 = 10;
/// Ids above this are left alone, so that models with larger vocabularies get the same prompts.
const END_ID: u32 = 10_000;

/// `length` ids for the request number `request` of a trial.
pub(super) fn prompt(seed: u64, request: u32, length: Tokens, vocab_size: u32) -> Vec<u32> {
    let end = vocab_size.clamp(1, END_ID);
    let first = FIRST_ID.min(end - 1);
    let mut state = seed ^ (u64::from(request) << 32);
    (0..length.0).map(|_| first + (split_mix(&mut state) % u64::from(end - first)) as u32).collect()
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
        let one = prompt(7, 0, Tokens(1000), 151_936);
        assert_eq!(one, prompt(7, 0, Tokens(1000), 248_320), "the vocabulary's size must not matter");
        assert_ne!(one, prompt(8, 0, Tokens(1000), 151_936));
        assert_ne!(one, prompt(7, 1, Tokens(1000), 151_936));
        assert!(one.iter().all(|id| (FIRST_ID..END_ID).contains(id)));
        assert!(prompt(7, 0, Tokens(100), 16).iter().all(|id| (10..16).contains(id)));
        assert!(prompt(7, 0, Tokens(100), 4).iter().all(|id| *id < 4));
        // From an independent implementation.
        assert_eq!(one[..3], [5647, 2734, 6256]);
    }
}
