//! The body of `POST /addCron`, in the tutorial's shape. It is read by hand, so that an error can name the field, the value,
//! what is allowed, and the likely cure.

use axum::http::StatusCode;
use punctual::id::JobId;
use punctual::scheduler::nearest;
use punctual::trigger::Trigger;
use punctual_server::read_trigger;
use serde_json::{Map, Value, json};

use crate::refusal::{Answer, Refusal};

const KEYS: &[&str] = &["task_id", "trigger_type", "run_time", "interval_time"];
const TYPES: &[&str] = &["date", "interval", "cron"];
const CRON_FIELDS: &[&str] = &[
    "year",
    "month",
    "day",
    "week",
    "day_of_week",
    "hour",
    "minute",
    "second",
];
/// Ids that would stand where other words of the paths do, or that clients take out of a path.
const RESERVED: &[&str] = &["jobs", "scheduler", ".", ".."];

const EXAMPLE: &str = r#"{"task_id": "5", "trigger_type": "interval", "interval_time": 10}"#;

/// A job to add.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewTask {
    /// Its id.
    pub(crate) task_id: String,
    /// When it runs.
    pub(crate) trigger: Trigger,
}

/// Reads a body.
pub(crate) fn read(bytes: &[u8]) -> Answer<NewTask> {
    let malformed = |why: String| {
        let msg = format!("the body {why}; it takes an object such as {EXAMPLE}");
        Refusal::new(StatusCode::BAD_REQUEST, msg)
    };
    if bytes.is_empty() {
        return Err(malformed("is empty".to_owned()));
    }
    let body: Value = serde_json::from_slice(bytes)
        .map_err(|error| malformed(format!("is not JSON ({error})")))?;
    let Value::Object(body) = body else {
        return Err(malformed(format!("is {}", what(&body))));
    };
    only(&body, "", KEYS)?;
    let task_id = task_id(body.get("task_id"))?;
    let trigger = trigger(&body)?;
    Ok(NewTask { task_id, trigger })
}

/// What a value is, for people.
fn what(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => {
            let text = other.to_string();
            // A body may be long, and nobody reads all of it.
            match text.char_indices().nth(60) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}

/// Refuses the first key that is not known, with the nearest one that is.
fn only(map: &Map<String, Value>, path: &str, known: &[&str]) -> Answer<()> {
    let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) else {
        return Ok(());
    };
    let why = match nearest(key, known.iter().copied()).first() {
        Some(guess) => format!("unknown key; did you mean {guess:?}?"),
        None => format!("unknown key; these are known: {}", known.join(", ")),
    };
    Err(Refusal::field(&format!("{path}{key}"), why))
}

fn task_id(value: Option<&Value>) -> Answer<String> {
    let wrong = |why: String| Refusal::field("task_id", why);
    let text = match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => number.to_string(),
        None => {
            let why = "is missing; it takes a text or a whole number, such as \"5\"";
            return Err(wrong(why.to_owned()));
        }
        Some(other) => {
            let why = format!(
                "is {}; it takes a text or a whole number, such as \"5\"",
                what(other)
            );
            return Err(wrong(why));
        }
    };
    JobId::new(&text).map_err(|error| wrong(error.to_string()))?;
    if RESERVED.contains(&text.as_str()) {
        let why = format!("{text:?} is a word of this service's paths; choose another id");
        return Err(wrong(why));
    }
    Ok(text)
}

fn trigger(body: &Map<String, Value>) -> Answer<Trigger> {
    let types = "it takes \"date\", \"interval\" or \"cron\"";
    match body.get("trigger_type") {
        Some(Value::String(kind)) => match kind.as_str() {
            "date" => date(belongs(body, kind, "run_time", "interval_time")?),
            "interval" => interval(belongs(body, kind, "interval_time", "run_time")?),
            "cron" => cron(belongs(body, kind, "run_time", "interval_time")?),
            other => {
                let why = match nearest(other, TYPES.iter().copied()).first() {
                    Some(guess) => {
                        format!("{other:?} is not known; did you mean {guess:?}? {types}")
                    }
                    None => format!("{} is not known; {types}", what(&json!(other))),
                };
                Err(Refusal::field("trigger_type", why))
            }
        },
        None => Err(Refusal::field(
            "trigger_type",
            format!("is missing; {types}"),
        )),
        Some(other) => Err(Refusal::field(
            "trigger_type",
            format!("is {}; {types}", what(other)),
        )),
    }
}

