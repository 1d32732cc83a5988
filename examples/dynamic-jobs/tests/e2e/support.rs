//! Processes of the service.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use punctual::clock::{Clock, SystemClock};
use serde_json::Value;

use crate::client::{Answer, Request};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_dynamic-jobs");
/// How long anything may take that should take a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary in `folder`, without the settings of whoever runs the tests.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .current_dir(folder)
        .env_remove("DYNAMIC_JOBS_STORE")
        .env_remove("RUST_LOG");
    command
}

/// What it says on stderr before it ends with a failure.
pub(crate) fn refused(folder: &Path, flags: &[&str]) -> String {
    let output = command(folder).args(flags).output().unwrap();
    assert!(!output.status.success(), "{flags:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{flags:?}");
    String::from_utf8(output.stderr).unwrap()
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

/// A running process.
pub(crate) struct Service {
    pub(crate) process: Process,
    pub(crate) address: String,
    log: PathBuf,
}

impl Service {
    /// Starts one on a port of its own, unless `flags` name one, and waits until it listens.
    pub(crate) fn start(folder: &Path, flags: &[&str]) -> Self {
        Starting::spawn(folder, flags).ready()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Its node id, as the ledger has it.
    pub(crate) fn node(&self) -> String {
        let log = self.log();
        let (_, after) = log.split_once("node=").expect("it logs its node");
        after.split_whitespace().next().unwrap().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.process.exit_code()
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Answer {
        Request::new(method, path).send(&self.address)
    }

    pub(crate) fn add(&self, body: &str) -> Answer {
        Request::add(body).send(&self.address)
    }

    /// The ledger of a job, the oldest run first.
    pub(crate) fn runs(&self, id: &str) -> Vec<Value> {
        let answer = self.ask("GET", &format!("/jobs/{id}/runs?limit=1000"));
        if answer.status == 404 {
            return Vec::new();
        }
        let mut runs = answer.ok().as_array().unwrap().clone();
        runs.reverse();
        runs
    }
}

/// A process that may not listen yet.
pub(crate) struct Starting {
    process: Process,
    told: mpsc::Receiver<String>,
    log: PathBuf,
}

impl Starting {
    pub(crate) fn spawn(folder: &Path, flags: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        Self::spawn_with_log(folder, flags, folder.join(format!("service-{count}.log")))
    }

    pub(crate) fn spawn_with_log(folder: &Path, flags: &[&str], log: PathBuf) -> Self {
        let mut command = command(folder);
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command
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
        Self {
            process: Process(child),
            told,
            log,
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.process.exit_code()
    }

    pub(crate) fn ready(self) -> Service {
        let Ok(line) = self.told.recv_timeout(PATIENCE) else {
            let said = std::fs::read_to_string(&self.log).unwrap();
            panic!("it does not say where it listens; on stderr: {said}");
        };
        let address = line.strip_prefix("listening on http://");
        let address = address.expect("the first line is the address").to_owned();
        Service {
            process: self.process,
            address,
            log: self.log,
        }
    }
}

/// Killed when it is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// The exit code, once it has ended.
    fn exit_code(&mut self) -> Option<i32> {
        let ended = wait_for("the process to end", || self.0.try_wait().unwrap());
        ended.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = writeln!(
                std::io::stderr(),
                "log of {}:\n{}",
                self.address,
                self.log()
            );
        }
    }
}

/// Makes the work of a task id last; its row is there, or is made.
pub(crate) fn let_work_last(folder: &Path, id: &str, work: Duration) {
    let database = rusqlite::Connection::open(folder.join("dynamic-jobs-app.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    let sql = "INSERT INTO tasks (task_id, message, work_ms) VALUES (?1, 'worked', ?2)
               ON CONFLICT (task_id) DO UPDATE SET work_ms = excluded.work_ms";
    let work_ms = work.as_millis() as i64;
    database.execute(sql, (id, work_ms)).unwrap();
}
