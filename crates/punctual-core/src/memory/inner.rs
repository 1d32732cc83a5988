//! What a memory store holds, and every verb of the contract on it, at one moment.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use jiff::Timestamp;
use serde_json::Value;

use super::heap::{Heap, NOWHERE, Ties};
use super::ledger::Ledger;
use super::packed::{LiveRuns, PackedState};
use crate::decide::JobView;
use crate::id::{ExecutorName, Fence, JobId, NodeId, RunId, TaskName};
use crate::job::{Job, JobDefinition, StoredJob};
use crate::plan::{self, AddRefusal, Addition, Claimer, Finish, Finished, JobChange, Moment, Plan};
use crate::run::{Reason, Run, RunState};
use crate::store::{
    Added, ClaimFilter, ClaimRequest, Claimed, ClaimedJob, Expect, FinishOutcome, JobOrder,
    JobQuery, MovedJob, PAUSED_KEY, Page, Reclaimed, Renewed, RunQuery, SCHEDULER_NAMESPACE,
    StoreResult, Updated,
};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) definition: Arc<JobDefinition>,
    pub(super) state: PackedState,
    pub(super) live: LiveRuns,
    pub(super) class: u32,
}

impl Entry {
    pub(super) fn view<T>(&self, look: impl FnOnce(JobView<'_>) -> T) -> T {
        look(JobView {
            definition: &self.definition,
            state: &self.state.unpack(),
            live: &self.live,
        })
    }

    pub(super) fn job(&self) -> Job {
        Job {
            definition: Arc::clone(&self.definition),
            state: self.state.unpack(),
        }
    }
}

/// Jobs of one task and executor: a claim looks only at classes it can take.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) task: TaskName,
    pub(super) executor: ExecutorName,
    pub(super) heap: Heap,
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) entries: Vec<Option<Box<Entry>>>,
    pub(super) positions: Vec<u32>,
    pub(super) free: Vec<u32>,
    /// Slots by id. The ids themselves lie in the entries: a map of ids would take five times the memory.
    pub(super) by_id: HashTable<u32>,
    pub(super) hasher: RandomState,
}

