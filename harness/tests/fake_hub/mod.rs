//! A hub on loopback that misbehaves on request.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The only repository, and its commit.
pub const REPOSITORY: &str = "acme/tiny";
/// See [`REPOSITORY`].
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a file holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes that look random, made while they are sent.
    Made(u64),
}

impl Content {
    pub fn length(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Made(length) => *length,
        }
    }

    /// `length` bytes from `offset`.
    fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        match self {
            Content::Bytes(bytes) => bytes[offset as usize..][..length].to_vec(),
            Content::Made(_) => {
                let words = (offset / 8)..=((offset + length as u64) / 8);
                let bytes =
                    words.flat_map(|word| (word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
                bytes.skip((offset % 8) as usize).take(length).collect()
            }
        }
    }

    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        while offset < self.length() {
            let piece = (self.length() - offset).min(1 << 20);
            hasher.update(self.read(offset, piece as usize));
            offset += piece;
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Content {
    /// The name that Git has for it.
    fn blob(&self) -> String {
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {}\0", self.length()));
        hasher.update(self.read(0, self.length() as usize));
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A request for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    /// Where the wanted rest begins.
    pub from: Option<u64>,
    pub if_range: Option<String>,
    pub token: Option<String>,
}

/// How a request for a file is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// As the Hub would.
    Well,
    /// The connection ends after so many bytes.
    Cut(u64),
    /// A piece of so many bytes at a time, with a rest behind each.
    Slowly(usize, Duration),
    /// Nothing comes after the head.
    Silently,
    /// A status, and when to come back.
    Status(u16, Option<u32>),
    /// All of the file, whatever was asked for.
    Whole,
    /// The beginning of the file where the rest was asked for.
    OtherPart,
    /// The right length, and other bytes.
    OtherBytes,
    /// More bytes than there should be, without saying how many.
    Endless,
    /// A length that is not the file's.
    OtherLength,
    /// The hash of another file.
    OtherEtag,
    /// Another commit.
    OtherCommit,
    /// Another address.
    Elsewhere(String),
}

type Answers = Box<dyn FnMut(&Asked) -> How + Send>;

struct State {
    files: BTreeMap<String, Content>,
    /// The list of files, as it is told.
    list: Mutex<String>,
    asked: Mutex<Vec<Asked>>,
    answers: Mutex<Answers>,
}

/// A server with one repository.
pub struct Hub {
    pub address: String,
    state: Arc<State>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Serves these files.
    pub fn start(files: impl IntoIterator<Item = (&'static str, Content)>) -> Hub {
        let files: BTreeMap<String, Content> =
            files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let (list, asked) = (Mutex::new(list(&files)), Mutex::new(Vec::new()));
        let state = Arc::new(State { files, list, asked, answers: Mutex::new(Box::new(|_| How::Well)) });
        let server = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&server);
                std::thread::spawn(move || while answer(&stream, &state).is_ok() {});
            }
        });
        Hub { address, state }
    }

    /// Answers as `how` says from now on.
    pub fn answers(&self, how: impl FnMut(&Asked) -> How + Send + 'static) {
        *locked(&self.state.answers) = Box::new(how);
    }

    /// Answers the first requests for weights as `first` says, and the rest well.
    pub fn answers_first(&self, first: impl IntoIterator<Item = How>) {
        let mut first: std::collections::VecDeque<How> = first.into_iter().collect();
        self.answers(move |asked| match asked.path.ends_with(".safetensors") {
            true => first.pop_front().unwrap_or(How::Well),
            false => How::Well,
        });
    }

    /// Says that the repository holds something else than it does.
    pub fn lists(&self, list: String) {
        *locked(&self.state.list) = list;
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        locked(&self.state.asked).clone()
    }

    /// Requests for files that end so.
    pub fn asked_for(&self, end: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.path.ends_with(end)).collect()
    }
}

