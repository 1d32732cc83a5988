//! The kinds of triggers and the keys that each takes.

use crate::{TriggerError, names};
use serde_json::Value;

/// The values of `type`.
pub(crate) const KINDS: [&str; 7] = [
    "date",
    "interval",
    "cron",
    "crontab",
    "calendarinterval",
    "and",
    "or",
];

pub(crate) fn keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "date" => &["run_date", "timezone"],
        "interval" => &[
            "weeks",
            "days",
            "hours",
            "minutes",
            "seconds",
            "start_date",
            "end_date",
            "timezone",
            "jitter",
        ],
        "cron" => &[
            "year",
            "month",
            "day",
            "week",
            "day_of_week",
            "hour",
            "minute",
            "second",
            "start_date",
            "end_date",
            "timezone",
            "dst",
            "jitter",
        ],
        "crontab" => &[
            "expr",
            "dialect",
            "start_date",
            "end_date",
            "timezone",
            "dst",
            "jitter",
        ],
        "calendarinterval" => &[
            "years",
            "months",
            "weeks",
            "days",
            "hour",
            "minute",
            "second",
            "start_date",
            "end_date",
            "timezone",
            "dst",
            "jitter",
        ],
        _ => &["triggers", "jitter"],
    }
}

/// The right key for a wrong one that people use.
fn usual_mistake(key: &str) -> Option<&'static str> {
    Some(match key.to_lowercase().as_str() {
        "dow" | "weekday" | "weekdays" | "dayofweek" | "day_of_weeks" | "wday" => "day_of_week",
        "dom" | "mday" | "day_of_month" => "day",
        "tz" | "zone" | "time_zone" | "tzinfo" => "timezone",
        "start" | "start_time" | "from" => "start_date",
        "end" | "end_time" | "until" | "to" => "end_date",
        "date" | "run_time" | "run_at" | "at" => "run_date",
        "expression" | "cron" | "crontab" | "schedule" | "value" => "expr",
        "parts" | "children" => "triggers",
        _ => return None,
    })
}

pub(crate) fn unknown_key(kind: &str, key: &str, value: &Value) -> TriggerError {
    let allowed = keys(kind);
    let singular = key.strip_suffix('s').filter(|key| allowed.contains(key));
    let plural = allowed
        .iter()
        .find(|known| known.strip_suffix('s') == Some(key));
    let guess = usual_mistake(key)
        .filter(|guess| allowed.contains(guess))
        .or(singular)
        .or(plural.copied())
        .or_else(|| names::nearest(key, allowed.iter().copied()));
    let message = match guess {
        Some(guess) => format!("unknown key for type \"{kind}\"; did you mean \"{guess}\"?"),
        None if key == "jitter" => "a date has no jitter: it fires once".to_owned(),
        None => format!(
            "unknown key for type \"{kind}\"; the keys are {}",
            allowed.join(", ")
        ),
    };
    TriggerError::at(key, value, message)
}
