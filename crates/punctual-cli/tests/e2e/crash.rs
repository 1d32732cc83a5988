//! A server that is killed and started again.

use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::support::{Server, ask, runs, wait_for, with_state};

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
    // The first one went with its server.
    assert_eq!(marks().matches("end").count(), 2, "{}", marks());
    let server = Server::start(folder, &[]);
    let items = runs(folder, &server, "slow");
    let drained = items.iter().find(|run| run["id"] == id.as_str()).unwrap();
    assert_eq!(drained["state"], "succeeded");
}
