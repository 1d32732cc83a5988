//! Jitter: a delay that spreads jobs which are due at the same time.

use crate::{Schedule, SearchLimit, date_string::SECOND, schedule};
use jiff::Timestamp;

/// The nominal fire, delayed by the schedule's jitter.
///
/// The delay depends on the job and on the nominal time alone, so every node and every restart finds the same one, and
/// it never adds up from fire to fire. It is at most the jitter, ends before the next nominal fire (so fires keep their
/// order and none is lost or doubled) and, where the schedule has an end date, at that date.
pub fn jittered(
    schedule: &Schedule,
    job_seed: u64,
    nominal: Timestamp,
) -> Result<Timestamp, SearchLimit> {
    let Some(jitter) = schedule.jitter() else {
        return Ok(nominal);
    };
    let from = schedule::floor_micros(nominal);
    let mut latest = from
        .saturating_add(jitter.as_micros() as i64)
        .min(schedule.end_micros().max(from));
    if let Some(next) = schedule.next_after_micros(from)? {
        latest = latest.min(next - 1);
    }
    let choices = (latest - from) as u64 + 1;
    // The high half of the product is spread evenly over the choices.
    let delay = (u128::from(hash(job_seed, from)) * u128::from(choices)) >> 64;
    Ok(schedule::timestamp(from + delay as i64).unwrap_or(nominal))
}

/// Two rounds of splitmix64. Stored due times depend on it: it must not change.
fn hash(job_seed: u64, nominal: i64) -> u64 {
    splitmix64(job_seed ^ splitmix64(nominal.cast_unsigned()))
}

fn splitmix64(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const _: () = assert!(SECOND == 1_000_000, "the delay is counted in microseconds");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trigger;
    use jiff::tz::TimeZoneDatabase;
    use serde_json::json;

    #[test]
    fn the_mix_is_fixed() {
        // The first outputs of the reference implementation for the states 0 and 1.
        assert_eq!(splitmix64(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(splitmix64(1), 0x910a_2dec_8902_5cc1);
        assert_eq!(
            hash(7, 1_700_000_000_000_000),
            hash(7, 1_700_000_000_000_000)
        );
        assert_ne!(
            hash(7, 1_700_000_000_000_000),
            hash(8, 1_700_000_000_000_000)
        );
    }

    #[test]
    fn fires_keep_their_order() {
        let zones = TimeZoneDatabase::bundled();
        // Jitter far above the gap between fires.
        let trigger = Trigger::from_json(&json!({
            "type": "cron", "second": "*/7", "jitter": 3600, "timezone": "UTC", "end_date": "2026-01-01 01:00:00"
        }));
        let schedule = trigger.unwrap().compile(&zones).unwrap();
        let mut at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let end: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut previous = at;
        let mut moved = 0;
        while let Some(fire) = schedule.next_after(at).unwrap() {
            let delayed = jittered(&schedule, 42, fire).unwrap();
            assert!(previous < delayed && fire <= delayed && delayed <= end);
            assert_eq!(delayed, jittered(&schedule, 42, fire).unwrap());
            moved += u32::from(delayed != fire);
            (previous, at) = (delayed, fire);
        }
        assert_eq!(at, end);
        assert!(moved > 500);
    }
}
