//! The wire form: one flat JSON object for each trigger.

use crate::{
    Dialect, Dst, TriggerError,
    date_string::{self, SECOND, When},
    field::FIELDS,
    interval::{self, Length, UNITS},
    keys::{KINDS, keys, unknown_key},
    names,
    spec::{CalendarSpec, ComboSpec, CronSpec, CrontabSpec, DateSpec, IntervalSpec, Spec},
};
use serde_json::{Map, Value};

/// Combinations within combinations: more than anyone means.
const DEPTH_MAX: usize = 16;
const PARTS_MAX: usize = 1000;

const CALENDAR_LENGTHS: [&str; 4] = ["years", "months", "weeks", "days"];

/// What a value is, for people.
fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong_type(key: &str, value: &Value, wanted: &str) -> TriggerError {
    TriggerError::at(
        key,
        value,
        format!("is {}; it must be {wanted}", what(value)),
    )
}

pub(crate) fn read(value: &Value) -> Result<Spec, TriggerError> {
    read_at(value, 0)
}

fn read_at(value: &Value, depth: usize) -> Result<Spec, TriggerError> {
    let Value::Object(map) = value else {
        return Err(TriggerError::new(format!(
            "a trigger is an object such as {{\"type\": \"interval\", \"seconds\": 30}}, not {}",
            what(value)
        )));
    };
    let kind = match map.get("type") {
        Some(Value::String(kind)) if KINDS.contains(&kind.as_str()) => kind.as_str(),
        Some(other) => {
            let guess = other
                .as_str()
                .and_then(|kind| names::nearest(kind, KINDS))
                .map(|guess| format!("did you mean \"{guess}\"? "))
                .unwrap_or_default();
            let message = format!("{guess}must be one of {}", KINDS.join(", "));
            return Err(TriggerError::at("type", other, message));
        }
        None => {
            let message = format!("is missing; must be one of {}", KINDS.join(", "));
            return Err(TriggerError::at("type", "", message));
        }
    };
    for (key, value) in map {
        if key != "type" && !keys(kind).contains(&key.as_str()) {
            return Err(unknown_key(kind, key, value));
        }
    }
    let reader = Reader { map };
    match kind {
        "date" => reader.date(),
        "interval" => reader.interval(),
        "cron" => reader.cron(),
        "crontab" => reader.crontab(),
        "calendarinterval" => reader.calendar_interval(),
        "and" => Ok(Spec::And(reader.combo(depth)?)),
        _ => Ok(Spec::Or(reader.combo(depth)?)),
    }
}

