//! Calendar arithmetic on plain integers: days and seconds since 1970-01-01 by the wall clock.
//!
//! The searches below live on these numbers, so this is the proleptic Gregorian calendar and nothing else: no zone, no
//! leap second. Weekdays count from Monday = 0. Years reach from 1 to 9999.

/// Seconds in a day.
pub(crate) const DAY: i64 = 86_400;
/// Days in the 400 years after which the calendar, weekdays included, repeats.
pub(crate) const CYCLE_DAYS: i64 = 146_097;
/// The last day of the year 9999.
pub(crate) const LAST_DAY: i64 = 2_932_896;
/// The first day of the year 1.
pub(crate) const FIRST_DAY: i64 = -719_162;
/// The last year of any schedule.
pub(crate) const LAST_YEAR: i32 = 9999;

/// Days before each month, in common and in leap years.
pub(crate) const BEFORE_MONTH: [[u16; 13]; 2] = [
    [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365],
    [0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366],
];

#[inline]
pub(crate) const fn is_leap(year: i32) -> bool {
    // A hundred has the factor 25, four hundred the factor 16: with these the divisions are masks.
    year % 4 == 0 && (year % 25 != 0 || year % 16 == 0)
}

pub(crate) const fn month_len(year: i32, month: u32) -> u32 {
    match month {
        2 => 28 + is_leap(year) as u32,
        // Odd months up to July and even ones from August on are long.
        _ => 30 + ((month + (month >> 3)) & 1),
    }
}

/// The days from 1970-01-01 to the first of January of a year from 1 on.
#[inline]
pub(crate) const fn year_start(year: i32) -> i64 {
    let before = (year - 1) as u32;
    let centuries = before / 100;
    (before * 365 + before / 4 - centuries + centuries / 4) as i64 + FIRST_DAY
}

pub(crate) const fn days_from_civil(year: i32, month: u32, day: u32) -> i64 {
    year_start(year) + BEFORE_MONTH[is_leap(year) as usize][month as usize - 1] as i64 + day as i64
        - 1
}

/// Year, month and day of a day number between [`FIRST_DAY`] and [`LAST_DAY`].
///
/// Neri and Schneider, "Euclidean affine functions and their application to calendar algorithms" (2022): the year is
/// counted from March, so that the leap day is its last, and divisions become multiplications.
pub(crate) const fn civil_from_days(days: i64) -> (i32, u32, u32) {
    let n = (days + 719_468) as u32;
    let n1 = 4 * n + 3;
    let century = n1 / 146_097;
    let n2 = (n1 % 146_097) | 3;
    let p2 = 2_939_745 * n2 as u64;
    let year_of_century = (p2 >> 32) as u32;
    let day_of_year = (p2 as u32) / 2_939_745 / 4;
    let n3 = 2_141 * day_of_year + 197_913;
    let (month, day) = (n3 >> 16, (n3 & 0xffff) / 2_141);
    let wraps = day_of_year >= 306;
    let year = 100 * century + year_of_century + wraps as u32;
    (year as i32, if wraps { month - 12 } else { month }, day + 1)
}

/// The weekday, Monday = 0.
#[inline]
pub(crate) const fn weekday(days: i64) -> u32 {
    // 1970-01-01 was a Thursday; seven times a large number keeps the sum positive.
    (days + 3 + 7 * 200_000) as u32 % 7
}

/// Whether there is such a date.
pub(crate) const fn is_date(year: i32, month: u32, day: u32) -> bool {
    year >= 1
        && year <= LAST_YEAR
        && month >= 1
        && month <= 12
        && day >= 1
        && day <= month_len(year, month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_goes_there_and_back() {
        let (mut year, mut month, mut day) = (1, 1, 1);
        for n in FIRST_DAY..=LAST_DAY {
            assert_eq!(civil_from_days(n), (year, month, day));
            assert_eq!(days_from_civil(year, month, day), n);
            day += 1;
            if day > month_len(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }

    #[test]
    fn weekdays() {
        assert_eq!(weekday(0), 3);
        assert_eq!(weekday(days_from_civil(2026, 11, 22)), 6);
        assert_eq!(weekday(FIRST_DAY), 0);
        assert_eq!(weekday(LAST_DAY), 4);
    }
}
