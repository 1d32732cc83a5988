//! A run: one row of the ledger, and the moves it may make.
//!
//! ```text
//! pending ──start──▶ running ──end──▶ succeeded · failed · timed_out · cancelled
//!    ▲                │  │
//!    └────release─────┘  └──lose──▶ lost
//! pending ──withdraw──▶ cancelled      pending ──skip──▶ skipped      (decided) ──▶ skipped
//! ```
//!
//! The state is private: only the moves below change it, and a move that is not drawn is refused.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::later;
use crate::id::{Fence, JobId, JobKey, NodeId, RunId};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it on the wire and in stores.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The value for a word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What asked for a run.
    RunKind {
        /// The trigger.
        Scheduled = "scheduled",
        /// A person or a program.
        Manual = "manual",
    }
}

words! {
    /// Where a run stands.
    RunState {
        /// It has no owner yet: a retry, a crash rerun, a manual run, or one that waits its turn.
        Pending = "pending",
        /// A node owns it.
        Running = "running",
        /// The task returned.
        Succeeded = "succeeded",
        /// The task returned an error or panicked.
        Failed = "failed",
        /// The task took longer than the job's timeout.
        TimedOut = "timed_out",
        /// Somebody stopped it.
        Cancelled = "cancelled",
        /// Its node died or was cut off.
        Lost = "lost",
        /// It was decided not to run; the reason says why.
        Skipped = "skipped",
    }
}

impl RunState {
    /// Whether it is over.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

words! {
    /// Why a run was skipped or stopped.
    Reason {
        /// It was later than the misfire grace time, or beyond the bounds of a catch-up.
        Misfired = "misfired",
        /// As many instances as allowed were live.
        MaxInstances = "max_instances",
        /// A later occurrence ran for it.
        Coalesced = "coalesced",
        /// The job was paused.
        Paused = "paused",
        /// A calendar excludes the moment.
        Calendar = "calendar",
        /// The job was removed.
        Removed = "removed",
        /// Somebody asked for it.
        Requested = "requested",
        /// The scheduler was shut down.
        Shutdown = "shutdown",
        /// Its lease ended and another node took over, or could have.
        LeaseExpired = "lease_expired",
        /// Its owner is known to be dead.
        NodeDied = "node_died",
    }
}

/// The end of an attempt, as its node reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The task returned.
    Succeeded,
    /// The task failed.
    Failed,
    /// The task took too long.
    TimedOut,
    /// It was stopped.
    Cancelled(Reason),
    /// It was stopped because its lease ran out unrenewed.
    Lost,
}

impl Ending {
    pub(crate) fn state(self) -> RunState {
        match self {
            Self::Succeeded => RunState::Succeeded,
            Self::Failed => RunState::Failed,
            Self::TimedOut => RunState::TimedOut,
            Self::Cancelled(_) => RunState::Cancelled,
            Self::Lost => RunState::Lost,
        }
    }
}

/// A move that the life of a run does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {from} cannot {verb}")]
pub struct IllegalMove {
    from: RunState,
    verb: &'static str,
}

/// One row of the ledger: an attempt at one occurrence, or one or more occurrences that were skipped.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The row's id.
    pub id: RunId,
    /// The job it is of; it outlives the job.
    pub job_id: JobId,
    /// The life of that id.
    pub job_key: JobKey,
    /// What asked for it.
    pub kind: RunKind,
    /// The nominal time; for a manual run the moment it was asked for.
    pub scheduled_at: Timestamp,
    /// The moment from which it may start.
    pub due_at: Timestamp,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// How many attempts at this occurrence ended with the death of their node.
    pub crashes: u32,
    /// The decision it came from: runs of one decision are one instance and run one after another.
    pub instance: u64,
    state: RunState,
    /// Why it was skipped, stopped or waits.
    pub reason: Option<Reason>,
    /// Its owner.
    pub node: Option<NodeId>,
    /// Its fencing token.
    pub fence: Fence,
    /// Until when its owner may work on it without a sign of life.
    pub lease_until: Option<Timestamp>,
    /// When its owner took it.
    pub started_at: Option<Timestamp>,
    /// When it ended or was skipped.
    pub finished_at: Option<Timestamp>,
    /// What it printed or returned; capped.
    pub output: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Somebody asked it to stop.
    pub cancel_requested: bool,
    /// The last occurrence of a summary row.
    pub scheduled_until: Option<Timestamp>,
    /// How many occurrences the row stands for; more than one in a summary row.
    pub count: u64,
    /// When a late result of a former owner was refused.
    pub superseded_at: Option<Timestamp>,
}

