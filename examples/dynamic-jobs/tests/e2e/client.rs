//! A client of the service.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::wait_for;

/// How long one answer may take; then it is asked for again, for the process may be stopped or dead.
const ANSWER: Duration = Duration::from_secs(2);

/// A request to be sent.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of an answer that is well.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    pub(crate) fn msg(&self) -> &str {
        self.body["msg"].as_str().unwrap_or_default()
    }
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub(crate) fn add(body: &str) -> Self {
        let mut request = Self::new("POST", "/addCron").header("Content-Type", "application/json");
        body.clone_into(&mut request.body);
        request
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, kind: &str, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self.header("Content-Type", kind)
    }

    /// Sends it to whoever takes it at that address; again, where nobody answers.
    pub(crate) fn send(&self, address: &str) -> Answer {
        wait_for(&format!("{} {}", self.method, self.path), || {
            self.try_send(address).ok()
        })
    }

    fn try_send(&self, address: &str) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let Self {
            method, path, body, ..
        } = self;
        let mut lines = String::new();
        if !self.headers.iter().any(|(name, _)| name == "Host") {
            let _ = write!(lines, "Host: {address}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(lines, "{name}: {value}\r\n");
        }
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or(std::io::ErrorKind::UnexpectedEof)?;
        Ok(Answer {
            status: head.split(' ').nth(1).unwrap_or("").parse().unwrap_or(0),
            head: head.to_ascii_lowercase(),
            body: serde_json::from_str(body).unwrap_or_default(),
        })
    }
}
