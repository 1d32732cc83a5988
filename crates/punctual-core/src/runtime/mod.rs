//! What the scheduler needs of an event loop: to spawn, to sleep and to wait. Each kind of loop is a thin answer.

mod hosted;
mod sim;
mod threads;
mod timers;
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

pub use self::hosted::HostedRuntime;
pub use self::sim::SimRuntime;
pub use self::threads::LoopRuntime;
#[cfg(feature = "tokio")]
pub use self::tokio::TokioRuntime;
use crate::store::BoxFuture;

/// An event loop, as far as the scheduler uses one.
pub trait Runtime: Send + Sync + fmt::Debug + 'static {
    /// Runs a future to its end, beside the others.
    fn spawn(&self, future: BoxFuture<'static, ()>);

    /// Resolves after `duration`, finer than a millisecond.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            async_io::Timer::after(duration).await;
        })
    }

    /// Runs a future on this thread, which is none of the loop's.
    fn block_on(&self, future: BoxFuture<'_, ()>) {
        async_io::block_on(future);
    }
}

/// A future did not resolve in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

/// Waits for `future`, but not longer than `duration`.
pub async fn timeout<T>(
    runtime: &dyn Runtime,
    duration: Duration,
    future: impl Future<Output = T>,
) -> Result<T, TimedOut> {
    match select(pin!(future), runtime.sleep(duration)).await {
        Either::Left((value, _)) => Ok(value),
        Either::Right(_) => Err(TimedOut),
    }
}

/// Lets other tasks of the loop have their turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
