//! The seven kinds of trigger as data, and how they become schedules.

use crate::{
    Dialect, Dst, Schedule, TriggerError,
    calendar_interval::{CalendarTimes, Step},
    civil,
    cron::{CronFields, CronTimes},
    crontab,
    date_string::{SECOND, When},
    dst::Shape,
    field::{self, FIELDS, Texts},
    interval::{IntervalTimes, Length},
    schedule::{Bounds, DateTimes},
    zone::Zone,
};
use jiff::tz::TimeZoneDatabase;
use std::sync::Arc;

/// What a trigger is made of, checked as far as that goes without a zone database.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Spec {
    Date(DateSpec),
    Interval(IntervalSpec),
    Cron(Box<CronSpec>),
    Crontab(Box<CrontabSpec>),
    CalendarInterval(Box<CalendarSpec>),
    And(ComboSpec),
    Or(ComboSpec),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DateSpec {
    pub(crate) run_date: Option<When>,
    pub(crate) timezone: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IntervalSpec {
    pub(crate) length: Length,
    pub(crate) start: Option<When>,
    pub(crate) end: Option<When>,
    pub(crate) timezone: Option<Box<str>>,
    /// Microseconds; 0 for none.
    pub(crate) jitter: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CronSpec {
    pub(crate) texts: Texts,
    pub(crate) start: Option<When>,
    pub(crate) end: Option<When>,
    pub(crate) timezone: Option<Box<str>>,
    pub(crate) dst: Dst,
    pub(crate) jitter: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CrontabSpec {
    pub(crate) expr: Box<str>,
    pub(crate) dialect: Dialect,
    pub(crate) start: Option<When>,
    pub(crate) end: Option<When>,
    pub(crate) timezone: Option<Box<str>>,
    pub(crate) dst: Dst,
    pub(crate) jitter: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CalendarSpec {
    /// Years, months, weeks, days.
    pub(crate) lengths: [u32; 4],
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    /// Days since 1970.
    pub(crate) start: Option<i64>,
    pub(crate) end: Option<i64>,
    pub(crate) timezone: Option<Box<str>>,
    pub(crate) dst: Dst,
    pub(crate) jitter: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ComboSpec {
    pub(crate) parts: Vec<Spec>,
    pub(crate) jitter: i64,
}

impl CronSpec {
    /// Parses the fields; there has to be at least one.
    pub(crate) fn fields(&self) -> Result<CronFields, TriggerError> {
        if self.texts.iter().all(Option::is_none) {
            let names: Vec<_> = FIELDS.iter().map(|field| field.name()).collect();
            return Err(TriggerError::new(format!(
                "a cron trigger needs at least one of {}; for every second give second=\"*\"",
                names.join(", ")
            )));
        }
        field::parse(&field::filled(&self.texts))
    }
}

impl CrontabSpec {
    pub(crate) fn parse(&self) -> Result<crontab::Crontab<'_>, TriggerError> {
        let parsed = crontab::parse(&self.expr, self.dialect)?;
        if let (Some(inner), Some(outer)) = (parsed.zone, &self.timezone)
            && inner != &**outer
        {
            let message =
                format!("differs from the zone in the expression, \"{inner}\"; give one of them");
            return Err(TriggerError::at("timezone", outer, message));
        }
        Ok(parsed)
    }
}

impl CalendarSpec {
    pub(crate) fn check(&self) -> Result<(), TriggerError> {
        if self.lengths == [0; 4] {
            return Err(TriggerError::new(
                "the interval must be at least one day long: give years, months, weeks or days",
            ));
        }
        match (self.start, self.end) {
            (Some(start), Some(end)) if end < start => {
                let mut text = String::new();
                crate::date_string::write_date(&mut text, end).expect("a string takes all");
                Err(TriggerError::at(
                    "end_date",
                    text,
                    "must not be earlier than start_date",
                ))
            }
            _ => Ok(()),
        }
    }

    fn step(&self) -> Step {
        let [years, months, weeks, days] = self.lengths.map(u64::from);
        Step {
            months: years * 12 + months,
            days: weeks * 7 + days,
        }
    }
}

/// The moment and the surroundings in which a trigger is resolved.
pub(crate) struct Adding<'a> {
    /// Microseconds.
    pub(crate) now: i64,
    pub(crate) default_zone: &'a str,
    pub(crate) zones: &'a TimeZoneDatabase,
}

impl Adding<'_> {
    /// Fills in the name of the zone and looks the zone up.
    fn zone(&self, name: &mut Option<Box<str>>) -> Result<Arc<Zone>, TriggerError> {
        let name = name.get_or_insert_with(|| self.default_zone.into());
        Zone::get(name, self.zones)
    }
}

impl Spec {
    pub(crate) fn resolve(&mut self, adding: &Adding<'_>) -> Result<(), TriggerError> {
        match self {
            Spec::Date(spec) => {
                let zone = adding.zone(&mut spec.timezone)?;
                spec.run_date
                    .get_or_insert_with(|| When::at(adding.now, &zone));
            }
            Spec::Interval(spec) => {
                let zone = adding.zone(&mut spec.timezone)?;
                if spec.start.is_none() {
                    let start = adding.now.saturating_add(spec.length.micros()?);
                    if start.div_euclid(SECOND * civil::DAY) > civil::LAST_DAY - 2 {
                        return Err(TriggerError::new(
                            "the interval is so long that it would fire first after the year 9999",
                        ));
                    }
                    spec.start = Some(When::at(start, &zone));
                }
            }
            Spec::Cron(spec) => {
                adding.zone(&mut spec.timezone)?;
            }
            Spec::Crontab(spec) => match spec.parse()?.zone {
                Some(name) => {
                    Zone::get(name, adding.zones)
                        .map_err(|error| TriggerError::at("expr", name, error.message()))?;
                }
                None => {
                    adding.zone(&mut spec.timezone)?;
                }
            },
            Spec::CalendarInterval(spec) => {
                let zone = adding.zone(&mut spec.timezone)?;
                let now = adding.now.div_euclid(SECOND);
                spec.start
                    .get_or_insert_with(|| (now + zone.offset_at(now)).div_euclid(civil::DAY));
                spec.check()?;
            }
            Spec::And(combo) | Spec::Or(combo) => {
                for (i, part) in combo.parts.iter_mut().enumerate() {
                    part.resolve(adding)
                        .map_err(|error| error.within(&format!("triggers[{i}]")))?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn compile(&self, zones: &TimeZoneDatabase) -> Result<Schedule, TriggerError> {
        let named =
            |name: Option<&str>| Zone::get(name.ok_or_else(|| unresolved("timezone"))?, zones);
        Ok(match self {
            Spec::Date(spec) => {
                let zone = named(spec.timezone.as_deref())?;
                let run_date = spec.run_date.ok_or_else(|| unresolved("run_date"))?;
                Schedule::date(
                    DateTimes::new(run_date.instant(&zone), run_date.offset()),
                    zone,
                )
            }
            Spec::Interval(spec) => {
                let zone = named(spec.timezone.as_deref())?;
                let times = IntervalTimes {
                    start: spec
                        .start
                        .ok_or_else(|| unresolved("start_date"))?
                        .instant(&zone),
                    every: spec.length.micros()?,
                    end: spec.end.map_or(i64::MAX, |end| end.instant(&zone)),
                };
                Schedule::interval(times, zone, spec.jitter)
            }
            Spec::Cron(spec) => {
                let zone = named(spec.timezone.as_deref())?;
                compile_cron(
                    &spec.fields()?,
                    zone,
                    spec.start,
                    spec.end,
                    spec.dst,
                    spec.jitter,
                )
            }
            Spec::Crontab(spec) => {
                let parsed = spec.parse()?;
                let zone = named(parsed.zone.or(spec.timezone.as_deref()))?;
                compile_cron(
                    &parsed.fields,
                    zone,
                    spec.start,
                    spec.end,
                    spec.dst,
                    spec.jitter,
                )
            }
            Spec::CalendarInterval(spec) => {
                let zone = named(spec.timezone.as_deref())?;
                let time = i64::from(spec.hour) * 3600
                    + i64::from(spec.minute) * 60
                    + i64::from(spec.second);
                let times = CalendarTimes::new(
                    spec.start.ok_or_else(|| unresolved("start_date"))?,
                    spec.end.unwrap_or(civil::LAST_DAY),
                    spec.step(),
                    time,
                );
                Schedule::calendar_interval(
                    times,
                    zone,
                    spec.dst.rules(Shape::Calendar),
                    spec.jitter,
                )
            }
            Spec::And(combo) => Schedule::intersection(compile_parts(combo, zones)?, combo.jitter),
            Spec::Or(combo) => Schedule::union(compile_parts(combo, zones)?, combo.jitter),
        })
    }
}

fn unresolved(field: &str) -> TriggerError {
    TriggerError::at(
        field,
        "",
        "is not known yet: resolve the trigger before compiling it",
    )
}

fn compile_parts(
    combo: &ComboSpec,
    zones: &TimeZoneDatabase,
) -> Result<Vec<Schedule>, TriggerError> {
    let parts = combo.parts.iter().enumerate();
    parts
        .map(|(i, part)| {
            part.compile(zones)
                .map_err(|error| error.within(&format!("triggers[{i}]")))
        })
        .collect()
}

fn compile_cron(
    fields: &CronFields,
    zone: Arc<Zone>,
    start: Option<When>,
    end: Option<When>,
    dst: Dst,
    jitter: i64,
) -> Schedule {
    let shape = if fields.is_fixed {
        Shape::Fixed
    } else {
        Shape::Wildcard
    };
    let bounds = Bounds {
        start: start.map_or(i64::MIN, |start| start.instant(&zone)),
        end: end.map_or(i64::MAX, |end| end.instant(&zone)),
    };
    Schedule::cron(
        CronTimes::new(fields),
        zone,
        dst.rules(shape),
        bounds,
        jitter,
    )
}
