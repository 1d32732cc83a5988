//! What a case works with: a fresh store, a clock that it sets, and short words for long requests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use punctual_core::clock::{Clock, SimClock};
use punctual_core::id::{ExecutorName, Fence, JobId, NodeId, RunId, TaskName};
use punctual_core::job::{CompiledSchedule, Job, JobArgs, JobDefinition, Policy, StoredJob};
use punctual_core::plan::{
    AddRefusal, Addition, Finish, FirstRun, JobChange, JobPatch, OnConflict, PauseRequest,
    ReadyTrigger,
};
use punctual_core::run::{Ending, Run, RunState};
use punctual_core::store::{
    Added, BoxFuture, ClaimFilter, ClaimRequest, Claimed, Enqueued, FinishOutcome, JobQuery,
    JobStore, Page, ReclaimScope, Reclaimed, RunQuery, StoreResult, Updated,
};
use punctual_core::zones::Zones;
use punctual_trigger::Trigger;

/// When every trial begins: 2026-01-01T00:00:00Z.
pub const START: i64 = 1_767_225_600;
/// How long claims of a trial hold.
const LEASE: Duration = Duration::from_secs(30);

/// Makes places for stores, each empty and apart from the others.
pub trait FreshStore: Send + Sync {
    /// An empty place.
    fn fresh(&self) -> Box<dyn Place>;

    /// The server that the store needs and that is not there: no case can run.
    fn missing(&self) -> Option<String> {
        None
    }
}

/// The address of a server that tests may use, from `PUNCTUAL_TEST_<NAME>_URL`, such as `PUNCTUAL_TEST_POSTGRES_URL`.
///
/// # Panics
///
/// Where there is none and `CI` is `true`: there a suite that is skipped is a failure.
pub fn server_url(name: &str) -> Option<String> {
    let variable = format!("PUNCTUAL_TEST_{}_URL", name.to_uppercase());
    let url = std::env::var(&variable).ok().filter(|url| !url.is_empty());
    assert!(
        url.is_some() || std::env::var("CI").as_deref() != Ok("true"),
        "{variable} is not set; `cargo xtask test` starts the servers and sets it"
    );
    url
}

/// Where one store keeps its data: a file, a schema, a prefix.
pub trait Place: Send + Sync {
    /// Opens a store on what is there, reading `clock`. Called more than once only for stores that are durable (after the
    /// earlier one was dropped) or take many nodes (beside it, as another process would).
    fn open(&self, clock: &SimClock) -> BoxFuture<'_, StoreResult<Arc<dyn JobStore>>>;

    /// Spoils what is stored of a job, as a newer program or a hand might: it cannot be read any more, and its revision
    /// is another. `false` where nothing of the kind can happen.
    fn corrupt(&self, id: &JobId) -> bool {
        let _ = id;
        false
    }
}

/// A case does not apply to a store, for this reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped(pub &'static str);

/// How a case that did not panic went.
pub type Verdict = Result<(), Skipped>;

/// Runs one case; says on stderr when it is skipped, past the harness that hides what a passing test prints.
pub fn run_case<F: Future<Output = Verdict>>(
    name: &str,
    fresh: impl FreshStore + 'static,
    case: impl FnOnce(Trial) -> F,
) {
    if let Some(server) = fresh.missing() {
        let _ = writeln!(std::io::stderr(), "SKIPPED {name}: no {server} server");
        return;
    }
    async_io::block_on(async {
        let trial = Trial::new(Arc::new(fresh)).await;
        if let Err(Skipped(reason)) = case(trial).await {
            let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
        }
    });
}

/// A fresh store, its clock, and the node that claims unless a case says otherwise.
#[expect(
    missing_debug_implementations,
    reason = "a place need not be printable"
)]
pub struct Trial {
    /// The store.
    pub store: Arc<dyn JobStore>,
    /// The clock that it reads.
    pub clock: SimClock,
    /// The node.
    pub node: NodeId,
    fresh: Arc<dyn FreshStore>,
    place: Box<dyn Place>,
    zones: Zones,
}

impl Trial {
    async fn new(fresh: Arc<dyn FreshStore>) -> Self {
        let place = fresh.fresh();
        let clock = SimClock::new(Timestamp::from_second(START).expect("it is a time"));
        let store = place.open(&clock).await.expect("a fresh store opens");
        Self {
            store,
            clock,
            node: NodeId(1),
            fresh,
            place,
            zones: Zones::system(),
        }
    }

