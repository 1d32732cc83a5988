//! How long a run is surely its node's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_listener::Event;

use crate::clock::Clock;

/// The lease of one run, as its node knows it: until its end no other node starts the run's next attempt. Each sign of
/// life that the store took moves the end. Cheap to clone; all clones are one lease.
///
/// The end is told a little too early rather than too late: it is counted from before the store was asked.
///
/// Work that must not overlap its successor's, such as a program that was started, ends before the lease does:
///
/// ```
/// use punctual_core::lease::Lease;
///
/// async fn watch(lease: Lease) {
///     let mut end = lease.ends_at();
///     loop {
///         // … tell the end to whoever works, or set a timer by `lease.remaining()` …
///         end = lease.changed(end).await;
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Lease(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    end: Mutex<Option<Duration>>,
    clock: Option<Arc<dyn Clock>>,
    changed: Event,
}

impl Lease {
    /// A lease that holds for ever: that of a run which no other node can see.
    pub fn unlimited() -> Self {
        Self(Arc::new(Inner {
            end: Mutex::new(None),
            clock: None,
            changed: Event::new(),
        }))
    }

    /// A lease until `end`, by the monotonic reading of `clock`.
    pub fn until(end: Duration, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            end: Mutex::new(Some(end)),
            clock: Some(clock),
            changed: Event::new(),
        }))
    }

    /// When it ends, by the [monotonic](Clock::monotonic) reading of the scheduler's clock; `None` where it holds for
    /// ever. It may be over.
    pub fn ends_at(&self) -> Option<Duration> {
        *self.0.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it still holds: zero where it is over, `None` where it holds for ever.
    pub fn remaining(&self) -> Option<Duration> {
        let (end, clock) = (self.ends_at()?, self.0.clock.as_ref()?);
        Some(end.saturating_sub(clock.monotonic()))
    }

    /// Waits until the end is another than `seen`; returns it. Nothing is missed between two calls.
    pub async fn changed(&self, seen: Option<Duration>) -> Option<Duration> {
        loop {
            let changed = self.0.changed.listen();
            let end = self.ends_at();
            if end != seen {
                return end;
            }
            changed.await;
        }
    }

    /// Moves the end of a lease that has one.
    pub(crate) fn renew(&self, end: Duration) {
        {
            let mut known = self.0.end.lock().unwrap_or_else(PoisonError::into_inner);
            if known.is_none() {
                return;
            }
            *known = Some(end);
        }
        self.0.changed.notify(usize::MAX);
    }

    /// Whether it is over at a monotonic reading.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        self.ends_at().is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::clock::SimClock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_renewal_is_heard_once_and_never_missed() {
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let lease = Lease::until(3 * SECOND, Arc::new(clock.clone()));
        let first = lease.ends_at();
        assert_eq!(first, Some(3 * SECOND));
        let mut waiting = Box::pin(lease.changed(first));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        clock.advance(SECOND);
        assert_eq!(lease.remaining(), Some(2 * SECOND));
        lease.renew(4 * SECOND);
        assert_eq!(waiting.now_or_never(), Some(Some(4 * SECOND)));
        // Also by one who asks only now.
        let late = lease.clone();
        assert_eq!(late.changed(first).now_or_never(), Some(Some(4 * SECOND)));
        assert_eq!(late.changed(late.ends_at()).now_or_never(), None);
        clock.advance(5 * SECOND);
        assert_eq!(lease.remaining(), Some(Duration::ZERO));
        assert!(lease.is_over(clock.monotonic()));
    }

    #[test]
    fn one_without_an_end_gets_none() {
        let lease = Lease::unlimited();
        lease.renew(SECOND);
        assert_eq!((lease.ends_at(), lease.remaining()), (None, None));
        assert!(!lease.is_over(Duration::MAX));
    }
}
