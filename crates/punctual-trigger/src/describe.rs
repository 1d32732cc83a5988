//! Triggers in plain English.

use crate::{
    Dialect, date_string,
    field::{filled, number},
    spec::{CalendarSpec, CronSpec, CrontabSpec, Spec},
};
use std::fmt::Write as _;

pub(crate) const MONTH_NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From Sunday, so that cron's 7 is there.
const WEEKDAY_NAMES: [&str; 8] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

pub(crate) fn describe(spec: &Spec) -> String {
    let mut text = String::new();
    let (start, end) = match spec {
        Spec::Date(spec) => {
            match spec.run_date {
                Some(run_date) => _ = write!(text, "once, at {}", spaced(&run_date.to_string())),
                None => text.push_str("once, when it is added"),
            }
            (None, None)
        }
        Spec::Interval(spec) => {
            _ = write!(text, "every {}", spec.length.describe());
            (
                spec.start.map(|start| start.to_string()),
                spec.end.map(|end| end.to_string()),
            )
        }
        Spec::Cron(spec) => {
            text.push_str(&cron(spec));
            (
                spec.start.map(|start| start.to_string()),
                spec.end.map(|end| end.to_string()),
            )
        }
        Spec::Crontab(spec) => {
            text.push_str(&crontab(spec));
            (
                spec.start.map(|start| start.to_string()),
                spec.end.map(|end| end.to_string()),
            )
        }
        Spec::CalendarInterval(spec) => {
            text.push_str(&calendar_interval(spec));
            (spec.start.map(day), spec.end.map(day))
        }
        Spec::And(combo) => {
            text.push_str(&combined(
                &combo.parts,
                " and at the same time ",
                "both of: ",
            ));
            (None, None)
        }
        Spec::Or(combo) => {
            text.push_str(&combined(&combo.parts, ", or ", "any of: "));
            (None, None)
        }
    };
    if let Some(start) = start {
        _ = write!(text, ", from {}", spaced(&start));
    }
    if let Some(end) = end {
        _ = write!(text, ", until {}", spaced(&end));
    }
    if let Some(zone) = spec.timezone() {
        _ = write!(text, ", {zone}");
    }
    if spec.jitter() != 0 {
        _ = write!(
            text,
            ", up to {} s later",
            crate::interval::seconds(spec.jitter())
        );
    }
    text
}

pub(crate) fn spaced(date: &str) -> String {
    date.replace('T', " ")
}

fn day(day: i64) -> String {
    let mut text = String::new();
    date_string::write_date(&mut text, day).expect("a string takes all");
    text
}

fn combined(parts: &[Spec], word: &str, several: &str) -> String {
    let parts: Vec<_> = parts.iter().map(describe).collect();
    match parts.as_slice() {
        [a, b] => format!("{a}{word}{b}"),
        [only] => only.clone(),
        more => format!("{several}{}", more.join("; ")),
    }
}

fn calendar_interval(spec: &CalendarSpec) -> String {
    let units = ["year", "month", "week", "day"];
    let given: Vec<_> = units
        .iter()
        .zip(spec.lengths)
        .filter(|&(_, length)| length != 0)
        .collect();
    let lengths: Vec<_> = given
        .iter()
        .map(|&(unit, length)| match length {
            1 if given.len() == 1 => (*unit).to_owned(),
            1 => format!("1 {unit}"),
            _ => format!("{length} {unit}s"),
        })
        .collect();
    format!(
        "every {} at {}",
        list(&lengths),
        clock(spec.hour.into(), spec.minute.into(), spec.second.into())
    )
}

fn clock(hour: u64, minute: u64, second: u64) -> String {
    if second == 0 {
        format!("{hour:02}:{minute:02}")
    } else {
        format!("{hour:02}:{minute:02}:{second:02}")
    }
}

/// The texts of a cron schedule, whatever its dialect.
struct Texts<'a> {
    year: &'a str,
    month: &'a str,
    day: &'a str,
    week: &'a str,
    weekday: &'a str,
    hour: &'a str,
    minute: &'a str,
    second: &'a str,
    /// Weekday numbers count from Sunday.
    sunday_first: bool,
    /// A day is enough, or a weekday.
    either_day: bool,
}

fn cron(spec: &CronSpec) -> String {
    let [year, month, day, week, weekday, hour, minute, second] = filled(&spec.texts);
    Texts {
        year,
        month,
        day,
        week,
        weekday,
        hour,
        minute,
        second,
        sunday_first: false,
        either_day: false,
    }
    .describe()
}