struct Reader<'a> {
    map: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn date(&self) -> Result<Spec, TriggerError> {
        Ok(Spec::Date(DateSpec {
            run_date: self.when("run_date")?,
            timezone: self.timezone()?,
        }))
    }

    fn interval(&self) -> Result<Spec, TriggerError> {
        let mut length = Length::default();
        for (unit, (name, _)) in UNITS.iter().enumerate() {
            match self.map.get(*name) {
                None => {}
                Some(Value::Number(number)) => length.add(unit, number)?,
                Some(other) => return Err(wrong_type(name, other, "a number, such as 5 or 1.5")),
            }
        }
        length.micros()?;
        Ok(Spec::Interval(IntervalSpec {
            length,
            start: self.when("start_date")?,
            end: self.when("end_date")?,
            timezone: self.timezone()?,
            jitter: self.jitter()?,
        }))
    }

    fn cron(&self) -> Result<Spec, TriggerError> {
        let mut spec = CronSpec {
            start: self.when("start_date")?,
            end: self.when("end_date")?,
            timezone: self.timezone()?,
            dst: self.dst()?,
            jitter: self.jitter()?,
            ..CronSpec::default()
        };
        for (field, text) in FIELDS.iter().zip(&mut spec.texts) {
            *text = match self.map.get(field.name()) {
                None => None,
                Some(Value::String(text)) => Some(text.as_str().into()),
                // A negative number fails later like any text, with the range in its message.
                Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                    Some(number.to_string().into())
                }
                Some(other) => {
                    return Err(wrong_type(
                        field.name(),
                        other,
                        "a whole number or a text, such as 9 or \"9-17\"",
                    ));
                }
            };
        }
        spec.fields()?;
        for text in spec.texts.iter_mut().flatten() {
            if text.trim().len() < text.len() {
                *text = text.trim().into();
            }
        }
        Ok(Spec::Cron(Box::new(spec)))
    }

    fn crontab(&self) -> Result<Spec, TriggerError> {
        let expr = match self.map.get("expr") {
            Some(Value::String(expr)) => expr.as_str(),
            Some(other) => {
                return Err(wrong_type(
                    "expr",
                    other,
                    "a text, such as \"30 9 * * mon-fri\"",
                ));
            }
            None => {
                let message = "is missing; it takes an expression such as \"30 9 * * mon-fri\"";
                return Err(TriggerError::at("expr", "", message));
            }
        };
        let dialect = match self.map.get("dialect") {
            None => Dialect::Unix,
            Some(Value::String(word)) if word == "unix" => Dialect::Unix,
            Some(Value::String(word)) if word == "apscheduler" => Dialect::Apscheduler,
            Some(other) => {
                return Err(TriggerError::at(
                    "dialect",
                    other,
                    "must be \"unix\" or \"apscheduler\"",
                ));
            }
        };
        let spec = CrontabSpec {
            expr: expr.into(),
            dialect,
            start: self.when("start_date")?,
            end: self.when("end_date")?,
            timezone: self.timezone()?,
            dst: self.dst()?,
            jitter: self.jitter()?,
        };
        spec.parse()?;
        Ok(Spec::Crontab(Box::new(spec)))
    }

    fn calendar_interval(&self) -> Result<Spec, TriggerError> {
        let mut spec = CalendarSpec {
            hour: self.whole("hour", 23)? as u8,
            minute: self.whole("minute", 59)? as u8,
            second: self.whole("second", 59)? as u8,
            start: self.day("start_date")?,
            end: self.day("end_date")?,
            timezone: self.timezone()?,
            dst: self.dst()?,
            jitter: self.jitter()?,
            ..CalendarSpec::default()
        };
        for (length, name) in spec.lengths.iter_mut().zip(CALENDAR_LENGTHS) {
            *length = self.whole(name, u32::MAX)?;
        }
        spec.check()?;
        Ok(Spec::CalendarInterval(Box::new(spec)))
    }

    fn combo(&self, depth: usize) -> Result<ComboSpec, TriggerError> {
        let list = match self.map.get("triggers") {
            Some(Value::Array(list)) => list,
            Some(other) => return Err(wrong_type("triggers", other, "a list of triggers")),
            None => {
                return Err(TriggerError::at(
                    "triggers",
                    "",
                    "is missing; it takes a list of triggers",
                ));
            }
        };
        if depth >= DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} combinations lie within each other");
            return Err(TriggerError::at("triggers", "", message));
        }
        let mut parts = Vec::new();
        for (i, value) in list.iter().enumerate() {
            parts.push(
                read_at(value, depth + 1)
                    .map_err(|error| error.within(&format!("triggers[{i}]")))?,
            );
        }
        combo(parts, self.jitter()?)
    }

    /// A whole number from 0 on; 0 where it is not given.
    fn whole(&self, key: &str, max: u32) -> Result<u32, TriggerError> {
        let Some(value) = self.map.get(key) else {
            return Ok(0);
        };
        let number = match value {
            Value::Number(number) if number.is_i64() || number.is_u64() => number,
            other => {
                return Err(wrong_type(
                    key,
                    other,
                    &format!("a whole number from 0 to {max}"),
                ));
            }
        };
        number
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|&number| number <= max)
            .ok_or_else(|| TriggerError::at(key, value, format!("{value} is outside 0-{max}")))
    }

    fn when(&self, key: &str) -> Result<Option<When>, TriggerError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => when(key, text).map(Some),
            Some(other) => Err(wrong_type(
                key,
                other,
                "a date string, such as \"2026-08-12 09:30:00\"",
            )),
        }
    }

    fn day(&self, key: &str) -> Result<Option<i64>, TriggerError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => day(key, text).map(Some),
            Some(other) => Err(wrong_type(key, other, "a date, such as \"2026-08-12\"")),
        }
    }

    fn timezone(&self) -> Result<Option<Box<str>>, TriggerError> {
        match self.map.get("timezone") {
            None => Ok(None),
            Some(Value::String(name)) => Ok(Some(zone_name(name)?)),
            Some(other) => Err(wrong_type(
                "timezone",
                other,
                "the name of a zone, such as \"Europe/London\"",
            )),
        }
    }

    fn dst(&self) -> Result<Dst, TriggerError> {
        self.map.get("dst").map_or(Ok(Dst::Vixie), Dst::from_json)
    }

    /// Microseconds.
    fn jitter(&self) -> Result<i64, TriggerError> {
        match self.map.get("jitter") {
            None => Ok(0),
            Some(Value::Number(number)) => interval::decimal_times(&number.to_string(), SECOND)
                .and_then(|micros| i64::try_from(micros).ok())
                .filter(|micros| (0..=JITTER_MAX).contains(micros))
                .ok_or_else(|| {
                    let message = "must be a number of seconds from 0 to 100 years";
                    TriggerError::at("jitter", number, message)
                }),
            Some(other) => Err(wrong_type(
                "jitter",
                other,
                "a number of seconds, such as 30 or 0.5",
            )),
        }
    }
}

