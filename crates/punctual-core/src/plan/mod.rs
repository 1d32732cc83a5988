//! Every change of a job, as a pure function from what a store read under its lock to what it has to write.
//!
//! A store loads a job with its live runs, asks one of these functions, and writes the [`Plan`] in the same
//! transaction. So no two stores can differ in what a claim, a finish or a pause means.

mod add;
mod change;
mod runs;

use std::time::Duration;

use jiff::Timestamp;

use crate::decide::{JobView, running_instances};
use crate::id::{NodeId, RunId, RunIds};
use crate::job::{JobDefinition, JobState, Phase};
use crate::run::{NewRun, Reason, Run, RunKind, RunState};

pub use self::add::{AddRefusal, Addition, FirstRun, OnConflict, add, remove};
pub use self::change::{JobChange, JobPatch, PauseRequest, PolicyPatch, ReadyTrigger, update};
pub use self::runs::{Finish, Finished, claim, enqueue, finish, reclaim, request_cancel};

const MICRO: Duration = Duration::from_micros(1);

/// What a store has to write, all of it or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The job's new state; `None` removes the job.
    pub state: Option<JobState>,
    /// New rows of the ledger.
    pub insert: Vec<Run>,
    /// Rows of the ledger that change.
    pub update: Vec<Run>,
}

impl Plan {
    /// The rows that a claim took for its node.
    pub fn started(&self) -> impl Iterator<Item = &Run> {
        self.insert
            .iter()
            .chain(&self.update)
            .filter(|run| run.state() == RunState::Running && !run.cancel_requested)
    }

    /// The rows that say an occurrence does not run.
    pub fn skipped(&self) -> impl Iterator<Item = &Run> {
        self.insert
            .iter()
            .chain(&self.update)
            .filter(|run| run.state() == RunState::Skipped)
    }
}

/// The store's time, and the source of row ids.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The store's time.
    pub now: Timestamp,
    /// Makes ids for new rows.
    pub ids: &'a RunIds,
}

impl Moment<'_> {
    fn row(
        &self,
        job: &JobDefinition,
        state: &JobState,
        scheduled_at: Timestamp,
        due_at: Timestamp,
    ) -> NewRun {
        NewRun {
            id: self.ids.next(self.now),
            job_id: job.id.clone(),
            job_key: state.key,
            kind: RunKind::Scheduled,
            scheduled_at,
            due_at,
            instance: state.seq,
        }
    }

    fn summary(
        &self,
        job: &JobDefinition,
        state: &JobState,
        span: (Timestamp, Timestamp, u64),
        reason: Reason,
    ) -> Run {
        let (from, until, count) = span;
        let mut run = Run::skipped(self.row(job, state, from, from), reason, self.now);
        run.count = count;
        run.scheduled_until = (count > 1).then_some(until);
        run
    }
}

/// Who claims.
#[derive(Clone, Copy, Debug)]
pub struct Claimer {
    /// The node.
    pub node: NodeId,
    /// How long its claim holds without a sign of life.
    pub lease: Duration,
    /// How many runs it can take now.
    pub slots: usize,
}

/// Collects the changed rows of one plan over the live runs as they were.
struct Draft<'a> {
    state: JobState,
    live: &'a [Run],
    insert: Vec<Run>,
    update: Vec<Run>,
}

impl<'a> Draft<'a> {
    fn new(view: JobView<'a>) -> Self {
        let mut state = view.state.clone();
        state.seq += 1;
        Self {
            state,
            live: view.live,
            insert: Vec::new(),
            update: Vec::new(),
        }
    }

    fn is_changed(&self, run: &Run) -> bool {
        self.update.iter().any(|changed| changed.id == run.id)
    }

    /// The live runs as they will be.
    fn live_after(&self) -> impl Iterator<Item = &Run> {
        let same = self.live.iter().filter(|run| !self.is_changed(run));
        same.chain(&self.update)
            .chain(&self.insert)
            .filter(|run| !run.state().is_final())
    }

    fn change(&mut self, id: RunId, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self
            .update
            .iter_mut()
            .chain(&mut self.insert)
            .find(|run| run.id == id)
        {
            change(run);
        } else if let Some(run) = self.live.iter().find(|run| run.id == id) {
            let mut run = run.clone();
            change(&mut run);
            self.update.push(run);
        }
    }

    /// Starts pending runs that are due, oldest first, while instances and slots allow.
    fn start_pending(&mut self, definition: &JobDefinition, claimer: Claimer, now: Timestamp) {
        let mut ready: Vec<_> = self
            .live_after()
            .filter(|run| run.state() == RunState::Pending && run.due_at <= now)
            .map(|run| {
                (
                    run.due_at,
                    run.scheduled_at,
                    run.id,
                    (run.job_key, run.instance),
                )
            })
            .collect();
        if ready.is_empty() {
            return;
        }
        ready.sort_unstable();
        let mut running: Vec<_> = self
            .live_after()
            .filter(|run| run.state() == RunState::Running)
            .map(|run| (run.job_key, run.instance))
            .collect();
        running.sort_unstable();
        running.dedup();
        let mut slots = claimer.slots;
        for (_, _, id, instance) in ready {
            if slots == 0 || running.len() >= definition.policy.max_instances as usize {
                break;
            }
            if running.contains(&instance) {
                continue; // its instance runs one after another
            }
            let fence = self.state.fence.next();
            self.state.fence = fence;
            self.change(id, |run| {
                run.start(claimer.node, fence, now, claimer.lease)
                    .expect("only pending runs are ready");
            });
            running.push(instance);
            slots -= 1;
        }
    }

    /// Computes what follows from the rows: the number of live runs, the next wake-up, and whether the job is over.
    fn settle(mut self, definition: &JobDefinition) -> Plan {
        let live: Vec<&Run> = self.live_after().collect();
        let count = live.len();
        let wake_at = wake_at(definition, &self.state, &live);
        let over =
            self.state.phase == Phase::Finishing && count == 0 && self.state.paused.is_none();
        self.state.live = count as u32;
        self.state.wake_at = wake_at;
        Plan {
            state: (!over).then_some(self.state),
            insert: self.insert,
            update: self.update,
        }
    }
}

/// The first moment at which a claim has something to do.
fn wake_at(definition: &JobDefinition, state: &JobState, live: &[&Run]) -> Option<Timestamp> {
    if let Some(paused) = &state.paused {
        return paused.until;
    }
    let full = running_instances(live.iter().copied()) >= definition.policy.max_instances as usize;
    let is_running = |run: &Run| {
        live.iter().any(|other| {
            other.state() == RunState::Running
                && (other.job_key, other.instance) == (run.job_key, run.instance)
        })
    };
    let pending = live
        .iter()
        .filter(|run| !full && run.state() == RunState::Pending && !is_running(run))
        .map(|run| run.due_at)
        .min();
    state.due_at.into_iter().chain(pending).min()
}
