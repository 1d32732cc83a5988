//! A time zone as a table of constant offsets.
//!
//! jiff answers every question about a zone, but a search asks millions of them. So each zone is unrolled once into a
//! sorted table of stretches of constant offset. The rule at the end of a zone file repeats with the calendar every 400
//! years: the table is unrolled to the year 2500, and later instants are looked up 400 years (or 800, …) earlier.

use crate::{TriggerError, civil, names};
use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Before and after all instants we handle, yet far from overflow.
pub(crate) const FAR: i64 = 1 << 45;
/// Seconds in 400 years.
const CYCLE: i64 = civil::CYCLE_DAYS * civil::DAY;
/// The year at which looking 400 years back begins; no zone file lists changes by hand as late as 400 years before it.
const UNROLLED_UNTIL: i64 = civil::year_start(2500) * civil::DAY;
/// About 194 days: so that a bucket seldom holds more than one change.
const BUCKET_BITS: u32 = 24;

/// A stretch of time `[start, end)` with one offset, all in seconds, and its neighbours' offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) offset: i64,
    /// The offset just before `start`.
    pub(crate) before: i64,
    /// The offset from `end` on.
    pub(crate) after: i64,
}

/// What a time on the wall clock means in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Once(i64),
    /// Skipped; read with the offset before the gap it is this instant.
    Gap(i64),
    /// Twice; this is the first.
    Fold(i64),
}

/// One zone, shared by all schedules in it.
#[derive(Debug)]
pub(crate) struct Zone {
    tz: TimeZone,
    name: Box<str>,
    starts: Box<[i64]>,
    offsets: Box<[i32]>,
    /// For every bucket of time since 1970 the segment in which it begins.
    buckets: Box<[u16]>,
    min_offset: i64,
    max_offset: i64,
    /// Whether changes go on for ever by a rule.
    is_cyclic: bool,
}

impl Zone {
    /// The zone of this exact name, from a cache where the database still has the same data.
    pub(crate) fn get(name: &str, zones: &TimeZoneDatabase) -> Result<Arc<Zone>, TriggerError> {
        static CACHE: RwLock<Option<HashMap<Box<str>, Arc<Zone>>>> = RwLock::new(None);
        let tz = find(name, zones)?;
        {
            // A panic elsewhere cannot leave the map half changed.
            let cache = CACHE.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(zone) = cache.as_ref().and_then(|cache| cache.get(name))
                && zone.tz == tz
            {
                return Ok(Arc::clone(zone));
            }
        }
        let zone = Arc::new(Zone::unroll(name, tz));
        let mut cache = CACHE.write().unwrap_or_else(PoisonError::into_inner);
        cache
            .get_or_insert_default()
            .insert(name.into(), Arc::clone(&zone));
        Ok(zone)
    }