fn crontab(spec: &CrontabSpec) -> String {
    let Ok(parsed) = spec.parse() else {
        return format!("crontab {}", spec.expr);
    };
    let [second, minute, hour, day, month, weekday] = parsed.texts;
    let unix = spec.dialect == Dialect::Unix;
    Texts {
        year: "*",
        month,
        day,
        week: "*",
        weekday,
        hour,
        minute,
        second,
        sunday_first: unix,
        either_day: unix && !day.starts_with(['*', '?']) && !weekday.starts_with(['*', '?']),
    }
    .describe()
}

fn is_all(text: &str) -> bool {
    text == "*" || text == "?"
}

/// The plain values of a list; none where there is anything else.
fn values(text: &str) -> Option<Vec<u64>> {
    text.split(',').map(|item| number(item.trim())).collect()
}

impl Texts<'_> {
    fn describe(&self) -> String {
        let mut text = self.time();
        let dates = [self.days(), self.months(), self.weeks(), self.years()];
        for part in dates.into_iter().flatten() {
            text.push(' ');
            text.push_str(&part);
        }
        text
    }

    fn time(&self) -> String {
        let (hours, minutes, seconds) =
            (values(self.hour), values(self.minute), values(self.second));
        if let (Some(hours), Some(minutes), Some(seconds)) = (&hours, &minutes, &seconds)
            && hours.len() * minutes.len() * seconds.len() <= 6
        {
            let mut clocks = Vec::new();
            for &hour in hours {
                for &minute in minutes {
                    clocks.extend(seconds.iter().map(|&second| clock(hour, minute, second)));
                }
            }
            return format!("at {}", list(&clocks));
        }
        let mut words = Vec::new();
        if seconds.as_deref() != Some(&[0]) {
            words.push(unit(self.second, "second"));
        }
        if words.is_empty() || !is_all(self.minute) {
            if minutes.as_deref() == Some(&[0]) && words.is_empty() {
                return match hour_range(self.hour) {
                    Some(range) => format!("every hour from {range}"),
                    None => unit(self.hour, "hour"),
                };
            }
            words.push(unit(self.minute, "minute"));
        }
        if !is_all(self.hour) {
            words.push(match hour_range(self.hour) {
                Some(range) => format!("in the hours from {range}"),
                None => unit(self.hour, "hour"),
            });
        } else if !self.minute.contains(['*', '/']) {
            words.push("every hour".to_owned());
        }
        words.join(" of ").replace(" of in ", " in ")
    }

    fn weekday_name(&self, text: &str) -> String {
        let names = WEEKDAY_NAMES.iter();
        let by_name = names.clone().find(|name| {
            let start: String = name.chars().take(3).collect();
            start.eq_ignore_ascii_case(text)
        });
        let by_number = number(text).and_then(|number| {
            let shift = u64::from(!self.sunday_first);
            WEEKDAY_NAMES.get(usize::try_from(number + shift).ok()?)
        });
        by_name
            .or(by_number)
            .map_or_else(|| text.to_owned(), |name| (*name).to_owned())
    }

    fn days(&self) -> Option<String> {
        let day = (!is_all(self.day)).then(|| items(self.day, |item| self.month_day(item)));
        let weekday =
            (!is_all(self.weekday)).then(|| items(self.weekday, |item| self.weekday(item)));
        match (day, weekday) {
            (None, None) => None,
            (Some(day), None) => Some(format!("on {day} of the month")),
            (None, Some(weekday)) => Some(format!("on {weekday}")),
            (Some(day), Some(weekday)) if self.either_day => {
                Some(format!("on {day} of the month or on {weekday}"))
            }
            (Some(day), Some(weekday)) => Some(format!("on {day} of the month if it is {weekday}")),
        }
    }

    fn month_day(&self, item: &str) -> String {
        let lower = item.to_lowercase();
        let before_end = |days: u64| match days {
            0 => "the last day".to_owned(),
            1 => "the last day but one".to_owned(),
            _ => format!("the day {days} days before the last"),
        };
        if lower == "last" || lower == "l" {
            before_end(0)
        } else if let Some((ordinal, weekday)) = lower.split_once(' ') {
            format!("the {ordinal} {}", self.weekday_name(weekday.trim()))
        } else if lower == "lw" || lower == "wl" {
            "the last weekday".to_owned()
        } else if let Some(days) = lower.strip_prefix("l-").and_then(number) {
            before_end(days)
        } else if let Some(day) = lower.strip_suffix('w') {
            format!("the weekday nearest to day {day}")
        } else {
            stepped(item, "day", |day| format!("day {day}"))
        }
    }

    fn weekday(&self, item: &str) -> String {
        if let Some((day, nth)) = item.split_once('#') {
            let ordinal = match nth {
                "1" => "1st",
                "2" => "2nd",
                "3" => "3rd",
                "4" => "4th",
                _ => "5th",
            };
            return format!("the {ordinal} {} of the month", self.weekday_name(day));
        }
        if let Some(day) = item.strip_suffix(['l', 'L']) {
            return format!("the last {} of the month", self.weekday_name(day));
        }
        stepped(item, "weekday", |day| self.weekday_name(day))
    }

    fn months(&self) -> Option<String> {
        let name = |text: &str| {
            let by_number =
                number(text).and_then(|number| MONTH_NAMES.get(number.wrapping_sub(1) as usize));
            let by_name = MONTH_NAMES
                .iter()
                .find(|name| name[..3].eq_ignore_ascii_case(text));
            by_number
                .or(by_name)
                .map_or_else(|| text.to_owned(), |name| (*name).to_owned())
        };
        (!is_all(self.month)).then(|| {
            format!(
                "in {}",
                items(self.month, |item| stepped(item, "month", name))
            )
        })
    }

    fn weeks(&self) -> Option<String> {
        let week = |item: &str| stepped(item, "week", ToOwned::to_owned);
        (!is_all(self.week)).then(|| format!("in ISO week {}", items(self.week, week)))
    }

    fn years(&self) -> Option<String> {
        let year = |item: &str| stepped(item, "year", ToOwned::to_owned);
        (!is_all(self.year)).then(|| format!("in {}", items(self.year, year)))
    }
}

