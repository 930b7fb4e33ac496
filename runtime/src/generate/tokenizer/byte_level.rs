//! The alphabet in which byte-level vocabularies write bytes as printable characters (GPT-2's `bytes_to_unicode`).
//!
//! The 188 printable bytes of Latin-1 stand for themselves; the other 68, in ascending order, are written as the
//! characters from U+0100 on.

/// First character that stands for a byte that is not printable.
const FIRST_SHIFTED: u32 = 0x100;

/// Whether `byte` is written as the character with its own number.
const fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The bytes that are written as U+0100, U+0101 and so on, in that order.
const SHIFTED: [u8; 68] = {
    let mut shifted = [0; 68];
    let (mut byte, mut count) = (0_u16, 0);
    while byte < 256 {
        if !stands_for_itself(byte as u8) {
            shifted[count] = byte as u8;
            count += 1;
        }
        byte += 1;
    }
    shifted
};

/// The byte that `character` stands for, if it belongs to the alphabet.
pub(super) fn byte_of(character: char) -> Option<u8> {
    match u8::try_from(character) {
        Ok(byte) => stands_for_itself(byte).then_some(byte),
        Err(_) => SHIFTED.get((u32::from(character) - FIRST_SHIFTED) as usize).copied(),
    }
}

/// The bytes of a vocabulary entry. An entry with a character outside the alphabet stands for its own UTF-8 text, as the
/// reference decoder has it.
pub(super) fn token_bytes(entry: &str) -> Vec<u8> {
    entry.chars().map(byte_of).collect::<Option<Vec<u8>>>().unwrap_or_else(|| entry.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_exactly_one_character() {
        let mut seen = [0; 256];
        for character in (0..0x400).filter_map(char::from_u32) {
            if let Some(byte) = byte_of(character) {
                seen[byte as usize] += 1;
            }
        }
        assert_eq!(seen, [1; 256]);
    }

    #[test]
    fn known_characters() {
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
        assert_eq!(byte_of('A'), Some(b'A'));
        assert_eq!(byte_of(' '), None);
        assert_eq!(token_bytes("Ġthe"), b" the");
        assert_eq!(token_bytes("<|a b|>"), b"<|a b|>");
    }
}
