//! Programs of the task `command`, and what becomes of them when their server is gone.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::support::{Server, ask, runs, wait_for};

/// Notes its number and that of a child that has left its process group, then sleeps. The next attempt first notes which
/// of them still live: a process that has ended, but was not waited for, counts as living.
const SCRIPT: &str = r#"
if [ "$PUNCTUAL_ATTEMPT" = 1 ]; then
    setsid sh -c 'echo $$ >> pids; sleep 300' &
    echo $$ >> pids
else
    for pid in $(cat pids); do kill -0 "$pid" 2>/dev/null && echo "$pid" >> survivors; done
    echo "$PUNCTUAL_IDEMPOTENCY_KEY $PUNCTUAL_FENCE" > second
fi
sleep 30
"#;

fn is_alive(pid: &str) -> bool {
    let mut look = Command::new("kill");
    look.args(["-0", pid]).stderr(Stdio::null());
    look.status().unwrap().success()
}

fn add_sleeper(folder: &Path, server: &Server) {
    let kwargs = json!({"argv": ["sh", "-c", SCRIPT]}).to_string();
    let add = [
        "add",
        "--id",
        "sleeper",
        "--task",
        "command",
        "--kwargs",
        &kwargs,
        "--at",
        "2099-01-01",
    ];
    ask(folder, server, &add);
    ask(folder, server, &["run", "sleeper"]);
}

/// The numbers of the first attempt's processes, once they are noted.
fn pids(folder: &Path) -> Vec<String> {
    wait_for("the program and its child to start", || {
        let pids = std::fs::read_to_string(folder.join("pids")).ok()?;
        let pids: Vec<_> = pids.lines().map(str::to_owned).collect();
        (pids.len() == 2).then_some(pids)
    })
}

fn attempt(folder: &Path, server: &Server, number: u64) -> Option<Value> {
    let mut runs = runs(folder, server, "sleeper").into_iter();
    runs.find(|run| run["attempt"] == number)
}

/// Nothing of the first attempt was there when the second began, which has the same key and a higher fence.
fn check_second(folder: &Path, server: &Server) {
    let second = wait_for("the second attempt", || {
        std::fs::read_to_string(folder.join("second")).ok()
    });
    let survivors = std::fs::read_to_string(folder.join("survivors")).unwrap_or_default();
    assert_eq!(survivors, "", "still alive when the second attempt began");
    let first = attempt(folder, server, 1).unwrap();
    let (key, fence) = second.trim().split_once(' ').unwrap();
    assert_eq!(first["idempotency_key"], key);
    assert!(first["fence"].as_u64().unwrap() < fence.parse().unwrap());
}

#[test]
fn a_killed_servers_program_is_gone_before_the_next_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut first = Server::start(folder, &["--lease", "2s"]);
    add_sleeper(folder, &first);
    let pids = pids(folder);
    let second = Server::start(folder, &["--lease", "2s"]);
    assert!(pids.iter().all(|pid| is_alive(pid)));

    first.signal("KILL");
    let killed = SystemClock.monotonic();
    wait_for("the program to be gone", || {
        (!pids.iter().any(|pid| is_alive(pid))).then_some(())
    });
    let took = SystemClock.monotonic().saturating_sub(killed);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(first.exit_code(), None);
    check_second(folder, &second);
    assert!(
        second.log().contains("its node is gone"),
        "{}",
        second.log()
    );
    let lost = attempt(folder, &second, 1).unwrap();
    assert_eq!(
        (&lost["state"], &lost["reason"]),
        (&json!("lost"), &json!("node_died"))
    );
}

