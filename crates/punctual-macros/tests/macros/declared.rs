//! Jobs that the code declares.

use std::sync::Arc;
use std::time::Duration;

use punctual::clock::SimClock;
use punctual::job::StoredJob;
use punctual::prelude::*;
use punctual::task::TaskFunction;
use punctual::testing::TestScheduler;
use serde_json::json;

#[task(
    cron = "hour=3 minute=30",
    timezone = "Europe/Paris",
    id = "nightly",
    args(days = 30, note = "all")
)]
async fn cleanup(
    days: u32,
    #[default = 10] limit: u32,
    note: Option<String>,
    run: RunContext,
) -> Result<(), String> {
    run.log(&format!("{days} {limit} {note:?}"));
    Ok(())
}

#[task(crontab = "0 9 * * 1-5", args(type = "mail"))]
fn remind(r#type: String) {
    drop(r#type);
}

#[task(every = "1h30m")]
async fn poll(#[default = "all"] what: String) -> Result<String, String> {
    Ok(what)
}

#[task(
    name = "party",
    at = "2026-12-24 18:00:00",
    timezone = "America/New_York"
)]
async fn celebrate() {}

#[task(
    every = "1h",
    misfire_grace_time = None,
    coalesce = Coalesce::Off,
    max_instances = 2,
    overlap = Overlap::QueueOne,
    retry = Retry::fixed(2, Duration::from_mins(1)),
    timeout = Duration::from_secs(30),
    on_crash = OnCrash::GiveUp,
    executor = "few",
    job_store = "reports",
    tag = "heavy",
    tag = "monthly",
)]
async fn report() -> Result<(), String> {
    Err("no paper".to_owned())
}

#[task]
async fn plain() {}

#[test]
fn are_added_when_the_scheduler_is_built() {
    let builder = Scheduler::builder()
        .register::<cleanup>()
        .and_then(SchedulerBuilder::register::<remind>)
        .and_then(SchedulerBuilder::register::<poll>)
        .and_then(SchedulerBuilder::register::<celebrate>)
        .and_then(SchedulerBuilder::register::<plain>);
    let scheduler = TestScheduler::start(builder.unwrap()).unwrap();
    let jobs = scheduler.run({
        let scheduler = (*scheduler).clone();
        async move { scheduler.get_jobs().await }
    });
    let mut jobs: Vec<_> = jobs
        .unwrap()
        .iter()
        .map(|located| {
            let StoredJob::Job(job) = &located.job else {
                panic!("it can be read")
            };
            let definition = &job.definition;
            (
                definition.id.to_string(),
                definition.task.to_string(),
                definition.trigger.describe(),
                json!(definition.args),
            )
        })
        .collect();
    jobs.sort_by(|a, b| a.0.cmp(&b.0));
    let job = |id: &str, task: &str, when: &str, args| {
        (id.to_owned(), task.to_owned(), when.to_owned(), args)
    };
    assert_eq!(
        jobs,
        [
            job(
                "nightly",
                "cleanup",
                "at 03:30, Europe/Paris",
                json!({"kwargs": {"days": 30, "note": "all"}})
            ),
            job(
                "party",
                "party",
                "once, at 2026-12-24 18:00:00, America/New_York",
                json!({})
            ),
            job(
                "poll",
                "poll",
                "every 1 hour and 30 minutes, from 2026-01-01 01:30:00+00:00, UTC",
                json!({})
            ),
            job(
                "remind",
                "remind",
                "at 09:00 on Monday to Friday, UTC",
                json!({"kwargs": {"type": "mail"}})
            ),
        ]
    );

    scheduler.advance(Duration::from_hours(3));
    let outputs: Vec<_> = scheduler.runs().into_iter().map(|run| run.output).collect();
    let output = |text: &str| Some(text.to_owned());
    assert_eq!(
        outputs,
        [
            output("\"all\"\n"),
            output("30 10 Some(\"all\")\n"),
            output("\"all\"\n")
        ]
    );
}

#[test]
fn are_declared_by_a_schedule_alone() {
    assert!(plain::declared_job().is_none());
    let job = format!("{:?}", remind::declared_job().unwrap());
    assert!(job.contains("on_conflict: Replace"), "{job}");
}

/// A program that has worker processes gives its registry to both.
#[test]
fn come_with_a_registry() {
    let mut tasks = Registry::new();
    tasks.register::<poll>().unwrap();
    let scheduler = TestScheduler::start(Scheduler::builder().registry(tasks)).unwrap();
    scheduler.advance(Duration::from_hours(2));
    assert_eq!(scheduler.runs_of("poll").len(), 1);
}

#[test]
fn have_what_their_keys_say() {
    let clock = SimClock::new(punctual::testing::START.parse().unwrap());
    let builder = Scheduler::builder()
        .job_store("reports", Arc::new(MemoryStore::new(Arc::new(clock))))
        .executor("few", Arc::new(AsyncExecutor::new(1)))
        .register::<report>();
    let scheduler = TestScheduler::start(builder.unwrap()).unwrap();
    let found = scheduler.run({
        let scheduler = (*scheduler).clone();
        async move { scheduler.get_job(&JobId::new("report").unwrap()).await }
    });
    let found = found.unwrap().unwrap();
    assert_eq!(&*found.job_store, "reports");
    let definition = found.job.into_job().unwrap().definition;
    assert_eq!(definition.executor.as_str(), "few");
    assert_eq!(definition.tags, ["heavy".into(), "monthly".into()].into());
    let policy = &definition.policy;
    assert_eq!(policy.misfire_grace_time, None);
    assert_eq!(policy.coalesce, Coalesce::Off);
    assert_eq!(policy.max_instances, 2);
    assert_eq!(policy.overlap, Overlap::QueueOne);
    assert_eq!(policy.retry, Some(Retry::fixed(2, Duration::from_mins(1))));
    assert_eq!(policy.timeout, Some(Duration::from_secs(30)));
    assert_eq!(policy.on_crash, OnCrash::GiveUp);
}
