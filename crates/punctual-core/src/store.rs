//! The contract of a job store, in a scheduler's verbs.
//!
//! # The rules
//!
//! 1. **One commit point.** Each verb that changes something reads the job and its live runs, asks [`plan`](crate::plan)
//!    and writes the answer, all under one lock or in one transaction. Before the commit nothing has happened; after
//!    it everything has.
//! 2. **The job first.** Claim, finish, reclaim, enqueue and pause lock (or compare and set) the job before they look
//!    at its runs, so that instances are counted once.
//! 3. **The store's time.** Dueness and leases are judged by [`JobStore::now`], one clock for all nodes.
//! 4. **Nothing in the way.** [`JobStore::claim`] and [`JobStore::next_due`] see only jobs that the filter names.
//! 5. **Nothing is deleted unasked.** A job that cannot be read is listed as such, and left alone.
//! 6. While the record [`PAUSED_KEY`] in [`SCHEDULER_NAMESPACE`] says so, `claim` and `next_due` return nothing.
//!
//! Dropping a returned future abandons the answer, never half of the work. No future needs an ambient runtime.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::id::{ExecutorName, Fence, JobId, NodeId, RunId, TaskName};
use crate::job::{Job, JobDefinition, StoredJob};
use crate::plan::{AddRefusal, Addition, Finish, JobChange};
use crate::run::{Reason, Run, RunState};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a store returns.
pub type StoreResult<T> = Result<T, StoreError>;

/// Why a store could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached, is busy, or did not answer in time. Trying again may help.
    #[error("the job store is unavailable: {message}")]
    Unavailable {
        /// What happened.
        message: String,
    },
    /// The store answered something that makes no sense, or refused. Trying again will not help.
    #[error("the job store failed: {message}")]
    Failed {
        /// What happened.
        message: String,
    },
}

impl StoreError {
    /// An error that may pass.
    pub fn unavailable(error: impl fmt::Display) -> Self {
        Self::Unavailable {
            message: error.to_string(),
        }
    }

    /// An error that will not pass by itself.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::Failed {
            message: error.to_string(),
        }
    }

    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// What a store can do beyond the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// What is stored outlives the process.
    pub durable: bool,
    /// Several nodes may use it at once.
    pub many_nodes: bool,
    /// Changes made through other nodes are announced; without it they are noticed by polling.
    pub notification: bool,
}

impl Abilities {
    /// Abilities from their three answers.
    pub fn new(durable: bool, many_nodes: bool, notification: bool) -> Self {
        Self {
            durable,
            many_nodes,
            notification,
        }
    }
}

/// Which jobs a node can take, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimFilter {
    /// The tasks this node has.
    pub tasks: Arc<std::collections::BTreeSet<TaskName>>,
    /// The free slots of each of its executors.
    pub slots: BTreeMap<ExecutorName, usize>,
}

impl ClaimFilter {
    /// Whether nothing can pass.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() || self.slots.values().all(|&slots| slots == 0)
    }
}

/// A claim.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The node that claims.
    pub node: NodeId,
    /// How long the claim holds without a sign of life.
    pub lease: Duration,
    /// What it can take.
    pub filter: ClaimFilter,
    /// The most jobs to decide about in one go.
    pub limit: usize,
}

/// One job that a claim decided about.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// Its definition as it was then.
    pub definition: Arc<JobDefinition>,
    /// Runs the node owns now.
    pub started: Vec<Run>,
    /// Rows that say why occurrences do not run.
    pub skipped: Vec<Run>,
    /// Runs that were asked to stop to make room.
    pub cancelled: Vec<RunId>,
    /// Nothing was left, so the job is gone.
    pub removed: bool,
}

/// What a claim brought.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The jobs decided about, earliest first.
    pub jobs: Vec<ClaimedJob>,
    /// The store's time.
    pub now: Timestamp,
    /// Whether the limit was reached, so that more may be due.
    pub more: bool,
}

/// What `add` did.
#[derive(Clone, Debug)]
pub struct Added {
    /// The job as stored.
    pub job: Job,
    /// Whether it took the place of another.
    pub replaced: bool,
}

/// What `update` did.
#[derive(Clone, Debug)]
pub enum Updated {
    /// The job as it is now.
    Job(Job),
    /// The change left nothing to run, so the job is gone.
    Removed(Job),
    /// No job has the id.
    Missing,
    /// What is stored under the id cannot be read, so it cannot be changed, only removed or replaced.
    Unreadable(String),
    /// Its revision is not the expected one; this is.
    Conflict(u64),
}

