//! Starting and stopping.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::{Service, Starting, let_work_last, refused, wait_for};

#[test]
fn settings_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (text, words) in [
        (
            "api_enable = true",
            "settings.toml: api_enable: unknown setting; did you mean api_enabled?",
        ),
        (
            "job_defaults = { coalesc = true }",
            "job_defaults.coalesc: is not known",
        ),
        (
            "executors.default = { type = 'threads' }",
            "executors.default.type: \"threads\" is not known",
        ),
        (
            "executors.default = { type = 'threadpool', max_worker = 1 }",
            "executors.default.max_worker: is not known",
        ),
        ("timezone = 'Mars/Olympus'", "timezone: "),
        ("lease_seconds = 1", "lease: 1 s is too short"),
        (
            "jobstores.default = { url = 'oracle://ann:s3cret@db' }",
            "jobstores: \"oracle\" is no kind of store",
        ),
    ] {
        std::fs::write(path.join("settings.toml"), text).unwrap();
        let flags = ["--settings", "settings.toml", "--listen", "127.0.0.1:0"];
        let said = refused(path, &flags);
        assert!(said.contains(words), "{text}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
    let said = refused(path, &["--settings", "missing.toml"]);
    assert!(said.contains("missing.toml cannot be read"), "{said}");
    let said = refused(path, &["--env", "staging"]);
    assert!(said.contains("development"), "{said}");
    let said = refused(
        path,
        &[
            "--store",
            "memory:",
            "--listen",
            "127.0.0.1:0",
            "--database",
            "no/such/folder/app.db",
        ],
    );
    assert!(
        said.contains("no/such/folder/app.db cannot be opened"),
        "{said}"
    );
}

/// Jobs in memory are not shared, and two processes on one port would split them without a word.
#[test]
fn a_port_is_not_shared_without_a_shared_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let service = Service::start(path, &["--store", "memory:"]);
    let flags = ["--listen", &service.address];
    let said = refused(path, &[&flags[..], &["--store", "memory:"]].concat());
    assert!(said.contains("jobs in memory cannot be shared"), "{said}");
    let said = refused(path, &flags);
    assert!(said.contains("choose another port with --listen"), "{said}");
}

/// What runs when a signal comes may end, and is recorded; the port is free at once.
#[test]
fn a_signal_lets_the_last_runs_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (signal, id) in [("TERM", "1"), ("INT", "2")] {
        let mut service = Service::start(path, &["--env", "production"]);
        let_work_last(path, id, Duration::from_secs(1));
        let body =
            format!(r#"{{"task_id":{id},"run_time":"2020-8-12 12:03:00","trigger_type":"date"}}"#);
        service.add(&body).ok();
        wait_for("the run to start", || {
            service.log().contains("tasks: task1").then_some(())
        });
        service.signal(signal);
        assert_eq!(service.exit_code(), Some(0), "{signal}");

        let next = Service::start(path, &["--listen", &service.address]);
        let runs = next.runs(id);
        assert_eq!(runs.len(), 1, "{runs:?}");
        assert_eq!(runs[0]["state"], "succeeded", "{runs:?}");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut service = Service::start(path, &["--env", "production"]);
    let_work_last(path, "1", Duration::from_hours(1));
    service
        .add(r#"{"task_id":1,"run_time":"2020-8-12 12:03:00","trigger_type":"date"}"#)
        .ok();
    wait_for("the run to start", || {
        service.log().contains("tasks: task1").then_some(())
    });
    service.signal("TERM");
    wait_for("the drain", || {
        service
            .log()
            .contains("a second signal ends at once")
            .then_some(())
    });
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    assert!(
        service.log().contains("ending at once"),
        "{}",
        service.log()
    );
}

#[test]
fn a_signal_ends_a_start_that_waits_for_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("redis://{}", silent.local_addr().unwrap());
    let mut starting = Starting::spawn(folder.path(), &["--store", &store]);
    let _connection = silent.accept().unwrap();
    starting.signal("TERM");
    assert_eq!(starting.exit_code(), Some(0));
}

/// The disk is full, or whoever reads the log is gone.
#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let starting = Starting::spawn_with_log(folder.path(), &[], "/dev/full".into());
    let mut service = starting.ready();
    service
        .add(r#"{"task_id":1,"run_time":"2020-8-12 12:03:00","trigger_type":"date"}"#)
        .ok();
    let state = wait_for("the run", || {
        let runs = service.runs("1");
        let state = runs.first()?["state"].as_str()?.to_owned();
        (state != "pending" && state != "running").then_some(state)
    });
    assert_eq!(state, "succeeded");
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
}
