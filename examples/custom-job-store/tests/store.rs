//! The suite of all job stores, over two stores that are audited; and what the trail says.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use custom_job_store::AuditedStore;
use punctual::clock::SimClock;
use punctual::prelude::*;
use punctual::store::{BoxFuture, StoreResult};
use punctual::testing::{START, TestScheduler};
use punctual::zones::Zones;
use punctual_conformance::{FreshStore, Place};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Opens the store that is audited.
type Below = fn(&Path, &SimClock) -> Arc<dyn JobStore>;

struct Audited(Below);

impl FreshStore for Audited {
    fn fresh(&self) -> Box<dyn Place> {
        Box::new(Folder(tempfile::tempdir().unwrap(), self.0))
    }
}

struct Folder(TempDir, Below);

impl Place for Folder {
    fn open(&self, clock: &SimClock) -> BoxFuture<'_, StoreResult<Arc<dyn JobStore>>> {
        let Self(folder, below) = self;
        let store = below(folder.path(), clock);
        let audited = AuditedStore::new(store, folder.path().join("audit.jsonl")).unwrap();
        Box::pin(async { Ok(Arc::new(audited) as Arc<dyn JobStore>) })
    }
}

fn memory(_: &Path, clock: &SimClock) -> Arc<dyn JobStore> {
    Arc::new(MemoryStore::new(Arc::new(clock.clone())))
}

fn sqlite(folder: &Path, clock: &SimClock) -> Arc<dyn JobStore> {
    let options = SqliteOptions::new(Arc::new(clock.clone()), Zones::system());
    Arc::new(SqliteStore::open(folder.join("jobs.db"), options).unwrap())
}

mod over_memory {
    punctual_conformance::job_store_suite!(super::Audited(super::memory));
}

mod over_sqlite {
    punctual_conformance::job_store_suite!(super::Audited(super::sqlite));
}

#[task]
async fn report() {}

/// A scheduler on an audited store.
fn on_trail(trail: &Path) -> TestScheduler {
    let clock = SimClock::new(START.parse().unwrap());
    let store = AuditedStore::new(memory(Path::new(""), &clock), trail).unwrap();
    let builder = Scheduler::builder().register::<report>().unwrap();
    let builder = builder.job_store("default", Arc::new(store));
    TestScheduler::start_on(builder, clock).unwrap()
}

#[test]
fn the_trail_says_who_asked_for_what_and_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let test = on_trail(&path);
    let (jobs, id) = (test.blocking(), JobId::new("nightly").unwrap());
    let job = || test.add(report()).id("nightly").cron("hour=3");
    job().wait().unwrap();
    job().wait().unwrap_err();
    test.advance(std::time::Duration::from_hours(24)); // a run is no change
    let request = PauseRequest {
        by: Some("ann".to_owned()),
        ..PauseRequest::default()
    };
    jobs.pause_job(&id, request).unwrap();
    jobs.remove_job(&id).unwrap();
    jobs.pause().unwrap();

    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| line.parse().unwrap()).collect();
    let paused = json!({ "paused": true, "at": "2026-01-02T00:00:00Z" });
    let told = |line: &Value| match line["asked"]["add"][0]["id"].as_str() {
        Some(id) => json!(["add", id]),
        None => match &line["answer"]["job"] {
            Value::Null => json!([line["asked"], line["answer"]]),
            job => json!([job["id"]]),
        },
    };
    assert_eq!(
        lines.iter().map(told).collect::<Vec<_>>(),
        [
            json!(["add", "nightly"]),
            json!([null, ["added"]]),
            json!(["add", "nightly"]),
            json!([null, ["refused: the id is taken"]]),
            json!([{ "pause": "nightly", "by": "ann", "note": null, "until": null }, null]),
            json!(["nightly"]),
            json!([{ "remove": "nightly" }, null]),
            json!(["nightly"]),
            json!([{ "put": ["scheduler", "paused"], "value": paused }, null]),
            json!([null, true]),
        ]
    );
    assert_eq!(lines[4]["at"], "2026-01-02T00:00:00Z");
    assert_eq!(
        lines[7]["answer"]["job"]["definition"]["trigger"]["hour"],
        "3"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_down_is_not_done() {
    let test = on_trail(Path::new("/dev/full"));
    let refused = test.add(report()).id("nightly").cron("hour=3").wait();
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("No space left on device"), "{refused}");
    assert!(test.blocking().get_jobs().unwrap().is_empty());
}

#[test]
fn the_program_shows_its_trail() {
    let output = Command::new(env!("CARGO_BIN_EXE_custom-job-store")).output();
    let output = output.expect("it was built");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said.lines().filter(|line| line.contains("asked")).count(),
        4,
        "{said}"
    );
    assert_eq!(
        said.lines().filter(|line| line.contains("answer")).count(),
        4,
        "{said}"
    );
    let (_, left) = said.rsplit_once("left in ").unwrap();
    std::fs::remove_file(left.trim()).unwrap();
}
