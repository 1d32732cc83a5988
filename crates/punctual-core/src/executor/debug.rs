//! Runs inline.

use std::sync::OnceLock;

use super::{Executor, ExecutorEnv, Prepared, Work};

/// Runs a task inside the scheduler's own loop, before the next step: for looking at things in order. While it runs nothing
/// else of that loop does, so neither a timeout nor a cancellation is noticed before it has ended.
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

    fn submit(&self, work: Work) {
        let env = self
            .env
            .get()
            .expect("an executor is started before work is submitted");
        match work.prepare(env) {
            Prepared::Blocking(function) => function(),
            Prepared::Async(future) => async_io::block_on(future),
        }
    }

    fn shutdown(&self) {}
}
