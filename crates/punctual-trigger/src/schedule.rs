//! The compiled set of instants.

use crate::{
    calendar_interval::CalendarTimes,
    civil::{self, DAY},
    combine,
    cron::CronTimes,
    date_string::{SECOND, When},
    dst::Rules,
    interval::IntervalTimes,
    local::{self, CivilSet},
    zone::Zone,
};
use jiff::{
    Timestamp, Zoned,
    tz::{Offset, TimeZone},
};
use std::{sync::Arc, time::Duration};

/// A search spent its budget of steps before it found an answer.
///
/// Only `and` and `or` can answer so: whether two schedules ever meet cannot always be told without trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "search limit: no answer within {steps} steps; the parts of the trigger hardly ever fire together"
)]
pub struct SearchLimit {
    /// How many steps were taken.
    pub steps: u32,
}

/// A compiled trigger: a set of instants that can be searched in both directions and counted.
///
/// All searches are pure. A clone is cheap, the large parts are shared. Instants are whole microseconds; a schedule ends
/// with the year 9999.
///
/// ```
/// use jiff::{Timestamp, tz::TimeZoneDatabase};
/// use punctual_trigger::Trigger;
///
/// let zones = TimeZoneDatabase::bundled();
/// let trigger = Trigger::cron().hour(9).day_of_week("mon-fri").timezone("Europe/London").build()?;
/// let schedule = trigger.compile(&zones)?;
/// let friday_noon: Timestamp = "2026-03-27T12:00:00Z".parse()?;
/// let next = schedule.next_after(friday_noon)?.expect("there is always a weekday");
/// // The clocks went forward on Sunday.
/// assert_eq!(schedule.zoned(next).to_string(), "2026-03-30T09:00:00+01:00[Europe/London]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    kind: Kind,
    /// Microseconds; 0 for none.
    jitter: i64,
}

#[derive(Clone, Debug)]
enum Kind {
    Date(DateTimes, Arc<Zone>),
    Interval(IntervalTimes, Arc<Zone>),
    Cron(Arc<Bounded<CronTimes>>),
    CalendarInterval(Arc<Bounded<CalendarTimes>>),
    Union(Arc<[Schedule]>),
    Intersection(Arc<[Schedule]>),
}

/// One instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DateTimes {
    at: i64,
    /// The offset of its own, in seconds.
    offset: Option<i32>,
}

impl DateTimes {
    pub(crate) fn new(at: i64, offset: Option<i32>) -> DateTimes {
        DateTimes { at, offset }
    }
}

/// `start_date` and `end_date` in microseconds, both inclusive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// Wall clock times in a zone, from a start to an end.
#[derive(Debug)]
struct Bounded<S> {
    set: S,
    zone: Arc<Zone>,
    rules: Rules,
    /// The first and the last second.
    first: i64,
    last: i64,
}

/// No wall clock in the years 1 to 9999 shows an instant beyond these seconds.
const FIRST_SECOND: i64 = (civil::FIRST_DAY - 2) * DAY;
const LAST_SECOND: i64 = (civil::LAST_DAY + 2) * DAY;

impl<S: CivilSet> Bounded<S> {
    fn new(set: S, zone: Arc<Zone>, rules: Rules, bounds: Bounds) -> Bounded<S> {
        Bounded {
            set,
            zone,
            rules,
            first: ceil_second(bounds.start).max(FIRST_SECOND),
            last: bounds.end.div_euclid(SECOND).min(LAST_SECOND),
        }
    }

    /// From seconds to seconds.
    #[inline]
    fn next(&self, from: i64) -> Option<i64> {
        let from = from.max(self.first);
        if from > self.last {
            return None;
        }
        local::next(&self.set, &self.zone, self.rules, from).filter(|&fire| fire <= self.last)
    }

    fn last(&self, until: i64) -> Option<i64> {
        let until = until.min(self.last);
        if until < self.first {
            return None;
        }
        local::last(&self.set, &self.zone, self.rules, until).filter(|&fire| fire >= self.first)
    }

    fn count(&self, from: i64, to: i64, cap: u64) -> u64 {
        let (from, to) = (from.max(self.first), to.min(self.last));
        local::count(&self.set, &self.zone, self.rules, from, to, cap)
    }
}

