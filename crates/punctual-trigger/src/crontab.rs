//! crontab expressions: what cron(5) means, and `APScheduler`'s reading of the same five fields.

use crate::{
    TriggerError,
    cron::{ALL_YEARS, CronFields},
    days::{ALL_MONTHS, ALL_WEEKDAYS, ALL_WEEKS, DateFields, Joined, LAST, MonthDays, WeekDays},
    field::{self, MONTHS, bits, number, shifted},
};
use std::ops::Range;

/// Whose reading of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// cron(5): Sunday is 0 or 7; day and weekday are joined by "or" where neither starts with `*`.
    #[default]
    Unix,
    /// `CronTrigger.from_crontab`: Monday is 0; day and weekday are joined by "and".
    Apscheduler,
}

/// An expression taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Crontab<'a> {
    pub(crate) fields: CronFields,
    /// From `CRON_TZ=` or `TZ=`.
    pub(crate) zone: Option<&'a str>,
    /// The texts of second, minute, hour, day, month and weekday.
    pub(crate) texts: [&'a str; 6],
    /// Macros as they were written.
    pub(crate) nickname: Option<&'a str>,
}

fn refuse(expr: &str, span: Range<usize>, message: impl Into<String>) -> TriggerError {
    TriggerError::at("expr", expr, message).with_span(span)
}

/// A word of the expression and where it begins.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    at: usize,
}

impl Word<'_> {
    fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }
}

fn words(expr: &str) -> Vec<Word<'_>> {
    expr.split_whitespace()
        .map(|text| Word {
            text,
            at: text.as_ptr() as usize - expr.as_ptr() as usize,
        })
        .collect()
}

/// Parses an expression in its dialect.
pub(crate) fn parse(expr: &str, dialect: Dialect) -> Result<Crontab<'_>, TriggerError> {
    match dialect {
        Dialect::Unix => parse_unix(expr),
        Dialect::Apscheduler => parse_apscheduler(expr),
    }
}

fn parse_apscheduler(expr: &str) -> Result<Crontab<'_>, TriggerError> {
    let words = words(expr);
    let &[minute, hour, day, month, weekday] = words.as_slice() else {
        let count = words.len();
        let message = format!(
            "there are {count} fields; this dialect takes five: minute hour day month day_of_week{}",
            if expr.trim_start().starts_with('@') || count == 6 {
                " (macros and a field of seconds belong to the dialect \"unix\")"
            } else {
                ""
            }
        );
        return Err(refuse(expr, 0..expr.len(), message));
    };
    let texts = [
        "*",
        month.text,
        day.text,
        "*",
        weekday.text,
        hour.text,
        minute.text,
        "0",
    ];
    let fields = field::parse(&texts).map_err(|error| {
        let word = match error.field() {
            Some("month") => month,
            Some("day") => day,
            Some("day_of_week") => weekday,
            Some("hour") => hour,
            _ => minute,
        };
        let span = error
            .span()
            .map_or(word.span(), |span| shifted(span, word.at));
        refuse(expr, span, error.message())
    })?;
    Ok(Crontab {
        fields,
        zone: None,
        texts: [
            "0",
            minute.text,
            hour.text,
            day.text,
            month.text,
            weekday.text,
        ],
        nickname: None,
    })
}

/// The macros of cron(5) and what they stand for.
pub(crate) const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

fn parse_unix(expr: &str) -> Result<Crontab<'_>, TriggerError> {
    let mut all = words(expr);
    let mut zone = None;
    if let Some(&word) = all.first() {
        let named = word
            .text
            .strip_prefix("CRON_TZ=")
            .or_else(|| word.text.strip_prefix("TZ="));
        if let Some(name) = named {
            if name.is_empty() {
                return Err(refuse(
                    expr,
                    word.span(),
                    "the name of the zone behind = is missing",
                ));
            }
            zone = Some(name);
            all.remove(0);
        }
    }
    if let Some(&word) = all.first().filter(|word| word.text.starts_with('@')) {
        let stands_for = nickname(expr, word, all.len())?;
        let mut crontab = parse_unix(stands_for)?;
        crontab.zone = zone;
        crontab.nickname = Some(word.text);
        return Ok(crontab);
    }
    let implied = Word { text: "0", at: 0 };
    let [second, minute, hour, day, month, weekday] = match all.as_slice() {
        &[minute, hour, day, month, weekday] => [implied, minute, hour, day, month, weekday],
        &[second, minute, hour, day, month, weekday] => [second, minute, hour, day, month, weekday],
        others => {
            let extra = others
                .get(6)
                .map_or(0..expr.len(), |word| word.at..expr.len());
            let hint = match others.len() {
                0 => "; the expression is empty",
                7.. => "; neither a year nor a command belongs here",
                _ => "",
            };
            let message = format!(
                "there are {} fields; crontab takes five, minute hour day month weekday, or six with seconds first{hint}",
                others.len()
            );
            return Err(refuse(expr, extra, message));
        }
    };
    let plain = |field: &Unit, word: Word<'_>| {
        let mut bits = 0;
        each_item(expr, word, |item| {
            bits |= range(field, item)?;
            Ok(())
        })?;
        Ok::<u64, TriggerError>(bits)
    };
    let fields = CronFields {
        years: vec![ALL_YEARS],
        seconds: plain(&SECOND, second)?,
        minutes: plain(&MINUTE, minute)?,
        hours: plain(&HOUR, hour)? as u32,
        dates: DateFields {
            months: plain(&MONTH, month)? as u16 & ALL_MONTHS,
            days: parse_days(expr, day)?,
            weeks: ALL_WEEKS,
            weekdays: parse_weekdays(expr, weekday)?,
            joined: if day.text.starts_with(['*', '?']) || weekday.text.starts_with(['*', '?']) {
                Joined::And
            } else {
                Joined::Or
            },
        },
        is_fixed: ![second, minute, hour]
            .iter()
            .any(|word| word.text.contains(['*', '/'])),
    };
    Ok(Crontab {
        fields,
        zone,
        texts: [second, minute, hour, day, month, weekday].map(|word| word.text),
        nickname: None,
    })
}

