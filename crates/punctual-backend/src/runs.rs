//! What becomes of runs that a node has taken.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use punctual_core::id::{JobId, NodeId, RunId};
use punctual_core::plan::{self, Finish, Finished, Plan};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    FinishOutcome, Page, Reclaimed, RunQuery, StoreError, StoreResult, reclaim_reason,
};

use crate::backend::{Backend, BackendError, BackendResult, Fate};
use crate::draft::{Draft, Lying};
use crate::jobs::place_of;
use crate::shared::Shared;

/// The most runs that end in one unit.
const FINISH_BATCH: usize = 500;
/// The most runs that are taken over in one go; the rest waits for the next heartbeat.
const RECLAIM_BATCH: usize = 500;
/// How many rows are asked for at a time, where no limit is given.
const RUNS_CHUNK: usize = 1000;

impl<B: Backend> Shared<B> {
    pub(crate) async fn finish(&self, finishes: &[Finish]) -> StoreResult<Vec<FinishOutcome>> {
        let mut outcomes = Vec::with_capacity(finishes.len());
        for batch in finishes.chunks(FINISH_BATCH) {
            outcomes.extend(
                self.each(batch, |left| self.finish_once(batch, left))
                    .await?,
            );
        }
        Ok(outcomes)
    }

    async fn finish_once(
        &self,
        finishes: &[Finish],
        left: Vec<usize>,
    ) -> BackendResult<Vec<(usize, FinishOutcome)>> {
        let (mut unit, now) = self.backend.begin().await?;
        let runs: Vec<RunId> = left.iter().map(|&index| finishes[index].run).collect();
        let rows: HashMap<RunId, Run> = self
            .backend
            .rows(&mut unit, &runs)
            .await?
            .into_iter()
            .map(|run| (run.id, run))
            .collect();
        let ids = rows.values().map(|run| run.job_id.clone()).collect();
        let mut drafts = self.drafts(&mut unit, ids).await?;
        let mut answers = Vec::with_capacity(left.len());
        let mut superseded = Vec::new();
        for index in left {
            let finish = &finishes[index];
            let Some(row) = rows.get(&finish.run) else {
                answers.push((None, index, FinishOutcome::Missing));
                continue;
            };
            let at = place_of(&drafts, &row.job_id)?;
            let outcome = self.end(&mut drafts[at], row, finish, now)?;
            if outcome == FinishOutcome::Superseded {
                superseded.push(finish.run);
            }
            answers.push((Some(at), index, outcome));
        }
        let fates = self.commit(unit, now, drafts).await?;
        if fates.contains(&Fate::Contradiction) {
            let message = "the ledger has the next attempt of a run already; nothing was changed";
            return Err(StoreError::failed(message).into());
        }
        superseded.sort_unstable();
        // The ends are written, so this must not have them told again.
        if !superseded.is_empty()
            && let Err(error) = self.backend.supersede(&superseded, now).await
        {
            tracing::warn!(
                ?error,
                "late results were refused, and the ledger could not note it"
            );
        }
        Ok(answers
            .into_iter()
            .filter(|(at, ..)| at.is_none_or(|at| fates[at] == Fate::Written))
            .map(|(_, index, outcome)| (index, outcome))
            .collect())
    }

    fn end(
        &self,
        draft: &mut Draft,
        row: &Run,
        finish: &Finish,
        now: Timestamp,
    ) -> BackendResult<FinishOutcome> {
        draft.live()?;
        let run = match draft.live_run(finish.run) {
            Some(run) => run.clone(),
            None if row.state().is_final() => row.clone(),
            None => return Err(BackendError::Again("the run has just ended".to_owned())),
        };
        if let (Lying::Unreadable(_), None) = (&draft.body, finish.ending)
            && run.state() == RunState::Running
            && run.fence == finish.fence
        {
            // Its job is still there, so it waits.
            let mut run = run;
            run.release()
                .map_err(|error| StoreError::failed(format!("run {}: {error}", run.id)))?;
            draft.apply(rows(vec![run]));
            draft.wake_unread(now);
            return Ok(FinishOutcome::Accepted { job_removed: false });
        }
        match plan::finish(draft.view(), &run, &as_kept(finish, &run), self.moment(now)) {
            Finished::Repeated => Ok(FinishOutcome::Accepted { job_removed: false }),
            Finished::Superseded(_) => Ok(FinishOutcome::Superseded),
            Finished::Accepted(plan) => {
                let job_removed = draft.apply(plan);
                draft.wake_unread(now);
                Ok(FinishOutcome::Accepted { job_removed })
            }
        }
    }

    pub(crate) async fn request_cancel(&self, id: RunId) -> StoreResult<Option<Run>> {
        self.settle(|| async {
            let (mut unit, now) = self.backend.begin().await?;
            let Some(run) = self.backend.rows(&mut unit, &[id]).await?.pop() else {
                return Ok(None);
            };
            if run.state().is_final() {
                return Ok(Some(run));
            }
            let mut draft = self.one(&mut unit, &run.job_id).await?;
            draft.live()?;
            let Some(run) = draft.live_run(id) else {
                return Err(BackendError::Again("the run has just ended".to_owned()));
            };
            let Some(plan) = plan::request_cancel(draft.view(), run, self.moment(now)) else {
                return Ok(Some(run.clone()));
            };
            let changed = plan.update.iter().find(|changed| changed.id == id).cloned();
            draft.apply(plan);
            draft.wake_unread(now);
            self.commit_all(unit, now, vec![draft]).await?;
            Ok(changed)
        })
        .await
    }

