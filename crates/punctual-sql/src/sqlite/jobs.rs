//! Adding, changing and removing jobs.

use punctual_core::id::{Fence, JobId};
use punctual_core::job::{Job, StoredJob, UnreadableJob};
use punctual_core::plan::{
    self, AddRefusal, Addition, FirstRun, JobChange, OnConflict, PauseRequest, Plan,
};
use punctual_core::run::{Reason, Run, RunState};
use punctual_core::store::{Added, Enqueued, MovedJob, StoreError, Updated};
use rusqlite::OptionalExtension;

use super::error::Result;
use super::rows::{self, Head};
use super::session::{Found, Loaded, Session, Unreadable};

impl Session {
    pub(super) fn add(
        &mut self,
        addition: Addition,
    ) -> Result<std::result::Result<Added, AddRefusal>> {
        match self.find(&addition.definition.id)? {
            Found::Job(existing) => self.replace(&existing, addition),
            Found::Nothing => self.add_new(addition),
            Found::Unreadable(_) if addition.on_conflict == OnConflict::Error => {
                Ok(Err(AddRefusal::Exists))
            }
            Found::Unreadable(existing) => self.replace_unreadable(&existing, addition),
        }
    }

    fn replace(
        &mut self,
        existing: &Loaded,
        addition: Addition,
    ) -> Result<std::result::Result<Added, AddRefusal>> {
        let view = Some(existing.view());
        let (job, plan) = match plan::add(view, addition, &[], Fence::default(), self.moment()) {
            Ok(added) => added,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.write_definition(existing.n, &job)?;
        self.apply(existing, &plan)?;
        Ok(Ok(Added {
            job,
            replaced: true,
        }))
    }

    fn add_new(&mut self, addition: Addition) -> Result<std::result::Result<Added, AddRefusal>> {
        let orphans = self.orphans(&addition.definition.id)?;
        let floor = self.fence_floor()?;
        let (job, plan) = match plan::add(None, addition, &orphans, floor, self.moment()) {
            Ok(added) => added,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.insert_job(&job)?;
        self.write_rows(&plan)?;
        Ok(Ok(Added {
            job,
            replaced: false,
        }))
    }

    /// A job nobody could read makes way for a readable one. It keeps what must outlive it: pause, fence, revision.
    fn replace_unreadable(
        &mut self,
        existing: &Unreadable,
        mut addition: Addition,
    ) -> Result<std::result::Result<Added, AddRefusal>> {
        let (paused, revision) = match &existing.head {
            Head::Read(head) => (head.state.paused.clone(), head.state.revision),
            Head::Broken(head) => (None, head.revision.max(0) as u64),
        };
        if let (Some(paused), FirstRun::ByTrigger) = (&paused, &addition.first_run) {
            addition.first_run = FirstRun::Paused(PauseRequest {
                by: paused.by.clone(),
                note: paused.note.clone(),
                until: paused.until,
            });
        }
        let floor = self.fence_floor()?.max(self.stored_fence(&existing.head)?);
        let orphans = self.orphans(existing.head.id())?;
        let (mut job, mut plan) = match plan::add(None, addition, &orphans, floor, self.moment()) {
            Ok(added) => added,
            Err(refusal) => return Ok(Err(refusal)),
        };
        job.state.revision = revision + 1;
        if let (Some(now), Some(before)) = (&mut job.state.paused, paused) {
            now.at = before.at;
        }
        plan.state = Some(job.state.clone());
        self.delete_job(existing.head.n(), existing.head.id(), floor)?;
        self.insert_job(&job)?;
        self.write_rows(&plan)?;
        Ok(Ok(Added {
            job,
            replaced: true,
        }))
    }

    /// The live runs of an id that has no readable job.
    fn orphans(&self, id: &JobId) -> Result<Vec<Run>> {
        let live = self.live(id)?;
        Ok(live.map_err(|error| StoreError::failed(format!("job {id:?}: {error}")))?)
    }

    /// The fence of a job whose other columns may make no sense.
    fn stored_fence(&self, head: &Head) -> Result<Fence> {
        if let Head::Read(head) = head {
            return Ok(head.state.fence);
        }
        let mut query = self.db.prepare_cached(&self.sql.job_by_id)?;
        let fence: Option<i64> = query
            .query_row([head.id().as_str()], |row| row.get(11))
            .optional()?;
        Ok(Fence(fence.unwrap_or(0).max(0) as u64))
    }

    /// Takes over a job from another store; `false` where its id is taken.
    pub(super) fn import_job(&mut self, moved: &MovedJob) -> Result<bool> {
        if self.head(moved.job.id())?.is_some() {
            return Ok(false);
        }
        self.insert_job(&moved.job)?;
        self.import_rows(&moved.live)?;
        Ok(true)
    }

    pub(super) fn update(
        &mut self,
        id: &JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> Result<Updated> {
        let before = match self.find(id)? {
            Found::Job(job) => job,
            Found::Unreadable(unreadable) => return Ok(Updated::Unreadable(unreadable.error)),
            Found::Nothing => return Ok(Updated::Missing),
        };
        if expected_revision.is_some_and(|expected| expected != before.state.revision) {
            return Ok(Updated::Conflict(before.state.revision));
        }
        let (definition, plan) = plan::update(before.view(), change, self.moment());
        let Some(state) = plan.state.clone() else {
            self.apply(&before, &plan)?;
            return Ok(Updated::Removed(rows::job(&definition, &before.state)));
        };
        let job = Job { definition, state };
        if *job.definition == *before.definition {
            // Equal, yet compiled anew where the zone data has changed.
            self.cache.put(rows::edition(&job.state), &job.definition);
        } else {
            self.write_definition(before.n, &job)?;
        }
        self.apply(&before, &plan)?;
        Ok(Updated::Job(job))
    }

    pub(super) fn remove(&mut self, id: &JobId) -> Result<Option<StoredJob>> {
        match self.find(id)? {
            Found::Nothing => Ok(None),
            Found::Job(job) => {
                let plan = plan::remove(job.view(), self.moment());
                self.apply(&job, &plan)?;
                Ok(Some(StoredJob::Job(job.job())))
            }
            Found::Unreadable(unreadable) => {
                let fence = self.stored_fence(&unreadable.head)?;
                if let Ok(live) = self.live(id)? {
                    for run in live {
                        self.withdraw(run)?;
                    }
                }
                let stored = self.stored_text(unreadable.head.n())?;
                self.delete_job(unreadable.head.n(), id, fence)?;
                Ok(Some(StoredJob::Unreadable(UnreadableJob {
                    id: id.clone(),
                    error: unreadable.error,
                    stored,
                })))
            }
        }
    }

    fn stored_text(&self, n: i64) -> Result<String> {
        let mut query = self.db.prepare_cached(&self.sql.job_text)?;
        Ok(query.query_row([n], |row| row.get(0))?)
    }

    /// A run that waits will not run: its job goes.
    fn withdraw(&self, mut run: Run) -> Result<()> {
        if run.state() == RunState::Pending && run.withdraw(Reason::Removed, self.now()).is_ok() {
            self.update_run(&run)?;
        }
        Ok(())
    }

    pub(super) fn remove_all(&mut self) -> Result<u64> {
        let mut query = self.db.prepare_cached(&self.sql.runs_pending_of_jobs)?;
        let waiting = query
            .query_map((), |row| Ok(rows::run(row)))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        drop(query);
        for run in waiting.into_iter().flatten() {
            self.withdraw(run)?;
        }
        let mut query = self.db.prepare_cached(&self.sql.fence_max)?;
        let fence: Option<i64> = query.query_row((), |row| row.get(0))?;
        drop(query);
        self.raise_fence_floor(Fence(fence.unwrap_or(0).max(0) as u64))?;
        let removed = self.db.prepare_cached(&self.sql.jobs_delete)?.execute(())?;
        self.cache.clear();
        Ok(removed as u64)
    }

    pub(super) fn enqueue(&mut self, id: &JobId) -> Result<Enqueued> {
        let job = match self.find(id)? {
            Found::Job(job) => job,
            Found::Unreadable(unreadable) => return Ok(Enqueued::Unreadable(unreadable.error)),
            Found::Nothing => return Ok(Enqueued::Missing),
        };
        let plan: Plan = plan::enqueue(job.view(), self.moment());
        let run = plan
            .insert
            .last()
            .expect("an enqueue inserts its run last")
            .clone();
        self.apply(&job, &plan)?;
        Ok(Enqueued::Run(job.job(), run))
    }
}
