//! What is written: the changes of a unit, leases, and what the ledger forgets.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use punctual_backend::{After, BackendResult, Fate, PruneProgress, Version, Write};
use punctual_core::clock::earlier;
use punctual_core::id::{Fence, JobId, RunId};
use punctual_core::run::Run;
use punctual_core::store::{Renewed, Retention};

use super::backend::{SqlBackend, Unit};
use super::cell::{Cell, Column, Value};
use super::dialect::{Conflict, Dialect, Raise, Trouble};
use super::read::{FENCE_FLOOR, IDS_MAX, names, run_ids};
use super::rows::{self, JOB_COLUMNS, RUN_CHANGES, RUN_COLUMNS, STATE_COLUMNS};

/// How many rows one statement writes.
const ROWS_MAX: usize = 1000;
/// About how many bytes of values one statement carries, unless one row has more.
const BYTES_MAX: usize = 1 << 20;
/// How many rows of the ledger go in one transaction, so that claims come in between.
const PRUNE_ROWS: u64 = 1000;
/// How many jobs are looked at in one go for rows too many.
const PRUNE_JOBS: usize = 100;
/// The first version of a row lies anywhere below: so no two lives of an id share one.
const FIRST_VERSION_MAX: u64 = 1 << 52;

type Rows = Vec<Vec<Value>>;

/// The rows of one unit, sorted by what is done with them.
#[derive(Default)]
struct Batch {
    new_jobs: Rows,
    jobs: Rows,
    states: Rows,
    /// Jobs that go while runs of them are live.
    traces: Vec<(JobId, Fence, usize)>,
    gone: Vec<JobId>,
    unread: Vec<(JobId, Timestamp, usize)>,
    new_runs: Rows,
    runs: Rows,
    fence: Option<Fence>,
}

impl Batch {
    fn take(&mut self, write: &Write, version: u64) {
        let live = write.live.len();
        match (&write.after, write.expected) {
            (
                After::Job {
                    state,
                    definition,
                    document,
                    is_new,
                },
                expected,
            ) => {
                let whole = || rows::job_values(version, definition, document, state, live);
                match expected {
                    None => self.new_jobs.push(whole()),
                    Some(_) if *is_new => self.jobs.push(whole()),
                    Some(_) => self
                        .states
                        .push(rows::state_values(&write.id, version, state, live)),
                }
            }
            (After::Nothing { fence }, expected) => {
                self.fence = self.fence.max(Some(*fence));
                match expected {
                    None => {}
                    Some(_) if live > 0 => self.traces.push((write.id.clone(), *fence, live)),
                    Some(_) => self.gone.push(write.id.clone()),
                }
            }
            (After::Unread { wake_at }, _) => {
                self.unread.push((write.id.clone(), *wake_at, live));
            }
        }
        self.new_runs
            .extend(write.insert.iter().map(rows::run_values));
        self.runs.extend(write.update.iter().map(rows::run_values));
    }
}

/// Parts that one statement each can carry.
fn parts(rows: Rows) -> Vec<Rows> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let size: usize = row.iter().map(Value::size).sum();
        if !part.is_empty() && (part.len() == ROWS_MAX || bytes + size > BYTES_MAX) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(row);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

