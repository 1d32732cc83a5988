//! A job: its definition, which people change, and its scheduling state, which decisions change.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::{Schedule, Trigger};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{ExecutorName, Fence, JobId, JobKey, TaskName};

/// The arguments of a job's task, as JSON: positional and by name, as `APScheduler` has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobArgs {
    /// Positional arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Value>,
    /// Arguments by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub kwargs: Map<String, Value>,
}

impl JobArgs {
    /// Shares the empty arguments, which most jobs have: a million jobs are held in memory.
    pub fn shared(self) -> Arc<Self> {
        static NONE: LazyLock<Arc<JobArgs>> = LazyLock::new(Arc::default);
        if self.args.is_empty() && self.kwargs.is_empty() {
            Arc::clone(&NONE)
        } else {
            Arc::new(self)
        }
    }
}

/// What becomes of several occurrences that are found due together, after a stop or a long wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coalesce {
    /// The latest runs; the others are recorded as `coalesced`. The default.
    #[default]
    Latest,
    /// Each runs, one after another, as one instance.
    Off,
}

/// What becomes of an occurrence that is due while `max_instances` instances of its job are live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is recorded as skipped (`max_instances`). The default.
    #[default]
    Skip,
    /// It waits, if none waits yet; else it is skipped.
    QueueOne,
    /// The running instances are asked to stop, and it runs when one has.
    CancelRunning,
}

/// What becomes of a run whose node died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCrash {
    /// It runs again as the next attempt, three times at most. The default.
    #[default]
    Rerun,
    /// It stays `lost`.
    GiveUp,
}

/// How often a run that crashed its node is started again before it stays `lost`.
pub const CRASH_ATTEMPTS_MAX: u32 = 3;

/// How the wait between attempts grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// The same wait each time.
    #[default]
    Fixed,
    /// The wait times the number of attempts made.
    Linear,
    /// The wait doubled each time.
    Exponential,
}

/// How many attempts a retry may make in all.
pub const RETRY_ATTEMPTS: RangeInclusive<u32> = 2..=100;

/// What follows a failed or timed-out attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included: 2 to 100.
    pub attempts: u32,
    /// The first wait.
    pub delay: Duration,
    /// How the wait grows.
    pub backoff: Backoff,
    /// The longest wait that growing leads to; the first is as it is given.
    pub max_delay: Duration,
    /// How much longer than that a wait may be, at random: so that what failed together is not tried again together.
    pub jitter: Duration,
}

impl Retry {
    /// `attempts` in all, `delay` apart.
    pub fn fixed(attempts: u32, delay: Duration) -> Self {
        Self {
            attempts,
            delay,
            backoff: Backoff::Fixed,
            max_delay: Duration::from_hours(1),
            jitter: Duration::ZERO,
        }
    }

    /// How long to wait after attempt number `made` has failed; `None` when there is no further one. `chance`, from 0 up to 1,
    /// is the part of the jitter that is added.
    pub fn wait_after(&self, made: u32, chance: f64) -> Option<Duration> {
        if made >= self.attempts {
            return None;
        }
        let factor = match self.backoff {
            Backoff::Fixed => 1,
            Backoff::Linear => made,
            Backoff::Exponential => 1_u32.checked_shl(made - 1).unwrap_or(u32::MAX),
        };
        let wait = self.delay.saturating_mul(factor);
        let wait = wait.min(self.max_delay.max(self.delay));
        Some(wait.saturating_add(self.jitter.mul_f64(chance.clamp(0.0, 1.0))))
    }
}

/// How a job's occurrences are treated. The defaults are those of a job that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How late a run may start; later it is recorded as `misfired`. Default `None`: however late.
    pub misfire_grace_time: Option<Duration>,
    /// What becomes of several due occurrences.
    pub coalesce: Coalesce,
    /// How many instances may be live at once, over all nodes. Default 1.
    pub max_instances: u32,
    /// What becomes of an occurrence beyond that.
    pub overlap: Overlap,
    /// What follows a failure. Default `None`: nothing.
    pub retry: Option<Retry>,
    /// How long one attempt may take. Default `None`: as long as it likes.
    pub timeout: Option<Duration>,
    /// What follows the death of the node.
    pub on_crash: OnCrash,
}

impl Policy {
    /// Shares the default, which most jobs have: a million jobs are held in memory.
    pub fn shared(self) -> Arc<Self> {
        static USUAL: LazyLock<Arc<Policy>> = LazyLock::new(Arc::default);
        if self == **USUAL {
            Arc::clone(&USUAL)
        } else {
            Arc::new(self)
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            misfire_grace_time: None,
            coalesce: Coalesce::Latest,
            max_instances: 1,
            overlap: Overlap::Skip,
            retry: None,
            timeout: None,
            on_crash: OnCrash::Rerun,
        }
    }
}

