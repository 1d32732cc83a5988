//! Cron, compiled: a bit set per field, searched from the largest field to the smallest.

use crate::{
    civil::{self, DAY},
    days::{self, DateFields, DayTable, YEAR_TYPES},
    local::CivilSet,
};

/// Years `first`, `first + step`, … up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct YearRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) step: u16,
}

/// All years that there are.
pub(crate) const ALL_YEARS: YearRange = YearRange {
    first: 1970,
    last: 9999,
    step: 1,
};

/// The fields of one cron expression, whatever the dialect.
#[derive(Clone, Debug)]
pub(crate) struct CronFields {
    pub(crate) years: Vec<YearRange>,
    pub(crate) dates: DateFields,
    pub(crate) hours: u32,
    pub(crate) minutes: u64,
    pub(crate) seconds: u64,
    /// Hour, minute and second are plain values: no `*`, no step.
    pub(crate) is_fixed: bool,
}

/// The set of wall clock times of a cron expression.
#[derive(Clone, Debug)]
pub(crate) struct CronTimes {
    seconds: u64,
    minutes: u64,
    hours: u32,
    months: u16,
    /// The second of the day of the first match of a day, and of the last.
    first_time: u32,
    last_time: u32,
    /// The days by weekday alone; 0 where it takes the table.
    weekdays: u8,
    /// None where every year counts.
    years: Option<Box<[YearRange]>>,
    table: DayTable,
    /// Matching dates in a year of each type.
    per_year: [u16; YEAR_TYPES],
    /// The first and the last year with a match; the first is behind the last where there is none.
    first_year: i32,
    last_year: i32,
}

/// A year taken apart for the search.
#[derive(Clone, Copy)]
struct Year {
    jan1: i64,
    jan1_weekday: u32,
    is_leap: bool,
    kind: usize,
}

impl Year {
    #[inline]
    fn new(year: i32) -> Year {
        let jan1 = civil::year_start(year);
        let (is_leap, jan1_weekday) = (civil::is_leap(year), civil::weekday(jan1));
        Year {
            jan1,
            jan1_weekday,
            is_leap,
            kind: days::year_type(is_leap, civil::is_leap(year - 1), jan1_weekday),
        }
    }

    /// The day on which a month (0 to 11) begins.
    #[inline]
    fn month_start(&self, month: usize) -> i64 {
        self.jan1 + i64::from(civil::BEFORE_MONTH[usize::from(self.is_leap)][month])
    }
}

impl CronTimes {
    pub(crate) fn new(fields: &CronFields) -> CronTimes {
        let table = fields.dates.table();
        let per_year = table.per_year(fields.dates.months);
        let every_year = fields.years.contains(&ALL_YEARS);
        let first = fields.hours.trailing_zeros() * 3600
            + fields.minutes.trailing_zeros() * 60
            + fields.seconds.trailing_zeros();
        let last =
            fields.hours.ilog2() * 3600 + fields.minutes.ilog2() * 60 + fields.seconds.ilog2();
        let mut times = CronTimes {
            seconds: fields.seconds,
            minutes: fields.minutes,
            hours: fields.hours,
            months: fields.dates.months,
            first_time: first,
            last_time: last,
            weekdays: fields
                .dates
                .only_weekdays()
                .filter(|_| every_year)
                .unwrap_or(0),
            years: (!every_year).then(|| fields.years.clone().into()),
            table,
            per_year,
            first_year: 1970,
            last_year: 9999,
        };
        times.narrow();
        times
    }

    /// Finds the first and the last year with a match, so that a search ends there and an impossible schedule is known
    /// at once. Among 400 years in a row there is one of each type: without a list of years that is all there is to try.
    fn narrow(&mut self) {
        let matches = |times: &CronTimes, year| times.per_year[Year::new(year).kind] != 0;
        let mut first = self
            .next_year(1970)
            .filter(|_| self.is_possible_in_some_year());
        while let Some(year) = first.filter(|&year| !matches(self, year)) {
            tests_count_a_step();
            first = if self.years.is_none() && year >= 2370 {
                None
            } else {
                self.next_year(year + 1)
            };
        }
        let Some(first) = first else {
            (self.first_year, self.last_year) = (1, 0);
            return;
        };
        self.first_year = first;
        let mut last = self.previous_year(civil::LAST_YEAR);
        while let Some(year) = last.filter(|&year| !matches(self, year)) {
            tests_count_a_step();
            last = self.previous_year(year - 1);
        }
        self.last_year = last.unwrap_or(first);
    }

