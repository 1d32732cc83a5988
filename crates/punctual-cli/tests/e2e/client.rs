//! The commands of the client.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Server, client, punctual};

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
    check(&["serve", "--store", "oracle:"], 2, "no kind of store");
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
