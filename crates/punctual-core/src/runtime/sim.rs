//! A loop whose time passes in a blink: for tests, ours and users'.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_executor::Executor;
use jiff::Timestamp;

use super::Runtime;
use crate::clock::{Clock, SimClock};
use crate::store::BoxFuture;

/// Runs everything on the thread that asks for time to pass, and moves the clock from timer to timer.
#[derive(Clone)]
pub struct SimRuntime {
    clock: SimClock,
    executor: Arc<Executor<'static>>,
    timers: Arc<Mutex<Timers>>,
}

#[derive(Default)]
struct Timers {
    made: u64,
    waiting: BTreeMap<(Duration, u64), Waker>,
}

impl fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRuntime")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl SimRuntime {
    /// A loop whose time is that of `clock`.
    pub fn new(clock: SimClock) -> Self {
        Self {
            clock,
            executor: Arc::default(),
            timers: Arc::default(),
        }
    }

    /// The clock.
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }

    /// Runs what can run now; no time passes.
    pub fn settle(&self) {
        while self.executor.try_tick() {}
    }

    /// Lets `duration` pass, and everything happen that is due in it.
    pub fn advance(&self, duration: Duration) {
        let end = self.clock.monotonic() + duration;
        loop {
            self.settle();
            let next = self.with_timers(|timers| match timers.waiting.first_entry() {
                Some(first) if first.key().0 <= end => Some((first.key().0, first.remove())),
                _ => None,
            });
            let Some((at, waker)) = next else { break };
            self.clock
                .advance(at.saturating_sub(self.clock.monotonic()));
            waker.wake();
        }
        self.clock
            .advance(end.saturating_sub(self.clock.monotonic()));
        self.settle();
    }

    /// Lets time pass until the wall clock says `to`.
    pub fn advance_to(&self, to: Timestamp) {
        self.advance(crate::clock::until(self.clock.now(), to));
    }

    /// Runs a future on this loop until it resolves; time passes only as far as it must.
    ///
    /// # Panics
    ///
    /// When nothing is left that could ever resolve it.
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        self.spawn(Box::pin(async move {
            let value = future.await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }));
        loop {
            self.settle();
            if let Some(value) = answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return value;
            }
            let next =
                self.with_timers(|timers| timers.waiting.first_key_value().map(|(&(at, _), _)| at));
            let next = next.expect("the future waits for something that no timer brings");
            self.advance(next.saturating_sub(self.clock.monotonic()));
        }
    }

    /// How many timers wait.
    #[cfg(test)]
    pub(crate) fn timers(&self) -> usize {
        self.with_timers(|timers| timers.waiting.len())
    }

    fn with_timers<T>(&self, f: impl FnOnce(&mut Timers) -> T) -> T {
        f(&mut self.timers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes its timer out when it is dropped, so that time is not led to moments nobody waits for.
struct Sleep {
    runtime: SimRuntime,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        if self.runtime.clock.monotonic() >= self.key.0 {
            return Poll::Ready(());
        }
        self.runtime
            .with_timers(|timers| timers.waiting.insert(self.key, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.runtime
            .with_timers(|timers| timers.waiting.remove(&self.key));
    }
}

impl Runtime for SimRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.executor.spawn(future).detach();
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let number = self.with_timers(|timers| {
            timers.made += 1;
            timers.made
        });
        let key = (self.clock.monotonic() + duration, number);
        Box::pin(Sleep {
            runtime: self.clone(),
            key,
        })
    }
}
