//! `APScheduler`'s cron fields: their order, ranges and grammar.

use crate::{
    TriggerError,
    cron::{ALL_YEARS, CronFields, YearRange},
    days::{ALL_MONTHS, ALL_WEEKS, DateFields, Joined, LAST, MonthDays, WeekDays},
    names,
};
use std::ops::Range;

/// A cron field, from the largest to the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Year,
    Month,
    Day,
    Week,
    DayOfWeek,
    Hour,
    Minute,
    Second,
}

pub(crate) const FIELDS: [Field; 8] = [
    Field::Year,
    Field::Month,
    Field::Day,
    Field::Week,
    Field::DayOfWeek,
    Field::Hour,
    Field::Minute,
    Field::Second,
];

pub(crate) const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
pub(crate) const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ORDINALS: [&str; 6] = ["1st", "2nd", "3rd", "4th", "5th", "last"];

impl Field {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Field::Year => "year",
            Field::Month => "month",
            Field::Day => "day",
            Field::Week => "week",
            Field::DayOfWeek => "day_of_week",
            Field::Hour => "hour",
            Field::Minute => "minute",
            Field::Second => "second",
        }
    }

    pub(crate) fn range(self) -> (u64, u64) {
        match self {
            Field::Year => (1970, 9999),
            Field::Month => (1, 12),
            Field::Day => (1, 31),
            Field::Week => (1, 53),
            Field::DayOfWeek => (0, 6),
            Field::Hour => (0, 23),
            Field::Minute | Field::Second => (0, 59),
        }
    }

    /// What the field takes, for people.
    fn allowed(self) -> &'static str {
        match self {
            Field::Year => "year takes 1970-9999",
            Field::Month => "month takes 1-12 or jan-dec",
            Field::Day => {
                "day takes days of the month: 1-31, last, or 1st mon to 5th sun and last fri"
            }
            Field::Week => "week takes ISO weeks 1-53",
            Field::DayOfWeek => "day_of_week takes 0-6 from Monday, or mon-sun",
            Field::Hour => "hour takes 0-23",
            Field::Minute => "minute takes 0-59",
            Field::Second => "second takes 0-59",
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Field::Month => &MONTHS,
            Field::DayOfWeek => &WEEKDAYS,
            _ => &[],
        }
    }
}

/// The texts of the fields that were given.
pub(crate) type Texts = [Option<Box<str>>; 8];

/// What stands for a field that was not given: `*` before the last given one, the lowest value behind it.
pub(crate) fn filled(texts: &Texts) -> [&str; 8] {
    let last_given = texts.iter().rposition(Option::is_some).unwrap_or(7);
    let mut filled = ["*"; 8];
    for (i, (field, text)) in FIELDS.iter().zip(texts).enumerate() {
        filled[i] = match text {
            Some(text) => text,
            None if i < last_given => "*",
            None => match field {
                Field::Year | Field::Week | Field::DayOfWeek => "*",
                Field::Month | Field::Day => "1",
                Field::Hour | Field::Minute | Field::Second => "0",
            },
        };
    }
    filled
}

/// Parses all fields. A span in an error counts from the start of that field's text.
pub(crate) fn parse(texts: &[&str; 8]) -> Result<CronFields, TriggerError> {
    let mut parsed: [Values; 8] = Default::default();
    for (values, (field, text)) in parsed.iter_mut().zip(FIELDS.into_iter().zip(texts)) {
        *values = parse_field(field, text)?;
    }
    let [year, month, day, week, day_of_week, hour, minute, second] = parsed;
    Ok(CronFields {
        years: year.years,
        dates: DateFields {
            months: month.bits as u16 & ALL_MONTHS,
            days: MonthDays {
                days: day.bits as u32,
                ..day.days
            },
            weeks: week.bits & ALL_WEEKS,
            weekdays: WeekDays {
                days: day_of_week.bits as u8,
                nth: [0; 7],
            },
            joined: Joined::And,
        },
        hours: hour.bits as u32,
        minutes: minute.bits,
        seconds: second.bits,
        is_fixed: !texts[5..].iter().any(|text| text.contains(['*', '/'])),
    })
}

/// The values of one field: bits, or ranges of years; and for `day` what depends on the month.
#[derive(Default)]
struct Values {
    bits: u64,
    years: Vec<YearRange>,
    days: MonthDays,
}

