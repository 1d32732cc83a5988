//! The tutorial's walk, with exactly its bodies, on a file and on a server.

use std::path::Path;

use serde_json::{Value, json};

use crate::place::Place;
use crate::support::{Service, wait_for};

const DATE: &str = r#"{"task_id":"2","run_time":"2020-8-12 12:03:00","trigger_type":"date"}"#;
const INTERVAL: &str = r#"{"task_id":"5","interval_time":10,"trigger_type":"interval"}"#;
const INTERVAL_TEXT: &str = r#"{"task_id":"5","interval_time":"10","trigger_type":"interval"}"#;
const CRON: &str = r#"{"task_id":"5","run_time":{"day_of_week":"2","hour":"16","minute":"19","second":"00"},"trigger_type":"cron"}"#;
const EVERY_SECOND: &str = r#"{"task_id":"5","interval_time":1,"trigger_type":"interval"}"#;

fn start(folder: &Path, place: &Place) -> Service {
    let settings = place.write(folder, "");
    Service::start(folder, &["--settings", settings.to_str().unwrap()])
}

/// Waits for so many runs that have succeeded.
fn succeeded(service: &Service, id: &str, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} runs of {id}"), || {
        let runs = service.runs(id);
        let done = |run: &&Value| run["state"] == "succeeded";
        (runs.iter().filter(done).count() >= count).then_some(runs)
    })
}

fn walk(place: &Place) {
    let folder = tempfile::tempdir().unwrap();
    let service = start(folder.path(), place);
    assert_eq!(service.ask("GET", "/jobs").ok(), json!([]));

    // A date in the past: the job runs late, at once, and is gone; its ledger is not.
    let msg = service.add(DATE).ok()["msg"].as_str().unwrap().to_owned();
    assert!(msg.contains("job 2 added"), "{msg}");
    assert!(msg.contains("run_time 2020-08-12T"), "{msg}");
    assert!(msg.contains("has passed; the job runs now"), "{msg}");
    let runs = succeeded(&service, "2", 1);
    assert_eq!(runs.len(), 1);
    let output = runs[0]["output"].as_str().unwrap();
    assert!(output.starts_with("hello from task 2"), "{output}");
    wait_for("job 2 to be gone", || {
        (service.ask("GET", "/jobs/2").status == 404).then_some(())
    });

    for body in [INTERVAL, INTERVAL_TEXT] {
        let msg = service.add(body).ok()["msg"].as_str().unwrap().to_owned();
        assert!(msg.contains("every 10 seconds; next run at "), "{msg}");
        let job = service.ask("GET", "/jobs/5").ok();
        assert_eq!(
            (&job["trigger"], &job["seconds"]),
            (&json!("interval"), &json!(10))
        );
        assert_eq!(
            (&job["coalesce"], &job["executor"]),
            (&json!(true), &json!("default"))
        );
        assert_eq!(
            (&job["func"], &job["args"]),
            (&json!("task1"), &json!(["5"]))
        );
    }

    let msg = service.add(CRON).ok()["msg"].as_str().unwrap().to_owned();
    assert!(
        msg.contains("job 5 replaced: at 16:19 on Wednesday"),
        "{msg}"
    );
    let jobs = service.ask("GET", "/jobs").ok();
    let job = &jobs[0];
    assert_eq!(jobs.as_array().unwrap().len(), 1);
    assert_eq!(job["trigger"], "cron");
    let fields = ["day_of_week", "hour", "minute"].map(|field| job[field].as_str().unwrap());
    assert_eq!(fields, ["2", "16", "19"]);

    // Paused and replaced, it goes on.
    let paused = service.ask("GET", "/5/pause").ok();
    assert_eq!(paused["status"], true);
    assert!(paused["msg"].as_str().unwrap().contains("job 5 paused"));
    let job = service.ask("GET", "/jobs/5").ok();
    assert!(job["paused"].is_object() && job["next_run_time"].is_null());
    assert!(service.ask("POST", "/5/pause").ok()["status"] == true);
    service.add(EVERY_SECOND).ok();
    assert!(service.ask("GET", "/jobs/5").ok()["paused"].is_null());
    succeeded(&service, "5", 1);

    // Paused and replaced by a date that has passed, it runs.
    service.ask("GET", "/5/pause").ok();
    let before = service.runs("5").len();
    service.add(&DATE.replace("\"2\"", "\"5\"")).ok();
    succeeded(&service, "5", before + 1);

    service.add(EVERY_SECOND).ok();
    service.ask("POST", "/5/pause").ok();
    let resumed = service.ask("GET", "/5/resume").ok();
    assert_eq!(resumed["status"], true, "{resumed}");
    let count = succeeded(&service, "5", before + 2).len();
    assert_eq!(service.ask("GET", "/5/remove").ok()["status"], true);
    assert_eq!(service.ask("GET", "/jobs").ok(), json!([]));
    let newest = service.ask("GET", "/jobs/5/runs?limit=1").ok();
    assert_eq!(newest.as_array().unwrap().len(), 1);
    let all = service.ask("GET", "/jobs/5/runs").ok();
    assert!(all.as_array().unwrap().len() >= count);
    assert_eq!(all[0], newest[0], "the newest first");

    for path in ["/5/pause", "/5/resume", "/5/remove"] {
        let answer = service.ask("POST", path);
        assert_eq!(answer.status, 404);
        assert_eq!(answer.body["status"], false);
        assert_eq!(
            answer.msg(),
            "there is no job \"5\"; GET /jobs lists those there are"
        );
    }
}

