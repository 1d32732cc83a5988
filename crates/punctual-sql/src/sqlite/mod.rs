//! The `SQLite` job store: one file, several processes, nothing to install.
//!
//! # How it works
//!
//! One thread owns the connection that writes. It takes all requests that wait into one `BEGIN IMMEDIATE` transaction
//! and answers them after the commit, which with `synchronous=FULL` has reached the disk. A second thread answers
//! questions from a connection of its own. Futures hand their request over and wait; they need no runtime.
//!
//! Within a transaction a job is loaded with its live runs, [`punctual_core::plan`] says what to write, and it is
//! written: a claim, its rows of the ledger and the cursor become true together or not at all.
//!
//! Time is the injected clock's. All processes on one file share a machine, and so its clock.

mod claim;
mod error;
mod jobs;
mod locks;
mod open;
mod parked;
mod read;
mod records;
mod rows;
mod runs;
mod schema;
mod session;
mod sql;
#[cfg(test)]
mod tests;
mod thread;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use punctual_core::clock::{Clock, SystemClock};
use punctual_core::definitions::DefinitionCache;
use punctual_core::id::{Fence, JobId, NodeId, RunId, RunIds};
use punctual_core::job::StoredJob;
use punctual_core::plan::{AddRefusal, Addition, Finish, JobChange};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    Abilities, Added, BoxFuture, ClaimFilter, ClaimRequest, Claimed, Enqueued, Expect,
    FinishOutcome, JobQuery, JobStore, LogEntry, MovedJob, Page, ReclaimScope, Reclaimed, Record,
    Records, Renewed, Retention, RunQuery, StoreError, StoreResult, Updated,
};
use punctual_core::zones::Zones;
use serde_json::Value;

use self::locks::Locks;
use self::parked::Parked;
use self::read::Reader;
use self::session::Session;
use self::sql::Statements;
use self::thread::{Changed, Errors, Inbox, Owner, Queue};

/// The prefix of the tables, unless told otherwise.
pub const DEFAULT_PREFIX: &str = "punctual_";

/// How many rows of the ledger go in one transaction, so that claims come in between.
const PRUNE_ROWS: usize = 1000;
/// How many jobs are looked at in one go for rows too many.
const PRUNE_JOBS: usize = 500;

/// How a [`SqliteStore`] is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    prefix: String,
    clock: Arc<dyn Clock>,
    zones: Zones,
    busy_timeout: Duration,
    definitions_cached: usize,
}

impl Default for SqliteOptions {
    /// The clock and the time zones of the machine.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Zones::system())
    }
}

impl SqliteOptions {
    /// Options that say nothing but what time it is, and in which zones.
    pub fn new(clock: Arc<dyn Clock>, zones: Zones) -> Self {
        Self {
            prefix: DEFAULT_PREFIX.to_owned(),
            clock,
            zones,
            busy_timeout: Duration::from_secs(5),
            definitions_cached: 16_384,
        }
    }

    /// What the names of all tables begin with: up to 32 ASCII letters, digits and underscores. Default `punctual_`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long to wait for another process that writes. Default 5 s.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How many definitions stay in memory, read and compiled. Default 16,384.
    pub fn definitions_cached(mut self, count: usize) -> Self {
        self.definitions_cached = count;
        self
    }
}

