//! Fuzz bodies: plain functions that panic on a fault, for `cargo fuzz` and for a stable test alike.

use crate::{Dialect, Trigger, crontab as expression, date_string::When, jsonl};
use jiff::{Timestamp, tz::TimeZoneDatabase};
use std::sync::OnceLock;

/// Zones without the host's data, so that a finding is one everywhere.
fn zones() -> &'static TimeZoneDatabase {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    ZONES.get_or_init(TimeZoneDatabase::bundled)
}

/// Any text as the wire form of a trigger: reads back what it writes, and all searches agree with each other.
pub fn trigger_json(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else {
        return;
    };
    match Trigger::from_json(&value) {
        Ok(trigger) => search(&trigger),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Any text as a crontab expression, in both dialects; spans of errors lie within the text.
pub fn crontab(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for dialect in [Dialect::Unix, Dialect::Apscheduler] {
        if let Err(error) = expression::parse(text, dialect) {
            let span = error
                .span()
                .expect("every error in an expression has its place");
            assert!(text.get(span).is_some(), "a span cuts a letter: {error}");
        }
    }
    if let Ok(trigger) = Trigger::crontab(text) {
        search(&trigger);
    }
}

/// Any text as a cron field.
pub fn cron_field(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let builders = [
        Trigger::cron().year(text),
        Trigger::cron().month(text),
        Trigger::cron().day(text),
        Trigger::cron().week(text),
        Trigger::cron().day_of_week(text),
        Trigger::cron().minute(text),
    ];
    for builder in builders {
        match builder.build() {
            Ok(trigger) => search(&trigger),
            Err(error) => {
                let value = error.value().expect("the value is named");
                assert!(value.get(error.span().expect("and its place")).is_some());
            }
        }
    }
}

/// Any text as a date string: what it prints reads back as the same.
pub fn date_string(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(when) = When::parse(text) {
        assert_eq!(When::parse(&when.to_string()), Ok(when));
    }
}

/// Any line of the JSON lines protocol: one JSON object in answer.
pub fn json_line(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let answer: serde_json::Value =
        serde_json::from_str(&jsonl::answer(text, zones())).expect("JSON");
    assert!(answer.get("fires").is_some() != answer.get("error").is_some());
}

fn search(trigger: &Trigger) {
    let again = Trigger::from_json(&trigger.to_json()).expect("it reads what it writes");
    assert_eq!(*trigger, again);
    assert!(!trigger.describe().is_empty() && !trigger.to_string().is_empty());
    let now = Timestamp::from_second(1_772_953_199).expect("in range");
    let Ok(resolved) = trigger.resolve(now, "America/New_York", zones()) else {
        return;
    };
    let schedule = resolved.compile(zones()).expect("resolved");
    let Ok(Some(next)) = schedule.next_after(now) else {
        return;
    };
    assert!(next > now);
    assert_eq!(schedule.last_at_or_before(next), Ok(Some(next)));
    assert_eq!(schedule.next_at_or_after(next), Ok(Some(next)));
    assert!(
        schedule
            .count(now, next, u64::MAX)
            .is_ok_and(|count| count == 1)
    );
}
