//! `and` and `or` over schedules: union and intersection of sets of instants, in microseconds.

use crate::{Schedule, SearchLimit};

/// How many instants a search may look at: some ten milliseconds.
const STEPS_MAX: u32 = 100_000;
/// How many instants a count may look at: its caller asked about a long time.
const COUNT_STEPS_MAX: u32 = 2_000_000;

pub(crate) fn next_of_any(parts: &[Schedule], t: i64) -> Result<Option<i64>, SearchLimit> {
    let mut first: Option<i64> = None;
    for part in parts {
        if let Some(fire) = part.next_at_or_after_micros(t)? {
            first = Some(first.map_or(fire, |first| first.min(fire)));
        }
    }
    Ok(first)
}

pub(crate) fn last_of_any(parts: &[Schedule], t: i64) -> Result<Option<i64>, SearchLimit> {
    let mut last = None;
    for part in parts {
        last = last.max(part.last_at_or_before_micros(t)?);
    }
    Ok(last)
}

/// Leapfrog: each part in turn moves up to where the others are, until none has to move.
pub(crate) fn next_of_all(parts: &[Schedule], t: i64) -> Result<Option<i64>, SearchLimit> {
    let mut at = t;
    let mut agreed = 0;
    for step in 0.. {
        let part = &parts[step as usize % parts.len()];
        let Some(fire) = part.next_at_or_after_micros(at)? else {
            return Ok(None);
        };
        // The first to move starts the round anew, and counts itself.
        agreed = if fire == at { agreed + 1 } else { 1 };
        at = fire;
        if agreed >= parts.len() {
            return Ok(Some(at));
        }
        if step >= STEPS_MAX {
            return Err(SearchLimit { steps: step });
        }
    }
    unreachable!("the loop ends by its limit")
}

pub(crate) fn last_of_all(parts: &[Schedule], t: i64) -> Result<Option<i64>, SearchLimit> {
    let mut at = t;
    let mut agreed = 0;
    for step in 0.. {
        let part = &parts[step as usize % parts.len()];
        let Some(fire) = part.last_at_or_before_micros(at)? else {
            return Ok(None);
        };
        agreed = if fire == at { agreed + 1 } else { 1 };
        at = fire;
        if agreed >= parts.len() {
            return Ok(Some(at));
        }
        if step >= STEPS_MAX {
            return Err(SearchLimit { steps: step });
        }
    }
    unreachable!("the loop ends by its limit")
}

/// How many instants lie in `[from, until]`, at most `cap`. The part with the most fires is counted by arithmetic; of
/// the others those fires are looked at that no part before them has.
pub(crate) fn count_any(
    parts: &[Schedule],
    from: i64,
    until: i64,
    cap: u64,
) -> Result<u64, SearchLimit> {
    let mut counted = Vec::with_capacity(parts.len());
    for part in parts {
        counted.push((part.count_micros(from - 1, until, cap)?, part));
    }
    counted.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
    let mut total = counted[0].0;
    let mut steps = 0;
    for (i, (_, part)) in counted.iter().enumerate().skip(1) {
        let mut at = from;
        while let Some(fire) = part
            .next_at_or_after_micros(at)?
            .filter(|&fire| fire <= until)
        {
            if total >= cap {
                return Ok(cap);
            }
            let mut is_new = true;
            for (_, earlier) in &counted[..i] {
                is_new &= !earlier.fires_at(fire)?;
            }
            total += u64::from(is_new);
            at = fire + 1;
            steps += 1;
            if steps >= COUNT_STEPS_MAX {
                return Err(SearchLimit { steps });
            }
        }
    }
    Ok(total)
}

pub(crate) fn count_all(
    parts: &[Schedule],
    from: i64,
    until: i64,
    cap: u64,
) -> Result<u64, SearchLimit> {
    if let [only] = parts {
        return only.count_micros(from - 1, until, cap);
    }
    let mut total = 0;
    let mut at = from;
    while total < cap
        && let Some(fire) = next_of_all(parts, at)?.filter(|&fire| fire <= until)
    {
        total += 1;
        at = fire + 1;
        if total >= COUNT_STEPS_MAX.into() {
            return Err(SearchLimit {
                steps: COUNT_STEPS_MAX,
            });
        }
    }
    Ok(total)
}
