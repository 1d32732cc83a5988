//! Testing programs that schedule jobs: a scheduler on a simulated clock, whose days pass in a blink.
//!
//! ```
//! use std::time::Duration;
//!
//! use punctual_core::run::RunState;
//! use punctual_core::scheduler::{NewJob, Scheduler};
//! use punctual_core::task::RunContext;
//! use punctual_core::testing::TestScheduler;
//!
//! async fn report(run: RunContext) -> Result<(), String> {
//!     run.sleep(Duration::from_secs(90)).await; // simulated, too
//!     Ok(())
//! }
//!
//! let builder = Scheduler::builder().task("report", report)?;
//! let test = TestScheduler::start(builder)?;
//! test.add(NewJob::new("report")).id("nightly").cron("hour=3").timezone("Europe/Paris").wait()?;
//! test.advance(Duration::from_hours(24));
//!
//! let runs = test.runs();
//! assert_eq!(runs.len(), 1);
//! assert_eq!(runs[0].scheduled_at.to_string(), "2026-01-01T02:00:00Z");
//! assert_eq!(runs[0].state(), RunState::Succeeded);
//! assert_eq!(runs[0].finished_at.unwrap().to_string(), "2026-01-01T02:01:30Z");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, SimClock};
use crate::executor::{Executor, ExecutorEnv, Prepared, Work};
use crate::id::JobId;
use crate::run::Run;
use crate::runtime::SimRuntime;
use crate::scheduler::{Error, Scheduler, SchedulerBuilder, Shutdown, StartMode};
use crate::store::RunQuery;

/// The time at which a [`TestScheduler`] starts, unless another is chosen: the first moment of 2026, UTC.
pub const START: &str = "2026-01-01T00:00:00Z";

/// A [`Scheduler`] whose time passes only when the test says so. Everything that is due happens on the thread of the test, in
/// the order in which it is due, before [`advance`](Self::advance) returns. Shut down when it is dropped.
///
/// Time zones are read as ever, but the zone of triggers that name none is UTC, so that a test means the same on every machine.
#[derive(Debug)]
pub struct TestScheduler {
    sim: SimRuntime,
    scheduler: Scheduler,
}

impl TestScheduler {
    /// Builds and starts it at [`START`]. Executors are replaced by [`TestExecutor`]s (one that the test is about can be
    /// added afterwards, by [`Scheduler::add_executor`]), and the clock by a simulated one; without
    /// a job store it has one in memory.
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`].
    pub fn start(builder: SchedulerBuilder) -> Result<Self, Error> {
        let start = START.parse().expect("it is a time");
        Self::start_on(builder, SimClock::new(start))
    }

    /// The same on a clock of the caller's, which job stores that were made for the test read, too.
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`].
    pub fn start_on(builder: SchedulerBuilder, clock: SimClock) -> Result<Self, Error> {
        let sim = SimRuntime::new(clock.clone());
        let builder = builder.for_test(Arc::new(clock))?;
        let scheduler = async_io::block_on(builder.build(Arc::new(sim.clone())))?;
        scheduler.start(StartMode::Running)?;
        let test = Self { sim, scheduler };
        test.settle();
        Ok(test)
    }

    /// The time it is.
    pub fn now(&self) -> Timestamp {
        self.sim.clock().now()
    }

    /// Lets `duration` pass, and everything happen that is due in it.
    pub fn advance(&self, duration: Duration) {
        self.sim.advance(duration);
    }

    /// Lets time pass until it is `to`; nothing where that is over.
    pub fn advance_to(&self, to: Timestamp) {
        self.sim.advance_to(to);
    }

    /// Lets happen what can happen now.
    pub fn settle(&self) {
        self.sim.settle();
    }

    /// Steps the wall clock without any time having passed, as an operator or NTP would.
    pub fn step_clock(&self, to: Timestamp) {
        self.sim.clock().step_wall(to);
    }

    /// Resolves a future of the test's; time passes only as far as it must.
    ///
    /// # Panics
    ///
    /// When nothing is left that could ever resolve it.
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.sim.run(future)
    }

    /// Every run of every job, in the order in which they were due.
    ///
    /// # Panics
    ///
    /// When a job store cannot be read.
    pub fn runs(&self) -> Vec<Run> {
        self.ledger(None)
    }

    /// The runs of one job, also of one that is gone.
    ///
    /// # Panics
    ///
    /// When a job store cannot be read, or `id` is no id.
    pub fn runs_of(&self, id: &str) -> Vec<Run> {
        self.ledger(Some(JobId::new(id).expect("it is an id")))
    }

    fn ledger(&self, job_id: Option<JobId>) -> Vec<Run> {
        self.settle();
        let query = RunQuery {
            job_id,
            ..RunQuery::default()
        };
        let mut runs = Vec::new();
        for (_, store) in self.scheduler.jobstores() {
            let page = async_io::block_on(store.runs(&query));
            runs.extend(page.expect("the job store can be read").items);
        }
        runs.sort_by_key(|run| (run.due_at, run.id));
        runs
    }
}

impl Deref for TestScheduler {
    type Target = Scheduler;
    fn deref(&self) -> &Scheduler {
        &self.scheduler
    }
}

impl Drop for TestScheduler {
    fn drop(&mut self) {
        let scheduler = self.scheduler.clone();
        self.sim
            .run(async move { scheduler.shutdown(Shutdown::Cancel).await });
    }
}

/// Runs tasks inside the simulation: async ones as tasks of its loop, plain functions at once.
#[derive(Debug)]
pub struct TestExecutor {
    max_workers: usize,
    env: OnceLock<ExecutorEnv>,
}

impl TestExecutor {
    /// At most `max_workers` runs at once.
    pub fn new(max_workers: usize) -> Self {
        Self {
            max_workers,
            env: OnceLock::new(),
        }
    }
}

impl Executor for TestExecutor {
    fn capacity(&self) -> usize {
        self.max_workers
    }

    fn start(&self, env: ExecutorEnv) {
        self.env.get_or_init(|| env);
    }

    fn submit(&self, work: Work) {
        let env = self.env.get().expect("it was started");
        env.runtime.spawn(match work.prepare(env) {
            Prepared::Async(future) => future,
            Prepared::Blocking(function) => Box::pin(async move { function() }),
        });
    }

    fn shutdown(&self) {}
}