/// What a new row needs; the rest follows.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The row's id.
    pub id: RunId,
    /// The job.
    pub job_id: JobId,
    /// The job's life.
    pub job_key: JobKey,
    /// What asked for it.
    pub kind: RunKind,
    /// Its nominal time.
    pub scheduled_at: Timestamp,
    /// When it may start.
    pub due_at: Timestamp,
    /// The decision it came from.
    pub instance: u64,
}

impl Run {
    /// A run without an owner.
    pub fn pending(new: NewRun) -> Self {
        let NewRun {
            id,
            job_id,
            job_key,
            kind,
            scheduled_at,
            due_at,
            instance,
        } = new;
        Self {
            id,
            job_id,
            job_key,
            kind,
            scheduled_at,
            due_at,
            attempt: 1,
            crashes: 0,
            instance,
            state: RunState::Pending,
            reason: None,
            node: None,
            fence: Fence::default(),
            lease_until: None,
            started_at: None,
            finished_at: None,
            output: None,
            error: None,
            cancel_requested: false,
            scheduled_until: None,
            count: 1,
            superseded_at: None,
        }
    }

    /// An occurrence that was decided not to run.
    pub fn skipped(new: NewRun, reason: Reason, now: Timestamp) -> Self {
        let mut run = Self::pending(new);
        run.skip(reason, now).expect("a pending run may be skipped");
        run
    }

    /// Sets the state of a row that a store reads back. Not a move: `self` is what the row says otherwise.
    #[must_use]
    pub fn with_stored_state(mut self, state: RunState) -> Self {
        self.state = state;
        self
    }

    /// Where it stands.
    pub fn state(&self) -> RunState {
        self.state
    }

    /// The key that is the same for every attempt at this occurrence, and of no other.
    pub fn idempotency_key(&self) -> String {
        format!(
            "{}-{}-{}",
            self.job_key,
            self.kind,
            self.scheduled_at.as_microsecond()
        )
    }

    fn expect_state(&self, allowed: RunState, verb: &'static str) -> Result<(), IllegalMove> {
        if self.state == allowed {
            Ok(())
        } else {
            Err(IllegalMove {
                from: self.state,
                verb,
            })
        }
    }

    /// pending → running.
    pub fn start(
        &mut self,
        node: NodeId,
        fence: Fence,
        now: Timestamp,
        lease: Duration,
    ) -> Result<(), IllegalMove> {
        self.expect_state(RunState::Pending, "start")?;
        self.state = RunState::Running;
        self.reason = None;
        self.node = Some(node);
        self.fence = fence;
        self.lease_until = Some(later(now, lease));
        self.started_at = Some(now);
        Ok(())
    }

    /// running → succeeded, failed, `timed_out`, cancelled or lost.
    pub fn end(&mut self, ending: Ending, now: Timestamp) -> Result<(), IllegalMove> {
        self.expect_state(RunState::Running, "end")?;
        self.state = ending.state();
        match ending {
            Ending::Cancelled(reason) => self.reason = Some(reason),
            Ending::Lost => self.reason = Some(Reason::LeaseExpired),
            Ending::Succeeded | Ending::Failed | Ending::TimedOut => {}
        }
        self.close(now);
        Ok(())
    }

