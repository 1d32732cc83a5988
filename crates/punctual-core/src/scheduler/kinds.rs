//! Schedulers that bring their event loop along, and the verbs for code that is not async.

use std::future::Future;
use std::io::Write;
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use punctual_trigger::Trigger;
use serde_json::Value;

use super::add::{AddJob, AddLocal};
use super::builder::SchedulerBuilder;
use super::error::Error;
use super::new_job::{JobUpdate, NewJob};
use super::{AddedJob, JobRef, Located, Scheduler, Shutdown, StartMode};
use crate::executor::ThreadPoolExecutor;
use crate::id::RunId;
use crate::job::{Job, StoredJob};
use crate::plan::{OnConflict, PauseRequest};
use crate::run::Run;
use crate::runtime::{HostedRuntime, LoopRuntime};
use crate::store::{JobQuery, JobStore, Page, RunQuery};
use crate::task::{AsyncFunction, BlockingFunction, IntoNewJob};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    async_io::block_on(future)
}

/// The verbs of a [`Scheduler`] for code that is not async: each waits until it is done. Cheap to clone.
///
/// Waiting on an async executor's own thread holds up what else runs there: inside an async task use the
/// [`Scheduler`] itself. Where that thread turns the scheduler's loop, too (a current-thread tokio), [`shutdown`](Self::shutdown)
/// and [`remove_jobstore`](Self::remove_jobstore) would wait for ever.
#[derive(Clone, Debug)]
pub struct BlockingHandle(Scheduler);

macro_rules! blocking {
    ($($name:ident $(<$life:lifetime>)? ($($arg:ident: $type:ty),*) -> $result:ty;)*) => { $(
        #[doc = concat!("See [`Scheduler::", stringify!($name), "`].")]
        pub fn $name $(<$life>)? (&self $(, $arg: $type)*) -> $result {
            block_on(self.0.$name($($arg),*))
        }
    )* };
}

impl BlockingHandle {
    pub(super) fn new(scheduler: Scheduler) -> Self {
        Self(scheduler)
    }

    blocking! {
        shutdown(how: Shutdown) -> ();
        pause() -> Result<(), Error>;
        resume() -> Result<(), Error>;
        is_paused() -> Result<bool, Error>;
        add_job(job: NewJob) -> Result<AddedJob, Error>;
        get_job<'a>(job: impl Into<JobRef<'a>>) -> Result<Option<Located>, Error>;
        get_jobs() -> Result<Vec<Located>, Error>;
        modify_job<'a>(job: impl Into<JobRef<'a>>, update: JobUpdate) -> Result<Option<Job>, Error>;
        reschedule_job<'a>(job: impl Into<JobRef<'a>>, trigger: Trigger) -> Result<Option<Job>, Error>;
        pause_job<'a>(job: impl Into<JobRef<'a>>, request: PauseRequest) -> Result<Job, Error>;
        resume_job<'a>(job: impl Into<JobRef<'a>>) -> Result<Option<Job>, Error>;
        run_job<'a>(job: impl Into<JobRef<'a>>) -> Result<(Job, Run), Error>;
        remove_job<'a>(job: impl Into<JobRef<'a>>) -> Result<StoredJob, Error>;
        remove_all_jobs(job_store: Option<&str>) -> Result<u64, Error>;
        runs(job_store: &str, query: &RunQuery) -> Result<Page<Run>, Error>;
        get_run(id: RunId) -> Result<Run, Error>;
        cancel_run(id: RunId) -> Result<Run, Error>;
        export_jobs(job_store: Option<&str>) -> Result<Value, Error>;
        import_jobs(export: &Value, job_store: Option<&str>, on_conflict: OnConflict) -> Result<usize, Error>;
        print_jobs(out: &mut (dyn Write + Send)) -> Result<(), Error>;
        query_jobs(job_store: &str, query: &JobQuery) -> Result<Page<StoredJob>, Error>;
        remove_jobstore(alias: &str) -> Result<Arc<dyn JobStore>, Error>;
        stopped() -> ();
    }

    /// See [`Scheduler::add`]; end the sentence with [`wait`](AddJob::wait).
    pub fn add(&self, job: impl IntoNewJob) -> AddJob {
        self.0.add(job)
    }

    /// See [`Scheduler::add_local`]; end the sentence with [`wait`](AddLocal::wait).
    pub fn add_local<P: 'static>(&self, closure: impl AsyncFunction<P>) -> AddLocal {
        self.0.add_local(closure)
    }

    /// See [`Scheduler::add_local_blocking`]; end the sentence with [`wait`](AddLocal::wait).
    pub fn add_local_blocking<P: 'static>(&self, closure: impl BlockingFunction<P>) -> AddLocal {
        self.0.add_local_blocking(closure)
    }

    /// The handle for async code; its verbs that do not wait may be called here too.
    pub fn scheduler(&self) -> &Scheduler {
        &self.0
    }
}

/// A scheduler in the program's tokio, multi-thread or current-thread: `APScheduler`'s `AsyncIOScheduler`.
///
/// A [`Scheduler`] in all else.
#[cfg(feature = "tokio")]
#[derive(Clone, Debug)]
pub struct TokioScheduler(Scheduler);

#[cfg(feature = "tokio")]
impl TokioScheduler {
    /// Builds it for the runtime this is called in.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn build(builder: SchedulerBuilder) -> Result<Self, Error> {
        let runtime = crate::runtime::TokioRuntime::current();
        Ok(Self(builder.build(Arc::new(runtime)).await?))
    }
}

#[cfg(feature = "tokio")]
impl Deref for TokioScheduler {
    type Target = Scheduler;
    fn deref(&self) -> &Scheduler {
        &self.0
    }
}

