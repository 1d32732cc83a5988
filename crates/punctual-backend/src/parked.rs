//! Jobs that this process cannot read. They stay as they are and where they are; claims step over them.
//!
//! Only this process knows of it: another, newer one may read them well. After a while they are looked at again, so a job
//! heals without anybody saying so.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use punctual_core::id::JobId;

/// How long a job that cannot be read is left alone.
const LOOK_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Until when, on the monotonic clock, each is left alone.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<HashMap<JobId, Duration>>);

impl Parked {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<JobId, Duration>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Steps over a job from now on.
    pub(crate) fn park(&self, id: JobId, monotonic: Duration) {
        self.with(|places| places.insert(id, monotonic + LOOK_AGAIN_AFTER));
    }

    /// The job was written by somebody who can read it.
    pub(crate) fn release(&self, id: &JobId) {
        self.with(|places| places.remove(id));
    }

    /// The jobs that claims step over now.
    pub(crate) fn ids(&self, monotonic: Duration) -> Vec<JobId> {
        self.with(|places| {
            places.retain(|_, until| monotonic < *until);
            places.keys().cloned().collect()
        })
    }
}