    /// A trial of its own, with another store.
    pub async fn anew(&self) -> Self {
        Self::new(Arc::clone(&self.fresh)).await
    }

    /// The same trial with another store on the same data, as after a restart.
    pub async fn reopened(self) -> Result<Self, Skipped> {
        if !self.store.abilities().durable {
            return Err(Skipped("the store is not durable"));
        }
        let Self {
            store,
            clock,
            fresh,
            place,
            zones,
            ..
        } = self;
        drop(store);
        let store = place
            .open(&clock)
            .await
            .expect("what was written can be opened");
        Ok(Self {
            store,
            clock,
            node: NodeId(2),
            fresh,
            place,
            zones,
        })
    }

    /// A second store on the same data, as another process has it.
    pub async fn second(&self) -> Result<Arc<dyn JobStore>, Skipped> {
        if !self.store.abilities().many_nodes {
            return Err(Skipped("the store takes one node"));
        }
        Ok(self
            .place
            .open(&self.clock)
            .await
            .expect("a second node can open the store"))
    }

    /// Spoils a stored job.
    pub fn corrupt(&self, id: &str) -> Result<(), Skipped> {
        if self.place.corrupt(&job_id(id)) {
            Ok(())
        } else {
            Err(Skipped("what the store holds cannot be spoilt"))
        }
    }

    /// The moment `seconds` after the start.
    pub fn at(&self, seconds: i64) -> Timestamp {
        self.at_micros(seconds * 1_000_000)
    }

    /// The moment `micros` microseconds after the start.
    pub fn at_micros(&self, micros: i64) -> Timestamp {
        Timestamp::from_microsecond(START * 1_000_000 + micros).expect("it is a time")
    }

    /// The moment `seconds` from now.
    pub fn clock_plus(&self, seconds: i64) -> Timestamp {
        let micros = self.clock.now().as_microsecond() + seconds * 1_000_000;
        Timestamp::from_microsecond(micros).expect("it is a time")
    }

    /// Lets time pass until `seconds` after the start.
    pub fn go_to(&self, seconds: i64) {
        self.go_to_micros(seconds * 1_000_000);
    }

    /// Lets time pass until `micros` microseconds after the start.
    pub fn go_to_micros(&self, micros: i64) {
        let to = self.at_micros(micros);
        let by = to.duration_since(self.clock.now());
        self.clock
            .advance(by.try_into().expect("time goes forward"));
    }

    /// The addition that a specification stands for, now.
    pub fn addition(&self, spec: JobSpec) -> Addition {
        spec.addition(self.clock.now(), &self.zones)
    }

    /// A trigger fixed and compiled, now.
    pub fn ready(&self, declared: &Trigger) -> ReadyTrigger {
        ready(declared, self.clock.now(), &self.zones)
    }

    /// Adds a job, or says why not.
    pub async fn try_add(&self, spec: JobSpec) -> Result<Added, AddRefusal> {
        let added = self.store.add_many(vec![self.addition(spec)]).await;
        let mut added = added.expect("the store works");
        assert_eq!(added.len(), 1, "one answer for one addition");
        added.remove(0)
    }

    /// Adds a job.
    pub async fn add(&self, spec: JobSpec) -> Job {
        self.try_add(spec).await.expect("the job is added").job
    }

    /// A job that must be there and readable.
    pub async fn get(&self, id: &str) -> Job {
        let found = self.store.get(&job_id(id)).await.expect("the store works");
        match found {
            Some(StoredJob::Job(job)) => job,
            other => panic!("job {id} is {other:?}"),
        }
    }

    /// Whether a job is there.
    pub async fn has(&self, id: &str) -> bool {
        let found = self.store.get(&job_id(id)).await.expect("the store works");
        found.is_some()
    }

    /// What all claims of a trial can take: the task `t` on `default`, 1000 slots.
    pub fn filter(&self) -> ClaimFilter {
        filter(&["t"], &[("default", 1000)])
    }

    /// A claim by the trial's node.
    pub fn request(&self, limit: usize) -> ClaimRequest {
        ClaimRequest {
            node: self.node,
            lease: LEASE,
            filter: self.filter(),
            limit,
        }
    }

    /// Claims all that is due.
    pub async fn claim(&self) -> Claimed {
        self.claim_with(self.request(1000)).await
    }

    /// Claims as another node.
    pub async fn claim_as(&self, node: NodeId) -> Claimed {
        let request = ClaimRequest {
            node,
            ..self.request(1000)
        };
        self.claim_with(request).await
    }

