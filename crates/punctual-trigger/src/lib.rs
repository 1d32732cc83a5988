//! When a job fires: date, interval, cron, calendar interval, and, or.
//!
//! A [`Trigger`] is data: valid by construction, one flat JSON object on the wire. Resolved at the moment a job is added
//! and compiled, it becomes a [`Schedule`], a set of instants with pure searches: the next fire, the last one, how many
//! between. There is no clock in this crate, no input or output, nothing asynchronous.
//!
//! ```
//! use jiff::{Timestamp, tz::TimeZoneDatabase};
//! use punctual_trigger::{Trigger, upcoming};
//!
//! let zones = TimeZoneDatabase::bundled();
//! let now: Timestamp = "2026-11-22T17:00:00Z".parse()?;
//! let trigger = Trigger::cron().day_of_week("mon-fri").hour(9).timezone("Europe/London").build()?;
//! assert_eq!(trigger.describe(), "at 09:00 on Monday to Friday, Europe/London");
//!
//! let schedule = trigger.resolve(now, "UTC", &zones)?.compile(&zones)?;
//! let fires = upcoming(&schedule, now, 2)?;
//! assert_eq!(fires[1].to_string(), "2026-11-24T09:00:00+00:00[Europe/London]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The meaning is `APScheduler` 3.11's, field by field, without its faults; `crontab` means what cron(5) means. What
//! becomes of times that a clock skips or repeats is a policy of the trigger, [`Dst`].

mod builder;
mod calendar_interval;
mod civil;
mod combine;
mod cron;
mod crontab;
mod date_string;
mod days;
mod describe;
mod dst;
mod error;
mod field;
#[doc(hidden)]
pub mod fuzz;
mod interval;
mod jitter;
pub mod jsonl;
mod keys;
mod local;
mod names;
mod schedule;
mod short;
mod silence;
mod spec;
mod trigger;
mod wire;
pub mod words;
mod zone;

pub use builder::{CalendarIntervalBuilder, CronBuilder, FieldText};
pub use crontab::Dialect;
pub use dst::{Dst, Fold, Gap};
pub use error::TriggerError;
pub use jitter::jittered;
pub use schedule::{Schedule, SearchLimit, upcoming};
pub use trigger::Trigger;
