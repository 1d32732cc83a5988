//! What the end of a lease means for a worker.

use std::time::Duration;

use super::wire::moment;
use crate::clock::{Clock, SystemClock};

/// When to do something about a lease that is not renewed, by the monotonic clock of the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The run is asked to wind up.
    pub(super) stop_at: Duration,
    /// The worker is killed, in time to be gone before the lease ends.
    pub(super) kill_at: Duration,
}

impl Ends {
    /// For a lease that ends then.
    pub(super) fn of(end: u64) -> Self {
        let end = moment(end);
        let remaining = end.saturating_sub(SystemClock.monotonic());
        let grace = (remaining / 4).clamp(Duration::from_millis(500), Duration::from_secs(2));
        Self {
            stop_at: end.saturating_sub(grace),
            kill_at: end.saturating_sub(grace / 2),
        }
    }
}
