//! Jobs that a program's code declares, over several of its releases.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use punctual_core::clock::{Clock, SimClock};
use punctual_core::id::JobId;
use punctual_core::job::{Job, JobArgs};
use punctual_core::memory::MemoryStore;
use punctual_core::plan::PauseRequest;
use punctual_core::scheduler::{Error, NewJob, Scheduler, SchedulerBuilder, StaleJobs};
use punctual_core::store::JobStore;
use punctual_core::task::{RegisterError, Registry, TaskFunction};
use punctual_core::testing::TestScheduler;
use punctual_trigger::Trigger;

/// As `#[task(every = "10s")]` writes it.
macro_rules! declared {
    ($name:ident, $text:literal, $seconds:literal) => {
        struct $name;
        impl TaskFunction for $name {
            const NAME: &'static str = $text;
            fn register(registry: &mut Registry) -> Result<(), RegisterError> {
                registry.add($text, async || ())
            }
            fn into_args(self) -> Result<JobArgs, serde_json::Error> {
                Ok(JobArgs::default())
            }
            fn declared_job() -> Option<NewJob> {
                let trigger = Trigger::interval(Duration::from_secs($seconds)).unwrap();
                let job = NewJob::new($text).id($text).trigger(trigger);
                Some(job.replace_existing())
            }
        }
    };
}

declared!(Clean, "clean", 600);
declared!(Report, "report", 3600);
// The next release wants it more often.
declared!(CleanOften, "clean", 60);

/// The job store of a program that is stopped and started.
struct World {
    clock: SimClock,
    store: Arc<dyn JobStore>,
}

impl World {
    fn new() -> Self {
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Self { clock, store }
    }

    fn release(&self, adjust: impl FnOnce(SchedulerBuilder) -> SchedulerBuilder) -> TestScheduler {
        let builder = Scheduler::builder()
            .application("billing")
            .job_store("default", Arc::clone(&self.store));
        TestScheduler::start_on(adjust(builder), self.clock.clone()).unwrap()
    }

    fn job(&self, id: &str) -> Option<Job> {
        let id = JobId::new(id).unwrap();
        let job = async_io::block_on(self.store.get(&id)).unwrap()?;
        job.into_job()
    }

    fn next(&self, id: &str) -> Option<Timestamp> {
        self.job(id)?.next_run_time()
    }
}

fn both(builder: SchedulerBuilder) -> SchedulerBuilder {
    builder
        .register::<Clean>()
        .unwrap()
        .register::<Report>()
        .unwrap()
}

#[test]
fn an_unchanged_job_keeps_its_phase_and_its_pause() {
    let world = World::new();
    let first = world.release(both);
    first.advance(Duration::from_secs(700));
    let report = JobId::new("report").unwrap();
    first
        .blocking()
        .pause_job(&report, PauseRequest::default())
        .unwrap();
    let next = world.next("clean").unwrap();
    drop(first);
    world.clock.advance(Duration::from_mins(1));
    let second = world.release(both);
    assert_eq!(world.next("clean"), Some(next), "not a fresh interval");
    assert!(world.job("report").unwrap().state.paused.is_some());
    assert!(second.stale_jobs().is_empty());
    drop(second);
    // A changed schedule starts from now.
    let third = world.release(|builder| builder.register::<CleanOften>().unwrap());
    let minute = Duration::from_mins(1);
    assert_eq!(world.next("clean"), Some(world.clock.now() + minute));
    drop(third);
}

#[test]
fn what_is_declared_no_longer_is_reported_until_it_is_gone() {
    let world = World::new();
    drop(world.release(both));
    let names = |test: &TestScheduler| {
        test.stale_jobs()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    for _ in 0..2 {
        let test = world.release(|builder| builder.register::<Clean>().unwrap());
        assert_eq!(names(&test), ["report"]);
        assert!(world.job("report").is_some(), "it goes on");
    }
    let test = world.release(|builder| builder.register::<Clean>().unwrap());
    test.blocking()
        .remove_job(&JobId::new("report").unwrap())
        .unwrap();
    drop(test);
    let test = world.release(|builder| builder.register::<Clean>().unwrap());
    assert!(names(&test).is_empty());
    drop(test);
    // One that is declared again is as good as any.
    drop(world.release(both));
    assert!(world.job("report").is_some());
}

#[test]
fn what_is_declared_no_longer_is_pruned_on_request() {
    let world = World::new();
    let first = world.release(both);
    // Only what the code declared: a job that somebody added is none of it.
    first
        .add(NewJob::new("report"))
        .id("added")
        .every(Duration::from_hours(1))
        .wait()
        .unwrap();
    drop(first);
    let other =
        world.release(|builder| builder.application("shipping").stale_jobs(StaleJobs::Prune));
    assert!(world.job("report").is_some(), "that is another program's");
    drop(other);
    let second = world.release(|builder| {
        builder
            .stale_jobs(StaleJobs::Prune)
            .register::<Clean>()
            .unwrap()
    });
    assert!(world.job("report").is_none());
    assert!(world.job("added").is_some());
    assert!(world.job("clean").is_some());
    assert!(second.stale_jobs().is_empty());
}

#[test]
fn two_declarations_of_one_id_are_refused() {
    let builder = Scheduler::builder().register::<Clean>().unwrap();
    assert!(matches!(
        builder.register::<CleanOften>(),
        Err(RegisterError::Taken(_))
    ));
    let trigger = Trigger::interval(Duration::from_secs(5)).unwrap();
    let builder = Scheduler::builder()
        .scheduled_job("report", trigger, async || ())
        .unwrap();
    struct Twice;
    impl TaskFunction for Twice {
        const NAME: &'static str = "twice";
        fn register(registry: &mut Registry) -> Result<(), RegisterError> {
            registry.add("twice", async || ())
        }
        fn into_args(self) -> Result<JobArgs, serde_json::Error> {
            Ok(JobArgs::default())
        }
        fn declared_job() -> Option<NewJob> {
            Some(NewJob::new("twice").id("report"))
        }
    }
    let error = TestScheduler::start(builder.register::<Twice>().unwrap()).unwrap_err();
    assert!(
        matches!(&error, Error::Invalid { field, .. } if field == "id"),
        "{error}"
    );
}

/// A date of the code is one date, and not a date at every start.
#[test]
fn what_was_declared_for_a_moment_runs_once() {
    let world = World::new();
    let release = || {
        let at = Trigger::date("2026-01-01T00:10:00Z".parse().unwrap());
        world.release(|builder| builder.scheduled_job("once", at, async || ()).unwrap())
    };
    drop(release());
    world.clock.advance(Duration::from_hours(1));
    // It was stored in time, and is late.
    let late = release();
    late.settle();
    assert_eq!(late.runs_of("once").len(), 1);
    drop(late);
    let again = release();
    again.settle();
    assert_eq!(again.runs_of("once").len(), 1);
    assert!(world.job("once").is_none());
}

#[test]
fn what_is_over_keeps_no_program_from_starting() {
    let world = World::new();
    let over = Trigger::cron().year(2025).build().unwrap();
    let release = |builder: SchedulerBuilder| {
        let builder = builder.scheduled_job("over", over, async || ()).unwrap();
        both(builder)
    };
    drop(world.release(release));
    assert!(world.job("over").is_none());
    assert!(world.job("clean").is_some());
}
