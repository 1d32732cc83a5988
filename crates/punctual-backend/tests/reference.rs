//! The suite of all job stores over the simplest backend there can be: a map that compares versions. Once as it is, and
//! once where every third write finds that somebody else was faster.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use punctual_backend::{
    After, Awaited, Backend, BackendResult, BackendStore, Body, Due, Fate, Listed, PruneProgress,
    Snapshot, StoreOptions, Version, Write, listed_at,
};
use punctual_conformance::{FreshStore, JobSpec, Place, START, change_trigger, job};
use punctual_core::clock::{Clock, SimClock, earlier, later};
use punctual_core::id::{ExecutorName, Fence, JobId, NodeId, RunId, TaskName};
use punctual_core::job::{JobState, Policy, StoredJob};
use punctual_core::plan::ReadyTrigger;
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    BoxFuture, ClaimFilter, ClaimRequest, Expect, JobOrder, JobQuery, JobStore, LogEntry, MovedJob,
    PAUSED_KEY, Record, Renewed, Retention, RunQuery, SCHEDULER_NAMESPACE, StoreResult, Updated,
};
use punctual_core::zones::Zones;
use serde_json::Value;

#[derive(Debug)]
struct Entry {
    version: u64,
    job: Option<Stored>,
    fence: Fence,
}

#[derive(Debug)]
struct Stored {
    state: JobState,
    document: Arc<str>,
    task: String,
    executor: String,
    wake_at: Option<Timestamp>,
    listed_at: i64,
}

impl Stored {
    fn body(&self) -> Body {
        Body::Job {
            state: self.state.clone(),
            document: Arc::clone(&self.document),
        }
    }
}

#[derive(Debug, Default)]
struct Data {
    jobs: BTreeMap<JobId, Entry>,
    runs: BTreeMap<RunId, Run>,
    floor: Fence,
    versions: u64,
    records: BTreeMap<(String, String), (Value, u64)>,
    logs: HashMap<String, Vec<(Timestamp, Value)>>,
}

impl Data {
    fn live(&self, id: &JobId) -> Vec<Run> {
        let of_job = self.runs.values().filter(|run| run.job_id == *id);
        of_job
            .filter(|run| !run.state().is_final())
            .cloned()
            .collect()
    }

    fn snapshot(&self, id: &JobId) -> Snapshot {
        let Some(entry) = self.jobs.get(id) else {
            return Snapshot::nothing(id.clone());
        };
        let nothing = Body::Nothing { fence: entry.fence };
        Snapshot {
            id: id.clone(),
            version: Some(Version(entry.version)),
            body: entry.job.as_ref().map_or(nothing, Stored::body),
            live: Ok(self.live(id)),
        }
    }

    fn is_paused(&self) -> bool {
        let key = (SCHEDULER_NAMESPACE.to_owned(), PAUSED_KEY.to_owned());
        self.records
            .get(&key)
            .is_some_and(|(value, _)| value["paused"] == true)
    }

    fn write(&mut self, write: &Write) -> Fate {
        let found = self.jobs.get(&write.id).map(|entry| Version(entry.version));
        if found != write.expected {
            return Fate::Stale;
        }
        let attempt = |run: &Run| (run.job_key, run.kind, run.scheduled_at, run.attempt);
        let is_known = |new: &Run| {
            self.runs.contains_key(&new.id)
                || self.runs.values().any(|run| attempt(run) == attempt(new))
        };
        if write.insert.iter().any(is_known) {
            return Fate::Contradiction;
        }
        for run in write.insert.iter().chain(&write.update) {
            self.runs.insert(run.id, run.clone());
        }
        assert_eq!(self.live(&write.id), write.live, "the live runs are these");
        self.versions += 1;
        let version = self.versions;
        match &write.after {
            After::Job {
                state,
                definition,
                document,
                is_new,
            } => {
                let before = self
                    .jobs
                    .get(&write.id)
                    .and_then(|entry| entry.job.as_ref());
                let is_same = before.is_some_and(|before| before.document == *document);
                assert!(*is_new || is_same, "what is not new is the same");
                let stored = Stored {
                    state: state.clone(),
                    document: Arc::clone(document),
                    task: definition.task.to_string(),
                    executor: definition.executor.to_string(),
                    wake_at: state.wake_at,
                    listed_at: listed_at(state),
                };
                let entry = Entry {
                    version,
                    job: Some(stored),
                    fence: state.fence,
                };
                self.jobs.insert(write.id.clone(), entry);
            }
            After::Nothing { fence } => {
                self.floor = self.floor.max(*fence);
                self.jobs.remove(&write.id);
                if !write.live.is_empty() {
                    let entry = Entry {
                        version,
                        job: None,
                        fence: *fence,
                    };
                    self.jobs.insert(write.id.clone(), entry);
                }
            }
            After::Unread { wake_at } => {
                let entry = self.jobs.get_mut(&write.id).expect("it lies there");
                entry.version = version;
                let stored = entry.job.as_mut().expect("it lies there");
                stored.wake_at = Some(*wake_at).filter(|_| stored.state.paused.is_none());
            }
        }
        Fate::Written
    }
}

