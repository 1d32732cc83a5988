//! The searches against the plainest reading of the rules: try every moment of a window, with jiff's own answers about
//! zones and the calendar.

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, Weekday},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use punctual_trigger::{Schedule, Trigger};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A list of values as a person writes it, and the values.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    values: BTreeSet<i64>,
}

/// One item of a list.
fn item(min: i64, max: i64) -> impl Strategy<Value = Field> {
    prop_oneof![
        3 => (min..=max).prop_map(|a| (a.to_string(), a, a, 1)),
        2 => (min..=max, min..=max).prop_map(|(a, b)| (a.min(b), a.max(b))).prop_map(|(a, b)| (format!("{a}-{b}"), a, b, 1)),
        1 => Just(("*".to_owned(), min, max, 1)),
        1 => (1..=(max - min)).prop_map(move |step| (format!("*/{step}"), min, max, step)),
        1 => (min..max).prop_flat_map(move |a| (1..=max - a).prop_map(move |step| (format!("{a}/{step}"), a, max, step))),
    ]
    .prop_map(|(text, first, last, step)| Field {
        text,
        values: (first..=last).step_by(usize::try_from(step).unwrap()).collect(),
    })
}

fn field(min: i64, max: i64) -> impl Strategy<Value = Field> {
    vec(item(min, max), 1..=3).prop_map(|items| Field {
        text: items
            .iter()
            .map(|item| item.text.clone())
            .collect::<Vec<_>>()
            .join(","),
        values: items.into_iter().flat_map(|item| item.values).collect(),
    })
}

/// The fields of a cron trigger, in their order.
#[derive(Clone, Debug)]
struct Cron {
    fields: [Option<Field>; 8],
}

const NAMES: [&str; 8] = [
    "year",
    "month",
    "day",
    "week",
    "day_of_week",
    "hour",
    "minute",
    "second",
];

impl Cron {
    /// The values of a field with what stands for it where it is not given.
    fn has(&self, i: usize, value: i64) -> bool {
        if let Some(field) = &self.fields[i] {
            return field.values.contains(&value);
        }
        let given_later = self.fields[i..].iter().any(Option::is_some);
        let lowest = [
            None,
            Some(1),
            Some(1),
            None,
            None,
            Some(0),
            Some(0),
            Some(0),
        ][i];
        given_later || lowest.is_none_or(|lowest| value == lowest)
    }

    fn has_date(&self, date: Date) -> bool {
        self.has(0, date.year().into())
            && self.has(1, date.month().into())
            && self.has(2, date.day().into())
            && self.has(3, date.iso_week_date().week().into())
            && self.has(4, date.weekday().to_monday_zero_offset().into())
    }

    fn has_time(&self, at: DateTime) -> bool {
        self.has(5, at.hour().into())
            && self.has(6, at.minute().into())
            && self.has(7, at.second().into())
    }

    fn is_fixed(&self) -> bool {
        let last_given = self.fields.iter().rposition(Option::is_some).unwrap();
        (5..8).all(|i| match &self.fields[i] {
            Some(field) => !field.text.contains(['*', '/']),
            None => i > last_given,
        })
    }

    fn json(&self, zone: &str, dst: Value) -> Value {
        let mut map = Map::new();
        map.insert("type".to_owned(), json!("cron"));
        map.insert("timezone".to_owned(), json!(zone));
        if !dst.is_null() {
            map.insert("dst".to_owned(), dst);
        }
        for (name, field) in NAMES.iter().zip(&self.fields) {
            map.extend(
                field
                    .as_ref()
                    .map(|field| ((*name).to_owned(), json!(field.text))),
            );
        }
        Value::Object(map)
    }
}

