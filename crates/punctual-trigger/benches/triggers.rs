//! Next-fire searches beside croner and cron: the same expressions, from fire to fire, in UTC and in New York.
//!
//! `cargo bench -p punctual-trigger` measures; one element is one search.

use chrono::{DateTime, TimeZone as _};
use chrono_tz::Tz;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::{Timestamp, tz::TimeZoneDatabase};
use punctual_trigger::Trigger;
use serde_json::json;
use std::{hint::black_box, str::FromStr as _, time::Duration};

/// A name, and the expression for croner (as for us) and for cron: its weekdays count from 1 on Sunday, so they are
/// names. None where cron cannot say it.
const EXPRESSIONS: [(&str, &str, Option<&str>); 14] = [
    ("every_second", "* * * * * *", Some("* * * * * *")),
    ("every_10_seconds", "*/10 * * * * *", Some("*/10 * * * * *")),
    ("every_minute", "0 * * * * *", Some("0 * * * * *")),
    ("every_5_minutes", "0 */5 * * * *", Some("0 */5 * * * *")),
    ("hourly", "0 0 * * * *", Some("0 0 * * * *")),
    (
        "office_hours",
        "0 */15 9-17 * * mon-fri",
        Some("0 */15 9-17 * * MON-FRI"),
    ),
    ("daily", "0 30 9 * * *", Some("0 30 9 * * *")),
    ("weekdays", "0 0 9 * * mon-fri", Some("0 0 9 * * MON-FRI")),
    ("weekly", "0 0 4 * * sun", Some("0 0 4 * * SUN")),
    ("monthly", "0 0 0 1 * *", Some("0 0 0 1 * *")),
    ("last_day", "0 0 12 L * *", None),
    ("second_friday", "0 0 12 * * fri#2", None),
    ("yearly", "0 0 0 1 1 *", Some("0 0 0 1 1 *")),
    ("leap_day", "0 0 0 29 2 *", Some("0 0 0 29 2 *")),
];
const ZONES: [Tz; 2] = [Tz::UTC, Tz::America__New_York];
const START: i64 = 1_767_225_600;

/// Searches in a round: rare schedules begin anew before the year 2100, where cron's calendar ends.
fn searches(name: &str) -> u64 {
    match name {
        "leap_day" => 15,
        "yearly" => 60,
        "monthly" | "last_day" | "second_friday" => 800,
        _ => 1000,
    }
}

fn next_fire(c: &mut Criterion) {
    let zones = TimeZoneDatabase::bundled();
    for zone in ZONES {
        let mut group = c.benchmark_group(zone.name().replace('/', "_"));
        group
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_millis(700));
        group.sample_size(20);
        let from = zone.timestamp_opt(START, 0).unwrap();
        for (name, expression, for_cron) in EXPRESSIONS {
            group.throughput(Throughput::Elements(searches(name)));
            // Both passes of a fold and no fire in a gap, as cron and croner have it for most expressions.
            let json = json!({
                "type": "crontab", "expr": expression, "timezone": zone.name(), "dst": {"gap": "skip", "fold": "both"},
            });
            let schedule = Trigger::from_json(&json).unwrap().compile(&zones).unwrap();
            group.bench_function(BenchmarkId::new("punctual", name), |b| {
                b.iter(|| {
                    let mut at = Timestamp::constant(START, 0);
                    for _ in 0..searches(name) {
                        at = black_box(&schedule).next_after(at).unwrap().unwrap();
                    }
                    at
                });
            });
            let croner = croner::parser::CronParser::builder()
                .seconds(croner::parser::Seconds::Required)
                .build()
                .parse(expression)
                .unwrap();
            group.bench_function(BenchmarkId::new("croner", name), |b| {
                b.iter(|| {
                    let mut at = from;
                    for _ in 0..searches(name) {
                        at = black_box(&croner).find_next_occurrence(&at, false).unwrap();
                    }
                    at
                });
            });
            let Some(for_cron) = for_cron else { continue };
            let cron = cron::Schedule::from_str(for_cron).unwrap();
            group.bench_function(BenchmarkId::new("cron", name), |b| {
                b.iter(|| next_by_cron(black_box(&cron), from, searches(name)));
            });
            // Its iterator keeps its place between fires, which is more than our `next_after` is told.
            group.bench_function(BenchmarkId::new("cron_iterator", name), |b| {
                b.iter(|| {
                    black_box(&cron)
                        .after(&from)
                        .nth(searches(name) as usize - 1)
                });
            });
        }
        group.finish();
    }
}

fn next_by_cron(cron: &cron::Schedule, from: DateTime<Tz>, searches: u64) -> DateTime<Tz> {
    let mut at = from;
    for _ in 0..searches {
        // cron knows the years to 2100 only.
        at = cron.after(&at).next().unwrap_or(from);
    }
    at
}

/// What a scheduler asks beside the next fire.
fn others(c: &mut Criterion) {
    let zones = TimeZoneDatabase::bundled();
    let compile = |json| Trigger::from_json(&json).unwrap().compile(&zones).unwrap();
    let every_second =
        compile(json!({"type": "cron", "second": "*", "timezone": "America/New_York"}));
    let interval = compile(json!({
        "type": "interval", "seconds": 7, "start_date": "2020-01-01", "timezone": "America/New_York",
    }));
    let impossible = json!({"type": "cron", "month": 2, "day": 30, "timezone": "America/New_York"});
    let start = Timestamp::constant(START, 0);
    let month = Timestamp::constant(START + 30 * 86_400, 0);
    let mut group = c.benchmark_group("others");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700));
    group.sample_size(20);
    group.bench_function("interval_next", |b| {
        b.iter(|| interval.next_after(black_box(start)));
    });
    group.bench_function("count_a_month_of_seconds", |b| {
        b.iter(|| every_second.count(black_box(start), month, u64::MAX));
    });
    group.bench_function("last_before", |b| {
        b.iter(|| every_second.last_at_or_before(black_box(start)));
    });
    group.bench_function("parse_compile_and_search_30_february", |b| {
        b.iter(|| compile(black_box(impossible.clone())).next_after(start));
    });
    group.finish();
}

criterion_group!(benches, next_fire, others);
criterion_main!(benches);