/// `9-17` as `09:00 to 17:59`.
fn hour_range(text: &str) -> Option<String> {
    let (first, last) = text.split_once('-')?;
    Some(format!(
        "{:02}:00 to {:02}:59",
        number(first)?,
        number(last)?
    ))
}

fn items(text: &str, item: impl Fn(&str) -> String) -> String {
    let words: Vec<_> = text.split(',').map(|part| item(part.trim())).collect();
    list(&words)
}

/// `a`, `a-b`, `*/n`, `a/n`, `a-b/n` of values with names.
fn stepped(item: &str, unit: &str, name: impl Fn(&str) -> String) -> String {
    let (range, step) = item
        .split_once('/')
        .map_or((item, None), |(range, step)| (range, Some(step)));
    let bounds = range
        .split_once('-')
        .map(|(first, last)| (name(first), name(last)));
    match (step.filter(|&step| step != "1"), range, bounds) {
        (None, "*", _) => format!("every {unit}"),
        (Some(step), "*", _) => format!("every {} {unit}", ordinal(step)),
        (None, _, Some((first, last))) => format!("{first} to {last}"),
        (Some(step), _, Some((first, last))) => {
            format!("every {} {unit} from {first} to {last}", ordinal(step))
        }
        (None, _, None) if step.is_some() => format!("every {unit} from {} on", name(range)),
        (None, _, None) => name(range),
        (Some(step), _, None) => format!("every {} {unit} from {} on", ordinal(step), name(range)),
    }
}

/// A field of the clock that is more than a few plain values.
fn unit(text: &str, unit: &str) -> String {
    if is_all(text) {
        return format!("every {unit}");
    }
    if let Some(step) = text
        .strip_prefix("*/")
        .filter(|step| number(step).is_some())
    {
        return if number(step) == Some(1) {
            format!("every {unit}")
        } else {
            format!("every {step} {unit}s")
        };
    }
    let is_one = number(text).is_some();
    let words = items(text, |item| stepped(item, unit, ToOwned::to_owned));
    if words.starts_with("every") {
        words
    } else if is_one {
        format!("{unit} {words}")
    } else {
        format!("{unit}s {words}")
    }
}

fn ordinal(step: &str) -> String {
    let suffix = match (step.as_bytes(), number(step).unwrap_or(0) % 10) {
        ([.., b'1', _], _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{step}{suffix}")
}
