//! The checker is proven on real schedulers over a store that is deliberately broken: two nodes on SQLite, a wrapper that
//! breaks one promise, and the same checker, which has to say which.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use punctual_core::clock::{SystemClock, later};
use punctual_core::id::{Fence, JobId, NodeId, RunId};
use punctual_core::job::{Job, StoredJob};
use punctual_core::plan::{
    AddRefusal, Addition, Finish, FirstRun, JobChange, JobPatch, OnConflict, PauseRequest,
};
use punctual_core::run::{Run, RunState};
use punctual_core::scheduler::{NewJob, Scheduler, Shutdown, StartMode, TokioScheduler};
use punctual_core::store::{
    Abilities, Added, BoxFuture, ClaimFilter, ClaimRequest, Claimed, ClaimedJob, Enqueued, Expect,
    FinishOutcome, JobQuery, JobStore, LogEntry, MovedJob, Page, ReclaimScope, Reclaimed, Record,
    Records, Renewed, Retention, RunQuery, StoreResult, Updated,
};
use punctual_core::task::{RunContext, State};
use punctual_sql::{SqliteOptions, SqliteStore};
use punctual_trigger::Trigger;
use serde_json::Value;
use tokio::time::sleep;

use super::api::now;
use super::check::check;
use super::history::{
    History, JobHistory, Kind, Micros, NodeLife, Paused, Profile, Request, Row, SECOND, Snapshot,
    Step, Verb, Window,
};

/// What a store does wrong: with every fourth claim that starts a run, where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    Nothing,
    /// What one node claimed is given to the other, too; always.
    GiveTwice,
    /// What was claimed is given to nobody.
    GiveNobody,
    /// The cursor jumps over what is due, and no row says so.
    SkipAhead,
    /// The cursor goes back to what was decided already.
    DecideAgain,
    /// A pause is confirmed and forgotten; always.
    ForgetPause,
}

/// A store that does one thing wrong.
#[derive(Debug)]
struct Broken {
    inner: SqliteStore,
    how: Break,
    /// Claims that started a run.
    given: AtomicU64,
    /// What was claimed last, and by whom.
    last: Mutex<Option<(NodeId, ClaimedJob)>>,
}

const ID: &str = "job-1";

impl Broken {
    fn id() -> JobId {
        JobId::new(ID).expect("it is an id")
    }

    async fn claim_wrongly(&self, request: ClaimRequest) -> StoreResult<Claimed> {
        let id = Self::id();
        let node = request.node;
        let mut claimed = self.inner.claim(request).await?;
        let started = claimed.jobs.iter_mut().find(|job| !job.started.is_empty());
        let Some(job) = started else {
            let mut last = self.last.lock().unwrap();
            if last.as_ref().is_some_and(|(owner, _)| *owner != node) {
                claimed.jobs.extend(last.take().map(|(_, job)| job));
            }
            return Ok(claimed);
        };
        let is_fourth = self.given.fetch_add(1, Ordering::SeqCst) % 4 == 3;
        match self.how {
            Break::GiveTwice => *self.last.lock().unwrap() = Some((node, job.clone())),
            Break::GiveNobody if is_fourth => job.started.clear(),
            Break::SkipAhead if is_fourth => {
                let ahead = later(self.inner.now().await?, Duration::from_millis(900));
                let patch = JobPatch {
                    next_run_time: Some(ahead),
                    ..JobPatch::default()
                };
                let change = JobChange::Modify(Box::new(patch));
                self.inner.update(&id, None, change).await?;
            }
            Break::DecideAgain if is_fourth => {
                let again = Addition {
                    definition: (*job.definition).clone(),
                    first_run: FirstRun::At(job.started[0].scheduled_at),
                    on_conflict: OnConflict::Error,
                };
                self.inner.remove(&id).await?;
                let added = self.inner.add_many(vec![again]).await?;
                assert!(added.iter().all(Result::is_ok), "{added:?}");
            }
            _ => {}
        }
        Ok(claimed)
    }

    async fn update_wrongly(
        &self,
        id: &JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> StoreResult<Updated> {
        let is_pause = matches!(change, JobChange::Pause(_));
        let updated = self.inner.update(id, expected_revision, change).await?;
        if self.how == Break::ForgetPause && is_pause {
            self.inner.update(id, None, JobChange::Resume).await?;
        }
        Ok(updated)
    }
}

impl JobStore for Broken {
    fn claim(&self, request: ClaimRequest) -> BoxFuture<'_, StoreResult<Claimed>> {
        Box::pin(self.claim_wrongly(request))
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn now(&self) -> BoxFuture<'_, StoreResult<Timestamp>> {
        self.inner.now()
    }

    fn register(&self, node: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.register(node)
    }

    fn deregister(&self, node: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.deregister(node)
    }

