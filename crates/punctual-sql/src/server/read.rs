//! What is read: the jobs that a unit locks, and the answers to questions.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use punctual_backend::{Awaited, BackendResult, Due, Listed, Snapshot};
use punctual_core::id::{Fence, JobId, NodeId, RunId};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    JobOrder, JobQuery, PAUSED_KEY, RunQuery, SCHEDULER_NAMESPACE, StoreError,
};

use super::backend::{SqlBackend, Unit};
use super::cell::{Cell, Value};
use super::dialect::{Dialect, Gate, Trouble};
use super::rows::{self, JOB, RUN};
use super::statement::{Sql, Statement};

/// How many ids one statement names.
pub(super) const IDS_MAX: usize = 1000;
/// The name in `meta` under which the fence floor stands.
pub(super) const FENCE_FLOOR: &str = "fence_floor";

pub(super) fn names<'a>(ids: impl IntoIterator<Item = &'a JobId>) -> Vec<Value> {
    ids.into_iter()
        .map(|id| Value::Name(id.as_str().to_owned()))
        .collect()
}

pub(super) fn run_ids<'a>(ids: impl IntoIterator<Item = &'a RunId>) -> Vec<Value> {
    ids.into_iter().map(|id| Value::Run(*id)).collect()
}

fn broken(error: String) -> Trouble {
    Trouble::Failed(error)
}

/// The statements put together as one: rows of all of them.
fn union<'p, D: Dialect>(
    sql: Sql<'p, D>,
    count: usize,
    mut branch: impl FnMut(Sql<'p, D>, usize) -> Sql<'p, D>,
) -> Sql<'p, D> {
    (0..count).fold(sql, |sql, at| {
        let sql = sql.add(if at == 0 { "(" } else { " UNION ALL (" });
        branch(sql, at).add(")")
    })
}

impl<D: Dialect> SqlBackend<D> {
    /// Finds the next jobs that are due without locking them, then locks those that nobody else has. Looking first keeps the
    /// locks to what is taken, however many tasks there are: each has its own stretch of the index.
    pub(super) async fn due_jobs(
        &self,
        unit: &mut Unit<D>,
        due: Due<'_>,
    ) -> Result<Vec<Snapshot>, Trouble> {
        let mut after = due
            .after
            .map(|(time, id)| (time.as_microsecond(), id.as_str().to_owned()));
        let mut known: HashSet<JobId> = HashSet::new();
        let mut found = Vec::new();
        while found.len() < due.limit {
            let wanted = due.limit - found.len();
            let looking = self.due_places(unit.now, &due, after.as_ref(), wanted);
            let answer = unit.link.run(looking).await?;
            let place = |row: &Vec<Cell>| Ok((row[0].int()?, row[1].text()?.to_owned()));
            let places: Result<Vec<(i64, String)>, String> =
                answer.rows.iter().map(place).collect();
            let places = places.map_err(broken)?;
            let is_last = places.len() < wanted;
            let Some(last) = places.last().cloned() else {
                break;
            };
            let ids = places.into_iter().map(|(_, id)| Value::Name(id)).collect();
            for row in self.take_due(unit, &due, ids).await? {
                if let Some(snapshot) = rows::snapshot(&row, unit.now)
                    && known.insert(snapshot.id.clone())
                {
                    let wake_at = row[12].int().unwrap_or(i64::MIN);
                    found.push((wake_at, rows::has_live(&row), snapshot));
                }
            }
            if is_last {
                break;
            }
            after = Some(last);
        }
        found.sort_by(|(one, _, a), (two, _, b)| (one, &a.id).cmp(&(two, &b.id)));
        let found = found.into_iter().map(|(_, live, job)| (live, job));
        self.with_live(unit, found.collect()).await
    }

