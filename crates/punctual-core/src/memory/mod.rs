//! The job store inside the process: fast, and gone with it.

mod heap;
mod ledger;
mod packed;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_listener::Event;
use hashbrown::HashTable;
use jiff::Timestamp;
use serde_json::Value;

use self::heap::{Heap, NOWHERE, Ties};
use self::ledger::Ledger;
use self::packed::PackedState;
use crate::clock::{Clock, later};
use crate::decide::JobView;
use crate::id::{ExecutorName, Fence, JobId, NodeId, RunId, RunIds, TaskName};
use crate::job::{Job, JobDefinition, StoredJob};
use crate::plan::{self, AddRefusal, Addition, Claimer, Finish, Finished, JobChange, Moment, Plan};
use crate::run::{Reason, Run, RunState};
use crate::store::{
    Abilities, Added, BoxFuture, ClaimFilter, ClaimRequest, Claimed, ClaimedJob, Enqueued, Expect,
    FinishOutcome, JobOrder, JobQuery, JobStore, LogEntry, PAUSED_KEY, Page, ReclaimScope,
    Reclaimed, Record, Records, Renewed, Retention, RunQuery, SCHEDULER_NAMESPACE, StoreError,
    StoreResult, Updated,
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

#[derive(Debug)]
struct Entry {
    definition: Arc<JobDefinition>,
    state: PackedState,
    live: Vec<Run>,
    class: u32,
}

impl Entry {
    fn view<T>(&self, look: impl FnOnce(JobView<'_>) -> T) -> T {
        look(JobView {
            definition: &self.definition,
            state: &self.state.unpack(),
            live: &self.live,
        })
    }

    fn job(&self) -> Job {
        Job {
            definition: Arc::clone(&self.definition),
            state: self.state.unpack(),
        }
    }
}

/// Jobs of one task and executor: a claim looks only at classes it can take.
#[derive(Debug)]
struct Class {
    task: TaskName,
    executor: ExecutorName,
    heap: Heap,
}

#[derive(Debug, Default)]
struct Slots {
    entries: Vec<Option<Box<Entry>>>,
    positions: Vec<u32>,
    free: Vec<u32>,
    /// Slots by id. The ids themselves lie in the entries: a map of ids would take five times the memory.
    by_id: HashTable<u32>,
    hasher: RandomState,
}

/// The entries alone, while the positions are borrowed.
struct Entries<'a>(&'a [Option<Box<Entry>>]);

impl Ties for Entries<'_> {
    fn compare(&self, a: u32, b: u32) -> Ordering {
        let id = |slot: u32| {
            self.0[slot as usize]
                .as_ref()
                .map(|entry| &entry.definition.id)
        };
        id(a).cmp(&id(b))
    }
}

impl Slots {
    fn get(&self, slot: u32) -> &Entry {
        self.entries[slot as usize]
            .as_ref()
            .expect("a slot in use has an entry")
    }

    fn get_mut(&mut self, slot: u32) -> &mut Entry {
        self.entries[slot as usize]
            .as_mut()
            .expect("a slot in use has an entry")
    }

    fn find(&self, id: &JobId) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.by_id
            .find(hash, |&slot| self.get(slot).definition.id == *id)
            .copied()
    }

    fn ids(&self) -> impl Iterator<Item = &JobId> {
        self.entries
            .iter()
            .flatten()
            .map(|entry| &entry.definition.id)
    }

    fn insert(&mut self, entry: Entry) -> u32 {
        let hash = self.hasher.hash_one(&entry.definition.id);
        let slot = self.place(entry);
        let Self {
            entries,
            by_id,
            hasher,
            ..
        } = self;
        by_id.insert_unique(hash, slot, |&slot| {
            let entry = entries[slot as usize].as_ref();
            hasher.hash_one(&entry.expect("a slot in use has an entry").definition.id)
        });
        slot
    }

    fn take(&mut self, slot: u32) -> Entry {
        let hash = self.hasher.hash_one(&self.get(slot).definition.id);
        if let Ok(found) = self.by_id.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
        *self.entries[slot as usize]
            .take()
            .expect("a slot in use has an entry")
    }

    fn place(&mut self, entry: Entry) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = Some(Box::new(entry));
            return slot;
        }
        self.entries.push(Some(Box::new(entry)));
        self.positions.push(NOWHERE);
        (self.entries.len() - 1) as u32
    }
}