/// What people say of a job. Immutable: a change makes a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDefinition {
    /// The id in its store.
    pub id: JobId,
    /// The name for people, where one was given; see [`name`](Self::name).
    pub given_name: Option<Box<str>>,
    /// The task it calls.
    pub task: TaskName,
    /// The task's arguments.
    pub args: Arc<JobArgs>,
    /// The trigger, with start and zone fixed.
    pub trigger: Trigger,
    /// The trigger as it was given, where fixing changed it. Comparing it tells whether a redeploy changes the schedule.
    pub declared: Option<Box<Trigger>>,
    /// The executor that runs it.
    pub executor: ExecutorName,
    /// How its occurrences are treated.
    pub policy: Arc<Policy>,
    /// Labels, sorted.
    pub tags: Box<[Box<str>]>,
    /// When it was first added.
    pub created_at: Timestamp,
    /// When its definition was last changed.
    pub updated_at: Timestamp,
    /// The trigger, compiled. Not stored.
    pub schedule: CompiledSchedule,
}

/// A [`Schedule`] inside a definition: two definitions are equal where their triggers are.
#[derive(Clone)]
pub struct CompiledSchedule(pub Schedule);

/// Its tables would hide all else that a job has.
impl fmt::Debug for CompiledSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompiledSchedule(..)")
    }
}

impl PartialEq for CompiledSchedule {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl JobDefinition {
    /// The name for people: the given one, else the id.
    pub fn name(&self) -> &str {
        self.given_name.as_deref().unwrap_or(self.id.as_str())
    }

    /// The trigger as it was given.
    pub fn declared_trigger(&self) -> &Trigger {
        self.declared.as_deref().unwrap_or(&self.trigger)
    }
}

/// Who paused a job, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Whether a job has occurrences to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has, or may have.
    Active,
    /// None; it is removed when its last run has ended.
    Finishing,
}

/// Where the decisions about a job stand. Changed only by [`plan`](crate::plan).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobState {
    /// This life of the id.
    pub key: JobKey,
    /// The last decided nominal time: occurrences after it are undecided.
    pub cursor: Timestamp,
    /// When the next undecided occurrence is due: its nominal time plus jitter.
    pub due_at: Option<Timestamp>,
    /// A run time that somebody asked for beside the trigger's (`next_run_time`); it lies right after the cursor.
    pub extra: Option<Timestamp>,
    /// Set while paused.
    pub paused: Option<Box<Paused>>,
    /// The last moment for which a manual run was asked.
    pub manual_at: Option<Timestamp>,
    /// Whether occurrences may come.
    pub phase: Phase,
    /// Counts changes of the definition, from 1.
    pub revision: u64,
    /// Counts decisions.
    pub seq: u64,
    /// The highest fencing token given to a run of this id.
    pub fence: Fence,
    /// The first moment at which a claim has something to do for this job: a due occurrence, a pending run that
    /// could start, the end of a pause. This is what stores index.
    pub wake_at: Option<Timestamp>,
    /// How many runs of this life are pending or running.
    pub live: u32,
}

/// A job as a store holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// What people say of it.
    pub definition: Arc<JobDefinition>,
    /// Where its decisions stand.
    pub state: JobState,
}

impl Job {
    /// Its id.
    pub fn id(&self) -> &JobId {
        &self.definition.id
    }

    /// When it will run next; `None` while paused or when no occurrence is left.
    pub fn next_run_time(&self) -> Option<Timestamp> {
        if self.state.paused.is_some() {
            None
        } else {
            self.state.due_at
        }
    }
}

/// A job that is stored but cannot be read back. It is kept, shown and never run or deleted by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableJob {
    /// Its id.
    pub id: JobId,
    /// Why it cannot be read.
    pub error: String,
    /// What is stored.
    pub stored: String,
}

/// What a store answers when asked for a job.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredJob {
    /// A job.
    Job(Job),
    /// Something else, kept as it is.
    Unreadable(UnreadableJob),
}

impl StoredJob {
    /// Its id.
    pub fn id(&self) -> &JobId {
        match self {
            Self::Job(job) => job.id(),
            Self::Unreadable(job) => &job.id,
        }
    }

    /// The job, where it could be read.
    pub fn into_job(self) -> Option<Job> {
        match self {
            Self::Job(job) => Some(job),
            Self::Unreadable(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let waits = |backoff, delay| {
            let retry = Retry {
                backoff,
                max_delay: Duration::from_secs(50),
                ..Retry::fixed(5, delay)
            };
            (1..=5)
                .map(|made| retry.wait_after(made, 0.0).map(|wait| wait.as_secs()))
                .collect::<Vec<_>>()
        };
        let (ten, hour) = (Duration::from_secs(10), Duration::from_hours(1));
        assert_eq!(waits(Backoff::Fixed, 3 * hour)[3], Some(3 * 3600));
        assert_eq!(waits(Backoff::Exponential, hour)[3], Some(3600));
        assert_eq!(
            waits(Backoff::Fixed, ten),
            [Some(10), Some(10), Some(10), Some(10), None]
        );
        assert_eq!(
            waits(Backoff::Linear, ten),
            [Some(10), Some(20), Some(30), Some(40), None]
        );
        assert_eq!(
            waits(Backoff::Exponential, ten),
            [Some(10), Some(20), Some(40), Some(50), None]
        );
        let retry = Retry {
            jitter: ten,
            ..Retry::fixed(3, ten)
        };
        let spread = [0.0, 0.5, 1.0].map(|chance| retry.wait_after(1, chance));
        assert_eq!(spread, [10, 15, 20].map(|s| Some(Duration::from_secs(s))));
    }
}
