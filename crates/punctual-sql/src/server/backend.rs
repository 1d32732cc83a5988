//! What a [`BackendStore`](punctual_backend::BackendStore) asks of an SQL server, verb by verb.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use punctual_backend::{
    Awaited, Backend, BackendResult, Due, Fate, Listed, PruneProgress, Snapshot, StoreOptions,
    Version, Write,
};
use punctual_core::clock::Clock;
use punctual_core::id::{Fence, JobId, NodeId, RunId};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    BoxFuture, Expect, JobQuery, LogEntry, Record, Renewed, Retention, RunQuery, StoreError,
};
use serde_json::Value as Json;

use super::check;
use super::dialect::{Dialect, GATE, Raise, Trouble};
use super::link::{Link, Links};
use super::schema;
use super::statement::{Sql, Statement};

/// What is to be done when the store closes, beside closing its connections.
pub(crate) type Ending = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A database on an SQL server.
pub(crate) struct SqlBackend<D: Dialect> {
    pub(super) links: Links<D>,
    pub(super) prefix: String,
    clock: Option<Arc<dyn Clock>>,
    ending: Option<Ending>,
}

impl<D: Dialect> fmt::Debug for SqlBackend<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(D::NAME)
            .field("address", &self.links.dialect().address())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// A transaction, and the store's time within it. Dropped, it is rolled back.
#[derive(Debug)]
pub(crate) struct Unit<D: Dialect> {
    pub(super) link: Link<D>,
    pub(super) now: Timestamp,
}

impl<D: Dialect> SqlBackend<D> {
    /// Connects, looks whether the server can keep what the store promises, and brings the tables up to date.
    pub(crate) async fn open(dialect: D, options: &StoreOptions) -> Result<Self, StoreError> {
        let links = Links::new(dialect, options.connections, options.timeout);
        check::server(&links, &options.prefix).await?;
        schema::migrate(&links, &options.prefix).await?;
        let backend = Self {
            links,
            prefix: options.prefix.clone(),
            clock: options.clock.clone(),
            ending: None,
        };
        let gate = D::raise_meta(&backend.prefix, GATE, 0, Raise::By);
        backend.links.execute(gate).await?;
        check::locking(&backend).await?;
        if backend.clock.is_none() {
            check::offset(&backend).await?;
        }
        Ok(backend)
    }

    /// Does this, too, when the store closes.
    #[cfg(feature = "postgres")]
    pub(crate) fn ending(mut self, ending: Ending) -> Self {
        self.ending = Some(ending);
        self
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn links(&self) -> &Links<D> {
        &self.links
    }

    pub(super) fn sql(&self, text: &str) -> Sql<'_, D> {
        Sql::new(&self.prefix, text)
    }

    /// The store's time, as a part of a statement.
    pub(super) fn now_in<'p>(&self, sql: Sql<'p, D>) -> Sql<'p, D> {
        match &self.clock {
            Some(clock) => sql.int(clock.now().as_microsecond()),
            None => sql.add(D::NOW),
        }
    }

    pub(super) async fn unit(&self) -> Result<Unit<D>, Trouble> {
        if let Some(clock) = &self.clock {
            let (link, _) = self.links.first(Statement::script(D::BEGIN), true).await?;
            let now = clock.now();
            return Ok(Unit { link, now });
        }
        let text = format!("{}; SELECT {}", D::BEGIN, D::NOW);
        let (link, answer) = self.links.first(Statement::script(text), true).await?;
        let now = time_of(answer.one())?;
        Ok(Unit { link, now })
    }

    pub(super) async fn time(&self) -> Result<Timestamp, Trouble> {
        if let Some(clock) = &self.clock {
            return Ok(clock.now());
        }
        let text = format!("SELECT {}", D::NOW);
        let answer = self.links.ask(Statement::script(text)).await?;
        time_of(answer.one())
    }
}

fn time_of(cell: Option<&super::cell::Cell>) -> Result<Timestamp, Trouble> {
    let micros = cell.map_or(Err("no time".to_owned()), super::cell::Cell::int);
    let text = |text: String| Trouble::Failed(format!("the server's time: {text}"));
    let micros = micros.map_err(&text)?;
    Timestamp::from_microsecond(micros).map_err(|error| text(error.to_string()))
}

impl<D: Dialect> Backend for SqlBackend<D> {
    type Unit = Unit<D>;

    const NOTIFIES: bool = D::NOTIFIES;

    async fn begin(&self) -> BackendResult<(Unit<D>, Timestamp)> {
        let unit = self.unit().await?;
        let now = unit.now;
        Ok((unit, now))
    }

    async fn time(&self, unit: &mut Unit<D>) -> BackendResult<Timestamp> {
        if let Some(clock) = &self.clock {
            return Ok(clock.now());
        }
        let text = format!("SELECT {}", D::NOW);
        let answer = unit.link.run(Statement::script(text)).await?;
        Ok(time_of(answer.one())?)
    }

