//! The store as a backend.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use punctual_backend::{
    Awaited, Backend, BackendResult, Due, Fate, Listed, PruneProgress, Snapshot, Version, Write,
};
use punctual_core::clock::Clock;
use punctual_core::id::{Fence, JobId, NodeId, RunId};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    Expect, JobQuery, LogEntry, PAUSED_KEY, Record, Renewed, Retention, RunQuery,
    SCHEDULER_NAMESPACE,
};
use redis::{Cmd, Value as Answer};
use serde_json::Value;

use crate::connection::{Connections, Repeat};
use crate::documents::Documents;
use crate::error::senseless;
use crate::notify::Listener;
use crate::script::Script;
use crate::value;

/// A server, and what this store knows of it.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) connections: Connections,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) channel: String,
    pub(crate) listener: Listener,
    pub(crate) documents: Mutex<Documents>,
}

/// What one unit of work has seen. Nothing is locked.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) now: Timestamp,
    /// It asked what is due: nothing may start once the scheduler is paused.
    pub(crate) is_claim: bool,
    /// The fence floor, if it was asked for.
    pub(crate) floor: Option<Fence>,
    /// What was stored under the ids that it read.
    pub(crate) seen: HashMap<JobId, Vec<u8>>,
}

impl Unit {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            now,
            is_claim: false,
            floor: None,
            seen: HashMap::new(),
        }
    }
}

impl Redis {
    /// A key.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.connections.base)
    }

    /// Runs a script that may be run twice.
    pub(crate) async fn ask(
        &self,
        script: &Script,
        fill: impl FnOnce(&mut Cmd),
    ) -> BackendResult<Answer> {
        let mut command = self.connections.call(script);
        fill(&mut command);
        self.connections.run(script, command, Repeat::Once).await
    }

    /// Runs a script that must not be run twice.
    pub(crate) async fn tell(
        &self,
        script: &Script,
        fill: impl FnOnce(&mut Cmd),
    ) -> BackendResult<Answer> {
        let mut command = self.connections.call(script);
        fill(&mut command);
        self.connections.run(script, command, Repeat::Never).await
    }

    /// The injected time for scripts; empty where they are to ask the server.
    pub(crate) fn given_now(&self) -> String {
        let now = self
            .clock
            .as_ref()
            .map(|clock| clock.now().as_microsecond());
        now.map(|now| now.to_string()).unwrap_or_default()
    }

    pub(crate) async fn time(&self) -> BackendResult<Timestamp> {
        if let Some(clock) = &self.clock {
            return Ok(clock.now());
        }
        let [seconds, micros] = self.connections.ask("TIME").await.and_then(value::parts)?;
        let micros = value::number(seconds)? * 1_000_000 + value::number(micros)?;
        Timestamp::from_microsecond(micros).map_err(|error| senseless(&error.to_string()))
    }
}

impl Backend for Redis {
    type Unit = Unit;
    const NOTIFIES: bool = true;

    async fn begin(&self) -> BackendResult<(Unit, Timestamp)> {
        let now = self.time().await?;
        Ok((Unit::at(now), now))
    }

    async fn time(&self, _: &mut Unit) -> BackendResult<Timestamp> {
        self.time().await
    }

    async fn due(&self, unit: &mut Unit, due: Due<'_>) -> BackendResult<Vec<Snapshot>> {
        unit.is_claim = true;
        self.read_due(unit, due).await
    }

    async fn jobs(&self, unit: &mut Unit, ids: &[JobId]) -> BackendResult<Vec<Snapshot>> {
        self.read_jobs(unit, ids, &[]).await
    }

    async fn rows(&self, _: &mut Unit, ids: &[RunId]) -> BackendResult<Vec<Run>> {
        self.read_rows(ids).await
    }

    async fn fence_floor(&self, unit: &mut Unit) -> BackendResult<Fence> {
        let mut get = redis::cmd("GET");
        get.arg(self.key("fence_floor"));
        let floor = value::text(self.connections.command(&get, Repeat::Once).await?)?;
        let floor = Fence(floor.and_then(|floor| floor.parse().ok()).unwrap_or(0));
        unit.floor = Some(floor);
        Ok(floor)
    }

