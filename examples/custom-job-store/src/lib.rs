//! A job store of your own, plugged in from outside: it stands around any other one and writes down, in a file that only grows, what
//! people have changed. What the scheduler does by itself is in the ledger already.
//!
//! Run with: `cargo run -p custom-job-store`
//!
//! Two lines of JSON stand for a change: what was asked for, before it is done, and what came of it. So nothing is changed without
//! a trace. Where the second line is missing, the process ended, or somebody gave up waiting: it may or may not have been done.

mod trail;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use punctual::document;
use punctual::id::{Fence, JobId, NodeId, RunId};
use punctual::job::{Job, StoredJob};
use punctual::plan::{AddRefusal, Addition, Finish, JobChange, OnConflict, PauseRequest};
use punctual::run::{Run, RunState};
use punctual::store::{
    Abilities, Added, BoxFuture, ClaimFilter, ClaimRequest, Claimed, Enqueued, Expect,
    FinishOutcome, JobQuery, JobStore, LogEntry, MovedJob, NODES_NAMESPACE, PAUSED_KEY, Page,
    ReclaimScope, Reclaimed, Record, Records, Renewed, Retention, RunQuery, SCHEDULER_NAMESPACE,
    StoreResult, Updated,
};
use serde_json::{Value, json};

use self::trail::Trail;

/// A job store with an audit trail.
#[derive(Debug)]
pub struct AuditedStore {
    store: Arc<dyn JobStore>,
    trail: Trail,
}

impl AuditedStore {
    /// Writes to the end of the file at `trail` what is changed in `store` from now on. Each process has a file of its own.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened.
    pub fn new(store: Arc<dyn JobStore>, trail: impl AsRef<Path>) -> std::io::Result<Self> {
        let trail = Trail::open(trail.as_ref())?;
        Ok(Self { store, trail })
    }

    /// Does what is asked for once that is written down, and writes down what came of it.
    fn audited<'a, T: Send + 'a>(
        &'a self,
        asked: Value,
        verb: impl FnOnce() -> BoxFuture<'a, StoreResult<T>> + Send + 'a,
        tell: impl FnOnce(&T) -> Value + Send + 'a,
    ) -> BoxFuture<'a, StoreResult<T>> {
        Box::pin(async move {
            // By the store's clock, as all other times.
            let place = self.trail.ask(self.store.now().await?, &asked)?;
            let answer = verb().await;
            let told = match &answer {
                Ok(answer) => tell(answer),
                Err(error) => json!({ "error": error.to_string() }),
            };
            self.trail.answer(place, &told);
            answer
        })
    }
}

/// Hands verbs on as they come.
macro_rules! hand_on {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => { $(
        fn $name<'a>(&'a self $(, $arg: $type)*) -> BoxFuture<'a, StoreResult<$answer>> {
            self.store.$name($($arg),*)
        }
    )* };
}

