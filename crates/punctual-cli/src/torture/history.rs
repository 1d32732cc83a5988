//! What happened in a run of torture: who asked for what, what the ledger says, what the receiver saw, who was killed.
//!
//! Every time is in microseconds of the store's clock; [`Offset`] brings what was measured here to that clock.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use punctual_core::run::{Reason, RunKind, RunState};
use punctual_trigger::Schedule;
use serde_json::Value;

/// A moment, in microseconds since 1970.
pub(crate) type Micros = i64;

/// Microseconds of a second.
pub(crate) const SECOND: Micros = 1_000_000;

/// A moment that people can read.
pub(crate) fn shown(at: Micros) -> String {
    Timestamp::from_microsecond(at).map_or_else(|_| at.to_string(), |at| format!("{at:.6}"))
}

/// When something took effect: not before `from`, not after `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Micros,
    pub(crate) to: Micros,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} … {}]", shown(self.from), shown(self.to))
    }
}

/// How far the store's clock is ahead of ours, between two bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offset {
    low: Micros,
    high: Micros,
}

impl Offset {
    /// Nothing is known yet.
    pub(crate) fn unknown() -> Self {
        Self {
            low: Micros::MIN,
            high: Micros::MAX,
        }
    }

    /// Between `sent` and `answered` of our clock the store's clock showed `seen`.
    pub(crate) fn observe(&mut self, sent: Micros, answered: Micros, seen: Micros) {
        self.low = self.low.max(seen - answered);
        self.high = self.high.min(seen - sent);
    }

    /// The bounds. A store whose clock is coarse (a millisecond) can make them cross by as much; then both hold.
    fn bounds(self) -> (Micros, Micros) {
        if self.low == Micros::MIN || self.high == Micros::MAX {
            return (0, 0);
        }
        (self.low.min(self.high), self.low.max(self.high))
    }

    /// What lay between two moments of our clock, on the store's.
    pub(crate) fn window(self, sent: Micros, answered: Micros) -> Window {
        let (low, high) = self.bounds();
        Window {
            from: sent.saturating_add(low),
            to: answered.saturating_add(high),
        }
    }

    /// A moment of our clock, on the store's as far as that is known: all are moved alike, so that they keep their order.
    pub(crate) fn moved(self, at: Micros) -> Micros {
        let (low, high) = self.bounds();
        at.saturating_add(low.midpoint(high))
    }

    /// The width and the middle of what is known, for people.
    pub(crate) fn describe(self) -> String {
        let (low, high) = self.bounds();
        format!(
            "{:+.3} ms ± {:.3} ms",
            (low + high) as f64 / 2e3,
            (high - low) as f64 / 2e3
        )
    }
}

/// A row of the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) job: String,
    /// The life of the job's id: the first part of the idempotency key.
    pub(crate) life: String,
    pub(crate) key: String,
    pub(crate) kind: RunKind,
    pub(crate) scheduled_at: Micros,
    pub(crate) due_at: Micros,
    pub(crate) attempt: u32,
    pub(crate) state: RunState,
    pub(crate) reason: Option<Reason>,
    pub(crate) node: Option<String>,
    pub(crate) fence: u64,
    pub(crate) started_at: Option<Micros>,
    pub(crate) finished_at: Option<Micros>,
    pub(crate) count: u64,
    pub(crate) scheduled_until: Option<Micros>,
    pub(crate) superseded: bool,
    pub(crate) cancel_requested: bool,
}

