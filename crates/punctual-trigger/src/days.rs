//! Which days of a month match, before the month is known.

use crate::civil::BEFORE_MONTH;

/// Years fall into fifteen types, alike in every date, weekday and ISO week: common or leap, by the weekday of the first
/// of January; and one more, since the first two days of a common year that begins on a Saturday belong to week 53 where
/// the year before was a leap year, and to week 52 elsewhere.
pub(crate) const YEAR_TYPES: usize = 15;

pub(crate) fn year_type(is_leap: bool, was_leap: bool, jan1_weekday: u32) -> usize {
    if jan1_weekday == 5 && was_leap {
        14
    } else {
        usize::from(is_leap) * 7 + jan1_weekday as usize
    }
}

fn is_leap_type(year_type: usize) -> bool {
    (7..14).contains(&year_type)
}

pub(crate) fn jan1_weekday(year_type: usize) -> u32 {
    if year_type == 14 {
        5
    } else {
        (year_type % 7) as u32
    }
}

/// All weekdays, or all days of a week.
pub(crate) const ALL_WEEKDAYS: u8 = 0x7f;
const ALL_DAYS: u32 = u32::MAX ^ 1;

/// The weekday that `n`th and last weekdays are kept under in one mask: bits 1 to 5, and this one for the last.
pub(crate) const LAST: u32 = 6;

/// A day field: days of the month, in all the ways to say them. A date has to match one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MonthDays {
    /// Bit d: day d.
    pub(crate) days: u32,
    /// Bit k: the day k before the last.
    pub(crate) from_end: u32,
    /// Bit d: the weekday (Monday to Friday) nearest to day d within the month.
    pub(crate) nearest: u32,
    /// The last weekday (Monday to Friday) of the month.
    pub(crate) last_workday: bool,
    /// By weekday: bit n for the nth, bit [`LAST`] for the last.
    pub(crate) nth: [u8; 7],
}

/// A weekday field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WeekDays {
    /// Bit 0 is Monday.
    pub(crate) days: u8,
    /// By weekday: bit n for the nth of the month, bit [`LAST`] for the last.
    pub(crate) nth: [u8; 7],
}

impl MonthDays {
    pub(crate) fn all() -> MonthDays {
        MonthDays {
            days: ALL_DAYS,
            ..MonthDays::default()
        }
    }

    /// The matching days (bit d) of a month of this length that begins on this weekday.
    fn mask(&self, len: u32, first: u32) -> u32 {
        let mut mask = self.days | nth_mask(self.nth, len, first);
        for back in bits(self.from_end).take_while(|&back| back < len) {
            mask |= 1 << (len - back);
        }
        for day in bits(self.nearest).take_while(|&day| day <= len) {
            mask |= 1 << nearest_workday(day, len, first);
        }
        if self.last_workday {
            mask |= 1 << nearest_workday(len, len, first);
        }
        mask & month_mask(len)
    }

    fn is_all(&self) -> bool {
        self.days == ALL_DAYS
    }
}

impl WeekDays {
    pub(crate) fn all() -> WeekDays {
        WeekDays {
            days: ALL_WEEKDAYS,
            nth: [0; 7],
        }
    }

    fn mask(&self, len: u32, first: u32) -> u32 {
        // The week as it begins in this month, five times over; day 1 is bit 1.
        let week =
            (u64::from(self.days) << 7 | u64::from(self.days)) >> first & u64::from(ALL_WEEKDAYS);
        let weeks = (week * FIVE_WEEKS) << 1;
        weeks as u32 & month_mask(len) | nth_mask(self.nth, len, first)
    }
}

/// A factor that repeats seven bits five times.
const FIVE_WEEKS: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28;

/// The places of the bits that are set, from the lowest up.
fn bits(mut mask: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (bit < u32::BITS).then_some(bit)
    })
}

fn month_mask(len: u32) -> u32 {
    ((2u64 << len) - 2) as u32
}

fn nth_mask(nth: [u8; 7], len: u32, first: u32) -> u32 {
    if nth == [0; 7] {
        return 0;
    }
    let mut mask = 0;
    for day in 1..=len {
        let of_weekday = nth[((first + day - 1) % 7) as usize];
        let is_nth = of_weekday >> ((day - 1) / 7 + 1) & 1 != 0;
        let is_last = day + 7 > len && of_weekday >> LAST & 1 != 0;
        mask |= u32::from(is_nth || is_last) << day;
    }
    mask
}

/// cron's `W`: Saturday goes to Friday, Sunday to Monday, but never into another month.
fn nearest_workday(day: u32, len: u32, first: u32) -> u32 {
    match (first + day - 1) % 7 {
        5 if day > 1 => day - 1,
        5 => day + 2,
        6 if day < len => day + 1,
        6 => day - 2,
        _ => day,
    }
}

/// How the day and the weekday field go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    And,
    Or,
}

/// Everything that says which dates of a year match.
#[derive(Clone, Debug)]
pub(crate) struct DateFields {
    /// Bit m: month m.
    pub(crate) months: u16,
    pub(crate) days: MonthDays,
    /// Bit w: ISO week w; all of them where the field is `*`.
    pub(crate) weeks: u64,
    pub(crate) weekdays: WeekDays,
    pub(crate) joined: Joined,
}

