//! Runs on threads.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use super::{Executor, ExecutorEnv, Prepared, Work};

/// Runs tasks on a bounded pool of threads of its own; async ones are driven there too.
#[derive(Debug)]
pub struct ThreadPoolExecutor {
    max_workers: usize,
    queue: usize,
    env: OnceLock<ExecutorEnv>,
    threads: Threads,
}

impl ThreadPoolExecutor {
    /// At most `max_workers` threads; they are started as they are needed.
    pub fn new(max_workers: usize) -> Self {
        Self {
            max_workers,
            queue: 0,
            env: OnceLock::new(),
            threads: Threads::new(max_workers),
        }
    }

    /// Takes up to `runs` more than it has threads for, so that a thread that is free need not wait for the job store. What
    /// waits here is claimed: its timeout counts, no other node takes it, it starts only if its lease still holds, and it does start
    /// though its job is paused meanwhile.
    /// Default 0: everything waits in the job store.
    pub fn queue(mut self, runs: usize) -> Self {
        self.queue = runs;
        self
    }
}

impl Executor for ThreadPoolExecutor {
    fn capacity(&self) -> usize {
        self.max_workers.saturating_add(self.queue)
    }

    fn start(&self, env: ExecutorEnv) {
        self.env.get_or_init(|| env);
        self.threads.open();
    }

    fn submit(&self, work: Work) {
        let env = self
            .env
            .get()
            .expect("an executor is started before work is submitted")
            .clone();
        self.threads.run(Box::new(move || match work.prepare(&env) {
            Prepared::Blocking(function) => function(),
            Prepared::Async(future) => env.runtime.block_on(future),
        }));
    }

    fn shutdown(&self) {
        self.threads.close();
    }
}

type Thunk = Box<dyn FnOnce() + Send>;

/// A pool of threads that grows to its bound and ends when it is closed and empty.
#[derive(Clone, Debug)]
pub(super) struct Threads {
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
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            shared: Arc::default(),
        }
    }

    pub(super) fn run(&self, thunk: Thunk) {
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

    pub(super) fn open(&self) {
        let (pool, _) = &*self.shared;
        pool.lock().unwrap_or_else(PoisonError::into_inner).closed = false;
    }

    pub(super) fn close(&self) {
        let (pool, wake) = &*self.shared;
        pool.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        wake.notify_all();
    }
}
