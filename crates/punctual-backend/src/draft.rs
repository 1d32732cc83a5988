//! One id on its way from a snapshot to a write.

use std::sync::Arc;

use jiff::Timestamp;
use punctual_core::decide::JobView;
use punctual_core::id::{Fence, JobId, RunId};
use punctual_core::job::{Job, JobDefinition, JobState, Paused, StoredJob, UnreadableJob};
use punctual_core::plan::Plan;
use punctual_core::run::Run;
use punctual_core::store::StoreError;

use crate::backend::{After, BackendResult, Version, Write};

/// What lies under an id, read, and what is to become of it. Several plans may follow one another before it is written.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: JobId,
    expected: Option<Version>,
    pub(crate) body: Lying,
    live: Result<Vec<Run>, String>,
    insert: Vec<Run>,
    update: Vec<Run>,
    is_changed: bool,
    /// Something is due earlier than it was.
    is_earlier: bool,
}

/// What lies under an id.
#[derive(Debug)]
pub(crate) enum Lying {
    Nothing {
        fence: Fence,
    },
    Job {
        definition: Arc<JobDefinition>,
        state: JobState,
        document: Arc<str>,
        is_new: bool,
    },
    Unreadable(Unreadable),
}

/// A job that is there and cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) error: String,
    pub(crate) stored: Arc<str>,
    pub(crate) revision: u64,
    pub(crate) fence: Fence,
    pub(crate) paused: Option<Paused>,
    pub(crate) wake_at: Option<Timestamp>,
}

impl Unreadable {
    pub(crate) fn shown(&self, id: &JobId) -> StoredJob {
        StoredJob::Unreadable(UnreadableJob {
            id: id.clone(),
            error: self.error.clone(),
            stored: self.stored.to_string(),
        })
    }
}

impl Draft {
    pub(crate) fn new(
        id: JobId,
        expected: Option<Version>,
        body: Lying,
        live: Result<Vec<Run>, String>,
    ) -> Self {
        Self {
            id,
            expected,
            body,
            live,
            insert: Vec::new(),
            update: Vec::new(),
            is_changed: false,
            is_earlier: false,
        }
    }

    pub(crate) fn expected(&self) -> Option<Version> {
        self.expected
    }

    /// The pending and running runs of the id.
    pub(crate) fn live(&self) -> BackendResult<&[Run]> {
        match &self.live {
            Ok(live) => Ok(live),
            Err(error) => Err(StoreError::failed(format!(
                "a run of job {:?} cannot be read: {error}",
                self.id.as_str()
            ))
            .into()),
        }
    }

    /// Why no plan can be made for the job, if so.
    pub(crate) fn obstacle(&self) -> Option<String> {
        match (&self.body, &self.live) {
            (Lying::Job { .. }, Ok(_)) => None,
            (Lying::Unreadable(unreadable), _) => Some(unreadable.error.clone()),
            (_, Err(error)) => Some(format!("one of its runs: {error}")),
            (Lying::Nothing { .. }, Ok(_)) => Some("it is gone".to_owned()),
        }
    }

    pub(crate) fn forget_broken_runs(&mut self) {
        if self.live.is_err() {
            self.live = Ok(Vec::new());
        }
    }

    pub(crate) fn live_run(&self, id: RunId) -> Option<&Run> {
        let live = self.live.as_ref().ok()?;
        live.iter().find(|run| run.id == id)
    }

