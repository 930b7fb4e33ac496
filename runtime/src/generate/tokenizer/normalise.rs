//! Text in Unicode's composed form (NFC), as the reference composes it.
//!
//! The `tokenizers` library normalises by the tables of Unicode 9. A combining mark that is newer is to it a character like
//! any other: nothing is moved across it or composed with it. Models were trained on text in that form, and ids must be the
//! same, so text is composed between such characters and not across them.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Characters with a combining class, and first parts of compositions, that are newer than Unicode 9: first and last of each
/// run, ascending.
#[rustfmt::skip]
const NEWER: [(u32, u32); 66] = [
    (0x5C8, 0x5C9), (0x7FD, 0x7FD), (0x897, 0x89F), (0x8CA, 0x8D3), (0x9FE, 0x9FE), (0xC3C, 0xC3C), (0xD3B, 0xD3C),
    (0xEBA, 0xEBA), (0x1715, 0x1715), (0x1ABF, 0x1AF0), (0x1DF6, 0x1DFA), (0xA82C, 0xA82C), (0x105D2, 0x105D2),
    (0x105DA, 0x105DA), (0x10D24, 0x10D27), (0x10D69, 0x10D6D), (0x10EAB, 0x10EAC), (0x10ECB, 0x10ECF), (0x10EF0, 0x10EFB),
    (0x10EFD, 0x10EFF), (0x10F46, 0x10F50), (0x10F82, 0x10F85), (0x11070, 0x11070), (0x1133B, 0x1133B), (0x11382, 0x11382),
    (0x11384, 0x11384), (0x1138B, 0x1138B), (0x11390, 0x11390), (0x113C2, 0x113C2), (0x113CE, 0x113D0), (0x1145E, 0x1145E),
    (0x11839, 0x1183A), (0x11935, 0x11935), (0x1193D, 0x1193E), (0x11943, 0x11943), (0x119E0, 0x119E0), (0x11A34, 0x11A34),
    (0x11A47, 0x11A47), (0x11A99, 0x11A99), (0x11D42, 0x11D42), (0x11D44, 0x11D45), (0x11D97, 0x11D97), (0x11F41, 0x11F42),
    (0x1611E, 0x1611E), (0x16121, 0x16122), (0x16129, 0x16129), (0x1612F, 0x1612F), (0x16D63, 0x16D63), (0x16D67, 0x16D67),
    (0x16D69, 0x16D69), (0x16FF0, 0x16FF1), (0x1D127, 0x1D128), (0x1D250, 0x1D252), (0x1D25B, 0x1D25C), (0x1D25F, 0x1D25F),
    (0x1D280, 0x1D281), (0x1E08F, 0x1E08F), (0x1E130, 0x1E136), (0x1E2AE, 0x1E2AE), (0x1E2EC, 0x1E2EF), (0x1E4EC, 0x1E4EF),
    (0x1E5EE, 0x1E5EF), (0x1E6E3, 0x1E6E3), (0x1E6E6, 0x1E6E6), (0x1E6EE, 0x1E6EF), (0x1E6F5, 0x1E6F5),
];

/// `text` in composed form, where `nfc` asks for it.
pub(super) fn normalise(text: &str, nfc: bool) -> Cow<'_, str> {
    if !nfc || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return text.into();
    }
    let mut composed = String::with_capacity(text.len());
    for run in text.split_inclusive(is_newer) {
        let between = run.trim_end_matches(is_newer);
        composed.extend(between.nfc());
        composed.push_str(&run[between.len()..]);
    }
    composed.into()
}

/// Whether a character is one that the reference's tables do not know as a mark.
pub(super) fn is_newer(character: char) -> bool {
    let number = u32::from(character);
    let at = NEWER.partition_point(|(_, last)| *last < number);
    NEWER.get(at).is_some_and(|(first, _)| *first <= number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_composed_and_ordered() {
        assert_eq!(normalise("e\u{301}q\u{315}\u{323}", true), "éq\u{323}\u{315}");
        assert_eq!(normalise("e\u{301}", false), "e\u{301}");
        assert!(matches!(normalise("é, 世界", true), Cow::Borrowed(_)));
    }

    #[test]
    fn nothing_moves_across_a_mark_that_the_reference_does_not_know() {
        for text in ["q\u{315}\u{8D3}\u{301}", "q\u{315}\u{1AC5}", "\u{11935}\u{11930}", "e\u{8D3}\u{301}"] {
            assert_eq!(normalise(text, true), text);
        }
        assert_eq!(normalise("e\u{301}\u{8D3}\u{8D3}e\u{301}", true), "é\u{8D3}\u{8D3}é");
    }

    #[test]
    fn the_runs_ascend() {
        assert!(NEWER.iter().all(|(first, last)| first <= last));
        assert!(NEWER.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}
