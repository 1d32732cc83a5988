//! The job store inside the process: fast, and gone with it.

mod heap;
mod inner;
mod ledger;
mod packed;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_listener::Event;
use jiff::Timestamp;
use serde_json::Value;

use self::inner::{Inner, Slots};
use self::ledger::Ledger;
use crate::clock::{Clock, later};
use crate::id::{Fence, JobId, NodeId, RunId, RunIds};
use crate::job::StoredJob;
use crate::plan::{self, AddRefusal, Addition, Finish, JobChange, Moment};
use crate::run::{Run, RunState};
use crate::store::{
    Abilities, Added, BoxFuture, ClaimFilter, ClaimRequest, Claimed, Enqueued, Expect,
    FinishOutcome, JobQuery, JobStore, LogEntry, MovedJob, Page, ReclaimScope, Reclaimed, Record,
    Records, Renewed, Retention, RunQuery, StoreError, StoreResult, Updated,
};

/// How many rows of the ledger that are over a [`MemoryStore`] keeps, over all jobs, unless told otherwise.
pub const LEDGER_ROWS: usize = 100_000;

/// The default store: jobs in an indexed heap, the ledger in a ring. Nothing outlives the process.
///
/// Adding, changing and removing a job take logarithmic time; listing takes the time to look at all.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    ids: RunIds,
    changed: Event,
    inner: Mutex<Inner>,
}

impl MemoryStore {
    /// An empty store that reads `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_ledger_rows(clock, LEDGER_ROWS)
    }

    /// An empty store that keeps `rows` rows of the ledger that are over.
    pub fn with_ledger_rows(clock: Arc<dyn Clock>, rows: usize) -> Self {
        let inner = Inner {
            slots: Slots::default(),
            classes: Vec::new(),
            class_index: HashMap::new(),
            ledger: Ledger::new(rows),
            fence_floor: Fence::default(),
            paused: false,
            records: BTreeMap::new(),
            logs: HashMap::new(),
        };
        Self {
            clock,
            ids: RunIds::default(),
            changed: Event::new(),
            inner: Mutex::new(inner),
        }
    }

    /// Runs `f` on what is stored, at one moment, and wakes the scheduler if something is due earlier.
    fn with<T>(&self, f: impl FnOnce(&mut Inner, Moment<'_>, &mut bool) -> T) -> T {
        let mut earlier = false;
        let result = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            f(
                &mut inner,
                Moment {
                    now: self.clock.now(),
                    ids: &self.ids,
                },
                &mut earlier,
            )
        };
        if earlier {
            self.changed.notify(usize::MAX);
        }
        result
    }

    fn ready<'a, T: Send + 'a>(
        &'a self,
        f: impl FnOnce(&mut Inner, Moment<'_>, &mut bool) -> T + Send + 'a,
    ) -> BoxFuture<'a, StoreResult<T>> {
        Box::pin(async move { Ok(self.with(f)) })
    }
}

impl JobStore for MemoryStore {
    fn abilities(&self) -> Abilities {
        // Everything that can change it is in this process, so every change is announced.
        Abilities::new(false, false, true)
    }

