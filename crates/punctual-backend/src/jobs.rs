//! Adding, changing, removing and listing jobs.

use std::sync::Arc;

use jiff::Timestamp;
use punctual_core::document;
use punctual_core::id::{Fence, JobId};
use punctual_core::job::{Job, JobDefinition, StoredJob};
use punctual_core::plan::{
    self, AddRefusal, Addition, FirstRun, JobChange, OnConflict, PauseRequest,
};
use punctual_core::run::{Reason, Run, RunState};
use punctual_core::store::{
    Added, Enqueued, JobOrder, JobQuery, MovedJob, Page, StoreError, StoreResult, Updated,
};

use crate::backend::{Backend, BackendError, BackendResult, Fate};
use crate::draft::{Draft, Lying};
use crate::shared::Shared;

/// The most jobs that are written in one unit.
const BATCH: usize = 500;
/// How many jobs are looked at between two looks at the limit.
const LIST_CHUNK: usize = 256;

fn text(definition: &JobDefinition) -> Arc<str> {
    document::write(definition).to_string().into()
}

impl<B: Backend> Shared<B> {
    pub(crate) async fn add_many(
        &self,
        additions: &[Addition],
    ) -> StoreResult<Vec<Result<Added, AddRefusal>>> {
        let mut answers = Vec::with_capacity(additions.len());
        for batch in additions.chunks(BATCH) {
            answers.extend(self.each(batch, |left| self.add_once(batch, left)).await?);
        }
        Ok(answers)
    }

