//! A job store that is away: when the server starts, and while it runs.

use std::path::Path;
use std::thread;
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use serde_json::Value;

use crate::support::{Server, ask, get, punctual, runs, wait_for, write_lock};

#[test]
fn a_server_waits_for_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let database = folder.join("punctual.db");
    let lock = write_lock(&database);
    let server = Server::start(folder, &[]);
    assert_eq!(get(&server, "/healthz").0, 200);
    let (status, answer) = get(&server, "/readyz");
    assert_eq!(status, 503);
    assert!(answer.contains("the job store is"), "{answer}");
    let (status, answer) = get(&server, "/scheduler/jobs");
    assert_eq!(status, 503);
    assert!(answer.contains("retry-after: "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    wait_for("two attempts", || {
        let log = server.log();
        (log.contains("trying again in 1 s") && log.contains("trying again in 2 s")).then_some(())
    });
    let (_, answer) = get(&server, "/readyz");
    assert!(
        answer.contains("the job store is unavailable; tried 2 times"),
        "{answer}"
    );
    assert!(!server.log().contains("admin token"));

    drop(lock);
    wait_for("it to be ready", || {
        (get(&server, "/readyz").0 == 200).then_some(())
    });
    assert!(server.log().contains("admin token"));
    ask(folder, &server, &["list"]);
}

/// A port of this machine on which nothing listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_store_on_a_server_is_waited_for_and_its_password_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let store = format!("redis://ann:s3cret@127.0.0.1:{}/0", closed_port());
    let mut server = Server::start(folder, &["--store", &store]);
    wait_for("two attempts", || {
        server.log().contains("trying again in 2 s").then_some(())
    });
    let (status, ready) = get(&server, "/readyz");
    assert_eq!(status, 503);
    let (_, jobs) = get(&server, "/scheduler/jobs");
    let log = server.log();
    assert!(log.contains("redis://ann@127.0.0.1"), "{log}");
    for said in [&log, &ready, &jobs] {
        assert!(!said.contains("s3cret"), "{said}");
    }
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_server_that_waits_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _lock = write_lock(&folder.join("punctual.db"));
    let mut server = Server::start(folder, &[]);
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_store_that_refuses_ends_the_server() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("text.db"),
        "no database, but text. ".repeat(100),
    )
    .unwrap();
    let output = punctual(folder.path())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            "sqlite:text.db",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("give the path of a new file"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn of_nodes_that_start_together_one_makes_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let servers: Vec<Server> = thread::scope(|scope| {
        let start = || scope.spawn(|| Server::start(folder, &[]));
        let starting: Vec<_> = (0..4).map(|_| start()).collect();
        starting
            .into_iter()
            .map(|server| server.join().unwrap())
            .collect()
    });
    let shown = servers
        .iter()
        .filter(|server| server.log().contains("admin token"));
    assert_eq!(shown.count(), 1);
    for server in &servers {
        ask(folder, server, &["list"]);
    }
}

/// The processor time that a process has used so far, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn succeeded_after(folder: &Path, server: &Server, moment: &str) -> Option<Value> {
    let mut runs = runs(folder, server, "tick").into_iter();
    runs.find(|run| {
        run["state"] == "succeeded" && run["started_at"].as_str().is_some_and(|at| at > moment)
    })
}

#[test]
fn a_store_that_comes_back_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(folder, &[]);
    let tick = [
        "add",
        "--id",
        "tick",
        "--task",
        "log",
        "--kwargs",
        r#"{"message":"x"}"#,
        "--every",
        "1s",
    ];
    ask(folder, &server, &tick);
    wait_for("a run", || succeeded_after(folder, &server, ""));
    assert_eq!(get(&server, "/readyz").0, 200);

    let lock = write_lock(&folder.join("punctual.db"));
    let lost = SystemClock.monotonic();
    let before = cfg!(target_os = "linux").then(|| ticks(server.child.id()));
    wait_for("it to be no longer ready", || {
        (get(&server, "/readyz").0 == 503).then_some(())
    });
    let red = SystemClock.monotonic().saturating_sub(lost);
    assert!(red < Duration::from_secs(12), "{red:?}");
    let rest = Duration::from_secs(15).saturating_sub(red);
    thread::sleep(rest);
    assert_eq!(get(&server, "/healthz").0, 200);
    if let Some(before) = before {
        let used = ticks(server.child.id()) - before;
        assert!(
            used < 150,
            "{used} ticks of the processor in 15 s are a busy loop"
        );
    }

    let back = SystemClock.now().to_string();
    drop(lock);
    let back_at = SystemClock.monotonic();
    wait_for("a run", || succeeded_after(folder, &server, &back));
    let took = SystemClock.monotonic().saturating_sub(back_at);
    assert!(took < Duration::from_secs(5), "{took:?}");
    wait_for("it to be ready", || {
        (get(&server, "/readyz").0 == 200).then_some(())
    });
    assert!(!server.log().contains("panicked"), "{}", server.log());
    // Nothing is missing: rows stand a second apart, or in a summary that counts them.
    ask(folder, &server, &["pause", "tick"]);
    let mut rows = runs(folder, &server, "tick");
    rows.sort_by_key(|run| run["scheduled_at"].as_str().unwrap().to_owned());
    let at = |run: &Value, key: &str| {
        run[key]
            .as_str()
            .map(|at| at.parse::<jiff::Timestamp>().unwrap())
    };
    for pair in rows.windows(2) {
        let last = at(&pair[0], "scheduled_until")
            .or(at(&pair[0], "scheduled_at"))
            .unwrap();
        let gap = at(&pair[1], "scheduled_at").unwrap().duration_since(last);
        assert_eq!(gap, jiff::SignedDuration::from_secs(1), "{pair:#?}");
    }
}
