//! A loop whose time passes in a blink: for tests, ours and users'.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_executor::Executor;
use jiff::Timestamp;

use super::Runtime;
use super::timers::{Sleep, TimeKeeper, Timers};
use crate::clock::{Clock, SimClock};
use crate::store::BoxFuture;

/// Runs everything on the thread that asks for time to pass, and moves the clock from timer to timer.
#[derive(Clone)]
pub struct SimRuntime {
    clock: SimClock,
    executor: Arc<Executor<'static>>,
    timers: Timers,
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
            timers: Timers::default(),
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
            let Some((at, waker)) = self.timers.take_due(end) else {
                break;
            };
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
            let next = self.timers.next();
            let next = next.expect("the future waits for something that no timer brings");
            self.advance(next.saturating_sub(self.clock.monotonic()));
        }
    }

    /// How many timers wait.
    #[cfg(test)]
    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }
}

impl TimeKeeper for SimRuntime {
    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn timers(&self) -> &Timers {
        &self.timers
    }

    fn earlier(&self) {
        // Time passes only when somebody lets it.
    }
}

impl Runtime for SimRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.executor.spawn(future).detach();
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Sleep::new(self.clone(), duration))
    }
}
