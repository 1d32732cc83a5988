//! What a refusal says: the field, what is allowed, the likely cure, and where in the text it lies.
#![allow(
    clippy::needless_pass_by_value,
    reason = "rows of JSON read better without borrows"
)]

use jiff::{Timestamp, tz::TimeZoneDatabase};
use punctual_trigger::{Trigger, TriggerError};
use serde_json::{Value, json};

/// Refused either when it is read or, for zones, when it is resolved.
fn refusal(trigger: &Value) -> TriggerError {
    let zones = TimeZoneDatabase::bundled();
    let resolved = Trigger::from_json(trigger)
        .and_then(|trigger| trigger.resolve(Timestamp::UNIX_EPOCH, "UTC", &zones));
    resolved.expect_err(&trigger.to_string())
}

/// A trigger, the field at fault, and words that the message has to hold.
fn check(trigger: Value, field: Option<&str>, words: &[&str]) {
    let error = refusal(&trigger);
    assert_eq!(error.field(), field, "{trigger}: {error}");
    for word in words {
        assert!(
            error.message().contains(word),
            "{trigger}: no {word:?} in: {error}"
        );
    }
}

#[test]
fn cron_fields() {
    let rows: &[(&str, Value, &[&str])] = &[
        (
            "day",
            json!("0, tue"),
            &[
                "0 is below the lowest value, 1",
                "did you mean day_of_week?",
            ],
        ),
        (
            "day",
            json!("tue"),
            &["\"tue\"", "days of the month", "day_of_week"],
        ),
        ("day", json!("mon-fri"), &["day_of_week"]),
        ("day", json!("jan"), &["did you mean month?"]),
        ("day", json!("32"), &["32 is above the highest value, 31"]),
        ("day", json!("L"), &["did you mean \"last\"?"]),
        ("day", json!("15W"), &["crontab"]),
        ("day", json!("2th mon"), &["2nd"]),
        ("hour", json!("24"), &["24", "0-23", "midnight is 0"]),
        ("hour", json!(24), &["24", "0-23"]),
        ("hour", json!(-1), &["\"-1\"", "0-23"]),
        ("hour", json!("22-2"), &["22-23,0-2"]),
        ("hour", json!("*/24"), &["step 24", "23", "hour=0"]),
        ("hour", json!(""), &["empty", "0-23"]),
        ("hour", json!("1,,2"), &["missing", "0-23"]),
        ("minute", json!("60"), &["0-59", "0"]),
        ("minute", json!("*/60"), &["step 60", "minute=0"]),
        ("minute", json!("*/0"), &["at least 1"]),
        ("minute", json!("5-1"), &["5-59,0-1"]),
        (
            "second",
            json!("99999999999999999999999"),
            &["above", "0-59"],
        ),
        ("month", json!("13"), &["1-12"]),
        ("month", json!("january"), &["did you mean \"jan\"?"]),
        ("month", json!("dec-jan"), &["dec-dec,jan-jan"]),
        ("month", json!("jan-mar/2"), &["a name takes no step"]),
        ("day_of_week", json!("7"), &["Sunday is 6", "\"sun\""]),
        ("day_of_week", json!("monday"), &["did you mean \"mon\"?"]),
        ("day_of_week", json!("fri-tue"), &["fri-sun,mon-tue"]),
        ("day_of_week", json!("2nd fri"), &["day=\"2nd fri\""]),
        ("day_of_week", json!("fri#2"), &["crontab"]),
        ("day_of_week", json!("jan"), &["did you mean month?"]),
        ("week", json!("54"), &["1-53"]),
        ("week", json!("last"), &["day=\"last\""]),
        ("year", json!("24"), &["1970-9999"]),
        ("year", json!("10000"), &["1970-9999"]),
        ("hour", json!(null), &["is null", "whole number or a text"]),
        ("hour", json!(true), &["truth value"]),
        ("hour", json!(2.0), &["whole number"]),
        ("hour", json!([1]), &["is a list"]),
    ];
    for (field, value, words) in rows {
        let trigger = json!({"type": "cron", *field: value});
        check(trigger, Some(field), words);
    }
}