/// Fields that match often enough for a window of days.
fn busy_cron() -> impl Strategy<Value = Cron> {
    (
        option::weighted(0.3, field(1, 31)),
        option::weighted(0.2, field(0, 6)),
        option::weighted(0.8, field(0, 23)),
        option::weighted(0.7, field(0, 59)),
        option::weighted(0.2, select(vec!["0", "30", "0,30", "*/30"])),
    )
        .prop_filter(
            "a field is needed",
            |(day, weekday, hour, minute, second)| {
                day.is_some()
                    || weekday.is_some()
                    || hour.is_some()
                    || minute.is_some()
                    || second.is_some()
            },
        )
        .prop_map(|(day, weekday, hour, minute, second)| {
            let second = second.map(|text| Field {
                text: text.to_owned(),
                values: match text {
                    "0" => BTreeSet::from([0]),
                    "30" => BTreeSet::from([30]),
                    _ => BTreeSet::from([0, 30]),
                },
            });
            Cron {
                fields: [None, None, day, None, weekday, hour, minute, second],
            }
        })
}

/// Fields of the date, at midnight.
fn sparse_cron() -> impl Strategy<Value = Cron> {
    (
        option::weighted(0.3, field(1970, 2010)),
        option::weighted(0.5, field(1, 12)),
        option::weighted(0.5, field(1, 31)),
        option::weighted(0.3, field(1, 53)),
        option::weighted(0.4, field(0, 6)),
    )
        .prop_filter("a field is needed", |(year, month, day, week, weekday)| {
            year.is_some()
                || month.is_some()
                || day.is_some()
                || week.is_some()
                || weekday.is_some()
        })
        .prop_map(|(year, month, day, week, weekday)| Cron {
            fields: [year, month, day, week, weekday, None, None, None],
        })
}