    /// Where due jobs stand, as far as is known without a lock.
    pub(super) fn due_places(
        &self,
        now: Timestamp,
        due: &Due<'_>,
        after: Option<&(i64, String)>,
        limit: usize,
    ) -> Statement {
        let now = now.as_microsecond();
        let tasks: Vec<_> = due.tasks.iter().collect();
        // After a place come those of the same moment, then those of later ones: two stretches of the index.
        let stretches = if after.is_some() { 2 } else { 1 };
        let from = format!(
            "SELECT wake_at, id FROM @jobs{} WHERE executor = ",
            D::by_index("jobs_wake")
        );
        let sql = self.sql("SELECT wake_at, id FROM (");
        let sql = union(sql, tasks.len() * stretches, |sql, at| {
            let sql = sql.add(&from).name(due.executor.as_str());
            let sql = sql.add(" AND task = ").name(tasks[at / stretches].as_str());
            let sql = match (after, at % stretches) {
                (None, _) => sql.add(" AND wake_at <= ").int(now),
                (Some((time, id)), 0) => {
                    let sql = sql.add(" AND wake_at = ").int(*time);
                    sql.add(" AND id > ").name(id)
                }
                (Some((time, _)), _) => {
                    let sql = sql.add(" AND wake_at > ").int(*time);
                    sql.add(" AND wake_at <= ").int(now)
                }
            };
            sql.and_none_of("id", names(due.except))
                .add(" ORDER BY wake_at, id LIMIT ")
                .int(limit as i64)
        });
        let sql = sql.add(") AS c ORDER BY wake_at, id LIMIT ");
        sql.int(limit as i64).done()
    }

    /// Locks those of these jobs that are due still and that nobody else has.
    async fn take_due(
        &self,
        unit: &mut Unit<D>,
        due: &Due<'_>,
        ids: Vec<Value>,
    ) -> Result<Vec<Vec<Cell>>, Trouble> {
        let tasks = due.tasks.iter();
        let tasks = tasks.map(|task| Value::Name(task.as_str().to_owned()));
        let text = format!("SELECT {JOB} FROM @jobs WHERE id");
        let sql = self.sql(&text).among(ids);
        let sql = sql
            .add(" AND wake_at <= ")
            .int(unit.now.as_microsecond())
            .add(" AND executor = ")
            .name(due.executor.as_str())
            .add(" AND task")
            .among(tasks.collect())
            .add(" FOR UPDATE SKIP LOCKED");
        Ok(unit.link.run(sql.done()).await?.rows)
    }

    /// Locks jobs in the order of their ids.
    pub(super) async fn locked_jobs(
        &self,
        unit: &mut Unit<D>,
        ids: &[JobId],
    ) -> Result<Vec<Snapshot>, Trouble> {
        let mut found = self.lock_jobs(unit, ids, "").await?;
        let snapshots = ids.iter().map(|id| {
            let nothing = || (false, Snapshot::nothing(id.clone()));
            found.remove(id).unwrap_or_else(nothing)
        });
        let snapshots = snapshots.collect();
        self.with_live(unit, snapshots).await
    }

    /// Locks those of these jobs that are there and that nobody else has.
    pub(super) async fn lockable_jobs(
        &self,
        unit: &mut Unit<D>,
        ids: &[JobId],
    ) -> Result<Vec<Snapshot>, Trouble> {
        let mut found = self.lock_jobs(unit, ids, " SKIP LOCKED").await?;
        let snapshots = ids.iter().filter_map(|id| found.remove(id)).collect();
        self.with_live(unit, snapshots).await
    }

    /// Locks jobs; the flag says whether one has live runs.
    async fn lock_jobs(
        &self,
        unit: &mut Unit<D>,
        ids: &[JobId],
        how: &str,
    ) -> Result<HashMap<JobId, (bool, Snapshot)>, Trouble> {
        let mut found = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(IDS_MAX) {
            let text = format!("SELECT {JOB} FROM @jobs WHERE id");
            let sql = self.sql(&text).among(names(ids));
            let sql = sql.add(" ORDER BY id FOR UPDATE").add(how);
            for row in unit.link.run(sql.done()).await?.rows {
                if let Some(snapshot) = rows::snapshot(&row, unit.now) {
                    let has_live = rows::has_live(&row);
                    found.insert(snapshot.id.clone(), (has_live, snapshot));
                }
            }
        }
        Ok(found)
    }