#[derive(Debug)]
struct Inner {
    slots: Slots,
    classes: Vec<Class>,
    class_index: HashMap<TaskName, Vec<u32>>,
    ledger: Ledger,
    fence_floor: Fence,
    paused: bool,
    records: BTreeMap<(String, String), (Value, u64)>,
    logs: HashMap<String, Vec<(Timestamp, Value)>>,
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

impl Inner {
    fn class_of(&mut self, definition: &JobDefinition) -> u32 {
        let candidates = self.class_index.get(definition.task.as_str());
        let found = candidates
            .into_iter()
            .flatten()
            .find(|&&class| self.classes[class as usize].executor == definition.executor);
        if let Some(&class) = found {
            return class;
        }
        let class = self.classes.len() as u32;
        let (task, executor) = (definition.task.clone(), definition.executor.clone());
        self.class_index
            .entry(task.clone())
            .or_default()
            .push(class);
        self.classes.push(Class {
            task,
            executor,
            heap: Heap::default(),
        });
        class
    }

    fn reheap(&mut self, slot: u32, wake_at: Option<Timestamp>) {
        let class = self.slots.get(slot).class;
        let Slots {
            entries, positions, ..
        } = &mut self.slots;
        let time = wake_at.map(Timestamp::as_microsecond);
        self.classes[class as usize]
            .heap
            .set(slot, time, positions, &Entries(entries));
    }

    /// Writes a plan; returns whether the job is gone.
    fn apply(&mut self, slot: u32, plan: Plan, earlier: &mut bool) -> bool {
        let Plan {
            state,
            insert,
            update,
        } = plan;
        self.apply_rows(slot, update, insert);
        let Some(state) = state else {
            self.drop_job(slot);
            return true;
        };
        let entry = self.slots.get_mut(slot);
        let after = state.wake_at;
        let before = std::mem::replace(&mut entry.state, PackedState::pack(state)).wake_at();
        *earlier |= after.is_some_and(|after| before.is_none_or(|before| after < before));
        if before != after {
            self.reheap(slot, after);
        }
        false
    }

    fn apply_rows(&mut self, slot: u32, update: Vec<Run>, insert: Vec<Run>) {
        let Inner { slots, ledger, .. } = self;
        let entry = slots.get_mut(slot);
        for run in update {
            let at = entry.live.iter().position(|live| live.id == run.id);
            match (at, run.state().is_final()) {
                (Some(at), false) => entry.live[at] = run,
                (Some(at), true) => {
                    entry.live.remove(at);
                    if entry.live.is_empty() {
                        entry.live = Vec::new(); // a million idle jobs hold no room for runs
                    }
                    ledger.close(run);
                }
                (None, _) => ledger.amend(run),
            }
        }
        for run in insert {
            if run.state().is_final() {
                ledger.close(run);
            } else {
                ledger.open(run.id, slot);
                entry.live.reserve_exact(1);
                entry.live.push(run);
            }
        }
    }

    fn drop_job(&mut self, slot: u32) -> Entry {
        self.reheap(slot, None);
        let entry = self.slots.take(slot);
        self.fence_floor = self.fence_floor.max(entry.state.fence());
        // What still runs goes on without its job.
        self.ledger.orphan(entry.live.clone());
        entry
    }

    fn remove(&mut self, id: &JobId, moment: Moment<'_>) -> Option<Job> {
        let slot = self.slots.find(id)?;
        let plan = self.slots.get(slot).view(|view| plan::remove(view, moment));
        self.apply_rows(slot, plan.update, plan.insert);
        Some(self.drop_job(slot).job())
    }

    fn add(
        &mut self,
        addition: Addition,
        moment: Moment<'_>,
        earlier: &mut bool,
    ) -> Result<Added, AddRefusal> {
        if let Some(slot) = self.slots.find(&addition.definition.id) {
            let floor = self.fence_floor;
            let entry = self.slots.get(slot);
            let (job, plan) =
                entry.view(|view| plan::add(Some(view), addition, &[], floor, moment))?;
            self.replace_definition(slot, Arc::clone(&job.definition), earlier);
            self.apply(slot, plan, earlier);
            return Ok(Added {
                job,
                replaced: true,
            });
        }
        let id = addition.definition.id.clone();
        let orphans = self.ledger.orphans_of(&id);
        let (job, plan) = plan::add(None, addition, &orphans, self.fence_floor, moment)?;
        let class = self.class_of(&job.definition);
        let definition = Arc::clone(&job.definition);
        let slot = self.slots.insert(Entry {
            definition,
            state: PackedState::pack(job.state.clone()),
            live: Vec::new(),
            class,
        });
        self.ledger.adopt(&orphans, slot);
        self.slots.get_mut(slot).live = orphans;
        self.apply_rows(slot, plan.update, plan.insert);
        self.reheap(slot, job.state.wake_at);
        *earlier |= job.state.wake_at.is_some();
        Ok(Added {
            job,
            replaced: false,
        })
    }