#[expect(
    clippy::elidable_lifetime_names,
    reason = "the macro names it for verbs that need it"
)]
impl JobStore for AuditedStore {
    hand_on! {
        now() -> Timestamp;
        register(node: NodeId) -> ();
        deregister(node: NodeId) -> ();
        get(id: &'a JobId) -> Option<StoredJob>;
        list(query: &'a JobQuery) -> Page<StoredJob>;
        next_due(filter: &'a ClaimFilter) -> Option<Timestamp>;
        claim(request: ClaimRequest) -> Claimed;
        renew(lease: Duration, runs: &'a [(RunId, Fence)]) -> Vec<Renewed>;
        finish(finishes: Vec<Finish>) -> Vec<FinishOutcome>;
        reclaim_expired(node: NodeId, scope: ReclaimScope) -> Vec<Reclaimed>;
        owned_by(node: NodeId) -> Vec<Run>;
        run(id: RunId) -> Option<Run>;
        runs(query: &'a RunQuery) -> Page<Run>;
        counts(since: Timestamp) -> BTreeMap<RunState, u64>;
        prune(retention: Retention) -> u64;
        fence_floor() -> Fence;
        raise_fence_floor(fence: Fence) -> ();
        import_rows(rows: Vec<Run>) -> u64;
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.store.changed()
    }

    fn add_many(
        &self,
        additions: Vec<Addition>,
    ) -> BoxFuture<'_, StoreResult<Vec<Result<Added, AddRefusal>>>> {
        let asked: Value = additions.iter().map(addition).collect();
        self.audited(
            json!({ "add": asked }),
            || self.store.add_many(additions),
            |added| added.iter().map(outcome).collect(),
        )
    }

    fn update<'a>(
        &'a self,
        id: &'a JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> BoxFuture<'a, StoreResult<Updated>> {
        let asked = match &change {
            JobChange::Pause(PauseRequest { by, note, until }) => {
                json!({ "pause": id, "by": by, "note": note, "until": until })
            }
            JobChange::Resume => json!({ "resume": id }),
            _ => json!({ "modify": id }),
        };
        self.audited(
            asked,
            move || self.store.update(id, expected_revision, change),
            |updated| match updated {
                Updated::Job(job) => json!({ "job": definition(job) }),
                Updated::Removed(_) => json!("removed: nothing was left to run"),
                Updated::Missing => json!("missing"),
                Updated::Unreadable(why) => json!({ "unreadable": why }),
                Updated::Conflict(revision) => json!({ "conflict": revision }),
            },
        )
    }

    fn remove<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
        self.audited(
            json!({ "remove": id }),
            || self.store.remove(id),
            |removed| match removed {
                Some(StoredJob::Job(job)) => json!({ "job": definition(job) }),
                Some(StoredJob::Unreadable(job)) => json!({ "unreadable": job.stored }),
                None => json!("missing"),
            },
        )
    }

    fn remove_all(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.audited(
            json!("remove all"),
            || self.store.remove_all(),
            |count| json!(count),
        )
    }

    fn enqueue<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Enqueued>> {
        self.audited(
            json!({ "run": id }),
            || self.store.enqueue(id),
            |enqueued| match enqueued {
                Enqueued::Run(_, run) => json!({ "run": run.id.to_string() }),
                Enqueued::Missing => json!("missing"),
                Enqueued::Unreadable(why) => json!({ "unreadable": why }),
            },
        )
    }

    fn request_cancel(&self, run: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
        self.audited(
            json!({ "cancel": run.to_string() }),
            move || self.store.request_cancel(run),
            |run| json!({ "job": run.as_ref().map(|run| &run.job_id) }),
        )
    }

    fn import_jobs(&self, jobs: Vec<MovedJob>) -> BoxFuture<'_, StoreResult<Vec<bool>>> {
        let asked: Value = jobs.iter().map(|moved| definition(&moved.job)).collect();
        self.audited(
            json!({ "import": asked }),
            || self.store.import_jobs(jobs),
            |imported| json!(imported),
        )
    }
}

impl Records for AuditedStore {
    hand_on! {
        record(namespace: &'a str, key: &'a str) -> Option<Record>;
        records(namespace: &'a str) -> Vec<Record>;
        append_log(log: &'a str, value: Value) -> u64;
        read_log(log: &'a str, after: u64, limit: usize) -> Vec<LogEntry>;
    }

    fn put_record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
        value: Option<Value>,
        expect: Expect,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let is_shared = namespace == SCHEDULER_NAMESPACE;
        if namespace == NODES_NAMESPACE || (is_shared && key != PAUSED_KEY) {
            // The scheduler's own notes: signs of life, the release of the time zone data.
            return self.store.put_record(namespace, key, value, expect);
        }
        let verb = if value.is_some() { "put" } else { "delete" };
        // Else the value may be the hash of a token.
        let shown = value.as_ref().filter(|_| is_shared);
        self.audited(
            json!({ verb: [namespace, key], "value": shown }),
            move || self.store.put_record(namespace, key, value, expect),
            |written| json!(written),
        )
    }
}

fn addition(addition: &Addition) -> Value {
    let id = &addition.definition.id;
    let replaces = addition.on_conflict == OnConflict::Replace;
    json!({ "id": id, "replaces": replaces, "definition": document::write(&addition.definition) })
}

fn definition(job: &Job) -> Value {
    json!({
        "id": job.id(),
        "revision": job.state.revision,
        "definition": document::write(&job.definition),
    })
}

fn outcome(added: &Result<Added, AddRefusal>) -> &'static str {
    match added {
        Ok(added) if added.replaced => "replaced",
        Ok(_) => "added",
        Err(AddRefusal::Exists) => "refused: the id is taken",
        Err(AddRefusal::NeverRuns) => "refused: it would never run",
    }
}