#[inline]
fn ceil_second(micros: i64) -> i64 {
    micros.div_euclid(SECOND) + i64::from(micros.rem_euclid(SECOND) != 0)
}

impl Schedule {
    fn new(kind: Kind, jitter: i64) -> Schedule {
        Schedule { kind, jitter }
    }

    pub(crate) fn date(times: DateTimes, zone: Arc<Zone>) -> Schedule {
        Schedule::new(Kind::Date(times, zone), 0)
    }

    pub(crate) fn interval(times: IntervalTimes, zone: Arc<Zone>, jitter: i64) -> Schedule {
        let end = times.end.min(LAST_SECOND * SECOND);
        Schedule::new(Kind::Interval(IntervalTimes { end, ..times }, zone), jitter)
    }

    pub(crate) fn cron(
        times: CronTimes,
        zone: Arc<Zone>,
        rules: Rules,
        bounds: Bounds,
        jitter: i64,
    ) -> Schedule {
        Schedule::new(
            Kind::Cron(Arc::new(Bounded::new(times, zone, rules, bounds))),
            jitter,
        )
    }

    pub(crate) fn calendar_interval(
        times: CalendarTimes,
        zone: Arc<Zone>,
        rules: Rules,
        jitter: i64,
    ) -> Schedule {
        let all = Bounds {
            start: i64::MIN,
            end: i64::MAX,
        };
        Schedule::new(
            Kind::CalendarInterval(Arc::new(Bounded::new(times, zone, rules, all))),
            jitter,
        )
    }

    pub(crate) fn union(parts: Vec<Schedule>, jitter: i64) -> Schedule {
        Schedule::new(Kind::Union(parts.into()), jitter)
    }

    pub(crate) fn intersection(parts: Vec<Schedule>, jitter: i64) -> Schedule {
        Schedule::new(Kind::Intersection(parts.into()), jitter)
    }

    /// The first fire strictly after `t`.
    #[inline]
    pub fn next_after(&self, t: Timestamp) -> Result<Option<Timestamp>, SearchLimit> {
        Ok(self.next_after_micros(floor_micros(t))?.and_then(timestamp))
    }

    /// The first fire at or after `t`.
    pub fn next_at_or_after(&self, t: Timestamp) -> Result<Option<Timestamp>, SearchLimit> {
        let micros = floor_micros(t);
        let exact = micros + i64::from(t.subsec_nanosecond() % 1000 != 0);
        Ok(self.next_at_or_after_micros(exact)?.and_then(timestamp))
    }

    /// The last fire at or before `t`.
    pub fn last_at_or_before(&self, t: Timestamp) -> Result<Option<Timestamp>, SearchLimit> {
        Ok(self
            .last_at_or_before_micros(floor_micros(t))?
            .and_then(timestamp))
    }

    /// How many fires lie in `(after, until]`, at most `cap`: by arithmetic where the schedule allows, never by a list.
    pub fn count(&self, after: Timestamp, until: Timestamp, cap: u64) -> Result<u64, SearchLimit> {
        self.count_micros(floor_micros(after), floor_micros(until), cap)
    }

    /// [`Schedule::next_after`] in microseconds since the epoch.
    #[inline]
    pub fn next_after_micros(&self, t: i64) -> Result<Option<i64>, SearchLimit> {
        match &self.kind {
            // Cron fires in whole seconds, so there is no need to go by way of t + 1.
            Kind::Cron(cron) => Ok(cron
                .next(t.div_euclid(SECOND) + 1)
                .map(|fire| fire * SECOND)),
            _ => match t.checked_add(1) {
                Some(t) => self.next_at_or_after_micros(t),
                None => Ok(None),
            },
        }
    }

