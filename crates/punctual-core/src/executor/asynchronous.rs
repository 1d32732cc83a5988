//! Runs on the scheduler's event loop.

use std::sync::OnceLock;

use super::threads::Threads;
use super::{Executor, ExecutorEnv, Prepared, Work};

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
pub(super) fn launch(env: &ExecutorEnv, threads: &Threads, work: Work) {
    match work.prepare(env) {
        Prepared::Async(future) => env.runtime.spawn(future),
        Prepared::Blocking(function) => threads.run(function),
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
