//! Intervals: `start + k * every`, in elapsed time.

use crate::{TriggerError, date_string::SECOND};
use serde_json::{Map, Number, Value};

/// The units of an interval and their lengths in microseconds.
pub(crate) const UNITS: [(&str, i64); 5] = [
    ("weeks", 7 * 86_400 * SECOND),
    ("days", 86_400 * SECOND),
    ("hours", 3_600 * SECOND),
    ("minutes", 60 * SECOND),
    ("seconds", SECOND),
];

/// The longest interval, that of Python's `timedelta`.
const LONGEST: i128 = 1_000_000_000 * 86_400 * SECOND as i128;

/// The length of an interval as it was given, unit by unit. Fractions are kept as microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Length {
    /// Weeks, days, hours, minutes, and then microseconds.
    parts: [i64; 5],
}

impl Length {
    /// Adds so many of a unit (its index in [`UNITS`]).
    pub(crate) fn add(&mut self, unit: usize, number: &Number) -> Result<(), TriggerError> {
        let (name, length) = UNITS[unit];
        let too_long = || {
            TriggerError::at(
                name,
                number,
                "is too long: an interval is shorter than a billion days",
            )
        };
        let micros = decimal_times(&number.to_string(), length).ok_or_else(too_long)?;
        if micros.abs() >= LONGEST {
            return Err(too_long());
        }
        let whole = if unit == 4 {
            0
        } else {
            micros / i128::from(length)
        };
        self.parts[unit] += whole as i64;
        self.add_micros(micros - whole * i128::from(length));
        Ok(())
    }

    /// Adds to the microseconds. Where they become so many that as seconds they have no exact JSON number (15 digits),
    /// whole weeks are taken out.
    fn add_micros(&mut self, micros: i128) {
        let micros = i128::from(self.parts[4]) + micros;
        let week = i128::from(UNITS[0].1);
        let carry = if micros.abs() < 1_000_000_000_000_000 {
            0
        } else {
            micros / week
        };
        self.parts[0] += carry as i64;
        self.parts[4] = (micros - carry * week) as i64;
    }

    pub(crate) fn from_micros(micros: i64) -> Length {
        let mut length = Length::default();
        length.add_micros(micros.into());
        length
    }

    /// The whole length in microseconds; what is longer than all of time is cut to that.
    pub(crate) fn micros(&self) -> Result<i64, TriggerError> {
        let total: i128 = (0..5)
            .map(|i| i128::from(self.parts[i]) * if i == 4 { 1 } else { i128::from(UNITS[i].1) })
            .sum();
        if total >= LONGEST {
            return Err(TriggerError::new(
                "the interval is too long: it must be shorter than a billion days",
            ));
        }
        if total <= 0 {
            return Err(TriggerError::new(
                "the interval must be longer than nothing: give weeks, days, hours, minutes or seconds above 0",
            ));
        }
        Ok(i64::try_from(total).unwrap_or(i64::MAX))
    }

    pub(crate) fn write(&self, map: &mut Map<String, Value>) {
        for (i, (name, _)) in UNITS.iter().enumerate() {
            let part = self.parts[i];
            if part != 0 {
                let number = if i == 4 { seconds(part) } else { part.into() };
                map.insert((*name).to_owned(), Value::Number(number));
            }
        }
    }

    /// In words: `1 hour and 30 minutes`.
    pub(crate) fn describe(&self) -> String {
        let mut words = Vec::new();
        for (i, (name, _)) in UNITS.iter().enumerate() {
            let part = self.parts[i];
            if part == 0 {
                continue;
            }
            let (number, is_one) = if i == 4 {
                (seconds(part).to_string(), part == SECOND)
            } else {
                (part.to_string(), part == 1)
            };
            words.push(if is_one {
                name[..name.len() - 1].to_owned()
            } else {
                format!("{number} {name}")
            });
        }
        if words.len() > 1 && !words[0].starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            words[0] = format!("1 {}", words[0]);
        }
        for word in words.iter_mut().skip(1) {
            if !word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                *word = format!("1 {word}");
            }
        }
        crate::describe::list(&words)
    }
}

/// Microseconds as a JSON number of seconds, whole where it is.
pub(crate) fn seconds(micros: i64) -> Number {
    if micros % SECOND == 0 {
        return (micros / SECOND).into();
    }
    let sign = if micros < 0 { "-" } else { "" };
    let text = format!(
        "{sign}{}.{:06}",
        (micros / SECOND).abs(),
        (micros % SECOND).abs()
    );
    let exact = text.trim_end_matches('0');
    // Up to 15 digits, a float's shortest form is this very text; beyond that it is the nearest there is.
    let float = exact.parse().unwrap_or(0.0);
    Number::from_f64(float).unwrap_or_else(|| (micros / SECOND).into())
}

/// A decimal number times a unit, exactly, rounded to the nearest microsecond; none where it is too large.
pub(crate) fn decimal_times(text: &str, unit: i64) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(positive) => (-1, positive),
        None => (1, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value
            .checked_mul(10)?
            .checked_add(i128::from(digit.wrapping_sub(b'0')))?;
    }
    value = value.checked_mul(i128::from(unit))?;
    let exponent = exponent - fraction.len() as i32;
    if value == 0 {
        return Some(0);
    }
    if exponent >= 0 {
        return value
            .checked_mul(10_i128.checked_pow(exponent as u32)?)
            .map(|value| sign * value);
    }
    let Some(power) = 10_i128.checked_pow(exponent.unsigned_abs()) else {
        return Some(0);
    };
    Some(sign * ((value + power / 2) / power))
}

/// The set of instants `start + k * every` up to `end`, all in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntervalTimes {
    pub(crate) start: i64,
    pub(crate) every: i64,
    pub(crate) end: i64,
}

impl IntervalTimes {
    /// The first fire at or after `t`.
    #[inline]
    pub(crate) fn next(&self, t: i64) -> Option<i64> {
        let fire = if t <= self.start {
            self.start
        } else {
            // As unsigned numbers, no distance between two instants overflows; nor does a fire behind the end.
            let gone = t.wrapping_sub(self.start) as u64;
            let k = gone.div_ceil(self.every as u64);
            self.start
                .checked_add_unsigned(k.checked_mul(self.every as u64)?)?
        };
        (fire <= self.end).then_some(fire)
    }

    /// The last fire at or before `t`.
    pub(crate) fn last(&self, t: i64) -> Option<i64> {
        let t = t.min(self.end);
        (t >= self.start).then(|| {
            let gone = t.wrapping_sub(self.start) as u64;
            t.wrapping_sub_unsigned(gone % self.every as u64)
        })
    }

    /// How many fires lie in `[from, to]`.
    pub(crate) fn count(&self, from: i64, to: i64) -> u64 {
        match (self.next(from), self.last(to)) {
            (Some(first), Some(last)) if first <= last => {
                (last.wrapping_sub(first) as u64) / (self.every as u64) + 1
            }
            _ => 0,
        }
    }
}
