//! Server-sent events, as far as completions use them (HTML Living Standard, section 9.2): `data` lines, ended by a
//! blank line.

/// A line longer than this is not part of a completion.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The stream sends something that is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SseError {
    /// A line has no end.
    #[error("the stream sent a line of more than 1 MiB")]
    LineTooLong,
    /// A line is not text.
    #[error("the stream sent a line that is not UTF-8")]
    NotText,
}

/// Puts events together from whatever pieces arrive.
#[derive(Debug, Default)]
pub(super) struct SseParser {
    bytes: Vec<u8>,
    data: String,
}

impl SseParser {
    /// Takes a piece of the stream; `each` gets the data of every event that is now whole.
    pub(super) fn feed(&mut self, piece: &[u8], mut each: impl FnMut(&str)) -> Result<(), SseError> {
        self.bytes.extend_from_slice(piece);
        let mut start = 0;
        while let Some(length) = self.bytes[start..].iter().position(|byte| *byte == b'\n') {
            let line = &self.bytes[start..start + length];
            start += length + 1;
            let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line));
            match line.map_err(|_| SseError::NotText)? {
                "" if self.data.is_empty() => {}
                "" => {
                    each(&self.data);
                    self.data.clear();
                }
                line => {
                    if let Some(data) = line.strip_prefix("data:") {
                        if !self.data.is_empty() {
                            self.data.push('\n');
                        }
                        self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
                    }
                }
            }
        }
        self.bytes.drain(..start);
        if self.bytes.len() > MAX_LINE_BYTES { Err(SseError::LineTooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Result<Vec<String>, SseError> {
        let (mut parser, mut events) = (SseParser::default(), Vec::new());
        for piece in pieces {
            parser.feed(piece, |data| events.push(data.to_owned()))?;
        }
        Ok(events)
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let stream =
            ": comment\r\nevent: x\ndata: {\"a\":1}\n\ndata:b\ndata: é\n\n\ndata: [DONE]\n\n".as_bytes();
        let whole = events(&[stream]).expect("valid");
        assert_eq!(whole, ["{\"a\":1}", "b\né", "[DONE]"]);
        for cut in 0..stream.len() {
            assert_eq!(events(&[&stream[..cut], &stream[cut..]]).expect("valid"), whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        assert_eq!(events(&[b"data: \xff\n\n"]), Err(SseError::NotText));
        assert_eq!(events(&[&vec![b'x'; MAX_LINE_BYTES + 1]]), Err(SseError::LineTooLong));
    }
}