#[derive(Clone, Debug)]
struct Map {
    data: Arc<Mutex<Data>>,
    clock: SimClock,
    /// Every write whose number this divides finds itself too late.
    disturbed: Option<usize>,
    writes: Arc<AtomicUsize>,
    /// For how many milliseconds each unit waits for what it reads.
    waits: Arc<AtomicU64>,
    /// A job one of whose runs cannot be read.
    broken: Arc<Mutex<Option<JobId>>>,
    /// A job whose next run another node sets to this, right after the next look at what is due.
    moved: Moved,
}

type Moved = Arc<Mutex<Option<(JobId, Timestamp)>>>;

impl Map {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }
}

/// Whether the unit is a claim's: there a job that is stale is somebody else's.
#[derive(Default)]
struct Unit {
    is_claim: bool,
}

impl Backend for Map {
    type Unit = Unit;
    const NOTIFIES: bool = false;

    async fn begin(&self) -> BackendResult<(Unit, Timestamp)> {
        let waited = Duration::from_millis(self.waits.load(Ordering::Relaxed));
        Ok((Unit::default(), earlier(self.clock.now(), waited)))
    }

    async fn time(&self, _: &mut Unit) -> BackendResult<Timestamp> {
        Ok(self.clock.now())
    }

    async fn due(&self, unit: &mut Unit, due: Due<'_>) -> BackendResult<Vec<Snapshot>> {
        unit.is_claim = true;
        let mut data = self.data();
        let now = self.clock.now();
        let mut found: Vec<_> = data
            .jobs
            .iter()
            .filter_map(|(id, entry)| Some((id, entry.job.as_ref()?)))
            .filter(|(id, job)| {
                job.executor == due.executor.as_str()
                    && due.tasks.contains(job.task.as_str())
                    && !due.except.contains(id)
            })
            .filter_map(|(id, job)| Some((job.wake_at.filter(|wake_at| *wake_at <= now)?, id)))
            .filter(|place| due.after.is_none_or(|after| *place > after))
            .collect();
        found.sort_unstable();
        found.truncate(due.limit);
        let found = found
            .into_iter()
            .map(|(_, id)| data.snapshot(id))
            .collect::<Vec<_>>();
        let moved = self.moved.lock().unwrap().take();
        if let Some((id, to)) = moved {
            let entry = data.jobs.get_mut(&id).unwrap();
            entry.version += 1_000_000;
            let job = entry.job.as_mut().unwrap();
            job.state.extra = Some(to);
            job.state.due_at = Some(to);
            job.state.wake_at = Some(to);
            job.wake_at = Some(to);
        }
        Ok(found)
    }

    async fn jobs(&self, _: &mut Unit, ids: &[JobId]) -> BackendResult<Vec<Snapshot>> {
        assert!(ids.is_sorted_by(|a, b| a < b), "ids ascend");
        let data = self.data();
        let broken = self.broken.lock().unwrap().clone();
        let snapshot = |id: &JobId| {
            let mut snapshot = data.snapshot(id);
            if broken.as_ref() == Some(id) {
                snapshot.live = Err("a word of a newer program".to_owned());
            }
            snapshot
        };
        Ok(ids.iter().map(snapshot).collect())
    }