    /// Whether no date matches at all.
    pub(crate) fn is_impossible(&self) -> bool {
        self.first_year > self.last_year
    }

    /// Whether dates would match if it were not for the years.
    pub(crate) fn is_possible_in_some_year(&self) -> bool {
        self.per_year != [0; YEAR_TYPES]
    }

    fn has_year(&self, year: i32) -> bool {
        self.next_year(year) == Some(year)
    }

    #[inline]
    fn next_year(&self, from: i32) -> Option<i32> {
        match &self.years {
            None => (from <= civil::LAST_YEAR).then_some(from),
            Some(years) => years.iter().filter_map(|range| range.next(from)).min(),
        }
    }

    #[inline]
    fn previous_year(&self, from: i32) -> Option<i32> {
        match &self.years {
            None => (from >= 1970).then_some(from),
            Some(years) => years.iter().filter_map(|range| range.last(from)).max(),
        }
    }

    #[inline]
    fn month_days(&self, year: &Year, month: usize) -> u32 {
        let start = year.month_start(month);
        let len = (year.month_start(month + 1) - start) as u32;
        let first = (year.jan1_weekday + (start - year.jan1) as u32) % 7;
        self.table.month(year.kind, month, len, first)
    }

    /// The first matching date of the year in or after a month (0 to 12).
    fn first_date(&self, year: &Year, from_month: usize) -> Option<i64> {
        if self.per_year[year.kind] == 0 {
            return None;
        }
        let mut months = u32::from(self.months >> 1) >> from_month << from_month;
        while months != 0 {
            let month = months.trailing_zeros() as usize;
            let days = self.month_days(year, month);
            if days != 0 {
                return Some(year.month_start(month) + i64::from(days.trailing_zeros()) - 1);
            }
            months &= months - 1;
        }
        None
    }

    /// The last matching date of the year before a month (0 to 12).
    fn last_date(&self, year: &Year, before_month: usize) -> Option<i64> {
        if self.per_year[year.kind] == 0 {
            return None;
        }
        let mut months = u32::from(self.months >> 1) & ((1 << before_month) - 1);
        while months != 0 {
            let month = months.ilog2() as usize;
            let days = self.month_days(year, month);
            if days != 0 {
                return Some(year.month_start(month) + i64::from(days.ilog2()) - 1);
            }
            months &= !(1 << month);
        }
        None
    }

    /// The first matching date at or after a day.
    #[inline]
    fn next_date(&self, from: i64) -> Option<i64> {
        if self.weekdays != 0 {
            // Two weeks in a row, so that a shift finds the next one.
            let days = (u32::from(self.weekdays) * 0x81) >> civil::weekday(from);
            let date = from + i64::from(days.trailing_zeros());
            return (date <= civil::LAST_DAY).then_some(date);
        }
        self.next_date_by_table(from)
    }

    fn next_date_by_table(&self, from: i64) -> Option<i64> {
        if from > civil::LAST_DAY {
            return None;
        }
        let (year, month, day) = civil::civil_from_days(from);
        let month = month as usize - 1;
        let mut next = year;
        if self.has_year(year) {
            let this = Year::new(year);
            if self.months >> (month + 1) & 1 != 0 {
                let days = self.month_days(&this, month) >> day;
                if days != 0 {
                    return Some(from + i64::from(days.trailing_zeros()));
                }
            }
            if let Some(date) = self.first_date(&this, month + 1) {
                return Some(date);
            }
            next = year + 1;
        }
        next = next.max(self.first_year);
        while let Some(year) = self.next_year(next).filter(|&year| year <= self.last_year) {
            tests_count_a_step();
            if let Some(date) = self.first_date(&Year::new(year), 0) {
                return Some(date);
            }
            next = year + 1;
        }
        None
    }

    /// The last matching date at or before a day.
    fn previous_date(&self, from: i64) -> Option<i64> {
        if from < 0 {
            return None;
        }
        let (year, month, day) = civil::civil_from_days(from);
        let month = month as usize - 1;
        let mut previous = year;
        if self.has_year(year) {
            let this = Year::new(year);
            if self.months >> (month + 1) & 1 != 0 {
                let days = self.month_days(&this, month) & ((2u64 << day) - 1) as u32;
                if days != 0 {
                    return Some(from - i64::from(day) + i64::from(days.ilog2()));
                }
            }
            if let Some(date) = self.last_date(&this, month) {
                return Some(date);
            }
            previous = year - 1;
        }
        previous = previous.min(self.last_year);
        while let Some(year) = self
            .previous_year(previous)
            .filter(|&year| year >= self.first_year)
        {
            tests_count_a_step();
            if let Some(date) = self.last_date(&Year::new(year), 12) {
                return Some(date);
            }
            previous = year - 1;
        }
        None
    }

