//! What a database has to do: a few reads, and one conditional write.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use punctual_core::id::{ExecutorName, Fence, JobId, NodeId, RunId, TaskName};
use punctual_core::job::{JobDefinition, JobState, Paused};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    Expect, JobQuery, LogEntry, Record, Renewed, Retention, RunQuery, StoreError,
};
use serde_json::Value;

/// Why a backend could not do what was asked.
#[derive(Clone, Debug)]
pub enum BackendError {
    /// Somebody else was in the way: a deadlock, a serialization failure, a lost race. Nothing was written; the whole
    /// unit of work is done anew.
    Again(String),
    /// Anything else.
    Store(StoreError),
}

impl From<StoreError> for BackendError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What a backend returns.
pub type BackendResult<T> = Result<T, BackendError>;

/// Tells one state of what lies under an id from every other that ever lay there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

/// What lies under an id, with the live runs, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The id.
    pub id: JobId,
    /// What [`Write::expected`] compares; `None` where nothing lies under the id, not even a trace.
    pub version: Option<Version>,
    /// The job.
    pub body: Body,
    /// The pending and running runs of the id, in the order of their ids; or why one of them cannot be read.
    pub live: Result<Vec<Run>, String>,
}

impl Snapshot {
    /// What is under an id that was never used, or whose every trace is gone.
    pub fn nothing(id: JobId) -> Self {
        Self {
            id,
            version: None,
            body: Body::Nothing {
                fence: Fence::default(),
            },
            live: Ok(Vec::new()),
        }
    }
}

/// What is known of a job.
#[derive(Clone, Debug)]
pub enum Body {
    /// There is none. One that went may have left live runs.
    Nothing {
        /// The highest token of the job that went, as far as it is known here.
        fence: Fence,
    },
    /// There is one. Whether its document can be read is yet to be seen.
    Job {
        /// Where its decisions stand.
        state: JobState,
        /// Its definition, as [`punctual_core::document::write`] made it.
        document: Arc<str>,
    },
    /// Its state makes no sense.
    Damaged(Damaged),
}

/// What can be told of a job whose state makes no sense.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// What does not fit.
    pub error: String,
    /// What is stored.
    pub stored: String,
    /// Its revision, or 0.
    pub revision: u64,
    /// Its highest token, or 0.
    pub fence: Fence,
    /// Its pause, where that can be read.
    pub paused: Option<Paused>,
    /// When it would be claimed; the present where even that cannot be read.
    pub wake_at: Timestamp,
}

/// A job in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The id.
    pub id: JobId,
    /// What the list is ordered by, before the id: [`listed_at`] as stored. 0 in a list by id.
    pub at: i64,
    /// The job; never [`Body::Nothing`].
    pub body: Body,
}

/// What a list by next run is ordered by: microseconds, or `i64::MAX` for a job that has no next run or is paused.
pub fn listed_at(state: &JobState) -> i64 {
    let next = state.due_at.filter(|_| state.paused.is_none());
    next.map_or(i64::MAX, Timestamp::as_microsecond)
}

/// Jobs that a node can take: of these tasks, on this executor.
#[derive(Clone, Debug)]
pub struct Due<'a> {
    /// The tasks; never empty.
    pub tasks: &'a BTreeSet<TaskName>,
    /// The executor.
    pub executor: &'a ExecutorName,
    /// Jobs to step over; hardly ever any.
    pub except: &'a [JobId],
    /// Where the last answer of this unit ended: the `wake_at` and the id of its last job. Hardly ever asked for.
    pub after: Option<(Timestamp, &'a JobId)>,
    /// The most to return; never 0.
    pub limit: usize,
}

/// Jobs that a node waits for.
#[derive(Clone, Debug)]
pub struct Awaited<'a> {
    /// The tasks; never empty.
    pub tasks: &'a BTreeSet<TaskName>,
    /// The executors; never empty.
    pub executors: &'a [&'a ExecutorName],
    /// Jobs to step over; hardly ever any.
    pub except: &'a [JobId],
}

/// A change of what lies under one id: written whole, or not at all.
#[derive(Clone, Debug)]
pub struct Write {
    /// The id.
    pub id: JobId,
    /// What must lie there, by the snapshot that this change was made from.
    pub expected: Option<Version>,
    /// What lies there after.
    pub after: After,
    /// New rows of the ledger. That one is there already (its id, or its job key, kind, nominal time and attempt) is a
    /// [`Fate::Contradiction`].
    pub insert: Vec<Run>,
    /// Rows of the ledger that change; they were in the snapshot's `live`.
    pub update: Vec<Run>,
    /// All live runs of the id after, in the order of their ids: for stores that keep them beside the job.
    pub live: Vec<Run>,
}