#[test]
fn keys_and_kinds() {
    check(
        json!({"type": "cron"}),
        None,
        &["at least one of", "second=\"*\""],
    );
    check(
        json!({"type": "cron", "dow": 1}),
        Some("dow"),
        &["did you mean \"day_of_week\"?"],
    );
    check(
        json!({"type": "cron", "minutes": 1}),
        Some("minutes"),
        &["did you mean \"minute\"?"],
    );
    check(
        json!({"type": "cron", "hours": 1}),
        Some("hours"),
        &["did you mean \"hour\"?"],
    );
    check(
        json!({"type": "cron", "hour": 1, "tz": "UTC"}),
        Some("tz"),
        &["\"timezone\""],
    );
    check(
        json!({"type": "cron", "horu": 1}),
        Some("horu"),
        &["\"hour\""],
    );
    check(
        json!({"type": "cron", "colour": 1}),
        Some("colour"),
        &["the keys are", "day_of_week"],
    );
    check(
        json!({"type": "interval", "hour": 1}),
        Some("hour"),
        &["did you mean \"hours\"?"],
    );
    check(
        json!({"type": "crontab", "expression": "* * * * *"}),
        Some("expression"),
        &["\"expr\""],
    );
    check(json!({"type": "crontab"}), Some("expr"), &["missing"]);
    check(
        json!({"type": "date", "jitter": 1}),
        Some("jitter"),
        &["no jitter"],
    );
    check(
        json!({"type": "corn"}),
        Some("type"),
        &["did you mean \"cron\"?"],
    );
    check(json!({"type": 5}), Some("type"), &["must be one of"]);
    check(
        json!({"hour": 5}),
        Some("type"),
        &["missing", "calendarinterval"],
    );
    check(json!([]), None, &["an object"]);
    check(
        json!({"type": "crontab", "expr": "* * * * *", "dialect": "quartz"}),
        Some("dialect"),
        &["unix"],
    );
}

#[test]
fn zones() {
    let zone = |name: &str| json!({"type": "cron", "hour": 1, "timezone": name});
    check(
        zone("Europe/Londn"),
        Some("timezone"),
        &["\"Europe/Londn\"", "did you mean \"Europe/London\"?"],
    );
    check(
        zone("europe/london"),
        Some("timezone"),
        &["\"Europe/London\""],
    );
    check(zone("CEST"), Some("timezone"), &["\"Europe/Berlin\""]);
    check(zone("+02:00"), Some("timezone"), &["offset"]);
    check(zone(""), Some("timezone"), &["empty"]);
    check(
        json!({"type": "cron", "hour": 1, "timezone": 2}),
        Some("timezone"),
        &["is a number"],
    );
}

#[test]
fn dates() {
    let date = |text: Value| json!({"type": "date", "run_date": text});
    check(
        date(json!("tomorrow")),
        Some("run_date"),
        &["not a date", "YYYY-MM-DD HH:MM:SS"],
    );
    check(
        date(json!("2026-02-30")),
        Some("run_date"),
        &["the day must be 1-28"],
    );
    check(
        date(json!("2026-13-01")),
        Some("run_date"),
        &["the month must be 1-12"],
    );
    check(
        date(json!("2026-01-01 24:00:00")),
        Some("run_date"),
        &["the hour must be 0-23"],
    );
    check(
        date(json!("2026-01-01 12:00")),
        Some("run_date"),
        &["not a date"],
    );
    check(
        date(json!(20_260_101)),
        Some("run_date"),
        &["is a number", "date string"],
    );
    let calendar =
        |key: &str, text: &str| json!({"type": "calendarinterval", "days": 1, key: text});
    check(
        calendar("start_date", "2026-1-1"),
        Some("start_date"),
        &["all digits"],
    );
    check(
        calendar("end_date", "2026-01-01 00:00:00"),
        Some("end_date"),
        &["plain dates"],
    );
}

