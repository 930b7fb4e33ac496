//! What a server sends for a prompt, cut into pieces: the first byte says how long they are.

#![no_main]

use harness::target::TokenCounter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((first, stream)) = input.split_first() else { return };
    let mut counter = TokenCounter::default();
    for piece in stream.chunks(usize::from(*first).max(1)) {
        if counter.feed(piece).is_err() {
            return;
        }
        while let Ok(Some(_)) = counter.next_count() {}
    }
});
