//! Edges: the ends of time, what is resolved and what is not, why a trigger is silent, and the cost in memory.
#![allow(
    clippy::needless_pass_by_value,
    reason = "rows of JSON read better without borrows"
)]

use jiff::{Timestamp, tz::TimeZoneDatabase};
use punctual_trigger::{Schedule, SearchLimit, Trigger, jittered, jsonl, upcoming};
use serde_json::{Value, json};
use std::time::Duration;

fn zones() -> TimeZoneDatabase {
    TimeZoneDatabase::bundled()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn compile(trigger: Value) -> Schedule {
    let trigger = Trigger::from_json(&trigger).unwrap_or_else(|error| panic!("{trigger}: {error}"));
    trigger
        .resolve(at("2026-01-01T00:00:00Z"), "UTC", &zones())
        .unwrap()
        .compile(&zones())
        .unwrap()
}

/// All fires of a schedule that ends.
fn all(trigger: Value, now: &str) -> Vec<String> {
    let line = json!({"id": 0, "trigger": trigger, "now": now, "n": 10}).to_string();
    let answer: Value = serde_json::from_str(&jsonl::answer(&line, &zones())).unwrap();
    let fires = answer["fires"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    fires
        .iter()
        .map(|fire| fire.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn schedules_end_with_the_year_9999() {
    let late = "9999-12-30T12:00:00Z";
    assert_eq!(
        all(json!({"type": "cron", "hour": 18}), late),
        ["9999-12-30T18:00:00+00:00", "9999-12-31T18:00:00+00:00"]
    );
    let hours = json!({"type": "interval", "hours": 9, "start_date": "9999-12-31 00:00:00"});
    assert_eq!(
        all(hours, late)[..2],
        ["9999-12-31T00:00:00+00:00", "9999-12-31T09:00:00+00:00"]
    );
    let months = json!({"type": "calendarinterval", "months": 5, "start_date": "9999-05-01"});
    assert_eq!(
        all(months, "9999-01-01T00:00:00Z"),
        ["9999-05-01T00:00:00+00:00", "9999-10-01T00:00:00+00:00"]
    );
    // In zones far to the west and to the east, too.
    for zone in ["Pacific/Kiritimati", "Etc/GMT+12", "America/New_York"] {
        let trigger = json!({"type": "cron", "hour": "*/12", "timezone": zone});
        let schedule = compile(trigger.clone());
        let mut t = at("9999-12-28T00:00:00Z");
        while let Some(next) = schedule.next_after(t).unwrap() {
            assert!(next > t);
            t = next;
        }
        assert!(t > at("9999-12-30T00:00:00Z"));
        assert!(all(trigger, late).len() <= 4);
    }
    // The timestamps themselves end a little earlier.
    assert_eq!(
        compile(json!({"type": "cron", "second": "*"})).next_after(Timestamp::MAX),
        Ok(None)
    );
}

#[test]
fn nothing_panics_at_the_ends_of_time() {
    let triggers = [
        json!({"type": "cron", "second": "*", "timezone": "Pacific/Kiritimati"}),
        json!({"type": "cron", "year": 9999, "timezone": "America/New_York", "dst": {"gap": "shift", "fold": "second"}}),
        json!({"type": "crontab", "expr": "0 0 L * 5L"}),
        json!({"type": "interval", "seconds": 0.000_001, "start_date": "0001-01-01"}),
        json!({"type": "interval", "weeks": 100_000_000, "start_date": "9999-12-31"}),
        json!({"type": "calendarinterval", "months": 1, "start_date": "0001-01-31"}),
        json!({"type": "calendarinterval", "months": 1, "days": 1, "start_date": "0001-01-31"}),
        json!({"type": "calendarinterval", "days": 4_294_967_295_u32, "start_date": "9999-12-31"}),
        json!({"type": "date", "run_date": "0001-01-01 00:00:00+23:59"}),
    ];
    for json in triggers {
        let schedule = compile(json.clone());
        for t in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            let next = schedule.next_after(t).unwrap();
            assert!(next.is_none_or(|next| next > t));
            assert!(
                schedule
                    .last_at_or_before(t)
                    .unwrap()
                    .is_none_or(|last| last <= t)
            );
            assert!(jittered(&schedule, 1, t).is_ok());
        }
        for t in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
            assert!(
                schedule.next_after_micros(t).is_ok()
                    && schedule.next_at_or_after_micros(t).is_ok()
            );
            assert!(schedule.last_at_or_before_micros(t).is_ok());
        }
        assert!(
            schedule.count_micros(i64::MIN, i64::MAX, 1000).unwrap() <= 1000,
            "{json}"
        );
    }
}

#[test]
fn counting_is_arithmetic() {
    let month = (at("2026-01-01T00:00:00Z"), at("2026-01-31T00:00:00Z"));
    let second = compile(json!({"type": "cron", "second": "*", "timezone": "America/New_York"}));
    assert_eq!(second.count(month.0, month.1, u64::MAX), Ok(30 * 86_400));
    assert_eq!(second.count(month.0, month.1, 100), Ok(100));
    // Seven thousand years with two changes of the clock in each.
    let all = second
        .count(
            at("2026-01-01T00:00:00Z"),
            at("9026-01-01T00:00:00Z"),
            u64::MAX,
        )
        .unwrap();
    assert_eq!(
        all,
        (at("9026-01-01T00:00:00Z").as_second() - at("2026-01-01T00:00:00Z").as_second()) as u64
    );
    let micro =
        compile(json!({"type": "interval", "seconds": 0.000_001, "start_date": "2026-01-01"}));
    assert_eq!(
        micro.count(month.0, month.1, u64::MAX),
        Ok(30 * 86_400_000_000)
    );
    // The dense part of a union is not listed either.
    let union = json!({"type": "or", "triggers": [
        {"type": "cron", "second": "*"}, {"type": "cron", "hour": 9}, {"type": "interval", "hours": 1, "start_date": "2026-01-01 00:00:00.5"},
    ]});
    assert_eq!(
        compile(union).count(month.0, month.1, u64::MAX),
        Ok(30 * 86_400 + 30 * 24)
    );
}

#[test]
fn a_fraction_is_exact() {
    let line = json!({"type": "interval", "seconds": 1.1, "start_date": "2026-01-01"});
    let schedule = compile(line);
    let mut t = at("2025-12-31T00:00:00Z");
    for k in 0..1000 {
        t = schedule.next_after(t).unwrap().unwrap();
        assert_eq!(
            t.as_microsecond(),
            at("2026-01-01T00:00:00Z").as_microsecond() + k * 1_100_000
        );
        assert_eq!(schedule.next_at_or_after(t), Ok(Some(t)));
    }
}

#[test]
fn resolving_fixes_what_is_open() {
    let zones = zones();
    let now = at("2026-07-01T12:00:00.25Z");
    let resolve = |json: Value| {
        Trigger::from_json(&json)
            .unwrap()
            .resolve(now, "Europe/Berlin", &zones)
            .unwrap()
    };
    let rows = [
        (
            json!({"type": "date"}),
            json!({"type": "date", "run_date": "2026-07-01T14:00:00.250000+02:00", "timezone": "Europe/Berlin"}),
        ),
        (
            json!({"type": "interval", "hours": 1}),
            json!({"type": "interval", "hours": 1, "start_date": "2026-07-01T15:00:00.250000+02:00", "timezone": "Europe/Berlin"}),
        ),
        (
            json!({"type": "calendarinterval", "days": 1}),
            json!({"type": "calendarinterval", "days": 1, "start_date": "2026-07-01", "timezone": "Europe/Berlin"}),
        ),
        (
            json!({"type": "cron", "hour": 9}),
            json!({"type": "cron", "hour": "9", "timezone": "Europe/Berlin"}),
        ),
        (
            json!({"type": "or", "triggers": [{"type": "cron", "hour": 9, "timezone": "UTC"}, {"type": "crontab", "expr": "@daily"}]}),
            json!({"type": "or", "triggers": [
                {"type": "cron", "hour": "9", "timezone": "UTC"}, {"type": "crontab", "expr": "@daily", "timezone": "Europe/Berlin"},
            ]}),
        ),
    ];
    for (open, fixed) in rows {
        let resolved = resolve(open.clone());
        assert_eq!(resolved.to_json(), fixed);
        // Later, and elsewhere, it stays what it is.
        assert_eq!(
            resolved
                .resolve(at("2030-01-01T00:00:00Z"), "UTC", &zones)
                .unwrap(),
            resolved
        );
        let unresolved = Trigger::from_json(&open)
            .unwrap()
            .compile(&zones)
            .unwrap_err();
        assert!(
            unresolved.to_string().contains("resolve the trigger"),
            "{unresolved}"
        );
    }
    assert!(Trigger::date(now).resolve(now, "Nowhere", &zones).is_err());
}

#[test]
fn silence_has_reasons() {
    let zones = zones();
    let now = at("2026-06-01T00:00:00Z");
    let reason = |json: Value| {
        let trigger = Trigger::from_json(&json)
            .unwrap()
            .resolve(now, "UTC", &zones)
            .unwrap();
        trigger.never_fires_reason(now, &zones)
    };
    let rows = [
        (
            json!({"type": "cron", "month": 2, "day": 30}),
            "day 30 does not exist in February",
        ),
        (
            json!({"type": "cron", "month": "apr,jun", "day": 31}),
            "day 31 does not exist in April and June",
        ),
        (
            json!({"type": "crontab", "expr": "0 0 31 2,4 *"}),
            "day 31 does not exist in February and April",
        ),
        (
            json!({"type": "cron", "month": 6, "week": 1}),
            "ISO weeks do not reach into the given months",
        ),
        (
            json!({"type": "cron", "month": 1, "week": 53, "day_of_week": "wed"}),
            "no date on which all of its fields match",
        ),
        (
            json!({"type": "cron", "year": 2027, "month": 2, "day": 29}),
            "none of the given years",
        ),
        (
            json!({"type": "cron", "year": 2025}),
            "its last fire came before",
        ),
        (
            json!({"type": "cron", "hour": 9, "end_date": "2026-01-01"}),
            "its end_date, 2026-01-01T00:00:00",
        ),
        (
            json!({"type": "interval", "hours": 1, "start_date": "2026-01-01", "end_date": "2026-02-01"}),
            "its end_date, 2026-02-01",
        ),
        (
            json!({"type": "calendarinterval", "days": 1, "start_date": "2026-01-01", "end_date": "2026-02-01"}),
            "its end_date",
        ),
        (
            json!({"type": "and", "triggers": [{"type": "cron", "minute": 0}, {"type": "cron", "minute": 30}]}),
            "search limit",
        ),
        (
            json!({"type": "and", "triggers": [{"type": "cron", "hour": 1}, {"type": "cron", "month": 2, "day": 30}]}),
            "triggers[1] never fires",
        ),
        (
            json!({"type": "or", "triggers": [{"type": "cron", "year": 2025}]}),
            "none of its parts",
        ),
    ];
    for (json, words) in rows {
        let reason = reason(json.clone()).unwrap_or_else(|| panic!("{json} fires"));
        assert!(reason.contains(words), "{json}: {reason}");
    }
    for json in [
        json!({"type": "date", "run_date": "2020-01-01"}),
        json!({"type": "cron", "month": 2, "day": 29}),
        json!({"type": "cron", "month": 2, "day": 29, "day_of_week": "mon"}),
        json!({"type": "cron", "day": "5th mon", "month": 2}),
        json!({"type": "cron", "month": 1, "week": 53}),
        json!({"type": "interval", "weeks": 1}),
    ] {
        assert_eq!(reason(json.clone()), None, "{json}");
    }
}

#[test]
fn and_does_not_hang() {
    let never = compile(
        json!({"type": "and", "triggers": [{"type": "cron", "second": "*/2"}, {"type": "cron", "second": "1/2"}]}),
    );
    let now = at("2026-01-01T00:00:00Z");
    assert!(matches!(never.next_after(now), Err(SearchLimit { .. })));
    assert!(matches!(
        never.last_at_or_before(now),
        Err(SearchLimit { .. })
    ));
    let both = compile(
        json!({"type": "and", "triggers": [{"type": "cron", "minute": "*/2"}, {"type": "cron", "minute": "*/3"}]}),
    );
    let fires: Vec<_> = upcoming(&both, now, 3)
        .unwrap()
        .iter()
        .map(jiff::Zoned::minute)
        .collect();
    assert_eq!(fires, [0, 6, 12]);
}

#[test]
fn or_loses_nobody() {
    let any = json!({"type": "or", "triggers": [
        {"type": "date", "run_date": "2026-01-02 10:00:00+02:00"},
        {"type": "cron", "hour": 9, "timezone": "Europe/Berlin"},
        {"type": "date", "run_date": "2026-01-02 08:30:00"},
    ]});
    assert_eq!(
        all(any, "2026-01-01T12:00:00Z")[..4],
        // The first part in the list speaks where two fire at once: 10:00+02:00 and 09:00+01:00.
        [
            "2026-01-02T10:00:00+02:00",
            "2026-01-02T08:30:00+00:00",
            "2026-01-03T09:00:00+01:00",
            "2026-01-04T09:00:00+01:00"
        ]
    );
}

#[test]
fn serde_uses_the_wire_form() {
    let text = r#"{"day_of_week":"mon-fri","hour":"9","timezone":"Europe/London","type":"cron"}"#;
    let trigger: Trigger = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&trigger).unwrap(), text);
    let error = serde_json::from_str::<Trigger>(r#"{"type":"cron","hour":24}"#).unwrap_err();
    assert!(error.to_string().contains("hour: 24 is above"), "{error}");
}

#[test]
fn every_accepted_case_is_written_and_read_back() {
    let mut accepted = 0;
    for line in include_str!("data/triggers.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let Ok(trigger) = Trigger::from_json(&case["trigger"]) else {
            continue;
        };
        accepted += 1;
        assert_eq!(
            Trigger::from_json(&trigger.to_json()).unwrap(),
            trigger,
            "{line}"
        );
        assert_eq!(
            trigger.to_json(),
            Trigger::from_json(&trigger.to_json()).unwrap().to_json()
        );
    }
    assert!(accepted > 5000);
}