/// What `enqueue` did.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "made one at a time, and taken apart at once"
)]
pub enum Enqueued {
    /// The run: pending, or skipped with its reason.
    Run(Job, Run),
    /// No job has the id.
    Missing,
    /// What is stored under the id cannot be read.
    Unreadable(String),
}

/// What became of one renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The lease runs anew.
    Kept,
    /// Likewise, and somebody asked the run to stop.
    CancelRequested,
    /// The run is no longer this node's: stop working on it.
    Lost,
}

/// What became of one finish.
#[derive(Clone, Debug, PartialEq)]
pub enum FinishOutcome {
    /// The result holds. `job_removed`: it was the job's last run.
    Accepted {
        /// The job is gone.
        job_removed: bool,
    },
    /// The run was somebody else's by then; the row notes it.
    Superseded,
    /// The ledger has no such run.
    Missing,
}

/// From whom runs are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReclaimScope {
    /// From owners whose death is proven. A node that has only just begun to renew its own leases goes no further: the
    /// store may have been away, and then nobody could renew.
    ProvenDead,
    /// Also from those whose lease has ended.
    Expired,
}

/// A run that was taken from a dead owner.
#[derive(Clone, Debug)]
pub struct Reclaimed {
    /// The run, lost.
    pub run: Run,
    /// Whether another attempt follows.
    pub again: bool,
}

/// The order of a list of jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobOrder {
    /// By next run, those without one last, ties by id. The default.
    #[default]
    NextRun,
    /// By id, byte for byte.
    Id,
}

/// Which jobs to list. All conditions must hold; the default is every job.
#[derive(Clone, Debug, Default)]
pub struct JobQuery {
    /// Words to be found in id, name or task, letters in either case.
    pub text: Option<String>,
    /// Tags that it has, all of them.
    pub tags: Vec<String>,
    /// Paused or not.
    pub paused: Option<bool>,
    /// The task.
    pub task: Option<TaskName>,
    /// The order.
    pub order: JobOrder,
    /// Where the last page ended: [`Page::next_cursor`].
    pub cursor: Option<String>,
    /// The most to return; 0 is no limit.
    pub limit: usize,
}

/// Which runs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// The job, gone or not.
    pub job_id: Option<JobId>,
    /// The state.
    pub state: Option<RunState>,
    /// Nominal time not before.
    pub from: Option<Timestamp>,
    /// Nominal time before.
    pub until: Option<Timestamp>,
    /// Where the last page ended: [`Page::next_cursor`].
    pub cursor: Option<String>,
    /// The most to return; 0 is no limit.
    pub limit: usize,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it on to get the next part; `None` at the end.
    pub next_cursor: Option<String>,
}

/// How long the ledger remembers. Pending and running rows are never pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rows that ended longer ago go. Default 30 days; zero keeps a row only while its run lives.
    pub age: Duration,
    /// Of each job the newest rows stay. Default 10,000; 0 keeps none that is over.
    pub rows_per_job: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Duration::from_hours(30 * 24),
            rows_per_job: 10_000,
        }
    }
}

/// A job as one store holds it, on its way to another.
#[derive(Clone, Debug, PartialEq)]
pub struct MovedJob {
    /// The job, with its state.
    pub job: Job,
    /// Its pending and running runs.
    pub live: Vec<Run>,
}