    /// [`Schedule::next_at_or_after`] in microseconds since the epoch.
    pub fn next_at_or_after_micros(&self, t: i64) -> Result<Option<i64>, SearchLimit> {
        Ok(match &self.kind {
            Kind::Date(date, _) => (date.at >= t).then_some(date.at),
            Kind::Interval(times, _) => times.next(t),
            Kind::Cron(cron) => cron.next(ceil_second(t)).map(|fire| fire * SECOND),
            Kind::CalendarInterval(calendar) => {
                calendar.next(ceil_second(t)).map(|fire| fire * SECOND)
            }
            Kind::Union(parts) => combine::next_of_any(parts, t)?,
            Kind::Intersection(parts) => combine::next_of_all(parts, t)?,
        })
    }

    /// [`Schedule::last_at_or_before`] in microseconds since the epoch.
    pub fn last_at_or_before_micros(&self, t: i64) -> Result<Option<i64>, SearchLimit> {
        let second = t.div_euclid(SECOND);
        Ok(match &self.kind {
            Kind::Date(date, _) => (date.at <= t).then_some(date.at),
            Kind::Interval(times, _) => times.last(t),
            Kind::Cron(cron) => cron.last(second).map(|fire| fire * SECOND),
            Kind::CalendarInterval(calendar) => calendar.last(second).map(|fire| fire * SECOND),
            Kind::Union(parts) => combine::last_of_any(parts, t)?,
            Kind::Intersection(parts) => combine::last_of_all(parts, t)?,
        })
    }

    /// [`Schedule::count`] in microseconds since the epoch.
    pub fn count_micros(&self, after: i64, until: i64, cap: u64) -> Result<u64, SearchLimit> {
        let Some(from) = after.checked_add(1).filter(|&from| from <= until) else {
            return Ok(0);
        };
        let (first, last) = (ceil_second(from), until.div_euclid(SECOND));
        Ok(match &self.kind {
            Kind::Date(date, _) => u64::from((from..=until).contains(&date.at)),
            Kind::Interval(times, _) => times.count(from, until),
            Kind::Cron(cron) => cron.count(first, last, cap),
            Kind::CalendarInterval(calendar) => calendar.count(first, last, cap),
            Kind::Union(parts) => combine::count_any(parts, from, until, cap)?,
            Kind::Intersection(parts) => combine::count_all(parts, from, until, cap)?,
        }
        .min(cap))
    }

    /// No fire comes after this, in microseconds.
    pub(crate) fn end_micros(&self) -> i64 {
        match &self.kind {
            Kind::Interval(times, _) => times.end,
            Kind::Cron(cron) => cron.last * SECOND,
            _ => LAST_SECOND * SECOND,
        }
    }

    pub(crate) fn fires_at(&self, t: i64) -> Result<bool, SearchLimit> {
        Ok(self.next_at_or_after_micros(t)? == Some(t))
    }

    /// The largest delay that jitter may add to a fire.
    pub fn jitter(&self) -> Option<Duration> {
        (self.jitter > 0).then(|| Duration::from_micros(self.jitter.cast_unsigned()))
    }

    /// The instant with the offset to print: that of the trigger's zone, of a `run_date` with an offset of its own that
    /// offset, in `and` and `or` that of the first part that fires then.
    pub fn zoned(&self, t: Timestamp) -> Zoned {
        t.to_zoned(self.time_zone_at(floor_micros(t)))
    }

    fn time_zone_at(&self, t: i64) -> TimeZone {
        match self.speaker(t) {
            (_, Some(offset)) => {
                Offset::from_seconds(offset).map_or(TimeZone::UTC, TimeZone::fixed)
            }
            (zone, None) => zone.tz().clone(),
        }
    }

    /// The offset to print for an instant, in seconds.
    pub(crate) fn offset_at(&self, t: i64) -> i64 {
        match self.speaker(t) {
            (_, Some(offset)) => offset.into(),
            (zone, None) => zone.offset_at(t.div_euclid(SECOND)),
        }
    }

    /// Whose zone an instant is printed in, and the offset where it has one of its own.
    fn speaker(&self, t: i64) -> (&Zone, Option<i32>) {
        match &self.kind {
            Kind::Date(date, zone) => (zone, date.offset),
            Kind::Interval(_, zone) => (zone, None),
            Kind::Cron(cron) => (&cron.zone, None),
            Kind::CalendarInterval(calendar) => (&calendar.zone, None),
            Kind::Union(parts) | Kind::Intersection(parts) => {
                let fires = |part: &&Schedule| part.fires_at(t).unwrap_or(false);
                parts.iter().find(fires).unwrap_or(&parts[0]).speaker(t)
            }
        }
    }

