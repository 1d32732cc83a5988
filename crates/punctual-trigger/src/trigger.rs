//! A trigger as data.

use crate::{
    CalendarIntervalBuilder, CronBuilder, Schedule, TriggerError,
    date_string::{SECOND, When},
    describe,
    interval::Length,
    schedule::floor_micros,
    short, silence,
    spec::{Adding, CrontabSpec, DateSpec, IntervalSpec, Spec},
    wire, words,
};
use jiff::{Timestamp, tz::TimeZoneDatabase};
use serde_json::Value;
use std::{fmt, time::Duration};

/// When a job fires, as data: valid by construction, and the same in JSON.
///
/// A trigger may leave open what depends on the moment a job is added: the zone, the start of an interval, the date of a
/// date. [`Trigger::resolve`] fixes these; then it is a set of instants, which [`Trigger::compile`] makes searchable.
///
/// ```
/// use jiff::{Timestamp, tz::TimeZoneDatabase};
/// use punctual_trigger::{Trigger, upcoming};
/// use serde_json::json;
///
/// let zones = TimeZoneDatabase::bundled();
/// let now: Timestamp = "2026-11-22T17:00:00Z".parse()?;
/// let trigger = Trigger::from_json(&json!({"type": "crontab", "expr": "30 9 * * mon-fri"}))?;
/// let schedule = trigger.resolve(now, "Europe/London", &zones)?.compile(&zones)?;
/// let next = upcoming(&schedule, now, 1)?;
/// assert_eq!(next[0].to_string(), "2026-11-23T09:30:00+00:00[Europe/London]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    spec: Spec,
}

impl From<Spec> for Trigger {
    fn from(spec: Spec) -> Trigger {
        Trigger { spec }
    }
}

impl Trigger {
    /// Reads the wire form, such as `{"type":"cron","day_of_week":"mon-fri","hour":"9","timezone":"Europe/London"}`.
    ///
    /// Everything is checked but the names of zones, for which [`Trigger::resolve`] has the database.
    pub fn from_json(value: &Value) -> Result<Trigger, TriggerError> {
        wire::read(value).map(Trigger::from)
    }

    /// The wire form in its one canonical spelling: only the keys that were given, cron fields as text.
    /// [`Trigger::from_json`] reads it back as an equal trigger.
    pub fn to_json(&self) -> Value {
        self.spec.write()
    }

    /// Fixes what depends on the moment of adding: the zone where none is named, `run_date` (then `now`), the
    /// `start_date` of an interval (`now` plus the interval) and of a calendar interval (today); also within `and` and
    /// `or`. All names of zones are checked. Resolving twice changes nothing.
    pub fn resolve(
        &self,
        now: Timestamp,
        default_zone: &str,
        zones: &TimeZoneDatabase,
    ) -> Result<Trigger, TriggerError> {
        let mut spec = self.spec.clone();
        spec.resolve(&Adding {
            now: floor_micros(now),
            default_zone,
            zones,
        })?;
        Ok(Trigger { spec })
    }

    /// Makes a resolved trigger searchable.
    ///
    /// # Errors
    ///
    /// Where something is still open, naming the field; where `zones` does not know the zone.
    pub fn compile(&self, zones: &TimeZoneDatabase) -> Result<Schedule, TriggerError> {
        self.spec.compile(zones)
    }

