//! JSON shapes, converted by hand: core types owe nothing to the wire.

pub(crate) mod definition;
pub(crate) mod job;
pub(crate) mod run;
pub(crate) mod trigger;

use jiff::{Timestamp, Zoned};

/// As Python's `isoformat` has it: `2026-11-23T09:00:00+00:00`, with a fraction only where there is one.
pub(crate) fn iso(zoned: &Zoned) -> String {
    zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
}

/// An instant of our own making, in UTC.
pub(crate) fn utc(time: Timestamp) -> String {
    time.to_string()
}