/// Zones, and moments near which their clocks change.
const CHANGES: [(&str, &str); 17] = [
    ("UTC", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("America/New_York", "2937-03-12T07:00:00Z"),
    ("Europe/London", "2026-03-29T01:00:00Z"),
    ("Europe/London", "2026-10-25T01:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),
    ("Africa/Cairo", "2024-04-25T22:00:00Z"),
    ("Africa/Cairo", "2024-10-31T21:00:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00:00Z"),
    ("Pacific/Chatham", "2026-04-04T14:00:00Z"),
    ("Africa/Monrovia", "1972-01-07T00:44:30Z"),
    ("America/Nuuk", "2024-03-31T01:00:00Z"),
];

fn policy() -> impl Strategy<Value = Value> {
    let rules = (
        select(vec!["skip", "end", "shift"]),
        select(vec!["first", "second", "both"]),
    )
        .prop_map(|(gap, fold)| json!({"gap": gap, "fold": fold}));
    prop_oneof![3 => rules, 1 => Just(Value::Null), 1 => Just(json!("vixie")), 1 => Just(json!("apscheduler"))]
}

/// The two rules of a policy, by the definition.
fn rules(policy: &Value, fixed: bool) -> (String, String) {
    let (gap, fold) = match policy {
        Value::Object(map) => (map["gap"].as_str().unwrap(), map["fold"].as_str().unwrap()),
        Value::String(word) if word == "apscheduler" => ("shift", "both"),
        _ if fixed => ("end", "first"),
        _ => ("skip", "both"),
    };
    (gap.to_owned(), fold.to_owned())
}

/// The instants that one wall clock time stands for.
fn instants(at: DateTime, tz: &TimeZone, (gap, fold): (&str, &str)) -> Vec<Timestamp> {
    match tz.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Unambiguous { offset } => vec![offset.to_timestamp(at).unwrap()],
        AmbiguousOffset::Gap { before, .. } => {
            let shifted = before.to_timestamp(at).unwrap();
            match gap {
                "skip" => vec![],
                "shift" => vec![shifted],
                _ => vec![
                    tz.preceding(shifted + SignedDuration::from_secs(1))
                        .next()
                        .unwrap()
                        .timestamp(),
                ],
            }
        }
        AmbiguousOffset::Fold { before, after } => {
            let (first, second) = (
                before.to_timestamp(at).unwrap(),
                after.to_timestamp(at).unwrap(),
            );
            match fold {
                "first" => vec![first],
                "second" => vec![second],
                _ => vec![first, second],
            }
        }
    }
}

/// Compares every search with the list of all fires in the window.
fn check(schedule: &Schedule, fires: &BTreeSet<Timestamp>, from: Timestamp, until: Timestamp) {
    let mut at = from;
    for &fire in fires {
        assert_eq!(schedule.next_after(at), Ok(Some(fire)), "next after {at}");
        assert_eq!(schedule.next_at_or_after(fire), Ok(Some(fire)));
        if at > from {
            let before = fire - SignedDuration::from_micros(1);
            assert_eq!(
                schedule.last_at_or_before(before),
                Ok(Some(at)),
                "last before {fire}"
            );
        }
        assert_eq!(schedule.last_at_or_before(fire), Ok(Some(fire)));
        at = fire;
    }
    assert!(
        schedule
            .next_after(at)
            .unwrap()
            .is_none_or(|next| next > until),
        "a fire too many after {at}"
    );
    assert_eq!(
        schedule.count(from, until, u64::MAX),
        Ok(fires.len() as u64)
    );
    assert_eq!(
        schedule.count(from, until, 3),
        Ok(fires.len().min(3) as u64)
    );
    // Parts of the window, ending on fires and between them.
    for (i, &fire) in fires.iter().enumerate().step_by(fires.len() / 7 + 1) {
        assert_eq!(
            schedule.count(from, fire, u64::MAX),
            Ok(i as u64 + 1),
            "count until {fire}"
        );
        assert_eq!(
            schedule.count(fire, until, u64::MAX),
            Ok((fires.len() - i - 1) as u64),
            "count after {fire}"
        );
    }
}

fn compile(zones: &TimeZoneDatabase, json: &Value) -> Schedule {
    let trigger = Trigger::from_json(json).unwrap();
    assert_eq!(Trigger::from_json(&trigger.to_json()).unwrap(), trigger);
    trigger.compile(zones).unwrap()
}

/// So many cases, or as many as `PROPTEST_CASES` says.
fn config(cases: u32) -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: given.and_then(|given| given.parse().ok()).unwrap_or(cases),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(200))]

    /// Around changes of the clock, under every policy.
    #[test]
    fn cron_around_changes(cron in busy_cron(), change in select(&CHANGES[..]), policy in policy()) {
        let zones = TimeZoneDatabase::bundled();
        let (zone, moment) = change;
        let tz = zones.get(zone).unwrap();
        let moment: Timestamp = moment.parse().unwrap();
        let (from, until) = (moment - 36.hours(), moment + 30.hours());
        let (gap, fold) = rules(&policy, cron.is_fixed());
        let start = tz.to_datetime(moment).date().at(0, 0, 0, 0).saturating_sub(4.days());
        let mut fires = BTreeSet::new();
        for step in 0..8 * 2880 {
            let at = start + (i64::from(step) * 30).seconds();
            if cron.has_time(at) && cron.has_date(at.date()) {
                fires.extend(instants(at, &tz, (&gap, &fold)));
            }
        }
        fires.retain(|&fire| from < fire && fire <= until);
        check(&compile(&zones, &cron.json(zone, policy)), &fires, from, until);
    }

    /// Over sixteen years, day by day.
    #[test]
    fn cron_over_years(cron in sparse_cron()) {
        let zones = TimeZoneDatabase::bundled();
        let first = Date::constant(1995, 1, 1);
        let mut fires = BTreeSet::new();
        let mut date = first;
        while date.year() < 2011 {
            if cron.has_date(date) {
                fires.insert(date.to_zoned(TimeZone::UTC).unwrap().timestamp());
            }
            date = date.tomorrow().unwrap();
        }
        let from = first.to_zoned(TimeZone::UTC).unwrap().timestamp() - SignedDuration::from_secs(1);
        let until: Timestamp = "2010-12-31T12:00:00Z".parse().unwrap();
        check(&compile(&zones, &cron.json("UTC", Value::Null)), &fires, from, until);
    }

    /// The day rule of cron(5), with wrap-around weekdays.
    #[test]
    fn crontab_days(
        day in prop_oneof![Just("*".to_owned()), field(1, 31).prop_map(|field| field.text)],
        weekday in prop_oneof![
            Just("*".to_owned()),
            (0i64..=7, 0i64..=7).prop_map(|(a, b)| format!("{a}-{b}")),
            (0i64..=7).prop_map(|a| a.to_string()),
        ],
        month in field(1, 12),
    ) {
        let zones = TimeZoneDatabase::bundled();
        let days: BTreeSet<i64> = {
            // The values again, since the text is all that is left of them.
            let part = |item: &str| -> Vec<i64> {
                let (range, step) = item.split_once('/').map_or((item, None), |(a, b)| (a, Some(b.parse::<usize>().unwrap())));
                let (a, b) = match range.split_once('-') {
                    Some((a, b)) => (a.parse().unwrap(), b.parse().unwrap()),
                    None if range == "*" => (1, 31),
                    None if step.is_some() => (range.parse().unwrap(), 31),
                    None => (range.parse().unwrap(), range.parse().unwrap()),
                };
                (a..=b).step_by(step.unwrap_or(1)).collect()
            };
            day.split(',').flat_map(part).collect()
        };
        let has_weekday = |date: Date| {
            let sunday_zero = i64::from(date.weekday().to_sunday_zero_offset());
            match weekday.split_once('-') {
                None if weekday == "*" => true,
                None => weekday.parse::<i64>().unwrap() % 7 == sunday_zero,
                Some((a, b)) => {
                    let (a, b): (i64, i64) = (a.parse().unwrap(), b.parse().unwrap());
                    // Walk from a to b around the week; 0-7 is all of it.
                    let last = if a <= b { b } else { b + 7 };
                    (a..=last).any(|value| value % 7 == sunday_zero)
                }
            }
        };
        let either = !day.starts_with('*') && !weekday.starts_with('*');
        let mut fires = BTreeSet::new();
        let mut date = Date::constant(2023, 1, 1);
        while date.year() < 2027 {
            let by_day = days.contains(&i64::from(date.day()));
            let matches = if either { by_day || has_weekday(date) } else { by_day && has_weekday(date) };
            if matches && month.values.contains(&i64::from(date.month())) {
                fires.insert(date.at(9, 30, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp());
            }
            date = date.tomorrow().unwrap();
        }
        let expr = format!("30 9 {day} {} {weekday}", month.text);
        let json = json!({"type": "crontab", "expr": expr, "timezone": "UTC"});
        let (from, until) = ("2023-01-01T00:00:00Z".parse().unwrap(), "2026-12-31T23:00:00Z".parse().unwrap());
        check(&compile(&zones, &json), &fires, from, until);
    }

    /// Calendar intervals, date by date.
    #[test]
    fn calendar_intervals(
        (months, weeks, days) in (0u32..15, 0u32..3, 0u32..40).prop_filter("some length", |&(m, w, d)| m + w + d > 0),
        (day, hour, minute) in (1i8..=31, 0i8..24, select(vec![0i8, 15, 30, 59])),
        change in select(&CHANGES[..]),
        policy in policy(),
    ) {
        let zones = TimeZoneDatabase::bundled();
        let (zone, moment) = change;
        let tz = zones.get(zone).unwrap();
        let moment: Timestamp = moment.parse().unwrap();
        let around = tz.to_datetime(moment).date();
        let start = Date::new(around.year() - 1, 1, day).unwrap();
        let (gap, fold) = match &policy {
            Value::Object(_) => rules(&policy, true),
            Value::String(word) if word == "apscheduler" => ("skip".to_owned(), "first".to_owned()),
            _ => ("end".to_owned(), "first".to_owned()),
        };
        let mut fires = BTreeSet::new();
        let mut date = start;
        while date.year() <= around.year() + 1 {
            fires.extend(instants(date.at(hour, minute, 0, 0), &tz, (&gap, &fold)));
            if months > 0 {
                let mut total = i32::from(date.year()) * 12 + i32::from(date.month()) - 1;
                date = loop {
                    total += i32::try_from(months).unwrap();
                    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
                    if let Ok(next) = Date::new(year as i16, month as i8, date.day()) {
                        break next;
                    }
                };
            }
            date += i64::from(weeks * 7 + days).days();
        }
        let from = tz.to_timestamp(start.at(0, 0, 0, 0)).unwrap() - SignedDuration::from_hours(24);
        let until = tz.to_timestamp(Date::new(around.year() + 1, 12, 30).unwrap().at(0, 0, 0, 0)).unwrap();
        fires.retain(|&fire| fire <= until);
        let mut json = json!({
            "type": "calendarinterval", "months": months, "weeks": weeks, "days": days, "hour": hour,
            "minute": minute, "start_date": start.to_string(), "timezone": zone,
        });
        if !policy.is_null() {
            json["dst"] = policy;
        }
        check(&compile(&zones, &json), &fires, from, until);
    }

    /// Intervals, fire by fire.
    #[test]
    fn intervals(every in 1i64..100_000_000, lead in 0i64..1_000_000_000, length in 0i64..1_000_000_000) {
        let zones = TimeZoneDatabase::bundled();
        let start: Timestamp = "2026-01-01T00:00:00.000007Z".parse().unwrap();
        let micros = SignedDuration::from_micros;
        let every = every.max(length / 500 + 1);
        let end = start + micros(length);
        let seconds = format!("{}.{:06}", every / 1_000_000, every % 1_000_000).parse::<f64>().unwrap();
        let json = json!({
            "type": "interval", "seconds": seconds, "start_date": start.to_string(), "end_date": format!("{end:.6}"),
            "timezone": "UTC",
        });
        let fires: BTreeSet<_> = (0..=length / every).map(|k| start + micros(k * every)).collect();
        check(&compile(&zones, &json), &fires, start - micros(lead + 1), end + micros(lead));
    }

    /// Union and intersection of sets that were each found the plain way.
    #[test]
    fn combinations(a in busy_cron(), b in busy_cron(), minutes in 1i64..120) {
        let zones = TimeZoneDatabase::bundled();
        let (from, until): (Timestamp, Timestamp) =
            ("2026-06-30T23:59:59Z".parse().unwrap(), "2026-07-02T12:00:00Z".parse().unwrap());
        let plain = |cron: &Cron| {
            let start = DateTime::constant(2026, 7, 1, 0, 0, 0, 0);
            let all = (0..2880 + 1441).map(|step| start + (i64::from(step) * 30).seconds());
            let fires = all.filter(|&at| cron.has_time(at) && cron.has_date(at.date()));
            fires.map(|at| TimeZone::UTC.to_timestamp(at).unwrap()).collect::<BTreeSet<_>>()
        };
        let every = SignedDuration::from_mins(minutes);
        // From midnight on, for a day and a half.
        let interval: BTreeSet<_> =
            (0..=36 * 60 / minutes).map(|k| from + SignedDuration::from_secs(1) + every * k as i32).collect();
        let parts = [a.json("UTC", Value::Null), b.json("UTC", Value::Null), json!({
            "type": "interval", "minutes": minutes, "start_date": "2026-07-01", "timezone": "UTC",
        })];
        let (a, b) = (plain(&a), plain(&b));
        let any: BTreeSet<_> = a.union(&b).copied().collect::<BTreeSet<_>>().union(&interval).copied().collect();
        check(&compile(&zones, &json!({"type": "or", "triggers": parts})), &any, from, until);
        let both: BTreeSet<_> = a.intersection(&b).copied().collect();
        let schedule = compile(&zones, &json!({"type": "and", "triggers": parts[..2]}));
        // Parts that never meet within the budget answer so, and nothing is wrong then.
        if schedule.next_after(until).is_ok() && schedule.count(from, until, u64::MAX).is_ok() {
            check(&schedule, &both, from, until);
        }
    }
}

/// The weekday that jiff starts from is the one that we count from.
#[test]
fn monday_is_zero() {
    assert_eq!(Weekday::Monday.to_monday_zero_offset(), 0);
}