/// The entries alone, while the positions are borrowed.
pub(super) struct Entries<'a>(&'a [Option<Box<Entry>>]);

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
    pub(super) fn get(&self, slot: u32) -> &Entry {
        self.entries[slot as usize]
            .as_ref()
            .expect("a slot in use has an entry")
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Entry {
        self.entries[slot as usize]
            .as_mut()
            .expect("a slot in use has an entry")
    }

    pub(super) fn find(&self, id: &JobId) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.by_id
            .find(hash, |&slot| self.get(slot).definition.id == *id)
            .copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &JobId> {
        self.entries
            .iter()
            .flatten()
            .map(|entry| &entry.definition.id)
    }

    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
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

    pub(super) fn take(&mut self, slot: u32) -> Entry {
        let hash = self.hasher.hash_one(&self.get(slot).definition.id);
        if let Ok(found) = self.by_id.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
        *self.entries[slot as usize]
            .take()
            .expect("a slot in use has an entry")
    }

    pub(super) fn place(&mut self, entry: Entry) -> u32 {
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
pub(super) struct Inner {
    pub(super) slots: Slots,
    pub(super) classes: Vec<Class>,
    pub(super) class_index: HashMap<TaskName, Vec<u32>>,
    pub(super) ledger: Ledger,
    pub(super) fence_floor: Fence,
    pub(super) paused: bool,
    pub(super) records: BTreeMap<(String, String), (Value, u64)>,
    pub(super) logs: HashMap<String, Vec<(Timestamp, Value)>>,
}

impl Inner {
    pub(super) fn class_of(&mut self, definition: &JobDefinition) -> u32 {
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

    pub(super) fn reheap(&mut self, slot: u32, wake_at: Option<Timestamp>) {
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
    pub(super) fn apply(&mut self, slot: u32, plan: Plan, earlier: &mut bool) -> bool {
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

    pub(super) fn apply_rows(&mut self, slot: u32, update: Vec<Run>, insert: Vec<Run>) {
        let Inner { slots, ledger, .. } = self;
        let entry = slots.get_mut(slot);
        for run in update {
            let at = entry.live.iter().position(|live| live.id == run.id);
            match (at, run.state().is_final()) {
                (Some(at), false) => entry.live[at] = run,
                (Some(at), true) => {
                    entry.live.remove(at);
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
                entry.live.push(run);
            }
        }
    }

    pub(super) fn drop_job(&mut self, slot: u32) -> Entry {
        self.reheap(slot, None);
        let entry = self.slots.take(slot);
        self.fence_floor = self.fence_floor.max(entry.state.fence());
        // What still runs goes on without its job.
        self.ledger.orphan(entry.live.to_vec());
        entry
    }

    pub(super) fn remove(&mut self, id: &JobId, moment: Moment<'_>) -> Option<Job> {
        let slot = self.slots.find(id)?;
        let plan = self.slots.get(slot).view(|view| plan::remove(view, moment));
        self.apply_rows(slot, plan.update, plan.insert);
        Some(self.drop_job(slot).job())
    }

    pub(super) fn add(
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
        let slot = self.place(&job);
        self.ledger.adopt(&orphans, slot);
        self.slots.get_mut(slot).live = LiveRuns::new(orphans);
        self.apply_rows(slot, plan.update, plan.insert);
        *earlier |= job.state.wake_at.is_some();
        Ok(Added {
            job,
            replaced: false,
        })
    }

    fn place(&mut self, job: &Job) -> u32 {
        let class = self.class_of(&job.definition);
        let slot = self.slots.insert(Entry {
            definition: Arc::clone(&job.definition),
            state: PackedState::pack(job.state.clone()),
            live: LiveRuns::default(),
            class,
        });
        self.reheap(slot, job.state.wake_at);
        slot
    }

    /// Takes over a job from another store; `false` where its id is taken.
    pub(super) fn import(&mut self, moved: MovedJob, earlier: &mut bool) -> bool {
        let MovedJob { job, live } = moved;
        if self.slots.find(job.id()).is_some() {
            return false;
        }
        let slot = self.place(&job);
        self.apply_rows(slot, Vec::new(), live);
        *earlier |= job.state.wake_at.is_some();
        true
    }

    pub(super) fn replace_definition(
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

    pub(super) fn update(
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

    pub(super) fn classes_for<'a>(
        &'a self,
        filter: &'a ClaimFilter,
    ) -> impl Iterator<Item = &'a Class> {
        self.classes.iter().filter(|class| {
            filter.tasks.contains(&class.task) && filter.slots.contains_key(&class.executor)
        })
    }

    pub(super) fn claim(&mut self, request: &ClaimRequest, moment: Moment<'_>) -> Claimed {
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

    pub(super) fn find_live(&self, id: RunId) -> Option<(Option<u32>, &Run)> {
        match self.ledger.live_slot(id) {
            Some(slot) => {
                let run = self.slots.get(slot).live.iter().find(|run| run.id == id)?;
                Some((Some(slot), run))
            }
            None => self.ledger.orphaned(id).map(|run| (None, run)),
        }
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Run> {
        let owned = self.ledger.live_slots().filter_map(|(id, slot)| {
            let live = &self.slots.get(slot).live;
            live.iter().find(|run| run.id == id)
        });
        owned.chain(self.ledger.orphans())
    }

    pub(super) fn view_of<T>(
        &self,
        slot: Option<u32>,
        look: impl FnOnce(Option<JobView<'_>>) -> T,
    ) -> T {
        match slot {
            Some(slot) => self.slots.get(slot).view(|view| look(Some(view))),
            None => look(None),
        }
    }

    pub(super) fn write(&mut self, slot: Option<u32>, plan: Plan, earlier: &mut bool) -> bool {
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

    pub(super) fn finish(
        &mut self,
        finish: &Finish,
        moment: Moment<'_>,
        earlier: &mut bool,
    ) -> FinishOutcome {
        let Some((slot, run)) = self.find_live(finish.run) else {
            let Some(run) = self.ledger.closed(finish.run) else {
                return FinishOutcome::Missing;
            };
            let Finished::Superseded(run) = plan::finish(None, run, finish, moment) else {
                return FinishOutcome::Accepted { job_removed: false };
            };
            self.ledger.amend(run);
            return FinishOutcome::Superseded;
        };
        match self.view_of(slot, |view| plan::finish(view, run, finish, moment)) {
            Finished::Accepted(plan) => FinishOutcome::Accepted {
                job_removed: self.write(slot, plan, earlier),
            },
            Finished::Repeated => FinishOutcome::Accepted { job_removed: false },
            Finished::Superseded(run) => {
                match slot {
                    Some(slot) => self.apply_rows(slot, vec![run], Vec::new()),
                    None => self.ledger.amend(run),
                }
                FinishOutcome::Superseded
            }
        }
    }

    pub(super) fn renew(&mut self, id: RunId, fence: Fence, until: Timestamp) -> Renewed {
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

    pub(super) fn put(
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

    pub(super) fn list(&self, query: &JobQuery) -> StoreResult<Page<StoredJob>> {
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

    pub(super) fn runs(&self, query: &RunQuery) -> StoreResult<Page<Run>> {
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

    pub(super) fn reclaim(
        &mut self,
        node: NodeId,
        moment: Moment<'_>,
        earlier: &mut bool,
    ) -> Vec<Reclaimed> {
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
