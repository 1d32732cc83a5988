//! actix-rt: an arbiter is one thread with a loop, and its tasks need not be `Send`.

use std::ops::Deref;
use std::sync::Arc;

use actix_rt::{Arbiter, ArbiterHandle};
use punctual_core::executor::{LocalExecutor, LocalTasks};
use punctual_core::runtime::{Runtime, TokioRuntime};
use punctual_core::scheduler::{Error, Scheduler, SchedulerBuilder};
use punctual_core::store::BoxFuture;

/// How many runs the default executor works on at once.
const MAX_WORKERS: usize = 100;

/// A scheduler on an arbiter of actix: `APScheduler`'s `TornadoScheduler`. Async tasks run on that arbiter's thread, and those
/// of its [`LocalTasks`] need not be `Send`; plain functions run on threads beside it.
///
/// A [`Scheduler`] in all else.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// use punctual_core::executor::LocalTasks;
/// use punctual_core::scheduler::{NewJob, Scheduler, Shutdown, StartMode};
/// use punctual_loops::ActixScheduler;
///
/// actix_rt::System::new().block_on(async {
///     let hits = Rc::new(Cell::new(0)); // no `Arc`, no lock: everything is on this thread
///     let counted = Rc::clone(&hits);
///     let mut tasks = LocalTasks::new();
///     tasks.add("hit", move || {
///         let hits = Rc::clone(&counted);
///         async move { hits.set(hits.get() + 1) }
///     })?;
///     let scheduler = ActixScheduler::build(Scheduler::builder(), tasks).await?;
///     scheduler.start(StartMode::Running)?;
///     scheduler.add(NewJob::new("hit")).await?;
/// #   while hits.get() == 0 { actix_rt::task::yield_now().await }
///     scheduler.shutdown(Shutdown::Wait).await;
///     assert_eq!(hits.get(), 1);
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ActixScheduler(Scheduler);

impl ActixScheduler {
    /// Builds it for the arbiter that this is called on. A default executor of the builder's own takes the place of the
    /// local one, and `tasks` are then nobody's.
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`].
    ///
    /// # Panics
    ///
    /// Outside an actix system.
    pub async fn build(builder: SchedulerBuilder, tasks: LocalTasks) -> Result<Self, Error> {
        let runtime = ActixRuntime {
            arbiter: Arbiter::current(),
            tokio: TokioRuntime::current(),
        };
        let builder = builder.default_executor(|| {
            let (executor, driver) = LocalExecutor::new(MAX_WORKERS, tasks);
            actix_rt::spawn(driver.run());
            Arc::new(executor)
        });
        Ok(Self(builder.build(Arc::new(runtime)).await?))
    }
}

impl Deref for ActixScheduler {
    type Target = Scheduler;
    fn deref(&self) -> &Scheduler {
        &self.0
    }
}

#[derive(Debug)]
struct ActixRuntime {
    arbiter: ArbiterHandle,
    /// The one under the arbiter: what runs on threads may use it.
    tokio: TokioRuntime,
}

impl Runtime for ActixRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        if !self.arbiter.spawn(future) {
            tracing::warn!(
                "the arbiter has stopped; a part of the scheduler does not run any more"
            );
        }
    }

    fn block_on(&self, future: BoxFuture<'_, ()>) {
        self.tokio.block_on(future);
    }
}