pub(crate) const ALL_MONTHS: u16 = 0x1ffe;
/// Bits 1 to 53.
pub(crate) const ALL_WEEKS: u64 = (1 << 54) - 2;

/// The matching days (bit d) of every month there can be.
#[derive(Clone, Debug)]
pub(crate) enum DayTable {
    /// By length (28 to 31) and first weekday.
    ByMonth(Box<[u32; 28]>),
    /// By year type and month, for schedules that ask for the ISO week.
    ByYear(Box<[u32; YEAR_TYPES * 12]>),
}

impl DateFields {
    /// The weekdays, where nothing else is asked of a date.
    pub(crate) fn only_weekdays(&self) -> Option<u8> {
        let plain =
            self.months == ALL_MONTHS && self.weeks == ALL_WEEKS && self.weekdays.nth == [0; 7];
        let by_weekday = match self.joined {
            Joined::And => self.days.is_all(),
            Joined::Or => self.days == MonthDays::default(),
        };
        (plain && by_weekday && self.weekdays.days != 0).then_some(self.weekdays.days)
    }

    pub(crate) fn table(&self) -> DayTable {
        let mask = |len, first| {
            let (days, weekdays) = (self.days.mask(len, first), self.weekdays.mask(len, first));
            match self.joined {
                Joined::And => days & weekdays,
                Joined::Or => days | weekdays,
            }
        };
        if self.weeks == ALL_WEEKS {
            let mut table = Box::new([0; 28]);
            for (i, entry) in (0..).zip(table.iter_mut()) {
                *entry = mask(28 + i / 7, i % 7);
            }
            return DayTable::ByMonth(table);
        }
        let mut table = Box::new([0; YEAR_TYPES * 12]);
        for year_type in 0..YEAR_TYPES {
            let before = &BEFORE_MONTH[usize::from(is_leap_type(year_type))];
            for month in 0..12 {
                let len = u32::from(before[month + 1] - before[month]);
                let first = (jan1_weekday(year_type) + u32::from(before[month])) % 7;
                let mut days = mask(len, first);
                for day in 1..=len {
                    let week = iso_week(year_type, u32::from(before[month]) + day - 1);
                    if self.weeks >> week & 1 == 0 {
                        days &= !(1 << day);
                    }
                }
                table[year_type * 12 + month] = days;
            }
        }
        DayTable::ByYear(table)
    }
}

impl DayTable {
    /// The matching days of a month (0 to 11) of a year of this type.
    #[inline]
    pub(crate) fn month(&self, year_type: usize, month: usize, len: u32, first: u32) -> u32 {
        match self {
            DayTable::ByMonth(table) => table[(len as usize - 28) * 7 + first as usize],
            DayTable::ByYear(table) => table[year_type * 12 + month],
        }
    }

    /// How many dates match in a year of each type.
    pub(crate) fn per_year(&self, months: u16) -> [u16; YEAR_TYPES] {
        let mut counts = [0; YEAR_TYPES];
        for (year_type, count) in counts.iter_mut().enumerate() {
            let before = &BEFORE_MONTH[usize::from(is_leap_type(year_type))];
            for month in (0..12).filter(|month| months >> (month + 1) & 1 != 0) {
                let len = u32::from(before[month + 1] - before[month]);
                let first = (jan1_weekday(year_type) + u32::from(before[month])) % 7;
                *count += self.month(year_type, month, len, first).count_ones() as u16;
            }
        }
        counts
    }
}

/// The ISO week of the day (from 0) of a year of this type: that of the Thursday in the same week.
fn iso_week(year_type: usize, day: u32) -> u32 {
    let jan1 = jan1_weekday(year_type);
    let thursday = i64::from(day) + 3 - i64::from((jan1 + day) % 7);
    let len = 365 + i64::from(is_leap_type(year_type));
    if thursday < 0 {
        // The year before: it has 53 weeks if it ended on a Thursday, or on a Friday as a leap year.
        52 + u32::from(jan1 == 4 || year_type == 14)
    } else if thursday >= len {
        1
    } else {
        thursday as u32 / 7 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::civil;

    #[test]
    fn weeks_are_those_of_jiff() {
        for year in 1970..=2400 {
            let jan1 = civil::year_start(year);
            let kind = year_type(
                civil::is_leap(year),
                civil::is_leap(year - 1),
                civil::weekday(jan1),
            );
            for day in 0..365 + u32::from(civil::is_leap(year)) {
                let (y, m, d) = civil::civil_from_days(jan1 + i64::from(day));
                let week = jiff::civil::date(y as i16, m as i8, d as i8)
                    .iso_week_date()
                    .week();
                assert_eq!(iso_week(kind, day), week as u32, "{y}-{m}-{d}");
            }
        }
    }

    #[test]
    fn workdays_stay_in_the_month() {
        // A month of 30 days that begins on a Saturday: the 1st goes to the 3rd; the 30th is a Sunday and goes to 28.
        assert_eq!(nearest_workday(1, 30, 5), 3);
        assert_eq!(nearest_workday(30, 30, 5), 28);
        assert_eq!(nearest_workday(15, 30, 5), 14);
        assert_eq!(nearest_workday(16, 30, 5), 17);
        assert_eq!(nearest_workday(17, 30, 5), 17);
    }
}
