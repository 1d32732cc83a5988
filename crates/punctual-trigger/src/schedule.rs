//! The compiled set of instants.
use jiff::{Timestamp, Zoned, tz::TimeZone};
use std::time::Duration;

/// A search spent its budget of steps before it found an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("search limit: the parts of this trigger did not agree within {steps} steps")]
pub struct SearchLimit {
    /// How many steps were taken.
    pub steps: u32,
}

/// The compiled set of instants.
#[derive(Clone, Debug)]
pub struct Schedule {}

impl Schedule {
    /// The first fire strictly after `t`.
    pub fn next_after(&self, _t: Timestamp) -> Result<Option<Timestamp>, SearchLimit> {
        Ok(None)
    }
    /// The first fire at or after `t`.
    pub fn next_at_or_after(&self, _t: Timestamp) -> Result<Option<Timestamp>, SearchLimit> {
        Ok(None)
    }
    /// The last fire at or before `t`.
    pub fn last_at_or_before(&self, _t: Timestamp) -> Result<Option<Timestamp>, SearchLimit> {
        Ok(None)
    }
    /// `next_after` in microseconds since the epoch.
    pub fn next_after_micros(&self, _t: i64) -> Result<Option<i64>, SearchLimit> {
        Ok(None)
    }
    /// `next_at_or_after` in microseconds since the epoch.
    pub fn next_at_or_after_micros(&self, _t: i64) -> Result<Option<i64>, SearchLimit> {
        Ok(None)
    }
    /// `last_at_or_before` in microseconds since the epoch.
    pub fn last_at_or_before_micros(&self, _t: i64) -> Result<Option<i64>, SearchLimit> {
        Ok(None)
    }
    /// How many fires lie in (after, until], at most `cap`.
    pub fn count(
        &self,
        _after: Timestamp,
        _until: Timestamp,
        _cap: u64,
    ) -> Result<u64, SearchLimit> {
        Ok(0)
    }
    /// `count` in microseconds since the epoch.
    pub fn count_micros(&self, _after: i64, _until: i64, _cap: u64) -> Result<u64, SearchLimit> {
        Ok(0)
    }
    /// The jitter.
    pub fn jitter(&self) -> Option<Duration> {
        None
    }
    /// The instant with the offset to print.
    pub fn zoned(&self, t: Timestamp) -> Zoned {
        t.to_zoned(TimeZone::UTC)
    }
    /// Why there is no fire at or after `now`; none where there is one.
    pub fn never_fires_reason(&self, _now: Timestamp) -> Option<String> {
        None
    }
}

/// The first `n` fires at or after `now`; a date counts also when it is past.
pub fn upcoming(
    _schedule: &Schedule,
    _now: Timestamp,
    _n: usize,
) -> Result<Vec<Zoned>, SearchLimit> {
    Ok(Vec::new())
}
