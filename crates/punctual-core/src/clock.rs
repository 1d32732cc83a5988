//! The one place that reads the clock of the machine. Everything else is given a [`Clock`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// Wall time and monotonic time, as two readings.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The present time, to the microsecond.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; goes on while the machine sleeps and never goes back. On Unix the moment is the same
    /// for every process of the machine.
    fn monotonic(&self) -> Duration;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn now(&self) -> Timestamp {
        whole_micros(Timestamp::now())
    }

    #[cfg(target_os = "linux")]
    fn monotonic(&self) -> Duration {
        // Unlike `Instant`, which stands still while a laptop sleeps: a lease does not.
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    #[cfg(all(unix, not(target_os = "linux")))]
    fn monotonic(&self) -> Duration {
        // Counts suspend on macOS. Like the one above it is the same in every process of the machine.
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    #[cfg(not(unix))]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn monotonic(&self) -> Duration {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

/// `time` without its nanoseconds: no store keeps them.
pub fn whole_micros(time: Timestamp) -> Timestamp {
    // The last second there is has no fraction that could be given back.
    let whole = Timestamp::from_microsecond(time.as_microsecond());
    whole
        .or_else(|_| Timestamp::from_second(time.as_second()))
        .expect("a second of a timestamp is one")
}

/// `time + duration`, or the last moment there is.
pub fn later(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// `time - duration`, or the first moment there is.
pub fn earlier(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// How long from `from` to `to`; nothing where `to` is not later.
pub fn until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// A clock that a test sets. Both readings move together with [`advance`](Self::advance); [`step_wall`](Self::step_wall)
/// moves the wall alone, as an operator or NTP would.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Mutex<(Timestamp, Duration)>>);

impl SimClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new((whole_micros(now), Duration::ZERO))))
    }

    fn with<T>(&self, f: impl FnOnce(&mut (Timestamp, Duration)) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets `by` pass.
    pub fn advance(&self, by: Duration) {
        self.with(|(wall, mono)| {
            *wall = later(*wall, by);
            *mono += by;
        });
    }

    /// Sets the wall clock without any time having passed.
    pub fn step_wall(&self, to: Timestamp) {
        self.with(|(wall, _)| *wall = whole_micros(to));
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.with(|(wall, _)| *wall)
    }

    fn monotonic(&self) -> Duration {
        self.with(|(_, mono)| *mono)
    }
}
