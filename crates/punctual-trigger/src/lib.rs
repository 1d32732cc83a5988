//! When a job fires: date, interval, cron, calendar interval, and, or.