#[test]
fn a_frozen_servers_program_is_gone_before_the_next_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let first = Server::start(folder, &["--lease", "3s"]);
    add_sleeper(folder, &first);
    let pids = pids(folder);
    // It takes over only from its own first lease on.
    let second = Server::start(folder, &["--lease", "3s"]);

    first.signal("STOP");
    let frozen = SystemClock.monotonic();
    wait_for("the program to be gone", || {
        (!pids.iter().any(|pid| is_alive(pid))).then_some(())
    });
    let took = SystemClock.monotonic().saturating_sub(frozen);
    assert!(took < Duration::from_secs(3), "{took:?}");
    check_second(folder, &second);

    first.signal("CONT");
    let row = wait_for("the late result to be refused", || {
        attempt(folder, &second, 1).filter(|run| run["superseded_at"].is_string())
    });
    assert_eq!(
        (&row["state"], &row["reason"]),
        (&json!("lost"), &json!("lease_expired"))
    );
    let runs = runs(folder, &second, "sleeper");
    assert_eq!(runs.len(), 2, "{runs:#?}");
    assert_eq!(attempt(folder, &second, 2).unwrap()["state"], "running");
}

#[test]
fn programs_run_under_a_supervisor_as_they_would_without() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(folder, &[]);
    for (kwargs, state, word) in [
        (
            json!({"argv": ["echo", "$HOME; ls"]}),
            "succeeded",
            "$HOME; ls\n",
        ),
        (
            json!({"argv": ["sh", "-c", "echo out; echo err >&2; exit 3"]}),
            "failed",
            "exit code 3",
        ),
        (
            json!({"argv": ["sh", "-c", "echo out; echo err >&2; exit 3"]}),
            "failed",
            "out\n",
        ),
        (
            json!({"argv": ["sh", "-c", "echo err >&2"]}),
            "succeeded",
            "err\n",
        ),
        (
            json!({"argv": ["sh", "-c", "kill -9 $$"]}),
            "failed",
            "signal 9 (SIGKILL)",
        ),
        (
            json!({"argv": ["sh", "-c", "kill -15 $$"]}),
            "failed",
            "signal 15 (SIGTERM)",
        ),
        (
            json!({"argv": ["cat"], "stdin": "from stdin"}),
            "succeeded",
            "from stdin",
        ),
        (json!({"argv": ["cat"]}), "succeeded", ""),
        (
            json!({"argv": ["wc", "-c"], "stdin": "x".repeat(100_000)}),
            "succeeded",
            "100000",
        ),
        (
            json!({"argv": ["true"], "stdin": "x".repeat(100_000)}),
            "succeeded",
            "",
        ),
        (
            json!({"argv": ["sh", "-c", "echo $X $PUNCTUAL_JOB_ID $PUNCTUAL_ATTEMPT"], "env": {"X": "y"}}),
            "succeeded",
            "y once 1",
        ),
        (
            json!({"argv": ["env"], "env": {"A": "b"}}),
            "succeeded",
            "A=b\n",
        ),
        (json!({"argv": ["pwd"], "cwd": "/"}), "succeeded", "/\n"),
        (
            json!({"argv": ["/does/not/exist"]}),
            "failed",
            "could not be started: No such file",
        ),
        (
            json!({"argv": ["/etc/passwd"]}),
            "failed",
            "could not be started: Permission denied",
        ),
        (
            json!({"argv": ["pwd"], "cwd": "/does/not/exist"}),
            "failed",
            "its cwd /does/not/exist is not a folder",
        ),
        (
            json!({"argv": ["sh", "-c", "sleep 60 & sleep 60"], "timeout": 0.2}),
            "timed_out",
            "0.2 s",
        ),
        (
            json!({"argv": ["sh", "-c", "trap 'echo bye; exit 1' TERM; sleep 60 & wait"], "timeout": 0.2}),
            "timed_out",
            "bye\n",
        ),
        (
            json!({"argv": ["sh", "-c", "sleep 60 & echo left"]}),
            "succeeded",
            "left",
        ),
    ] {
        let kwargs = kwargs.to_string();
        let add = [
            "add",
            "--id",
            "once",
            "--task",
            "command",
            "--kwargs",
            &kwargs,
            "--at",
            "2099-01-01",
            "--replace",
        ];
        ask(folder, &server, &add);
        let asked = ask(folder, &server, &["run", "once"]);
        let id = asked["run"]["id"].as_str().unwrap();
        let run = wait_for("the run to end", || {
            let mut runs = runs(folder, &server, "once").into_iter();
            runs.find(|run| run["id"] == id && run["finished_at"].is_string())
        });
        let kwargs = &kwargs[..kwargs.len().min(200)];
        assert_eq!(run["state"], state, "{kwargs}: {run}");
        let said = format!(
            "{}{}",
            run["output"].as_str().unwrap_or_default(),
            run["error"].as_str().unwrap_or_default()
        );
        assert!(said.contains(word), "{kwargs}: {said}");
        assert!(!said.contains("PUNCTUAL_STORE"), "{said}");
    }
}

