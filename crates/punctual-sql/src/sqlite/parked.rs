//! Jobs that this process cannot read. They stay as they are and where they are; claims step over them.
//!
//! Only this process knows of it: another, newer one may read them well. After a while, or once the job is changed, it
//! is looked at again, so a job heals without anybody saying so.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use punctual_core::id::JobId;

/// How long a job that cannot be read is left alone.
pub(super) const LOOK_AGAIN_AFTER: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Parked(Mutex<HashMap<JobId, Place>>);

#[derive(Debug)]
struct Place {
    edition: (i64, i64),
    until: Duration,
}

impl Parked {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<JobId, Place>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Steps over this edition of a job from now on; `monotonic` is the clock's reading.
    pub(super) fn park(&self, id: JobId, edition: (i64, i64), monotonic: Duration) {
        let until = monotonic + LOOK_AGAIN_AFTER;
        self.with(|places| places.insert(id, Place { edition, until }));
    }

    /// Whether a claim steps over the job.
    pub(super) fn holds(&self, id: &str, edition: (i64, i64), monotonic: Duration) -> bool {
        self.with(|places| {
            let Some(place) = places.get(id) else {
                return false;
            };
            let holds = place.edition == edition && monotonic < place.until;
            if !holds {
                places.remove(id);
            }
            holds
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.with(|places| places.is_empty())
    }
}