    async fn rows(&self, _: &mut Unit, ids: &[RunId]) -> BackendResult<Vec<Run>> {
        let data = self.data();
        Ok(ids
            .iter()
            .filter_map(|id| data.runs.get(id).cloned())
            .collect())
    }

    async fn fence_floor(&self, _: &mut Unit) -> BackendResult<Fence> {
        Ok(self.data().floor)
    }

    async fn is_paused(&self, _: &mut Unit) -> BackendResult<bool> {
        Ok(self.data().is_paused())
    }

    async fn commit(&self, unit: Unit, writes: &[Write], _: bool) -> BackendResult<Vec<Fate>> {
        let mut data = self.data();
        let fates = writes.iter().map(|write| {
            let number = self.writes.fetch_add(1, Ordering::Relaxed);
            let is_late = self
                .disturbed
                .is_some_and(|every| number.is_multiple_of(every));
            if is_late && !unit.is_claim {
                return Fate::Stale;
            }
            data.write(write)
        });
        Ok(fates.collect())
    }

    async fn now(&self) -> BackendResult<Timestamp> {
        Ok(self.clock.now())
    }

    async fn next_wake(&self, awaited: Awaited<'_>) -> BackendResult<Option<Timestamp>> {
        let data = self.data();
        if data.is_paused() {
            return Ok(None);
        }
        let awaits = |id: &JobId, job: &Stored| {
            awaited.tasks.contains(job.task.as_str())
                && awaited
                    .executors
                    .iter()
                    .any(|name| name.as_str() == job.executor)
                && !awaited.except.contains(id)
        };
        let jobs = data.jobs.iter();
        let jobs = jobs.filter_map(|(id, entry)| Some((id, entry.job.as_ref()?)));
        Ok(jobs
            .filter(|(id, job)| awaits(id, job))
            .filter_map(|(_, job)| job.wake_at)
            .min())
    }

    async fn job(&self, id: &JobId) -> BackendResult<Option<Listed>> {
        let data = self.data();
        let job = data.jobs.get(id).and_then(|entry| entry.job.as_ref());
        Ok(job.map(|job| Listed {
            id: id.clone(),
            at: job.listed_at,
            body: job.body(),
        }))
    }

    async fn list(
        &self,
        query: &JobQuery,
        after: Option<&(i64, JobId)>,
        limit: usize,
    ) -> BackendResult<Vec<Listed>> {
        let data = self.data();
        let jobs = data.jobs.iter();
        let mut listed: Vec<_> = jobs
            .filter_map(|(id, entry)| {
                let job = entry.job.as_ref()?;
                let at = match query.order {
                    JobOrder::NextRun => job.listed_at,
                    JobOrder::Id => 0,
                };
                let id = id.clone();
                let body = job.body();
                Some(Listed { id, at, body })
            })
            .filter(|job| after.is_none_or(|(at, id)| (job.at, &job.id) > (*at, id)))
            .collect();
        listed.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        listed.truncate(limit);
        Ok(listed)
    }

    async fn list_last(&self, id: &JobId, version: Version) -> BackendResult<()> {
        let mut data = self.data();
        if let Some(entry) = data.jobs.get_mut(id)
            && entry.version == version.0
            && let Some(job) = &mut entry.job
        {
            job.listed_at = i64::MAX;
        }
        Ok(())
    }

    async fn run(&self, id: RunId) -> BackendResult<Option<Run>> {
        Ok(self.data().runs.get(&id).cloned())
    }

