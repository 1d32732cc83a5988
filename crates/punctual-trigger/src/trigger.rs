//! A trigger as data.
use crate::{CalendarIntervalBuilder, CronBuilder, Schedule, TriggerError};
use jiff::{Timestamp, tz::TimeZoneDatabase};
use std::time::Duration;

/// A trigger as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {}

fn soon<T>() -> Result<T, TriggerError> {
    Err(TriggerError::new("not built yet"))
}

impl Trigger {
    /// Reads the wire form.
    pub fn from_json(_v: &serde_json::Value) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// The wire form.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    /// Fixes what depends on the moment of adding.
    pub fn resolve(
        &self,
        _now: Timestamp,
        _default_zone: &str,
        _zones: &TimeZoneDatabase,
    ) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// Compiles a resolved trigger.
    pub fn compile(&self, _zones: &TimeZoneDatabase) -> Result<Schedule, TriggerError> {
        soon()
    }
    /// `cron`, `interval`, …
    pub fn kind(&self) -> &'static str {
        "date"
    }
    /// Plain English.
    pub fn describe(&self) -> String {
        String::new()
    }
    /// The jitter.
    pub fn jitter(&self) -> Option<Duration> {
        None
    }
    /// The name of the zone.
    pub fn timezone(&self) -> Option<&str> {
        None
    }
    /// Once, at an instant.
    pub fn date(_at: Timestamp) -> Trigger {
        Trigger {}
    }
    /// Again and again, in elapsed time.
    pub fn interval(_every: Duration) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// A cron(5) expression.
    pub fn crontab(_expr: &str) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// Cron fields.
    pub fn cron() -> CronBuilder {
        CronBuilder {}
    }
    /// Calendar steps.
    pub fn calendar_interval() -> CalendarIntervalBuilder {
        CalendarIntervalBuilder {}
    }
    /// Where all parts fire.
    pub fn and(_parts: Vec<Trigger>) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// Where any part fires.
    pub fn or(_parts: Vec<Trigger>) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// The same trigger in a zone.
    pub fn with_timezone(self, _zone: &str) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// The same trigger with jitter.
    pub fn with_jitter(self, _jitter: Duration) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// The same trigger, from a date string on.
    pub fn with_start_date(self, _start: &str) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// The same trigger, until a date string.
    pub fn with_end_date(self, _end: &str) -> Result<Trigger, TriggerError> {
        soon()
    }
    /// Why the resolved trigger has no fire at or after `now`; none where it has one.
    pub fn never_fires_reason(&self, _now: Timestamp, _zones: &TimeZoneDatabase) -> Option<String> {
        None
    }
}
impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("trigger")
    }
}
impl serde::Serialize for Trigger {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}
impl<'de> serde::Deserialize<'de> for Trigger {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Trigger, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Trigger::from_json(&value).map_err(serde::de::Error::custom)
    }
}