/// A scheduler with a loop of its own that no thread drives yet.
fn build_with_loop(builder: SchedulerBuilder) -> Result<(Scheduler, LoopRuntime), Error> {
    // Whoever has no event loop has blocking tasks: threads, as APScheduler's default.
    let builder = builder.default_executor(|| Arc::new(ThreadPoolExecutor::new(10)));
    let runtime = LoopRuntime::new();
    let scheduler = block_on(builder.build(Arc::new(runtime.clone())))?;
    Ok((scheduler, runtime))
}

/// A scheduler on a thread of its own, for programs without an event loop. Dropping it shuts it down without waiting
/// for running runs longer than it takes to cancel them.
#[derive(Debug)]
pub struct BackgroundScheduler {
    handle: BlockingHandle,
    runtime: LoopRuntime,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl BackgroundScheduler {
    /// Builds it; [`start`](Self::start) begins. The default executor is a pool of 10 threads.
    pub fn build(builder: SchedulerBuilder) -> Result<Self, Error> {
        let (scheduler, runtime) = build_with_loop(builder)?;
        Ok(Self {
            handle: scheduler.blocking(),
            runtime,
            thread: Mutex::default(),
        })
    }

    /// Begins to work on a new thread named `punctual`.
    pub fn start(&self, mode: StartMode) -> Result<(), Error> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.0.start(mode)?;
        let (runtime, scheduler) = (self.runtime.clone(), self.handle.0.clone());
        let spawned = std::thread::Builder::new()
            .name("punctual".to_owned())
            .spawn(move || runtime.run_until(scheduler.stopped()));
        *thread = Some(spawned.map_err(|error| {
            Error::Store(crate::store::StoreError::failed(format!(
                "no thread could be started: {error}"
            )))
        })?);
        Ok(())
    }

    /// Ends the work, waits until it has ended, and joins the thread; see [`Scheduler::shutdown`]. May be called twice,
    /// before [`start`](Self::start), or from inside a job, which then need not wait for itself.
    pub fn shutdown(&self, how: Shutdown) {
        block_on(self.handle.0.shutdown(how));
        if self.handle.0.is_running() {
            return; // asked from inside a run: the thread ends after it
        }
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A listener or a future on that very thread may ask, too.
        if let Some(thread) =
            thread.filter(|thread| thread.thread().id() != std::thread::current().id())
        {
            let _ = thread.join();
        }
    }
}

impl Deref for BackgroundScheduler {
    type Target = BlockingHandle;
    fn deref(&self) -> &BlockingHandle {
        &self.handle
    }
}

impl Drop for BackgroundScheduler {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Cancel);
    }
}

/// A scheduler on the calling thread, for programs that do nothing else.
#[derive(Debug)]
pub struct BlockingScheduler {
    handle: BlockingHandle,
    runtime: LoopRuntime,
}

impl BlockingScheduler {
    /// Builds it; [`start`](Self::start) begins. The default executor is a pool of 10 threads.
    pub fn build(builder: SchedulerBuilder) -> Result<Self, Error> {
        let (scheduler, runtime) = build_with_loop(builder)?;
        Ok(Self {
            handle: scheduler.blocking(),
            runtime,
        })
    }

    /// Works on this thread until somebody calls [`Scheduler::shutdown`] through a handle.
    pub fn start(&self, mode: StartMode) -> Result<(), Error> {
        let scheduler = &self.handle.0;
        scheduler.start(mode)?;
        self.runtime.run_until(scheduler.stopped());
        Ok(())
    }

    /// Ends the work; [`start`](Self::start) then returns. To be called from another thread, or
    /// from inside a job.
    pub fn shutdown(&self, how: Shutdown) {
        block_on(self.handle.0.shutdown(how));
    }
}

impl Deref for BlockingScheduler {
    type Target = BlockingHandle;
    fn deref(&self) -> &BlockingHandle {
        &self.handle
    }
}

/// A scheduler whose loop a host drives, on the host's thread: what the drivers of reactors and toolkits are made of. It stays on that
/// thread; the [`Scheduler`] that it derefs to may go anywhere. Dropping it shuts it down as
/// [`BackgroundScheduler`]'s drop does.
#[derive(Debug)]
pub struct HostedScheduler {
    scheduler: Scheduler,
    runtime: HostedRuntime,
    stays_here: PhantomData<Rc<()>>,
}

impl HostedScheduler {
    /// Builds it for a loop that the host will drive. The default executor is a pool of 10 threads, for a task must not keep the
    /// host from its own work.
    pub fn build(builder: SchedulerBuilder, runtime: HostedRuntime) -> Result<Self, Error> {
        let builder = builder.default_executor(|| Arc::new(ThreadPoolExecutor::new(10)));
        let scheduler = runtime.run_until(builder.build(Arc::new(runtime.clone())))?;
        Ok(Self {
            scheduler,
            runtime,
            stays_here: PhantomData,
        })
    }

    /// Ends the work and returns when it has ended; see [`Scheduler::shutdown`]. Meanwhile this thread turns the scheduler's loop,
    /// and nothing else of the host's. To go on with that, spawn or await the [`Scheduler`]'s own `shutdown` instead.
    pub fn shutdown(&self, how: Shutdown) {
        self.runtime.run_until(self.scheduler.shutdown(how));
    }
}

impl Deref for HostedScheduler {
    type Target = Scheduler;
    fn deref(&self) -> &Scheduler {
        &self.scheduler
    }
}

impl Drop for HostedScheduler {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Cancel);
        self.runtime.abandon();
    }
}
