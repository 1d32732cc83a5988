//! A name of its own for each store.

/// Makes a [`JobStore`](punctual_core::store::JobStore) of a type whose only field is a
/// [`BackendStore`](crate::BackendStore), by passing every verb on: so a store has a name and an `open` of its own.
#[macro_export]
macro_rules! delegate_job_store {
    ($store:ident) => {
        const _: () = {
            use std::collections::BTreeMap;
            use std::time::Duration;

            use $crate::export::jiff::Timestamp;
            use $crate::export::punctual_core::id::{Fence, JobId, NodeId, RunId};
            use $crate::export::punctual_core::job::StoredJob;
            use $crate::export::punctual_core::plan::{AddRefusal, Addition, Finish, JobChange};
            use $crate::export::punctual_core::run::{Run, RunState};
            use $crate::export::punctual_core::store::{
                Abilities, Added, BoxFuture, ClaimFilter, ClaimRequest, Claimed, Enqueued, Expect,
                FinishOutcome, JobQuery, JobStore, LogEntry, MovedJob, Page, ReclaimScope,
                Reclaimed, Record, Records, Renewed, Retention, RunQuery, StoreResult, Updated,
            };
            use $crate::export::serde_json::Value;

            impl JobStore for $store {
                fn abilities(&self) -> Abilities {
                    self.0.abilities()
                }
                fn now(&self) -> BoxFuture<'_, StoreResult<Timestamp>> {
                    self.0.now()
                }
                fn register(&self, node: NodeId) -> BoxFuture<'_, StoreResult<()>> {
                    self.0.register(node)
                }
                fn deregister(&self, node: NodeId) -> BoxFuture<'_, StoreResult<()>> {
                    self.0.deregister(node)
                }
                fn add_many(
                    &self,
                    additions: Vec<Addition>,
                ) -> BoxFuture<'_, StoreResult<Vec<Result<Added, AddRefusal>>>> {
                    self.0.add_many(additions)
                }
                fn get<'a>(
                    &'a self,
                    id: &'a JobId,
                ) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
                    self.0.get(id)
                }
                fn list<'a>(
                    &'a self,
                    query: &'a JobQuery,
                ) -> BoxFuture<'a, StoreResult<Page<StoredJob>>> {
                    self.0.list(query)
                }
                fn update<'a>(
                    &'a self,
                    id: &'a JobId,
                    expected_revision: Option<u64>,
                    change: JobChange,
                ) -> BoxFuture<'a, StoreResult<Updated>> {
                    self.0.update(id, expected_revision, change)
                }
                fn remove<'a>(
                    &'a self,
                    id: &'a JobId,
                ) -> BoxFuture<'a, StoreResult<Option<StoredJob>>> {
                    self.0.remove(id)
                }
                fn remove_all(&self) -> BoxFuture<'_, StoreResult<u64>> {
                    self.0.remove_all()
                }
                fn next_due<'a>(
                    &'a self,
                    filter: &'a ClaimFilter,
                ) -> BoxFuture<'a, StoreResult<Option<Timestamp>>> {
                    self.0.next_due(filter)
                }
                fn claim(&self, request: ClaimRequest) -> BoxFuture<'_, StoreResult<Claimed>> {
                    self.0.claim(request)
                }
                fn enqueue<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Enqueued>> {
                    self.0.enqueue(id)
                }
                fn renew<'a>(
                    &'a self,
                    lease: Duration,
                    runs: &'a [(RunId, Fence)],
                ) -> BoxFuture<'a, StoreResult<Vec<Renewed>>> {
                    self.0.renew(lease, runs)
                }
                fn finish(
                    &self,
                    finishes: Vec<Finish>,
                ) -> BoxFuture<'_, StoreResult<Vec<FinishOutcome>>> {
                    self.0.finish(finishes)
                }
                fn request_cancel(&self, run: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
                    self.0.request_cancel(run)
                }
                fn reclaim_expired(
                    &self,
                    node: NodeId,
                    scope: ReclaimScope,
                ) -> BoxFuture<'_, StoreResult<Vec<Reclaimed>>> {
                    self.0.reclaim_expired(node, scope)
                }
                fn owned_by(&self, node: NodeId) -> BoxFuture<'_, StoreResult<Vec<Run>>> {
                    self.0.owned_by(node)
                }
                fn run(&self, id: RunId) -> BoxFuture<'_, StoreResult<Option<Run>>> {
                    self.0.run(id)
                }
                fn runs<'a>(
                    &'a self,
                    query: &'a RunQuery,
                ) -> BoxFuture<'a, StoreResult<Page<Run>>> {
                    self.0.runs(query)
                }
                fn counts(
                    &self,
                    since: Timestamp,
                ) -> BoxFuture<'_, StoreResult<BTreeMap<RunState, u64>>> {
                    self.0.counts(since)
                }
                fn prune(&self, retention: Retention) -> BoxFuture<'_, StoreResult<u64>> {
                    self.0.prune(retention)
                }
                fn fence_floor(&self) -> BoxFuture<'_, StoreResult<Fence>> {
                    self.0.fence_floor()
                }
                fn raise_fence_floor(&self, fence: Fence) -> BoxFuture<'_, StoreResult<()>> {
                    self.0.raise_fence_floor(fence)
                }
                fn import_jobs(
                    &self,
                    jobs: Vec<MovedJob>,
                ) -> BoxFuture<'_, StoreResult<Vec<bool>>> {
                    self.0.import_jobs(jobs)
                }
                fn import_rows(&self, rows: Vec<Run>) -> BoxFuture<'_, StoreResult<u64>> {
                    self.0.import_rows(rows)
                }
                fn changed(&self) -> BoxFuture<'static, ()> {
                    self.0.changed()
                }
            }

            impl Records for $store {
                fn record<'a>(
                    &'a self,
                    namespace: &'a str,
                    key: &'a str,
                ) -> BoxFuture<'a, StoreResult<Option<Record>>> {
                    self.0.record(namespace, key)
                }
                fn records<'a>(
                    &'a self,
                    namespace: &'a str,
                ) -> BoxFuture<'a, StoreResult<Vec<Record>>> {
                    self.0.records(namespace)
                }
                fn put_record<'a>(
                    &'a self,
                    namespace: &'a str,
                    key: &'a str,
                    value: Option<Value>,
                    expect: Expect,
                ) -> BoxFuture<'a, StoreResult<bool>> {
                    self.0.put_record(namespace, key, value, expect)
                }
                fn append_log<'a>(
                    &'a self,
                    log: &'a str,
                    value: Value,
                ) -> BoxFuture<'a, StoreResult<u64>> {
                    self.0.append_log(log, value)
                }
                fn read_log<'a>(
                    &'a self,
                    log: &'a str,
                    after: u64,
                    limit: usize,
                ) -> BoxFuture<'a, StoreResult<Vec<LogEntry>>> {
                    self.0.read_log(log, after, limit)
                }
            }
        };
    };
}
