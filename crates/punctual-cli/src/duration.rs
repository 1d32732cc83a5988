//! Durations as people write them: `90s`, `1h30m`, `2d`, `1.5h`, or a number of seconds.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write 90s, 1h30m, 2d or a number of seconds")]
pub(crate) struct DurationError(String);

const UNITS: [(&str, f64); 10] = [
    ("ms", 0.001),
    ("sec", 1.0),
    ("s", 1.0),
    ("min", 60.0),
    ("m", 60.0),
    ("hours", 3600.0),
    ("h", 3600.0),
    ("days", 86_400.0),
    ("d", 86_400.0),
    ("w", 604_800.0),
];

/// Reads a duration.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    seconds(text)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| DurationError(text.to_owned()))
}

fn seconds(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse() {
        return Some(seconds);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (_, length) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        total += number * length;
        rest = rest[letters..].trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("90s", Some(90_000)),
            ("90", Some(90_000)),
            ("0.5", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("2d", Some(172_800_000)),
            ("1w", Some(604_800_000)),
            ("1.5h", Some(5_400_000)),
            ("", None),
            ("h", None),
            ("5 parsecs", None),
            ("-5s", None),
            ("nan", None),
            ("inf", None),
            ("1e400", None),
        ] {
            let read = parse(text).ok().map(|duration| duration.as_millis());
            assert_eq!(read, millis, "{text}");
        }
    }
}