/// A hundred years.
pub(crate) const JITTER_MAX: i64 = 100 * 366 * 86_400 * SECOND;

/// Checks what holds for the parts of `and` and `or`.
pub(crate) fn combo(parts: Vec<Spec>, jitter: i64) -> Result<ComboSpec, TriggerError> {
    if parts.is_empty() {
        return Err(TriggerError::at(
            "triggers",
            "[]",
            "must hold at least one trigger",
        ));
    }
    if parts.len() > PARTS_MAX {
        let message = format!("must hold at most {PARTS_MAX} triggers");
        return Err(TriggerError::at("triggers", parts.len(), message));
    }
    for (i, part) in parts.iter().enumerate() {
        if part.jitter() != 0 {
            let message = "a part has no jitter of its own; give it to the outermost trigger";
            let jitter = interval::seconds(part.jitter());
            return Err(
                TriggerError::at("jitter", jitter, message).within(&format!("triggers[{i}]"))
            );
        }
    }
    Ok(ComboSpec { parts, jitter })
}

/// Reads a date string.
pub(crate) fn when(key: &str, text: &str) -> Result<When, TriggerError> {
    When::parse(text).map_err(|why| TriggerError::at(key, text, why))
}

/// Reads a date of a calendar interval: `YYYY-MM-DD`, all digits there.
pub(crate) fn day(key: &str, text: &str) -> Result<i64, TriggerError> {
    let mut rest = text;
    match date_string::date(&mut rest, 2) {
        Some(Ok(day)) if rest.is_empty() => Ok(day),
        Some(Err(why)) => Err(TriggerError::at(key, text, why)),
        _ => {
            let message = "a calendar interval takes plain dates, YYYY-MM-DD with all digits, such as \"2026-08-12\"";
            Err(TriggerError::at(key, text, message))
        }
    }
}

/// A name that a zone could have; whether one has it shows when the trigger is resolved.
pub(crate) fn zone_name(name: &str) -> Result<Box<str>, TriggerError> {
    if name.is_empty() {
        let message = "the name is empty; leave the key out for the default, or give a name such as \"Europe/London\"";
        return Err(TriggerError::at("timezone", name, message));
    }
    Ok(name.into())
}