    /// Repeats what concerns several jobs until each has its answer: some may be written and others in the way of somebody.
    pub(crate) async fn each<T, A, F>(
        &self,
        items: &[T],
        once: impl Fn(Vec<usize>) -> F,
    ) -> StoreResult<Vec<A>>
    where
        F: Future<Output = BackendResult<Vec<(usize, A)>>>,
    {
        let mut answers: Vec<Option<A>> = items.iter().map(|_| None).collect();
        let mut left: Vec<usize> = (0..items.len()).collect();
        let mut rounds = 0;
        while !left.is_empty() {
            for (index, answer) in self.settle(|| once(left.clone())).await? {
                answers[index] = Some(answer);
            }
            let before = left.len();
            left.retain(|&index| answers[index].is_none());
            if left.len() == before {
                self.pause(&mut rounds, "the jobs were changed").await?;
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Adds those that are `left`; answers for those whose job was written, or is refused.
    async fn add_once(
        &self,
        additions: &[Addition],
        left: Vec<usize>,
    ) -> BackendResult<Vec<(usize, Result<Added, AddRefusal>)>> {
        let (mut unit, _) = self.backend.begin().await?;
        let ids = left
            .iter()
            .map(|&index| additions[index].definition.id.clone())
            .collect();
        let mut drafts = self.drafts(&mut unit, ids).await?;
        let now = self.backend.time(&mut unit).await?;
        let is_known = |draft: &Draft| matches!(draft.body, Lying::Job { .. });
        let floor = if drafts.iter().all(is_known) {
            Fence::default()
        } else {
            self.backend.fence_floor(&mut unit).await?
        };
        let mut answers = Vec::with_capacity(left.len());
        for index in left {
            let addition = additions[index].clone();
            let id = addition.definition.id.clone();
            let at = place_of(&drafts, &id)?;
            answers.push((at, index, self.add(&mut drafts[at], addition, floor, now)?));
        }
        let fates = self.commit(unit, now, drafts).await?;
        if fates.contains(&Fate::Contradiction) {
            let message = "the ledger has a row of the job's first runs already; nothing was added";
            return Err(StoreError::failed(message).into());
        }
        Ok(answers
            .into_iter()
            .filter(|(at, ..)| fates[*at] == Fate::Written)
            .map(|(_, index, answer)| (index, answer))
            .collect())
    }

    fn add(
        &self,
        draft: &mut Draft,
        mut addition: Addition,
        floor: Fence,
        now: Timestamp,
    ) -> BackendResult<Result<Added, AddRefusal>> {
        let moment = self.moment(now);
        let (replaced, mut job, mut plan) = match &draft.body {
            Lying::Unreadable(_) if addition.on_conflict == OnConflict::Error => {
                return Ok(Err(AddRefusal::Exists));
            }
            Lying::Job { .. } => {
                draft.live()?;
                match plan::add(draft.view(), addition, &[], Fence::default(), moment) {
                    Ok((job, plan)) => (true, job, plan),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            Lying::Nothing { fence } => {
                let floor = floor.max(*fence);
                match plan::add(None, addition, draft.live()?, floor, moment) {
                    Ok((job, plan)) => (false, job, plan),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            Lying::Unreadable(old) => {
                // It makes way for a readable one, which keeps what must outlive it: pause, fence, revision.
                if let (Some(paused), FirstRun::ByTrigger) = (&old.paused, &addition.first_run) {
                    addition.first_run = FirstRun::Paused(PauseRequest {
                        by: paused.by.clone(),
                        note: paused.note.clone(),
                        until: paused.until,
                    });
                }
                let floor = floor.max(old.fence);
                match plan::add(None, addition, draft.live()?, floor, moment) {
                    Ok((mut job, plan)) => {
                        job.state.revision = old.revision + 1;
                        if let (Some(now), Some(before)) = (&mut job.state.paused, &old.paused) {
                            now.at = before.at;
                        }
                        (true, job, plan)
                    }
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
        };
        plan.state = Some(job.state.clone());
        let document = text(&job.definition);
        draft.put(&job, document, plan);
        draft.note_moved();
        if let Some(known) = draft.job() {
            job = known;
        }
        Ok(Ok(Added { job, replaced }))
    }

    pub(crate) async fn update(
        &self,
        id: &JobId,
        expected_revision: Option<u64>,
        change: &JobChange,
    ) -> StoreResult<Updated> {
        self.settle(|| self.update_once(id, expected_revision, change.clone()))
            .await
    }

    async fn update_once(
        &self,
        id: &JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> BackendResult<Updated> {
        let (mut unit, _) = self.backend.begin().await?;
        let mut draft = self.one(&mut unit, id).await?;
        // Had the unit waited for the job, its own beginning could lie before what was decided meanwhile.
        let now = self.backend.time(&mut unit).await?;
        let (view, before) = match (&draft.body, draft.view()) {
            (Lying::Nothing { .. }, _) => return Ok(Updated::Missing),
            (Lying::Job { definition, .. }, Some(view)) => (view, Arc::clone(definition)),
            _ => return Ok(Updated::Unreadable(draft.obstacle().unwrap_or_default())),
        };
        if expected_revision.is_some_and(|expected| expected != view.state.revision) {
            return Ok(Updated::Conflict(view.state.revision));
        }
        let state_before = view.state.clone();
        let (definition, plan) = plan::update(view, change, self.moment(now));
        let updated = match &plan.state {
            None => {
                draft.apply(plan);
                Updated::Removed(Job {
                    definition,
                    state: state_before,
                })
            }
            Some(state) => {
                let job = Job {
                    definition,
                    state: state.clone(),
                };
                if *job.definition == *before {
                    draft.apply(plan);
                } else {
                    let document = text(&job.definition);
                    draft.put(&job, document, plan);
                    draft.note_moved();
                }
                Updated::Job(job)
            }
        };
        self.commit_all(unit, now, vec![draft]).await?;
        Ok(updated)
    }

    pub(crate) async fn remove(&self, id: &JobId) -> StoreResult<Option<StoredJob>> {
        self.settle(|| async {
            let (mut unit, _) = self.backend.begin().await?;
            let mut draft = self.one(&mut unit, id).await?;
            let now = self.backend.time(&mut unit).await?;
            let removed = self.withdraw(&mut draft, now)?;
            if removed.is_some() {
                self.commit_all(unit, now, vec![draft]).await?;
            }
            Ok(removed)
        })
        .await
    }

    /// Takes a job away, readable or not; what waits is withdrawn.
    fn withdraw(&self, draft: &mut Draft, now: Timestamp) -> BackendResult<Option<StoredJob>> {
        if let Some(view) = draft.view() {
            let plan = plan::remove(view, self.moment(now));
            let job = draft.job().map(StoredJob::Job);
            draft.apply(plan);
            return Ok(job);
        }
        let (shown, fence) = match &draft.body {
            Lying::Nothing { .. } => return Ok(None),
            Lying::Job { state, .. } => (draft.job().map(StoredJob::Job), state.fence),
            Lying::Unreadable(unreadable) => (Some(unreadable.shown(&draft.id)), unreadable.fence),
        };
        // A run that cannot be read is left to whoever can read it; its job goes all the same.
        draft.forget_broken_runs();
        let withdrawn: Vec<Run> = draft
            .live()?
            .iter()
            .filter_map(|run| withdrawn(run, now))
            .collect();
        draft.clear(fence);
        draft.apply(plan::Plan {
            state: None,
            insert: Vec::new(),
            update: withdrawn,
        });
        Ok(shown)
    }

    pub(crate) async fn remove_all(&self) -> StoreResult<u64> {
        let query = JobQuery {
            order: JobOrder::Id,
            ..JobQuery::default()
        };
        let mut removed = 0;
        let mut after: Option<(i64, JobId)> = None;
        loop {
            let listed = self
                .settle(|| self.backend.list(&query, after.as_ref(), BATCH))
                .await?;
            let Some(last) = listed.last() else {
                return Ok(removed);
            };
            after = Some((last.at, last.id.clone()));
            let ids: Vec<JobId> = listed.into_iter().map(|job| job.id).collect();
            let gone = self.each(&ids, |left| self.remove_once(&ids, left)).await?;
            removed += gone.into_iter().map(u64::from).sum::<u64>();
        }
    }

    async fn remove_once(
        &self,
        ids: &[JobId],
        left: Vec<usize>,
    ) -> BackendResult<Vec<(usize, bool)>> {
        let (mut unit, _) = self.backend.begin().await?;
        let wanted = left.iter().map(|&index| ids[index].clone()).collect();
        let mut drafts = self.drafts(&mut unit, wanted).await?;
        let now = self.backend.time(&mut unit).await?;
        let mut answers = Vec::with_capacity(left.len());
        for index in left {
            let at = place_of(&drafts, &ids[index])?;
            let removed = self.withdraw(&mut drafts[at], now)?.is_some();
            answers.push((at, index, removed));
        }
        let fates = self.commit(unit, now, drafts).await?;
        Ok(answers
            .into_iter()
            .filter(|(at, ..)| fates[*at] == Fate::Written)
            .map(|(_, index, removed)| (index, removed))
            .collect())
    }

    pub(crate) async fn enqueue(&self, id: &JobId) -> StoreResult<Enqueued> {
        self.settle(|| async {
            let (mut unit, _) = self.backend.begin().await?;
            let mut draft = self.one(&mut unit, id).await?;
            let now = self.backend.time(&mut unit).await?;
            let Some(view) = draft.view() else {
                return Ok(match (&draft.body, draft.obstacle()) {
                    (Lying::Nothing { .. }, _) => Enqueued::Missing,
                    (_, why) => Enqueued::Unreadable(why.unwrap_or_default()),
                });
            };
            let plan = plan::enqueue(view, self.moment(now));
            let job = draft.job().expect("it has a view");
            let run = plan
                .insert
                .last()
                .expect("an enqueue inserts its run last")
                .clone();
            draft.apply(plan);
            self.commit_all(unit, now, vec![draft]).await?;
            Ok(Enqueued::Run(job, run))
        })
        .await
    }

    pub(crate) async fn get(&self, id: &JobId) -> StoreResult<Option<StoredJob>> {
        let listed = self.settle(|| self.backend.job(id)).await?;
        Ok(listed.and_then(|listed| self.stored(listed)))
    }

    pub(crate) async fn list(&self, query: &JobQuery) -> StoreResult<Page<StoredJob>> {
        let cursor = query.cursor.as_deref().map(JobOrder::parse_cursor);
        let mut after = cursor.transpose()?;
        let mut items = Vec::new();
        let mut places = Vec::new();
        let is_full = |found: usize| query.limit > 0 && found > query.limit;
        loop {
            let listed = self
                .settle(|| self.backend.list(query, after.as_ref(), LIST_CHUNK))
                .await?;
            let is_last = listed.len() < LIST_CHUNK;
            for job in listed {
                let place = (job.at, job.id.clone());
                after = Some(place.clone());
                let Some(job) = self.stored(job).filter(|job| query.matches(job)) else {
                    continue;
                };
                items.push(job);
                places.push(place);
                if is_full(items.len()) {
                    break;
                }
            }
            if is_last || is_full(items.len()) {
                break;
            }
        }
        let more = is_full(items.len());
        if more {
            items.truncate(query.limit);
        }
        Ok(Page {
            next_cursor: more.then(|| JobOrder::cursor(&places[query.limit - 1])),
            items,
        })
    }

    pub(crate) async fn import_jobs(&self, jobs: &[MovedJob]) -> StoreResult<Vec<bool>> {
        let mut answers = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(BATCH) {
            answers.extend(
                self.each(batch, |left| self.import_once(batch, left))
                    .await?,
            );
        }
        Ok(answers)
    }

    async fn import_once(
        &self,
        jobs: &[MovedJob],
        left: Vec<usize>,
    ) -> BackendResult<Vec<(usize, bool)>> {
        let (mut unit, now) = self.backend.begin().await?;
        let ids = left
            .iter()
            .map(|&index| jobs[index].job.id().clone())
            .collect();
        let mut drafts = self.drafts(&mut unit, ids).await?;
        let mut answers = Vec::with_capacity(left.len());
        for index in left {
            let MovedJob { job, live } = &jobs[index];
            let at = place_of(&drafts, job.id())?;
            let is_free =
                drafts[at].expected().is_none() && matches!(drafts[at].body, Lying::Nothing { .. });
            if is_free {
                drafts[at].live()?;
                let plan = plan::Plan {
                    state: None,
                    insert: live.clone(),
                    update: Vec::new(),
                };
                drafts[at].put(job, text(&job.definition), plan);
            }
            answers.push((at, index, is_free));
        }
        let fates = self.commit(unit, now, drafts).await?;
        if fates.contains(&Fate::Contradiction) {
            let message = "the ledger has a live run of an imported job already";
            return Err(StoreError::failed(message).into());
        }
        Ok(answers
            .into_iter()
            .filter(|(at, ..)| fates[*at] == Fate::Written)
            .map(|(_, index, is_new)| (index, is_new))
            .collect())
    }
}

/// Where the draft of an id is; they ascend.
pub(crate) fn place_of(drafts: &[Draft], id: &JobId) -> BackendResult<usize> {
    drafts
        .binary_search_by(|draft| draft.id.cmp(id))
        .map_err(|_| {
            BackendError::Store(StoreError::failed(format!(
                "the database gave no answer for job {:?}",
                id.as_str()
            )))
        })
}

/// A run that waits, after its job went; `None` for one that runs, which goes on.
fn withdrawn(run: &Run, now: Timestamp) -> Option<Run> {
    let mut run = run.clone();
    (run.state() == RunState::Pending)
        .then(|| run.withdraw(Reason::Removed, now).ok().map(|()| run))
        .flatten()
}