    fn replace_definition(
        &mut self,
        slot: u32,
        definition: Arc<JobDefinition>,
        earlier: &mut bool,
    ) {
        let class = self.class_of(&definition);
        let wake_at = self.slots.get(slot).state.wake_at();
        if class != self.slots.get(slot).class {
            self.reheap(slot, None);
            self.slots.get_mut(slot).class = class;
            self.reheap(slot, wake_at);
            // Whoever could not take it may be able to now.
            *earlier |= wake_at.is_some();
        }
        self.slots.get_mut(slot).definition = definition;
    }

    fn update(
        &mut self,
        id: &JobId,
        expected_revision: Option<u64>,
        change: JobChange,
        moment: Moment<'_>,
        earlier: &mut bool,
    ) -> Updated {
        let Some(slot) = self.slots.find(id) else {
            return Updated::Missing;
        };
        let entry = self.slots.get(slot);
        if expected_revision.is_some_and(|expected| expected != entry.state.revision()) {
            return Updated::Conflict(entry.state.revision());
        }
        let (definition, plan) = entry.view(|view| plan::update(view, change, moment));
        self.replace_definition(slot, definition, earlier);
        let job = self.slots.get(slot).job();
        if self.apply(slot, plan, earlier) {
            return Updated::Removed(job);
        }
        Updated::Job(self.slots.get(slot).job())
    }

    fn classes_for<'a>(&'a self, filter: &'a ClaimFilter) -> impl Iterator<Item = &'a Class> {
        self.classes.iter().filter(|class| {
            filter.tasks.contains(&class.task) && filter.slots.contains_key(&class.executor)
        })
    }

    fn claim(&mut self, request: &ClaimRequest, moment: Moment<'_>) -> Claimed {
        let mut claimed = Claimed {
            jobs: Vec::new(),
            now: moment.now,
            more: false,
        };
        if self.paused {
            return claimed;
        }
        let now = moment.now.as_microsecond();
        let mut free = request.filter.slots.clone();
        loop {
            let due = self
                .classes_for(&request.filter)
                .filter(|class| free.get(&class.executor).is_some_and(|&slots| slots > 0))
                .filter_map(|class| class.heap.first())
                .filter(|&(time, _)| time <= now)
                .min_by(|&(time_a, a), &(time_b, b)| {
                    time_a
                        .cmp(&time_b)
                        .then_with(|| Entries(&self.slots.entries).compare(a, b))
                });
            let Some((_, slot)) = due else { break };
            if claimed.jobs.len() == request.limit {
                claimed.more = true;
                break;
            }
            let entry = self.slots.get(slot);
            let slots = free
                .get_mut(&entry.definition.executor)
                .expect("its class was chosen for its slots");
            let claimer = Claimer {
                node: request.node,
                lease: request.lease,
                slots: *slots,
            };
            let plan = entry.view(|view| plan::claim(view, claimer, moment));
            let definition = Arc::clone(&entry.definition);
            let started: Vec<_> = plan.started().cloned().collect();
            let skipped = plan.skipped().cloned().collect();
            let cancelled = plan
                .update
                .iter()
                .filter(|run| run.cancel_requested)
                .map(|run| run.id)
                .collect();
            *slots -= started.len();
            let removed = self.apply(slot, plan, &mut false);
            claimed.jobs.push(ClaimedJob {
                definition,
                started,
                skipped,
                cancelled,
                removed,
            });
        }
        claimed
    }

    fn find_live(&self, id: RunId) -> Option<(Option<u32>, &Run)> {
        match self.ledger.live_slot(id) {
            Some(slot) => {
                let run = self.slots.get(slot).live.iter().find(|run| run.id == id)?;
                Some((Some(slot), run))
            }
            None => self.ledger.orphaned(id).map(|run| (None, run)),
        }
    }

    fn live(&self) -> impl Iterator<Item = &Run> {
        let owned = self.ledger.live_slots().filter_map(|(id, slot)| {
            let live = &self.slots.get(slot).live;
            live.iter().find(|run| run.id == id)
        });
        owned.chain(self.ledger.orphans())
    }