impl<D: Dialect> SqlBackend<D> {
    fn table(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Writes and commits. The jobs are locked since they were read, so what lies there is what was expected; only those
    /// that were not there may have come meanwhile.
    pub(super) async fn write_all(
        &self,
        mut unit: Unit<D>,
        writes: &[Write],
        announce: bool,
    ) -> BackendResult<Vec<Fate>> {
        match self.write(&mut unit, writes, announce).await {
            Ok(fates) => {
                unit.link.commit().await?;
                Ok(fates)
            }
            // New jobs step aside, so it is a row of the ledger.
            Err(Trouble::Duplicate(why)) => {
                tracing::debug!(%why, "the ledger has a row already");
                Ok(vec![Fate::Contradiction; writes.len()])
            }
            Err(trouble) => Err(trouble.into()),
        }
    }

    async fn write(
        &self,
        unit: &mut Unit<D>,
        writes: &[Write],
        announce: bool,
    ) -> Result<Vec<Fate>, Trouble> {
        let mut writes: Vec<(usize, &Write)> = writes.iter().enumerate().collect();
        writes.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
        let mut fates = vec![Fate::Written; writes.len()];

        let versions: Vec<u64> = writes
            .iter()
            .map(|(_, write)| match write.expected {
                Some(Version(version)) => version + 1,
                None => fastrand::u64(1..FIRST_VERSION_MAX),
            })
            .collect();
        let is_new =
            |write: &Write| write.expected.is_none() && matches!(write.after, After::Job { .. });
        let mut added = Batch::default();
        for ((_, write), version) in writes.iter().zip(&versions) {
            if is_new(write) {
                added.take(write, *version);
            }
        }
        let stale = self.insert_jobs(unit, added.new_jobs).await?;
        let mut batch = Batch::default();
        for ((index, write), version) in writes.iter().zip(&versions) {
            if stale.contains(write.id.as_str()) {
                fates[*index] = Fate::Stale;
            } else {
                batch.take(write, *version);
            }
        }

        let full = rows::names_after_id(JOB_COLUMNS);
        self.change(unit, "jobs", JOB_COLUMNS, &full, batch.jobs)
            .await?;
        let state = rows::names_after_id(STATE_COLUMNS);
        self.change(unit, "jobs", STATE_COLUMNS, &state, batch.states)
            .await?;
        self.leave_traces(unit, batch.traces).await?;
        self.delete_jobs(unit, &batch.gone).await?;
        self.wake_unread(unit, batch.unread).await?;
        for part in parts(batch.new_runs) {
            let insert = D::insert(&self.table("runs"), RUN_COLUMNS, part, Conflict::Fail);
            unit.link.run(insert).await?;
        }
        self.change(unit, "runs", RUN_COLUMNS, RUN_CHANGES, batch.runs)
            .await?;
        // Everybody's row: it is held until the commit, so it comes last.
        if let Some(fence) = batch.fence {
            let raise = D::raise_meta(&self.prefix, FENCE_FLOOR, fence.0 as i64, Raise::To);
            unit.link.run(raise).await?;
        }
        if announce {
            self.announce(unit).await?;
        }
        Ok(fates)
    }

    pub(super) async fn announce(&self, unit: &mut Unit<D>) -> Result<(), Trouble> {
        match self.links.dialect().announce() {
            Some(statement) => unit.link.run(statement).await.map(drop),
            None => Ok(()),
        }
    }

    /// Inserts jobs; returns the ids that were taken by then.
    async fn insert_jobs(
        &self,
        unit: &mut Unit<D>,
        jobs: Rows,
    ) -> Result<HashSet<String>, Trouble> {
        let mut taken = HashSet::new();
        for part in parts(jobs) {
            let expected: Vec<(Value, i64)> = part
                .iter()
                .map(|row| match &row[1] {
                    Value::Int(version) => (row[0].clone(), *version),
                    other => unreachable!("version {other:?}"),
                })
                .collect();
            let insert = D::insert(&self.table("jobs"), JOB_COLUMNS, part, Conflict::Keep);
            let answer = unit.link.run(insert).await?;
            if D::COUNTS_UPDATES && answer.affected == expected.len() as u64 {
                continue;
            }
            // Versions are random, so the row is this one if the version is.
            let ids = expected.iter().map(|(id, _)| id.clone()).collect();
            let sql = self
                .sql("SELECT id, version FROM @jobs WHERE id")
                .among(ids);
            let answer = unit.link.run(sql.add(" FOR UPDATE").done()).await?;
            let mut there = HashMap::new();
            for row in &answer.rows {
                if let (Ok(id), Ok(version)) = (row[0].text(), row[1].int()) {
                    there.insert(id.to_owned(), version);
                }
            }
            for (id, version) in expected {
                let Value::Name(id) = id else { continue };
                if there.get(&id) != Some(&version) {
                    taken.insert(id);
                }
            }
        }
        Ok(taken)
    }

    async fn change(
        &self,
        unit: &mut Unit<D>,
        table: &str,
        columns: &[Column],
        set: &[&str],
        rows: Rows,
    ) -> Result<(), Trouble> {
        for part in parts(rows) {
            let count = part.len() as u64;
            let update = D::update(&self.table(table), columns, set, part);
            let answer = unit.link.run(update).await?;
            if D::COUNTS_UPDATES && answer.affected != count {
                let why = format!("{} of {count} locked rows of {table}", answer.affected);
                return Err(Trouble::Again(why));
            }
        }
        Ok(())
    }

    async fn leave_traces(
        &self,
        unit: &mut Unit<D>,
        traces: Vec<(JobId, Fence, usize)>,
    ) -> Result<(), Trouble> {
        for (id, fence, live) in traces {
            let sql = self.sql(
                "UPDATE @jobs SET definition = NULL, wake_at = NULL, listed_at = NULL, fence = ",
            );
            let sql = sql.int(fence.0 as i64).add(", live = ").int(live as i64);
            let sql = sql
                .add(", version = version + 1 WHERE id = ")
                .name(id.as_str());
            unit.link.run(sql.done()).await?;
        }
        Ok(())
    }

    async fn delete_jobs(&self, unit: &mut Unit<D>, ids: &[JobId]) -> Result<(), Trouble> {
        for ids in ids.chunks(IDS_MAX) {
            let sql = self.sql("DELETE FROM @jobs WHERE id").among(names(ids));
            unit.link.run(sql.done()).await?;
        }
        Ok(())
    }

    async fn wake_unread(
        &self,
        unit: &mut Unit<D>,
        unread: Vec<(JobId, Timestamp, usize)>,
    ) -> Result<(), Trouble> {
        for (id, wake_at, live) in unread {
            let micros = wake_at.as_microsecond();
            let sql = self.sql(
                "UPDATE @jobs SET wake_at = CASE WHEN paused IS NULL THEN LEAST(COALESCE(wake_at, ",
            );
            let sql = sql.int(micros).add("), ").int(micros);
            let sql = sql.add(") ELSE wake_at END, live = ").int(live as i64);
            let sql = sql
                .add(", version = version + 1 WHERE id = ")
                .name(id.as_str());
            unit.link.run(sql.done()).await?;
        }
        Ok(())
    }

    pub(super) async fn put_last(&self, id: &JobId, version: Version) -> Result<(), Trouble> {
        let sql = self.sql("UPDATE @jobs SET listed_at = ").int(i64::MAX);
        let sql = sql.add(" WHERE id = ").name(id.as_str());
        let sql = sql.add(" AND version = ").int(version.0 as i64);
        self.links.execute(sql.done()).await.map(drop)
    }

    /// Locks the rows in the order of their ids, as every batch does, then writes them all.
    pub(super) async fn renew_all(
        &self,
        lease: Duration,
        runs: &[(RunId, Fence)],
    ) -> Result<Vec<Renewed>, Trouble> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let mut unit = self.unit().await?;
        let mut owned: HashMap<RunId, (i64, bool)> = HashMap::with_capacity(runs.len());
        let mut ids: Vec<RunId> = runs.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        for ids in ids.chunks(IDS_MAX) {
            let sql = self
                .sql("SELECT id, fence, cancel_requested FROM @runs WHERE id")
                .among(run_ids(ids))
                .add(" AND state = 'running' ORDER BY id FOR UPDATE");
            for row in unit.link.run(sql.done()).await?.rows {
                let read = (row[0].run(), row[1].int(), row[2].int());
                if let (Ok(id), Ok(fence), Ok(cancel)) = read {
                    owned.insert(id, (fence, cancel != 0));
                }
            }
        }
        let answers: Vec<Renewed> = runs
            .iter()
            .map(|(id, fence)| match owned.get(id) {
                Some((held, cancel)) if *held == fence.0 as i64 => {
                    if *cancel {
                        Renewed::CancelRequested
                    } else {
                        Renewed::Kept
                    }
                }
                _ => Renewed::Lost,
            })
            .collect();
        let kept = runs.iter().zip(&answers);
        let kept = kept.filter(|(_, answer)| **answer != Renewed::Lost);
        let mut kept: Vec<RunId> = kept.map(|((id, _), _)| *id).collect();
        kept.sort_unstable();
        kept.dedup();
        let until = punctual_core::clock::later(unit.now, lease).as_microsecond();
        for ids in kept.chunks(IDS_MAX) {
            let sql = self.sql("UPDATE @runs SET lease_until = ").int(until);
            let sql = sql.add(" WHERE id").among(run_ids(ids));
            unit.link.run(sql.done()).await?;
        }
        unit.link.commit().await?;
        Ok(answers)
    }