    fn add_many(
        &self,
        additions: Vec<Addition>,
    ) -> BoxFuture<'_, StoreResult<Vec<Result<Added, AddRefusal>>>> {
        self.inner.add_many(additions)
    }

    fn get<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
        self.inner.get(id)
    }

    fn list<'a>(&'a self, query: &'a JobQuery) -> BoxFuture<'a, StoreResult<Page<StoredJob>>> {
        self.inner.list(query)
    }

    fn update<'a>(
        &'a self,
        id: &'a JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> BoxFuture<'a, StoreResult<Updated>> {
        Box::pin(self.update_wrongly(id, expected_revision, change))
    }

    fn remove<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
        self.inner.remove(id)
    }

    fn remove_all(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.inner.remove_all()
    }

    fn next_due<'a>(
        &'a self,
        filter: &'a ClaimFilter,
    ) -> BoxFuture<'a, StoreResult<Option<Timestamp>>> {
        self.inner.next_due(filter)
    }

    fn enqueue<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Enqueued>> {
        self.inner.enqueue(id)
    }

    fn renew<'a>(
        &'a self,
        lease: Duration,
        runs: &'a [(RunId, Fence)],
    ) -> BoxFuture<'a, StoreResult<Vec<Renewed>>> {
        self.inner.renew(lease, runs)
    }

    fn finish(&self, finishes: Vec<Finish>) -> BoxFuture<'_, StoreResult<Vec<FinishOutcome>>> {
        self.inner.finish(finishes)
    }

    fn request_cancel(&self, run: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
        self.inner.request_cancel(run)
    }

    fn reclaim_expired(
        &self,
        node: NodeId,
        scope: ReclaimScope,
    ) -> BoxFuture<'_, StoreResult<Vec<Reclaimed>>> {
        self.inner.reclaim_expired(node, scope)
    }

    fn owned_by(&self, node: NodeId) -> BoxFuture<'_, StoreResult<Vec<Run>>> {
        self.inner.owned_by(node)
    }

    fn run(&self, id: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
        self.inner.run(id)
    }

    fn runs<'a>(&'a self, query: &'a RunQuery) -> BoxFuture<'a, StoreResult<Page<Run>>> {
        self.inner.runs(query)
    }

    fn counts(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<BTreeMap<RunState, u64>>> {
        self.inner.counts(since)
    }

    fn prune(&self, retention: Retention) -> BoxFuture<'_, StoreResult<u64>> {
        self.inner.prune(retention)
    }

    fn fence_floor(&self) -> BoxFuture<'_, StoreResult<Fence>> {
        self.inner.fence_floor()
    }

    fn raise_fence_floor(&self, floor: Fence) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.raise_fence_floor(floor)
    }

    fn import_jobs(&self, jobs: Vec<MovedJob>) -> BoxFuture<'_, StoreResult<Vec<bool>>> {
        self.inner.import_jobs(jobs)
    }

    fn import_rows(&self, rows: Vec<Run>) -> BoxFuture<'_, StoreResult<u64>> {
        self.inner.import_rows(rows)
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.inner.changed()
    }
}

impl Records for Broken {
    fn record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, StoreResult<Option<Record>>> {
        self.inner.record(namespace, key)
    }

    fn records<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, StoreResult<Vec<Record>>> {
        self.inner.records(namespace)
    }

    fn put_record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
        value: Option<Value>,
        expect: Expect,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        self.inner.put_record(namespace, key, value, expect)
    }

    fn append_log<'a>(&'a self, log: &'a str, value: Value) -> BoxFuture<'a, StoreResult<u64>> {
        self.inner.append_log(log, value)
    }

    fn read_log<'a>(
        &'a self,
        log: &'a str,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<LogEntry>>> {
        self.inner.read_log(log, after, limit)
    }
}

/// What the task saw: the receiver of this test.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Request>>);

async fn record(context: RunContext, seen: State<Arc<Seen>>) {
    let began = now();
    sleep(Duration::from_millis(20)).await;
    seen.0.lock().unwrap().push(Request {
        job: ID.to_owned(),
        key: context.idempotency_key(),
        fence: context.run().fence.0,
        began,
        ended: now(),
        status: Some(200),
    });
}

async fn node(store: &Arc<Broken>, seen: &Arc<Seen>) -> TokioScheduler {
    let builder = Scheduler::builder()
        .zones(crate::serve::zones(None).unwrap())
        .lease(Duration::from_secs(2))
        .state(Arc::clone(seen))
        .task("record", record)
        .unwrap()
        .job_store("default", Arc::clone(store) as Arc<dyn JobStore>);
    let scheduler = TokioScheduler::build(builder).await.unwrap();
    scheduler.start(StartMode::Running).unwrap();
    scheduler
}

fn snapshot(job: &Job) -> Snapshot {
    Snapshot {
        trigger: job.definition.trigger.to_json(),
        schedule: job.definition.schedule.0.clone(),
        paused: job.state.paused.as_ref().map(|paused| Paused {
            until: paused.until.map(Timestamp::as_microsecond),
        }),
        next_run: job.next_run_time().map(Timestamp::as_microsecond),
        max_instances: job.definition.policy.max_instances,
    }
}

