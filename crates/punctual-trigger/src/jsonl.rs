//! One line of JSON in, one line out: `{"id", "trigger", "now", "n"}` to `{"id", "fires": […]}` or `{"id", "error"}`.

use crate::{Trigger, date_string, schedule::floor_micros};
use jiff::{Timestamp, tz::TimeZoneDatabase};
use serde_json::{Value, json};

/// The most fires that one line may ask for.
pub const FIRES_MAX: u64 = 10_000;
/// How many there are where the line does not say.
const FIRES_DEFAULT: u64 = 5;

/// Answers one line. Whatever it holds, the answer is one JSON object without a line end.
///
/// The zone is UTC where the trigger names none; without `now` the line is refused, since there is no clock here.
///
/// ```
/// use jiff::tz::TimeZoneDatabase;
/// use punctual_trigger::jsonl;
///
/// let line = r#"{"id": 1, "trigger": {"type": "interval", "hours": 1}, "now": "2026-01-01T00:00:00Z", "n": 1}"#;
/// let answer = jsonl::answer(line, &TimeZoneDatabase::bundled());
/// assert_eq!(answer, r#"{"fires":["2026-01-01T01:00:00+00:00"],"id":1}"#);
/// ```
pub fn answer(line: &str, zones: &TimeZoneDatabase) -> String {
    let (id, fires) = match serde_json::from_str::<Value>(line) {
        Ok(case) => (
            case.get("id").cloned().unwrap_or_default(),
            fires(&case, zones),
        ),
        Err(error) => (Value::Null, Err(format!("not JSON: {error}"))),
    };
    match fires {
        Ok(fires) => json!({"id": id, "fires": fires}).to_string(),
        Err(error) => json!({"id": id, "error": error}).to_string(),
    }
}

fn fires(case: &Value, zones: &TimeZoneDatabase) -> Result<Vec<String>, String> {
    let Some(Value::String(now)) = case.get("now") else {
        return Err(
            "now: must be an RFC 3339 time with an offset, such as \"2026-01-01T00:00:00Z\""
                .to_owned(),
        );
    };
    let now: Timestamp = now.parse().map_err(|error| format!("now: {error}"))?;
    let n = match case.get("n") {
        None => FIRES_DEFAULT,
        Some(n) => n
            .as_u64()
            .filter(|&n| n <= FIRES_MAX)
            .ok_or_else(|| format!("n: must be a whole number from 0 to {FIRES_MAX}"))?,
    };
    let trigger = case.get("trigger").ok_or("trigger: is missing")?;
    let trigger = Trigger::from_json(trigger).map_err(|error| error.to_string())?;
    let trigger = trigger
        .resolve(now, "UTC", zones)
        .map_err(|error| error.to_string())?;
    let schedule = trigger.compile(zones).map_err(|error| error.to_string())?;
    let micros = floor_micros(now) + i64::from(now.subsec_nanosecond() % 1000 != 0);
    let fires = schedule
        .upcoming_micros(micros, n as usize)
        .map_err(|error| error.to_string())?;
    let print = |fire: i64| {
        let mut text = String::new();
        date_string::write_rfc3339(&mut text, fire, schedule.offset_at(fire))
            .expect("a string takes all");
        text
    };
    Ok(fires.into_iter().map(print).collect())
}
