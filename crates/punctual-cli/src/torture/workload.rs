//! The jobs: of every kind, with every setting, from a seed.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use punctual_core::clock::later;
use serde_json::{Map, Value, json};

use super::history::{Profile, SECOND};
use super::receiver::{Manner, Receiver};

/// A job as it is asked for, whatever its trigger.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) id: String,
    pub(crate) profile: Profile,
    /// Everything but id and trigger.
    body: Map<String, Value>,
}

impl Spec {
    /// The job with this number.
    pub(crate) fn random(rng: &mut fastrand::Rng, number: usize, receiver: &Receiver) -> Self {
        let id = format!("job-{number:04}");
        let http = rng.u8(0..10) < 8;
        let manner = match rng.u8(0..20) {
            0..=9 => Manner::Quick,
            10..=14 => Manner::Flaky,
            15..=17 => Manner::Slow,
            _ => Manner::Long,
        };
        let attempts = *choice(rng, &[1, 1, 2, 3]);
        let rerun = rng.u8(0..4) > 0;
        let grace = *choice(rng, &[None, None, Some(1), Some(4)]);
        let mut body = Map::new();
        let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
        if http {
            set("func", "http".into());
            set(
                "kwargs",
                json!({ "url": receiver.url(&id, manner), "method": "POST" }),
            );
        } else {
            set("func", "log".into());
            set("kwargs", json!({ "message": id, "level": "debug" }));
        }
        set("max_instances", (*choice(rng, &[1, 1, 2, 3])).into());
        set("coalesce", rng.bool().into());
        set(
            "overlap",
            (*choice(rng, &["skip", "queue_one", "cancel_running"])).into(),
        );
        set("on_crash", if rerun { "rerun" } else { "give_up" }.into());
        set("misfire_grace_time", grace.map_or(Value::Null, Value::from));
        if attempts > 1 {
            let backoff = *choice(rng, &["fixed", "linear", "exponential"]);
            let delay = *choice(rng, &[0.2, 0.5, 1.0]);
            set(
                "retry",
                json!({ "attempts": attempts, "delay": delay, "backoff": backoff }),
            );
        }
        if rng.u8(0..6) == 0 {
            set("timeout", json!(1.0));
        }
        Self {
            id,
            profile: Profile {
                http,
                attempts,
                rerun,
                grace: grace.map(|seconds| i64::from(seconds) * SECOND),
            },
            body,
        }
    }

    /// What to send to add it with a trigger.
    pub(crate) fn definition(&self, trigger: &Value) -> Value {
        let mut body = self.body.clone();
        body.insert("id".to_owned(), self.id.as_str().into());
        body.insert("trigger".to_owned(), trigger.clone());
        Value::Object(body)
    }
}

fn choice<'a, T>(rng: &mut fastrand::Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

/// `now` and so many milliseconds.
pub(crate) fn in_millis(now: Timestamp, millis: u64) -> Timestamp {
    later(now, Duration::from_millis(millis))
}

/// A trigger that fires every one to three seconds, or once soon.
pub(crate) fn trigger(rng: &mut fastrand::Rng, now: Timestamp) -> Value {
    match rng.u8(0..20) {
        0..=6 => interval(rng, now),
        7..=10 => {
            let second = *choice(rng, &["*", "*/2", "*/3", "1-59/2"]);
            let zone = *choice(rng, &["UTC", "Europe/Paris", "Asia/Kolkata"]);
            jittered(
                rng,
                json!({ "type": "cron", "second": second, "timezone": zone }),
            )
        }
        11..=12 => json!({ "type": "crontab", "expr": "*/2 * * * * *", "timezone": "UTC" }),
        13..=14 => {
            let at = in_millis(now, rng.u64(1500..8000));
            json!({ "type": "date", "run_date": at.to_string() })
        }
        15..=16 => {
            let at = in_millis(now, rng.u64(2000..8000)).to_zoned(TimeZone::UTC);
            let start: Date = at.date();
            json!({
                "type": "calendarinterval", "days": 1, "hour": at.hour(), "minute": at.minute(), "second": at.second(),
                "start_date": start.to_string(), "timezone": "UTC"
            })
        }
        17..=18 => {
            let every = interval(rng, now);
            let cron = json!({ "type": "cron", "second": "*/3", "timezone": "UTC" });
            let parts = json!([without_jitter(every), cron]);
            jittered(rng, json!({ "type": "or", "triggers": parts }))
        }
        _ => {
            let start = Timestamp::from_second(now.as_second() - 1).unwrap_or(now);
            json!({ "type": "and", "triggers": [
                { "type": "cron", "second": "*", "timezone": "UTC" },
                { "type": "interval", "seconds": 2, "start_date": start.to_string() },
            ] })
        }
    }
}

fn interval(rng: &mut fastrand::Rng, now: Timestamp) -> Value {
    let seconds = *choice(rng, &[1.0, 1.25, 2.0, 3.0]);
    let mut trigger = json!({ "type": "interval", "seconds": seconds });
    if rng.u8(0..3) == 0 {
        let start = in_millis(now, rng.u64(0..2000));
        trigger["start_date"] = start.to_string().into();
    }
    if rng.u8(0..6) == 0 {
        let end = in_millis(now, rng.u64(6000..20_000));
        trigger["end_date"] = end.to_string().into();
    }
    jittered(rng, trigger)
}

fn jittered(rng: &mut fastrand::Rng, mut trigger: Value) -> Value {
    if rng.u8(0..5) == 0 {
        trigger["jitter"] = json!(0.4);
    }
    trigger
}

fn without_jitter(mut trigger: Value) -> Value {
    if let Value::Object(map) = &mut trigger {
        map.remove("jitter");
    }
    trigger
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;
    use punctual_trigger::Trigger;

    use super::*;

    #[test]
    fn every_trigger_fires_soon() {
        let zones = TimeZoneDatabase::bundled();
        let now: Timestamp = "2026-11-22T23:59:57.5Z".parse().unwrap();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut kinds = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let made = trigger(&mut rng, now);
            kinds.insert(made["type"].as_str().unwrap().to_owned());
            let trigger =
                Trigger::from_json(&made).unwrap_or_else(|error| panic!("{made}: {error}"));
            let trigger = trigger.resolve(now, "UTC", &zones).unwrap();
            let next = trigger.compile(&zones).unwrap().next_after(now).unwrap();
            assert!(
                next.is_some_and(|next| next <= in_millis(now, 8000)),
                "{made}: {next:?}"
            );
        }
        assert_eq!(kinds.len(), 7, "{kinds:?}");
    }
}