fn nickname(expr: &str, word: Word<'_>, words: usize) -> Result<&'static str, TriggerError> {
    let known = NICKNAMES
        .iter()
        .find(|(name, _)| word.text.eq_ignore_ascii_case(name));
    match known {
        Some((_, stands_for)) if words == 1 => Ok(stands_for),
        Some((name, _)) => {
            let rest = word.span().end..expr.len();
            Err(refuse(expr, rest, format!("nothing may follow {name}")))
        }
        None if word.text.eq_ignore_ascii_case("@reboot") => Err(refuse(
            expr,
            word.span(),
            "@reboot is not a schedule: it names no time; let the program run the job when it starts",
        )),
        None if word.text.eq_ignore_ascii_case("@every") => Err(refuse(
            expr,
            word.span(),
            "@every is not cron's; use a trigger of type \"interval\", such as {\"type\": \"interval\", \"minutes\": 5}",
        )),
        None => {
            let names: Vec<_> = NICKNAMES.iter().map(|(name, _)| *name).collect();
            let guess = crate::names::nearest(word.text, names.iter().copied())
                .map(|guess| format!("; did you mean {guess}?"))
                .unwrap_or_default();
            let message = format!(
                "unknown macro {}{guess}; there are {}",
                word.text,
                names.join(" ")
            );
            Err(refuse(expr, word.span(), message))
        }
    }
}

/// A field of crontab.
struct Unit {
    name: &'static str,
    min: u64,
    max: u64,
    names: &'static [&'static str],
    allowed: &'static str,
}

const SUNDAY_FIRST: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const SECOND: Unit = unit("second", 0, 59, &[], "0-59");
const MINUTE: Unit = unit("minute", 0, 59, &[], "0-59");
const HOUR: Unit = unit("hour", 0, 23, &[], "0-23");
const DAY: Unit = unit("day of the month", 1, 31, &[], "1-31, L, L-3, 15W or LW");
const MONTH: Unit = unit("month", 1, 12, &MONTHS, "1-12 or jan-dec");
const WEEKDAY: Unit = unit(
    "weekday",
    0,
    7,
    &SUNDAY_FIRST,
    "0-7 (0 and 7 are Sunday), sun-sat, fri#2 or 5L",
);

const fn unit(
    name: &'static str,
    min: u64,
    max: u64,
    names: &'static [&'static str],
    allowed: &'static str,
) -> Unit {
    Unit {
        name,
        min,
        max,
        names,
        allowed,
    }
}

impl Unit {
    fn refuse(&self, what: impl std::fmt::Display) -> String {
        format!("{what}; the {} takes {}", self.name, self.allowed)
    }

    fn value(&self, text: &str) -> Result<u64, String> {
        if let Some(i) = self
            .names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text))
        {
            return Ok(i as u64 + self.min);
        }
        let value = number(text).ok_or_else(|| self.unreadable(text))?;
        if value < self.min {
            return Err(self.refuse(format_args!(
                "{value} is below the lowest value, {}",
                self.min
            )));
        }
        if value > self.max {
            return Err(self.refuse(format_args!(
                "{value} is above the highest value, {}",
                self.max
            )));
        }
        Ok(value)
    }

    fn unreadable(&self, text: &str) -> String {
        let lower = text.to_lowercase();
        let short: String = lower.chars().take(3).collect();
        let cure = if lower.is_empty() {
            return self.refuse("a value is missing");
        } else if self.names.contains(&short.as_str()) && lower.len() > 3 {
            format!("; names have three letters: did you mean \"{short}\"?")
        } else if lower.starts_with('h') && self.names.is_empty() {
            "; hashed values (H) are not known here, jitter spreads jobs instead".to_owned()
        } else if SUNDAY_FIRST.contains(&short.as_str()) {
            "; weekdays belong into the last field".to_owned()
        } else if MONTHS.contains(&short.as_str()) {
            "; months belong into the last field but one".to_owned()
        } else {
            String::new()
        };
        self.refuse(format_args!("\"{text}\" is not understood{cure}"))
    }
}