#[test]
fn what_is_cancelled_ends_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(folder, &[]);
    add_sleeper(folder, &server);
    let pids = pids(folder);
    let run = attempt(folder, &server, 1).unwrap();
    ask(folder, &server, &["cancel", run["id"].as_str().unwrap()]);
    let run = wait_for("the run to end", || {
        attempt(folder, &server, 1).filter(|run| run["finished_at"].is_string())
    });
    assert_eq!(run["state"], "cancelled");
    assert!(!pids.iter().any(|pid| is_alive(pid)), "{pids:?}");
}

#[test]
fn a_supervisor_that_is_killed_takes_its_program_along() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(folder, &[]);
    let script = "echo $$ $PPID > pids; exec sleep 60";
    let kwargs = json!({"argv": ["sh", "-c", script]}).to_string();
    let add = [
        "add", "--id", "sleeper", "--task", "command", "--kwargs", &kwargs,
    ];
    ask(folder, &server, &add);
    let pids = wait_for("the program to start", || {
        let pids = std::fs::read_to_string(folder.join("pids")).ok()?;
        let (program, supervisor) = pids.trim().split_once(' ')?;
        Some((program.to_owned(), supervisor.to_owned()))
    });
    let (program, supervisor) = pids;
    Command::new("kill")
        .args(["-9", &supervisor])
        .status()
        .unwrap();
    let run = wait_for("the run to end", || {
        attempt(folder, &server, 1).filter(|run| run["finished_at"].is_string())
    });
    assert_eq!(run["state"], "failed");
    assert!(
        run["error"]
            .as_str()
            .unwrap()
            .contains("supervisor was killed"),
        "{run}"
    );
    wait_for("the program to be gone", || {
        (!is_alive(&program)).then_some(())
    });
}

#[test]
fn a_supervisor_that_is_called_by_hand_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = crate::support::punctual(folder.path())
        .arg("supervise")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("punctual serve"), "{said}");
}

#[test]
fn a_drained_server_hands_its_runs_back_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // A lease that would show, and a program that does not listen to SIGTERM.
    let mut first = Server::start(folder, &["--lease", "5m", "--drain", "2s"]);
    let script = r#"
echo "$PUNCTUAL_ATTEMPT" >> attempts
trap "" TERM
echo begun
sleep 60
"#;
    let kwargs = json!({"argv": ["sh", "-c", script]}).to_string();
    let add = [
        "add", "--id", "sleeper", "--task", "command", "--kwargs", &kwargs,
    ];
    ask(folder, &first, &add);
    let attempts = || std::fs::read_to_string(folder.join("attempts")).unwrap_or_default();
    wait_for("the program to start", || {
        (attempts() == "1\n").then_some(())
    });
    let second = Server::start(folder, &["--lease", "5m"]);

    first.signal("TERM");
    let told = SystemClock.monotonic();
    assert_eq!(first.exit_code(), Some(0));
    let took = SystemClock.monotonic().saturating_sub(told);
    assert!(took > Duration::from_secs(2), "it did not wait: {took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    wait_for("the second attempt", || {
        (attempts() == "1\n2\n").then_some(())
    });
    let took = SystemClock.monotonic().saturating_sub(told);
    assert!(took < Duration::from_secs(11), "{took:?}");
    let handed_back = attempt(folder, &second, 1).unwrap();
    assert_eq!(
        (&handed_back["state"], &handed_back["reason"]),
        (&json!("cancelled"), &json!("shutdown"))
    );
    assert_eq!(handed_back["output"], "begun\n");
}