    fn unroll(name: &str, tz: TimeZone) -> Zone {
        let first = i64::from(tz.to_offset(Timestamp::MIN).seconds());
        let (mut starts, mut offsets) = (vec![-FAR], vec![first as i32]);
        for change in tz.following(Timestamp::MIN) {
            let at = change.timestamp().as_second();
            if at >= UNROLLED_UNTIL + 2 * 366 * civil::DAY {
                break;
            }
            let offset = change.offset().seconds();
            // Some changes concern the name only.
            if offsets.last() != Some(&offset) {
                starts.push(at);
                offsets.push(offset);
            }
        }
        let is_cyclic = starts
            .last()
            .is_some_and(|&last| last >= UNROLLED_UNTIL - CYCLE);
        let buckets = (0..=UNROLLED_UNTIL >> BUCKET_BITS)
            .map(|bucket| {
                (starts.partition_point(|&start| start <= bucket << BUCKET_BITS) - 1) as u16
            })
            .collect();
        Zone {
            name: name.into(),
            min_offset: offsets.iter().copied().min().unwrap_or(0).into(),
            max_offset: offsets.iter().copied().max().unwrap_or(0).into(),
            starts: starts.into(),
            offsets: offsets.into(),
            buckets,
            is_cyclic,
            tz,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn tz(&self) -> &TimeZone {
        &self.tz
    }

    pub(crate) fn min_offset(&self) -> i64 {
        self.min_offset
    }

    pub(crate) fn max_offset(&self) -> i64 {
        self.max_offset
    }

    pub(crate) fn offset_at(&self, second: i64) -> i64 {
        self.locate(second).offset
    }

    /// The segment that holds this second.
    #[inline]
    pub(crate) fn locate(&self, second: i64) -> Segment {
        if second >= UNROLLED_UNTIL && self.is_cyclic {
            return self.locate_late(second);
        }
        let mut i = if second >= 0 {
            let bucket = ((second >> BUCKET_BITS) as usize).min(self.buckets.len() - 1);
            usize::from(self.buckets[bucket])
        } else {
            self.starts
                .partition_point(|&start| start <= second)
                .saturating_sub(1)
        };
        while let Some(&next) = self.starts.get(i + 1)
            && next <= second
        {
            i += 1;
        }
        self.segment(i)
    }

    #[inline]
    fn segment(&self, i: usize) -> Segment {
        let offset = self.offsets[i];
        Segment {
            start: self.starts[i],
            end: self.starts.get(i + 1).copied().unwrap_or(FAR),
            offset: offset.into(),
            before: self
                .offsets
                .get(i.wrapping_sub(1))
                .copied()
                .unwrap_or(offset)
                .into(),
            after: self.offsets.get(i + 1).copied().unwrap_or(offset).into(),
        }
    }

    #[cold]
    fn locate_late(&self, second: i64) -> Segment {
        let back = ((second - UNROLLED_UNTIL) / CYCLE + 1) * CYCLE;
        let early = self.locate(second - back);
        Segment {
            start: early.start + back,
            end: early.end + back,
            ..early
        }
    }

    /// Reads a time on the wall clock, in seconds.
    pub(crate) fn read(&self, wall: i64) -> Reading {
        let mut segment = self.locate(wall - self.max_offset);
        // The right segment is at most a day or two on, and segments that short are few.
        while wall - segment.offset >= segment.end {
            segment = self.locate(segment.end);
        }
        let instant = wall - segment.offset;
        if instant < segment.start {
            Reading::Gap(wall - segment.before)
        } else if wall - segment.after >= segment.end {
            Reading::Fold(instant)
        } else {
            Reading::Once(instant)
        }
    }
}

/// The zone of exactly this name; jiff itself would take `europe/london` too.
pub(crate) fn find(name: &str, zones: &TimeZoneDatabase) -> Result<TimeZone, TriggerError> {
    match zones.get(name) {
        Ok(tz) if tz.iana_name() == Some(name) => Ok(tz),
        _ => Err(TriggerError::at(
            "timezone",
            name,
            names::unknown_zone(name, zones),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table says what jiff says, around every change and on many days between, to the end of time.
    #[test]
    fn agrees_with_jiff() {
        let zones = TimeZoneDatabase::bundled();
        for name in [
            "UTC",
            "Europe/London",
            "America/New_York",
            "Australia/Lord_Howe",
            "Africa/Casablanca",
            "Africa/Monrovia",
            "Pacific/Apia",
            "America/Sao_Paulo",
            "Europe/Dublin",
            "Etc/GMT+5",
            "Etc/UTC",
        ] {
            let zone = Zone::get(name, &zones).unwrap();
            let check = |second: i64| {
                let Ok(t) = Timestamp::from_second(second) else {
                    return;
                };
                let segment = zone.locate(second);
                assert_eq!(
                    segment.offset,
                    i64::from(zone.tz.to_offset(t).seconds()),
                    "{name} {t}"
                );
                assert!(segment.start <= second && second < segment.end);
            };
            for &start in &zone.starts[1..] {
                check(start - 1);
                check(start);
            }
            for day in (civil::FIRST_DAY..civil::LAST_DAY).step_by(37) {
                check(day * civil::DAY + 12_345);
            }
        }
    }

    #[test]
    fn names_are_exact() {
        let zones = TimeZoneDatabase::bundled();
        for name in [
            "europe/london",
            "Europe/Londonn",
            " UTC",
            "PDT",
            "+02:00",
            "",
            "America",
        ] {
            assert!(Zone::get(name, &zones).is_err(), "{name:?}");
        }
    }

    #[test]
    fn readings() {
        let zones = TimeZoneDatabase::bundled();
        let zone = Zone::get("America/New_York", &zones).unwrap();
        let wall = |y, m, d, h: i64, min: i64| {
            civil::days_from_civil(y, m, d) * civil::DAY + h * 3600 + min * 60
        };
        assert_eq!(
            zone.read(wall(2026, 3, 8, 2, 30)),
            Reading::Gap(1_772_955_000)
        );
        assert_eq!(
            zone.read(wall(2026, 3, 8, 3, 0)),
            Reading::Once(1_772_953_200)
        );
        assert_eq!(
            zone.read(wall(2026, 11, 1, 1, 30)),
            Reading::Fold(1_793_511_000)
        );
        assert_eq!(
            zone.read(wall(2026, 11, 1, 2, 0)),
            Reading::Once(1_793_516_400)
        );
    }
}