/// Calls `f` with every item of a list; its error gets the item's place.
fn each_item(
    expr: &str,
    word: Word<'_>,
    mut f: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), TriggerError> {
    let mut at = word.at;
    for item in word.text.split(',') {
        f(item).map_err(|message| {
            // An empty item is shown by the comma beside it.
            let span = if item.is_empty() {
                word.span()
            } else {
                at..at + item.len()
            };
            refuse(expr, span, message)
        })?;
        at += item.len() + 1;
    }
    Ok(())
}

/// `*`, `*/n`, `a`, `a-b`, `a-b/n`, `a/n`, by numbers or names; a range may wrap around.
fn range(unit: &Unit, item: &str) -> Result<u64, String> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => match number(step) {
            Some(0) => {
                return Err(unit.refuse(format_args!("the step in \"{item}\" must be at least 1")));
            }
            Some(step) => (range, Some(step)),
            None => {
                return Err(unit.refuse(format_args!("the step in \"{item}\" must be a number")));
            }
        },
        None => (item, None),
    };
    // The weekday 7 is another name for 0: a whole week ends at 6.
    let top = if unit.max == 7 { 6 } else { unit.max };
    let (first, last) = if range == "*" {
        (unit.min, top)
    } else {
        match range.split_once('-') {
            Some((first, last)) => (unit.value(first)?, unit.value(last)?),
            None => match unit.value(range)? {
                first if step.is_some() => (first, top.max(first)),
                first => (first, first),
            },
        }
    };
    let step = step.unwrap_or(1);
    if first <= last {
        return Ok(bits(first, last, step));
    }
    // From the first value over the end of the field, and on from its lowest value.
    let size = top - unit.min + 1;
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    let values = (first..=last + size).step_by(step);
    Ok(values.fold(0, |bits, value| {
        bits | 1 << ((value - unit.min) % size + unit.min)
    }))
}

fn parse_days(expr: &str, word: Word<'_>) -> Result<MonthDays, TriggerError> {
    let mut days = MonthDays::default();
    each_item(expr, word, |item| {
        let upper = item.to_ascii_uppercase();
        match upper.as_str() {
            "?" => days.days |= MonthDays::all().days,
            "L" => days.from_end |= 1,
            "LW" | "WL" => days.last_workday = true,
            _ => {
                if let Some(back) = upper.strip_prefix("L-") {
                    let back = number(back).filter(|&back| back <= 30).ok_or_else(|| {
                        DAY.refuse(format_args!(
                            "\"{item}\": behind L- stands a number of days up to 30"
                        ))
                    })?;
                    days.from_end |= 1 << back;
                } else if let Some(day) = upper.strip_suffix('W') {
                    let day = DAY.value(day)?;
                    days.nearest |= 1 << day;
                } else {
                    days.days |= range(&DAY, item)? as u32;
                }
            }
        }
        Ok(())
    })?;
    Ok(days)
}

/// cron counts weekdays from Sunday, we from Monday.
fn from_monday(weekday: u64) -> usize {
    (weekday as usize + 6) % 7
}

fn parse_weekdays(expr: &str, word: Word<'_>) -> Result<WeekDays, TriggerError> {
    let mut weekdays = WeekDays::default();
    each_item(expr, word, |item| {
        if item == "?" {
            weekdays.days = ALL_WEEKDAYS;
        } else if let Some((day, nth)) = item.split_once('#') {
            let day = from_monday(WEEKDAY.value(day)?);
            let nth = number(nth)
                .filter(|nth| (1..=5).contains(nth))
                .ok_or_else(|| {
                    WEEKDAY.refuse(format_args!(
                        "\"{item}\": behind # stands 1 to 5, as in fri#2"
                    ))
                })?;
            weekdays.nth[day] |= 1 << nth;
        } else if let Some(day) = item.strip_suffix(['L', 'l']) {
            if day.is_empty() {
                return Err(WEEKDAY
                    .refuse("\"L\" alone is not understood: 5L is the last Friday of the month"));
            }
            weekdays.nth[from_monday(WEEKDAY.value(day)?)] |= 1 << LAST;
        } else {
            let sunday_first = range(&WEEKDAY, item)?;
            for day in (0..=7).filter(|day| sunday_first >> day & 1 != 0) {
                weekdays.days |= 1 << from_monday(day);
            }
        }
        Ok(())
    })?;
    Ok(weekdays)
}