    pub(super) async fn note_superseded(
        &self,
        runs: &[RunId],
        at: Timestamp,
    ) -> Result<(), Trouble> {
        for ids in runs.chunks(IDS_MAX) {
            let sql = self.sql("UPDATE @runs SET superseded_at = ");
            let sql = sql.int(at.as_microsecond()).add(" WHERE id");
            self.links.execute(sql.among(run_ids(ids)).done()).await?;
        }
        Ok(())
    }

    pub(super) async fn prune_some(
        &self,
        retention: Retention,
        progress: &mut PruneProgress,
    ) -> Result<Option<u64>, Trouble> {
        if !progress.old_rows_done {
            let oldest = earlier(self.time().await?, retention.age).as_microsecond();
            let sql = self
                .sql("SELECT id FROM @runs")
                .add(&D::by_index("runs_over"))
                .add(" WHERE finished_at <= ")
                .int(oldest)
                .add(" ORDER BY finished_at LIMIT ")
                .int(PRUNE_ROWS as i64);
            let gone = self.forget(sql.done()).await?;
            progress.old_rows_done = gone < PRUNE_ROWS;
            return Ok(Some(gone));
        }
        let after = match &progress.job_id {
            Some(last) if last.is_empty() => return Ok(None),
            Some(last) => last.clone(),
            None => String::new(),
        };
        let sql = self
            .sql("SELECT job_id, COUNT(*) FROM @runs")
            .add(&D::by_index("runs_job"))
            .add(" WHERE job_id > ")
            .name(&after)
            .add(" GROUP BY job_id ORDER BY job_id LIMIT ")
            .int(PRUNE_JOBS as i64);
        let jobs = self.links.ask_long(sql.done()).await?.rows;
        let read = |row: &Vec<Cell>| Ok((row[0].text()?.to_owned(), row[1].int()? as u64));
        let jobs: Result<Vec<(String, u64)>, String> = jobs.iter().map(read).collect();
        let jobs = jobs.map_err(Trouble::Failed)?;
        let keep = retention.rows_per_job;
        let mut gone = 0;
        for (job, _) in jobs.iter().filter(|(_, rows)| *rows > keep) {
            let few = self.prune_job(job, keep).await?;
            gone += few;
            if few == PRUNE_ROWS {
                // There may be more of it, and claims are to come in between: look at it again.
                return Ok(Some(gone));
            }
            progress.job_id = Some(job.clone());
        }
        // No id is empty: that is the end.
        let last = jobs.last().filter(|_| jobs.len() == PRUNE_JOBS);
        progress.job_id = Some(last.map(|(job, _)| job.clone()).unwrap_or_default());
        Ok(Some(gone))
    }

