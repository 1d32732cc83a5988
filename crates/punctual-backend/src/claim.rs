//! What is due, and taking it.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use punctual_core::id::{ExecutorName, JobId};
use punctual_core::plan::{self, Claimer};
use punctual_core::store::{ClaimFilter, ClaimRequest, Claimed, ClaimedJob, StoreResult};

use crate::backend::{Awaited, Backend, BackendResult, Due, Fate, Version};
use crate::draft::{Draft, Lying};
use crate::shared::Shared;

/// The most jobs that are read at a time.
const CHUNK_MAX: usize = 512;

/// The due jobs of one executor, read in order, some at a time.
struct Source<'a> {
    executor: &'a ExecutorName,
    read: VecDeque<(Timestamp, JobId)>,
    after: Option<(Timestamp, JobId)>,
    is_exhausted: bool,
}

/// The due jobs of all executors, earliest first, ties by id.
struct Candidates<'a, B: Backend> {
    shared: &'a Shared<B>,
    request: &'a ClaimRequest,
    limit: usize,
    except: Vec<JobId>,
    sources: Vec<Source<'a>>,
    /// The first of each source, and those that were decided about and are due again. The number is the source; the flag
    /// says that it has to send its next.
    first: BTreeMap<(Timestamp, JobId), (usize, bool)>,
    /// The source whose first was taken. Its next is read when it is needed: it may be out of slots by then.
    owing: Option<usize>,
    drafts: BTreeMap<JobId, Draft>,
    unreadable: Vec<(JobId, Option<Version>, String)>,
}

impl<'a, B: Backend> Candidates<'a, B> {
    async fn new(
        shared: &'a Shared<B>,
        unit: &mut B::Unit,
        request: &'a ClaimRequest,
        limit: usize,
    ) -> BackendResult<Self> {
        let free = request.filter.slots.iter().filter(|(_, slots)| **slots > 0);
        let sources = free.map(|(executor, _)| Source {
            executor,
            read: VecDeque::new(),
            after: None,
            is_exhausted: false,
        });
        let mut candidates = Self {
            shared,
            request,
            limit,
            except: shared.parked.ids(shared.clock.monotonic()),
            sources: sources.collect(),
            first: BTreeMap::new(),
            owing: None,
            drafts: BTreeMap::new(),
            unreadable: Vec::new(),
        };
        for index in 0..candidates.sources.len() {
            candidates.advance(unit, index).await?;
        }
        Ok(candidates)
    }

    /// Moves the next job of a source to the first ones.
    async fn advance(&mut self, unit: &mut B::Unit, index: usize) -> BackendResult<()> {
        let source = &mut self.sources[index];
        while source.read.is_empty() && !source.is_exhausted {
            let slots = self.request.filter.slots[source.executor];
            // One more than can be taken tells whether more is due.
            let chunk = self.limit.saturating_add(1).min(slots).min(CHUNK_MAX);
            let due = Due {
                tasks: &self.request.filter.tasks,
                executor: source.executor,
                except: &self.except,
                after: source.after.as_ref().map(|(time, id)| (*time, id)),
                limit: chunk,
            };
            let found = self.shared.backend.due(unit, due).await?;
            source.is_exhausted = found.len() < chunk;
            for snapshot in found {
                let draft = self.shared.draft(snapshot);
                let place = (draft.wake_at().unwrap_or(Timestamp::MAX), draft.id.clone());
                source.after = Some(place.clone());
                match draft.obstacle() {
                    Some(error) => {
                        let version = draft.expected();
                        self.unreadable.push((draft.id, version, error));
                    }
                    // Somebody moved it behind where the last look ended. What was decided about it in this unit is not
                    // lost from sight, for it turns out stale; the job is due still, and found by the next claim.
                    None if self.drafts.contains_key(&draft.id) => {}
                    None => {
                        self.drafts.insert(draft.id.clone(), draft);
                        source.read.push_back(place);
                    }
                }
            }
        }
        if let Some(place) = source.read.pop_front() {
            self.first.insert(place, (index, true));
        }
        Ok(())
    }

    /// The next job of a source that has slots left, and the source.
    async fn pop(
        &mut self,
        unit: &mut B::Unit,
        free: &BTreeMap<ExecutorName, usize>,
    ) -> BackendResult<Option<(usize, JobId)>> {
        let owing = self.owing.take();
        if let Some(index) = owing.filter(|&index| free[self.sources[index].executor] > 0) {
            self.advance(unit, index).await?;
        }
        while let Some(((_, id), (index, has_more))) = self.first.pop_first() {
            // Slots only become fewer, so the source is done with.
            if free[self.sources[index].executor] == 0 {
                continue;
            }
            self.owing = has_more.then_some(index);
            return Ok(Some((index, id)));
        }
        Ok(None)
    }
}

