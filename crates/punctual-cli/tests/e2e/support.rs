//! The binary, as a server and as its clients.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use serde_json::Value;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_punctual");
/// How long anything may take that should take a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary in `folder`, without the settings of whoever runs the tests.
pub(crate) fn punctual(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PUNCTUAL_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running server; killed when it is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
    log: PathBuf,
}

impl Server {
    pub(crate) fn start(folder: &Path, flags: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let log = folder.join(format!("server-{count}.log"));
        let mut child = punctual(folder)
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-command"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let line = told
            .recv_timeout(PATIENCE)
            .expect("the server says where it listens");
        let url = line
            .strip_prefix("listening on ")
            .expect("the first line is the address")
            .to_owned();
        Self { child, url, log }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The exit code, once it has ended.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let ended = wait_for("the server to end", || self.child.try_wait().unwrap());
        ended.code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = SystemClock.monotonic() + PATIENCE;
    while SystemClock.monotonic() < end {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("waited too long for {what}");
}

pub(crate) fn client(folder: &Path, server: &Server, args: &[&str]) -> Output {
    let mut command = punctual(folder);
    command.args(args).env("PUNCTUAL_SERVER", &server.url);
    command.output().unwrap()
}

/// The JSON that a client command prints; it has to succeed.
pub(crate) fn ask(folder: &Path, server: &Server, args: &[&str]) -> Value {
    let output = client(folder, server, &[args, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

pub(crate) fn runs(folder: &Path, server: &Server, id: &str) -> Vec<Value> {
    let answer = ask(folder, server, &["runs", id, "--limit", "1000"]);
    answer["items"].as_array().unwrap().clone()
}

pub(crate) fn with_state<'a>(runs: &'a [Value], state: &str) -> Vec<&'a Value> {
    runs.iter().filter(|run| run["state"] == state).collect()
}

/// The status and the rest of an answer to `GET`, without a token.
pub(crate) fn get(server: &Server, path: &str) -> (u16, String) {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// Keeps every other program from writing to a database until it is dropped.
pub(crate) fn write_lock(database: &Path) -> rusqlite::Connection {
    let lock = rusqlite::Connection::open(database).unwrap();
    wait_for("the lock", || lock.execute_batch("BEGIN EXCLUSIVE").ok());
    lock
}