    /// Claims.
    pub async fn claim_with(&self, request: ClaimRequest) -> Claimed {
        self.store.claim(request).await.expect("the store works")
    }

    /// Claims, and expects one run to start.
    pub async fn claim_one(&self) -> Run {
        let mut started = started(&self.claim().await);
        assert_eq!(started.len(), 1, "{started:?}");
        started.remove(0)
    }

    /// When something is due.
    pub async fn next_due(&self) -> Option<Timestamp> {
        self.store
            .next_due(&self.filter())
            .await
            .expect("the store works")
    }

    /// Reports the end of an attempt.
    pub async fn finish(&self, run: &Run, ending: Ending) -> FinishOutcome {
        self.finish_with(finish(run, Some(ending))).await
    }

    /// Reports the end of an attempt that must be accepted.
    pub async fn succeed(&self, run: &Run) {
        let outcome = self.finish(run, Ending::Succeeded).await;
        assert!(
            matches!(outcome, FinishOutcome::Accepted { .. }),
            "{outcome:?}"
        );
    }

    /// Reports.
    pub async fn finish_with(&self, finish: Finish) -> FinishOutcome {
        let mut outcomes = self
            .store
            .finish(vec![finish])
            .await
            .expect("the store works");
        assert_eq!(outcomes.len(), 1, "one answer for one finish");
        outcomes.remove(0)
    }

    /// Takes what other nodes have let go of.
    pub async fn reclaim(&self) -> Vec<Reclaimed> {
        let reclaimed = self
            .store
            .reclaim_expired(self.node, ReclaimScope::Expired)
            .await;
        reclaimed.expect("the store works")
    }

    /// Changes a job.
    pub async fn update(&self, id: &str, change: JobChange) -> Updated {
        let updated = self.store.update(&job_id(id), None, change).await;
        updated.expect("the store works")
    }

    /// Changes a job that stays.
    pub async fn change(&self, id: &str, change: JobChange) -> Job {
        match self.update(id, change).await {
            Updated::Job(job) => job,
            other => panic!("the change of {id} came to {other:?}"),
        }
    }

    /// Pauses a job.
    pub async fn pause(&self, id: &str) -> Job {
        self.change(id, JobChange::Pause(PauseRequest::default()))
            .await
    }

    /// Puts a manual run into the ledger.
    pub async fn enqueue(&self, id: &str) -> Run {
        match self
            .store
            .enqueue(&job_id(id))
            .await
            .expect("the store works")
        {
            Enqueued::Run(_, run) => run,
            other => panic!("enqueueing {id} came to {other:?}"),
        }
    }

    /// A row of the ledger as it is now.
    pub async fn run(&self, id: RunId) -> Run {
        self.store
            .run(id)
            .await
            .expect("the store works")
            .expect("the row is there")
    }

    /// The ledger of a job, oldest first.
    pub async fn ledger(&self, id: &str) -> Vec<Run> {
        let mut rows = self
            .runs(RunQuery {
                job_id: Some(job_id(id)),
                ..RunQuery::default()
            })
            .await
            .items;
        rows.reverse();
        rows
    }

    /// Rows of the ledger, newest first.
    pub async fn runs(&self, query: RunQuery) -> Page<Run> {
        self.store.runs(&query).await.expect("the store works")
    }

    /// A list of jobs.
    pub async fn list(&self, query: JobQuery) -> Page<StoredJob> {
        self.store.list(&query).await.expect("the store works")
    }

    /// The ids of a list of jobs.
    pub async fn ids(&self, query: JobQuery) -> Vec<String> {
        let page = self.list(query).await;
        page.items.iter().map(|job| job.id().to_string()).collect()
    }
}

/// A job id that is right.
pub(crate) fn job_id(id: &str) -> JobId {
    JobId::new(id).expect("a job id")
}

/// A filter from names.
pub(crate) fn filter(tasks: &[&str], slots: &[(&str, usize)]) -> ClaimFilter {
    let tasks: BTreeSet<_> = tasks
        .iter()
        .map(|task| TaskName::new(task).expect("a task name"))
        .collect();
    let slots: BTreeMap<_, _> = slots
        .iter()
        .map(|&(name, count)| (ExecutorName::new(name).expect("an executor name"), count))
        .collect();
    ClaimFilter {
        tasks: Arc::new(tasks),
        slots,
    }
}

/// A report; `None` gives the run back.
pub(crate) fn finish(run: &Run, ending: Option<Ending>) -> Finish {
    Finish {
        run: run.id,
        fence: run.fence,
        ending,
        output: None,
        error: None,
        next_attempt_at: None,
    }
}