#[test]
fn constructors_and_the_wire_form_meet() {
    let built = Trigger::cron()
        .hour(9)
        .day_of_week("mon-fri")
        .timezone("Europe/London")
        .build()
        .unwrap();
    let read =
        json!({"type": "cron", "hour": 9, "day_of_week": "mon-fri", "timezone": "Europe/London"});
    assert_eq!(built, Trigger::from_json(&read).unwrap());
    let built = Trigger::interval(Duration::from_millis(1500))
        .unwrap()
        .with_jitter(Duration::from_secs(2))
        .unwrap();
    assert_eq!(
        built,
        Trigger::from_json(&json!({"type": "interval", "seconds": 1.5, "jitter": 2})).unwrap()
    );
    assert_eq!(built.jitter(), Some(Duration::from_secs(2)));
    let long = Trigger::interval(Duration::from_micros(1_234_567_890_123_456_789)).unwrap();
    assert_eq!(Trigger::from_json(&long.to_json()).unwrap(), long);
    assert!(
        Trigger::interval(Duration::ZERO).is_err() && Trigger::interval(Duration::MAX).is_err()
    );
    let day = Trigger::calendar_interval()
        .days(1)
        .start_date("2026-01-01")
        .hour(9)
        .build()
        .unwrap();
    assert_eq!(day.kind(), "calendarinterval");
    assert!(Trigger::calendar_interval().hour(9).build().is_err());
    assert!(Trigger::and(vec![]).is_err());
    assert!(
        Trigger::or(vec![day])
            .unwrap()
            .with_timezone("UTC")
            .is_err()
    );
}

/// A million jobs are held in memory.
#[test]
fn schedules_are_small() {
    assert!(size_of::<Schedule>() <= 48, "{}", size_of::<Schedule>());
    assert!(size_of::<Trigger>() <= 112, "{}", size_of::<Trigger>());
}
