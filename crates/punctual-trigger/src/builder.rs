//! Triggers built in code, field by field.

use crate::{
    Dst, Trigger, TriggerError,
    field::Field,
    spec::{CalendarSpec, CronSpec, Spec},
    wire,
};
use std::time::Duration;

/// What a cron field takes: a number or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldText(Box<str>);

impl From<&str> for FieldText {
    fn from(text: &str) -> FieldText {
        FieldText(text.trim().into())
    }
}

impl From<String> for FieldText {
    fn from(text: String) -> FieldText {
        text.as_str().into()
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for FieldText {
            fn from(number: $number) -> FieldText {
                FieldText(number.to_string().into())
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, i32, i64);

/// Builds a cron trigger from `APScheduler`'s fields.
///
/// A field that is not given is `*` if a smaller one is given, and its lowest value if not; `week` and `day_of_week` are
/// then `*`.
///
/// ```
/// use punctual_trigger::Trigger;
///
/// let trigger = Trigger::cron().month("6-8").day("3rd fri").hour(9).build()?;
/// assert_eq!(trigger.to_string(), "cron[month='6-8', day='3rd fri', hour='9']");
/// # Ok::<(), punctual_trigger::TriggerError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct CronBuilder {
    spec: CronSpec,
    start: Option<String>,
    end: Option<String>,
    jitter: Option<Duration>,
}

macro_rules! cron_fields {
    ($($(#[$docs:meta])* $name:ident: $field:ident;)*) => {$(
        $(#[$docs])*
        pub fn $name(mut self, value: impl Into<FieldText>) -> CronBuilder {
            self.spec.texts[Field::$field as usize] = Some(value.into().0);
            self
        }
    )*};
}

impl CronBuilder {
    cron_fields! {
        /// 1970-9999.
        year: Year;
        /// 1-12 or jan-dec.
        month: Month;
        /// 1-31, `last`, `2nd fri`, `last sun`.
        day: Day;
        /// The ISO week, 1-53.
        week: Week;
        /// 0-6 from Monday, or mon-sun.
        day_of_week: DayOfWeek;
        /// 0-23.
        hour: Hour;
        /// 0-59.
        minute: Minute;
        /// 0-59.
        second: Second;
    }

    /// The IANA name of the zone; by default the one in which the trigger is resolved.
    pub fn timezone(mut self, zone: &str) -> CronBuilder {
        self.spec.timezone = Some(zone.into());
        self
    }

    /// What becomes of times that the clock skips or repeats.
    pub fn dst(mut self, dst: Dst) -> CronBuilder {
        self.spec.dst = dst;
        self
    }

    /// No fire before this date string.
    pub fn start_date(mut self, start: &str) -> CronBuilder {
        self.start = Some(start.to_owned());
        self
    }

    /// No fire after this date string.
    pub fn end_date(mut self, end: &str) -> CronBuilder {
        self.end = Some(end.to_owned());
        self
    }

    /// Up to so much delay for every fire.
    pub fn jitter(mut self, jitter: Duration) -> CronBuilder {
        self.jitter = Some(jitter);
        self
    }

    /// Checks all fields; the error names the one at fault.
    pub fn build(self) -> Result<Trigger, TriggerError> {
        self.spec.fields()?;
        if let Some(zone) = &self.spec.timezone {
            wire::zone_name(zone)?;
        }
        let trigger = Trigger::from(Spec::Cron(Box::new(self.spec)));
        finish(
            trigger,
            self.start.as_deref(),
            self.end.as_deref(),
            self.jitter,
        )
    }
}

fn finish(
    mut trigger: Trigger,
    start: Option<&str>,
    end: Option<&str>,
    jitter: Option<Duration>,
) -> Result<Trigger, TriggerError> {
    if let Some(start) = start {
        trigger = trigger.with_start_date(start)?;
    }
    if let Some(end) = end {
        trigger = trigger.with_end_date(end)?;
    }
    match jitter {
        Some(jitter) => trigger.with_jitter(jitter),
        None => Ok(trigger),
    }
}

/// Builds a calendar interval: a series of dates and a time of day, 00:00:00 by default.
///
/// ```
/// use punctual_trigger::Trigger;
///
/// let trigger = Trigger::calendar_interval().months(1).hour(9).start_date("2026-01-31").build()?;
/// assert_eq!(trigger.describe(), "every month at 09:00, from 2026-01-31");
/// # Ok::<(), punctual_trigger::TriggerError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct CalendarIntervalBuilder {
    spec: CalendarSpec,
    start: Option<String>,
    end: Option<String>,
    jitter: Option<Duration>,
}

impl CalendarIntervalBuilder {
    /// So many years; the day of the month stays.
    pub fn years(mut self, years: u32) -> CalendarIntervalBuilder {
        self.spec.lengths[0] = years;
        self
    }

    /// So many months; the day of the month stays, and months without it are passed over.
    pub fn months(mut self, months: u32) -> CalendarIntervalBuilder {
        self.spec.lengths[1] = months;
        self
    }

    /// So many weeks.
    pub fn weeks(mut self, weeks: u32) -> CalendarIntervalBuilder {
        self.spec.lengths[2] = weeks;
        self
    }

    /// So many days.
    pub fn days(mut self, days: u32) -> CalendarIntervalBuilder {
        self.spec.lengths[3] = days;
        self
    }

    /// 0-23.
    pub fn hour(mut self, hour: u8) -> CalendarIntervalBuilder {
        self.spec.hour = hour;
        self
    }

    /// 0-59.
    pub fn minute(mut self, minute: u8) -> CalendarIntervalBuilder {
        self.spec.minute = minute;
        self
    }

    /// 0-59.
    pub fn second(mut self, second: u8) -> CalendarIntervalBuilder {
        self.spec.second = second;
        self
    }

    /// The IANA name of the zone; by default the one in which the trigger is resolved.
    pub fn timezone(mut self, zone: &str) -> CalendarIntervalBuilder {
        self.spec.timezone = Some(zone.into());
        self
    }

    /// What becomes of times that the clock skips or repeats.
    pub fn dst(mut self, dst: Dst) -> CalendarIntervalBuilder {
        self.spec.dst = dst;
        self
    }

    /// The first date of the series, `YYYY-MM-DD`; by default the day on which the trigger is resolved.
    pub fn start_date(mut self, start: &str) -> CalendarIntervalBuilder {
        self.start = Some(start.to_owned());
        self
    }

    /// The last day on which it may fire, `YYYY-MM-DD`.
    pub fn end_date(mut self, end: &str) -> CalendarIntervalBuilder {
        self.end = Some(end.to_owned());
        self
    }

    /// Up to so much delay for every fire.
    pub fn jitter(mut self, jitter: Duration) -> CalendarIntervalBuilder {
        self.jitter = Some(jitter);
        self
    }

    /// Checks all fields; the error names the one at fault.
    pub fn build(self) -> Result<Trigger, TriggerError> {
        let spec = self.spec;
        for (name, value, max) in [
            ("hour", spec.hour, 23),
            ("minute", spec.minute, 59),
            ("second", spec.second, 59),
        ] {
            if value > max {
                return Err(TriggerError::at(
                    name,
                    value,
                    format!("{value} is outside 0-{max}"),
                ));
            }
        }
        if let Some(zone) = &spec.timezone {
            wire::zone_name(zone)?;
        }
        spec.check()?;
        let trigger = Trigger::from(Spec::CalendarInterval(Box::new(spec)));
        finish(
            trigger,
            self.start.as_deref(),
            self.end.as_deref(),
            self.jitter,
        )
    }
}
