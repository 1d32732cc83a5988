//! Jitter.
use crate::{Schedule, SearchLimit};
use jiff::Timestamp;
/// The nominal fire moved by the schedule's jitter.
pub fn jittered(
    _schedule: &Schedule,
    _job_seed: u64,
    nominal: Timestamp,
) -> Result<Timestamp, SearchLimit> {
    Ok(nominal)
}
