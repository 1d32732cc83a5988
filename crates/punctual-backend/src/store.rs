//! The job store that a backend makes.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use jiff::Timestamp;
use punctual_core::clock::SystemClock;
use punctual_core::definitions::DefinitionCache;
use punctual_core::id::{Fence, JobId, NodeId, RunId, RunIds};
use punctual_core::job::StoredJob;
use punctual_core::plan::{AddRefusal, Addition, Finish, JobChange};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    Abilities, Added, BoxFuture, ClaimFilter, ClaimRequest, Claimed, Enqueued, Expect,
    FinishOutcome, JobQuery, JobStore, LogEntry, MovedJob, PAUSED_KEY, Page, ReclaimScope,
    Reclaimed, Record, Records, Renewed, Retention, RunQuery, SCHEDULER_NAMESPACE, StoreError,
    StoreResult, Updated,
};
use serde_json::Value;
use tokio::runtime::{Handle, Runtime};

use crate::backend::{Backend, PruneProgress};
use crate::changed::Changed;
use crate::options::StoreOptions;
use crate::parked::Parked;
use crate::shared::Shared;

/// How many threads the calls run on: they wait for the server nearly all the time.
const THREADS: usize = 2;
/// How long open connections may take to say good-bye.
const CLOSE: Duration = Duration::from_secs(1);

/// A job store over a [`Backend`].
///
/// Every call runs as a task of the store's own tokio runtime, so its futures may be awaited anywhere, and dropping one
/// abandons the answer, never half of the work.
pub struct BackendStore<B: Backend> {
    shared: Arc<Shared<B>>,
    runtime: Option<Runtime>,
}

impl<B: Backend + fmt::Debug> fmt::Debug for BackendStore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BackendStore")
            .field(&self.shared.backend)
            .finish()
    }
}

impl<B: Backend> BackendStore<B> {
    /// Starts the runtime and connects on it. `connect` is given what to notify when another node has changed something.
    ///
    /// # Errors
    ///
    /// Those of `connect`; and where the options cannot be used, or no thread can be started.
    pub async fn open<F>(
        options: StoreOptions,
        connect: impl FnOnce(Changed) -> F,
    ) -> StoreResult<Self>
    where
        F: Future<Output = StoreResult<B>> + Send + 'static,
    {
        options.check_prefix()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("punctual-store")
            .enable_all()
            .build()
            .map_err(|error| StoreError::failed(format!("no thread for the job store: {error}")))?;
        // Whatever happens from here on, the runtime does not end within another.
        let mut guard = Guard(Some(runtime));
        let changed = Changed::default();
        let connecting = connect(changed.clone());
        let runtime = guard.0.as_ref().expect("it is still there");
        let backend = on(runtime.handle(), connecting).await?;
        let shared = Shared {
            backend,
            zones: options.zones,
            clock: options.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            ids: RunIds::default(),
            cache: Mutex::new(DefinitionCache::new(options.definitions_cached)),
            parked: Parked::default(),
            changed,
            timeout: options.timeout,
        };
        Ok(Self {
            shared: Arc::new(shared),
            runtime: guard.0.take(),
        })
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.shared.backend
    }

    fn call<T, F>(
        &self,
        verb: impl FnOnce(Arc<Shared<B>>) -> F + Send + 'static,
    ) -> BoxFuture<'static, StoreResult<T>>
    where
        T: Send + 'static,
        F: Future<Output = StoreResult<T>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let handle = self.handle();
        Box::pin(async move { on(&handle, verb(shared)).await })
    }

    fn handle(&self) -> Handle {
        let runtime = self.runtime.as_ref().expect("it is there until the drop");
        runtime.handle().clone()
    }
}

/// Runs a future as a task of the runtime.
async fn on<T, F>(handle: &Handle, future: F) -> StoreResult<T>
where
    T: Send + 'static,
    F: Future<Output = StoreResult<T>> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    handle.spawn(async move {
        // Whoever asked may be gone.
        let _ = answer.send(future.await);
    });
    answered.await.unwrap_or_else(|_| panicked())
}