/// The value of the key that goes with a type; the other one does not.
fn belongs<'a>(
    body: &'a Map<String, Value>,
    kind: &str,
    key: &str,
    other: &str,
) -> Answer<Option<&'a Value>> {
    if body.contains_key(other) {
        let why = format!("does not go with the trigger_type {kind:?}, which takes {key}");
        return Err(Refusal::field(other, why));
    }
    Ok(body.get(key))
}

fn date(value: Option<&Value>) -> Answer<Trigger> {
    const WANTED: &str =
        "with the trigger_type \"date\" it takes a time, such as \"2020-8-12 12:03:00\"";
    match value {
        Some(Value::String(text)) => {
            let keys = json!({ "type": "date", "run_date": text });
            build(keys, |_| "run_time".to_owned())
        }
        None => Err(Refusal::field("run_time", format!("is missing; {WANTED}"))),
        Some(other) => Err(Refusal::field(
            "run_time",
            format!("is {}; {WANTED}", what(other)),
        )),
    }
}

fn interval(value: Option<&Value>) -> Answer<Trigger> {
    const WANTED: &str = "it takes a number of seconds above 0, such as 10 or \"10\"";
    let wrong = |why: String| Refusal::field("interval_time", format!("{why}; {WANTED}"));
    let number = match value {
        None => return Err(wrong("is missing".to_owned())),
        Some(Value::Number(number)) => Some(number.clone()),
        Some(Value::String(text)) => number(text.trim()),
        Some(_) => None,
    };
    let shown = value.map(what).unwrap_or_default();
    let number = number.ok_or_else(|| wrong(format!("{shown} is no number")))?;
    if number.as_f64().is_none_or(|seconds| seconds <= 0.0) {
        return Err(wrong(format!("{shown} is not above 0")));
    }
    let keys = json!({ "type": "interval", "seconds": number });
    build(keys, |_| "interval_time".to_owned())
}

/// A decimal number in a text.
fn number(text: &str) -> Option<serde_json::Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    let is_decimal = text.chars().all(|c| c.is_ascii_digit() || ".-".contains(c));
    let number: f64 = text.parse().ok().filter(|_| is_decimal)?;
    serde_json::Number::from_f64(number)
}

fn cron(value: Option<&Value>) -> Answer<Trigger> {
    const WANTED: &str = "with the trigger_type \"cron\" it takes an object with at least one of year, month, day, week, \
                          day_of_week, hour, minute and second, such as {\"hour\": \"16\", \"minute\": \"19\"}";
    let wrong = |why: String| Refusal::field("run_time", format!("{why}; {WANTED}"));
    let fields = match value {
        Some(Value::Object(fields)) => fields,
        None => return Err(wrong("is missing".to_owned())),
        Some(other) => return Err(wrong(format!("is {}", what(other)))),
    };
    // Without any it would fire every second, which nobody means by leaving everything out.
    if fields.is_empty() {
        return Err(wrong("is empty".to_owned()));
    }
    only(fields, "run_time.", CRON_FIELDS)?;
    let mut keys = fields.clone();
    keys.insert("type".to_owned(), "cron".into());
    build(Value::Object(keys), |field| format!("run_time.{field}"))
}

/// Makes a trigger; `path` says where in the body its fields stand.
fn build(keys: Value, path: impl Fn(&str) -> String) -> Answer<Trigger> {
    let Value::Object(keys) = keys else {
        return Err(Refusal::internal("a trigger was to be made of no object"));
    };
    read_trigger(keys)
        .map_err(|error| Refusal::field(&path(error.field().unwrap_or("")), error.message()))
}

#[cfg(test)]
mod tests;
