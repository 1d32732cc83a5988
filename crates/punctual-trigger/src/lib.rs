//! When a job fires: date, interval, cron, calendar interval, and, or.
mod builder;
mod error;
mod jitter;
pub mod jsonl;
mod schedule;
mod trigger;
pub use builder::{CalendarIntervalBuilder, CronBuilder, FieldText};
pub use error::TriggerError;
pub use jitter::jittered;
pub use schedule::{Schedule, SearchLimit, upcoming};
pub use trigger::Trigger;