fn row(run: &Run) -> Row {
    let micros = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
    Row {
        id: run.id.to_string(),
        job: run.job_id.as_str().to_owned(),
        life: run.job_key.to_string(),
        key: run.idempotency_key(),
        kind: run.kind,
        scheduled_at: run.scheduled_at.as_microsecond(),
        due_at: run.due_at.as_microsecond(),
        attempt: run.attempt,
        state: run.state(),
        reason: run.reason,
        node: run.node.map(|node| node.to_string()),
        fence: run.fence.0,
        started_at: micros(run.started_at),
        finished_at: micros(run.finished_at),
        count: run.count,
        scheduled_until: micros(run.scheduled_until),
        superseded: run.superseded_at.is_some(),
        cancel_requested: run.cancel_requested,
    }
}

/// One job, every 200 ms, on two nodes, for four seconds; paused for the second of them.
async fn history(how: Break) -> History {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(Arc::new(SystemClock), crate::serve::zones(None).unwrap());
    let store = Arc::new(Broken {
        inner: SqliteStore::open(folder.path().join("broken.db"), options).unwrap(),
        how,
        given: AtomicU64::new(0),
        last: Mutex::default(),
    });
    let seen = Arc::new(Seen::default());
    let nodes = [node(&store, &seen).await, node(&store, &seen).await];
    let id = Broken::id();

    let mut steps = Vec::new();
    let mut note = |verb, from: Micros, after: Option<Snapshot>| {
        let window = Window { from, to: now() };
        steps.push(Step {
            window,
            verb,
            certain: true,
            after,
        });
    };
    let from = now();
    let trigger = Trigger::interval(Duration::from_millis(200)).unwrap();
    let job = NewJob::new("record").id(ID).trigger(trigger);
    let added = nodes[0].add_job(job).await.unwrap();
    note(Verb::Add, from, Some(snapshot(&added.job)));
    sleep(Duration::from_secs(1)).await;
    let from = now();
    let paused = nodes[1]
        .pause_job(&id, PauseRequest::default())
        .await
        .unwrap();
    note(Verb::Pause, from, Some(snapshot(&paused)));
    sleep(Duration::from_secs(1)).await;
    let from = now();
    let resumed = nodes[0].resume_job(&id).await.unwrap().unwrap();
    note(Verb::Resume, from, Some(snapshot(&resumed)));
    sleep(Duration::from_secs(2)).await;

    let settled = now() - SECOND;
    let from = now();
    nodes[0].pause().await.unwrap();
    let end = Window { from, to: now() };
    sleep(Duration::from_millis(300)).await;
    let from = now();
    let last = nodes[1].get_job(&id).await.unwrap().unwrap().job;
    note(Verb::Look, from, last.into_job().as_ref().map(snapshot));
    let query = RunQuery {
        limit: 10_000,
        ..RunQuery::default()
    };
    let runs = store.runs(&query).await.unwrap().items;
    let lives = nodes
        .iter()
        .map(|node| (node.node().to_string(), NodeLife::default()));
    let lives = lives.collect();
    for node in nodes {
        node.shutdown(Shutdown::Cancel).await;
    }
    let profile = Profile {
        http: true,
        attempts: 1,
        rerun: true,
        grace: None,
    };
    let job = JobHistory {
        profile,
        steps,
        manual: Vec::new(),
        manual_unsure: 0,
    };
    let requests = seen.0.lock().unwrap().clone();
    History {
        lease: 2 * SECOND,
        lag: SECOND,
        jobs: BTreeMap::from([(ID.to_owned(), job)]),
        rows: runs.iter().map(row).collect(),
        requests,
        nodes: lives,
        settled,
        end,
    }
}

/// Which kinds the checker reports; at least one of `expected` has to be among them, where there is one.
async fn expect(how: Break, expected: &[Kind]) {
    let history = history(how).await;
    assert!(
        history.rows.len() > 5,
        "{how:?}: hardly anything ran: {:#?}",
        history.rows
    );
    let violations = check(&history);
    let kinds: Vec<Kind> = violations.iter().map(|violation| violation.kind).collect();
    if expected.is_empty() {
        assert!(violations.is_empty(), "{how:?}: {violations:#?}");
    } else {
        let found = expected.iter().any(|kind| kinds.contains(kind));
        assert!(found, "{how:?} was not found out: {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_breaks_a_promise_is_found_out() {
    tokio::join!(
        expect(Break::Nothing, &[]),
        expect(Break::GiveTwice, &[Kind::StartedTwice]),
        expect(
            Break::GiveNobody,
            &[Kind::Unfinished, Kind::LostWithoutFault]
        ),
        expect(Break::SkipAhead, &[Kind::Missing]),
        expect(Break::DecideAgain, &[Kind::DecidedTwice]),
        expect(Break::ForgetPause, &[Kind::StartedWhilePaused]),
    );
}