/// A job store in an `SQLite` file. See the [module](self) for how it works.
///
/// Dropping it waits until the requests that were handed over are done.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    writes: Queue<Session>,
    reads: Queue<Reader>,
    changed: Changed,
    locks: Arc<Locks>,
    /// The writer, and the reader after it.
    threads: Vec<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the database, makes it where there is none, and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened or written, where its tables are newer than this program, and where it cannot
    /// keep what the store promises: no write-ahead log, no locks, a network file system.
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let errors = Errors {
            path: path.to_owned(),
            busy_timeout: options.busy_timeout,
        };
        let (writer, reader) =
            open::open(path, &options).map_err(|error| errors.describe(error))?;
        let sql = Arc::new(Statements::new(&options.prefix));
        let parked = Arc::new(Parked::default());
        let locks = Arc::new(Locks::new(path, &options.prefix, DEFAULT_PREFIX));
        let changed = Changed::default();
        let session = Session {
            db: writer,
            sql: Arc::clone(&sql),
            clock: Arc::clone(&options.clock),
            zones: options.zones.clone(),
            ids: RunIds::default(),
            cache: DefinitionCache::new(options.definitions_cached),
            parked: Arc::clone(&parked),
            locks: Arc::clone(&locks),
            changed: changed.clone(),
            earlier: false,
            dead: Vec::new(),
        };
        let reader = Reader {
            db: reader,
            sql,
            prefix: options.prefix,
            clock: Arc::clone(&options.clock),
            zones: options.zones,
            parked,
        };
        let (writes, write_inbox) = Queue::new(path);
        let (reads, read_inbox) = Queue::new(path);
        let threads = vec![
            spawn(
                "punctual-sqlite-write",
                write_inbox,
                session,
                "BEGIN IMMEDIATE",
                &errors,
            )?,
            spawn("punctual-sqlite-read", read_inbox, reader, "BEGIN", &errors)?,
        ];
        Ok(Self {
            path: path.to_owned(),
            clock: options.clock,
            writes,
            reads,
            changed,
            locks,
            threads,
        })
    }

    /// The path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn prune_all(&self, retention: Retention) -> StoreResult<u64> {
        let mut pruned = 0;
        let oldest = self
            .reads
            .call(move |reader| Ok(reader.oldest_kept(retention)))
            .await?;
        loop {
            let gone = self
                .writes
                .call(move |session| session.prune_old(oldest, PRUNE_ROWS))
                .await?;
            pruned += gone;
            if gone < PRUNE_ROWS as u64 {
                break;
            }
        }
        let keep = retention.rows_per_job;
        let mut after = Some(String::new());
        while let Some(start) = after {
            let (crowded, last) = self
                .reads
                .call(move |reader| reader.crowded(&start, keep, PRUNE_JOBS))
                .await?;
            for job in crowded {
                pruned += self.prune_job(job, keep).await?;
            }
            after = last;
        }
        Ok(pruned)
    }

    async fn prune_job(&self, job: String, keep: u64) -> StoreResult<u64> {
        let mut pruned = 0;
        loop {
            let id = job.clone();
            let gone = self
                .writes
                .call(move |session| session.prune_job(&id, keep, PRUNE_ROWS))
                .await?;
            pruned += gone;
            if gone < PRUNE_ROWS as u64 {
                return Ok(pruned);
            }
        }
    }
}

impl SqliteStore {
    fn join_last(&mut self) {
        if let Some(thread) = self.threads.pop() {
            // It has caught every panic, and there is nobody to tell of another.
            let _ = thread.join();
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // One after the other: of two connections that close at once neither is the last, which carries the log over.
        self.reads.close();
        self.join_last();
        self.writes.close();
        self.join_last();
    }
}

fn spawn<O: Owner>(
    name: &str,
    inbox: Inbox<O>,
    owner: O,
    begin: &'static str,
    errors: &Errors,
) -> Result<JoinHandle<()>, StoreError> {
    let errors = errors.clone();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || inbox.serve(owner, begin, &errors))
        .map_err(|error| StoreError::failed(format!("no thread for the job store: {error}")))
}

impl JobStore for SqliteStore {
    fn abilities(&self) -> Abilities {
        // SQLite tells no other process of a change.
        Abilities::new(true, true, false)
    }