fn panicked<T>() -> StoreResult<T> {
    Err(StoreError::failed("a call of the job store panicked"))
}

/// A runtime that may be dropped anywhere.
struct Guard(Option<Runtime>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl<B: Backend> Drop for BackendStore<B> {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let (closed, wait) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            shared.backend.close().await;
            let _ = closed.send(());
        });
        // The server frees what this process held before the next store is opened, if it answers.
        let _ = wait.recv_timeout(CLOSE);
        runtime.shutdown_background();
    }
}

impl<B: Backend + fmt::Debug> JobStore for BackendStore<B> {
    fn abilities(&self) -> Abilities {
        Abilities::new(true, true, B::NOTIFIES)
    }

    fn now(&self) -> BoxFuture<'_, StoreResult<Timestamp>> {
        self.call(|shared| async move { shared.settle(|| shared.backend.now()).await })
    }

    /// Nothing is kept of a node but its leases.
    fn register(&self, _: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn deregister(&self, _: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn add_many(
        &self,
        additions: Vec<Addition>,
    ) -> BoxFuture<'_, StoreResult<Vec<Result<Added, AddRefusal>>>> {
        self.call(|shared| async move { shared.add_many(&additions).await })
    }

    fn get<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
        let id = id.clone();
        self.call(|shared| async move { shared.get(&id).await })
    }

    fn list<'a>(&'a self, query: &'a JobQuery) -> BoxFuture<'a, StoreResult<Page<StoredJob>>> {
        let query = query.clone();
        self.call(|shared| async move { shared.list(&query).await })
    }

    fn update<'a>(
        &'a self,
        id: &'a JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> BoxFuture<'a, StoreResult<Updated>> {
        let id = id.clone();
        self.call(move |shared| async move { shared.update(&id, expected_revision, &change).await })
    }

    fn remove<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
        let id = id.clone();
        self.call(|shared| async move { shared.remove(&id).await })
    }

    /// Goes five hundred jobs at a time; dropped midway, it goes on.
    fn remove_all(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.call(|shared| async move { shared.remove_all().await })
    }

    fn next_due<'a>(
        &'a self,
        filter: &'a ClaimFilter,
    ) -> BoxFuture<'a, StoreResult<Option<Timestamp>>> {
        let filter = filter.clone();
        self.call(|shared| async move { shared.next_due(&filter).await })
    }

    /// Ends with its future: a claim that nobody waits for any more must not take runs.
    fn claim(&self, request: ClaimRequest) -> BoxFuture<'_, StoreResult<Claimed>> {
        let shared = Arc::clone(&self.shared);
        let handle = self.handle();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            handle.spawn(async move {
                let mut answer = answer;
                let claim = pin!(shared.claim(&request));
                if let Either::Left((claimed, _)) = select(claim, answer.cancellation()).await {
                    let _ = answer.send(claimed);
                }
            });
            answered.await.unwrap_or_else(|_| panicked())
        })
    }

    fn enqueue<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Enqueued>> {
        let id = id.clone();
        self.call(|shared| async move { shared.enqueue(&id).await })
    }

    fn renew<'a>(
        &'a self,
        lease: Duration,
        runs: &'a [(RunId, Fence)],
    ) -> BoxFuture<'a, StoreResult<Vec<Renewed>>> {
        let runs = runs.to_vec();
        self.call(move |shared| async move {
            shared.settle(|| shared.backend.renew(lease, &runs)).await
        })
    }

    fn finish(&self, finishes: Vec<Finish>) -> BoxFuture<'_, StoreResult<Vec<FinishOutcome>>> {
        self.call(|shared| async move { shared.finish(&finishes).await })
    }

    fn request_cancel(&self, run: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
        self.call(move |shared| async move { shared.request_cancel(run).await })
    }

    /// No death is proven from afar: only ended leases tell.
    fn reclaim_expired(
        &self,
        node: NodeId,
        scope: ReclaimScope,
    ) -> BoxFuture<'_, StoreResult<Vec<Reclaimed>>> {
        match scope {
            ReclaimScope::ProvenDead => Box::pin(std::future::ready(Ok(Vec::new()))),
            ReclaimScope::Expired => {
                self.call(move |shared| async move { shared.reclaim_expired(node).await })
            }
        }
    }

    fn owned_by(&self, node: NodeId) -> BoxFuture<'_, StoreResult<Vec<Run>>> {
        self.call(
            move |shared| async move { shared.settle(|| shared.backend.owned_by(node)).await },
        )
    }

    fn run(&self, id: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
        self.call(move |shared| async move { shared.settle(|| shared.backend.run(id)).await })
    }

    fn runs<'a>(&'a self, query: &'a RunQuery) -> BoxFuture<'a, StoreResult<Page<Run>>> {
        let query = query.clone();
        self.call(|shared| async move { shared.runs(&query).await })
    }

    fn counts(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<BTreeMap<RunState, u64>>> {
        self.call(move |shared| async move { shared.settle(|| shared.backend.counts(since)).await })
    }

    /// Goes some rows at a time; dropped midway, it goes on.
    fn prune(&self, retention: Retention) -> BoxFuture<'_, StoreResult<u64>> {
        self.call(move |shared| async move {
            let mut progress = PruneProgress::default();
            let mut pruned = 0;
            loop {
                let step = shared
                    .bounded(shared.backend.prune(retention, &mut progress))
                    .await?;
                match step {
                    Some(count) => pruned += count,
                    None => return Ok(pruned),
                }
            }
        })
    }

    fn fence_floor(&self) -> BoxFuture<'_, StoreResult<Fence>> {
        self.call(|shared| async move {
            shared
                .settle(|| async {
                    let (mut unit, _) = shared.backend.begin().await?;
                    shared.backend.fence_floor(&mut unit).await
                })
                .await
        })
    }

    fn raise_fence_floor(&self, fence: Fence) -> BoxFuture<'_, StoreResult<()>> {
        self.call(move |shared| async move {
            shared
                .settle(|| shared.backend.raise_fence_floor(fence))
                .await
        })
    }

    fn import_jobs(&self, jobs: Vec<MovedJob>) -> BoxFuture<'_, StoreResult<Vec<bool>>> {
        self.call(|shared| async move { shared.import_jobs(&jobs).await })
    }

    fn import_rows(&self, rows: Vec<Run>) -> BoxFuture<'_, StoreResult<u64>> {
        self.call(|shared| async move { shared.settle(|| shared.backend.insert_rows(&rows)).await })
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.shared.changed.listen()
    }
}

