//! The last words of a target.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Lines that a record keeps.
const LINES: usize = 40;
/// Longer logs are read from here on only.
const BYTES: i64 = 64 << 10;

/// The last lines of the log at `path`, without control characters. An unreadable log has none.
pub(super) fn log_tail(path: &Path) -> Vec<String> {
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let whole = file.seek(SeekFrom::End(-BYTES)).is_err();
    if whole && file.rewind().is_err() {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    if file.read_to_end(&mut bytes).is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    // Where the log was cut, its first line is a part of one.
    let lines: Vec<&str> = text.lines().skip(usize::from(!whole)).collect();
    let plain = |line: &&str| line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_survive_whatever_is_in_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        assert!(log_tail(&path).is_empty());
        std::fs::write(&path, b"one\n\x1b[31mtwo\xff\n\nlast").expect("writable");
        assert_eq!(log_tail(&path), ["one", "[31mtwo\u{fffd}", "", "last"]);
        let long: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&path, long).expect("writable");
        let tail = log_tail(&path);
        assert_eq!(tail.len(), LINES);
        assert_eq!((tail[0].as_str(), tail[39].as_str()), ("line 19960", "line 19999"));
    }
}