    fn now(&self) -> BoxFuture<'_, StoreResult<Timestamp>> {
        Box::pin(std::future::ready(Ok(self.clock.now())))
    }

    fn register(&self, node: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move { self.locks.hold(node) })
    }

    fn deregister(&self, node: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            self.locks.release(node);
            Ok(())
        })
    }

    fn add_many(
        &self,
        additions: Vec<Addition>,
    ) -> BoxFuture<'_, StoreResult<Vec<Result<Added, AddRefusal>>>> {
        self.writes.call(move |session| {
            additions
                .into_iter()
                .map(|addition| session.add(addition))
                .collect()
        })
    }

    fn get<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
        let id = id.clone();
        self.reads.call(move |reader| reader.get(&id))
    }

    fn list<'a>(&'a self, query: &'a JobQuery) -> BoxFuture<'a, StoreResult<Page<StoredJob>>> {
        let query = query.clone();
        self.reads.call(move |reader| reader.list(&query))
    }

    fn update<'a>(
        &'a self,
        id: &'a JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> BoxFuture<'a, StoreResult<Updated>> {
        let id = id.clone();
        self.writes
            .call(move |session| session.update(&id, expected_revision, change))
    }

    fn remove<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
        let id = id.clone();
        self.writes.call(move |session| session.remove(&id))
    }

    fn remove_all(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.writes.call(Session::remove_all)
    }

    fn next_due<'a>(
        &'a self,
        filter: &'a ClaimFilter,
    ) -> BoxFuture<'a, StoreResult<Option<Timestamp>>> {
        let filter = filter.clone();
        self.reads.call(move |reader| reader.next_due(&filter))
    }

    fn claim(&self, request: ClaimRequest) -> BoxFuture<'_, StoreResult<Claimed>> {
        self.writes.call(move |session| session.claim(&request))
    }

    fn enqueue<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Enqueued>> {
        let id = id.clone();
        self.writes.call(move |session| session.enqueue(&id))
    }

    fn renew<'a>(
        &'a self,
        lease: Duration,
        runs: &'a [(RunId, Fence)],
    ) -> BoxFuture<'a, StoreResult<Vec<Renewed>>> {
        let runs = runs.to_vec();
        self.writes.call(move |session| session.renew(lease, &runs))
    }

    fn finish(&self, finishes: Vec<Finish>) -> BoxFuture<'_, StoreResult<Vec<FinishOutcome>>> {
        self.writes.call(move |session| {
            finishes
                .iter()
                .map(|finish| session.finish(finish))
                .collect()
        })
    }

    fn request_cancel(&self, run: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
        self.writes.call(move |session| session.request_cancel(run))
    }

    fn reclaim_expired(
        &self,
        node: NodeId,
        scope: ReclaimScope,
    ) -> BoxFuture<'_, StoreResult<Vec<Reclaimed>>> {
        self.writes
            .call(move |session| session.reclaim_expired(node, scope))
    }

    fn owned_by(&self, node: NodeId) -> BoxFuture<'_, StoreResult<Vec<Run>>> {
        // By the writer, after whatever it still has in hand: this is asked to learn what became of a claim.
        self.writes.call(move |session| session.owned_by(node))
    }

    fn run(&self, id: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
        self.reads.call(move |reader| reader.run(id))
    }

    fn runs<'a>(&'a self, query: &'a RunQuery) -> BoxFuture<'a, StoreResult<Page<Run>>> {
        let query = query.clone();
        self.reads.call(move |reader| reader.runs(&query))
    }

    fn counts(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<BTreeMap<RunState, u64>>> {
        self.reads.call(move |reader| reader.counts(since))
    }

    /// Goes a thousand rows at a time; dropped midway, the rest stays for the next time.
    fn prune(&self, retention: Retention) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(self.prune_all(retention))
    }

    fn fence_floor(&self) -> BoxFuture<'_, StoreResult<Fence>> {
        self.writes.call(|session| session.fence_floor())
    }

    fn raise_fence_floor(&self, fence: Fence) -> BoxFuture<'_, StoreResult<()>> {
        self.writes
            .call(move |session| session.raise_fence_floor(fence))
    }

    fn import_jobs(&self, jobs: Vec<MovedJob>) -> BoxFuture<'_, StoreResult<Vec<bool>>> {
        self.writes
            .call(move |session| jobs.iter().map(|moved| session.import_job(moved)).collect())
    }

    fn import_rows(&self, rows: Vec<Run>) -> BoxFuture<'_, StoreResult<u64>> {
        self.writes.call(move |session| session.import_rows(&rows))
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.changed.listen()
    }
}

impl Records for SqliteStore {
    fn record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, StoreResult<Option<Record>>> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.reads
            .call(move |reader| reader.record(&namespace, &key))
    }

    fn records<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, StoreResult<Vec<Record>>> {
        let namespace = namespace.to_owned();
        self.reads.call(move |reader| reader.records(&namespace))
    }

    fn put_record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
        value: Option<Value>,
        expect: Expect,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.writes
            .call(move |session| session.put_record(&namespace, &key, value.as_ref(), expect))
    }

    fn append_log<'a>(&'a self, log: &'a str, value: Value) -> BoxFuture<'a, StoreResult<u64>> {
        let log = log.to_owned();
        self.writes
            .call(move |session| session.append_log(&log, &value))
    }

    fn read_log<'a>(
        &'a self,
        log: &'a str,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<LogEntry>>> {
        let log = log.to_owned();
        self.reads
            .call(move |reader| reader.read_log(&log, after, limit))
    }
}
