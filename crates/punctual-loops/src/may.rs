//! may: coroutines with stacks of their own.

use std::ops::Deref;
use std::sync::{Arc, OnceLock, mpsc};

use ::may::sync::mpsc::channel;
use punctual_core::executor::{Executor, ExecutorEnv, Prepared, Work};
use punctual_core::runtime::{HostedRuntime, Runtime};
use punctual_core::scheduler::{Error, Scheduler, SchedulerBuilder};
use punctual_core::store::{BoxFuture, StoreError};

/// How many runs the default executor works on at once.
const MAX_WORKERS: usize = 100;
/// The stack of a coroutine, in words: 1 MiB, of which only what is touched takes memory. may's own default of 32 KiB is too little for
/// a task that formats a number in a debug build, and an overflow ends the process.
const STACK_WORDS: usize = (1 << 20) / size_of::<usize>();

/// A scheduler in a coroutine of may, whose default executor runs plain functions as coroutines.
///
/// A [`Scheduler`] in all else, with one difference: a shutdown from inside a coroutine that has waited for something may not be known
/// for what it is, because the coroutine is on another thread by then; it then waits for its own run until that is cancelled.
#[derive(Clone, Debug)]
pub struct MayScheduler(Scheduler);

impl MayScheduler {
    /// Builds it, and starts the coroutine that drives it; that ends with the process.
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`].
    pub fn build(builder: SchedulerBuilder) -> Result<Self, Error> {
        let (wake, woken) = channel();
        // may's `send` waits until the coroutine that it wakes is parked, and whoever wakes the scheduler may hold a lock that
        // the coroutine wants: so the waiting is done by a thread that holds none.
        let (pass_on, passed_on) = mpsc::channel();
        std::thread::Builder::new()
            .name("punctual-may".to_owned())
            .spawn(move || passed_on.into_iter().try_for_each(|()| wake.send(())))
            .map_err(|error| StoreError::failed(format!("no thread could be started: {error}")))?;
        let runtime = HostedRuntime::new(move || {
            // It fails when the coroutine is gone, which it is with the process.
            let _ = pass_on.send(());
        });
        let builder = builder.default_executor(|| Arc::new(MayExecutor::new(MAX_WORKERS)));
        let built = builder.build(Arc::new(MayRuntime(runtime.clone())));
        let scheduler = runtime.run_until(built)?;
        let driver = move || loop {
            match runtime.turn() {
                Some(_) => ::may::coroutine::yield_now(),
                None => drop(woken.recv()),
            }
        };
        drop(::may::go_with!(STACK_WORDS, driver));
        Ok(Self(scheduler))
    }
}

/// Its timers are not may's: waiting for a message or a time, whichever comes first, was seen to miss both.
#[derive(Debug)]
struct MayRuntime(HostedRuntime);

impl Runtime for MayRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.0.spawn(future);
    }
}

impl Deref for MayScheduler {
    type Target = Scheduler;
    fn deref(&self) -> &Scheduler {
        &self.0
    }
}

/// Runs plain functions as coroutines, which wait on may's own locks, channels, sockets and sleeps without holding up a thread. One
/// that waits in another way, on a lock of std say, holds up a thread of may's, of which there are few, the scheduler's
/// own coroutine among those that want it: such tasks belong on a [`ThreadPoolExecutor`](punctual_core::executor::ThreadPoolExecutor). Async
/// tasks run in the scheduler's coroutine. A function that is asked to stop must look for it itself. A coroutine has a stack of
/// 1 MiB; one that needs more ends the process.
#[derive(Debug)]
pub struct MayExecutor {
    max_workers: usize,
    env: OnceLock<ExecutorEnv>,
}

impl MayExecutor {
    /// At most `max_workers` runs at once.
    pub fn new(max_workers: usize) -> Self {
        Self {
            max_workers,
            env: OnceLock::new(),
        }
    }
}

impl Executor for MayExecutor {
    fn capacity(&self) -> usize {
        self.max_workers
    }

    fn start(&self, env: ExecutorEnv) {
        self.env.get_or_init(|| env);
    }

    fn submit(&self, work: Work) {
        let env = self.env.get().expect("it is started before its first run");
        match work.prepare(env) {
            Prepared::Async(future) => env.runtime.spawn(future),
            Prepared::Blocking(function) => drop(::may::go_with!(STACK_WORDS, function)),
        }
    }

    fn shutdown(&self) {}
}