    /// The name of the zone; of `and` and `or`, that of the first part.
    pub fn time_zone_name(&self) -> &str {
        match &self.kind {
            Kind::Date(_, zone) | Kind::Interval(_, zone) => zone.name(),
            Kind::Cron(cron) => cron.zone.name(),
            Kind::CalendarInterval(calendar) => calendar.zone.name(),
            Kind::Union(parts) | Kind::Intersection(parts) => parts[0].time_zone_name(),
        }
    }

    /// Why there is no fire at or after `now`; none where there is one.
    ///
    /// A date that is already past counts as a fire: whether it still runs is for the misfire rules to say.
    pub fn never_fires_reason(&self, now: Timestamp) -> Option<String> {
        if matches!(self.kind, Kind::Date(..)) {
            return None;
        }
        match self.next_at_or_after(now) {
            Ok(Some(_)) => None,
            Err(limit) => Some(limit.to_string()),
            Ok(None) => Some(self.silence(now)),
        }
    }

    /// Why it is silent from `now` on.
    fn silence(&self, now: Timestamp) -> String {
        let ended = |end: i64| {
            let end = When::utc(end);
            format!("its end_date, {end}, comes before its next fire after {now}")
        };
        match &self.kind {
            Kind::Cron(cron) if cron.set.is_impossible() => {
                if cron.set.is_possible_in_some_year() {
                    "none of the given years has a date that matches the other fields".to_owned()
                } else {
                    "there is no date on which all of its fields match".to_owned()
                }
            }
            Kind::Cron(cron) if cron.last < LAST_SECOND => ended(cron.last * SECOND),
            Kind::Interval(times, _) if times.end < LAST_SECOND * SECOND => ended(times.end),
            Kind::Cron(_) => format!("its last fire came before {now}"),
            Kind::CalendarInterval(_) => {
                format!("its end_date comes before its next fire after {now}")
            }
            Kind::Interval(..) | Kind::Date(..) => {
                "its next fire would come after the year 9999".to_owned()
            }
            Kind::Union(_) => format!("none of its parts fires after {now}"),
            Kind::Intersection(parts) => {
                let silent = parts.iter().enumerate().find_map(|(i, part)| {
                    let fires = part.next_at_or_after(now);
                    matches!(fires, Ok(None))
                        .then(|| format!("triggers[{i}] never fires: {}", part.silence(now)))
                });
                silent.unwrap_or_else(|| format!("its parts never fire together after {now}"))
            }
        }
    }

    /// Fires at or after `now`, in microseconds; a date also when it is past.
    pub(crate) fn upcoming_micros(&self, now: i64, n: usize) -> Result<Vec<i64>, SearchLimit> {
        let mut fires = Vec::new();
        let mut next = match &self.kind {
            Kind::Date(date, _) => Some(date.at),
            _ => self.next_at_or_after_micros(now)?,
        };
        while let Some(fire) = next.filter(|_| fires.len() < n) {
            fires.push(fire);
            if fires.len() < n {
                next = self.next_after_micros(fire)?;
            }
        }
        Ok(fires)
    }
}

/// The first `n` fires at or after `now`, as a person asks for them: a date counts also when it is past.
pub fn upcoming(schedule: &Schedule, now: Timestamp, n: usize) -> Result<Vec<Zoned>, SearchLimit> {
    let micros = floor_micros(now) + i64::from(now.subsec_nanosecond() % 1000 != 0);
    let fires = schedule.upcoming_micros(micros, n)?;
    Ok(fires
        .into_iter()
        .filter_map(timestamp)
        .map(|fire| schedule.zoned(fire))
        .collect())
}

/// Microseconds since the epoch, rounded down.
#[inline]
pub(crate) fn floor_micros(t: Timestamp) -> i64 {
    t.as_second() * SECOND + i64::from(t.subsec_nanosecond().div_euclid(1000))
}

/// None for the last day of the year 9999, which jiff keeps back for the sake of offsets.
#[inline]
pub(crate) fn timestamp(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}