    /// Takes runs of others whose lease has ended.
    pub(crate) async fn reclaim_expired(&self, node: NodeId) -> StoreResult<Vec<Reclaimed>> {
        let expired = self
            .settle(|| self.backend.expired(node, RECLAIM_BATCH))
            .await?;
        if expired.is_empty() {
            return Ok(Vec::new());
        }
        let is_contradicted = AtomicBool::new(false);
        let taken = self
            .each(&expired, |mut left| {
                if is_contradicted.load(Ordering::Relaxed) {
                    // One by one, the run that contradicts the ledger is found, and the others are not held up by it.
                    left.truncate(1);
                }
                self.reclaim_once(node, &expired, left, &is_contradicted)
            })
            .await?;
        Ok(taken.into_iter().flatten().collect())
    }

    async fn reclaim_once(
        &self,
        node: NodeId,
        expired: &[(RunId, JobId)],
        left: Vec<usize>,
        is_contradicted: &AtomicBool,
    ) -> BackendResult<Vec<(usize, Option<Reclaimed>)>> {
        let (mut unit, now) = self.backend.begin().await?;
        let mut ids: Vec<JobId> = left.iter().map(|&index| expired[index].1.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let snapshots = self.backend.free_jobs(&mut unit, &ids).await?;
        let drafts = snapshots.into_iter().map(|snapshot| self.draft(snapshot));
        let mut drafts: Vec<Draft> = drafts.collect();
        let is_alone = left.len() == 1;
        let mut answers = Vec::with_capacity(left.len());
        for index in left {
            let (run, job) = &expired[index];
            // One that somebody holds is looked at with the next heartbeat: the others are not to wait for it.
            let at = place_of(&drafts, job).ok();
            let lost = at.and_then(|at| self.lose(&mut drafts[at], *run, node, now));
            answers.push((at, index, lost));
        }
        let fates = self.commit(unit, now, drafts).await?;
        Ok(answers
            .into_iter()
            .filter_map(|(at, index, reclaimed)| match at.map(|at| fates[at]) {
                None | Some(Fate::Written) => Some((index, reclaimed)),
                // What changed in between may have been a renewal: look again.
                Some(Fate::Stale) => None,
                Some(Fate::Contradiction) if is_alone => {
                    let (run, job) = &expired[index];
                    tracing::error!(%job, %run, "a lost run's next attempt contradicts the ledger; it is left alone");
                    Some((index, None))
                }
                Some(Fate::Contradiction) => {
                    is_contradicted.store(true, Ordering::Relaxed);
                    None
                }
            })
            .collect())
    }

    fn lose(
        &self,
        draft: &mut Draft,
        run: RunId,
        node: NodeId,
        now: Timestamp,
    ) -> Option<Reclaimed> {
        let run = draft.live_run(run)?;
        let is_expired = run.state() == RunState::Running
            && run.node != Some(node)
            && run.lease_until.is_none_or(|until| until <= now);
        if !is_expired {
            return None;
        }
        let plan = plan::reclaim(draft.view(), run, reclaim_reason(false), self.moment(now))?;
        let again = !plan.insert.is_empty();
        let lost = plan.update.iter().find(|lost| lost.id == run.id).cloned();
        draft.apply(plan);
        draft.wake_unread(now);
        lost.map(|run| Reclaimed { run, again })
    }

    pub(crate) async fn runs(&self, query: &RunQuery) -> StoreResult<Page<Run>> {
        let mut before = query.parse_cursor()?;
        let mut items: Vec<Run> = Vec::new();
        let mut more = false;
        loop {
            let wanted = match query.limit {
                0 => RUNS_CHUNK,
                // One more tells whether there is more.
                limit => (limit - items.len()).saturating_add(1).min(RUNS_CHUNK),
            };
            let found = self
                .settle(|| self.backend.runs(query, before, wanted))
                .await?;
            let is_last = found.len() < wanted;
            before = found.last().map(|run| run.id).or(before);
            items.extend(found.into_iter().filter(|run| query.matches(run)));
            if query.limit > 0 && items.len() > query.limit {
                items.truncate(query.limit);
                more = true;
                break;
            }
            if is_last {
                break;
            }
        }
        let last = items.last().filter(|_| more).map(|run| run.id.to_string());
        Ok(Page {
            items,
            next_cursor: last,
        })
    }
}

/// A report in the words of the ledger, if it is there already and only lacks a NUL that a store could not hold.
fn as_kept<'f>(finish: &'f Finish, run: &Run) -> Cow<'f, Finish> {
    let has_nul = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains('\0'));
    if !run.state().is_final() || !(has_nul(&finish.output) || has_nul(&finish.error)) {
        return Cow::Borrowed(finish);
    }
    let as_in = |kept: &Option<String>, told: &Option<String>| {
        let without = told.as_ref().map(|text| text.replace('\0', "\u{fffd}"));
        if *kept == without {
            without
        } else {
            told.clone()
        }
    };
    Cow::Owned(Finish {
        output: as_in(&run.output, &finish.output),
        error: as_in(&run.error, &finish.error),
        ..finish.clone()
    })
}

/// A plan of changed rows only.
fn rows(update: Vec<Run>) -> Plan {
    Plan {
        state: None,
        insert: Vec::new(),
        update,
    }
}
