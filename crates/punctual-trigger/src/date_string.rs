//! Date strings as `APScheduler` reads them: `2020-8-12 12:03:00`, with neither padding nor an offset required.

use crate::{
    civil::{self, DAY},
    zone::{Reading, Zone},
};
use std::fmt;

/// A second in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;

/// A date string: a time on the wall clock, and the offset where one was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// Microseconds since 1970-01-01T00:00:00 on the wall clock.
    wall: i64,
    /// Minutes east of UTC.
    offset: Option<i16>,
}

const FORM: &str = "write YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, then if wanted a fraction and Z or +HH:MM, \
    such as \"2026-08-12 09:30:00\"";

impl When {
    /// An instant in microseconds, written with the offset of a zone.
    pub(crate) fn at(micros: i64, zone: &Zone) -> When {
        let offset = zone.offset_at(micros.div_euclid(SECOND));
        // Whole minutes only have a spelling; a few zones had others until 1972.
        let offset = if offset % 60 == 0 { offset } else { 0 };
        When {
            wall: micros + offset * SECOND,
            offset: Some((offset / 60) as i16),
        }
    }

    /// An instant in microseconds, written in UTC.
    pub(crate) fn utc(micros: i64) -> When {
        When {
            wall: micros,
            offset: Some(0),
        }
    }

    /// The instant in microseconds. In a gap the time is moved forward by the width of the gap; of two the first counts.
    pub(crate) fn instant(self, zone: &Zone) -> i64 {
        if let Some(offset) = self.offset {
            return self.wall - i64::from(offset) * 60 * SECOND;
        }
        let (Reading::Once(second) | Reading::Gap(second) | Reading::Fold(second)) =
            zone.read(self.wall.div_euclid(SECOND));
        second * SECOND + self.wall.rem_euclid(SECOND)
    }

    /// The offset that was given, in seconds.
    pub(crate) fn offset(self) -> Option<i32> {
        self.offset.map(|minutes| i32::from(minutes) * 60)
    }

    /// Reads a date string; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<When, String> {
        let mut rest = text;
        let unreadable = || format!("\"{text}\" is not a date; {FORM}");
        let mut wall = date(&mut rest, 1)
            .ok_or_else(unreadable)?
            .map_err(|why| format!("\"{text}\": {why}"))?
            * DAY;
        if rest.is_empty() {
            return Ok(When {
                wall: wall * SECOND,
                offset: None,
            });
        }
        if !take(&mut rest, ' ') && !take(&mut rest, 'T') {
            return Err(unreadable());
        }
        for (i, (unit, max, seconds)) in [("hour", 23, 3600), ("minute", 59, 60), ("second", 59, 1)]
            .into_iter()
            .enumerate()
        {
            if i > 0 && !take(&mut rest, ':') {
                return Err(unreadable());
            }
            let value = digits(&mut rest, 1, 2).ok_or_else(unreadable)?;
            if value > max {
                return Err(format!("\"{text}\": the {unit} must be 0-{max}"));
            }
            wall += value * seconds;
        }
        let mut micros = 0;
        if take(&mut rest, '.') {
            let len = rest.len();
            let value = digits(&mut rest, 1, 6).ok_or_else(unreadable)?;
            micros = value * 10_i64.pow(6 - (len - rest.len()) as u32);
        }
        Ok(When {
            wall: wall * SECOND + micros,
            offset: offset(rest).ok_or_else(unreadable)?,
        })
    }
}

/// A date as a day number, its month and day with at least so many digits. None where it does not look like one.
pub(crate) fn date(rest: &mut &str, digits_min: usize) -> Option<Result<i64, String>> {
    let year = digits(rest, 4, 4)?;
    let month = take(rest, '-').then(|| digits(rest, digits_min, 2))??;
    let day = take(rest, '-').then(|| digits(rest, digits_min, 2))??;
    Some(if year == 0 {
        Err("the year must be 1-9999".to_owned())
    } else if !(1..=12).contains(&month) {
        Err("the month must be 1-12".to_owned())
    } else if !civil::is_date(year as i32, month as u32, day as u32) {
        let len = civil::month_len(year as i32, month as u32);
        Err(format!("the day must be 1-{len} in that month"))
    } else {
        Ok(civil::days_from_civil(
            year as i32,
            month as u32,
            day as u32,
        ))
    })
}

#[expect(
    clippy::option_option,
    reason = "not readable and not given are two things"
)]
/// `Z`, `+HH:MM` or nothing, in minutes; none where it is something else.
fn offset(text: &str) -> Option<Option<i16>> {
    let mut rest = text;
    let sign = match text.as_bytes().first() {
        None => return Some(None),
        Some(b'Z') if text.len() == 1 => return Some(Some(0)),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    rest = &rest[1..];
    let hours = digits(&mut rest, 2, 2).filter(|&hours| hours <= 23)?;
    let minutes = take(&mut rest, ':')
        .then(|| digits(&mut rest, 2, 2))?
        .filter(|&minutes| minutes <= 59)?;
    rest.is_empty()
        .then_some(Some(sign * (hours * 60 + minutes) as i16))
}

fn take(rest: &mut &str, sign: char) -> bool {
    match rest.strip_prefix(sign) {
        Some(tail) => {
            *rest = tail;
            true
        }
        None => false,
    }
}

/// From `min` to `max` digits.
fn digits(rest: &mut &str, min: usize, max: usize) -> Option<i64> {
    let len = rest
        .bytes()
        .take(max)
        .take_while(u8::is_ascii_digit)
        .count();
    if len < min {
        return None;
    }
    let (number, tail) = rest.split_at(len);
    *rest = tail;
    number.parse().ok()
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_wall(f, self.wall, 'T')?;
        match self.offset {
            None => Ok(()),
            Some(minutes) => write_offset(f, i64::from(minutes)),
        }
    }
}

/// `2026-08-12T09:30:00`, with six digits of a fraction where there is one.
pub(crate) fn write_wall(f: &mut impl fmt::Write, wall: i64, separator: char) -> fmt::Result {
    let (seconds, micros) = (wall.div_euclid(SECOND), wall.rem_euclid(SECOND));
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    write_date(f, days)?;
    write!(
        f,
        "{separator}{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )?;
    if micros != 0 {
        write!(f, ".{micros:06}")?;
    }
    Ok(())
}

pub(crate) fn write_date(f: &mut impl fmt::Write, days: i64) -> fmt::Result {
    let (year, month, day) = civil::civil_from_days(days.clamp(civil::FIRST_DAY, civil::LAST_DAY));
    write!(f, "{year:04}-{month:02}-{day:02}")
}

fn write_offset(f: &mut impl fmt::Write, minutes: i64) -> fmt::Result {
    let sign = if minutes < 0 { '-' } else { '+' };
    write!(
        f,
        "{sign}{:02}:{:02}",
        minutes.abs() / 60,
        minutes.abs() % 60
    )
}

/// RFC 3339, with the offset in seconds.
pub(crate) fn write_rfc3339(f: &mut impl fmt::Write, micros: i64, offset: i64) -> fmt::Result {
    // The form has no seconds in the offset; zones had them until 1972.
    let minutes = offset.div_euclid(60);
    write_wall(f, micros + minutes * 60 * SECOND, 'T')?;
    write_offset(f, minutes)
}
