//! Triggers in words, for people, and in `APScheduler`'s short form.
#![allow(
    clippy::needless_pass_by_value,
    reason = "rows of JSON read better without borrows"
)]

use punctual_trigger::Trigger;
use serde_json::{Value, json};

fn words(trigger: Value) -> String {
    Trigger::from_json(&trigger)
        .unwrap_or_else(|error| panic!("{trigger}: {error}"))
        .describe()
}

#[test]
fn cron() {
    let rows: &[(Value, &str)] = &[
        (
            json!({"day_of_week": "mon-fri", "hour": "9", "timezone": "Europe/London"}),
            "at 09:00 on Monday to Friday, Europe/London",
        ),
        (json!({"hour": 9, "minute": 30}), "at 09:30"),
        (
            json!({"hour": "9,17", "minute": 30, "second": 15}),
            "at 09:30:15 and 17:30:15",
        ),
        (json!({"minute": "*/5"}), "every 5 minutes"),
        (json!({"minute": "*"}), "every minute"),
        (json!({"second": "*"}), "every second"),
        (json!({"second": "*/10"}), "every 10 seconds"),
        (json!({"hour": "*"}), "every hour"),
        (json!({"hour": "*/2"}), "every 2 hours"),
        (json!({"hour": "9-17"}), "every hour from 09:00 to 17:59"),
        (
            json!({"hour": "9-17", "minute": "*/15"}),
            "every 15 minutes in the hours from 09:00 to 17:59",
        ),
        (json!({"minute": 30}), "minute 30 of every hour"),
        (
            json!({"minute": "10,40"}),
            "minutes 10 and 40 of every hour",
        ),
        (json!({"hour": 9, "minute": "*"}), "every minute of hour 9"),
        (
            json!({"day": "last"}),
            "at 00:00 on the last day of the month",
        ),
        (
            json!({"day": "2nd fri", "hour": 12}),
            "at 12:00 on the 2nd Friday of the month",
        ),
        (
            json!({"day": "1,15"}),
            "at 00:00 on day 1 and day 15 of the month",
        ),
        (
            json!({"day": "*/10"}),
            "at 00:00 on every 10th day of the month",
        ),
        (
            json!({"day": 13, "day_of_week": "fri"}),
            "at 00:00 on day 13 of the month if it is Friday",
        ),
        (
            json!({"month": "6-8", "day": "3rd fri"}),
            "at 00:00 on the 3rd Friday of the month in June to August",
        ),
        (
            json!({"month": "jan,jul"}),
            "at 00:00 on day 1 of the month in January and July",
        ),
        (json!({"week": 53}), "at 00:00 in ISO week 53"),
        (
            json!({"year": 2030, "month": 1, "day": 2}),
            "at 00:00 on day 2 of the month in January in 2030",
        ),
        (json!({"day_of_week": 6}), "at 00:00 on Sunday"),
        (
            json!({"hour": 9, "start_date": "2026-8-1", "end_date": "2026-08-31 12:00:00"}),
            "at 09:00, from 2026-08-01 00:00:00, until 2026-08-31 12:00:00",
        ),
        (
            json!({"hour": 9, "jitter": 30}),
            "at 09:00, up to 30 s later",
        ),
    ];
    for (fields, expected) in rows {
        let mut trigger = fields.clone();
        trigger["type"] = json!("cron");
        assert_eq!(words(trigger.clone()), *expected, "{trigger}");
    }
}

