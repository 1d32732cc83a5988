//! Executors: where tasks run, each with a bound.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{Either, select};

use crate::runtime::Runtime;
use crate::store::BoxFuture;
use crate::task::{Registry, RunContext, TaskCall, TaskEnd};

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

/// Runs tasks. A panic in a task is its run's failure and nobody else's.
pub trait Executor: Send + Sync + fmt::Debug + 'static {
    /// How many runs it works on at once; the scheduler never gives it more.
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
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the task panicked: {}", text.unwrap_or("(no message)"))
}

async fn run_future(context: RunContext, future: BoxFuture<'static, TaskEnd>) -> Option<TaskEnd> {
    let guarded = AssertUnwindSafe(future).catch_unwind();
    match select(guarded, pin!(context.cancel_token().killed())).await {
        Either::Left((Ok(end), _)) => Some(end),
        Either::Left((Err(panic), _)) => Some(TaskEnd::Failed(panic_text(&*panic))),
        Either::Right(_) => None,
    }
}

fn run_blocking(function: Box<dyn FnOnce() -> TaskEnd + Send>) -> TaskEnd {
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

/// How many runs one task of the loop launches: to wake a worker for each would cost more than a short run itself.
const LAUNCH_RUNS: usize = 64;

/// Runs async tasks on the scheduler's event loop, and plain functions on threads beside it, `max_workers` in all.
#[derive(Debug)]
pub struct AsyncExecutor {
    max_workers: usize,
    env: OnceLock<ExecutorEnv>,
    threads: Threads,
}

impl AsyncExecutor {
    /// At most `max_workers` runs at once.
    pub fn new(max_workers: usize) -> Self {
        Self {
            max_workers,
            env: OnceLock::new(),
            threads: Threads::new(max_workers),
        }
    }

    fn env(&self) -> &ExecutorEnv {
        self.env
            .get()
            .expect("an executor is started before work is submitted")
    }
}

/// Spawns a run on the event loop, or puts it into the queue of the threads.
fn launch(env: &ExecutorEnv, threads: &Threads, Work { context, done }: Work) {
    match call(&env.registry, context.clone()) {
        TaskCall::Async(future) => env.runtime.spawn(Box::pin(async move {
            if let Some(end) = run_future(context, future).await {
                done(end);
            }
        })),
        TaskCall::Blocking(function) => {
            threads.run(Box::new(move || done(run_blocking(function))));
        }
    }
}

impl Executor for AsyncExecutor {
    fn capacity(&self) -> usize {
        self.max_workers
    }

    fn start(&self, env: ExecutorEnv) {
        self.env.get_or_init(|| env);
        self.threads.open();
    }

    fn submit(&self, work: Work) {
        launch(self.env(), &self.threads, work);
    }

    fn submit_many(&self, mut work: Vec<Work>) {
        while work.len() > 1 {
            let rest = work.split_off(work.len().min(LAUNCH_RUNS));
            let (env, threads) = (self.env().clone(), self.threads.clone());
            self.env().runtime.spawn(Box::pin(async move {
                for work in work {
                    launch(&env, &threads, work);
                }
            }));
            work = rest;
        }
        for work in work {
            self.submit(work);
        }
    }

    fn shutdown(&self) {
        self.threads.close();
    }
}

/// Runs tasks on a bounded pool of threads of its own; async ones are driven there too.
#[derive(Debug)]
pub struct ThreadPoolExecutor {
    max_workers: usize,
    env: OnceLock<ExecutorEnv>,
    threads: Threads,
}

impl ThreadPoolExecutor {
    /// At most `max_workers` threads; they are started as they are needed.
    pub fn new(max_workers: usize) -> Self {
        Self {
            max_workers,
            env: OnceLock::new(),
            threads: Threads::new(max_workers),
        }
    }
}

impl Executor for ThreadPoolExecutor {
    fn capacity(&self) -> usize {
        self.max_workers
    }

    fn start(&self, env: ExecutorEnv) {
        self.env.get_or_init(|| env);
        self.threads.open();
    }

    fn submit(&self, Work { context, done }: Work) {
        let ExecutorEnv { registry, runtime } = self
            .env
            .get()
            .expect("an executor is started before work is submitted")
            .clone();
        self.threads
            .run(Box::new(move || match call(&registry, context.clone()) {
                TaskCall::Blocking(function) => done(run_blocking(function)),
                TaskCall::Async(future) => runtime.block_on(Box::pin(async move {
                    if let Some(end) = run_future(context, future).await {
                        done(end);
                    }
                })),
            }));
    }

    fn shutdown(&self) {
        self.threads.close();
    }
}

/// Runs a task inside the scheduler's own loop, before the next step: for looking at things in order.
#[derive(Debug, Default)]
pub struct DebugExecutor {
    env: OnceLock<ExecutorEnv>,
}

impl DebugExecutor {
    /// An executor without threads.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Executor for DebugExecutor {
    fn capacity(&self) -> usize {
        1
    }

    fn start(&self, env: ExecutorEnv) {
        self.env.get_or_init(|| env);
    }

    fn submit(&self, Work { context, done }: Work) {
        let env = self
            .env
            .get()
            .expect("an executor is started before work is submitted");
        match call(&env.registry, context.clone()) {
            TaskCall::Blocking(function) => done(run_blocking(function)),
            TaskCall::Async(future) => {
                if let Some(end) = async_io::block_on(run_future(context, future)) {
                    done(end);
                }
            }
        }
    }

    fn shutdown(&self) {}
}

type Thunk = Box<dyn FnOnce() + Send>;

/// A pool of threads that grows to its bound and ends when it is closed and empty.
#[derive(Clone, Debug)]
struct Threads {
    max: usize,
    shared: Arc<(Mutex<Pool>, Condvar)>,
}

#[derive(Default)]
struct Pool {
    queue: VecDeque<Thunk>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            threads,
            idle,
            closed,
            ..
        } = self;
        write!(
            f,
            "Pool {{ threads: {threads}, idle: {idle}, closed: {closed} }}"
        )
    }
}

impl Threads {
    fn new(max: usize) -> Self {
        Self {
            max,
            shared: Arc::default(),
        }
    }

    fn run(&self, thunk: Thunk) {
        let (pool, wake) = &*self.shared;
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.queue.push_back(thunk);
        if pool.idle >= pool.queue.len() || pool.threads == self.max {
            wake.notify_one();
            return;
        }
        pool.threads += 1;
        drop(pool);
        let threads = self.clone();
        let started = std::thread::Builder::new()
            .name("punctual-worker".to_owned())
            .spawn(move || threads.work());
        if let Err(error) = started {
            tracing::error!(%error, "no thread for a run could be started; it waits for another");
            let (pool, _) = &*self.shared;
            pool.lock().unwrap_or_else(PoisonError::into_inner).threads -= 1;
        }
    }

    fn work(&self) {
        let (pool, wake) = &*self.shared;
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(thunk) = pool.queue.pop_front() {
                drop(pool);
                // The thunk has its own boundary; this one keeps the pool whole if that boundary itself fails.
                let _ = catch_unwind(AssertUnwindSafe(thunk));
                pool = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
            } else if pool.closed {
                pool.threads -= 1;
                return;
            } else {
                pool.idle += 1;
                pool = wake.wait(pool).unwrap_or_else(PoisonError::into_inner);
                pool.idle -= 1;
            }
        }
    }

    fn open(&self) {
        let (pool, _) = &*self.shared;
        pool.lock().unwrap_or_else(PoisonError::into_inner).closed = false;
    }

    fn close(&self) {
        let (pool, wake) = &*self.shared;
        pool.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        wake.notify_all();
    }
}