    /// Locks the live runs of those jobs that say they have some, for a renewal locks no job.
    async fn with_live(
        &self,
        unit: &mut Unit<D>,
        jobs: Vec<(bool, Snapshot)>,
    ) -> Result<Vec<Snapshot>, Trouble> {
        let busy = jobs.iter().filter(|(has_live, _)| *has_live);
        let mut busy: Vec<_> = busy.map(|(_, job)| job.id.clone()).collect();
        busy.sort_unstable();
        let mut live: HashMap<JobId, Result<Vec<Run>, String>> = HashMap::new();
        for ids in busy.chunks(IDS_MAX) {
            let text = format!("SELECT {RUN} FROM @runs{}", D::by_index("runs_live"));
            let sql = self.sql(&text).add(" WHERE ").add(D::LIVE_JOB);
            let sql = sql.among(names(ids));
            let sql = sql.add(" AND state IN ('pending', 'running') ORDER BY id FOR UPDATE");
            for row in unit.link.run(sql.done()).await?.rows {
                let Ok(Ok(job)) = row[1].text().map(JobId::new) else {
                    continue; // it was asked for by that id
                };
                let runs = live.entry(job).or_insert_with(|| Ok(Vec::new()));
                match rows::run(&row) {
                    Ok(run) => {
                        if let Ok(runs) = runs {
                            runs.push(run);
                        }
                    }
                    Err(error) => *runs = Err(error),
                }
            }
        }
        let snapshots = jobs.into_iter().map(|(_, mut job)| {
            if let Some(runs) = live.remove(&job.id) {
                job.live = runs;
            }
            job
        });
        Ok(snapshots.collect())
    }