#[test]
fn crontab() {
    let rows = [
        ("30 9 * * 1-5", "at 09:30 on Monday to Friday"),
        ("30 9 * * 0", "at 09:30 on Sunday"),
        ("30 9 * * 7", "at 09:30 on Sunday"),
        (
            "0 0 13 * fri",
            "at 00:00 on day 13 of the month or on Friday",
        ),
        (
            "0 0 */2 * fri",
            "at 00:00 on every 2nd day of the month if it is Friday",
        ),
        ("0 0 * * fri#2", "at 00:00 on the 2nd Friday of the month"),
        ("0 0 * * 5L", "at 00:00 on the last Friday of the month"),
        ("0 0 L * *", "at 00:00 on the last day of the month"),
        (
            "0 0 L-3 * *",
            "at 00:00 on the day 3 days before the last of the month",
        ),
        ("0 0 LW * *", "at 00:00 on the last weekday of the month"),
        (
            "0 0 15W * *",
            "at 00:00 on the weekday nearest to day 15 of the month",
        ),
        ("*/5 * * * *", "every 5 minutes"),
        ("0 22-2 * * *", "every hour from 22:00 to 02:59"),
        ("*/10 * * * * *", "every 10 seconds"),
        (
            "0 0 1 nov-feb *",
            "at 00:00 on day 1 of the month in November to February",
        ),
        ("@hourly", "every hour"),
        ("@daily", "at 00:00"),
        ("@weekly", "at 00:00 on Sunday"),
        (
            "CRON_TZ=Asia/Tokyo @monthly",
            "at 00:00 on day 1 of the month, Asia/Tokyo",
        ),
    ];
    for (expr, expected) in rows {
        assert_eq!(
            Trigger::crontab(expr).unwrap().describe(),
            expected,
            "{expr}"
        );
    }
    let monday = json!({"type": "crontab", "expr": "0 0 * * 0", "dialect": "apscheduler"});
    assert_eq!(words(monday), "at 00:00 on Monday");
}

#[test]
fn the_others() {
    let rows: &[(Value, &str)] = &[
        (json!({"type": "date"}), "once, when it is added"),
        (
            json!({"type": "date", "run_date": "2026-8-12 9:5:0", "timezone": "UTC"}),
            "once, at 2026-08-12 09:05:00, UTC",
        ),
        (json!({"type": "interval", "hours": 1}), "every hour"),
        (json!({"type": "interval", "seconds": 1}), "every second"),
        (
            json!({"type": "interval", "minutes": 90}),
            "every 90 minutes",
        ),
        (
            json!({"type": "interval", "hours": 1, "minutes": 30}),
            "every 1 hour and 30 minutes",
        ),
        (
            json!({"type": "interval", "seconds": 1.5}),
            "every 1.5 seconds",
        ),
        (
            json!({"type": "calendarinterval", "days": 1, "hour": 9}),
            "every day at 09:00",
        ),
        (
            json!({"type": "calendarinterval", "months": 3, "days": 1}),
            "every 3 months and 1 day at 00:00",
        ),
        (
            json!({"type": "and", "triggers": [{"type": "cron", "hour": 9}, {"type": "cron", "day": 13}]}),
            "at 09:00 and at the same time at 00:00 on day 13 of the month",
        ),
        (
            json!({"type": "or", "triggers": [{"type": "cron", "hour": 9}, {"type": "interval", "hours": 5}]}),
            "at 09:00, or every 5 hours",
        ),
    ];
    for (trigger, expected) in rows {
        assert_eq!(words(trigger.clone()), *expected, "{trigger}");
    }
}

#[test]
fn short_forms() {
    let rows: &[(Value, &str)] = &[
        (
            json!({"type": "cron", "day": "3rd fri", "month": "6-8"}),
            "cron[month='6-8', day='3rd fri']",
        ),
        (
            json!({"type": "interval", "seconds": 1}),
            "interval[0:00:01]",
        ),
        (
            json!({"type": "interval", "weeks": 1, "seconds": 0.5}),
            "interval[7 days, 0:00:00.500000]",
        ),
        (
            json!({"type": "interval", "hours": 25}),
            "interval[1 day, 1:00:00]",
        ),
        (
            json!({"type": "date", "run_date": "2026-08-12", "timezone": "UTC"}),
            "date[2026-08-12 00:00:00 UTC]",
        ),
        (
            json!({"type": "date", "run_date": "2026-08-12 09:00:00+02:00"}),
            "date[2026-08-12 09:00:00+02:00]",
        ),
        (
            json!({"type": "calendarinterval", "months": 1, "days": 2, "hour": 9}),
            "calendarinterval[1m,2d at 09:00:00]",
        ),
        (
            json!({"type": "crontab", "expr": "0 9 * * *"}),
            "crontab[0 9 * * *]",
        ),
        (
            json!({"type": "and", "triggers": [{"type": "cron", "hour": 9}, {"type": "interval", "days": 2}]}),
            "and[cron[hour='9'], interval[2 days, 0:00:00]]",
        ),
    ];
    for (trigger, expected) in rows {
        assert_eq!(
            Trigger::from_json(trigger).unwrap().to_string(),
            *expected,
            "{trigger}"
        );
    }
}
