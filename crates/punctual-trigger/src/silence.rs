//! Why a cron trigger has no date at all, in the words of its fields.

use crate::{
    days::{ALL_WEEKS, DateFields, Joined, MonthDays},
    describe::{self, MONTH_NAMES},
    spec::Spec,
};

/// Names the day that does not exist in the given months; none where that is not the cause.
pub(crate) fn missing_date(spec: &Spec) -> Option<String> {
    let fields = match spec {
        Spec::Cron(spec) => spec.fields().ok()?,
        Spec::Crontab(spec) => spec.parse().ok()?.fields,
        _ => return None,
    };
    missing_day(&fields.dates).or_else(|| missing_week(&fields.dates))
}

fn missing_day(dates: &DateFields) -> Option<String> {
    let is_plain = dates.joined == Joined::And
        && dates.days.days != 0
        && dates.days
            == MonthDays {
                days: dates.days.days,
                ..MonthDays::default()
            };
    let lowest = dates.days.days.trailing_zeros();
    let months: Vec<u32> = (1..=12)
        .filter(|month| dates.months >> month & 1 != 0)
        .collect();
    // A leap year has all days that there ever are.
    let longest = months
        .iter()
        .map(|&month| crate::civil::month_len(2000, month))
        .max()?;
    if !is_plain || lowest <= longest {
        return None;
    }
    let names: Vec<_> = months
        .iter()
        .map(|&month| MONTH_NAMES[month as usize - 1].to_owned())
        .collect();
    Some(format!(
        "day {lowest} does not exist in {}",
        describe::list(&names)
    ))
}

/// Weeks and months that never meet.
fn missing_week(dates: &DateFields) -> Option<String> {
    if dates.weeks == ALL_WEEKS {
        return None;
    }
    let only_weeks = DateFields {
        days: MonthDays::all(),
        weekdays: crate::days::WeekDays::all(),
        joined: Joined::And,
        ..dates.clone()
    };
    let per_year = only_weeks.table().per_year(dates.months);
    let never = per_year.iter().all(|&count| count == 0);
    never.then(|| "the given ISO weeks do not reach into the given months".to_owned())
}