/// What lies under an id after a [`Write`].
#[derive(Clone, Debug)]
pub enum After {
    /// A job.
    Job {
        /// Where its decisions stand.
        state: JobState,
        /// Its definition.
        definition: Arc<JobDefinition>,
        /// The same as text.
        document: Arc<str>,
        /// Whether the definition is another than before.
        is_new: bool,
    },
    /// No job. While `live` is not empty a trace with a version must stay, so that changes of these runs can be
    /// compared; after, nothing has to. In the same commit the store's fence floor is raised to `fence`.
    Nothing {
        /// The highest token given under the id.
        fence: Fence,
    },
    /// A job that this program cannot read, left as it is, but looked at not later than this moment by whoever can,
    /// unless it is paused.
    Unread {
        /// The moment.
        wake_at: Timestamp,
    },
}

/// What became of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written.
    Written,
    /// Something else lay under the id. Nothing of it was written.
    Stale,
    /// The ledger has one of its new rows already. Nothing of it was written; of the others in the batch nothing either
    /// where they have the same fate.
    Contradiction,
}

/// A database. [`BackendStore`](crate::BackendStore) makes a [`JobStore`](punctual_core::store::JobStore) of it.
///
/// All methods run on the store's own tokio runtime. Each must end by itself within a bounded time: connections have
/// timeouts.
///
/// The unit of work is a transaction where the store has them. There the rows that [`due`](Self::due) and
/// [`jobs`](Self::jobs) return stay locked until [`commit`](Self::commit) or until the unit is dropped, which undoes it.
/// Where there are none, `commit` compares versions, and nothing is held in between.
pub trait Backend: Send + Sync + 'static {
    /// A unit of work.
    type Unit: Send;

    /// Whether changes made through other nodes reach [`Changed`](crate::Changed).
    const NOTIFIES: bool;

    /// Begins a unit of work; returns the store's time within it.
    fn begin(&self) -> impl Future<Output = BackendResult<(Self::Unit, Timestamp)>> + Send;

    /// The store's time at this moment: later than at the unit's beginning by as long as it waited for what it read.
    fn time(&self, unit: &mut Self::Unit) -> impl Future<Output = BackendResult<Timestamp>> + Send;

    /// The jobs whose `wake_at` has come, earliest first, ties by id. Those that another unit holds are left out where
    /// the store can tell.
    fn due(
        &self,
        unit: &mut Self::Unit,
        due: Due<'_>,
    ) -> impl Future<Output = BackendResult<Vec<Snapshot>>> + Send;

    /// What lies under these ids, which ascend and are not the same: one answer each, in order.
    fn jobs(
        &self,
        unit: &mut Self::Unit,
        ids: &[JobId],
    ) -> impl Future<Output = BackendResult<Vec<Snapshot>>> + Send;

    /// The same, for whoever can do without those that another unit holds: where the store can tell, they are left out.
    fn free_jobs(
        &self,
        unit: &mut Self::Unit,
        ids: &[JobId],
    ) -> impl Future<Output = BackendResult<Vec<Snapshot>>> + Send {
        self.jobs(unit, ids)
    }

    /// The rows of the ledger with these ids, in any order; an error for one that is there and cannot be read.
    fn rows(
        &self,
        unit: &mut Self::Unit,
        ids: &[RunId],
    ) -> impl Future<Output = BackendResult<Vec<Run>>> + Send;

    /// The highest token ever given to a job that is gone, or something higher. Asked after [`jobs`](Self::jobs).
    fn fence_floor(
        &self,
        unit: &mut Self::Unit,
    ) -> impl Future<Output = BackendResult<Fence>> + Send;

    /// Whether the record that pauses all nodes says so.
    fn is_paused(&self, unit: &mut Self::Unit) -> impl Future<Output = BackendResult<bool>> + Send;

    /// Writes and ends the unit: one fate for each write, in order. `announce`: something is due earlier than before, so
    /// other nodes are to hear of it where the store can tell them.
    fn commit(
        &self,
        unit: Self::Unit,
        writes: &[Write],
        announce: bool,
    ) -> impl Future<Output = BackendResult<Vec<Fate>>> + Send;

    /// The store's time.
    fn now(&self) -> impl Future<Output = BackendResult<Timestamp>> + Send;

    /// The first `wake_at` of the jobs that are awaited; `None` where there is none, and while the scheduler is paused.
    fn next_wake(
        &self,
        awaited: Awaited<'_>,
    ) -> impl Future<Output = BackendResult<Option<Timestamp>>> + Send;

    /// One job.
    fn job(&self, id: &JobId) -> impl Future<Output = BackendResult<Option<Listed>>> + Send;

    /// Jobs after a place in the order that the query asks for, at most `limit`. Those that do not match the query may be
    /// left out, none that matches may. Its cursor and its limit are not looked at.
    fn list(
        &self,
        query: &JobQuery,
        after: Option<&(i64, JobId)>,
        limit: usize,
    ) -> impl Future<Output = BackendResult<Vec<Listed>>> + Send;

    /// Lists a job last from now on, for as long as it lies there unchanged: it cannot be read. No harm where it does not
    /// come about.
    fn list_last(
        &self,
        id: &JobId,
        version: Version,
    ) -> impl Future<Output = BackendResult<()>> + Send;

    /// One row of the ledger.
    fn run(&self, id: RunId) -> impl Future<Output = BackendResult<Option<Run>>> + Send;

    /// Rows of the ledger that match the query, newest first (by id, descending), with ids below `before`, at most `limit`.
    /// The query's cursor and limit are not looked at. Rows that cannot be read are logged and left out.
    fn runs(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> impl Future<Output = BackendResult<Vec<Run>>> + Send;

    /// The running runs of a node.
    fn owned_by(&self, node: NodeId) -> impl Future<Output = BackendResult<Vec<Run>>> + Send;

    /// Running runs of other nodes than `node` whose lease has ended, at most `limit`, with their jobs.
    fn expired(
        &self,
        node: NodeId,
        limit: usize,
    ) -> impl Future<Output = BackendResult<Vec<(RunId, JobId)>>> + Send;

    /// See [`JobStore::renew`](punctual_core::store::JobStore::renew). One statement for all.
    fn renew(
        &self,
        lease: Duration,
        runs: &[(RunId, Fence)],
    ) -> impl Future<Output = BackendResult<Vec<Renewed>>> + Send;

    /// Notes on rows that are over, or somebody else's, that a late result was refused.
    fn supersede(
        &self,
        runs: &[RunId],
        at: Timestamp,
    ) -> impl Future<Output = BackendResult<()>> + Send;

    /// See [`JobStore::counts`](punctual_core::store::JobStore::counts).
    fn counts(
        &self,
        since: Timestamp,
    ) -> impl Future<Output = BackendResult<BTreeMap<RunState, u64>>> + Send;

    /// Forgets some old rows of the ledger, and whatever else may go; `None` once nothing is left to forget. Each call
    /// takes a short time only.
    fn prune(
        &self,
        retention: Retention,
        progress: &mut PruneProgress,
    ) -> impl Future<Output = BackendResult<Option<u64>>> + Send;

    /// Inserts rows that are over, as another store held them; those there already are left alone. Returns how many were
    /// inserted.
    fn insert_rows(&self, rows: &[Run]) -> impl Future<Output = BackendResult<u64>> + Send;

    /// Raises the fence floor.
    fn raise_fence_floor(&self, fence: Fence) -> impl Future<Output = BackendResult<()>> + Send;

    /// See [`Records::record`](punctual_core::store::Records::record).
    fn record(
        &self,
        namespace: &str,
        key: &str,
    ) -> impl Future<Output = BackendResult<Option<Record>>> + Send;

    /// See [`Records::records`](punctual_core::store::Records::records).
    fn records(&self, namespace: &str) -> impl Future<Output = BackendResult<Vec<Record>>> + Send;

    /// See [`Records::put_record`](punctual_core::store::Records::put_record). `announce` as in [`commit`](Self::commit).
    fn put_record(
        &self,
        namespace: &str,
        key: &str,
        value: Option<&Value>,
        expect: Expect,
        announce: bool,
    ) -> impl Future<Output = BackendResult<bool>> + Send;

    /// See [`Records::append_log`](punctual_core::store::Records::append_log).
    fn append_log(
        &self,
        log: &str,
        value: &Value,
    ) -> impl Future<Output = BackendResult<u64>> + Send;

    /// See [`Records::read_log`](punctual_core::store::Records::read_log).
    fn read_log(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = BackendResult<Vec<LogEntry>>> + Send;

    /// Ends what runs beside the calls: listeners, connections. Called once, before the store goes.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Where a [`Backend::prune`] stands.
#[derive(Clone, Debug, Default)]
pub struct PruneProgress {
    /// The rows that are too old are gone.
    pub old_rows_done: bool,
    /// Jobs up to this one have not too many rows any more.
    pub job_id: Option<String>,
}