#[test]
fn lengths() {
    check(json!({"type": "interval"}), None, &["longer than nothing"]);
    check(
        json!({"type": "interval", "seconds": 0}),
        None,
        &["longer than nothing"],
    );
    check(
        json!({"type": "interval", "seconds": -5}),
        None,
        &["longer than nothing"],
    );
    check(
        json!({"type": "interval", "hours": 1, "minutes": -60}),
        None,
        &["longer than nothing"],
    );
    check(
        json!({"type": "interval", "seconds": "5"}),
        Some("seconds"),
        &["is a text", "number"],
    );
    check(
        json!({"type": "interval", "weeks": 1e300}),
        Some("weeks"),
        &["too long"],
    );
    check(
        json!({"type": "interval", "days": 999_999_999}),
        None,
        &["after the year 9999"],
    );
    check(
        json!({"type": "calendarinterval", "hour": 3}),
        None,
        &["at least one day"],
    );
    check(
        json!({"type": "calendarinterval", "days": 1, "hour": 24}),
        Some("hour"),
        &["0-23"],
    );
    check(
        json!({"type": "calendarinterval", "days": 1, "hour": "1"}),
        Some("hour"),
        &["is a text"],
    );
    check(
        json!({"type": "calendarinterval", "days": -1}),
        Some("days"),
        &["outside"],
    );
    let backwards = json!({"type": "calendarinterval", "days": 1, "start_date": "2026-02-01", "end_date": "2026-01-01"});
    check(backwards, Some("end_date"), &["earlier than start_date"]);
    check(
        json!({"type": "interval", "days": 1, "jitter": -1}),
        Some("jitter"),
        &["from 0"],
    );
    check(
        json!({"type": "interval", "days": 1, "jitter": "1"}),
        Some("jitter"),
        &["is a text"],
    );
}

#[test]
fn policies() {
    let dst = |dst: Value| json!({"type": "cron", "hour": 1, "dst": dst});
    check(dst(json!("posix")), Some("dst"), &["vixie", "apscheduler"]);
    check(dst(json!({})), Some("dst"), &["vixie"]);
    check(
        dst(json!({"gap": "jump"})),
        Some("dst.gap"),
        &["skip", "end", "shift"],
    );
    check(
        dst(json!({"folds": "both"})),
        Some("dst.folds"),
        &["did you mean \"fold\"?"],
    );
    check(
        json!({"type": "interval", "days": 1, "dst": "vixie"}),
        Some("dst"),
        &["unknown key"],
    );
}

#[test]
fn combinations_give_the_path() {
    let hour = json!({"type": "cron", "hour": 9});
    check(
        json!({"type": "and", "triggers": []}),
        Some("triggers"),
        &["at least one"],
    );
    check(json!({"type": "or"}), Some("triggers"), &["missing"]);
    check(
        json!({"type": "or", "triggers": {}}),
        Some("triggers"),
        &["is an object"],
    );
    let wrong = json!({"type": "cron", "hour": 24});
    check(
        json!({"type": "or", "triggers": [hour, wrong]}),
        Some("triggers[1].hour"),
        &["0-23"],
    );
    let nested = json!({"type": "and", "triggers": [{"type": "or", "triggers": [hour, wrong]}]});
    check(nested, Some("triggers[0].triggers[1].hour"), &["0-23"]);
    let zone = json!({"type": "cron", "hour": 9, "timezone": "Nowhere"});
    check(
        json!({"type": "or", "triggers": [hour, zone]}),
        Some("triggers[1].timezone"),
        &["no time zone"],
    );
    let jitter = json!({"type": "cron", "hour": 9, "jitter": 5});
    check(
        json!({"type": "or", "triggers": [jitter]}),
        Some("triggers[0].jitter"),
        &["outermost"],
    );
    let deep = (0..40).fold(
        hour.clone(),
        |inner, _| json!({"type": "or", "triggers": [inner]}),
    );
    assert!(refusal(&deep).message().contains("within each other"));
}