/// All runs that a claim took.
pub(crate) fn started(claimed: &Claimed) -> Vec<Run> {
    claimed
        .jobs
        .iter()
        .flat_map(|job| job.started.clone())
        .collect()
}

/// All rows that say why something does not run.
pub(crate) fn skipped(claimed: &Claimed) -> Vec<Run> {
    claimed
        .jobs
        .iter()
        .flat_map(|job| job.skipped.clone())
        .collect()
}

/// A run with the token it was claimed with.
pub(crate) fn held(run: &Run) -> (RunId, Fence) {
    (run.id, run.fence)
}

/// Where the rows of a ledger stand, in words.
pub(crate) fn words(rows: &[Run]) -> Vec<String> {
    rows.iter()
        .map(|run| match run.reason {
            Some(reason) => format!("{} {reason}", run.state()),
            None => run.state().to_string(),
        })
        .collect()
}

/// How many rows stand so.
pub(crate) fn count(rows: &[Run], state: RunState) -> usize {
    rows.iter().filter(|run| run.state() == state).count()
}

fn ready(declared: &Trigger, now: Timestamp, zones: &Zones) -> ReadyTrigger {
    let trigger = declared
        .resolve(now, "UTC", zones.db())
        .expect("the trigger of a case is right");
    let schedule = trigger.compile(zones.db()).expect("and compiles");
    ReadyTrigger {
        declared: (*declared != trigger).then(|| Box::new(declared.clone())),
        trigger,
        schedule,
    }
}

/// A patch that changes the trigger.
pub fn change_trigger(ready: ReadyTrigger) -> JobChange {
    JobChange::Modify(Box::new(JobPatch {
        trigger: Some(ready),
        ..JobPatch::default()
    }))
}

/// A job to be: the task `t` on `default`, every ten seconds, unless said otherwise.
#[derive(Clone, Debug)]
pub struct JobSpec {
    id: String,
    name: Option<Box<str>>,
    task: String,
    executor: String,
    trigger: Trigger,
    tags: Box<[Box<str>]>,
    /// How its occurrences are treated.
    pub policy: Policy,
    first_run: FirstRun,
    on_conflict: OnConflict,
}

/// A job with an id.
pub fn job(id: impl Into<String>) -> JobSpec {
    JobSpec {
        id: id.into(),
        name: None,
        task: "t".to_owned(),
        executor: "default".to_owned(),
        trigger: every(10_000_000),
        tags: Box::default(),
        policy: Policy::default(),
        first_run: FirstRun::ByTrigger,
        on_conflict: OnConflict::Error,
    }
}

/// Every so many microseconds.
pub(crate) fn every(micros: u64) -> Trigger {
    Trigger::interval(Duration::from_micros(micros)).expect("a positive interval")
}

#[expect(missing_docs, reason = "each sets what it is named after")]
impl JobSpec {
    pub fn every(self, seconds: u64) -> Self {
        self.trigger(every(seconds * 1_000_000))
    }

    pub fn once(self, at: Timestamp) -> Self {
        self.trigger(Trigger::date(at))
    }

    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    pub fn task(mut self, task: &str) -> Self {
        task.clone_into(&mut self.task);
        self
    }

    pub fn executor(mut self, executor: &str) -> Self {
        executor.clone_into(&mut self.executor);
        self
    }

    pub fn tags(mut self, tags: &[&str]) -> Self {
        self.tags = tags.iter().map(|&tag| tag.into()).collect();
        self
    }

    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    pub fn first_run(mut self, first_run: FirstRun) -> Self {
        self.first_run = first_run;
        self
    }

    pub fn replacing(mut self) -> Self {
        self.on_conflict = OnConflict::Replace;
        self
    }

    pub fn addition(self, now: Timestamp, zones: &Zones) -> Addition {
        let ready = ready(&self.trigger, now, zones);
        let definition = JobDefinition {
            id: job_id(&self.id),
            given_name: self.name,
            task: TaskName::new(&self.task).expect("a task name"),
            args: JobArgs::default().shared(),
            trigger: ready.trigger,
            declared: ready.declared,
            executor: ExecutorName::new(&self.executor).expect("an executor name"),
            policy: self.policy.shared(),
            tags: self.tags,
            created_at: now,
            updated_at: now,
            schedule: CompiledSchedule(ready.schedule),
        };
        Addition {
            definition,
            first_run: self.first_run,
            on_conflict: self.on_conflict,
        }
    }
}
