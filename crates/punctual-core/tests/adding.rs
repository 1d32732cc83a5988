//! Adding jobs by a sentence, and closures, on a simulated clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use punctual_core::memory::MemoryStore;
use punctual_core::plan::{OnConflict, PauseRequest};
use punctual_core::run::RunState;
use punctual_core::scheduler::{Error, JobUpdate, NewJob, Scheduler};
use punctual_core::task::{Args, RunContext};
use punctual_core::testing::TestScheduler;

const MINUTE: Duration = Duration::from_mins(1);

async fn report(Args(_): Args<(String,)>) {}

fn bench() -> TestScheduler {
    let builder = Scheduler::builder().task("report", report).unwrap();
    TestScheduler::start(builder).unwrap()
}

fn weekly() -> NewJob {
    NewJob::new("report").arg("weekly")
}

#[test]
fn a_sentence_says_what_and_when() {
    let test = bench();
    let added = test
        .add(weekly())
        .id("weekly")
        .name("The weekly report")
        .cron("day_of_week=mon-fri hour=9 minute=30")
        .timezone("Europe/Paris")
        .tag("reports")
        .max_instances(2)
        .wait()
        .unwrap();
    let job = added.job;
    assert_eq!(job.definition.name(), "The weekly report");
    assert_eq!(job.definition.policy.max_instances, 2);
    let next = job.next_run_time().unwrap();
    assert_eq!(next.to_string(), "2026-01-01T08:30:00Z");

    let next = |added: Result<punctual_core::scheduler::AddedJob, Error>| {
        added.unwrap().job.next_run_time().unwrap().to_string()
    };
    let crontab = test.add(weekly()).crontab("0 12 * * 1").wait();
    assert_eq!(next(crontab), "2026-01-05T12:00:00Z");
    let every = test.add(weekly()).every(MINUTE).wait();
    assert_eq!(next(every), "2026-01-01T00:01:00Z");
    // The zone may come first.
    let at = test
        .add(weekly())
        .timezone("America/New_York")
        .at("2026-2-3 04:05:06");
    assert_eq!(next(at.wait()), "2026-02-03T09:05:06Z");
    let now = test.now() + MINUTE;
    assert_eq!(next(test.add(weekly()).at(now).wait()), now.to_string());
    // Nothing said: once, now.
    assert_eq!(next(test.add(weekly()).wait()), "2026-01-01T00:00:00Z");
}

#[test]
fn what_does_not_fit_is_said_when_it_is_added() {
    let test = bench();
    for (job, field, word) in [
        (test.add(weekly()).cron("hour=25"), "trigger.hour", "25"),
        (
            test.add(weekly()).cron("hour=3").every(MINUTE),
            "trigger",
            "cron and every both say when",
        ),
        (
            test.add(weekly()).timezone("Europe/Paris"),
            "timezone",
            "goes with a schedule",
        ),
        (
            test.add(weekly()).every(MINUTE).timezone("Europe/Pariss"),
            "trigger.timezone",
            "Europe/Pariss",
        ),
        (
            test.add(NewJob::new("report").arg(7)).every(MINUTE),
            "args[0]",
            "string",
        ),
        (
            test.add(NewJob::new("reprot")).every(MINUTE),
            "task",
            "did you mean report?",
        ),
        (
            test.add(NewJob::new("punctual:closure").arg(1)),
            "task",
            "reserved",
        ),
        (
            test.add(weekly()).job_store("elsewhere"),
            "jobstore",
            "elsewhere",
        ),
    ] {
        let error = job.wait().unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    assert!(test.blocking().get_jobs().unwrap().is_empty());
}

#[test]
fn a_closure_runs_and_is_gone_with_its_job() {
    let test = bench();
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let added = test
        .add_local(move |run: RunContext| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { run.log("counted") }
        })
        .id("count")
        .every(MINUTE)
        .wait()
        .unwrap();
    test.advance(3 * MINUTE);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let run = &test.runs_of("count")[0];
    assert_eq!(run.output.as_deref(), Some("counted\n"));
    let id = added.job.id();
    test.blocking()
        .pause_job(id, PauseRequest::default())
        .unwrap();
    test.advance(3 * MINUTE);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    test.blocking().remove_job(id).unwrap();
    drop(added);
    // What it captured goes when others come: a program may add closures for ever.
    for _ in 0..200 {
        test.add_local(async || ()).wait().unwrap();
        test.settle();
    }
    assert_eq!(Arc::strong_count(&calls), 1);
}

#[test]
fn a_closure_may_be_replaced_and_may_block() {
    let test = bench();
    let calls = Arc::new(AtomicU32::new(0));
    for by in [1, 100] {
        let calls = Arc::clone(&calls);
        let add = move || {
            calls.fetch_add(by, Ordering::SeqCst);
        };
        let job = test.add_local_blocking(add).id("count").every(MINUTE);
        job.replace_existing().wait().unwrap();
        test.advance(MINUTE);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 101);
    // One that is refused changes nothing.
    let refused = test.add_local(async || ()).id("count").every(MINUTE);
    assert!(matches!(refused.wait(), Err(Error::Exists { .. })));
    test.advance(MINUTE);
    assert_eq!(calls.load(Ordering::SeqCst), 201);
}

#[test]
fn closures_may_be_added_from_many_threads() {
    for _ in 0..10 {
        let test = bench();
        let calls = Arc::new(AtomicU32::new(0));
        let scheduler = test.blocking();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let calls = Arc::clone(&calls);
                        let count = move || {
                            calls.fetch_add(1, Ordering::SeqCst);
                            async {}
                        };
                        scheduler.add_local(count).wait().unwrap();
                    }
                });
            }
        });
        test.advance(MINUTE);
        assert_eq!(calls.load(Ordering::SeqCst), 800);
    }
}