    /// Forgets some rows of a job beyond the newest `keep` that are over.
    async fn prune_job(&self, job: &str, keep: u64) -> Result<u64, Trouble> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        let sql = self
            .sql("SELECT id FROM @runs")
            .add(&D::by_index("runs_job"))
            .add(" WHERE job_id = ")
            .name(job)
            .add(" AND finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT ")
            .int(PRUNE_ROWS as i64)
            .add(" OFFSET ")
            .int(keep);
        self.forget(sql.done()).await
    }

    /// Deletes the rows that a question names: what is over stays as it is, so they need no lock in between.
    async fn forget(&self, question: super::statement::Statement) -> Result<u64, Trouble> {
        let found = self.links.ask_long(question).await?.rows;
        if found.is_empty() {
            return Ok(0);
        }
        let ids: Result<Vec<RunId>, String> = found.iter().map(|row| row[0].run()).collect();
        let mut ids = ids.map_err(Trouble::Failed)?;
        ids.sort_unstable();
        let sql = self.sql("DELETE FROM @runs WHERE id").among(run_ids(&ids));
        self.links.execute(sql.done()).await?;
        Ok(ids.len() as u64)
    }

    pub(super) async fn import_rows(&self, runs: &[Run]) -> Result<u64, Trouble> {
        let mut inserted = 0;
        let mut unit = self.unit().await?;
        for runs in runs.chunks(ROWS_MAX) {
            let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
            let before = self.count_rows(&mut unit, &ids).await?;
            for part in parts(runs.iter().map(rows::run_values).collect()) {
                let insert = D::insert(&self.table("runs"), RUN_COLUMNS, part, Conflict::Keep);
                unit.link.run(insert).await?;
            }
            inserted += self.count_rows(&mut unit, &ids).await? - before;
        }
        unit.link.commit().await?;
        Ok(inserted)
    }

    async fn count_rows(&self, unit: &mut Unit<D>, ids: &[RunId]) -> Result<u64, Trouble> {
        let sql = self
            .sql("SELECT COUNT(*) FROM @runs WHERE id")
            .among(run_ids(ids));
        let answer = unit.link.run(sql.done()).await?;
        let count = answer
            .one()
            .map_or(Ok(0), Cell::int)
            .map_err(Trouble::Failed)?;
        Ok(count as u64)
    }

    pub(super) async fn write_fence_floor(&self, fence: Fence) -> Result<(), Trouble> {
        let raise = D::raise_meta(&self.prefix, FENCE_FLOOR, fence.0 as i64, Raise::To);
        self.links.execute(raise).await.map(drop)
    }
}
