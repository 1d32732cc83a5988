//! Timers in the order in which they end, for loops that keep their own time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The timers of one loop, by the reading of its monotonic clock at which each ends. All clones are one.
#[derive(Clone, Default)]
pub(super) struct Timers(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    made: u64,
    wakers: BTreeMap<(Duration, u64), Waker>,
}

/// Whose time a [`Sleep`] goes by.
pub(super) trait TimeKeeper: Clone + Unpin {
    /// The time now.
    fn monotonic(&self) -> Duration;
    /// The timers.
    fn timers(&self) -> &Timers;
    /// A timer was set that ends before all others.
    fn earlier(&self);
}

impl Timers {
    fn with<T>(&self, f: impl FnOnce(&mut Waiting) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes out the first timer that ends at `end` or before, and when that is.
    pub(super) fn take_due(&self, end: Duration) -> Option<(Duration, Waker)> {
        self.with(|waiting| match waiting.wakers.first_entry() {
            Some(first) if first.key().0 <= end => Some((first.key().0, first.remove())),
            _ => None,
        })
    }

    /// When the first one ends.
    pub(super) fn next(&self) -> Option<Duration> {
        self.with(|waiting| waiting.wakers.first_key_value().map(|(&(at, _), _)| at))
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.with(|waiting| waiting.wakers.len())
    }
}

/// Resolves when the time has come. Takes its timer out when it is dropped, so that time is not led to moments nobody waits
/// for.
pub(super) struct Sleep<K: TimeKeeper> {
    keeper: K,
    key: (Duration, u64),
}

impl<K: TimeKeeper> Sleep<K> {
    pub(super) fn new(keeper: K, duration: Duration) -> Self {
        let number = keeper.timers().with(|waiting| {
            waiting.made += 1;
            waiting.made
        });
        let key = (keeper.monotonic() + duration, number);
        Self { keeper, key }
    }
}

impl<K: TimeKeeper> Future for Sleep<K> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.keeper.monotonic() >= self.key.0 {
            return Poll::Ready(());
        }
        let is_first = self.keeper.timers().with(|waiting| {
            waiting.wakers.insert(self.key, cx.waker().clone());
            waiting.wakers.first_key_value().map(|(&key, _)| key) == Some(self.key)
        });
        if is_first {
            self.keeper.earlier();
        }
        Poll::Pending
    }
}

impl<K: TimeKeeper> Drop for Sleep<K> {
    fn drop(&mut self) {
        let timer = self
            .keeper
            .timers()
            .with(|waiting| waiting.wakers.remove(&self.key));
        // Outside the lock: a waker may be the last owner of a task, whose end drops timers too.
        drop(timer);
    }
}
