//! What the server and a supervisor tell each other: JSON, a line each, over the socket that is the supervisor's stdin.
//!
//! Moments are microseconds by the monotonic clock of the machine, which is one for both: a message that lay about while
//! the server was frozen says nothing wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use punctual_core::lease::Lease;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// From the server. The first is an order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// Start this program.
    Start(Order),
    /// Its lease ends then.
    Lease(u64),
    /// Stop it: ask, and kill what does not listen.
    Stop,
}

/// What to start, and until when.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) argv: Vec<String>,
    /// Beside the supervisor's own.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) stdin: Option<String>,
    /// When the lease ends; `None` where it holds for ever.
    pub(crate) lease: Option<u64>,
}

/// From the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The program runs, as this process and the leader of this group.
    Started(i32),
    /// It does not; the system's error, and in words.
    NotStarted { os: Option<i32>, text: String },
    /// It ended, with a status as `wait` has it; the lease was the reason or not.
    Ended { status: i32, lease: bool },
    /// The lease was about to end before it could start.
    TooLate,
}

/// A message with its end.
pub(crate) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("plain data is JSON");
    line.push(b'\n');
    line
}

/// Reads a message.
pub(crate) fn read<T: DeserializeOwned>(line: &str) -> Option<T> {
    serde_json::from_str(line).ok()
}

/// The end of a lease, by the clock of the machine; `None` where it holds for ever.
pub(crate) fn lease_end(lease: &Lease) -> Option<u64> {
    // In this order: where this process is frozen between the two, the end is told too early, not too late.
    let now = SystemClock.monotonic();
    let end = now + lease.remaining()?;
    Some(end.as_micros() as u64)
}

/// How long until then.
pub(crate) fn remaining(end: u64) -> Duration {
    Duration::from_micros(end).saturating_sub(SystemClock.monotonic())
}
