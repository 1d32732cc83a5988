//! An event loop for programs that have none: a small executor that a thread of the program drives.

use std::future::Future;
use std::sync::Arc;

use async_executor::Executor;

use super::Runtime;
use crate::store::BoxFuture;

/// An executor driven by whichever thread calls [`run_until`](Self::run_until).
#[derive(Clone, Debug, Default)]
pub struct LoopRuntime(Arc<Executor<'static>>);

impl LoopRuntime {
    /// An executor that nobody drives yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Drives what was spawned, on this thread, until `future` resolves.
    pub fn run_until<T>(&self, future: impl Future<Output = T>) -> T {
        async_io::block_on(self.0.run(future))
    }
}

impl Runtime for LoopRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.0.spawn(future).detach();
    }
}
