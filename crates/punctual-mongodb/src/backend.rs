//! The backend: each question where it is answered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mongodb::bson::doc;
use punctual_backend::{
    Awaited, Backend, BackendResult, Due, Fate, Listed, PruneProgress, Snapshot, StoreOptions,
    Version, Write,
};
use punctual_core::id::{Fence, JobId, NodeId, RunId};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    Expect, JobQuery, LogEntry, Record, Renewed, Retention, RunQuery, StoreResult,
};
use serde_json::Value;
use tokio::task::AbortHandle;

use crate::decision::id_of;
use crate::inner::{Inner, Unit};
use crate::tidy::tidy;

/// A `MongoDB` server.
pub(crate) struct Mongo {
    inner: Arc<Inner>,
    tidying: AbortHandle,
}

impl fmt::Debug for Mongo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Mongo {
    pub(crate) async fn open(url: String, options: StoreOptions) -> StoreResult<Self> {
        let inner = Arc::new(crate::open::open(&url, &options).await?);
        let tidying = tokio::spawn(tidy(Arc::clone(&inner))).abort_handle();
        Ok(Self { inner, tidying })
    }

    #[cfg(test)]
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Backend for Mongo {
    type Unit = Unit;

    const NOTIFIES: bool = false;

    async fn begin(&self) -> BackendResult<(Unit, Timestamp)> {
        let unit = self.inner.begin().await?;
        let now = unit.now;
        Ok((unit, now))
    }

    async fn time(&self, _: &mut Unit) -> BackendResult<Timestamp> {
        self.inner.now().await
    }

    async fn due(&self, unit: &mut Unit, due: Due<'_>) -> BackendResult<Vec<Snapshot>> {
        self.inner.due(unit, &due).await
    }

    async fn jobs(&self, unit: &mut Unit, ids: &[JobId]) -> BackendResult<Vec<Snapshot>> {
        self.inner.jobs(unit, ids).await
    }

    async fn rows(&self, unit: &mut Unit, ids: &[RunId]) -> BackendResult<Vec<Run>> {
        self.inner.rows(unit, ids).await
    }

    async fn fence_floor(&self, _: &mut Unit) -> BackendResult<Fence> {
        self.inner.fence_floor().await
    }

    async fn is_paused(&self, _: &mut Unit) -> BackendResult<bool> {
        self.inner.is_paused().await
    }

    async fn commit(&self, unit: Unit, writes: &[Write], _: bool) -> BackendResult<Vec<Fate>> {
        self.inner.commit(&unit, writes).await
    }

    async fn now(&self) -> BackendResult<Timestamp> {
        self.inner.now().await
    }

    async fn next_wake(&self, awaited: Awaited<'_>) -> BackendResult<Option<Timestamp>> {
        self.inner.next_wake(&awaited).await
    }

    async fn job(&self, id: &JobId) -> BackendResult<Option<Listed>> {
        self.inner.job(id).await
    }

    async fn list(
        &self,
        query: &JobQuery,
        after: Option<&(i64, JobId)>,
        limit: usize,
    ) -> BackendResult<Vec<Listed>> {
        self.inner.list(query, after, limit).await
    }

    async fn list_last(&self, id: &JobId, version: Version) -> BackendResult<()> {
        let place = (self.inner.log.shard(id), id_of(id, version));
        let last = doc! {"$set": {"listed_at": i64::MAX}};
        self.inner.log.update(vec![place], &last).await
    }

    async fn run(&self, id: RunId) -> BackendResult<Option<Run>> {
        self.inner.run(id).await
    }

    async fn runs(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> BackendResult<Vec<Run>> {
        self.inner.runs(query, before, limit).await
    }

    async fn owned_by(&self, node: NodeId) -> BackendResult<Vec<Run>> {
        self.inner.owned_by(node).await
    }

    async fn expired(&self, node: NodeId, limit: usize) -> BackendResult<Vec<(RunId, JobId)>> {
        self.inner.expired(node, limit).await
    }

    async fn renew(&self, lease: Duration, runs: &[(RunId, Fence)]) -> BackendResult<Vec<Renewed>> {
        self.inner.renew(lease, runs).await
    }

    async fn supersede(&self, runs: &[RunId], at: Timestamp) -> BackendResult<()> {
        self.inner.supersede_rows(runs, at).await
    }

    async fn counts(&self, since: Timestamp) -> BackendResult<BTreeMap<RunState, u64>> {
        self.inner.counts(since).await
    }

    async fn prune(
        &self,
        retention: Retention,
        progress: &mut PruneProgress,
    ) -> BackendResult<Option<u64>> {
        self.inner.prune(retention, progress).await
    }

    async fn insert_rows(&self, rows: &[Run]) -> BackendResult<u64> {
        self.inner.insert_rows(rows).await
    }

    async fn raise_fence_floor(&self, fence: Fence) -> BackendResult<()> {
        self.inner.raise_fence_floor(fence).await
    }

    async fn record(&self, namespace: &str, key: &str) -> BackendResult<Option<Record>> {
        self.inner.record(namespace, key).await
    }

    async fn records(&self, namespace: &str) -> BackendResult<Vec<Record>> {
        self.inner.records(namespace).await
    }

    async fn put_record(
        &self,
        namespace: &str,
        key: &str,
        value: Option<&Value>,
        expect: Expect,
        _: bool,
    ) -> BackendResult<bool> {
        self.inner.put_record(namespace, key, value, expect).await
    }

    async fn append_log(&self, log: &str, value: &Value) -> BackendResult<u64> {
        self.inner.append_log(log, value).await
    }

    async fn read_log(&self, log: &str, after: u64, limit: usize) -> BackendResult<Vec<LogEntry>> {
        self.inner.read_log(log, after, limit).await
    }

    async fn close(&self) {
        self.tidying.abort();
        self.inner.client.clone().shutdown().immediate(true).await;
    }
}
