//! `APScheduler`'s short form of a trigger, such as `cron[month='6-8', day='3rd fri']`.

use crate::{date_string::SECOND, describe::spaced, field::FIELDS, interval::UNITS, spec::Spec};
use std::fmt;

/// `APScheduler`'s `str(trigger)`.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, spec: &Spec) -> fmt::Result {
    match spec {
        Spec::Date(spec) => {
            let date = spec
                .run_date
                .map_or("now".to_owned(), |date| spaced(&date.to_string()));
            match spec
                .timezone
                .as_deref()
                .filter(|_| spec.run_date.is_some_and(|date| date.offset().is_none()))
            {
                Some(zone) => write!(f, "date[{date} {zone}]"),
                None => write!(f, "date[{date}]"),
            }
        }
        Spec::Interval(spec) => write_length(f, spec.length.micros().unwrap_or(0)),
        Spec::Cron(spec) => {
            f.write_str("cron[")?;
            let given = FIELDS.iter().zip(&spec.texts);
            for (i, (field, text)) in given
                .filter_map(|(field, text)| Some((field, text.as_ref()?)))
                .enumerate()
            {
                let comma = if i == 0 { "" } else { ", " };
                write!(f, "{comma}{}='{text}'", field.name())?;
            }
            f.write_str("]")
        }
        Spec::Crontab(spec) => write!(f, "crontab[{}]", spec.expr),
        Spec::CalendarInterval(spec) => {
            let lengths = ["y", "m", "w", "d"]
                .iter()
                .zip(spec.lengths)
                .filter(|&(_, length)| length != 0);
            let lengths: Vec<_> = lengths
                .map(|(unit, length)| format!("{length}{unit}"))
                .collect();
            let (hour, minute, second) = (spec.hour, spec.minute, spec.second);
            write!(
                f,
                "calendarinterval[{} at {hour:02}:{minute:02}:{second:02}]",
                lengths.join(",")
            )
        }
        Spec::And(combo) | Spec::Or(combo) => {
            write!(f, "{}[", spec.kind())?;
            for (i, part) in combo.parts.iter().enumerate() {
                f.write_str(if i == 0 { "" } else { ", " })?;
                write(f, part)?;
            }
            f.write_str("]")
        }
    }
}

/// As Python prints a `timedelta`: `2 days, 0:00:01.500000`.
fn write_length(f: &mut fmt::Formatter<'_>, micros: i64) -> fmt::Result {
    let (days, rest) = (micros / UNITS[1].1, micros % UNITS[1].1);
    f.write_str("interval[")?;
    match days {
        0 => {}
        1 => f.write_str("1 day, ")?,
        _ => write!(f, "{days} days, ")?,
    }
    let (seconds, micros) = (rest / SECOND, rest % SECOND);
    write!(
        f,
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )?;
    if micros != 0 {
        write!(f, ".{micros:06}")?;
    }
    f.write_str("]")
}
