//! What cron(5) means by an expression, row by row.

use jiff::{Timestamp, tz::TimeZoneDatabase};
use punctual_trigger::{Trigger, upcoming};
use serde_json::json;

/// Fires in UTC from the first of January 2026, a Thursday.
fn fires(expr: &str, n: usize) -> Vec<String> {
    let zones = TimeZoneDatabase::bundled();
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let trigger = Trigger::crontab(expr).unwrap_or_else(|error| panic!("{expr}: {error}"));
    let schedule = trigger
        .resolve(now, "UTC", &zones)
        .unwrap()
        .compile(&zones)
        .unwrap();
    let fires = upcoming(&schedule, now, n).unwrap();
    fires
        .iter()
        .map(|fire| fire.strftime("%m-%d %H:%M:%S").to_string())
        .collect()
}

/// The dates of the fires, for expressions of one time a day.
fn dates(expr: &str, dates: &str) {
    let expected: Vec<_> = dates.split(' ').collect();
    let got: Vec<_> = fires(expr, expected.len())
        .iter()
        .map(|fire| fire[..5].to_owned())
        .collect();
    assert_eq!(got, expected, "{expr}");
}

/// The times of the fires of the first day.
fn times(expr: &str, times: &str) {
    let expected: Vec<_> = times.split(' ').collect();
    let got: Vec<_> = fires(expr, expected.len())
        .iter()
        .map(|fire| fire[6..].to_owned())
        .collect();
    assert_eq!(got, expected, "{expr}");
}

#[test]
fn weekdays() {
    dates("0 0 * * 0", "01-04 01-11");
    dates("0 0 * * 7", "01-04 01-11");
    dates("0 0 * * sun", "01-04 01-11");
    dates("0 0 * * SUN", "01-04 01-11");
    dates("0 0 * * 1-5", "01-01 01-02 01-05 01-06");
    dates("0 0 * * mon-Fri", "01-01 01-02 01-05 01-06");
    dates("0 0 * * 5-7", "01-02 01-03 01-04 01-09");
    dates("0 0 * * 6,0", "01-03 01-04 01-10");
    dates("0 0 * * 0-7", "01-01 01-02 01-03 01-04");
    dates("0 0 * * */2", "01-01 01-03 01-04 01-06 01-08");
    dates("0 0 * * mon-sat/2", "01-02 01-05 01-07 01-09");
}

#[test]
fn ranges_wrap_around() {
    dates("0 0 * * fri-mon", "01-02 01-03 01-04 01-05 01-09");
    dates("0 0 * * 6-1", "01-03 01-04 01-05 01-10");
    dates("0 0 * * sat-sun", "01-03 01-04 01-10");
    dates("0 0 1 nov-feb *", "01-01 02-01 11-01 12-01 01-01");
    dates("0 0 30-2 * *", "01-01 01-02 01-30 01-31 02-01");
    times(
        "0 22-2 * * *",
        "00:00:00 01:00:00 02:00:00 22:00:00 23:00:00",
    );
    times("0 22-3/2 * * *", "00:00:00 02:00:00 22:00:00 00:00:00");
    times("58-1 0 * * *", "00:00:00 00:01:00 00:58:00 00:59:00");
}

#[test]
fn day_and_weekday() {
    // Or, where neither begins with a star.
    dates("0 0 13 * fri", "01-02 01-09 01-13 01-16");
    dates("0 0 1,15 * 0", "01-01 01-04 01-11 01-15 01-18");
    // And, where one does.
    dates("0 0 * * fri", "01-02 01-09");
    dates("0 0 13 * *", "01-13 02-13");
    dates("0 0 */2 * 1", "01-05 01-19 02-09 02-23");
    dates("0 0 1-7 * */7", "01-04 02-01 03-01 04-05");
    dates("0 0 13 * ?", "01-13 02-13");
    dates("0 0 ? * fri", "01-02 01-09");
}