fn parse_field(field: Field, text: &str) -> Result<Values, TriggerError> {
    let mut values = Values::default();
    let start = text.len() - text.trim_start().len();
    let trimmed = text.trim();
    let mut at = start;
    for part in trimmed.split(',') {
        let item = part.trim_matches(' ');
        let begin =
            at + (part.len() - part.trim_start_matches(' ').len()).min(part.len() - item.len());
        parse_item(field, item, &mut values).map_err(|problem| {
            let message = problem.message(field, item, trimmed);
            TriggerError::at(field.name(), text, message).with_span(begin..begin + item.len())
        })?;
        at += part.len() + 1;
    }
    Ok(values)
}

/// What is wrong with an item, beside the field's own rule.
enum Problem {
    Unreadable,
    Empty,
    Below(u64),
    Above(u64),
    Wraps(String),
    ZeroStep,
    StepTooLong { step: u64, distance: u64 },
    NameWithStep,
}

impl Problem {
    fn message(&self, field: Field, item: &str, text: &str) -> String {
        let (min, max) = field.range();
        let what = match self {
            Problem::Unreadable => format!("\"{item}\" is not understood"),
            Problem::Empty if text.is_empty() => "the text is empty".to_owned(),
            Problem::Empty => "a value between the commas is missing".to_owned(),
            Problem::Below(value) => format!("{value} is below the lowest value, {min}"),
            Problem::Above(value) => format!("{value} is above the highest value, {max}"),
            Problem::Wraps(cure) => {
                format!("the range \"{item}\" runs backwards; write it as \"{cure}\"")
            }
            Problem::ZeroStep => format!("the step in \"{item}\" must be at least 1"),
            Problem::StepTooLong { step, distance } => {
                format!(
                    "the step {step} in \"{item}\" is longer than the way it can go, {distance}"
                )
            }
            Problem::NameWithStep => format!("a name takes no step: write \"{item}\" with numbers"),
        };
        match cure(field, item, text, self) {
            Some(cure) => format!("{what}; {}; {cure}", field.allowed()),
            None => format!("{what}; {}", field.allowed()),
        }
    }
}

const CRONTAB_SIGNS: &str = "the signs L W # ? belong to a trigger of type \"crontab\"";

/// The likely cause, where there is one.
fn cure(field: Field, item: &str, text: &str, problem: &Problem) -> Option<String> {
    let lower = text.to_lowercase();
    let word = item.to_lowercase();
    let is_name = |names: &[&str]| {
        lower
            .split([',', '-', ' '])
            .any(|word| word.len() >= 3 && names.iter().any(|name| word.starts_with(name)))
    };
    match (field, problem) {
        (_, Problem::Unreadable) if item.contains(['#', '?']) => Some(CRONTAB_SIGNS.to_owned()),
        (Field::DayOfWeek, Problem::Above(7)) => {
            Some("Sunday is 6 here; did you mean \"sun\"?".to_owned())
        }
        (Field::Hour, Problem::Above(24)) => Some("midnight is 0".to_owned()),
        (Field::Minute | Field::Second, Problem::Above(60)) => Some("the full one is 0".to_owned()),
        (_, Problem::StepTooLong { .. }) => Some(format!(
            "for a single value give it alone, such as {}={}",
            field.name(),
            field.range().0
        )),
        (Field::DayOfWeek, _) if is_name(&MONTHS) => Some("did you mean month?".to_owned()),
        (Field::DayOfWeek, _)
            if word.contains("last")
                || ORDINALS.iter().any(|ordinal| word.starts_with(ordinal)) =>
        {
            Some(format!("did you mean day=\"{word}\"?"))
        }
        (Field::Day, Problem::Unreadable) if misspelt_ordinal(&word).is_some() => {
            misspelt_ordinal(&word).map(|right| format!("did you mean \"{right}\"?"))
        }
        (Field::Day | Field::Week | Field::Month, _)
            if is_name(&WEEKDAYS) && !is_name(&ORDINALS) =>
        {
            Some("did you mean day_of_week?".to_owned())
        }
        (Field::Day | Field::Week, _) if is_name(&MONTHS) => Some("did you mean month?".to_owned()),
        (Field::Week, _) if word == "last" => Some("did you mean day=\"last\"?".to_owned()),
        (Field::Month | Field::DayOfWeek, Problem::Unreadable) => {
            let short: String = word.chars().take(3).collect();
            field
                .names()
                .iter()
                .find(|name| **name == short)
                .copied()
                .or_else(|| names::nearest(&word, field.names().iter().copied()))
                .map(|name| format!("did you mean \"{name}\"?"))
        }
        (Field::Day, Problem::Unreadable) if word == "l" => {
            Some("did you mean \"last\"?".to_owned())
        }
        (_, Problem::Unreadable) if item.contains(['L', 'W']) => Some(CRONTAB_SIGNS.to_owned()),
        _ => None,
    }
}