#[test]
fn on_sqlite() {
    walk(&Place::sqlite());
}

#[test]
fn on_mysql() {
    if let Some(place) = Place::mysql() {
        walk(&place);
    }
}

/// Ids of any kind; the slash is written `%2F`.
#[test]
fn any_id_can_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(folder.path(), &Place::sqlite());
    for (id, path) in [
        ("a/b", "a%2Fb"),
        ("50%", "50%25"),
        ("ü ", "%C3%BC%20"),
        ("a%2Fb", "a%252Fb"),
    ] {
        let body = json!({"task_id": id, "trigger_type": "interval", "interval_time": 60});
        service.add(&body.to_string()).ok();
        let job = service.ask("GET", &format!("/jobs/{path}")).ok();
        assert_eq!(job["id"], id);
        let removed = service.ask("GET", &format!("/{path}/remove")).ok();
        assert_eq!(removed["status"], true);
    }
    for (path, status) in [
        ("/a/b/remove", 404),
        ("/%zz/remove", 404),
        ("/%/remove", 404),
        ("/%ff/remove", 400),
        ("/%00/remove", 404),
        ("//remove", 404),
        ("/jobs/%ff/runs", 400),
        ("/jobs/never/runs", 404),
        ("/jobs/never/runs?limit=0", 400),
        ("/jobs/never/runs?limt=1", 400),
        ("/", 404),
    ] {
        let answer = service.ask("GET", path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.msg().is_empty(), "{path}: {answer:?}");
    }
    let long = format!("/{}/remove", "x".repeat(1000));
    assert_eq!(service.ask("GET", &long).status, 404);
}

/// What is wrong with a body is said in the answer; the table of all cases is `body/tests.rs`.
#[test]
fn bad_bodies_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(folder.path(), &Place::sqlite());
    service.add(INTERVAL).ok();
    let huge = format!("{{\"task_id\":\"{}\"}}", "x".repeat(70_000));
    for (body, status, words) in [
        ("", 400, "the body is empty"),
        ("task_id=5&interval_time=10", 400, "not JSON"),
        (
            r#"{"task_id":"5","interval_time":0,"trigger_type":"interval"}"#,
            422,
            "interval_time: 0 is not above 0",
        ),
        (
            r#"{"task_id":"5","interval_time":"-1","trigger_type":"interval"}"#,
            422,
            "interval_time: \"-1\" is not above 0",
        ),
        (
            r#"{"task_id":"5","interval":10,"trigger_type":"interval"}"#,
            422,
            "interval: unknown key; did you mean \"interval_time\"?",
        ),
        (
            r#"{"task_id":"5","run_time":{"hour":"24"},"trigger_type":"cron"}"#,
            422,
            "run_time.hour: ",
        ),
        (
            r#"{"task_id":"5","run_time":{"year":"2001"},"trigger_type":"cron"}"#,
            422,
            "would never run",
        ),
        (
            r#"{"task_id":"5","run_time":"12:03","trigger_type":"date"}"#,
            422,
            "run_time: ",
        ),
        (&huge, 413, "at most 65536 bytes"),
    ] {
        let answer = service.add(body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.msg().contains(words), "{body}: {answer:?}");
    }
    let job = service.ask("GET", "/jobs/5").ok();
    assert_eq!(
        (&job["revision"], &job["seconds"]),
        (&json!(1), &json!(10)),
        "{job}"
    );
}