    async fn due(&self, unit: &mut Unit<D>, due: Due<'_>) -> BackendResult<Vec<Snapshot>> {
        Ok(self.due_jobs(unit, due).await?)
    }

    async fn jobs(&self, unit: &mut Unit<D>, ids: &[JobId]) -> BackendResult<Vec<Snapshot>> {
        Ok(self.locked_jobs(unit, ids).await?)
    }

    async fn free_jobs(&self, unit: &mut Unit<D>, ids: &[JobId]) -> BackendResult<Vec<Snapshot>> {
        Ok(self.lockable_jobs(unit, ids).await?)
    }

    async fn rows(&self, unit: &mut Unit<D>, ids: &[RunId]) -> BackendResult<Vec<Run>> {
        self.rows_by_id(unit, ids).await
    }

    async fn fence_floor(&self, unit: &mut Unit<D>) -> BackendResult<Fence> {
        Ok(self.read_fence_floor(unit).await?)
    }

    async fn is_paused(&self, unit: &mut Unit<D>) -> BackendResult<bool> {
        Ok(self.read_paused(unit).await?)
    }

    async fn commit(
        &self,
        unit: Unit<D>,
        writes: &[Write],
        announce: bool,
    ) -> BackendResult<Vec<Fate>> {
        self.write_all(unit, writes, announce).await
    }

    async fn now(&self) -> BackendResult<Timestamp> {
        Ok(self.time().await?)
    }

    async fn next_wake(&self, awaited: Awaited<'_>) -> BackendResult<Option<Timestamp>> {
        Ok(self.first_wake(awaited).await?)
    }

    async fn job(&self, id: &JobId) -> BackendResult<Option<Listed>> {
        Ok(self.read_job(id).await?)
    }

    async fn list(
        &self,
        query: &JobQuery,
        after: Option<&(i64, JobId)>,
        limit: usize,
    ) -> BackendResult<Vec<Listed>> {
        Ok(self.read_list(query, after, limit).await?)
    }

    async fn list_last(&self, id: &JobId, version: Version) -> BackendResult<()> {
        Ok(self.put_last(id, version).await?)
    }

    async fn run(&self, id: RunId) -> BackendResult<Option<Run>> {
        self.read_run(id).await
    }

    async fn runs(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> BackendResult<Vec<Run>> {
        Ok(self.read_runs(query, before, limit).await?)
    }

    async fn owned_by(&self, node: NodeId) -> BackendResult<Vec<Run>> {
        Ok(self.read_owned(node).await?)
    }

    async fn expired(&self, node: NodeId, limit: usize) -> BackendResult<Vec<(RunId, JobId)>> {
        Ok(self.read_expired(node, limit).await?)
    }

    async fn renew(&self, lease: Duration, runs: &[(RunId, Fence)]) -> BackendResult<Vec<Renewed>> {
        Ok(self.renew_all(lease, runs).await?)
    }

    async fn supersede(&self, runs: &[RunId], at: Timestamp) -> BackendResult<()> {
        Ok(self.note_superseded(runs, at).await?)
    }

    async fn counts(&self, since: Timestamp) -> BackendResult<BTreeMap<RunState, u64>> {
        Ok(self.count_states(since).await?)
    }

    async fn prune(
        &self,
        retention: Retention,
        progress: &mut PruneProgress,
    ) -> BackendResult<Option<u64>> {
        Ok(self.prune_some(retention, progress).await?)
    }

    async fn insert_rows(&self, rows: &[Run]) -> BackendResult<u64> {
        Ok(self.import_rows(rows).await?)
    }

    async fn raise_fence_floor(&self, fence: Fence) -> BackendResult<()> {
        Ok(self.write_fence_floor(fence).await?)
    }

    async fn record(&self, namespace: &str, key: &str) -> BackendResult<Option<Record>> {
        Ok(self.read_record(namespace, key).await?)
    }

    async fn records(&self, namespace: &str) -> BackendResult<Vec<Record>> {
        Ok(self.read_records(namespace).await?)
    }

    async fn put_record(
        &self,
        namespace: &str,
        key: &str,
        value: Option<&Json>,
        expect: Expect,
        announce: bool,
    ) -> BackendResult<bool> {
        self.write_record(namespace, key, value, expect, announce)
            .await
    }

    async fn append_log(&self, log: &str, value: &Json) -> BackendResult<u64> {
        Ok(self.write_log(log, value).await?)
    }

    async fn read_log(&self, log: &str, after: u64, limit: usize) -> BackendResult<Vec<LogEntry>> {
        Ok(self.read_entries(log, after, limit).await?)
    }

    async fn close(&self) {
        if let Some(ending) = &self.ending {
            ending().await;
        }
        self.links.close().await;
    }
}
