//! How often each token occurs in text files, read in pieces: a corpus of any size takes the memory of one piece.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::VocabError;
use crate::generate::tokenizer::Tokenizer;

/// Bytes that are read before the text is cut.
const PIECE: usize = 1 << 20;

/// Bytes without a place to cut after which it is cut anyway.
const LONGEST_PIECE: usize = 4 << 20;

/// How often each id occurs in `files` as `tokenizer` encodes them; as long as the tokenizer has rows.
///
/// Pieces end where a line does and the next one begins with something other than white space. The split patterns of
/// Qwen cut there, too, so that the pieces have the tokens of the whole; only in a line of more than 4 MiB a token may be
/// cut in two.
///
/// # Errors
/// When a file cannot be read, is not UTF-8, or cannot be encoded.
pub fn count_tokens(tokenizer: &Tokenizer, files: &[PathBuf]) -> Result<Vec<u64>, VocabError> {
    let mut counts = vec![0; tokenizer.rows() as usize];
    for path in files {
        let file = File::open(path).map_err(VocabError::io("open the corpus", path))?;
        let mut encode = |piece: &str| {
            let ids = tokenizer
                .encode(piece)
                .map_err(|cause| VocabError::Encode { path: path.to_owned(), cause })?;
            ids.iter().for_each(|id| counts[*id as usize] += 1);
            Ok(())
        };
        read_pieces(path, file, PIECE, LONGEST_PIECE, &mut encode)?;
    }
    Ok(counts)
}

/// Calls `piece` with the text of `file` in order. Tries to cut after `length` bytes, and cuts after `longest` at any character.
fn read_pieces(
    path: &Path,
    mut file: impl Read,
    length: usize,
    longest: usize,
    piece: &mut dyn FnMut(&str) -> Result<(), VocabError>,
) -> Result<(), VocabError> {
    let (mut buffer, mut done) = (Vec::new(), 0_u64);
    loop {
        let read = file
            .by_ref()
            .take(length as u64)
            .read_to_end(&mut buffer)
            .map_err(VocabError::io("read the corpus", path))?;
        let text = match std::str::from_utf8(&buffer) {
            Ok(text) => text,
            // The beginning of a character whose rest comes with the next read.
            Err(error) if error.error_len().is_none() && read > 0 => {
                std::str::from_utf8(&buffer[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(error) => {
                let at = done + error.valid_up_to() as u64;
                return Err(VocabError::NotText { path: path.to_owned(), at });
            }
        };
        let cut = match last_cut(text) {
            _ if read == 0 => text.len(),
            Some(cut) => cut,
            None if text.len() >= longest => text.len(),
            None => continue,
        };
        piece(&text[..cut])?;
        if read == 0 {
            return Ok(());
        }
        buffer.drain(..cut);
        done += cut as u64;
    }
}

/// The last place behind the end of a line where something other than white space follows.
fn last_cut(text: &str) -> Option<usize> {
    let ends = text.rmatch_indices('\n').map(|(at, _)| at + 1);
    ends.into_iter().find(|end| text[*end..].chars().next().is_some_and(|next| !next.is_whitespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &[u8], length: usize, longest: usize) -> Result<Vec<String>, VocabError> {
        let mut pieces = Vec::new();
        read_pieces(Path::new("corpus"), text, length, longest, &mut |piece| {
            pieces.push(piece.to_owned());
            Ok(())
        })?;
        Ok(pieces)
    }

    #[test]
    fn pieces_end_with_a_line_before_a_word() {
        let text = "one\ntwo\n\n  three\n\u{3000}four\nfünf";
        for length in 1..40 {
            let pieces = pieces(text.as_bytes(), length, 100).unwrap();
            assert_eq!(pieces.concat(), text, "{length}");
            for (before, behind) in pieces.iter().zip(&pieces[1..]).filter(|(_, behind)| !behind.is_empty()) {
                let word = !behind.starts_with(char::is_whitespace);
                assert!(before.ends_with('\n') && word, "{length}: {pieces:?}");
            }
        }
        assert_eq!(pieces(text.as_bytes(), 1, 100).unwrap().len(), 3);
    }

    #[test]
    fn a_line_without_end_is_cut_at_a_character() {
        assert_eq!(pieces("äöüß".as_bytes(), 3, 3).unwrap(), ["äöü", "ß"]);
        assert_eq!(pieces(b"", 3, 3).unwrap(), [""]);
    }

    #[test]
    fn what_is_not_text_is_named_with_its_place() {
        let error = pieces(b"one\ntwo\nth\xffree", 6, 100).unwrap_err().to_string();
        assert_eq!(error, "the corpus corpus is not UTF-8 at byte 10; convert it, or leave it out");
        let error = pieces(b"one\n\xc3", 6, 100).unwrap_err().to_string();
        assert_eq!(error, "the corpus corpus is not UTF-8 at byte 4; convert it, or leave it out");
    }
}