    async fn runs(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> BackendResult<Vec<Run>> {
        let data = self.data();
        let runs = data.runs.values().rev();
        let runs = runs.filter(|run| before.is_none_or(|before| run.id < before));
        Ok(runs
            .filter(|run| query.matches(run))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn owned_by(&self, node: NodeId) -> BackendResult<Vec<Run>> {
        let data = self.data();
        let runs = data.runs.values();
        let running = runs.filter(|run| run.state() == RunState::Running);
        Ok(running
            .filter(|run| run.node == Some(node))
            .cloned()
            .collect())
    }

    async fn expired(&self, node: NodeId, limit: usize) -> BackendResult<Vec<(RunId, JobId)>> {
        let now = self.clock.now();
        let data = self.data();
        let expired = data.runs.values().filter(|run| {
            run.state() == RunState::Running
                && run.node != Some(node)
                && run.lease_until.is_some_and(|until| until <= now)
        });
        Ok(expired
            .take(limit)
            .map(|run| (run.id, run.job_id.clone()))
            .collect())
    }

    async fn renew(&self, lease: Duration, runs: &[(RunId, Fence)]) -> BackendResult<Vec<Renewed>> {
        let until = later(self.clock.now(), lease);
        let mut data = self.data();
        let renewed = runs.iter().map(|(id, fence)| match data.runs.get_mut(id) {
            Some(run) if run.state() == RunState::Running && run.fence == *fence => {
                run.lease_until = Some(until);
                if run.cancel_requested {
                    Renewed::CancelRequested
                } else {
                    Renewed::Kept
                }
            }
            _ => Renewed::Lost,
        });
        Ok(renewed.collect())
    }

    async fn supersede(&self, runs: &[RunId], at: Timestamp) -> BackendResult<()> {
        let mut data = self.data();
        for id in runs {
            if let Some(run) = data.runs.get_mut(id) {
                run.superseded_at = Some(at);
            }
        }
        Ok(())
    }

    async fn counts(&self, since: Timestamp) -> BackendResult<BTreeMap<RunState, u64>> {
        let mut counts = BTreeMap::new();
        for run in self.data().runs.values() {
            if run.finished_at.is_none_or(|at| at >= since) {
                *counts.entry(run.state()).or_default() += 1;
            }
        }
        Ok(counts)
    }

    async fn prune(
        &self,
        retention: Retention,
        progress: &mut PruneProgress,
    ) -> BackendResult<Option<u64>> {
        if std::mem::replace(&mut progress.old_rows_done, true) {
            return Ok(None);
        }
        let oldest = earlier(self.clock.now(), retention.age);
        let mut data = self.data();
        let mut kept: HashMap<JobId, u64> = HashMap::new();
        let mut over: Vec<_> = data
            .runs
            .values()
            .filter_map(|run| Some((run.finished_at?, run.id, run.job_id.clone())))
            .collect();
        over.sort_unstable_by(|a, b| b.cmp(a));
        let mut gone = 0;
        for (at, id, job) in over {
            let kept = kept.entry(job).or_default();
            if at <= oldest || *kept >= retention.rows_per_job {
                data.runs.remove(&id);
                gone += 1;
            } else {
                *kept += 1;
            }
        }
        Ok(Some(gone))
    }

    async fn insert_rows(&self, rows: &[Run]) -> BackendResult<u64> {
        let mut data = self.data();
        let before = data.runs.len();
        for run in rows {
            data.runs.entry(run.id).or_insert_with(|| run.clone());
        }
        Ok((data.runs.len() - before) as u64)
    }

    async fn raise_fence_floor(&self, fence: Fence) -> BackendResult<()> {
        let mut data = self.data();
        data.floor = data.floor.max(fence);
        Ok(())
    }

    async fn record(&self, namespace: &str, key: &str) -> BackendResult<Option<Record>> {
        let place = (namespace.to_owned(), key.to_owned());
        let data = self.data();
        Ok(data.records.get(&place).map(|(value, version)| Record {
            key: place.1.clone(),
            value: value.clone(),
            version: *version,
        }))
    }

    async fn records(&self, namespace: &str) -> BackendResult<Vec<Record>> {
        let data = self.data();
        let records = data
            .records
            .iter()
            .filter(|((space, _), _)| space == namespace);
        Ok(records
            .map(|((_, key), (value, version))| Record {
                key: key.clone(),
                value: value.clone(),
                version: *version,
            })
            .collect())
    }

    async fn put_record(
        &self,
        namespace: &str,
        key: &str,
        value: Option<&Value>,
        expect: Expect,
        _: bool,
    ) -> BackendResult<bool> {
        let place = (namespace.to_owned(), key.to_owned());
        let mut data = self.data();
        let version = data.records.get(&place).map(|(_, version)| *version);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => version.is_none(),
            Expect::Version(expected) => version == Some(expected),
        };
        if !holds {
            return Ok(false);
        }
        match value {
            Some(value) => {
                let next = version.unwrap_or(0) + 1;
                data.records.insert(place, (value.clone(), next));
            }
            None => {
                data.records.remove(&place);
            }
        }
        Ok(true)
    }

    async fn append_log(&self, log: &str, value: &Value) -> BackendResult<u64> {
        let now = self.clock.now();
        let mut data = self.data();
        let entries = data.logs.entry(log.to_owned()).or_default();
        entries.push((now, value.clone()));
        Ok(entries.len() as u64)
    }

    async fn read_log(&self, log: &str, after: u64, limit: usize) -> BackendResult<Vec<LogEntry>> {
        let data = self.data();
        let entries = data.logs.get(log).into_iter().flatten();
        Ok(entries
            .zip(1..)
            .filter(|(_, position)| *position > after)
            .take(limit)
            .map(|((at, value), position)| LogEntry {
                position,
                at: *at,
                value: value.clone(),
            })
            .collect())
    }

    async fn close(&self) {}
}

/// Where stores share a map.
struct Shared {
    data: Arc<Mutex<Data>>,
    disturbed: Option<usize>,
    writes: Arc<AtomicUsize>,
    waits: Arc<AtomicU64>,
    moved: Moved,
    broken: Arc<Mutex<Option<JobId>>>,
}

impl Place for Shared {
    fn open(&self, clock: &SimClock) -> BoxFuture<'_, StoreResult<Arc<dyn JobStore>>> {
        let map = Map {
            data: Arc::clone(&self.data),
            clock: clock.clone(),
            disturbed: self.disturbed,
            writes: Arc::clone(&self.writes),
            waits: Arc::clone(&self.waits),
            moved: Arc::clone(&self.moved),
            broken: Arc::clone(&self.broken),
        };
        let options = StoreOptions::default().clock(Arc::new(clock.clone()));
        Box::pin(async move {
            let store = BackendStore::open(options, |_| async { Ok(map) }).await?;
            Ok(Arc::new(store) as Arc<dyn JobStore>)
        })
    }

    fn corrupt(&self, id: &JobId) -> bool {
        let mut data = self.data.lock().unwrap();
        let Some(job) = data.jobs.get_mut(id).and_then(|entry| entry.job.as_mut()) else {
            return false;
        };
        job.document = "{\"version\": 99}".into();
        job.state.revision += 1;
        true
    }
}

fn place(disturbed: Option<usize>) -> Box<dyn Place> {
    Box::new(shared(disturbed))
}

fn shared(disturbed: Option<usize>) -> Shared {
    Shared {
        data: Arc::default(),
        disturbed,
        writes: Arc::default(),
        waits: Arc::default(),
        moved: Arc::default(),
        broken: Arc::default(),
    }
}

struct Undisturbed;

impl FreshStore for Undisturbed {
    fn fresh(&self) -> Box<dyn Place> {
        place(None)
    }
}

struct Disturbed;

impl FreshStore for Disturbed {
    fn fresh(&self) -> Box<dyn Place> {
        place(Some(3))
    }
}

mod undisturbed {
    punctual_conformance::job_store_suite!(super::Undisturbed);
}

mod disturbed {
    punctual_conformance::job_store_suite!(super::Disturbed);
}

/// A limit of any size is one.
#[test]
fn a_limit_has_no_limit() {
    async_io::block_on(async {
        let clock = SimClock::new(Timestamp::from_second(START).unwrap());
        let store = shared(None).open(&clock).await.unwrap();
        let query = RunQuery {
            limit: usize::MAX,
            ..RunQuery::default()
        };
        assert!(store.runs(&query).await.unwrap().items.is_empty());
    });
}

/// Whoever waited for a job that another node was deciding about must not take that decision for one of the future.
#[test]
fn an_edit_that_waited_begins_no_other_life() {
    async_io::block_on(async {
        let clock = SimClock::new(Timestamp::from_second(START).unwrap());
        let shared = shared(None);
        let store = shared.open(&clock).await.unwrap();
        let zones = Zones::system();
        let addition = |replaces: bool, seconds| {
            let spec = job("a").every(seconds);
            let spec = if replaces { spec.replacing() } else { spec };
            spec.addition(clock.now(), &zones)
        };
        let added = store.add_many(vec![addition(false, 1)]).await.unwrap();
        let before = added[0].as_ref().unwrap().job.state.clone();
        clock.advance(Duration::from_secs(1));
        let claimed = store.claim(request(10)).await.unwrap();
        assert_eq!(claimed.jobs.len(), 1);
        shared.waits.store(500, Ordering::Relaxed);
        let ready = ReadyTrigger {
            trigger: addition(false, 1).definition.trigger.clone(),
            declared: None,
            schedule: addition(false, 1).definition.schedule.0.clone(),
        };
        let id = JobId::new("a").unwrap();
        let changed = store
            .update(&id, None, change_trigger(ready))
            .await
            .unwrap();
        let Updated::Job(changed) = changed else {
            panic!("{changed:?}");
        };
        assert_eq!(changed.state.key, before.key, "it is the same life");
        assert!(changed.state.due_at > before.due_at);
    });
}

/// A job that another node moves while a claim looks at it, and that is seen again by the claim's next look, has one
/// decision: what the claim says it took is taken.
#[test]
fn a_job_that_is_seen_again_has_one_decision() {
    async_io::block_on(async {
        let clock = SimClock::new(Timestamp::from_second(START).unwrap());
        let shared = shared(None);
        let store = shared.open(&clock).await.unwrap();
        let add = |spec: JobSpec| {
            let addition = spec.addition(clock.now(), &Zones::system());
            store.add_many(vec![addition])
        };
        add(job("a").every(10)).await.unwrap();
        // Too late to run, it leaves a slot free, so that the claim looks again.
        let policy = Policy {
            misfire_grace_time: Some(Duration::from_secs(1)),
            ..Policy::default()
        };
        add(job("b").every(10).policy(policy)).await.unwrap();
        clock.advance(Duration::from_secs(15));
        let to = Timestamp::from_second(START + 12).unwrap();
        *shared.moved.lock().unwrap() = Some((JobId::new("a").unwrap(), to));
        let claimed = store.claim(request(2)).await.unwrap();
        let told: Vec<_> = claimed
            .jobs
            .iter()
            .flat_map(|job| &job.started)
            .map(|run| run.id)
            .collect();
        let owned = store.owned_by(NodeId(1)).await.unwrap();
        let owned: Vec<_> = owned.iter().map(|run| run.id).collect();
        assert_eq!(told, owned);
        assert!(shared.moved.lock().unwrap().is_none());
    });
}

/// A job goes when it is told to, also where one of its runs cannot be read.
#[test]
fn a_run_that_cannot_be_read_keeps_no_job() {
    async_io::block_on(async {
        let clock = SimClock::new(Timestamp::from_second(START).unwrap());
        let shared = shared(None);
        let store = shared.open(&clock).await.unwrap();
        for id in ["a", "b"] {
            let addition = job(id).every(10).addition(clock.now(), &Zones::system());
            store.add_many(vec![addition]).await.unwrap();
        }
        let id = JobId::new("a").unwrap();
        *shared.broken.lock().unwrap() = Some(id.clone());
        assert!(store.enqueue(&id).await.is_ok_and(|enqueued| {
            matches!(enqueued, punctual_core::store::Enqueued::Unreadable(_))
        }));
        assert!(store.remove(&id).await.unwrap().is_some());
        *shared.broken.lock().unwrap() = Some(JobId::new("b").unwrap());
        let StoredJob::Job(job) = store.get(&JobId::new("b").unwrap()).await.unwrap().unwrap()
        else {
            panic!("its definition can be read");
        };
        assert_eq!(store.remove_all().await.unwrap(), 1);
        let moved = MovedJob {
            job,
            live: Vec::new(),
        };
        let refused = store.import_jobs(vec![moved]).await.unwrap_err();
        assert!(refused.to_string().contains("newer program"), "{refused}");
    });
}

fn request(slots: usize) -> ClaimRequest {
    ClaimRequest {
        node: NodeId(1),
        lease: Duration::from_secs(30),
        filter: ClaimFilter {
            tasks: Arc::new(BTreeSet::from([TaskName::new("t").unwrap()])),
            slots: BTreeMap::from([(ExecutorName::default(), slots)]),
        },
        limit: 10,
    }
}
