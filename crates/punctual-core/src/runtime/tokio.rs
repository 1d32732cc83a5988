//! The program's own tokio.

use tokio::runtime::Handle;

use super::Runtime;
use crate::store::BoxFuture;

/// Spawns on a tokio runtime, multi-thread or current-thread. Timers are not tokio's, whose wheel turns once a
/// millisecond.
#[derive(Clone, Debug)]
pub struct TokioRuntime(Handle);

impl TokioRuntime {
    /// Uses the runtime that this is called in.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn current() -> Self {
        Self(Handle::current())
    }
}

impl Runtime for TokioRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        drop(self.0.spawn(future));
    }

    fn block_on(&self, future: BoxFuture<'_, ()>) {
        // Timers and sockets of tokio work in it, and async-io's do anywhere.
        let _context = self.0.enter();
        async_io::block_on(future);
    }
}
