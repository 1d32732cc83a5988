//! Triggers: inline beside the other fields of a job, as Flask-APScheduler has them, or nested.

use jiff::Timestamp;
use punctual_core::zones::Zones;
use punctual_trigger::{Trigger, TriggerError};
use serde_json::{Map, Number, Value};

use super::iso;
use crate::fields::{Fields, what};
use crate::problem::{Answer, Problem};

/// Every parameter of every trigger.
pub(crate) const KEYS: &[&str] = &[
    "run_date",
    "weeks",
    "days",
    "hours",
    "minutes",
    "seconds",
    "year",
    "month",
    "day",
    "week",
    "day_of_week",
    "hour",
    "minute",
    "second",
    "expr",
    "dialect",
    "years",
    "months",
    "triggers",
    "start_date",
    "end_date",
    "timezone",
    "dst",
    "jitter",
];

const DATES: &[&str] = &["run_date", "start_date", "end_date"];
/// Deeper than the trigger crate goes.
const DEPTH_MAX: usize = 32;

/// Reads `trigger` and its inline parameters; `None` where there is neither.
///
/// # Errors
///
/// The path says where: `hour` for an inline parameter, `trigger.hour` for a nested one.
pub(crate) fn take(fields: &mut Fields) -> Answer<Option<Trigger>> {
    let inline: Map<String, Value> = KEYS
        .iter()
        .filter_map(|&key| Some((key.to_owned(), fields.take(key)?)))
        .filter(|(_, value)| !value.is_null())
        .collect();
    match fields.take("trigger") {
        None | Some(Value::Null) if inline.is_empty() => Ok(None),
        None | Some(Value::Null) => {
            if let Some(key) = inline
                .keys()
                .find(|key| !["run_date", "timezone"].contains(&key.as_str()))
            {
                let message = "is a parameter of a trigger; say which one beside it, such as \"trigger\": \"cron\"";
                return Err(Problem::invalid(key, message));
            }
            read(with_kind(inline, "date"), "").map(Some)
        }
        Some(Value::String(kind)) => read(with_kind(inline, &kind), "").map(Some),
        Some(Value::Object(nested)) => {
            if let Some(key) = inline.keys().next() {
                let message = "stands beside a nested trigger; put it inside";
                return Err(Problem::invalid(key, message));
            }
            nested_trigger(nested).map(Some)
        }
        Some(other) => {
            let message = format!(
                "is {}; it takes the type of a trigger or an object",
                what(&other)
            );
            Err(Problem::invalid("trigger", message))
        }
    }
}

fn nested_trigger(nested: Map<String, Value>) -> Answer<Trigger> {
    let given = nested.into_iter().filter(|(_, value)| !value.is_null());
    let mut map: Map<String, Value> = given.collect();
    if !map.contains_key("type") {
        map = with_kind(map, "date");
    }
    read(map, "trigger.")
}

fn with_kind(mut map: Map<String, Value>, kind: &str) -> Map<String, Value> {
    map.insert("type".to_owned(), kind.into());
    map
}

/// Reads a trigger's wire form as the API does: dates may go without seconds (`2099-01-01 10:00`).
pub fn read_trigger(mut map: Map<String, Value>) -> Result<Trigger, TriggerError> {
    lenient_dates(&mut map, 0);
    Trigger::from_json(&Value::Object(map))
}

fn read(map: Map<String, Value>, path: &str) -> Answer<Trigger> {
    read_trigger(map).map_err(|error| match error.field() {
        Some(field) if field != "type" => {
            Problem::invalid(format!("{path}{field}"), error.message())
        }
        _ => Problem::invalid("trigger", error.message()),
    })
}

/// Adds the seconds that Flask-APScheduler's clients leave out: `2099-01-01 10:00`.
fn lenient_dates(map: &mut Map<String, Value>, depth: usize) {
    for key in DATES {
        if let Some(Value::String(text)) = map.get_mut(*key) {
            *text = with_seconds(text);
        }
    }
    if let Some(Value::Array(parts)) = map.get_mut("triggers")
        && depth < DEPTH_MAX
    {
        for part in parts.iter_mut().filter_map(Value::as_object_mut) {
            lenient_dates(part, depth + 1);
        }
    }
}

fn with_seconds(text: &str) -> String {
    let text = text.trim();
    let Some(at) = text.find([' ', 'T']) else {
        return text.to_owned();
    };
    let time = &text[at + 1..];
    let len = time
        .find(|c: char| !c.is_ascii_digit() && c != ':')
        .unwrap_or(time.len());
    let (clock, rest) = time.split_at(len);
    if clock.matches(':').count() == 1 && !clock.ends_with(':') && !rest.starts_with('.') {
        return format!("{}{clock}:00{rest}", &text[..=at]);
    }
    text.to_owned()
}

