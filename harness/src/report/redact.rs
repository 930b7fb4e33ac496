//! What a page may show of the machine that a run was made on: paths and variables of the environment are cut, but for
//! those on a list. Pages are passed on; who lives on the machine, and where, is nobody's business.

use std::borrow::Cow;

/// Beginnings of paths that every machine has, and of addresses that a server answers at.
const PLACES: [&str; 9] =
    ["/proc/", "/sys/", "/dev/", "/etc/os-release", "/lib/", "/usr/lib/", "/v1/", "/health", "/metrics"];

/// Variables whose values decide a measurement and tell nothing else.
const VARIABLES: [&str; 8] = [
    "CUDA_VISIBLE_DEVICES",
    "CUDA_MODULE_LOADING",
    "LANG",
    "LC_ALL",
    "OMP_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "RUST_BACKTRACE",
    "RUST_LOG",
];

/// `text` with the folders of its paths replaced by `…`, and the values of variables likewise.
pub fn redacted(text: &str) -> Cow<'_, str> {
    if !text.contains(['/', '\\', '~', '=']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_between).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        one_word(word, &mut out);
        let between = after.find(|c| !is_between(c)).unwrap_or(after.len());
        out.push_str(&after[..between]);
        rest = &after[between..];
    }
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// What stands between words. Paths with blanks in them lose what stands before the last blank's folder.
fn is_between(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ';' | '|')
}

fn one_word(word: &str, out: &mut String) {
    if let Some((name, value)) = word.split_once('=')
        && is_variable(name)
    {
        out.push_str(name);
        out.push('=');
        out.push_str(if VARIABLES.contains(&name) || value.is_empty() { value } else { "…" });
        return;
    }
    // A path may stand behind a flag, a name or a scheme: `--engine=/a/b`, `path:/a/b`, `file:///a/b`.
    let start = path_start(word);
    match start {
        Some(start) if !is_known(&word[start..]) => {
            out.push_str(&word[..start]);
            out.push('…');
            out.push_str(last_part(&word[start..]));
        }
        _ => out.push_str(word),
    }
}

fn is_variable(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && name.len() > 2
        && letters.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Where an absolute path of two parts or more begins in `word`.
fn path_start(word: &str) -> Option<usize> {
    let mut before = None;
    for (at, c) in word.char_indices() {
        let rest = &word[at..];
        let begins = before.is_none_or(|c| matches!(c, '=' | ':' | '@'));
        let is_home = begins && c == '~' && rest[1..].find(['/', '\\']).is_some();
        let is_drive = before.is_none() && c.is_ascii_alphabetic() && rest[1..].starts_with(":\\");
        // `http://host/…`: the host goes with the folders.
        let is_rooted = begins && c == '/' && rest.trim_start_matches('/').contains('/');
        if is_home || is_drive || is_rooted {
            return Some(at);
        }
        before = Some(c);
    }
    None
}

fn is_known(path: &str) -> bool {
    PLACES.iter().any(|place| path.starts_with(place))
}

/// From the last separator on, with what follows the path left in place.
fn last_part(path: &str) -> &str {
    let trimmed = path.trim_end_matches(['/', '\\']);
    trimmed.rfind(['/', '\\']).map_or("", |at| &path[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_values_are_cut() {
        for (text, shown) in [
            (
                "failed to open /home/anna/models/a b.bin: no such file",
                "failed to open …/a b.bin: no such file",
            ),
            ("--engine=/srv/secret/engine --port 1", "--engine=…/engine --port 1"),
            ("(\"/root/x/y\")", "(\"…/y\")"),
            ("~/models/q/config.json", "…/config.json"),
            ("C:\\Users\\anna\\m.gguf", "…\\m.gguf"),
            ("file:///home/anna/x.log", "file:…/x.log"),
            ("http://10.0.0.7:80/v1/models", "http:…/models"),
            ("HF_TOKEN=hf_abc OMP_NUM_THREADS=4", "HF_TOKEN=… OMP_NUM_THREADS=4"),
            ("at /home/anna/x/", "at …/x/"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "smaps_rollup (/proc/PID/smaps_rollup)",
            "tok/s, n/a, and/or, 10 MiB/s",
            "GET /v1/memory",
            "rows * columns / 2 + groups * (2 + 1/2)",
            "maxInputLen=4096",
            "/tmp",
            "engines/qwen3-4b",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