    fn view_of<T>(&self, slot: Option<u32>, look: impl FnOnce(Option<JobView<'_>>) -> T) -> T {
        match slot {
            Some(slot) => self.slots.get(slot).view(|view| look(Some(view))),
            None => look(None),
        }
    }

    fn write(&mut self, slot: Option<u32>, plan: Plan, earlier: &mut bool) -> bool {
        match slot {
            Some(slot) => self.apply(slot, plan, earlier),
            None => {
                plan.update
                    .into_iter()
                    .for_each(|run| self.ledger.amend(run));
                false
            }
        }
    }

    fn finish(&mut self, finish: &Finish, moment: Moment<'_>, earlier: &mut bool) -> FinishOutcome {
        let Some((slot, run)) = self.find_live(finish.run) else {
            let Some(mut run) = self.ledger.closed(finish.run).cloned() else {
                return FinishOutcome::Missing;
            };
            run.superseded_at = Some(moment.now);
            self.ledger.amend(run);
            return FinishOutcome::Superseded;
        };
        match self.view_of(slot, |view| plan::finish(view, run, finish, moment)) {
            Finished::Accepted(plan) => FinishOutcome::Accepted {
                job_removed: self.write(slot, plan, earlier),
            },
            Finished::Superseded(run) => {
                match slot {
                    Some(slot) => self.apply_rows(slot, vec![run], Vec::new()),
                    None => self.ledger.amend(run),
                }
                FinishOutcome::Superseded
            }
        }
    }

    fn renew(&mut self, id: RunId, fence: Fence, until: Timestamp) -> Renewed {
        let run = match self.ledger.live_slot(id) {
            Some(slot) => self
                .slots
                .get_mut(slot)
                .live
                .iter_mut()
                .find(|run| run.id == id),
            None => self.ledger.orphaned_mut(id),
        };
        match run {
            Some(run) if run.state() == RunState::Running && run.fence == fence => {
                run.lease_until = Some(until);
                if run.cancel_requested {
                    Renewed::CancelRequested
                } else {
                    Renewed::Kept
                }
            }
            _ => Renewed::Lost,
        }
    }

    fn put(
        &mut self,
        namespace: &str,
        key: &str,
        value: Option<Value>,
        expect: Expect,
        earlier: &mut bool,
    ) -> bool {
        let at = (namespace.to_owned(), key.to_owned());
        let version = self.records.get(&at).map(|(_, version)| *version);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => version.is_none(),
            Expect::Version(expected) => version == Some(expected),
        };
        if !holds {
            return false;
        }
        if namespace == SCHEDULER_NAMESPACE && key == PAUSED_KEY {
            self.paused = value.as_ref().is_some_and(|value| value["paused"] == true);
            *earlier = true;
        }
        match value {
            Some(value) => self.records.insert(at, (value, version.unwrap_or(0) + 1)),
            None => self.records.remove(&at),
        };
        true
    }

    fn list(&self, query: &JobQuery) -> StoreResult<Page<StoredJob>> {
        let after = query
            .cursor
            .as_deref()
            .map(JobOrder::parse_cursor)
            .transpose()?;
        let mut jobs: Vec<_> = self
            .slots
            .entries
            .iter()
            .flatten()
            .map(|entry| StoredJob::Job(entry.job()))
            .filter(|job| query.matches(job))
            .map(|job| (query.order.key(&job), job))
            .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
            .collect();
        jobs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let more = query.limit > 0 && jobs.len() > query.limit;
        if more {
            jobs.truncate(query.limit);
        }
        let next_cursor = jobs
            .last()
            .filter(|_| more)
            .map(|(key, _)| JobOrder::cursor(key));
        Ok(Page {
            items: jobs.into_iter().map(|(_, job)| job).collect(),
            next_cursor,
        })
    }

    fn runs(&self, query: &RunQuery) -> StoreResult<Page<Run>> {
        let before = query.parse_cursor()?;
        let mut runs: Vec<&Run> = self
            .live()
            .chain(self.ledger.all_closed())
            .filter(|run| query.matches(run) && before.is_none_or(|before| run.id < before))
            .collect();
        runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.id));
        let more = query.limit > 0 && runs.len() > query.limit;
        if more {
            runs.truncate(query.limit);
        }
        let next_cursor = runs.last().filter(|_| more).map(|run| run.id.to_string());
        Ok(Page {
            items: runs.into_iter().cloned().collect(),
            next_cursor,
        })
    }

    fn reclaim(&mut self, node: NodeId, moment: Moment<'_>, earlier: &mut bool) -> Vec<Reclaimed> {
        let expired = |run: &&Run| {
            run.state() == RunState::Running
                && run.node != Some(node)
                && run.lease_until.is_some_and(|until| until <= moment.now)
        };
        let expired: Vec<RunId> = self.live().filter(expired).map(|run| run.id).collect();
        let mut reclaimed = Vec::new();
        for id in expired {
            let Some((slot, run)) = self.find_live(id) else {
                continue;
            };
            let lost =
                |view: Option<JobView<'_>>| plan::reclaim(view, run, Reason::LeaseExpired, moment);
            let Some(plan) = self.view_of(slot, lost) else {
                continue;
            };
            let again = !plan.insert.is_empty();
            let lost = plan.update.iter().find(|run| run.id == id).cloned();
            self.write(slot, plan, earlier);
            reclaimed.extend(lost.map(|run| Reclaimed { run, again }));
        }
        reclaimed
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