    pub(super) async fn rows_by_id(
        &self,
        unit: &mut Unit<D>,
        ids: &[RunId],
    ) -> BackendResult<Vec<Run>> {
        let mut runs = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS_MAX) {
            let text = format!("SELECT {RUN} FROM @runs WHERE id");
            let sql = self.sql(&text).among(run_ids(ids)).done();
            for row in unit.link.run(sql).await?.rows {
                runs.push(rows::run(&row).map_err(StoreError::failed)?);
            }
        }
        Ok(runs)
    }

    pub(super) async fn read_fence_floor(&self, unit: &mut Unit<D>) -> Result<Fence, Trouble> {
        let sql = self.sql("SELECT value FROM @meta WHERE name = ");
        let answer = unit.link.run(sql.name(FENCE_FLOOR).done()).await?;
        let floor = answer.one().map_or(Ok(0), Cell::int).map_err(broken)?;
        Ok(Fence(floor as u64))
    }

    fn paused_record(sql: Sql<'_, D>) -> Sql<'_, D> {
        sql.add("SELECT value FROM @records WHERE namespace = ")
            .name(SCHEDULER_NAMESPACE)
            .add(" AND name = ")
            .name(PAUSED_KEY)
    }

    pub(super) async fn read_paused(&self, unit: &mut Unit<D>) -> Result<bool, Trouble> {
        let record = format!(
            "{}; SELECT value FROM {}records WHERE namespace = '{SCHEDULER_NAMESPACE}' AND name = '{PAUSED_KEY}'",
            D::gate(&self.prefix, Gate::Claim),
            self.prefix
        );
        let answer = unit.link.run(Statement::script(record)).await?;
        // The gate's row, if it has one, says nothing.
        let record = answer.rows.last().and_then(|row| row.first());
        Ok(record.is_some_and(says_paused))
    }

    /// The first moment of each stretch of the index, and the record that says whether all of it matters.
    pub(super) fn wakes(&self, awaited: &Awaited<'_>) -> Statement {
        let classes: Vec<_> = awaited
            .tasks
            .iter()
            .flat_map(|task| {
                awaited
                    .executors
                    .iter()
                    .map(move |executor| (task, *executor))
            })
            .collect();
        let from = format!(
            "SELECT wake_at FROM @jobs{} WHERE executor = ",
            D::by_index("jobs_wake")
        );
        let sql = Self::paused_record(self.sql("SELECT MIN(wake_at), ("));
        let sql = sql.add(") FROM (");
        let sql = union(sql, classes.len(), |sql, at| {
            let (task, executor) = classes[at];
            let sql = sql.add(&from).name(executor.as_str());
            let sql = sql.add(" AND task = ").name(task.as_str());
            sql.add(" AND wake_at IS NOT NULL")
                .and_none_of("id", names(awaited.except))
                .add(" ORDER BY wake_at, id LIMIT 1")
        });
        sql.add(") AS c").done()
    }

    pub(super) async fn first_wake(
        &self,
        awaited: Awaited<'_>,
    ) -> Result<Option<Timestamp>, Trouble> {
        let answer = self.links.ask(self.wakes(&awaited)).await?;
        let Some([wake_at, paused]) = answer.rows.first().map(Vec::as_slice) else {
            return Ok(None);
        };
        if says_paused(paused) {
            return Ok(None);
        }
        let micros = wake_at.maybe_int().map_err(broken)?;
        let time = micros.map(Timestamp::from_microsecond).transpose();
        time.map_err(|error| broken(error.to_string()))
    }

    pub(super) async fn read_job(&self, id: &JobId) -> Result<Option<Listed>, Trouble> {
        let text = format!("SELECT {JOB} FROM @jobs WHERE id = ");
        let sql = self.sql(&text).name(id.as_str()).done();
        let answer = self.links.ask(sql).await?;
        // The present matters to a claim only.
        let row = answer.rows.first();
        Ok(row.and_then(|row| rows::listed(row, Timestamp::MIN)))
    }

    pub(super) async fn read_list(
        &self,
        query: &JobQuery,
        after: Option<&(i64, JobId)>,
        limit: usize,
    ) -> Result<Vec<Listed>, Trouble> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let from = |index: &str| format!("SELECT {JOB} FROM @jobs{}", D::by_index(index));
        let sql = match query.order {
            JobOrder::Id => {
                let sql = self
                    .sql(&from("PRIMARY"))
                    .add(" WHERE definition IS NOT NULL");
                let sql = match after {
                    Some((_, id)) => sql.add(" AND id > ").name(id.as_str()),
                    None => sql,
                };
                meeting(query, sql).add(" ORDER BY id LIMIT ").int(limit)
            }
            JobOrder::NextRun => {
                let text = from("jobs_listed");
                let stretches = if after.is_some() { 2 } else { 1 };
                let sql = self.sql(&format!("SELECT {JOB} FROM ("));
                let sql = union(sql, stretches, |sql, at| {
                    let sql = sql.add(&text).add(" WHERE listed_at");
                    let sql = match (after, at) {
                        (None, _) => sql.add(" IS NOT NULL"),
                        (Some((time, id)), 0) => sql
                            .add(" = ")
                            .int(*time)
                            .add(" AND id > ")
                            .name(id.as_str()),
                        (Some((time, _)), _) => sql.add(" > ").int(*time),
                    };
                    meeting(query, sql)
                        .add(" ORDER BY listed_at, id LIMIT ")
                        .int(limit)
                });
                sql.add(") AS c ORDER BY listed_at, id LIMIT ").int(limit)
            }
        };
        let answer = self.links.ask_long(sql.done()).await?;
        let found = answer.rows.iter();
        let listed = found.filter_map(|row| rows::listed(row, Timestamp::MIN));
        Ok(listed
            .map(|mut listed| {
                if query.order == JobOrder::Id {
                    listed.at = 0;
                }
                listed
            })
            .collect())
    }

    pub(super) async fn read_run(&self, id: RunId) -> BackendResult<Option<Run>> {
        let text = format!("SELECT {RUN} FROM @runs WHERE id = ");
        let answer = self.links.ask(self.sql(&text).run(id).done()).await?;
        let run = answer.rows.first().map(|row| rows::run(row)).transpose();
        Ok(run.map_err(StoreError::failed)?)
    }

    pub(super) async fn read_runs(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Trouble> {
        let mut before = before;
        let mut runs = Vec::new();
        // What cannot be read is left out, and makes no page shorter: a short one is taken for the last.
        while runs.len() < limit {
            let wanted = limit - runs.len();
            let answer = self
                .links
                .ask_long(self.runs_page(query, before, wanted))
                .await?;
            runs.extend(rows::readable(&answer.rows));
            before = match answer.rows.last().map(|row| row[0].run()) {
                Some(Ok(last)) if answer.rows.len() == wanted => Some(last),
                _ => break,
            };
        }
        Ok(runs)
    }

    /// Its text depends on what is asked, so that each question finds its index.
    pub(super) fn runs_page(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> Statement {
        let of_job = query.job_id.is_some();
        let (index, condition) = match query.state {
            _ if of_job => ("runs_job", None),
            Some(RunState::Pending | RunState::Running) => (
                "runs_live",
                Some(format!(
                    " AND state IN ('pending', 'running') AND {} IS NOT NULL",
                    D::LIVE_JOB
                )),
            ),
            None | Some(RunState::Succeeded) => ("PRIMARY", None),
            Some(state) => (
                "runs_state",
                Some(format!(
                    " AND state NOT IN ('pending', 'running', 'succeeded') AND {} = '{state}'",
                    D::ODD_STATE
                )),
            ),
        };
        let last = before.unwrap_or(RunId(u128::MAX));
        let text = format!("SELECT {RUN} FROM @runs{} WHERE id < ", D::by_index(index));
        let mut sql = self.sql(&text).run(last);
        if let Some(job) = &query.job_id {
            sql = sql.add(" AND job_id = ").name(job.as_str());
        }
        if let Some(condition) = condition {
            sql = sql.add(&condition);
        }
        if let Some(state) = query.state {
            sql = sql.add(&format!(" AND state = '{state}'"));
        }
        if let Some(from) = query.from {
            sql = sql.add(" AND scheduled_at >= ").int(from.as_microsecond());
        }
        if let Some(until) = query.until {
            sql = sql.add(" AND scheduled_at < ").int(until.as_microsecond());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        sql.add(" ORDER BY id DESC LIMIT ").int(limit).done()
    }

    pub(super) async fn read_owned(&self, node: NodeId) -> Result<Vec<Run>, Trouble> {
        let text = format!(
            "SELECT {RUN} FROM @runs{} WHERE lease_until IS NOT NULL AND state = 'running' AND node = ",
            D::by_index("runs_lease")
        );
        let sql = self.sql(&text).int(node.0 as i64).add(" ORDER BY id");
        let answer = self.links.ask(sql.done()).await?;
        Ok(rows::readable(&answer.rows))
    }

    pub(super) async fn read_expired(
        &self,
        node: NodeId,
        limit: usize,
    ) -> Result<Vec<(RunId, JobId)>, Trouble> {
        let text = format!(
            "SELECT id, job_id FROM @runs{} WHERE state = 'running' AND lease_until <= ",
            D::by_index("runs_lease")
        );
        let sql = self.now_in(self.sql(&text));
        let sql = sql.add(" AND node <> ").int(node.0 as i64);
        let sql = sql.add(" ORDER BY lease_until LIMIT ").int(limit as i64);
        let answer = self.links.ask(sql.done()).await?;
        let expired = |row: &Vec<Cell>| {
            let job = JobId::new(row[1].text()?).map_err(|error| error.to_string())?;
            Ok((row[0].run()?, job))
        };
        let expired: Result<_, String> = answer.rows.iter().map(expired).collect();
        expired.map_err(broken)
    }

    pub(super) async fn count_states(
        &self,
        since: Timestamp,
    ) -> Result<BTreeMap<RunState, u64>, Trouble> {
        let sql = self
            .sql("SELECT state, COUNT(*) FROM @runs")
            .add(&D::by_index("runs_live"))
            .add(" WHERE state IN ('pending', 'running') AND ")
            .add(D::LIVE_JOB)
            .add(" IS NOT NULL GROUP BY state UNION ALL SELECT state, COUNT(*) FROM @runs")
            .add(&D::by_index("runs_over"))
            .add(" WHERE finished_at >= ")
            .int(since.as_microsecond())
            .add(" GROUP BY state");
        let answer = self.links.ask_long(sql.done()).await?;
        let mut counts = BTreeMap::new();
        for row in &answer.rows {
            let state = row[0].text().map_err(broken)?;
            if let Some(state) = RunState::parse(state) {
                *counts.entry(state).or_default() += row[1].int().map_err(broken)? as u64;
            }
        }
        Ok(counts)
    }
}

/// The conditions of a query that cost nothing to leave to the server.
fn meeting<'p, D: Dialect>(query: &JobQuery, mut sql: Sql<'p, D>) -> Sql<'p, D> {
    if let Some(paused) = query.paused {
        sql = sql.add(if paused {
            " AND paused IS NOT NULL"
        } else {
            " AND paused IS NULL"
        });
    }
    match &query.task {
        Some(task) => sql.add(" AND task = ").name(task.as_str()),
        None => sql,
    }
}

fn says_paused(cell: &Cell) -> bool {
    let value = cell.text().ok();
    let value = value.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    value.is_some_and(|value| value["paused"] == true)
}