/// `2th mon` is meant to be `2nd mon`.
fn misspelt_ordinal(item: &str) -> Option<String> {
    let (ordinal, weekday) = item.split_once(' ')?;
    let nth = ordinal.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let right = ORDINALS
        .iter()
        .find(|right| number(nth).is_some() && right.starts_with(nth))?;
    let weekday = WEEKDAYS
        .iter()
        .find(|name| weekday.trim().starts_with(**name))?;
    Some(format!("{right} {weekday}"))
}

fn parse_item(field: Field, item: &str, values: &mut Values) -> Result<(), Problem> {
    if item.is_empty() {
        return Err(Problem::Empty);
    }
    if let Some((first, last, step)) = numbers(field, item)? {
        values.add(field, first, last, step);
        return Ok(());
    }
    if field == Field::Day {
        return month_day(item, &mut values.days);
    }
    let names = field.names();
    let find = |name: &str| {
        names
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
    };
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    if let (Some(first), Some(last)) = (find(first), find(last)) {
        if first > last {
            let (low, high) = (names[0], names[names.len() - 1]);
            return Err(Problem::Wraps(format!(
                "{}-{high},{low}-{}",
                names[first], names[last]
            )));
        }
        let base = field.range().0;
        values.add(field, first as u64 + base, last as u64 + base, 1);
        return Ok(());
    }
    match item.split_once('/') {
        Some((range, _)) if range.split('-').all(|name| find(name).is_some()) => {
            Err(Problem::NameWithStep)
        }
        _ => Err(Problem::Unreadable),
    }
}

/// `*`, `*/n`, `a`, `a-b`, `a-b/n`, `a/n` as first, last, step; none where it is something else.
fn numbers(field: Field, item: &str) -> Result<Option<(u64, u64, u64)>, Problem> {
    let (min, max) = field.range();
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => match number(step) {
            Some(step) => (range, Some(step)),
            None => return Ok(None),
        },
        None => (item, None),
    };
    let (first, last) = if range == "*" {
        (min, max)
    } else if let Some((first, last)) = range.split_once('-') {
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Ok(None);
        };
        (first, last)
    } else {
        let Some(first) = number(range) else {
            return Ok(None);
        };
        (first, if step.is_some() { max } else { first })
    };
    for value in [first, last] {
        if value < min {
            return Err(Problem::Below(value));
        }
        if value > max {
            return Err(Problem::Above(value));
        }
    }
    if first > last {
        return Err(Problem::Wraps(format!("{first}-{max},{min}-{last}")));
    }
    if step == Some(0) {
        return Err(Problem::ZeroStep);
    }
    let distance = last - first;
    if let Some(step) = step.filter(|&step| step > distance) {
        return Err(Problem::StepTooLong { step, distance });
    }
    Ok(Some((first, last, step.unwrap_or(1))))
}

/// Digits only; what is too large for any field stays large.
pub(crate) fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// `last`, `2nd fri`, `last sun`.
fn month_day(item: &str, days: &mut MonthDays) -> Result<(), Problem> {
    if item.eq_ignore_ascii_case("last") {
        days.from_end |= 1;
        return Ok(());
    }
    let (ordinal, weekday) = item.split_once(' ').ok_or(Problem::Unreadable)?;
    let weekday = weekday.trim_start_matches(' ');
    let ordinal = ORDINALS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(ordinal));
    let weekday = WEEKDAYS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(weekday));
    let (Some(ordinal), Some(weekday)) = (ordinal, weekday) else {
        return Err(Problem::Unreadable);
    };
    days.nth[weekday] |= if ordinal == 5 {
        1 << LAST
    } else {
        2 << ordinal
    };
    Ok(())
}

impl Values {
    fn add(&mut self, field: Field, first: u64, last: u64, step: u64) {
        if field == Field::Year {
            let range = YearRange {
                first: first as u16,
                last: last as u16,
                step: step as u16,
            };
            // All years together are told from a list by this one entry.
            if range == ALL_YEARS || !self.years.contains(&range) {
                self.years.push(range);
            }
            return;
        }
        self.bits |= bits(first, last, step);
    }
}

/// Bits `first`, `first + step`, … up to `last`.
pub(crate) fn bits(first: u64, last: u64, step: u64) -> u64 {
    (first..=last)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .fold(0, |bits, value| bits | 1 << value)
}

/// Where an error lies in a longer text of which this field is a part.
pub(crate) fn shifted(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}
