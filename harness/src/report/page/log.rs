//! The last words of a target, fit for a page.

use crate::report::svg::draw::shortened;

/// Lines of a log, and letters of a line, that are shown.
const LOG_LINES: usize = 40;
const LOG_LETTERS: usize = 300;

/// The last lines, without what steers a terminal, each cut to a length that a page can hold.
pub(super) fn log_tail(lines: &[String]) -> Vec<String> {
    let from = lines.len().saturating_sub(LOG_LINES);
    lines[from..].iter().map(|line| shortened(&plain(line), LOG_LETTERS)).collect()
}

/// `line` without escape sequences and control characters.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut letters = line.chars().peekable();
    while let Some(c) = letters.next() {
        if c == '\u{1b}' && letters.next_if_eq(&'[').is_some() {
            // The sequence ends with its first letter.
            while letters.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
            letters.next();
        } else if c == '\t' {
            out.push(' ');
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_lose_their_terminal_codes_and_their_excess() {
        assert_eq!(plain("\u{1b}[1;31mERROR\u{1b}[0m a\tb\u{7}"), "ERROR a b");
        let many: Vec<String> = (0..100).map(|number| number.to_string().repeat(400)).collect();
        let tail = log_tail(&many);
        assert_eq!(tail.len(), LOG_LINES);
        assert!(tail.iter().all(|line| line.chars().count() <= LOG_LETTERS));
        assert!(tail[LOG_LINES - 1].starts_with("9999"));
    }
}