impl<B: Backend> Records for BackendStore<B> {
    fn record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, StoreResult<Option<Record>>> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.call(|shared| async move {
            shared
                .settle(|| shared.backend.record(&namespace, &key))
                .await
        })
    }

    fn records<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, StoreResult<Vec<Record>>> {
        let namespace = namespace.to_owned();
        self.call(
            |shared| async move { shared.settle(|| shared.backend.records(&namespace)).await },
        )
    }

    fn put_record<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a str,
        value: Option<Value>,
        expect: Expect,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.call(move |shared| async move {
            // The schedulers ask anew what is due: now there may be something again.
            let announce = namespace == SCHEDULER_NAMESPACE && key == PAUSED_KEY;
            let put = shared
                .settle(|| {
                    shared
                        .backend
                        .put_record(&namespace, &key, value.as_ref(), expect, announce)
                })
                .await?;
            if put && announce {
                shared.changed.notify();
            }
            Ok(put)
        })
    }

    fn append_log<'a>(&'a self, log: &'a str, value: Value) -> BoxFuture<'a, StoreResult<u64>> {
        let log = log.to_owned();
        self.call(move |shared| async move {
            shared
                .settle(|| shared.backend.append_log(&log, &value))
                .await
        })
    }

    fn read_log<'a>(
        &'a self,
        log: &'a str,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<LogEntry>>> {
        let log = log.to_owned();
        self.call(move |shared| async move {
            shared
                .settle(|| shared.backend.read_log(&log, after, limit))
                .await
        })
    }
}
