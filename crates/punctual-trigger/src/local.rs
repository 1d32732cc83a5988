//! From times on the wall clock to instants: a set of wall clock times, a zone, and the rules for its changes.
//!
//! Within a stretch of constant offset a wall clock time is an instant plus a number, so the searches go stretch by
//! stretch and leave the rest to the [`CivilSet`]. Where a wall clock time lies far ahead, all stretches before it are
//! jumped over.

use crate::{
    dst::{Fold, Gap, Rules},
    zone::{Segment, Zone},
};

/// An ordered set of seconds on the wall clock, counted from 1970-01-01T00:00:00.
pub(crate) trait CivilSet {
    /// The first element at or after `from`.
    fn next(&self, from: i64) -> Option<i64>;
    /// The last element at or before `from`.
    fn last(&self, from: i64) -> Option<i64>;
    /// How many elements lie in `[from, to)`.
    fn count(&self, from: i64, to: i64) -> u64;

    fn contains(&self, second: i64) -> bool {
        self.next(second) == Some(second)
    }
}

/// What of the wall clock counts within one segment: `[low, high)`.
fn window(segment: &Segment, rules: Rules) -> (i64, i64) {
    let mut low = segment.start + segment.offset;
    let mut high = segment.end + segment.offset;
    if rules.fold == Fold::First {
        low = low.max(segment.start + segment.before);
    }
    if rules.fold == Fold::Second {
        high = high.min(segment.end + segment.after);
    }
    (low, high)
}

/// The times skipped at the start of the segment: `[low, high)`, empty where there is no gap.
fn gap(segment: &Segment) -> (i64, i64) {
    (
        segment.start + segment.before,
        segment.start + segment.offset,
    )
}

fn next_in_gap(set: &impl CivilSet, segment: &Segment, rules: Rules, from: i64) -> Option<i64> {
    let (low, high) = gap(segment);
    match rules.gap {
        Gap::End if from == segment.start => set
            .next(low)
            .filter(|&wall| wall < high)
            .map(|_| segment.start),
        Gap::Shift if from + segment.before < high => set
            .next(from + segment.before)
            .filter(|&wall| wall < high && wall - segment.before < segment.end)
            .map(|wall| wall - segment.before),
        _ => None,
    }
}

/// The first fire at or after the second `from`.
#[inline]
pub(crate) fn next(set: &impl CivilSet, zone: &Zone, rules: Rules, from: i64) -> Option<i64> {
    let mut from = from;
    // The set has nothing in `[low, wall)`: what was found once need not be sought again.
    let mut known = (i64::MAX, None);
    loop {
        let segment = zone.locate(from);
        let moved = if segment.offset > segment.before {
            next_in_gap(set, &segment, rules, from)
        } else {
            None
        };
        let (low, high) = window(&segment, rules);
        let low = low.max(from + segment.offset);
        let wall = match known {
            (known_low, Some(wall)) if known_low <= low && low <= wall => Some(wall),
            _ => set.next(low),
        };
        known = (low, wall);
        let plain = wall
            .filter(|&wall| wall < high)
            .map(|wall| wall - segment.offset);
        match (moved, plain) {
            (Some(moved), Some(plain)) => return Some(moved.min(plain)),
            (Some(fire), None) | (None, Some(fire)) => return Some(fire),
            (None, None) => {}
        }
        from = if low > segment.end + segment.after {
            // The clock goes back behind where we are: times before `low` come once more.
            segment.end
        } else {
            segment.end.max(wall? - zone.max_offset())
        };
    }
}

fn last_in_gap(set: &impl CivilSet, segment: &Segment, rules: Rules, from: i64) -> Option<i64> {
    let (low, high) = gap(segment);
    match rules.gap {
        Gap::Skip => None,
        Gap::End => set
            .next(low)
            .filter(|&wall| wall < high)
            .map(|_| segment.start),
        Gap::Shift => set
            .last((high - 1).min(from + segment.before))
            .filter(|&wall| wall >= low)
            .map(|wall| wall - segment.before),
    }
}

/// The last fire at or before the second `from`.
pub(crate) fn last(set: &impl CivilSet, zone: &Zone, rules: Rules, from: i64) -> Option<i64> {
    let mut from = from;
    loop {
        let segment = zone.locate(from);
        let moved = if segment.offset > segment.before {
            last_in_gap(set, &segment, rules, from)
        } else {
            None
        };
        let (low, high) = window(&segment, rules);
        let high = (high - 1).min(from + segment.offset);
        let wall = set.last(high);
        let plain = wall
            .filter(|&wall| wall >= low)
            .map(|wall| wall - segment.offset);
        // `None` is less than any instant.
        if let Some(fire) = moved.max(plain) {
            return Some(fire);
        }
        from = if high + 1 < segment.start + segment.before {
            segment.start - 1
        } else {
            (segment.start - 1).min(wall? - zone.min_offset())
        };
    }
}

/// How many fires lie in the seconds `[from, to]`, at most `cap`.
pub(crate) fn count(
    set: &impl CivilSet,
    zone: &Zone,
    rules: Rules,
    from: i64,
    to: i64,
    cap: u64,
) -> u64 {
    let mut total = 0;
    let mut at = from;
    while at <= to && total < cap {
        let segment = zone.locate(at);
        let until = segment.end.min(to + 1);
        let (low, high) = window(&segment, rules);
        let (low, high) = (
            low.max(at + segment.offset),
            high.min(until + segment.offset),
        );
        if low < high {
            total += set.count(low, high);
        }
        if segment.offset > segment.before {
            // A moved fire that meets another one merges with it.
            let mut from = at;
            while let Some(fire) =
                next_in_gap(set, &segment, rules, from).filter(|&fire| fire < until)
            {
                total += u64::from(!set.contains(fire + segment.offset));
                if total >= cap {
                    break;
                }
                from = fire + 1;
            }
        }
        at = segment.end;
    }
    total.min(cap)
}