/// The marks lie under the bytes of the span.
#[test]
fn crontab_spans() {
    let rows: &[(&str, &str, &str)] = &[
        ("61 * * * *", "^^", "0-59"),
        ("* 24 * * *", "  ^^", "0-23"),
        ("* * 0 * *", "    ^", "1-31"),
        ("* * * 13 *", "      ^^", "1-12"),
        ("* * * * 8", "        ^", "0-7"),
        ("0 0 1,32 * *", "      ^^", "1-31"),
        ("0 0 1,,2 * *", "    ^^^^", "missing"),
        ("*/0 * * * *", "^^^", "at least 1"),
        ("*/x * * * *", "^^^", "a number"),
        ("0 0 * * fri#6", "        ^^^^^", "1 to 5"),
        ("0 0 * * L", "        ^", "5L is the last Friday"),
        ("0 0 L-31 * *", "    ^^^^", "up to 30"),
        ("0 0 40W * *", "    ^^^", "1-31"),
        ("0 0 * * friday", "        ^^^^^^", "did you mean \"fri\"?"),
        (
            "0 0 mon * *",
            "    ^^^",
            "weekdays belong into the last field",
        ),
        ("0 0 jan * *", "    ^^^", "months belong"),
        ("H * * * *", "^", "jitter"),
        ("@reboot", "^^^^^^^", "not a schedule"),
        ("@every 5m", "^^^^^^", "\"interval\""),
        ("@dayly", "^^^^^^", "did you mean @daily?"),
        ("@daily 5", "      ^^", "nothing may follow"),
        ("CRON_TZ= 0 0 * * *", "^^^^^^^^", "missing"),
        ("0 0 * *", "^^^^^^^", "there are 4 fields"),
        ("", "", "empty"),
        ("0 0 9 * * * 2026", "            ^^^^", "neither a year"),
        (
            "0 9 * * * /bin/true now",
            "                    ^^^",
            "neither a year nor a command",
        ),
    ];
    for (expr, marks, words) in rows {
        let error = Trigger::crontab(expr).expect_err(expr);
        let span = error.span().unwrap();
        assert_eq!(
            (span.start, span.end),
            (marks.find('^').unwrap_or(0), marks.len()),
            "{expr}: {error}"
        );
        assert!(
            error.message().contains(words),
            "{expr}: no {words:?} in: {error}"
        );
        assert_eq!(error.field(), Some("expr"));
        assert_eq!(error.value(), Some(*expr));
    }
}

#[test]
fn the_other_dialect_has_spans_too() {
    let rows: &[(&str, &str, &str)] = &[
        ("0 0 * * 7", "        ^", "Sunday is 6"),
        ("0 0 * * fri-tue", "        ^^^^^^^", "backwards"),
        ("0 0 1,40 * *", "      ^^", "1-31"),
        ("@daily", "^^^^^^", "unix"),
        ("0 0 0 * * *", "^^^^^^^^^^^", "six"),
    ];
    for (expr, marks, words) in rows {
        let error = refusal(&json!({"type": "crontab", "expr": expr, "dialect": "apscheduler"}));
        let span = error.span().unwrap();
        assert_eq!(
            (span.start, span.end),
            (marks.find('^').unwrap(), marks.len()),
            "{expr}: {error}"
        );
        if *words != "six" {
            assert!(
                error.message().contains(words),
                "{expr}: no {words:?} in: {error}"
            );
        }
    }
}

#[test]
fn cron_fields_have_spans() {
    let error = refusal(&json!({"type": "cron", "hour": " 1, 24 ,3"}));
    assert_eq!(error.span(), Some(4..6));
    assert_eq!(error.value(), Some(" 1, 24 ,3"));
    assert!(
        error.to_string().starts_with("hour: 24 is above"),
        "{error}"
    );
}
