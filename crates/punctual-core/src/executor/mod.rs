//! Executors: where tasks run, each with a bound.
//!
//! What is due beyond an executor's [capacity](Executor::capacity) waits in the job store, where another node may take it, and never
//! in memory. Which executor to choose, and how far each can stop a run, is said in `docs/executors.md`.

mod asynchronous;
mod current;
mod debug;
mod local;
#[cfg(unix)]
mod process;
mod threads;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{Either, select};

pub use self::asynchronous::AsyncExecutor;
pub(crate) use self::current::current_run;
pub use self::debug::DebugExecutor;
pub use self::local::{LocalDriver, LocalExecutor, LocalFunction, LocalTasks};
#[cfg(unix)]
pub use self::process::{IntoRegistry, ProcessPoolExecutor, process_pool_worker};
pub use self::threads::ThreadPoolExecutor;
use crate::id::TaskName;
use crate::job::JobArgs;
use crate::runtime::Runtime;
use crate::store::BoxFuture;
use crate::task::{ArgsError, Registry, RunContext, TaskCall, TaskEnd};

/// What an executor works with; given to it when it is added to a scheduler.
#[derive(Clone, Debug)]
pub struct ExecutorEnv {
    /// The tasks, by name.
    pub registry: Arc<Registry>,
    /// The scheduler's event loop.
    pub runtime: Arc<dyn Runtime>,
}

/// One run for an executor: data, never a future. The executor finds the task by its name.
pub struct Work {
    /// The run.
    pub context: RunContext,
    /// To be called once, with the end.
    pub done: Box<dyn FnOnce(TaskEnd) + Send>,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// A run that only needs a place: it says by itself when it starts, keeps its panics, and says how it ended. One that is
/// dropped is given up: its run has failed.
#[expect(missing_debug_implementations, reason = "it is code")]
pub enum Prepared {
    /// To be polled to its end, on any thread. Resolves early when the run is [killed](crate::cancel::CancelToken::killed).
    Async(BoxFuture<'static, ()>),
    /// To be called on a thread that may block.
    Blocking(Box<dyn FnOnce() + Send>),
}

impl Work {
    /// Calls the task by its name in the registry. This is all that an executor inside the process needs of a [`Work`]; one
    /// that runs tasks elsewhere calls [`RunContext::begin`] and [`done`](Self::done) itself.
    pub fn prepare(self, env: &ExecutorEnv) -> Prepared {
        let Self { context, done } = self;
        match call(&env.registry, context.clone()) {
            TaskCall::Async(future) => Prepared::Async(Box::pin(async move {
                if let Some(end) = run_future(context, future).await {
                    done(end);
                }
            })),
            TaskCall::Blocking(function) => Prepared::Blocking(Box::new(move || {
                done(run_blocking(&context, function));
            })),
        }
    }
}

/// Runs tasks. A panic in a task is its run's failure and nobody else's.
pub trait Executor: Send + Sync + fmt::Debug + 'static {
    /// How many runs it takes at once; the scheduler never gives it more.
    fn capacity(&self) -> usize;

    /// Called before the first run, and again before the first after a [`shutdown`](Self::shutdown).
    fn start(&self, env: ExecutorEnv);

    /// Begins to work on a run and returns at once. `done` is called exactly once, unless the run is killed
    /// ([`CancelToken::killed`](crate::cancel::CancelToken::killed)); then it need not be.
    fn submit(&self, work: Work);

    /// [`submit`](Self::submit) for each of many, in order. Worth writing where one hand-over costs as much as many.
    fn submit_many(&self, work: Vec<Work>) {
        for work in work {
            self.submit(work);
        }
    }

    /// Lets go of threads. Work that has begun goes on to its end.
    fn shutdown(&self);

    /// The tasks that this executor has beside those of the scheduler's registry, and how their arguments are checked.
    /// Asked once, when it is added. Default: none.
    fn own_tasks(&self) -> BTreeMap<TaskName, ArgsCheck> {
        BTreeMap::new()
    }
}

/// Whether a job's arguments fit a task.
pub type ArgsCheck = fn(&JobArgs) -> Result<(), ArgsError>;

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no message)")
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    format!("the task panicked: {}", panic_message(panic))
}

/// Runs a task's future to its end; `None` where it was killed.
async fn run_future(context: RunContext, future: impl Future<Output = TaskEnd>) -> Option<TaskEnd> {
    if let Err(end) = context.begin() {
        return Some(end);
    }
    let within = current::Within::new(context.run().id, future);
    let guarded = AssertUnwindSafe(within).catch_unwind();
    match select(pin!(guarded), pin!(context.cancel_token().killed())).await {
        Either::Left((Ok(end), _)) => Some(end),
        Either::Left((Err(panic), _)) => Some(TaskEnd::Failed(panic_text(&*panic))),
        Either::Right(_) => None,
    }
}

fn run_blocking(context: &RunContext, function: Box<dyn FnOnce() -> TaskEnd + Send>) -> TaskEnd {
    if let Err(end) = context.begin() {
        return end;
    }
    let _entered = current::enter(context.run().id);
    catch_unwind(AssertUnwindSafe(function))
        .unwrap_or_else(|panic| TaskEnd::Failed(panic_text(&*panic)))
}

/// Calls a task; also a panic while making its future is the run's.
fn call(registry: &Registry, context: RunContext) -> TaskCall {
    catch_unwind(AssertUnwindSafe(|| registry.call(context))).unwrap_or_else(|panic| {
        let text = panic_text(&*panic);
        TaskCall::Async(Box::pin(std::future::ready(TaskEnd::Failed(text))))
    })
}
