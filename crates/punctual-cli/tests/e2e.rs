//! The real binary: served, used through its own client commands, killed and started again.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_punctual");
/// How long anything may take that should take a moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// The binary in `folder`, without the settings of whoever runs the tests.
fn punctual(folder: &Path) -> Command {
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
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path, flags: &[&str]) -> Self {
        let mut child = punctual(folder)
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-command"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
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
        Self { child, url }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The exit code, once it has ended.
    fn exit_code(&mut self) -> Option<i32> {
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

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = SystemClock.monotonic() + PATIENCE;
    while SystemClock.monotonic() < end {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("waited too long for {what}");
}

fn client(folder: &Path, server: &Server, args: &[&str]) -> Output {
    let mut command = punctual(folder);
    command.args(args).env("PUNCTUAL_SERVER", &server.url);
    command.output().unwrap()
}

/// The JSON that a client command prints; it has to succeed.
fn ask(folder: &Path, server: &Server, args: &[&str]) -> Value {
    let output = client(folder, server, &[args, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn runs(folder: &Path, server: &Server, id: &str) -> Vec<Value> {
    let answer = ask(folder, server, &["runs", id, "--limit", "1000"]);
    answer["items"].as_array().unwrap().clone()
}

fn with_state<'a>(runs: &'a [Value], state: &str) -> Vec<&'a Value> {
    runs.iter().filter(|run| run["state"] == state).collect()
}

#[test]
fn a_killed_server_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut server = Server::start(folder, &[]);
    let token = folder.join("punctual.db.token");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(token).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // One job of each kind.
    let log = ["--task", "log", "--args", "[\"x\"]"];
    for (id, when) in [
        ("date", vec!["--at", "2099-12-01 10:00"]),
        ("interval", vec!["--every", "200ms"]),
        ("cron", vec!["--cron", "second=*"]),
        (
            "crontab",
            vec!["--crontab", "0 3 * * *", "--tz", "Europe/Paris"],
        ),
        (
            "calendar",
            vec!["--trigger", r#"{"type":"calendarinterval","months":1}"#],
        ),
        (
            "and",
            vec![
                "--trigger",
                r#"{"type":"and","triggers":[{"type":"cron","second":"*"},{"type":"cron","minute":"*"}]}"#,
            ],
        ),
        (
            "or",
            vec![
                "--trigger",
                r#"{"type":"or","triggers":[{"type":"cron","hour":1},{"type":"cron","hour":2}]}"#,
            ],
        ),
    ] {
        let job = ask(
            folder,
            &server,
            &[&["add", "--id", id][..], &log, &when].concat(),
        );
        assert!(job["next_run_time"].is_string(), "{id}: {job}");
    }
    // A command of one second that marks its start and its end.
    let script =
        "echo start-$PUNCTUAL_ATTEMPT >> marks; sleep 1; echo end-$PUNCTUAL_ATTEMPT >> marks";
    let kwargs = json!({"argv": ["sh", "-c", script]}).to_string();
    let slow = [
        "add",
        "--id",
        "slow",
        "--task",
        "command",
        "--kwargs",
        &kwargs,
        "--at",
        "2099-01-01",
    ];
    ask(folder, &server, &slow);
    let asked = ask(folder, &server, &["run", "slow"]);
    let first = asked["run"]["id"].as_str().unwrap().to_owned();
    let marks = || std::fs::read_to_string(folder.join("marks")).unwrap_or_default();
    wait_for("the command to start", || {
        marks().contains("start-1").then_some(())
    });
    wait_for("some ticks", || {
        (with_state(&runs(folder, &server, "interval"), "succeeded").len() > 2).then_some(())
    });

    server.signal("KILL");
    assert_eq!(server.exit_code(), None, "it was killed");
    let server_down = SystemClock.now();
    let mut server = Server::start(folder, &[]);
    let restarted = SystemClock.monotonic();
    let second = wait_for("the run to be run again", || {
        let runs = runs(folder, &server, "slow");
        runs.iter()
            .find(|run| run["attempt"] == 2 && run["started_at"].is_string())
            .cloned()
    });
    let waited = SystemClock.monotonic().saturating_sub(restarted);
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    let before = ask(folder, &server, &["runs", "slow", "--state", "lost"]);
    assert_eq!(before["items"][0]["id"], first.as_str());
    assert_eq!(before["items"][0]["reason"], "node_died");
    assert_eq!(
        second["idempotency_key"],
        before["items"][0]["idempotency_key"]
    );
    assert!(second["fence"].as_u64() > before["items"][0]["fence"].as_u64());
    wait_for("the second attempt to end", || {
        marks().contains("end-2").then_some(())
    });

    // Everything is still there, and goes on.
    let jobs = ask(folder, &server, &["list"]);
    assert_eq!(jobs.as_array().unwrap().len(), 8);
    let fresh =
        |run: &Value| run["scheduled_at"].as_str().unwrap() > server_down.to_string().as_str();
    wait_for("more ticks", || {
        runs(folder, &server, "interval")
            .iter()
            .any(|run| fresh(run) && run["state"] == "succeeded")
            .then_some(())
    });
    wait_for("the second attempt in the ledger", || {
        let runs = runs(folder, &server, "slow");
        (with_state(&runs, "succeeded").len() == 1 && runs.len() == 2).then_some(())
    });

    // No occurrence twice, and none missing: they stand 200 ms apart, or in a summary that counts them.
    ask(folder, &server, &["pause", "interval"]);
    let mut ticks = runs(folder, &server, "interval");
    ticks.retain(|run| run["attempt"] == 1);
    ticks.sort_by_key(|run| run["scheduled_at"].as_str().unwrap().to_owned());
    let micros = |run: &Value, key: &str| {
        run[key]
            .as_str()
            .map(|at| at.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    };
    for pair in ticks.windows(2) {
        let last = micros(&pair[0], "scheduled_until")
            .or(micros(&pair[0], "scheduled_at"))
            .unwrap();
        assert_eq!(
            micros(&pair[1], "scheduled_at").unwrap() - last,
            200_000,
            "{pair:#?}"
        );
    }

    // SIGTERM lets what runs end.
    let asked = ask(folder, &server, &["run", "slow"]);
    let id = asked["run"]["id"].as_str().unwrap().to_owned();
    wait_for("the third command to start", || {
        (marks().matches("start").count() == 3).then_some(())
    });
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    // The first one was left behind when its server was killed, and ended too.
    assert_eq!(marks().matches("end").count(), 3, "{}", marks());
    let server = Server::start(folder, &[]);
    let items = runs(folder, &server, "slow");
    let drained = items.iter().find(|run| run["id"] == id.as_str()).unwrap();
    assert_eq!(drained["state"], "succeeded");
}

#[test]
fn exit_codes_tell_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(folder, &["--store", "memory:"]);
    let keep = folder.join("token");
    std::fs::write(&keep, "0123456789abcdef0123456789abcdef").unwrap();
    let known = Server::start(folder, &["--store", "memory:", "--token-file", "token"]);
    let check = |args: &[&str], code: i32, word: &str| {
        let output = client(folder, &known, args);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
    };
    let with = |args: &[&'static str]| [args, &["--token-file", "token"]].concat();
    let add = [
        "add",
        "--id",
        "a b",
        "--task",
        "log",
        "--kwargs",
        r#"{"message":"hi"}"#,
        "--every",
        "1h",
    ];
    check(&with(&add), 0, "added a b; next run");
    check(&with(&add), 4, "already exists");
    check(&with(&["list"]), 0, "every hour");
    check(&with(&["show", "a b"]), 0, "description");
    check(&with(&["run", "a b", "--wait"]), 0, "hi");
    check(&with(&["runs", "a b"]), 0, "succeeded");
    check(
        &with(&["modify", "a b", "--crontab", "0 3 * * *"]),
        0,
        "modified",
    );
    check(&with(&["modify", "a b"]), 2, "nothing to change");
    check(&with(&["pause", "a b", "--note", "x"]), 0, "no next run");
    check(&with(&["resume", "a b"]), 0, "next run");
    check(&with(&["show", "nobody"]), 3, "not found");
    check(&with(&["add", "--task", "logg"]), 5, "did you mean log?");
    check(
        &with(&["add", "--task", "log", "--crontab", "0 25 * * *"]),
        5,
        "^^",
    );
    check(
        &with(&["add", "--task", "log", "--at", "31.12.2026"]),
        5,
        "not a date",
    );
    check(&with(&["status"]), 0, "running");
    check(&["list"], 7, "token");
    check(
        &["list", "--server", "http://127.0.0.1:1"],
        6,
        "punctual serve",
    );
    check(&["list", "--server", "nonsense"], 2, "--server");
    check(&["lst"], 2, "list");
    check(&["serve", "--listen", "0.0.0.0:0"], 1, "PUNCTUAL_TOKEN");
    check(
        &[
            "serve",
            "--listen",
            server.url.trim_start_matches("http://"),
            "--store",
            "memory:",
        ],
        1,
        "in use",
    );
    check(
        &["serve", "--store", "sqlite:/does/not/exist/x.db"],
        1,
        "/does/not/exist",
    );
    check(&["serve", "--store", "oracle:"], 2, "not a store");
    check(&["serve", "--lease", "1s"], 2, "at least 2s");
    check(&with(&["remove", "a b"]), 0, "removed");
}

#[test]
fn next_needs_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = punctual(folder.path())
            .arg("next")
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let now = ["--now", "2026-03-27 12:00:00"];
    let (code, out, _) = run(&[
        &[
            "--cron",
            "day_of_week=mon-fri hour=9",
            "--tz",
            "Europe/London",
            "-n",
            "2",
        ],
        &now[..],
    ]
    .concat());
    assert_eq!(code, Some(0));
    assert_eq!(
        out,
        "at 09:00 on Monday to Friday, Europe/London\n2026-03-30T09:00:00+01:00\n2026-03-31T09:00:00+01:00\n"
    );
    let (_, out, _) = run(&[&["--every", "90s", "-n", "1", "--json"], &now[..]].concat());
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["fires"], json!(["2026-03-27T12:01:30+00:00"]));
    let (code, out, err) = run(&["--crontab", "0 25 * * *"]);
    assert_eq!((code, out.as_str()), (Some(5), ""));
    assert!(err.contains("\n  0 25 * * *\n    ^^"), "{err}");
    let (code, _, err) = run(&["--cron", "month=2 day=30"]);
    assert_eq!(code, Some(0));
    assert!(err.contains("no fires"), "{err}");
    assert_eq!(run(&[]).0, Some(2));
}

#[test]
fn next_answers_lines_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = punctual(folder.path())
        .args(["next", "--jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for i in 0..3 {
        let case = json!({"id": i, "trigger": {"type": "interval", "hours": 1}, "now": "2026-01-01T00:00:00Z", "n": 1});
        writeln!(input, "{case}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            answer,
            json!({"id": i, "fires": ["2026-01-01T01:00:00+00:00"]})
        );
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = punctual(folder.path())
        .args(["next", "--every", "1s", "-n", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
