//! What becomes of runs that a node has taken.

use std::time::Duration;

use jiff::Timestamp;
use punctual_core::clock::later;
use punctual_core::id::{Fence, NodeId, RunId};
use punctual_core::plan::{self, Finish, Finished, Plan};
use punctual_core::run::{Reason, Run};
use punctual_core::store::{
    FinishOutcome, ReclaimScope, Reclaimed, Renewed, StoreError, reclaim_reason,
};
use rusqlite::{OptionalExtension, params};

use super::error::Result;
use super::rows;
use super::session::{Found, Session};

impl Session {
    /// The job of a run, with its live runs.
    fn job_of(&mut self, run: &Run) -> Result<Found> {
        match self.head(&run.job_id)? {
            None => Ok(Found::Nothing),
            // It is the only one, and was just read.
            Some(head) if !run.state().is_final() && head.live() == Some(1) => {
                self.load_with(head, Some(vec![run.clone()]))
            }
            Some(head) => self.load(head),
        }
    }

    pub(super) fn finish(&mut self, finish: &Finish) -> Result<FinishOutcome> {
        let Some(run) = self.run(finish.run)? else {
            return Ok(FinishOutcome::Missing);
        };
        let found = self.job_of(&run)?;
        let view = match &found {
            Found::Job(job) => Some(job.view()),
            Found::Unreadable(_) | Found::Nothing => None,
        };
        let is_given_back = finish.ending.is_none();
        match plan::finish(view, &run, finish, self.moment()) {
            Finished::Repeated => Ok(FinishOutcome::Accepted { job_removed: false }),
            Finished::Superseded(run) => {
                let mut update = self.db.prepare_cached(&self.sql.run_supersede)?;
                let at = run.superseded_at.map(Timestamp::as_microsecond);
                update.execute(params![rows::run_key(run.id), at])?;
                Ok(FinishOutcome::Superseded)
            }
            Finished::Accepted(plan) => match found {
                Found::Job(job) => Ok(FinishOutcome::Accepted {
                    job_removed: self.apply(&job, &plan)?,
                }),
                Found::Unreadable(job) if is_given_back => {
                    // Its job is still there, so it waits.
                    self.give_back(run)?;
                    self.wake_later(job.head.n())?;
                    Ok(FinishOutcome::Accepted { job_removed: false })
                }
                found => self.write_without_job(&found, &plan),
            },
        }
    }

    fn give_back(&self, mut run: Run) -> Result<()> {
        run.release()
            .map_err(|error| StoreError::failed(format!("run {}: {error}", run.id)))?;
        self.update_run(&run)
    }

    fn write_without_job(&mut self, found: &Found, plan: &Plan) -> Result<FinishOutcome> {
        self.write_rows(plan)?;
        if let Found::Unreadable(job) = found {
            self.wake_later(job.head.n())?;
        }
        Ok(FinishOutcome::Accepted { job_removed: false })
    }

    /// What a job that cannot be read would have had to do now, it does when it can be read again.
    fn wake_later(&self, n: i64) -> Result<()> {
        let mut update = self.db.prepare_cached(&self.sql.job_wake)?;
        update.execute([n, self.now().as_microsecond()])?;
        Ok(())
    }

    pub(super) fn renew(&self, lease: Duration, runs: &[(RunId, Fence)]) -> Result<Vec<Renewed>> {
        let until = later(self.now(), lease).as_microsecond();
        let mut update = self.db.prepare_cached(&self.sql.run_renew)?;
        runs.iter()
            .map(|&(id, fence)| {
                let key = rows::run_key(id);
                let cancel_requested: Option<bool> = update
                    .query_row(params![key, fence.0 as i64, until], |row| row.get(0))
                    .optional()?;
                Ok(match cancel_requested {
                    None => Renewed::Lost,
                    Some(false) => Renewed::Kept,
                    Some(true) => Renewed::CancelRequested,
                })
            })
            .collect()
    }