#[test]
fn closures_stay_out_of_job_stores() {
    let store = Arc::new(MemoryStore::new(Arc::new(
        punctual_core::clock::SystemClock,
    )));
    let reserved = Scheduler::builder().job_store("punctual:local", store.clone());
    let error = TestScheduler::start(reserved).unwrap_err();
    assert!(error.to_string().contains("reserved"), "{error}");

    let test = bench();
    let error = test.add_jobstore("punctual:mine", store).unwrap_err();
    assert!(error.to_string().contains("reserved"), "{error}");
    let takes_args = test.add_local(|Args(_): Args<u32>| async {});
    let error = takes_args.wait().unwrap_err();
    assert!(error.to_string().contains("capture"), "{error}");
    let unknown = test.add_local(async || ()).executor("nobody");
    let error = unknown.wait().unwrap_err();
    assert!(error.to_string().contains("nobody"), "{error}");
    let stays = test.add(weekly()).job_store("punctual:local").wait();
    assert_eq!(stays.unwrap_err().field(), Some("jobstore"));
    let error = test.blocking().remove_jobstore("punctual:local");
    assert!(error.unwrap_err().to_string().contains("reserved"));
    // Nor can one job be made to call the closure of another, or none.
    let closure = test
        .add_local(async || ())
        .every(MINUTE)
        .wait()
        .unwrap()
        .job;
    for change in [
        JobUpdate::new().args(vec![1.into()]),
        JobUpdate::new().call(weekly()),
    ] {
        let error = test.blocking().modify_job(closure.id(), change);
        assert_eq!(error.unwrap_err().field(), Some("task"));
    }
    let renamed = JobUpdate::new().name("renamed");
    test.blocking().modify_job(closure.id(), renamed).unwrap();
    // A stored job cannot be made to call one.
    let id = test.add(weekly()).every(MINUTE).wait().unwrap().job;
    let change = JobUpdate::new()
        .task("punctual:closure")
        .allow_unknown_task();
    let error = test.blocking().modify_job(id.id(), change).unwrap_err();
    assert_eq!(error.field(), Some("task"), "{error}");
}

#[test]
fn a_task_without_arguments_takes_none() {
    let builder = Scheduler::builder().task("idle", async || ()).unwrap();
    let test = TestScheduler::start(builder).unwrap();
    let error = test.add(NewJob::new("idle").arg(1)).wait().unwrap_err();
    assert_eq!(error.field(), Some("args"), "{error}");
    let kwargs = serde_json::Map::from_iter([("days".to_owned(), 3.into())]);
    let error = test.add(NewJob::new("idle")).kwargs(kwargs).wait();
    assert_eq!(error.unwrap_err().field(), Some("kwargs"));
}

#[test]
fn a_job_may_be_given_another_call_but_no_executor_that_is_not_there() {
    let test = bench();
    let job = test.add(weekly()).every(MINUTE).wait().unwrap().job;
    let change = |update| test.blocking().modify_job(job.id(), update);
    let call = NewJob::new("report").arg("monthly");
    let changed = change(JobUpdate::new().call(call)).unwrap().unwrap();
    assert_eq!(changed.definition.args.args, ["monthly"]);
    let call = NewJob::new("report").arg(7);
    let error = change(JobUpdate::new().call(call)).unwrap_err();
    assert_eq!(error.field(), Some("args[0]"), "{error}");
    let error = change(JobUpdate::new().executor("nobody")).unwrap_err();
    assert!(matches!(error, Error::UnknownExecutor { .. }), "{error}");
}

#[test]
fn closures_are_not_exported_and_not_imported() {
    let test = bench();
    test.add_local(async || ()).every(MINUTE).wait().unwrap();
    test.add(weekly())
        .id("weekly")
        .every(MINUTE)
        .wait()
        .unwrap();
    let handle = test.blocking();
    let mut export = handle.export_jobs(None).unwrap();
    assert_eq!(export["jobs"].as_array().unwrap().len(), 1);
    export["jobs"][0]["task"] = "punctual:closure".into();
    let error = handle.import_jobs(&export, None, OnConflict::Replace);
    assert_eq!(error.unwrap_err().field(), Some("jobs[0].task"));
}

#[test]
fn a_simulated_day_passes_in_a_blink() {
    async fn nap(run: RunContext) {
        run.sleep(Duration::from_secs(30)).await;
    }
    let builder = Scheduler::builder()
        .task("nap", nap)
        .unwrap()
        .blocking_task("note", |run: RunContext| run.log("noted"))
        .unwrap();
    let test = TestScheduler::start(builder).unwrap();
    test.add(NewJob::new("nap"))
        .id("nap")
        .every(MINUTE)
        .wait()
        .unwrap();
    test.add(NewJob::new("note"))
        .id("note")
        .cron("second=*/5")
        .wait()
        .unwrap();
    test.advance(Duration::from_hours(24));
    let naps = test.runs_of("nap");
    assert_eq!(naps.len(), 24 * 60);
    assert!(
        naps.iter()
            .rev()
            .skip(1)
            .all(|run| run.state() == RunState::Succeeded)
    );
    let first = &naps[0];
    let took = first
        .finished_at
        .unwrap()
        .duration_since(first.started_at.unwrap());
    assert_eq!(took.as_secs(), 30);
    // Every one is seen, also beyond what the ledger keeps in production.
    assert_eq!(test.runs_of("note").len(), 24 * 3600 / 5 + 1);
}