impl Spec {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Spec::Date(_) => "date",
            Spec::Interval(_) => "interval",
            Spec::Cron(_) => "cron",
            Spec::Crontab(_) => "crontab",
            Spec::CalendarInterval(_) => "calendarinterval",
            Spec::And(_) => "and",
            Spec::Or(_) => "or",
        }
    }

    /// Microseconds; 0 for none.
    pub(crate) fn jitter(&self) -> i64 {
        match self {
            Spec::Date(_) => 0,
            Spec::Interval(spec) => spec.jitter,
            Spec::Cron(spec) => spec.jitter,
            Spec::Crontab(spec) => spec.jitter,
            Spec::CalendarInterval(spec) => spec.jitter,
            Spec::And(combo) | Spec::Or(combo) => combo.jitter,
        }
    }

    pub(crate) fn timezone(&self) -> Option<&str> {
        match self {
            Spec::Date(spec) => spec.timezone.as_deref(),
            Spec::Interval(spec) => spec.timezone.as_deref(),
            Spec::Cron(spec) => spec.timezone.as_deref(),
            Spec::Crontab(spec) => {
                let inner = spec.parse().ok().and_then(|parsed| parsed.zone);
                inner.or(spec.timezone.as_deref())
            }
            Spec::CalendarInterval(spec) => spec.timezone.as_deref(),
            Spec::And(_) | Spec::Or(_) => None,
        }
    }

    pub(crate) fn write(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(key.to_owned(), value);
            }
        };
        put("type", Some(self.kind().into()));
        let when = |when: Option<When>| when.map(|when| when.to_string().into());
        let day = |day: Option<i64>| {
            day.map(|day| {
                let mut text = String::new();
                date_string::write_date(&mut text, day).expect("a string takes all");
                text.into()
            })
        };
        let zone = |zone: &Option<Box<str>>| zone.as_deref().map(Value::from);
        match self {
            Spec::Date(spec) => {
                put("run_date", when(spec.run_date));
                put("timezone", zone(&spec.timezone));
            }
            Spec::Interval(spec) => {
                put("start_date", when(spec.start));
                put("end_date", when(spec.end));
                put("timezone", zone(&spec.timezone));
                spec.length.write(&mut map);
            }
            Spec::Cron(spec) => {
                for (field, text) in FIELDS.iter().zip(&spec.texts) {
                    put(field.name(), text.as_deref().map(Value::from));
                }
                put("start_date", when(spec.start));
                put("end_date", when(spec.end));
                put("timezone", zone(&spec.timezone));
                put("dst", spec.dst.to_json());
            }
            Spec::Crontab(spec) => {
                put("expr", Some(Value::from(&*spec.expr)));
                if spec.dialect == Dialect::Apscheduler {
                    put("dialect", Some("apscheduler".into()));
                }
                put("start_date", when(spec.start));
                put("end_date", when(spec.end));
                put("timezone", zone(&spec.timezone));
                put("dst", spec.dst.to_json());
            }
            Spec::CalendarInterval(spec) => {
                for (length, name) in spec.lengths.iter().zip(CALENDAR_LENGTHS) {
                    put(
                        name,
                        Some(*length).filter(|&length| length != 0).map(Value::from),
                    );
                }
                for (name, value) in [
                    ("hour", spec.hour),
                    ("minute", spec.minute),
                    ("second", spec.second),
                ] {
                    put(
                        name,
                        Some(value).filter(|&value| value != 0).map(Value::from),
                    );
                }
                put("start_date", day(spec.start));
                put("end_date", day(spec.end));
                put("timezone", zone(&spec.timezone));
                put("dst", spec.dst.to_json());
            }
            Spec::And(combo) | Spec::Or(combo) => {
                put(
                    "triggers",
                    Some(combo.parts.iter().map(Spec::write).collect()),
                );
            }
        }
        if self.jitter() != 0 {
            map.insert(
                "jitter".to_owned(),
                Value::Number(interval::seconds(self.jitter())),
            );
        }
        Value::Object(map)
    }
}