    pub(super) fn request_cancel(&mut self, id: RunId) -> Result<Option<Run>> {
        let Some(run) = self.run(id)? else {
            return Ok(None);
        };
        let found = self.job_of(&run)?;
        let view = match &found {
            Found::Job(job) => Some(job.view()),
            Found::Unreadable(_) | Found::Nothing => None,
        };
        let Some(plan) = plan::request_cancel(view, &run, self.moment()) else {
            return Ok(Some(run));
        };
        let changed = plan.update.iter().find(|changed| changed.id == id).cloned();
        match found {
            Found::Job(job) => {
                self.apply(&job, &plan)?;
            }
            found => {
                self.write_without_job(&found, &plan)?;
            }
        }
        Ok(changed)
    }

    pub(super) fn owned_by(&self, node: NodeId) -> Result<Vec<Run>> {
        let mut query = self.db.prepare_cached(&self.sql.runs_running_of)?;
        let runs = query
            .query_map([node.0 as i64], |row| Ok(rows::run(row)))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(readable(runs))
    }

    /// Takes all runs of owners whose death is proven, and by `scope` those whose lease has ended.
    pub(super) fn reclaim_expired(
        &mut self,
        node: NodeId,
        scope: ReclaimScope,
    ) -> Result<Vec<Reclaimed>> {
        let mut reclaimed = Vec::new();
        for owner in self.owners()? {
            if owner == node {
                continue;
            }
            let dead = self.locks.dead(owner);
            let runs = match (&dead, scope) {
                (Some(_), _) => self.owned_by(owner)?,
                (None, ReclaimScope::Expired) => self.expired(owner)?,
                (None, ReclaimScope::ProvenDead) => continue,
            };
            let reason = reclaim_reason(dead.is_some());
            for run in runs {
                reclaimed.extend(self.reclaim(&run, reason)?);
            }
            // Its file goes with the commit.
            self.dead.extend(dead);
        }
        self.sweep_lock_files()?;
        Ok(reclaimed)
    }

    /// The files of nodes that died without owning anything.
    fn sweep_lock_files(&mut self) -> Result<()> {
        for (owner, dead) in self.locks.all_dead() {
            if self.owned_by(owner)?.is_empty() {
                self.dead.push(dead);
            }
        }
        Ok(())
    }

    fn owners(&self) -> Result<Vec<NodeId>> {
        let mut query = self.db.prepare_cached(&self.sql.owner_after)?;
        let mut owners = Vec::new();
        let mut after = i64::MIN;
        while let Some(owner) = query.query_row([after], |row| row.get(0)).optional()? {
            owners.push(NodeId(owner as u64));
            after = owner;
        }
        Ok(owners)
    }

    fn expired(&self, owner: NodeId) -> Result<Vec<Run>> {
        let mut query = self.db.prepare_cached(&self.sql.runs_expired)?;
        let runs = query
            .query_map([owner.0 as i64, self.now().as_microsecond()], |row| {
                Ok(rows::run(row))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(readable(runs))
    }

    fn reclaim(&mut self, run: &Run, reason: Reason) -> Result<Option<Reclaimed>> {
        let found = self.job_of(run)?;
        let view = match &found {
            Found::Job(job) => Some(job.view()),
            Found::Unreadable(_) | Found::Nothing => None,
        };
        let Some(plan) = plan::reclaim(view, run, reason, self.moment()) else {
            return Ok(None);
        };
        let again = !plan.insert.is_empty();
        let lost = plan.update.iter().find(|lost| lost.id == run.id).cloned();
        match found {
            Found::Job(job) => {
                self.apply(&job, &plan)?;
            }
            found => {
                self.write_without_job(&found, &plan)?;
            }
        }
        Ok(lost.map(|run| Reclaimed { run, again }))
    }
}

/// Rows of a newer program may not be readable; they are that program's.
pub(super) fn readable(runs: Vec<std::result::Result<Run, rows::Broken>>) -> Vec<Run> {
    runs.into_iter()
        .filter_map(|run| {
            run.inspect_err(|error| tracing::warn!(%error, "a row of the ledger cannot be read"))
                .ok()
        })
        .collect()
}
