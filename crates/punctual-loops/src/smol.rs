//! smol: cooperative tasks.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use ::smol::Executor;
use punctual_core::runtime::Runtime;
use punctual_core::scheduler::{Error, Scheduler, SchedulerBuilder};
use punctual_core::store::BoxFuture;

/// A scheduler among the tasks of smol: `APScheduler`'s `GeventScheduler`.
///
/// A [`Scheduler`] in all else. Its default executor runs async tasks as tasks of smol, and plain functions on threads.
///
/// ```
/// use punctual_core::scheduler::{NewJob, Scheduler, Shutdown, StartMode};
/// use punctual_loops::SmolScheduler;
///
/// smol::block_on(async {
///     let builder = Scheduler::builder().task("greet", async || println!("hello"))?;
///     let scheduler = SmolScheduler::build(builder).await?;
///     scheduler.start(StartMode::Running)?;
///     scheduler.add(NewJob::new("greet")).await?;
///     scheduler.shutdown(Shutdown::Wait).await;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SmolScheduler(Scheduler);

impl SmolScheduler {
    /// Builds it on smol's global executor, that of `smol::spawn`: one thread, or as many as `SMOL_THREADS` says.
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`].
    pub async fn build(builder: SchedulerBuilder) -> Result<Self, Error> {
        Ok(Self(builder.build(Arc::new(SmolRuntime(None))).await?))
    }

    /// Builds it on an executor of the program's, which runs only while the program runs it.
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`].
    pub async fn build_on(
        builder: SchedulerBuilder,
        executor: Arc<Executor<'static>>,
    ) -> Result<Self, Error> {
        let runtime = SmolRuntime(Some(executor));
        Ok(Self(builder.build(Arc::new(runtime)).await?))
    }
}

impl Deref for SmolScheduler {
    type Target = Scheduler;
    fn deref(&self) -> &Scheduler {
        &self.0
    }
}

/// smol's timers are async-io's, and so are the scheduler's own.
struct SmolRuntime(Option<Arc<Executor<'static>>>);

impl fmt::Debug for SmolRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SmolRuntime")
    }
}

impl Runtime for SmolRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        match &self.0 {
            Some(executor) => executor.spawn(future).detach(),
            None => ::smol::spawn(future).detach(),
        }
    }
}
