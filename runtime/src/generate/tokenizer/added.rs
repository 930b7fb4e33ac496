//! Added tokens, such as `<|im_start|>`: they are found in the text before anything else happens to it.

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment<'t> {
    /// Ordinary text.
    Text(&'t str),
    /// An added token.
    Token(u32),
}

/// Finds added tokens: at the first place where one begins, the longest one.
#[derive(Debug, Default)]
pub(super) struct AddedTokens {
    /// Longest first.
    tokens: Vec<(String, u32)>,
    /// The bytes that some token begins with.
    first_bytes: Vec<u8>,
}

impl AddedTokens {
    pub(super) fn new(mut tokens: Vec<(String, u32)>) -> AddedTokens {
        tokens.retain(|(content, _)| !content.is_empty());
        tokens.sort_by_key(|(content, _)| std::cmp::Reverse(content.len()));
        let mut first_bytes: Vec<u8> = tokens.iter().map(|(content, _)| content.as_bytes()[0]).collect();
        first_bytes.sort_unstable();
        first_bytes.dedup();
        AddedTokens { tokens, first_bytes }
    }

    /// Calls `segment` with the parts of `text` in order.
    pub(super) fn segments<'t, E>(
        &self,
        text: &'t str,
        mut segment: impl FnMut(Segment<'t>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut start, mut at) = (0, 0);
        let bytes = text.as_bytes();
        while at < bytes.len() {
            let found = if self.first_bytes.contains(&bytes[at]) {
                self.tokens.iter().find(|(content, _)| bytes[at..].starts_with(content.as_bytes()))
            } else {
                None
            };
            let Some((content, id)) = found else {
                at += 1;
                continue;
            };
            if start < at {
                segment(Segment::Text(&text[start..at]))?;
            }
            segment(Segment::Token(*id))?;
            at += content.len();
            start = at;
        }
        if start < text.len() { segment(Segment::Text(&text[start..])) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments<'t>(tokens: &[(&str, u32)], text: &'t str) -> Vec<Segment<'t>> {
        let tokens = tokens.iter().map(|(content, id)| ((*content).to_owned(), *id)).collect();
        let mut segments = Vec::new();
        let collected: Result<(), ()> = AddedTokens::new(tokens).segments(text, |segment| {
            segments.push(segment);
            Ok(())
        });
        assert_eq!(collected, Ok(()));
        segments
    }

    #[test]
    fn the_longest_token_wins() {
        let tokens = [("<a>", 1), ("<a>>", 2), ("é", 3)];
        assert_eq!(
            segments(&tokens, "x<a>><a>é<a"),
            [
                Segment::Text("x"),
                Segment::Token(2),
                Segment::Token(1),
                Segment::Token(3),
                Segment::Text("<a")
            ]
        );
    }

    #[test]
    fn without_tokens_the_text_stays_whole() {
        assert_eq!(segments(&[], "<a>"), [Segment::Text("<a>")]);
        assert_eq!(segments(&[("<a>", 1)], ""), []);
    }
}