/// What one claim wrote, if it did.
struct Attempt {
    claimed: Claimed,
    /// Nothing was written, because one of so many jobs contradicts the ledger.
    contradicted: usize,
}

impl<B: Backend> Shared<B> {
    /// Decides about what is due and takes runs for the node.
    pub(crate) async fn claim(&self, request: &ClaimRequest) -> StoreResult<Claimed> {
        let mut limit = request.limit;
        loop {
            let attempt = self.settle(|| self.claim_once(request, limit)).await?;
            if attempt.contradicted <= 1 {
                return Ok(attempt.claimed);
            }
            // By halves, the job that contradicts the ledger is found, and the others are not held up by it.
            limit = attempt.contradicted / 2;
        }
    }

    async fn claim_once(&self, request: &ClaimRequest, limit: usize) -> BackendResult<Attempt> {
        let (mut unit, now) = self.backend.begin().await?;
        let mut claimed = Claimed {
            jobs: Vec::new(),
            now,
            more: false,
        };
        if request.filter.is_empty() || self.backend.is_paused(&mut unit).await? {
            return Ok(Attempt {
                claimed,
                contradicted: 0,
            });
        }
        let mut free = request.filter.slots.clone();
        let mut candidates = Candidates::new(self, &mut unit, request, limit).await?;
        let mut told: Vec<(JobId, ClaimedJob)> = Vec::new();
        while let Some((index, id)) = candidates.pop(&mut unit, &free).await? {
            if told.len() == limit {
                claimed.more = true;
                break;
            }
            let slots = free
                .get_mut(candidates.sources[index].executor)
                .expect("every source has slots");
            let draft = candidates
                .drafts
                .get_mut(&id)
                .expect("a candidate has a draft");
            let job = self.decide(draft, request, *slots, now);
            *slots -= job.started.len();
            told.push((id.clone(), job));
            // It may be due still.
            if let Some(wake_at) = draft.wake_at().filter(|wake_at| *wake_at <= now) {
                candidates.first.insert((wake_at, id), (index, false));
            }
        }
        let Candidates {
            drafts, unreadable, ..
        } = candidates;
        let mut fates: BTreeMap<JobId, Fate> = BTreeMap::new();
        let ids: Vec<JobId> = drafts.keys().cloned().collect();
        let written = self
            .commit(unit, now, drafts.into_values().collect())
            .await?;
        fates.extend(ids.into_iter().zip(written));
        let contradicted = told
            .iter()
            .any(|(id, _)| fates[id] == Fate::Contradiction)
            .then_some(told.len());
        if contradicted == Some(1) {
            let id = &told[0].0;
            tracing::error!(job = %id, "a decision contradicts the ledger; the job is left alone for now");
            self.parked.park(id.clone(), self.clock.monotonic());
        }
        // Of those that are stale, somebody else was faster.
        claimed.jobs = told
            .into_iter()
            .filter(|(id, _)| fates[id] == Fate::Written)
            .map(|(_, job)| job)
            .collect();
        for (id, version, error) in unreadable {
            self.park(id, version, &error).await;
        }
        let contradicted = contradicted
            .filter(|_| claimed.jobs.is_empty())
            .unwrap_or(0);
        Ok(Attempt {
            claimed,
            contradicted,
        })
    }

    fn decide(
        &self,
        draft: &mut Draft,
        request: &ClaimRequest,
        slots: usize,
        now: Timestamp,
    ) -> ClaimedJob {
        let claimer = Claimer {
            node: request.node,
            lease: request.lease,
            slots,
        };
        let view = draft.view().expect("only readable jobs are candidates");
        let plan = plan::claim(view, claimer, self.moment(now));
        let Lying::Job { definition, .. } = &draft.body else {
            unreachable!("only readable jobs are candidates")
        };
        let definition = std::sync::Arc::clone(definition);
        let started = plan.started().cloned().collect();
        let skipped = plan.skipped().cloned().collect();
        let cancelled = plan
            .update
            .iter()
            .filter(|run| run.cancel_requested)
            .map(|run| run.id)
            .collect();
        ClaimedJob {
            definition,
            started,
            skipped,
            cancelled,
            removed: draft.apply(plan),
        }
    }

    /// When the first job that the filter names has something to claim.
    pub(crate) async fn next_due(&self, filter: &ClaimFilter) -> StoreResult<Option<Timestamp>> {
        if filter.tasks.is_empty() || filter.slots.is_empty() {
            return Ok(None);
        }
        let executors: Vec<_> = filter.slots.keys().collect();
        let except = self.parked.ids(self.clock.monotonic());
        self.settle(|| {
            self.backend.next_wake(Awaited {
                tasks: &filter.tasks,
                executors: &executors,
                except: &except,
            })
        })
        .await
    }
}