    async fn is_paused(&self, _: &mut Unit) -> BackendResult<bool> {
        let record = self.read_record(SCHEDULER_NAMESPACE, PAUSED_KEY).await?;
        Ok(record.is_some_and(|record| record.value["paused"] == true))
    }

    async fn commit(
        &self,
        unit: Unit,
        writes: &[Write],
        announce: bool,
    ) -> BackendResult<Vec<Fate>> {
        self.write(&unit, writes, announce).await
    }

    async fn now(&self) -> BackendResult<Timestamp> {
        self.time().await
    }

    async fn next_wake(&self, awaited: Awaited<'_>) -> BackendResult<Option<Timestamp>> {
        self.read_next_wake(awaited).await
    }

    async fn job(&self, id: &JobId) -> BackendResult<Option<Listed>> {
        self.read_job(id).await
    }

    async fn list(
        &self,
        query: &JobQuery,
        after: Option<&(i64, JobId)>,
        limit: usize,
    ) -> BackendResult<Vec<Listed>> {
        self.read_list(query.order, after, limit).await
    }

    async fn list_last(&self, id: &JobId, version: Version) -> BackendResult<()> {
        self.put_last(id, version).await
    }

    async fn run(&self, id: RunId) -> BackendResult<Option<Run>> {
        Ok(self.read_rows(&[id]).await?.pop())
    }

    async fn runs(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> BackendResult<Vec<Run>> {
        self.read_runs(query, before, limit).await
    }

    async fn owned_by(&self, node: NodeId) -> BackendResult<Vec<Run>> {
        self.read_owned(node).await
    }

    async fn expired(&self, node: NodeId, limit: usize) -> BackendResult<Vec<(RunId, JobId)>> {
        self.read_expired(node, limit).await
    }

    async fn renew(&self, lease: Duration, runs: &[(RunId, Fence)]) -> BackendResult<Vec<Renewed>> {
        self.renew_leases(lease, runs).await
    }

    async fn supersede(&self, runs: &[RunId], at: Timestamp) -> BackendResult<()> {
        self.note_superseded(runs, at).await
    }

    async fn counts(&self, since: Timestamp) -> BackendResult<BTreeMap<RunState, u64>> {
        self.count_runs(since).await
    }

    async fn prune(
        &self,
        retention: Retention,
        progress: &mut PruneProgress,
    ) -> BackendResult<Option<u64>> {
        self.prune_some(retention, progress).await
    }

    async fn insert_rows(&self, rows: &[Run]) -> BackendResult<u64> {
        self.put_rows(rows).await
    }

    async fn raise_fence_floor(&self, fence: Fence) -> BackendResult<()> {
        let raise = |command: &mut Cmd| {
            command.arg(fence.0);
        };
        self.ask(&crate::script::RAISE_FENCE_FLOOR, raise).await?;
        Ok(())
    }

    async fn record(&self, namespace: &str, key: &str) -> BackendResult<Option<Record>> {
        self.read_record(namespace, key).await
    }

    async fn records(&self, namespace: &str) -> BackendResult<Vec<Record>> {
        self.read_records(namespace).await
    }

    async fn put_record(
        &self,
        namespace: &str,
        key: &str,
        value: Option<&Value>,
        expect: Expect,
        announce: bool,
    ) -> BackendResult<bool> {
        self.write_record(namespace, key, value, expect, announce)
            .await
    }

    async fn append_log(&self, log: &str, value: &Value) -> BackendResult<u64> {
        self.append(log, value).await
    }

    async fn read_log(&self, log: &str, after: u64, limit: usize) -> BackendResult<Vec<LogEntry>> {
        self.read_entries(log, after, limit).await
    }

    async fn close(&self) {
        self.listener.stop();
        self.connections.close().await;
    }
}