/// The true list: git knows the small files by another hash than SHA-256.
fn list(files: &BTreeMap<String, Content>) -> String {
    let entry = |(name, content): (&String, &Content)| {
        let large = match name.ends_with(".safetensors") {
            true => format!(r#", "lfs": {{"sha256": "{}", "size": 1}}"#, content.sha256()),
            false => format!(r#", "blobId": "{}""#, content.blob()),
        };
        format!(r#"{{"rfilename": "{name}", "size": {}{large}}}"#, content.length())
    };
    let entries: Vec<String> = files.iter().map(entry).collect();
    format!(r#"{{"sha": "{COMMIT}", "siblings": [{}]}}"#, entries.join(", "))
}

fn answer(stream: &TcpStream, state: &State) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    if reader.read_line(&mut head)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut asked = Asked { path, from: None, if_range: None, token: None };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let first = value.strip_prefix("bytes=").and_then(|range| range.split('-').next());
                asked.from = first.and_then(|first| first.parse().ok());
            }
            "if-range" => asked.if_range = Some(value.to_owned()),
            "authorization" => asked.token = Some(value.to_owned()),
            _ => {}
        }
    }
    locked(&state.asked).push(asked.clone());
    let how = (locked(&state.answers))(&asked);
    let mut out = stream;
    match how {
        How::Status(status, after) => {
            let after = after.map_or(String::new(), |after| format!("Retry-After: {after}\r\n"));
            return write!(out, "HTTP/1.1 {status} No\r\n{after}Content-Length: 0\r\n\r\n");
        }
        How::Elsewhere(address) => {
            return write!(
                out,
                "HTTP/1.1 302 Found\r\nLocation: {address}\r\nX-Repo-Commit: {COMMIT}\r\nContent-Length: 0\r\n\r\n"
            );
        }
        _ => {}
    }
    if asked.path.starts_with("/api/models/") {
        let list = locked(&state.list).clone();
        let length = list.len();
        return write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{list}");
    }
    let path = asked.path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    match state.files.get(name) {
        Some(content) => send(stream, content, &asked, &how),
        None => write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    }
}

fn send(mut out: &TcpStream, content: &Content, asked: &Asked, how: &How) -> io::Result<()> {
    let length = content.length();
    let (status, from) = match (asked.from, how) {
        (Some(_), How::OtherPart) => ("206 Partial Content", 0),
        (Some(from), how) if *how != How::Whole => ("206 Partial Content", from),
        _ => ("200 OK", 0),
    };
    let announced = match how {
        How::OtherLength => length - from + 7,
        _ => length - from,
    };
    let sha256 = content.sha256_of_small();
    let etag = if *how == How::OtherEtag { "ff".repeat(32) } else { sha256 };
    let commit = if *how == How::OtherCommit { "f".repeat(40) } else { COMMIT.to_owned() };
    write!(out, "HTTP/1.1 {status}\r\nETag: \"{name}\"\r\nX-Repo-Commit: {commit}\r\n", name = length)?;
    if !etag.is_empty() {
        write!(out, "X-Linked-ETag: \"{etag}\"\r\n")?;
    }
    if status.starts_with("206") {
        write!(out, "Content-Range: bytes {from}-{}/{length}\r\n", length - 1)?;
    }
    match how {
        How::Endless => write!(out, "Connection: close\r\n\r\n")?,
        _ => write!(out, "Content-Length: {announced}\r\n\r\n")?,
    }
    if *how == How::Silently {
        std::thread::sleep(Duration::from_secs(20));
        return out.shutdown(Shutdown::Both);
    }
    let (piece, rest) = match how {
        How::Slowly(piece, rest) => (*piece, *rest),
        _ => (1 << 18, Duration::ZERO),
    };
    let end = match how {
        How::Cut(after) => (from + after).min(length),
        _ => length,
    };
    let mut at = from;
    while at < end {
        let take = piece.min((end - at) as usize);
        let mut bytes = content.read(at, take);
        if *how == How::OtherBytes {
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
        }
        out.write_all(&bytes)?;
        at += take as u64;
        std::thread::sleep(rest);
    }
    match how {
        How::Cut(_) => out.shutdown(Shutdown::Both),
        How::Endless => {
            out.write_all(&[0; 100])?;
            out.shutdown(Shutdown::Both)
        }
        _ => Ok(()),
    }
}

impl Content {
    /// What a hub says of a file before it is read; one that is made is too long to be hashed for every request.
    fn sha256_of_small(&self) -> String {
        match self {
            Content::Bytes(_) => self.sha256(),
            Content::Made(_) => String::new(),
        }
    }
}
