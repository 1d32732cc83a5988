//! The ledger in memory: where live runs are, and a ring of those that are over.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;

use crate::clock::earlier;
use crate::id::{JobId, RunId};
use crate::run::Run;
use crate::store::Retention;

/// Live runs of a stored job lie beside the job; this knows where. Those of a job that is gone, and all that are
/// over, lie here.
#[derive(Debug)]
pub(super) struct Ledger {
    rows_max: usize,
    slots: HashMap<RunId, u32>,
    orphans: HashMap<RunId, Run>,
    closed: VecDeque<Run>,
}

impl Ledger {
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            rows_max,
            slots: HashMap::new(),
            orphans: HashMap::new(),
            closed: VecDeque::new(),
        }
    }

    /// Notes that a live run lies beside the job in `slot`.
    pub(super) fn open(&mut self, id: RunId, slot: u32) {
        self.slots.insert(id, slot);
    }

    /// Keeps a run that is over, at the price of the oldest such row where the ring is full.
    pub(super) fn close(&mut self, run: Run) {
        self.slots.remove(&run.id);
        self.closed.push_back(run);
        if self.closed.len() > self.rows_max {
            self.closed.pop_front();
        }
    }

    /// Changes a row that does not lie beside a job.
    pub(super) fn amend(&mut self, run: Run) {
        if let Some(orphan) = self.orphans.get_mut(&run.id) {
            if run.state().is_final() {
                self.orphans.remove(&run.id);
                self.close(run);
            } else {
                *orphan = run;
            }
        } else if let Some(closed) = self
            .closed
            .iter_mut()
            .rev()
            .find(|closed| closed.id == run.id)
        {
            *closed = run;
        }
    }

    /// Takes over the live runs of a job that goes.
    pub(super) fn orphan(&mut self, live: Vec<Run>) {
        for run in live {
            self.slots.remove(&run.id);
            self.orphans.insert(run.id, run);
        }
    }

    /// The live runs of an id that has no job.
    pub(super) fn orphans_of(&self, id: &JobId) -> Vec<Run> {
        self.orphans
            .values()
            .filter(|run| run.job_id == *id)
            .cloned()
            .collect()
    }

    /// Gives them to the job that has the id now.
    pub(super) fn adopt(&mut self, orphans: &[Run], slot: u32) {
        for run in orphans {
            self.orphans.remove(&run.id);
            self.open(run.id, slot);
        }
    }

    pub(super) fn live_slot(&self, id: RunId) -> Option<u32> {
        self.slots.get(&id).copied()
    }

    pub(super) fn live_slots(&self) -> impl Iterator<Item = (RunId, u32)> {
        self.slots.iter().map(|(&id, &slot)| (id, slot))
    }

    pub(super) fn orphaned(&self, id: RunId) -> Option<&Run> {
        self.orphans.get(&id)
    }

    pub(super) fn orphaned_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.orphans.get_mut(&id)
    }

    pub(super) fn orphans(&self) -> impl Iterator<Item = &Run> {
        self.orphans.values()
    }

    pub(super) fn all_closed(&self) -> impl Iterator<Item = &Run> {
        self.closed.iter()
    }

    pub(super) fn closed(&self, id: RunId) -> Option<&Run> {
        self.closed.iter().rev().find(|run| run.id == id)
    }

    pub(super) fn prune(&mut self, retention: Retention, now: Timestamp) -> u64 {
        let before = self.closed.len();
        let oldest = earlier(now, retention.age);
        // The ring is in the order of ending: where the first is young enough, all are.
        let young = self
            .closed
            .front()
            .is_none_or(|run| run.finished_at.is_none_or(|at| at > oldest));
        if young && before as u64 <= retention.rows_per_job {
            return 0;
        }
        let mut of_job: HashMap<JobId, u64> = HashMap::new();
        for run in &self.closed {
            *of_job.entry(run.job_id.clone()).or_default() += 1;
        }
        self.closed.retain(|run| {
            let left = of_job.get_mut(&run.job_id).expect("counted above");
            let keep =
                *left <= retention.rows_per_job && run.finished_at.is_none_or(|at| at > oldest);
            *left -= u64::from(!keep);
            keep
        });
        (before - self.closed.len()) as u64
    }
}