    /// The first matching second of the day at or after this one.
    #[inline]
    fn next_time(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        if self.hours >> hour & 1 != 0 {
            if self.minutes >> minute & 1 != 0 {
                let seconds = self.seconds >> second;
                if seconds != 0 {
                    return Some(from + seconds.trailing_zeros());
                }
            }
            let minutes = self.minutes >> minute >> 1;
            if minutes != 0 {
                let minute = minute + 1 + minutes.trailing_zeros();
                return Some(hour * 3600 + minute * 60 + self.seconds.trailing_zeros());
            }
        }
        let hours = self.hours >> hour >> 1;
        if hours == 0 {
            return None;
        }
        let hour = hour + 1 + hours.trailing_zeros();
        Some(hour * 3600 + self.minutes.trailing_zeros() * 60 + self.seconds.trailing_zeros())
    }

    /// The last matching second of the day at or before this one.
    fn previous_time(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        if self.hours >> hour & 1 != 0 {
            if self.minutes >> minute & 1 != 0 {
                let seconds = self.seconds & ((2 << second) - 1);
                if seconds != 0 {
                    return Some(from - second + seconds.ilog2());
                }
            }
            let minutes = self.minutes & ((1 << minute) - 1);
            if minutes != 0 {
                return Some(hour * 3600 + minutes.ilog2() * 60 + self.seconds.ilog2());
            }
        }
        let hours = self.hours & ((1 << hour) - 1);
        (hours != 0)
            .then(|| hours.ilog2() * 3600 + self.minutes.ilog2() * 60 + self.seconds.ilog2())
    }

    /// How many matching seconds of a day lie before this one (0 to 86,400).
    fn times_before(&self, second_of_day: u32) -> u64 {
        let (hour, minute, second) = (
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60,
        );
        let (in_minute, in_hour) = (
            self.seconds.count_ones(),
            self.minutes.count_ones() * self.seconds.count_ones(),
        );
        // Hour 24 has no bit.
        let mut count = (self.hours & ((1u64 << hour) - 1) as u32).count_ones() * in_hour;
        if self.hours.checked_shr(hour).unwrap_or(0) & 1 != 0 {
            count += (self.minutes & ((1 << minute) - 1)).count_ones() * in_minute;
            if self.minutes >> minute & 1 != 0 {
                count += (self.seconds & ((1 << second) - 1)).count_ones();
            }
        }
        count.into()
    }

    /// How many dates match in the days `[from, to)`.
    fn count_dates(&self, from: i64, to: i64) -> u64 {
        let mut count = 0;
        let mut day = from;
        while day < to {
            let (year, month, day_of_month) = civil::civil_from_days(day);
            let this = Year::new(year);
            let next_year = civil::year_start(year + 1);
            if day == this.jan1 && next_year <= to {
                if self.has_year(year) {
                    count += u64::from(self.per_year[this.kind]);
                }
                day = next_year;
                continue;
            }
            let month = month as usize - 1;
            let next_month = this.month_start(month + 1);
            if self.has_year(year) && self.months >> (month + 1) & 1 != 0 {
                let mut days = self.month_days(&this, month) >> day_of_month << day_of_month;
                if to < next_month {
                    days &= (1 << (to - this.month_start(month) + 1)) - 1;
                }
                count += u64::from(days.count_ones());
            }
            day = next_month;
        }
        count
    }
}

impl CivilSet for CronTimes {
    #[inline]
    fn next(&self, from: i64) -> Option<i64> {
        if self.is_impossible() {
            return None;
        }
        let from = from.max(0);
        let day = from.div_euclid(DAY);
        let date = self.next_date(day)?;
        if date != day {
            return Some(date * DAY + i64::from(self.first_time));
        }
        if let Some(time) = self.next_time((from - day * DAY) as u32) {
            return Some(day * DAY + i64::from(time));
        }
        self.next_date(day + 1)
            .map(|date| date * DAY + i64::from(self.first_time))
    }

