//! Server-sent events, as far as completions use them (HTML Living Standard, section 9.2): `data` lines, ended by a
//! blank line.

/// A line, or an event, longer than this is not part of a completion.
const MAX_BYTES: usize = 1 << 20;

/// The stream sends something that is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SseError {
    /// A line has no end.
    #[error("the stream sent a line of more than 1 MiB")]
    LineTooLong,
    /// An event has no end.
    #[error("the stream sent an event of more than 1 MiB")]
    EventTooLong,
    /// A line is not text.
    #[error("the stream sent a line that is not UTF-8")]
    NotText,
}

/// Puts events together from whatever pieces arrive.
#[derive(Debug, Default)]
pub(super) struct SseParser {
    /// What has come of a line that has no end yet.
    bytes: Vec<u8>,
    data: String,
}

impl SseParser {
    /// Takes a piece of the stream; `each` gets the data of every event that is now whole.
    pub(super) fn feed(&mut self, piece: &[u8], mut each: impl FnMut(&str)) -> Result<(), SseError> {
        // What came before has been looked through: only the new bytes can end its line.
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.bytes.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.bytes);
            self.line(&line, &mut each)?;
        }
        self.bytes.extend_from_slice(rest);
        if self.bytes.len() > MAX_BYTES { Err(SseError::LineTooLong) } else { Ok(()) }
    }

    fn line(&mut self, line: &[u8], each: &mut impl FnMut(&str)) -> Result<(), SseError> {
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
                if self.data.len() > MAX_BYTES {
                    return Err(SseError::EventTooLong);
                }
            }
        }
        Ok(())
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
        assert_eq!(events(&[&vec![b'x'; MAX_BYTES + 1]]), Err(SseError::LineTooLong));
        let endless = b"data: and so on, without an empty line\n".repeat(MAX_BYTES / 32);
        assert_eq!(events(&[&endless]), Err(SseError::EventTooLong));
    }
}