    /// The `type` of the wire form: `date`, `interval`, `cron`, `crontab`, `calendarinterval`, `and` or `or`.
    pub fn kind(&self) -> &'static str {
        self.spec.kind()
    }

    /// Plain English, such as "at 09:00 on Monday to Friday, Europe/London".
    pub fn describe(&self) -> String {
        describe::describe(&self.spec)
    }

    /// The largest delay that jitter may add to a fire. A date has none.
    pub fn jitter(&self) -> Option<Duration> {
        let micros = self.spec.jitter().cast_unsigned();
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// The name of the zone, if one is named (also by `CRON_TZ=`). `and` and `or` have none of their own.
    pub fn timezone(&self) -> Option<&str> {
        self.spec.timezone()
    }

    /// Why the trigger has no fire at or after `now`; none where it has one. A past date counts as a fire.
    ///
    /// It has to be resolved; one that does not compile is silent for that reason.
    pub fn never_fires_reason(&self, now: Timestamp, zones: &TimeZoneDatabase) -> Option<String> {
        match self.compile(zones) {
            Err(error) => Some(error.to_string()),
            Ok(schedule) => {
                let reason = schedule.never_fires_reason(now)?;
                Some(silence::missing_date(&self.spec).unwrap_or(reason))
            }
        }
    }

    /// Fires once, at an instant.
    pub fn date(at: Timestamp) -> Trigger {
        let run_date = Some(When::utc(floor_micros(at)));
        Spec::Date(DateSpec {
            run_date,
            timezone: None,
        })
        .into()
    }

    /// Fires once, at a date string such as `2026-12-24 18:00:00`, which is read in the trigger's zone.
    pub fn at(text: &str) -> Result<Trigger, TriggerError> {
        let run_date = Some(wire::when("run_date", text)?);
        Ok(Spec::Date(DateSpec {
            run_date,
            timezone: None,
        })
        .into())
    }

    /// Fires again and again, in elapsed time; microseconds count, what is smaller is dropped.
    pub fn interval(every: Duration) -> Result<Trigger, TriggerError> {
        let micros = i64::try_from(every.as_micros()).map_err(|_| {
            TriggerError::new("the interval is too long: it must be shorter than a billion days")
        })?;
        let length = Length::from_micros(micros);
        length.micros()?;
        Ok(Spec::Interval(IntervalSpec {
            length,
            start: None,
            end: None,
            timezone: None,
            jitter: 0,
        })
        .into())
    }

    /// The same by a duration as people write it: `90s`, `1h30m`, `2d`, or a number of seconds.
    ///
    /// ```
    /// use punctual_trigger::Trigger;
    ///
    /// assert_eq!(Trigger::every("90s")?.describe(), "every 1 minute and 30 seconds");
    /// # Ok::<(), punctual_trigger::TriggerError>(())
    /// ```
    pub fn every(text: &str) -> Result<Trigger, TriggerError> {
        let map = words::interval(text)
            .map_err(|error| TriggerError::at("every", text, error.to_string()))?;
        Trigger::from_json(&Value::Object(map))
    }

    /// What cron(5) means by the expression: five fields, or six with seconds first.
    pub fn crontab(expr: &str) -> Result<Trigger, TriggerError> {
        let spec = CrontabSpec {
            expr: expr.into(),
            ..CrontabSpec::default()
        };
        spec.parse()?;
        Ok(Spec::Crontab(Box::new(spec)).into())
    }

    /// `APScheduler`'s cron fields, one by one.
    pub fn cron() -> CronBuilder {
        CronBuilder::default()
    }

    /// `APScheduler`'s cron fields, and any other key of a cron trigger, in one text.
    ///
    /// ```
    /// use punctual_trigger::Trigger;
    ///
    /// let trigger = Trigger::cron_fields("day=last fri hour=9 timezone=Europe/London")?;
    /// assert_eq!(trigger.to_string(), "cron[day='last fri', hour='9']");
    /// # Ok::<(), punctual_trigger::TriggerError>(())
    /// ```
    pub fn cron_fields(text: &str) -> Result<Trigger, TriggerError> {
        Trigger::from_json(&Value::Object(words::cron_fields(text)?))
    }

    /// Years, months, weeks and days by the calendar.
    pub fn calendar_interval() -> CalendarIntervalBuilder {
        CalendarIntervalBuilder::default()
    }

    /// Fires when all parts fire.
    pub fn and(parts: Vec<Trigger>) -> Result<Trigger, TriggerError> {
        let parts = parts.into_iter().map(|part| part.spec).collect();
        Ok(Spec::And(wire::combo(parts, 0)?).into())
    }

    /// Fires when any part fires, once where several do.
    pub fn or(parts: Vec<Trigger>) -> Result<Trigger, TriggerError> {
        let parts = parts.into_iter().map(|part| part.spec).collect();
        Ok(Spec::Or(wire::combo(parts, 0)?).into())
    }

    /// The same trigger in a zone, by its IANA name.
    pub fn with_timezone(mut self, zone: &str) -> Result<Trigger, TriggerError> {
        let name = Some(wire::zone_name(zone)?);
        match &mut self.spec {
            Spec::Date(spec) => spec.timezone = name,
            Spec::Interval(spec) => spec.timezone = name,
            Spec::Cron(spec) => spec.timezone = name,
            Spec::Crontab(spec) => {
                spec.timezone = name;
                spec.parse()?;
            }
            Spec::CalendarInterval(spec) => spec.timezone = name,
            Spec::And(_) | Spec::Or(_) => {
                let message = "and/or have no zone of their own; give one to each part";
                return Err(TriggerError::at("timezone", zone, message));
            }
        }
        Ok(self)
    }

    /// The same trigger with up to so much delay, different for every fire; microseconds count.
    pub fn with_jitter(mut self, jitter: Duration) -> Result<Trigger, TriggerError> {
        let micros = i64::try_from(jitter.as_micros())
            .ok()
            .filter(|&micros| micros <= wire::JITTER_MAX)
            .ok_or_else(|| {
                TriggerError::at("jitter", format!("{jitter:?}"), "must be at most 100 years")
            })?;
        match &mut self.spec {
            Spec::Date(_) => {
                let message = "a date has no jitter: it fires once";
                return Err(TriggerError::at("jitter", format!("{jitter:?}"), message));
            }
            Spec::Interval(spec) => spec.jitter = micros,
            Spec::Cron(spec) => spec.jitter = micros,
            Spec::Crontab(spec) => spec.jitter = micros,
            Spec::CalendarInterval(spec) => spec.jitter = micros,
            Spec::And(combo) | Spec::Or(combo) => combo.jitter = micros,
        }
        Ok(self)
    }

    /// The same trigger without fires before a date string (of a calendar interval: a date), which is inclusive.
    pub fn with_start_date(mut self, start: &str) -> Result<Trigger, TriggerError> {
        let key = "start_date";
        match &mut self.spec {
            Spec::Interval(spec) => spec.start = Some(wire::when(key, start)?),
            Spec::Cron(spec) => spec.start = Some(wire::when(key, start)?),
            Spec::Crontab(spec) => spec.start = Some(wire::when(key, start)?),
            Spec::CalendarInterval(spec) => {
                spec.start = Some(wire::day(key, start)?);
                spec.check()?;
            }
            Spec::Date(_) | Spec::And(_) | Spec::Or(_) => {
                return Err(no_bounds(key, start, self.kind()));
            }
        }
        Ok(self)
    }

    /// The same trigger without fires after a date string (of a calendar interval: a date), which is inclusive.
    pub fn with_end_date(mut self, end: &str) -> Result<Trigger, TriggerError> {
        let key = "end_date";
        match &mut self.spec {
            Spec::Interval(spec) => spec.end = Some(wire::when(key, end)?),
            Spec::Cron(spec) => spec.end = Some(wire::when(key, end)?),
            Spec::Crontab(spec) => spec.end = Some(wire::when(key, end)?),
            Spec::CalendarInterval(spec) => {
                spec.end = Some(wire::day(key, end)?);
                spec.check()?;
            }
            Spec::Date(_) | Spec::And(_) | Spec::Or(_) => {
                return Err(no_bounds(key, end, self.kind()));
            }
        }
        Ok(self)
    }
}

fn no_bounds(key: &str, value: &str, kind: &str) -> TriggerError {
    TriggerError::at(
        key,
        value,
        format!("a trigger of type \"{kind}\" takes no {key}"),
    )
}

/// As `APScheduler` prints its triggers: `cron[month='6-8', day='3rd fri']`, `interval[0:00:01]`.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short::write(f, &self.spec)
    }
}

impl serde::Serialize for Trigger {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Trigger {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Trigger, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Trigger::from_json(&value).map_err(serde::de::Error::custom)
    }
}

const _: () = assert!(SECOND == 1_000_000, "durations are read as microseconds");