    /// running → lost.
    pub fn lose(&mut self, reason: Reason, now: Timestamp) -> Result<(), IllegalMove> {
        self.expect_state(RunState::Running, "be lost")?;
        self.state = RunState::Lost;
        self.reason = Some(reason);
        self.close(now);
        Ok(())
    }

    /// running → pending: its owner gives it back before its task was called.
    pub fn release(&mut self) -> Result<(), IllegalMove> {
        self.expect_state(RunState::Running, "be given back")?;
        self.state = RunState::Pending;
        self.node = None;
        self.lease_until = None;
        self.started_at = None;
        Ok(())
    }

    /// pending → cancelled.
    pub fn withdraw(&mut self, reason: Reason, now: Timestamp) -> Result<(), IllegalMove> {
        self.expect_state(RunState::Pending, "be withdrawn")?;
        self.state = RunState::Cancelled;
        self.reason = Some(reason);
        self.close(now);
        Ok(())
    }

    /// pending → skipped.
    pub fn skip(&mut self, reason: Reason, now: Timestamp) -> Result<(), IllegalMove> {
        self.expect_state(RunState::Pending, "be skipped")?;
        self.state = RunState::Skipped;
        self.reason = Some(reason);
        self.close(now);
        Ok(())
    }

    fn close(&mut self, now: Timestamp) {
        self.lease_until = None;
        self.finished_at = Some(now);
    }

    /// The next attempt at the occurrence of this one, which is over.
    pub fn next_attempt(&self, id: RunId, due_at: Timestamp) -> Self {
        let mut next = Self::pending(NewRun {
            id,
            job_id: self.job_id.clone(),
            job_key: self.job_key,
            kind: self.kind,
            scheduled_at: self.scheduled_at,
            due_at,
            instance: self.instance,
        });
        next.attempt = self.attempt + 1;
        next.crashes = self.crashes + u32::from(self.state == RunState::Lost);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn fresh() -> Run {
        Run::pending(NewRun {
            id: RunId(1),
            job_id: JobId::new("a").unwrap(),
            job_key: JobKey(7),
            kind: RunKind::Scheduled,
            scheduled_at: at(100),
            due_at: at(100),
            instance: 1,
        })
    }

    type Move = fn(&mut Run) -> Result<(), IllegalMove>;

    #[test]
    fn only_the_drawn_moves_exist() {
        let moves: [(&str, Move); 6] = [
            ("start", |run| {
                run.start(NodeId(1), Fence(1), at(101), Duration::from_secs(30))
            }),
            ("end", |run| run.end(Ending::Succeeded, at(102))),
            ("lose", |run| run.lose(Reason::LeaseExpired, at(102))),
            ("release", Run::release),
            ("withdraw", |run| run.withdraw(Reason::Removed, at(102))),
            ("skip", |run| run.skip(Reason::Misfired, at(102))),
        ];
        let allowed = |state| match state {
            RunState::Pending => &["start", "withdraw", "skip"][..],
            RunState::Running => &["end", "lose", "release"][..],
            _ => &[],
        };
        for &state in RunState::ALL {
            for (name, make) in moves {
                let went = make(&mut fresh().with_stored_state(state)).is_ok();
                assert_eq!(went, allowed(state).contains(&name), "{name} from {state}");
            }
        }
    }

    #[test]
    fn attempts_share_the_idempotency_key_and_count_crashes() {
        let mut first = fresh();
        first
            .start(NodeId(1), Fence(1), at(101), Duration::from_secs(30))
            .unwrap();
        first.lose(Reason::NodeDied, at(140)).unwrap();
        let second = first.next_attempt(RunId(2), at(140));
        assert_eq!((second.attempt, second.crashes), (2, 1));
        assert_eq!(first.idempotency_key(), second.idempotency_key());
        assert_eq!(
            second.idempotency_key(),
            "0000000000000007-scheduled-100000000"
        );
    }
}
