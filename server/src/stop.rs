//! Stop strings: text is given out only once it cannot be the beginning of one.

/// Looks for stop strings in text that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct StopStrings {
    /// None of them is empty.
    stops: Vec<String>,
    /// The end of the text so far, as long as it may be the beginning of a stop string.
    held: String,
    found: bool,
}

impl StopStrings {
    /// Looks for any of `stops`; empty ones are never found.
    pub(crate) fn new(mut stops: Vec<String>) -> StopStrings {
        stops.retain(|stop| !stop.is_empty());
        StopStrings { stops, held: String::new(), found: false }
    }

    /// The text that is safe to give out after one more piece: up to the first stop string, or up to what may become
    /// one.
    pub(crate) fn push(&mut self, piece: &str) -> String {
        if self.found {
            return String::new();
        }
        self.held.push_str(piece);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.found = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let kept = self.stops.iter().map(|stop| longest_beginning(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, rest)
    }

    /// What was held back, at the end of the text.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Whether a stop string has come up. Nothing is given out after it.
    pub(crate) fn found(&self) -> bool {
        self.found
    }
}

/// How many bytes at the end of `text` are the beginning of `stop`.
fn longest_beginning(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    (1..=longest).rev().find(|length| text.as_bytes().ends_with(&stop.as_bytes()[..*length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_out(stops: &[&str], pieces: &[&str]) -> (Vec<String>, String, bool) {
        let mut matcher = StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let given = pieces.iter().map(|piece| matcher.push(piece)).collect();
        (given, matcher.finish(), matcher.found())
    }

    #[test]
    fn a_beginning_is_held_back_until_it_is_decided() {
        let (given, rest, found) = given_out(&["END"], &["a E", "N", "x", "E", "ND b"]);
        assert_eq!((given.join("|"), rest.as_str(), found), ("a ||ENx||".to_owned(), "", true));
        let (given, rest, found) = given_out(&["END"], &["a", "EN"]);
        assert_eq!((given.join("|"), rest.as_str(), found), ("a|".to_owned(), "EN", false));
    }

    #[test]
    fn the_first_of_several_counts() {
        let (given, rest, found) = given_out(&["cd", "bcx", ""], &["ab", "c", "d"]);
        assert_eq!((given.join("|"), rest.as_str(), found), ("a||b".to_owned(), "", true));
        let (given, ..) = given_out(&["b", "ab"], &["xabx", "later"]);
        assert_eq!(given.join("|"), "x|");
    }

    #[test]
    fn a_beginning_can_overlap_itself() {
        let (given, _, found) = given_out(&["aab"], &["a", "a", "a", "a", "b"]);
        assert_eq!((given.join("|"), found), ("||a|a|".to_owned(), true));
    }

    #[test]
    fn characters_stay_whole() {
        let (given, rest, found) = given_out(&["é€!"], &["xé", "€", "é", "?"]);
        assert_eq!((given.join("|"), rest.as_str(), found), ("x||é€|é?".to_owned(), "", false));
    }

    #[test]
    fn without_stop_strings_nothing_is_held() {
        let (given, rest, found) = given_out(&[], &["a", "b"]);
        assert_eq!((given.join("|"), rest.as_str(), found), ("a|b".to_owned(), "", false));
    }
}