impl Row {
    /// Reads a run as the API answers it.
    ///
    /// # Errors
    ///
    /// The field that is not as it should be.
    pub(crate) fn read(run: &Value) -> Result<Self, String> {
        let text = |field: &str| {
            run[field]
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| format!("{field} is {}", run[field]))
        };
        let whole = |field: &str| {
            run[field]
                .as_u64()
                .ok_or_else(|| format!("{field} is {}", run[field]))
        };
        let moment = |field: &str| match &run[field] {
            Value::Null => Ok(None),
            Value::String(text) => micros(text).map(Some),
            other => Err(format!("{field} is {other}")),
        };
        let required = |field: &str| moment(field)?.ok_or_else(|| format!("{field} is not there"));
        let key = text("idempotency_key")?;
        let reason = run["reason"]
            .as_str()
            .map(|word| Reason::parse(word).ok_or_else(|| format!("reason {word:?} is not known")));
        Ok(Self {
            id: text("id")?,
            job: text("job_id")?,
            life: key.split('-').next().unwrap_or_default().to_owned(),
            key,
            kind: RunKind::parse(&text("kind")?).ok_or("kind is not known")?,
            scheduled_at: required("scheduled_at")?,
            due_at: required("due_at")?,
            attempt: u32::try_from(whole("attempt")?).map_err(|error| error.to_string())?,
            state: RunState::parse(&text("state")?).ok_or("state is not known")?,
            reason: reason.transpose()?,
            node: run["node"].as_str().map(str::to_owned),
            fence: whole("fence")?,
            started_at: moment("started_at")?,
            finished_at: moment("finished_at")?,
            count: whole("count")?,
            scheduled_until: moment("scheduled_until")?,
            superseded: !run["superseded_at"].is_null(),
            cancel_requested: run["cancel_requested"] == true,
        })
    }

    /// The last nominal time that the row stands for.
    pub(crate) fn until(&self) -> Micros {
        self.scheduled_until.unwrap_or(self.scheduled_at)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: Option<Micros>| at.map_or_else(|| "-".to_owned(), shown);
        write!(
            f,
            "row {} {} scheduled {} due {} attempt {} {}",
            self.id,
            self.key,
            shown(self.scheduled_at),
            shown(self.due_at),
            self.attempt,
            self.state
        )?;
        if let Some(reason) = self.reason {
            write!(f, " ({reason})")?;
        }
        if self.count > 1 {
            write!(f, " × {} until {}", self.count, time(self.scheduled_until))?;
        }
        write!(
            f,
            " node {} fence {} started {} finished {}",
            self.node.as_deref().unwrap_or("-"),
            self.fence,
            time(self.started_at),
            time(self.finished_at)
        )?;
        if self.superseded {
            write!(f, " superseded")?;
        }
        if self.cancel_requested {
            write!(f, " cancel requested")?;
        }
        Ok(())
    }
}

/// Reads a moment as the API writes it.
pub(crate) fn micros(text: &str) -> Result<Micros, String> {
    text.parse::<Timestamp>()
        .map(Timestamp::as_microsecond)
        .map_err(|error| format!("{text:?} is not a moment: {error}"))
}

/// A request that the receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) job: String,
    pub(crate) key: String,
    pub(crate) fence: u64,
    /// When it came.
    pub(crate) began: Micros,
    /// When the answer was ready, or the sender had hung up.
    pub(crate) ended: Micros,
    /// The answer; `None` where the sender hung up before.
    pub(crate) status: Option<u16>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self
            .status
            .map_or_else(|| "none".to_owned(), |status| status.to_string());
        write!(
            f,
            "request {} fence {} from {} to {} answer {status}",
            self.key,
            self.fence,
            shown(self.began),
            shown(self.ended)
        )
    }
}

/// A pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paused {
    /// When it ends by itself.
    pub(crate) until: Option<Micros>,
}

/// A job as an answer of the API shows it.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The trigger as JSON; equal where the schedule is.
    pub(crate) trigger: Value,
    pub(crate) schedule: Schedule,
    pub(crate) paused: Option<Paused>,
    pub(crate) next_run: Option<Micros>,
    pub(crate) max_instances: u32,
}

impl Snapshot {
    /// Whether the trigger is a date, which may lie in the past and begins another life of its job when it is changed.
    pub(crate) fn is_date(&self) -> bool {
        self.trigger["type"] == "date"
    }
}

/// What was asked of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    /// Adding over a job that is there, with the trigger that it was declared with or another.
    Replace {
        same_trigger: bool,
    },
    SetTrigger,
    SetNextRun(Micros),
    SetMaxInstances,
    Rename,
    Pause,
    Resume,
    Remove,
    /// Nothing but how it is.
    Look,
}