/// A place where jobs and their ledger are kept. See the [module](self) for the rules.
///
/// Every method may be called from many tasks at once.
pub trait JobStore: Records + fmt::Debug + Send + Sync + 'static {
    /// What it can do.
    fn abilities(&self) -> Abilities;

    /// The store's time: the server's clock, or for a store inside this process the injected one.
    fn now(&self) -> BoxFuture<'_, StoreResult<Timestamp>>;

    /// Makes `node` known as the owner of what this process will claim. Called once, before the first claim.
    fn register(&self, node: NodeId) -> BoxFuture<'_, StoreResult<()>>;

    /// Says that `node` has ended and owns nothing more.
    fn deregister(&self, node: NodeId) -> BoxFuture<'_, StoreResult<()>>;

    /// Adds jobs, each for itself: one answer for each, in order.
    fn add_many(
        &self,
        additions: Vec<Addition>,
    ) -> BoxFuture<'_, StoreResult<Vec<Result<Added, AddRefusal>>>>;

    /// The job with an id.
    fn get<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>>;

    /// Jobs by a query.
    fn list<'a>(&'a self, query: &'a JobQuery) -> BoxFuture<'a, StoreResult<Page<StoredJob>>>;

    /// Changes a job; with `expected_revision`, only if nobody changed it since.
    fn update<'a>(
        &'a self,
        id: &'a JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> BoxFuture<'a, StoreResult<Updated>>;

    /// Removes a job, readable or not; returns what it was. Its ledger stays.
    fn remove<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>>;

    /// Removes every job; returns how many.
    fn remove_all(&self) -> BoxFuture<'_, StoreResult<u64>>;

    /// When the first job that the filter names has something to claim. Slots do not matter, only names.
    fn next_due<'a>(
        &'a self,
        filter: &'a ClaimFilter,
    ) -> BoxFuture<'a, StoreResult<Option<Timestamp>>>;

    /// Decides about the jobs that are due, earliest first, and takes runs for the node: at most the free slots of
    /// each executor.
    fn claim(&self, request: ClaimRequest) -> BoxFuture<'_, StoreResult<Claimed>>;

    /// Puts a manual run into the ledger.
    fn enqueue<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Enqueued>>;

    /// Renews the leases of runs that this process executes; an answer for each, in order. Renewing a lease that has
    /// ended succeeds while nobody took the run.
    fn renew<'a>(
        &'a self,
        lease: Duration,
        runs: &'a [(RunId, Fence)],
    ) -> BoxFuture<'a, StoreResult<Vec<Renewed>>>;

    /// Records the ends of attempts; an answer for each, in order.
    fn finish(&self, finishes: Vec<Finish>) -> BoxFuture<'_, StoreResult<Vec<FinishOutcome>>>;

    /// Asks a run to stop. `None` where the ledger has no such run; else the run as it is now, over or not.
    fn request_cancel(&self, run: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>>;

    /// Takes runs from owners other than `node` itself.
    fn reclaim_expired(
        &self,
        node: NodeId,
        scope: ReclaimScope,
    ) -> BoxFuture<'_, StoreResult<Vec<Reclaimed>>>;

    /// The running runs that a node owns.
    fn owned_by(&self, node: NodeId) -> BoxFuture<'_, StoreResult<Vec<Run>>>;

    /// One row of the ledger.
    fn run(&self, id: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>>;

    /// Rows of the ledger by a query, newest first.
    fn runs<'a>(&'a self, query: &'a RunQuery) -> BoxFuture<'a, StoreResult<Page<Run>>>;

    /// How many rows stand in each state, of those that ended since, or are not over.
    fn counts(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<BTreeMap<RunState, u64>>>;

    /// Forgets old rows of the ledger; returns how many.
    fn prune(&self, retention: Retention) -> BoxFuture<'_, StoreResult<u64>>;

    /// The highest fencing token ever given to a job that is gone, or something higher.
    fn fence_floor(&self) -> BoxFuture<'_, StoreResult<Fence>>;

    /// Lets no new job begin with a lower token than this. For moving between stores.
    fn raise_fence_floor(&self, fence: Fence) -> BoxFuture<'_, StoreResult<()>>;

    /// Takes over jobs as another store held them: life, cursor, pause and fence go on. One whose id is taken is left
    /// alone. Says of each, in order, whether it was taken over.
    fn import_jobs(&self, jobs: Vec<MovedJob>) -> BoxFuture<'_, StoreResult<Vec<bool>>>;

    /// Takes over rows of a ledger that are over, as another store held them. Those that are there already are left
    /// alone. Returns how many were taken over.
    fn import_rows(&self, rows: Vec<Run>) -> BoxFuture<'_, StoreResult<u64>>;

    /// Resolves when a job may be due earlier than [`next_due`](Self::next_due) said, through this process or, where
    /// the store has [`Abilities::notification`], through any.
    fn changed(&self) -> BoxFuture<'static, ()>;
}

/// The namespace of what holds for the whole cluster.
pub const SCHEDULER_NAMESPACE: &str = "scheduler";
/// The record in it that pauses all nodes: `{"paused": true}`.
pub const PAUSED_KEY: &str = "paused";
/// The namespace in which nodes announce themselves and their tasks.
pub const NODES_NAMESPACE: &str = "nodes";

/// A document with its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its key.
    pub key: String,
    /// What it says.
    pub value: Value,
    /// Counts its changes, from 1.
    pub version: u64,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever.
    Any,
    /// No record.
    Absent,
    /// This version.
    Version(u64),
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// Its place: entries of one log ascend.
    pub position: u64,
    /// When it was appended, by the store's time.
    pub at: Timestamp,
    /// What it says.
    pub value: Value,
}

/// Small documents beside the jobs: tokens, nodes, settings, audit.
pub trait Records: Send + Sync {
    /// One document.
    fn record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, StoreResult<Option<Record>>>;

    /// All documents of a namespace, by key.
    fn records<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, StoreResult<Vec<Record>>>;

    /// Writes a document, or with `None` deletes it. Returns whether it found what it expected, and so wrote.
    fn put_record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
        value: Option<Value>,
        expect: Expect,
    ) -> BoxFuture<'a, StoreResult<bool>>;

    /// Appends to a log; returns the position.
    fn append_log<'a>(&'a self, log: &'a str, value: Value) -> BoxFuture<'a, StoreResult<u64>>;

    /// Entries after a position, oldest first.
    fn read_log<'a>(
        &'a self,
        log: &'a str,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<LogEntry>>>;
}

