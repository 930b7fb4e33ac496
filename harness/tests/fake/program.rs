//! Stand-ins for the programs of other runtimes: this test program under another name, with the words of its command line.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program at `folder`/`name` that runs the test `stand_in` of this test program, which reads [`words`].
pub fn install(folder: &Path, name: &str, stand_in: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    // A word may hold line feeds, so that words are parted by a character that is in none of them.
    let script = format!(
        "#!/bin/sh\nFAKE_WORDS=$(printf '%s\\036' \"$@\")\nexport FAKE_WORDS\nexec '{}' --exact {stand_in} --nocapture --test-threads=1\n",
        program.display()
    );
    let path = folder.join(name);
    std::fs::write(&path, script).expect("writable");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    path
}

/// The words that the program was started with. `None` in an ordinary test run.
pub fn words() -> Option<Vec<String>> {
    let words = std::env::var("FAKE_WORDS").ok()?;
    Some(words.trim_end_matches('\u{1e}').split('\u{1e}').map(str::to_owned).collect())
}

/// The word behind `flag`.
pub fn after<'a>(words: &'a [String], flag: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == flag)?;
    words.get(at + 1).map(String::as_str)
}

/// Listens where the command line says.
pub fn listen(words: &[String]) -> io::Result<TcpListener> {
    let host = after(words, "--host").unwrap_or("127.0.0.1");
    TcpListener::bind(format!("{host}:{}", after(words, "--port").unwrap_or("0")))
}

/// The head of a stream of events.
pub fn begin_stream(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    io::Write::write_all(
        &mut stream,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
    )
}