    fn now(&self) -> BoxFuture<'_, StoreResult<Timestamp>> {
        self.ready(|_, moment, _| moment.now)
    }

    fn register(&self, _: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        self.ready(|_, _, _| ())
    }

    fn deregister(&self, _: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        self.ready(|_, _, _| ())
    }

    fn add_many(
        &self,
        additions: Vec<Addition>,
    ) -> BoxFuture<'_, StoreResult<Vec<Result<Added, AddRefusal>>>> {
        self.ready(|inner, moment, earlier| {
            additions
                .into_iter()
                .map(|addition| inner.add(addition, moment, earlier))
                .collect()
        })
    }

    fn get<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
        self.ready(|inner, _, _| {
            let slot = inner.slots.find(id)?;
            Some(StoredJob::Job(inner.slots.get(slot).job()))
        })
    }

    fn list<'a>(&'a self, query: &'a JobQuery) -> BoxFuture<'a, StoreResult<Page<StoredJob>>> {
        Box::pin(async { self.with(|inner, _, _| inner.list(query)) })
    }

    fn update<'a>(
        &'a self,
        id: &'a JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> BoxFuture<'a, StoreResult<Updated>> {
        self.ready(move |inner, moment, earlier| {
            inner.update(id, expected_revision, change, moment, earlier)
        })
    }

    fn remove<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
        self.ready(|inner, moment, _| inner.remove(id, moment).map(StoredJob::Job))
    }

    fn remove_all(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.ready(|inner, moment, _| {
            let ids: Vec<JobId> = inner.slots.ids().cloned().collect();
            ids.iter()
                .filter(|id| inner.remove(id, moment).is_some())
                .count() as u64
        })
    }

    fn next_due<'a>(
        &'a self,
        filter: &'a ClaimFilter,
    ) -> BoxFuture<'a, StoreResult<Option<Timestamp>>> {
        Box::pin(async {
            let first = self.with(|inner, _, _| {
                let paused = inner.paused;
                inner
                    .classes_for(filter)
                    .filter(|_| !paused)
                    .filter_map(|class| class.heap.first())
                    .min()
            });
            first
                .map(|(time, _)| Timestamp::from_microsecond(time).map_err(StoreError::failed))
                .transpose()
        })
    }

    fn claim(&self, request: ClaimRequest) -> BoxFuture<'_, StoreResult<Claimed>> {
        self.ready(move |inner, moment, _| inner.claim(&request, moment))
    }

    fn enqueue<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Enqueued>> {
        self.ready(|inner, moment, earlier| {
            let Some(slot) = inner.slots.find(id) else {
                return Enqueued::Missing;
            };
            let plan = inner
                .slots
                .get(slot)
                .view(|view| plan::enqueue(view, moment));
            let run = plan
                .insert
                .last()
                .expect("an enqueue inserts its run last")
                .clone();
            let job = inner.slots.get(slot).job();
            inner.apply(slot, plan, earlier);
            Enqueued::Run(job, run)
        })
    }

    fn renew<'a>(
        &'a self,
        lease: Duration,
        runs: &'a [(RunId, Fence)],
    ) -> BoxFuture<'a, StoreResult<Vec<Renewed>>> {
        self.ready(move |inner, moment, _| {
            let until = later(moment.now, lease);
            runs.iter()
                .map(|&(id, fence)| inner.renew(id, fence, until))
                .collect()
        })
    }

    fn finish(&self, finishes: Vec<Finish>) -> BoxFuture<'_, StoreResult<Vec<FinishOutcome>>> {
        self.ready(move |inner, moment, earlier| {
            finishes
                .iter()
                .map(|finish| inner.finish(finish, moment, earlier))
                .collect()
        })
    }

    fn request_cancel(&self, id: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
        self.ready(move |inner, moment, earlier| {
            let Some((slot, run)) = inner.find_live(id) else {
                return inner.ledger.closed(id).cloned();
            };
            let plan = inner.view_of(slot, |view| plan::request_cancel(view, run, moment))?;
            let run = plan.update.iter().find(|run| run.id == id).cloned();
            inner.write(slot, plan, earlier);
            run
        })
    }

    fn reclaim_expired(
        &self,
        node: NodeId,
        scope: ReclaimScope,
    ) -> BoxFuture<'_, StoreResult<Vec<Reclaimed>>> {
        self.ready(move |inner, moment, earlier| match scope {
            // An owner in this process cannot die alone.
            ReclaimScope::ProvenDead => Vec::new(),
            ReclaimScope::Expired => inner.reclaim(node, moment, earlier),
        })
    }

    fn owned_by(&self, node: NodeId) -> BoxFuture<'_, StoreResult<Vec<Run>>> {
        self.ready(move |inner, _, _| {
            let owned = |run: &&Run| run.state() == RunState::Running && run.node == Some(node);
            inner.live().filter(owned).cloned().collect()
        })
    }

    fn run(&self, id: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
        self.ready(move |inner, _, _| {
            inner
                .find_live(id)
                .map(|(_, run)| run)
                .or_else(|| inner.ledger.closed(id))
                .cloned()
        })
    }

    fn runs<'a>(&'a self, query: &'a RunQuery) -> BoxFuture<'a, StoreResult<Page<Run>>> {
        Box::pin(async { self.with(|inner, _, _| inner.runs(query)) })
    }

    fn counts(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<BTreeMap<RunState, u64>>> {
        self.ready(move |inner, _, _| {
            let mut counts = BTreeMap::new();
            let closed = inner
                .ledger
                .all_closed()
                .filter(|run| run.finished_at.is_some_and(|at| at >= since));
            for run in inner.live().chain(closed) {
                *counts.entry(run.state()).or_default() += 1;
            }
            counts
        })
    }

    fn prune(&self, retention: Retention) -> BoxFuture<'_, StoreResult<u64>> {
        self.ready(move |inner, moment, _| inner.ledger.prune(retention, moment.now))
    }

    fn fence_floor(&self) -> BoxFuture<'_, StoreResult<Fence>> {
        self.ready(|inner, _, _| inner.fence_floor)
    }

    fn raise_fence_floor(&self, fence: Fence) -> BoxFuture<'_, StoreResult<()>> {
        self.ready(move |inner, _, _| inner.fence_floor = inner.fence_floor.max(fence))
    }

    fn import_jobs(&self, jobs: Vec<MovedJob>) -> BoxFuture<'_, StoreResult<Vec<bool>>> {
        self.ready(|inner, _, earlier| {
            jobs.into_iter()
                .map(|moved| inner.import(moved, earlier))
                .collect()
        })
    }

    fn import_rows(&self, rows: Vec<Run>) -> BoxFuture<'_, StoreResult<u64>> {
        self.ready(|inner, _, _| {
            let mut imported = 0;
            for run in rows {
                if inner.ledger.closed(run.id).is_none() {
                    inner.ledger.close(run);
                    imported += 1;
                }
            }
            imported
        })
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.changed.listen())
    }
}

