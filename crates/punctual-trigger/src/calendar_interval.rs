//! Calendar intervals, compiled: a series of dates, and a time of day put to each.

use crate::{
    civil::{self, DAY},
    local::CivilSet,
};
use std::sync::{Arc, OnceLock};

/// How far from one date to the next: first the months, then the days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) months: u64,
    pub(crate) days: u64,
}

/// Every so many dates of a mixed series one is remembered.
const LANDMARK: usize = 64;

/// The set of wall clock times of a calendar interval.
#[derive(Clone, Debug)]
pub(crate) struct CalendarTimes {
    start: i64,
    /// The last day on which it may fire.
    end: i64,
    step: Step,
    time: i64,
    /// Months and days together have no formula: each date follows from the one before. So every 64th is kept, worked
    /// out at the first search.
    landmarks: Arc<OnceLock<Box<[i32]>>>,
}

impl CalendarTimes {
    /// Days since 1970, and the second of the day. At least one of months and days is not 0.
    pub(crate) fn new(start: i64, end: i64, step: Step, time: i64) -> CalendarTimes {
        CalendarTimes {
            start,
            end: end.min(civil::LAST_DAY),
            step,
            time,
            landmarks: Arc::default(),
        }
    }

    /// The date that follows in the series.
    fn after(&self, date: i64) -> Option<i64> {
        let moved = if self.step.months == 0 {
            date
        } else {
            let (year, month, day) = civil::civil_from_days(date);
            let first = year as u64 * 12 + u64::from(month) - 1;
            month_with_day(first.checked_add(self.step.months)?, self.step.months, day)?
        };
        moved
            .checked_add_unsigned(self.step.days)
            .filter(|&date| date <= self.end)
    }

    fn landmarks(&self) -> &[i32] {
        self.landmarks.get_or_init(|| {
            let dates = std::iter::successors(Some(self.start), |&date| self.after(date));
            dates.step_by(LANDMARK).map(|date| date as i32).collect()
        })
    }

    /// The first date at or after a day and its place in the series.
    fn date_from(&self, from: i64) -> Option<(i64, u64)> {
        let Step { months, days } = self.step;
        let (date, place) = if from <= self.start {
            (self.start, 0)
        } else if from > self.end {
            return None;
        } else if months == 0 {
            let k = (from - self.start).cast_unsigned().div_ceil(days);
            (self.start.checked_add_unsigned(k.checked_mul(days)?)?, k)
        } else if days == 0 {
            self.month_from(from)?
        } else {
            let landmarks = self.landmarks();
            let i = landmarks.partition_point(|&date| i64::from(date) <= from) - 1;
            let mut at = (i64::from(landmarks[i]), (i * LANDMARK) as u64);
            while at.0 < from {
                at = (self.after(at.0)?, at.1 + 1);
            }
            at
        };
        (date <= self.end).then_some((date, place))
    }

    /// The same for months alone: the day of the month stays, and months without that day are passed over.
    fn month_from(&self, from: i64) -> Option<(i64, u64)> {
        let (year, month, day) = civil::civil_from_days(self.start);
        let first = year as u64 * 12 + u64::from(month) - 1;
        let (from_year, from_month, from_day) = civil::civil_from_days(from);
        let wanted = from_year as u64 * 12 + u64::from(from_month) - 1 + u64::from(from_day > day);
        let k = wanted.saturating_sub(first).div_ceil(self.step.months);
        let target = first.checked_add(k.checked_mul(self.step.months)?)?;
        Some((month_with_day(target, self.step.months, day)?, k))
    }

    /// The last date at or before a day.
    fn date_until(&self, until: i64) -> Option<i64> {
        let until = until.min(self.end);
        if until < self.start {
            return None;
        }
        let Step { months, days } = self.step;
        if months == 0 {
            return Some(until - ((until - self.start).cast_unsigned() % days).cast_signed());
        }
        if days == 0 {
            return Some(self.month_until(until));
        }
        let landmarks = self.landmarks();
        let i = landmarks.partition_point(|&date| i64::from(date) <= until) - 1;
        let mut date = i64::from(landmarks[i]);
        while let Some(next) = self.after(date).filter(|&next| next <= until) {
            date = next;
        }
        Some(date)
    }

    fn month_until(&self, until: i64) -> i64 {
        let (year, month, day) = civil::civil_from_days(self.start);
        let first = year as u64 * 12 + u64::from(month) - 1;
        let (until_year, until_month, until_day) = civil::civil_from_days(until);
        let wanted =
            until_year as u64 * 12 + u64::from(until_month) - 1 - u64::from(until_day < day);
        let mut target = first + wanted.saturating_sub(first) / self.step.months * self.step.months;
        loop {
            let (year, month) = ((target / 12) as i32, (target % 12) as u32 + 1);
            if civil::is_date(year, month, day) {
                return civil::days_from_civil(year, month, day);
            }
            // Ends at the latest at the start, which is a date.
            target -= self.step.months;
        }
    }

    /// How many dates lie in the days `[from, to)`.
    fn count_dates(&self, from: i64, to: i64) -> u64 {
        let Some((first, from_place)) = self.date_from(from) else {
            return 0;
        };
        let Some(last) = self.date_until(to - 1).filter(|&last| last >= first) else {
            return 0;
        };
        let (_, to_place) = self
            .date_from(last)
            .expect("`last` is a date of the series");
        if self.step.days != 0 {
            return to_place - from_place + 1;
        }
        // Places count the months that are passed over, too.
        let (year, month, day) = civil::civil_from_days(self.start);
        if day <= 28 {
            return to_place - from_place + 1;
        }
        let start = year as u64 * 12 + u64::from(month) - 1;
        let has_day = |place: &u64| {
            let target = start + place * self.step.months;
            civil::is_date((target / 12) as i32, (target % 12) as u32 + 1, day)
        };
        (from_place..=to_place).filter(has_day).count() as u64
    }
}

/// From this month on (counted from year 0), every so many months, the first that has the day; none before year 10000.
fn month_with_day(month: u64, step: u64, day: u32) -> Option<i64> {
    let mut target = month;
    while target < 10_000 * 12 {
        let (year, month) = ((target / 12) as i32, (target % 12) as u32 + 1);
        if civil::is_date(year, month, day) {
            return Some(civil::days_from_civil(year, month, day));
        }
        target = target.checked_add(step)?;
    }
    None
}

impl CivilSet for CalendarTimes {
    fn next(&self, from: i64) -> Option<i64> {
        // The first day whose time of day is not before `from`.
        let day = (from - self.time + DAY - 1).div_euclid(DAY);
        self.date_from(day).map(|(date, _)| date * DAY + self.time)
    }

    fn last(&self, from: i64) -> Option<i64> {
        let day = (from - self.time).div_euclid(DAY);
        self.date_until(day).map(|date| date * DAY + self.time)
    }

    fn count(&self, from: i64, to: i64) -> u64 {
        let day = |second: i64| (second - self.time + DAY - 1).div_euclid(DAY);
        if from >= to {
            return 0;
        }
        self.count_dates(day(from), day(to))
    }
}