/// Why a run is taken from its owner.
pub fn reclaim_reason(owner_is_dead: bool) -> Reason {
    if owner_is_dead {
        Reason::NodeDied
    } else {
        Reason::LeaseExpired
    }
}

impl JobQuery {
    /// Whether a job meets every condition. One that cannot be read meets only those on its id.
    pub fn matches(&self, stored: &StoredJob) -> bool {
        let text = self.text.as_ref().map(|text| text.to_lowercase());
        let contains = |field: &str| {
            text.as_ref()
                .is_none_or(|text| field.to_lowercase().contains(text))
        };
        match stored {
            StoredJob::Unreadable(job) => {
                self.tags.is_empty()
                    && self.paused.is_none()
                    && self.task.is_none()
                    && contains(job.id.as_str())
            }
            StoredJob::Job(Job { definition, state }) => {
                (contains(definition.id.as_str())
                    || contains(definition.name())
                    || contains(definition.task.as_str()))
                    && self
                        .tags
                        .iter()
                        .all(|tag| definition.tags.iter().any(|own| **own == **tag))
                    && self
                        .paused
                        .is_none_or(|paused| paused == state.paused.is_some())
                    && self
                        .task
                        .as_ref()
                        .is_none_or(|task| *task == definition.task)
            }
        }
    }
}

impl JobOrder {
    /// What jobs are ordered by; also the cursor of a page, as text.
    pub fn key(self, stored: &StoredJob) -> (i64, JobId) {
        let time = match (self, stored) {
            (Self::Id, _) => 0,
            (Self::NextRun, StoredJob::Job(job)) => job
                .next_run_time()
                .map_or(i64::MAX, Timestamp::as_microsecond),
            (Self::NextRun, StoredJob::Unreadable(_)) => i64::MAX,
        };
        (time, stored.id().clone())
    }

    /// The cursor after a job with this key.
    pub fn cursor((time, id): &(i64, JobId)) -> String {
        format!("{time}.{id}")
    }

    /// Reads a cursor back.
    pub fn parse_cursor(cursor: &str) -> StoreResult<(i64, JobId)> {
        let parts = cursor
            .split_once('.')
            .and_then(|(time, id)| Some((time.parse().ok()?, JobId::new(id).ok()?)));
        parts.ok_or_else(|| {
            StoreError::failed(format!("cursor {cursor:?} was not made by this store"))
        })
    }
}

impl RunQuery {
    /// Whether a run meets every condition, the cursor included.
    pub fn matches(&self, run: &Run) -> bool {
        self.job_id.as_ref().is_none_or(|id| *id == run.job_id)
            && self.state.is_none_or(|state| state == run.state())
            && self.from.is_none_or(|from| run.scheduled_at >= from)
            && self.until.is_none_or(|until| run.scheduled_at < until)
    }

    /// The row after which this page begins.
    pub fn parse_cursor(&self) -> StoreResult<Option<RunId>> {
        let parsed = self.cursor.as_ref().map(|cursor| cursor.parse());
        parsed
            .transpose()
            .map_err(|_| StoreError::failed("the cursor was not made by this store"))
    }
}
