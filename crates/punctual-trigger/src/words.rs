//! Schedules as people type them, in a flag, a builder or an attribute: `day=last fri hour=3`, `1h30m`.
//!
//! [`Trigger::cron_fields`] and [`Trigger::every`] make triggers of them; what is here makes their wire form, for front
//! ends that add keys of their own.

use crate::{TriggerError, interval};
use serde_json::{Map, Value, json};
use std::time::Duration;

#[cfg(doc)]
use crate::Trigger;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write 90s, 1h30m, 2d or a number of seconds")]
pub struct DurationError(String);

const UNITS: [(&str, f64); 10] = [
    ("ms", 0.001),
    ("sec", 1.0),
    ("s", 1.0),
    ("min", 60.0),
    ("m", 60.0),
    ("hours", 3600.0),
    ("h", 3600.0),
    ("days", 86_400.0),
    ("d", 86_400.0),
    ("w", 604_800.0),
];

/// Reads a duration: `90s`, `1h30m`, `2d`, `1.5h`, or a number of seconds.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    total_seconds(text)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| DurationError(text.to_owned()))
}

fn total_seconds(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse() {
        return Some(seconds);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (_, length) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        total += number * length;
        rest = rest[letters..].trim_start();
    }
    Some(total)
}

/// Reads a duration as the wire form has it: a number of seconds, whole where it is.
pub fn seconds(text: &str) -> Result<Value, DurationError> {
    let duration = duration(text)?;
    if duration.subsec_nanos() == 0 {
        return Ok(duration.as_secs().into());
    }
    Ok(json!(duration.as_secs_f64()))
}

/// Reads a duration as an interval's wire form, in units as large as they go: `90s` is a minute and 30 seconds.
pub fn interval(text: &str) -> Result<Map<String, Value>, DurationError> {
    let whole = duration(text)?;
    let mut map = Map::from_iter([("type".to_owned(), "interval".into())]);
    let mut left = whole.as_secs();
    for (unit, length) in [("days", 86_400), ("hours", 3600), ("minutes", 60)] {
        if left >= length {
            map.insert(unit.to_owned(), (left / length).into());
            left %= length;
        }
    }
    let micros = left as i64 * 1_000_000 + i64::from(whole.subsec_micros());
    if micros > 0 || map.len() == 1 {
        map.insert(
            "seconds".to_owned(),
            Value::Number(interval::seconds(micros)),
        );
    }
    Ok(map)
}

/// Reads `day=last fri hour=3` as a cron trigger's wire form: what has no `=` goes on with the value before it. Any key of
/// a cron trigger will do, also `timezone=Europe/Paris`. Whether the values fit is not asked here.
pub fn cron_fields(text: &str) -> Result<Map<String, Value>, TriggerError> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for word in text.split_whitespace() {
        match (word.split_once('='), fields.last_mut()) {
            (Some((name, value)), _) => {
                if fields.iter().any(|(known, _)| *known == name) {
                    return Err(TriggerError::at(name, text, "is given twice"));
                }
                fields.push((name, value.to_owned()));
            }
            (None, Some((_, value))) => {
                value.push(' ');
                value.push_str(word);
            }
            (None, None) => return Err(no_field(word, text)),
        }
    }
    let mut map = Map::from_iter([("type".to_owned(), "cron".into())]);
    for (name, value) in fields {
        let value = if name == "jitter" {
            seconds(&value)
                .map_err(|error| TriggerError::at("jitter", &value, error.to_string()))?
        } else {
            value.into()
        };
        if map.insert(name.to_owned(), value).is_some() {
            return Err(TriggerError::at(name, text, "is \"cron\" here already"));
        }
    }
    Ok(map)
}

fn no_field(word: &str, text: &str) -> TriggerError {
    let first = text.trim_start().chars().next();
    let cure = if first.is_some_and(|c| c.is_ascii_digit() || "*@".contains(c)) {
        "; for an expression such as \"0 3 * * *\" take crontab"
    } else {
        ""
    };
    TriggerError::new(format!(
        "{word:?} is no field; write \"day_of_week=mon-fri hour=9\"{cure}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trigger;

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("90s", Some(90_000)),
            ("90", Some(90_000)),
            ("0.5", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("2d", Some(172_800_000)),
            ("1w", Some(604_800_000)),
            ("1.5h", Some(5_400_000)),
            ("", None),
            ("h", None),
            ("5 parsecs", None),
            ("-5s", None),
            ("nan", None),
            ("inf", None),
            ("1e400", None),
        ] {
            let read = duration(text).ok().map(|duration| duration.as_millis());
            assert_eq!(read, millis, "{text}");
        }
    }

    #[test]
    fn intervals_are_in_large_units() {
        for (text, wire) in [
            (
                "90s",
                json!({"type": "interval", "minutes": 1, "seconds": 30}),
            ),
            ("1.5", json!({"type": "interval", "seconds": 1.5})),
            ("25h", json!({"type": "interval", "days": 1, "hours": 1})),
            ("0", json!({"type": "interval", "seconds": 0})),
        ] {
            assert_eq!(Value::Object(interval(text).unwrap()), wire, "{text}");
        }
        let trigger = Trigger::every("1h30m").unwrap();
        assert_eq!(trigger, Trigger::from_json(&trigger.to_json()).unwrap());
        assert_eq!(trigger.describe(), "every 1 hour and 30 minutes");
    }

    #[test]
    fn cron_fields_may_hold_spaces_and_any_key() {
        let fields = cron_fields("day=last fri hour=3 minute=*/5 jitter=1m").unwrap();
        assert_eq!(
            Value::Object(fields),
            json!({"type": "cron", "day": "last fri", "hour": "3", "minute": "*/5", "jitter": 60})
        );
        let trigger = Trigger::cron_fields("hour=3 timezone=Europe/Paris").unwrap();
        assert_eq!(trigger.describe(), "at 03:00, Europe/Paris");
    }

    #[test]
    fn refusals_name_the_field_and_the_cure() {
        let cron = |text| Trigger::cron_fields(text).unwrap_err().to_string();
        let every = |text| Trigger::every(text).unwrap_err().to_string();
        for (error, wanted) in [
            (cron("hour=25"), "hour: 25 is above the highest value, 23"),
            (
                cron("huor=2"),
                "huor: unknown key for type \"cron\"; did you mean \"hour\"?",
            ),
            (cron("hour=1 hour=2"), "hour: is given twice"),
            (cron("0 3 * * *"), "take crontab"),
            (
                cron("daily"),
                "\"daily\" is no field; write \"day_of_week=mon-fri hour=9\"",
            ),
            (cron(""), "needs at least one of"),
            (cron("hour=1 type=date"), "type: is \"cron\" here already"),
            (
                cron("hour=1 jitter=long"),
                "jitter: \"long\" is not a duration",
            ),
            (every("soon"), "every: \"soon\" is not a duration"),
            (every("0s"), "longer than nothing"),
        ] {
            assert!(error.contains(wanted), "{error}");
        }
    }
}
