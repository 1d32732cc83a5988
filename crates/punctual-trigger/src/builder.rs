//! Typed construction.
use crate::{Trigger, TriggerError};

/// A number or a text for a cron field.
#[derive(Clone, Debug)]
pub struct FieldText(pub(crate) String);
impl From<&str> for FieldText {
    fn from(text: &str) -> FieldText {
        FieldText(text.to_owned())
    }
}
impl From<u16> for FieldText {
    fn from(number: u16) -> FieldText {
        FieldText(number.to_string())
    }
}

/// Builds a cron trigger.
#[derive(Clone, Debug)]
pub struct CronBuilder {}
impl CronBuilder {
    /// The hour.
    pub fn hour(self, _hour: impl Into<FieldText>) -> CronBuilder {
        self
    }
    /// The minute.
    pub fn minute(self, _minute: impl Into<FieldText>) -> CronBuilder {
        self
    }
    /// The second.
    pub fn second(self, _second: impl Into<FieldText>) -> CronBuilder {
        self
    }
    /// The weekday.
    pub fn day_of_week(self, _day: impl Into<FieldText>) -> CronBuilder {
        self
    }
    /// The zone.
    pub fn timezone(self, _zone: &str) -> CronBuilder {
        self
    }
    /// Checks all of it.
    pub fn build(self) -> Result<Trigger, TriggerError> {
        Err(TriggerError::new("not built yet"))
    }
}
/// Builds a calendar interval.
#[derive(Clone, Debug)]
pub struct CalendarIntervalBuilder {}
impl CalendarIntervalBuilder {
    /// Months.
    pub fn months(self, _months: u32) -> CalendarIntervalBuilder {
        self
    }
    /// Days.
    pub fn days(self, _days: u32) -> CalendarIntervalBuilder {
        self
    }
    /// Checks all of it.
    pub fn build(self) -> Result<Trigger, TriggerError> {
        Err(TriggerError::new("not built yet"))
    }
}
