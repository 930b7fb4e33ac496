//! A small HTTP client that can also misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::fake::Server;

pub(crate) struct Response {
    pub(crate) status: u16,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The `data:` lines of an event stream.
    pub(crate) fn events(&self) -> Vec<&str> {
        self.body.split("\n\n").filter(|part| !part.is_empty()).map(|part| &part["data: ".len()..]).collect()
    }

    /// The chunks of a stream that ends with `[DONE]`.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let mut events = self.events();
        assert_eq!(events.pop(), Some("[DONE]"), "{}", self.body);
        events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }
}

/// A connection with one request on it.
pub(crate) struct Exchange {
    pub(crate) reader: BufReader<TcpStream>,
}

impl Exchange {
    /// Sends bytes as they are.
    pub(crate) fn send(address: SocketAddr, bytes: &[u8]) -> Exchange {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.write_all(bytes).unwrap();
        Exchange { reader: BufReader::new(socket) }
    }

    pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Exchange {
        Exchange::send(address, post_bytes(path, body).as_bytes())
    }

    /// Reads status and headers.
    fn head(&mut self) -> (u16, Vec<(String, String)>) {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let status =
            line.split(' ').nth(1).unwrap_or_else(|| panic!("not a status line: {line:?}")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
                None => return (status, headers),
            }
        }
    }

    /// Reads the response to its end.
    pub(crate) fn response(mut self) -> Response {
        let (status, headers) = self.head();
        let mut response = Response { status, headers, body: String::new() };
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.http_chunk() {
                response.body.push_str(&chunk);
            }
        } else {
            let length = response.header("content-length").unwrap_or("0").parse().unwrap();
            let mut body = vec![0; length];
            self.reader.read_exact(&mut body).unwrap();
            response.body = String::from_utf8(body).unwrap();
        }
        response
    }

    /// Reads status, headers and the first event of a stream, and leaves the rest.
    pub(crate) fn first_event(&mut self) -> String {
        let (status, _) = self.head();
        assert_eq!(status, 200);
        self.http_chunk().unwrap()
    }

    /// The next chunk of a chunked body.
    fn http_chunk(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        chunk.truncate(length);
        (length > 0).then(|| String::from_utf8(chunk).unwrap())
    }
}

pub(crate) fn post_bytes(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Server {
    pub(crate) fn get(&self, path: &str) -> Response {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        Exchange::send(self.address, request.as_bytes()).response()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        Exchange::post(self.address, path, body).response()
    }

    pub(crate) fn complete(&self, body: &Value) -> Response {
        self.post("/v1/completions", &body.to_string())
    }

    pub(crate) fn chat(&self, body: &Value) -> Response {
        self.post("/v1/chat/completions", &body.to_string())
    }

    /// The engine still serves requests as if nothing had happened.
    pub(crate) fn assert_works(&self) {
        let response = self.complete(&serde_json::json!({"prompt": "x", "max_tokens": 3}));
        assert_eq!(response.status, 200, "{}", response.body);
        assert_eq!(response.json()["choices"][0]["text"], "one");
    }
}