    /// The job as plans take it.
    pub(crate) fn view(&self) -> Option<JobView<'_>> {
        match (&self.body, &self.live) {
            (
                Lying::Job {
                    definition, state, ..
                },
                Ok(live),
            ) => Some(JobView {
                definition,
                state,
                live,
            }),
            _ => None,
        }
    }

    pub(crate) fn job(&self) -> Option<Job> {
        match &self.body {
            Lying::Job {
                definition, state, ..
            } => Some(Job {
                definition: Arc::clone(definition),
                state: state.clone(),
            }),
            Lying::Nothing { .. } | Lying::Unreadable(_) => None,
        }
    }

    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        match &self.body {
            Lying::Nothing { .. } => None,
            Lying::Job { state, .. } => state.wake_at,
            Lying::Unreadable(unreadable) => unreadable.wake_at,
        }
    }

    /// Takes a plan in; returns whether the job is gone by it. A plan for an id without a readable job has only rows.
    pub(crate) fn apply(&mut self, plan: Plan) -> bool {
        self.take_rows(plan.insert, plan.update);
        let before = self.wake_at();
        match (&mut self.body, plan.state) {
            (Lying::Job { state, .. }, Some(after)) => *state = after,
            (Lying::Job { state, .. }, None) => {
                self.body = Lying::Nothing { fence: state.fence };
                return true;
            }
            (Lying::Nothing { .. } | Lying::Unreadable(_), _) => {}
        }
        self.note_wake(before);
        false
    }

    /// Puts a job where there was none, or another edition of it.
    pub(crate) fn put(&mut self, job: &Job, document: Arc<str>, plan: Plan) {
        self.take_rows(plan.insert, plan.update);
        let before = self.wake_at();
        self.body = Lying::Job {
            definition: Arc::clone(&job.definition),
            state: job.state.clone(),
            document,
            is_new: true,
        };
        self.note_wake(before);
    }

    /// What lay there goes; only rows may still change.
    pub(crate) fn clear(&mut self, fence: Fence) {
        self.body = Lying::Nothing { fence };
        self.is_changed = true;
    }

    /// A job that this program cannot read is to be looked at by whoever can.
    pub(crate) fn wake_unread(&mut self, now: Timestamp) {
        if let Lying::Unreadable(unreadable) = &mut self.body {
            unreadable.wake_at = Some(now);
            self.is_changed = true;
        }
    }

    fn note_wake(&mut self, before: Option<Timestamp>) {
        let after = self.wake_at();
        self.is_earlier |= after.is_some_and(|after| before.is_none_or(|before| after < before));
    }

    /// Somebody who could not take the job may be able to now.
    pub(crate) fn note_moved(&mut self) {
        self.is_earlier |= self.wake_at().is_some();
    }

    fn take_rows(&mut self, insert: Vec<Run>, update: Vec<Run>) {
        self.is_changed = true;
        let live = self
            .live
            .as_mut()
            .expect("nothing is planned for an id whose runs cannot be read");
        for run in update {
            place(live, &run);
            let known = self
                .insert
                .iter_mut()
                .chain(&mut self.update)
                .find(|known| known.id == run.id);
            match known {
                Some(known) => *known = run,
                None => self.update.push(run),
            }
        }
        for run in insert {
            place(live, &run);
            self.insert.push(run);
        }
    }

    pub(crate) fn is_earlier(&self) -> bool {
        self.is_earlier
    }

    /// What is to be written; nothing where nothing changed.
    pub(crate) fn into_write(self, now: Timestamp) -> Option<Write> {
        if !self.is_changed {
            return None;
        }
        let mut live = self.live.ok()?;
        live.sort_unstable_by_key(|run| run.id);
        let after = match self.body {
            Lying::Nothing { fence } => After::Nothing { fence },
            Lying::Job {
                definition,
                state,
                document,
                is_new,
            } => After::Job {
                state,
                definition,
                document,
                is_new,
            },
            Lying::Unreadable(_) => After::Unread { wake_at: now },
        };
        Some(Write {
            id: self.id,
            expected: self.expected,
            after,
            insert: self.insert,
            update: self.update,
            live,
        })
    }
}

/// Puts a run among the live ones, or takes it out where it is over.
fn place(live: &mut Vec<Run>, run: &Run) {
    let at = live.iter().position(|known| known.id == run.id);
    match (at, run.state().is_final()) {
        (Some(at), true) => {
            live.remove(at);
        }
        (Some(at), false) => live[at] = run.clone(),
        (None, true) => {}
        (None, false) => live.push(run.clone()),
    }
}
