//! A job scheduler that can be trusted: `APScheduler`'s model, in Rust.
//!
//! Add a job with a date, interval or cron trigger, keep it in memory or in SQLite, pause, change and remove it while the
//! program runs. Each occurrence is decided exactly once and recorded; it is started at most once per attempt; and it
//! may be started again only after its owner's lease has run out, always with the same idempotency key and a higher
//! fencing token.
//!
//! ```
//! use std::time::Duration;
//!
//! use punctual::prelude::*;
//!
//! async fn remind(Args((who, days)): Args<(String, u32)>, run: RunContext) -> Result<(), String> {
//!     run.log(&format!("{who}: {days} days left"));
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let builder = Scheduler::builder().task("remind", remind)?;
//! #   let folder = tempfile::tempdir()?;
//! #   let path = folder.path().join("jobs.db");
//! #   #[cfg(feature = "sqlite")]
//!     let builder = builder.job_store("default", punctual::sqlite(&path)?);
//!     let scheduler = TokioScheduler::build(builder).await?;
//!     scheduler.start(StartMode::Running)?;
//!
//!     let weekdays_at_nine = Trigger::cron().day_of_week("mon-fri").hour(9).timezone("Europe/London").build()?;
//!     let job = NewJob::new("remind").id("reminder").arg("Ann").arg(3).trigger(weekdays_at_nine);
//!     scheduler.add_job(job.replace_existing()).await?;
//!
//!     let id = JobId::new("reminder")?;
//!     scheduler.pause_job(&id, PauseRequest::default()).await?;
//!     scheduler.resume_job(&id).await?;
//!     scheduler.run_job(&id).await?; // now, beside its schedule
//!     scheduler.remove_job(&id).await?;
//!     scheduler.shutdown(Shutdown::Wait).await;
//!     Ok(())
//! }
//! ```
//!
//! # Which scheduler
//!
//! | your program | take | `APScheduler` calls it |
//! |---|---|---|
//! | runs in tokio | [`TokioScheduler`](scheduler::TokioScheduler) | `AsyncIOScheduler` |
//! | has threads, and no event loop | [`BackgroundScheduler`](scheduler::BackgroundScheduler) | `BackgroundScheduler` |
//! | does nothing else | [`BlockingScheduler`](scheduler::BlockingScheduler) | `BlockingScheduler` |
//! | runs on smol, actix, calloop or may | one of `loops`, by its feature | `GeventScheduler`, `TornadoScheduler`, `TwistedScheduler` |
//! | has a GTK or Qt window | `punctual-glib`, `punctual-qt` | `QtScheduler` |
//! | has another loop | [`HostedScheduler`](scheduler::HostedScheduler) | |
//!
//! All are the same engine; [`Scheduler`](scheduler::Scheduler) is the handle to it.
//!
//! # Which job store
//!
//! | jobs live | address | feature |
//! |---|---|---|
//! | in this process | `memory:` | |
//! | in a file, for processes of one machine | `sqlite:FILE` | `sqlite` (default) |
//! | on a server, for nodes anywhere | `postgres://…`, `mysql://…`, `redis://…`, `mongodb://…` | `postgres`, `mysql`, `redis`, `mongodb` |
//!
//! [`open_store`] opens any of them by its address; [`migrate`] moves jobs and ledger from one to another.
//!
//! # Where to read on
//!
//! [`trigger`] says when jobs fire, [`task`](mod@task) what they call, [`scheduler`] what can be done with them, [`store`] what a
//! job store promises.

pub use punctual_core::{
    cancel, clock, decide, definitions, document, event, executor, id, job, lease, memory, output,
    plan, run, runtime, scheduler, single_instance, store, task, testing, zones,
};
#[cfg(feature = "macros")]
#[doc = include_str!("task.md")]
pub use punctual_macros::task;
pub use punctual_trigger as trigger;