/// A date string as a moment, read in `zone`.
pub(crate) fn moment(field: &str, text: &str, zone: &str, zones: &Zones) -> Answer<Timestamp> {
    let mut map = Map::new();
    map.insert("run_date".to_owned(), with_seconds(text).into());
    let wrong = |message: &str| Problem::invalid(field, message);
    let trigger = Trigger::from_json(&Value::Object(with_kind(map, "date")))
        .and_then(|trigger| trigger.resolve(Timestamp::UNIX_EPOCH, zone, zones.db()))
        .map_err(|error| wrong(error.message()))?;
    let schedule = trigger
        .compile(zones.db())
        .map_err(|error| wrong(error.message()))?;
    schedule
        .next_at_or_after(Timestamp::MIN)
        .ok()
        .flatten()
        .ok_or_else(|| wrong("lies beyond the times that can be kept"))
}

/// The fields of a trigger, inline: `trigger` is its type, and dates have their offset.
pub(crate) fn inline(trigger: &Trigger, zones: &Zones) -> Map<String, Value> {
    let Value::Object(mut map) = trigger.to_json() else {
        return Map::new();
    };
    map.remove("type");
    if trigger.kind() == "interval" {
        normalise(&mut map);
    }
    // The start of a calendar interval is a day, which has no offset.
    if trigger.kind() != "calendarinterval" {
        for key in DATES {
            if let Some(Value::String(text)) = map.get_mut(*key) {
                *text = with_offset(text, trigger, zones);
            }
        }
    }
    map.insert("trigger".to_owned(), trigger.kind().into());
    map
}

fn with_offset(text: &str, trigger: &Trigger, zones: &Zones) -> String {
    let name = trigger.timezone().unwrap_or(zones.default_zone());
    let has_offset = text
        .get(19..)
        .is_some_and(|rest| rest.contains(['+', '-', 'Z']));
    match (moment("", text, name, zones), zones.zone(name)) {
        (Ok(moment), Ok(zone)) if !has_offset => iso(&moment.to_zoned(zone)),
        _ => text.to_owned(),
    }
}

/// Units as Flask-APScheduler shows them: 90 minutes are 1 hour and 30 minutes.
fn normalise(map: &mut Map<String, Value>) {
    const UNITS: [(&str, i128); 4] = [
        ("weeks", 604_800_000_000),
        ("days", 86_400_000_000),
        ("hours", 3_600_000_000),
        ("minutes", 60_000_000),
    ];
    let mut micros = 0;
    for (unit, length) in UNITS {
        let count = map.remove(unit).and_then(|value| value.as_i64());
        micros += i128::from(count.unwrap_or(0)) * length;
    }
    if let Some(seconds) = map.remove("seconds").and_then(|value| value.as_f64()) {
        micros += (seconds * 1e6).round() as i128;
    }
    for (unit, length) in UNITS {
        let count = micros / length;
        micros %= length;
        if count > 0 {
            map.insert(unit.to_owned(), Value::from(count as i64));
        }
    }
    if micros > 0 {
        let seconds = if micros % 1_000_000 == 0 {
            Some(Number::from((micros / 1_000_000) as i64))
        } else {
            Number::from_f64(micros as f64 / 1e6)
        };
        map.insert(
            "seconds".to_owned(),
            seconds.map_or(Value::Null, Value::Number),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn seconds_are_added_where_they_are_missing() {
        for (given, read) in [
            ("2099-01-01 10:00", "2099-01-01 10:00:00"),
            ("2099-01-01T10:00Z", "2099-01-01T10:00:00Z"),
            ("2099-01-01 10:00+02:00", "2099-01-01 10:00:00+02:00"),
            ("2099-01-01 10:00:05", "2099-01-01 10:00:05"),
            ("2099-01-01", "2099-01-01"),
            ("ü 1:2", "ü 1:2:00"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(with_seconds(given), read);
        }
    }

    #[test]
    fn intervals_are_shown_in_the_largest_units() {
        let shown = |value: Value| {
            let trigger = Trigger::from_json(&value).unwrap();
            Value::Object(inline(&trigger, &Zones::system()))
        };
        assert_eq!(
            shown(json!({"type": "interval", "minutes": 90})),
            json!({"trigger": "interval", "hours": 1, "minutes": 30})
        );
        assert_eq!(
            shown(json!({"type": "interval", "days": 8, "seconds": 0.5})),
            json!({"trigger": "interval", "weeks": 1, "days": 1, "seconds": 0.5})
        );
    }
}