    fn last(&self, from: i64) -> Option<i64> {
        if self.is_impossible() {
            return None;
        }
        let from = from.min((civil::LAST_DAY + 1) * DAY - 1);
        let day = from.div_euclid(DAY);
        let date = self.previous_date(day)?;
        if date != day {
            return Some(date * DAY + i64::from(self.last_time));
        }
        if let Some(time) = self.previous_time((from - day * DAY) as u32) {
            return Some(day * DAY + i64::from(time));
        }
        self.previous_date(day - 1)
            .map(|date| date * DAY + i64::from(self.last_time))
    }

    fn count(&self, from: i64, to: i64) -> u64 {
        let (from, to) = (from.max(0), to.min((civil::LAST_DAY + 1) * DAY));
        if from >= to || self.is_impossible() {
            return 0;
        }
        let (first, last) = (from / DAY, to / DAY);
        let in_day = self.times_before(DAY as u32);
        let on = |day| self.next_date(day) == Some(day);
        // Whole days from the first one on, and what of the last one has begun, less what of the first one is over.
        let mut count = self.count_dates(first, last) * in_day;
        if on(last) {
            count += self.times_before((to - last * DAY) as u32);
        }
        if on(first) {
            count -= self.times_before((from - first * DAY) as u32);
        }
        count
    }
}

impl YearRange {
    fn next(self, from: i32) -> Option<i32> {
        let (first, last, step) = (
            i32::from(self.first),
            i32::from(self.last),
            i32::from(self.step),
        );
        let year = if from <= first {
            first
        } else {
            first + (from - first + step - 1) / step * step
        };
        (year <= last).then_some(year)
    }

    fn last(self, from: i32) -> Option<i32> {
        let (first, last, step) = (
            i32::from(self.first),
            i32::from(self.last),
            i32::from(self.step),
        );
        let from = from.min(last);
        (from >= first).then(|| first + (from - first) / step * step)
    }
}

#[cfg(test)]
thread_local! {
    /// How many years the searches of this thread have looked at.
    pub(crate) static STEPS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Bounds are tested by steps, since the clock of a test machine is not to be trusted.
#[inline]
fn tests_count_a_step() {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + 1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field;

    /// How many years the compilation and a search in each direction look at.
    fn steps(texts: [&str; 8]) -> (u32, u32, u32) {
        let fields = field::parse(&texts).unwrap();
        let count = |f: &mut dyn FnMut()| {
            STEPS.set(0);
            f();
            STEPS.get()
        };
        let mut times = None;
        let compile = count(&mut || times = Some(CronTimes::new(&fields)));
        let times = times.unwrap();
        let forth = count(&mut || _ = times.next(1_700_000_000));
        let back = count(&mut || _ = times.last(250_000_000_000));
        (compile, forth, back)
    }

    #[test]
    fn impossible_schedules_are_known_at_once() {
        let impossible = [
            ["*", "2", "30", "*", "*", "0", "0", "0"],
            ["*", "4,6", "31", "*", "*", "0", "0", "0"],
            ["*", "6", "*", "1", "*", "0", "0", "0"],
            ["*", "1", "*", "53", "2", "0", "0", "0"],
            ["*", "2", "5th mon", "*", "tue", "0", "0", "0"],
            ["1970-9999/2", "2", "30", "*", "*", "0", "0", "0"],
        ];
        for texts in impossible {
            assert_eq!(steps(texts), (0, 0, 0), "{texts:?}");
            let times = CronTimes::new(&field::parse(&texts).unwrap());
            assert!(
                times.is_impossible()
                    && times.next(0).is_none()
                    && times.last(i64::MAX / 2).is_none()
            );
            assert_eq!(times.count(0, 1 << 40), 0);
        }
        // Odd years have no leap day: each is looked at once, when it is compiled.
        let (compile, forth, back) = steps(["1971-9999/2", "2", "29", "*", "*", "0", "0", "0"]);
        assert!(compile < 4100 && forth == 0 && back == 0);
    }

    #[test]
    fn rare_schedules_take_few_steps() {
        // The worst that there is: forty years without a 29 February on a given weekday.
        let (compile, forth, back) = steps(["*", "2", "29", "*", "mon", "0", "0", "0"]);
        assert!(
            compile <= 80 && forth <= 41 && back <= 41,
            "{compile} {forth} {back}"
        );
        let (compile, forth, back) = steps(["*", "*", "*", "*", "*", "*", "*", "*"]);
        assert_eq!((compile, forth, back), (0, 0, 0));
        // A single year is found without a walk.
        let (compile, forth, back) = steps(["9000", "*", "*", "*", "*", "*", "*", "*"]);
        assert!(compile == 0 && forth <= 1 && back <= 1);
    }
}