#[cfg(any(
    feature = "actix",
    feature = "calloop",
    feature = "may",
    feature = "smol"
))]
pub use punctual_loops as loops;

#[cfg(feature = "macros")]
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
pub mod address;
pub mod migrate;

pub use address::{OpenOptions, open_store};

/// What most programs need.
pub mod prelude {
    pub use punctual_core::event::{Event, EventKind};
    pub use punctual_core::executor::{AsyncExecutor, ThreadPoolExecutor};
    pub use punctual_core::id::{JobId, RunId};
    pub use punctual_core::job::{Backoff, Coalesce, Job, OnCrash, Overlap, Retry};
    pub use punctual_core::memory::MemoryStore;
    pub use punctual_core::plan::PauseRequest;
    pub use punctual_core::run::{Reason, Run, RunKind, RunState};
    #[cfg(feature = "tokio")]
    pub use punctual_core::scheduler::TokioScheduler;
    pub use punctual_core::scheduler::{
        BackgroundScheduler, BlockingScheduler, JobUpdate, NewJob, Scheduler, SchedulerBuilder,
        Shutdown, StaleJobs, StartMode,
    };
    pub use punctual_core::store::{JobQuery, JobStore, RunQuery};
    pub use punctual_core::task::{Args, Registry, RunContext, State};
    #[cfg(feature = "macros")]
    pub use punctual_macros::task;
    #[cfg(feature = "sqlite")]
    pub use punctual_sql::{SqliteOptions, SqliteStore};
    pub use punctual_trigger::Trigger;
}

#[cfg(feature = "sqlite")]
mod sqlite_store {
    use std::path::Path;
    use std::sync::Arc;

    use punctual_core::scheduler::JobStoreFactory;
    use punctual_core::store::{JobStore, StoreError};
    use punctual_sql::{SqliteOptions, SqliteStore};

    /// A job store in an SQLite file, with default options; for others see [`SqliteStore::open`].
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened, is no database, or was written by a newer release.
    pub fn sqlite(path: impl AsRef<Path>) -> Result<Arc<dyn JobStore>, StoreError> {
        Ok(Arc::new(SqliteStore::open(path, SqliteOptions::default())?))
    }

    /// Teaches [`SchedulerBuilder::configure`](punctual_core::scheduler::SchedulerBuilder::configure) the job store
    /// `{"type": "sqlite", "path": "jobs.db"}`:
    ///
    /// ```
    /// # use punctual::prelude::*;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("jobs.db");
    /// let config = serde_json::json!({ "jobstores": { "default": { "type": "sqlite", "path": path } } });
    /// let builder = Scheduler::builder()
    ///     .job_store_type("sqlite", punctual::sqlite_type())
    ///     .configure(config.as_object().expect("it is an object"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sqlite_type() -> JobStoreFactory {
        JobStoreFactory::new(|keys| {
            if let Some(key) = keys.keys().find(|key| *key != "path") {
                return Err(format!("{key} is not known; allowed: type, path"));
            }
            let path = keys
                .get("path")
                .and_then(|path| path.as_str())
                .ok_or("path is missing: the file's name")?;
            sqlite(path).map_err(|error| error.to_string())
        })
    }
}

#[cfg(feature = "sqlite")]
pub use sqlite_store::{sqlite, sqlite_type};

/// The README's example, compiled and run.
#[cfg(all(doctest, feature = "sqlite", feature = "tokio"))]
#[doc = include_str!("../../../README.md")]
#[derive(Debug)]
pub struct Readme;

/// The guides' examples, compiled and run.
#[cfg(all(
    doctest,
    feature = "calloop",
    feature = "macros",
    feature = "sqlite",
    feature = "tokio"
))]
mod guides {
    #[doc = include_str!("../../../docs/schedulers.md")]
    struct Schedulers;
    #[doc = include_str!("../../../docs/executors.md")]
    struct Executors;
    #[doc = include_str!("../../../docs/from-apscheduler.md")]
    struct FromApscheduler;
}