impl Records for MemoryStore {
    fn record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, StoreResult<Option<Record>>> {
        self.ready(move |inner, _, _| {
            let (value, version) = inner.records.get(&(namespace.to_owned(), key.to_owned()))?;
            Some(Record {
                key: key.to_owned(),
                value: value.clone(),
                version: *version,
            })
        })
    }

    fn records<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, StoreResult<Vec<Record>>> {
        self.ready(move |inner, _, _| {
            let all = inner.records.range((namespace.to_owned(), String::new())..);
            all.take_while(|((space, _), _)| space == namespace)
                .map(|((_, key), (value, version))| Record {
                    key: key.clone(),
                    value: value.clone(),
                    version: *version,
                })
                .collect()
        })
    }

    fn put_record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
        value: Option<Value>,
        expect: Expect,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        self.ready(move |inner, _, earlier| inner.put(namespace, key, value, expect, earlier))
    }

    fn append_log<'a>(&'a self, log: &'a str, value: Value) -> BoxFuture<'a, StoreResult<u64>> {
        self.ready(move |inner, moment, _| {
            let entries = inner.logs.entry(log.to_owned()).or_default();
            entries.push((moment.now, value));
            entries.len() as u64
        })
    }

    fn read_log<'a>(
        &'a self,
        log: &'a str,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<LogEntry>>> {
        self.ready(move |inner, _, _| {
            let entries = inner.logs.get(log).into_iter().flatten().zip(1..);
            entries
                .filter(|&(_, position)| position > after)
                .take(limit)
                .map(|((at, value), position)| LogEntry {
                    position,
                    at: *at,
                    value: value.clone(),
                })
                .collect()
        })
    }
}