#[test]
fn last_days_nearest_weekdays_and_nth_weekdays() {
    dates("0 0 L * *", "01-31 02-28 03-31");
    dates("0 0 l * *", "01-31 02-28 03-31");
    dates("0 0 L-3 * *", "01-28 02-25 03-28");
    dates("0 0 L-30 * *", "01-01 03-01 05-01");
    // 31 January and 28 February are Saturdays, 31 March is a Tuesday.
    dates("0 0 LW * *", "01-30 02-27 03-31");
    // 15 February and 15 March are Sundays, 15 August is a Saturday.
    dates("0 0 15W * *", "01-15 02-16 03-16 04-15");
    dates("0 0 15W 8 *", "08-14");
    // 1 February and 1 March are Sundays, 1 August is a Saturday: it goes to Monday the 3rd.
    dates("0 0 1W 2,8 *", "02-02 08-03");
    dates("0 0 31W 5 *", "05-29");
    dates("0 0 1,L * *", "01-01 01-31 02-01 02-28");
    dates("0 0 * * fri#2", "01-09 02-13 03-13");
    dates("0 0 * * 5#5", "01-30 05-29 07-31");
    dates("0 0 * * 0#1", "01-04 02-01 03-01");
    dates("0 0 * * 7#1", "01-04 02-01 03-01");
    dates("0 0 * * 5L", "01-30 02-27 03-27");
    dates("0 0 * * friL", "01-30 02-27 03-27");
    dates("0 0 * * mon#1,fri#3", "01-05 01-16 02-02");
}

#[test]
fn times_of_day() {
    times("30 9 * * *", "09:30:00 09:30:00");
    times("*/20 0 * * *", "00:00:00 00:20:00 00:40:00");
    times("5/25 0 * * *", "00:05:00 00:30:00 00:55:00");
    times("10-40/15 0 * * *", "00:10:00 00:25:00 00:40:00");
    times("*/60 * * * *", "00:00:00 01:00:00");
    times("0,0,1 0 * * *", "00:00:00 00:01:00 00:00:00");
    times("*/30 * * * * *", "00:00:00 00:00:30 00:01:00");
    times("15 30 9 * * *", "09:30:15 09:30:15");
    times("  0\t 9  *  * * ", "09:00:00 09:00:00");
}

#[test]
fn macros() {
    dates("@yearly", "01-01 01-01");
    dates("@annually", "01-01 01-01");
    dates("@monthly", "01-01 02-01");
    dates("@weekly", "01-04 01-11");
    dates("@daily", "01-01 01-02");
    dates("@midnight", "01-01 01-02");
    dates("@DAILY", "01-01 01-02");
    times("@hourly", "00:00:00 01:00:00");
}

#[test]
fn zones_in_the_expression() {
    times("CRON_TZ=Europe/Berlin 0 9 * * *", "09:00:00 09:00:00");
    times("TZ=Asia/Tokyo @hourly", "09:00:00 10:00:00");
    let trigger = Trigger::crontab("CRON_TZ=Europe/Berlin 0 9 * * *").unwrap();
    assert_eq!(trigger.timezone(), Some("Europe/Berlin"));
    let zones = TimeZoneDatabase::bundled();
    // No need to resolve what names its zone.
    assert!(trigger.compile(&zones).is_ok());
    assert!(trigger.clone().with_timezone("Europe/Berlin").is_ok());
    assert_eq!(
        trigger.with_timezone("UTC").unwrap_err().field(),
        Some("timezone")
    );
    let unknown = Trigger::crontab("CRON_TZ=Berlin 0 9 * * *").unwrap();
    let error = unknown
        .resolve(Timestamp::UNIX_EPOCH, "UTC", &zones)
        .unwrap_err();
    assert!(error.to_string().contains("Europe/Berlin"), "{error}");
}

#[test]
fn the_other_dialect_counts_from_monday() {
    let zones = TimeZoneDatabase::bundled();
    let json = json!({"type": "crontab", "expr": "0 0 13 * 4", "dialect": "apscheduler", "timezone": "UTC"});
    let schedule = Trigger::from_json(&json).unwrap().compile(&zones).unwrap();
    let fires = upcoming(&schedule, "2026-01-01T00:00:00Z".parse().unwrap(), 2).unwrap();
    // Fridays that are the 13th.
    let fires: Vec<_> = fires.iter().map(|fire| fire.date().to_string()).collect();
    assert_eq!(fires, ["2026-02-13", "2026-03-13"]);
}