/// One thing that was asked of a job, and how the job was then.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) window: Window,
    pub(crate) verb: Verb,
    /// It was acknowledged. Else the answer was lost with its node, and `after` is what was found later.
    pub(crate) certain: bool,
    /// The job afterwards; `None` where there is none.
    pub(crate) after: Option<Snapshot>,
}

impl Step {
    /// Whether the job may have had a schedule in the window that nobody saw: one that was over, and its job gone, when
    /// somebody looked.
    pub(crate) fn may_hide_a_schedule(&self) -> bool {
        let sets = matches!(
            self.verb,
            Verb::Add | Verb::Replace { .. } | Verb::SetTrigger | Verb::SetNextRun(_)
        );
        sets && !self.certain && self.after.is_none()
    }
}

/// What a job keeps for all of its lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// Its task calls the receiver.
    pub(crate) http: bool,
    /// Attempts in all.
    pub(crate) attempts: u32,
    /// A crashed run is started again.
    pub(crate) rerun: bool,
    pub(crate) grace: Option<Micros>,
}

/// A job's part of the history.
#[derive(Clone, Debug)]
pub(crate) struct JobHistory {
    pub(crate) profile: Profile,
    /// In order; no two of one job at once.
    pub(crate) steps: Vec<Step>,
    /// The idempotency keys of the acknowledged "run now".
    pub(crate) manual: Vec<String>,
    /// How many "run now" had no answer.
    pub(crate) manual_unsure: usize,
}

/// One process.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeLife {
    /// Killed, some time in this window.
    pub(crate) killed: Option<Window>,
    /// Frozen, from the signal that froze it to the one that thawed it.
    pub(crate) frozen: Vec<Window>,
}

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) lease: Micros,
    /// How long an occurrence that is due may stay undecided.
    pub(crate) lag: Micros,
    pub(crate) jobs: BTreeMap<String, JobHistory>,
    pub(crate) rows: Vec<Row>,
    pub(crate) requests: Vec<Request>,
    /// By node id.
    pub(crate) nodes: BTreeMap<String, NodeLife>,
    /// From then on nobody was killed or frozen: what was due before is decided in the end.
    pub(crate) settled: Micros,
    /// When all nodes were paused for the end.
    pub(crate) end: Window,
}

/// The kinds of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// An occurrence was decided more than once.
    DecidedTwice,
    /// An occurrence was never decided.
    Missing,
    /// A row for a moment at which nothing was due.
    Phantom,
    /// The attempts at an occurrence are not 1, 2, 3 …
    AttemptGap,
    /// An attempt began before the one before it was over, or after one that was final.
    AttemptOverlap,
    /// A fence did not rise, or was given twice.
    Fence,
    /// A failed or lost attempt was not followed by the one that the job asks for, or by one that it does not.
    WrongRetry,
    /// One attempt was started twice.
    StartedTwice,
    /// The receiver was called for an attempt that the ledger does not know.
    UnknownStart,
    /// The ledger's result is not the one that the receiver gave.
    WrongResult,
    /// It began before it was due.
    Early,
    /// It began while the job, or the cluster, was paused.
    StartedWhilePaused,
    /// It began after its job was removed or replaced.
    StartedAfterRemoval,
    /// More instances at once than allowed.
    MaxInstances,
    /// A run was lost though its node was neither killed nor frozen, or before its lease can have ended.
    LostWithoutFault,
    /// A "run now" was acknowledged and is not in the ledger, or is there without having been asked for.
    Manual,
    /// A run that was neither over nor waiting for its time at the end.
    Unfinished,
    /// A job that went, came or changed by itself.
    JobChanged,
    /// An occurrence was skipped as misfired or paused, and was neither.
    WrongSkip,
    /// A summary row that counts wrongly.
    WrongCount,
    /// An answer of the API that no operation should get.
    Answer,
    /// An error or a panic in the log of a node.
    Log,
    /// A node that did not start, answer or end as it should.
    Node,
}

/// A broken promise, with what proves it.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    pub(crate) job: String,
    pub(crate) what: String,
    pub(crate) evidence: Vec<String>,
}
