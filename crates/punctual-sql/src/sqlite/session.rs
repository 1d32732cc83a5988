//! What the writer has at hand within a transaction: loading jobs and their live runs, and writing plans.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use punctual_core::clock::Clock;
use punctual_core::decide::JobView;
use punctual_core::definitions::DefinitionCache;
use punctual_core::document;
use punctual_core::id::{Fence, JobId, RunId, RunIds};
use punctual_core::job::{Job, JobDefinition, JobState};
use punctual_core::plan::{Moment, Plan};
use punctual_core::run::Run;
use punctual_core::store::StoreError;
use punctual_core::zones::Zones;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::Result;
use super::locks::{DeadNode, Locks};
use super::parked::Parked;
use super::rows::{self, Broken, Head, JobHead, StateCells};
use super::sql::Statements;
use super::thread::{BATCH_MAX, Changed, Owner};

/// The writer's side of the store.
pub(super) struct Session {
    pub(super) db: Connection,
    pub(super) sql: Arc<Statements>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) zones: Zones,
    pub(super) ids: RunIds,
    pub(super) cache: DefinitionCache<(i64, i64)>,
    pub(super) parked: Arc<Parked>,
    pub(super) locks: Arc<Locks>,
    pub(super) changed: Changed,
    /// Something is due earlier than before this transaction.
    pub(super) earlier: bool,
    /// Whose files go once the transaction is committed.
    pub(super) dead: Vec<DeadNode>,
}

impl Owner for Session {
    const BATCH: usize = BATCH_MAX;

    fn db(&self) -> &Connection {
        &self.db
    }

    fn mark(&self) -> usize {
        self.dead.len()
    }

    fn undone(&mut self, mark: usize) {
        // What was read or written since may never have been. To wake somebody for nothing does no harm.
        self.cache.clear();
        self.dead.truncate(mark);
    }

    fn committed(&mut self) {
        self.dead.drain(..).for_each(DeadNode::forget);
        if std::mem::take(&mut self.earlier) {
            self.changed.notify();
        }
    }
}

/// A job with its live runs, as read.
pub(super) struct Loaded {
    pub(super) n: i64,
    pub(super) definition: Arc<JobDefinition>,
    pub(super) state: JobState,
    pub(super) live: Vec<Run>,
}

impl Loaded {
    pub(super) fn view(&self) -> JobView<'_> {
        JobView {
            definition: &self.definition,
            state: &self.state,
            live: &self.live,
        }
    }

    pub(super) fn job(&self) -> Job {
        rows::job(&self.definition, &self.state)
    }
}

/// A job that is there and cannot be read.
pub(super) struct Unreadable {
    pub(super) head: Head,
    pub(super) error: Broken,
}

/// What lies under an id.
pub(super) enum Found {
    Job(Loaded),
    Unreadable(Unreadable),
    Nothing,
}

impl Session {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn moment(&self) -> Moment<'_> {
        Moment {
            now: self.now(),
            ids: &self.ids,
        }
    }

    pub(super) fn head(&self, id: &JobId) -> Result<Option<Head>> {
        let mut query = self.db.prepare_cached(&self.sql.job_by_id)?;
        let head = query
            .query_row([id.as_str()], |row| Ok(rows::job_head(row)))
            .optional()?;
        Ok(head.flatten())
    }

    /// The job with an id, with its live runs.
    pub(super) fn find(&mut self, id: &JobId) -> Result<Found> {
        match self.head(id)? {
            None => Ok(Found::Nothing),
            Some(head) => self.load(head),
        }
    }

    /// The rest of a job.
    pub(super) fn load(&mut self, head: Head) -> Result<Found> {
        self.load_with(head, None)
    }

    /// The rest of a job whose live runs may be known.
    pub(super) fn load_with(&mut self, head: Head, live: Option<Vec<Run>>) -> Result<Found> {
        let head = match head {
            Head::Read(head) => head,
            Head::Broken(broken) => {
                let error = broken.error.clone();
                let head = Head::Broken(broken);
                return Ok(Found::Unreadable(Unreadable { head, error }));
            }
        };
        let definition = self.definition(&head)?;
        let live = match live {
            Some(live) => Ok(live),
            None if head.state.live == 0 => Ok(Vec::new()),
            None => self.live(&head.id)?,
        };
        Ok(match (definition, live) {
            (Ok(definition), Ok(live)) => Found::Job(Loaded {
                n: head.n,
                definition,
                state: head.state,
                live,
            }),
            (Err(error), _) | (_, Err(error)) => Found::Unreadable(Unreadable {
                head: Head::Read(head),
                error,
            }),
        })
    }

    fn definition(
        &mut self,
        head: &JobHead,
    ) -> Result<std::result::Result<Arc<JobDefinition>, Broken>> {
        let edition = rows::edition(&head.state);
        if let Some(definition) = self.cache.get(&head.id, edition) {
            return Ok(Ok(definition));
        }
        let mut query = self.db.prepare_cached(&self.sql.job_text)?;
        let text: String = query.query_row([head.n], |row| row.get(0))?;
        let read = read_definition(&head.id, &text, &self.zones);
        if let Ok(definition) = &read {
            self.cache.put(edition, definition);
        }
        Ok(read)
    }

    /// The pending and running runs of an id.
    pub(super) fn live(&self, id: &JobId) -> Result<std::result::Result<Vec<Run>, Broken>> {
        let mut query = self.db.prepare_cached(&self.sql.runs_live)?;
        let runs = query
            .query_map([id.as_str()], |row| Ok(rows::run(row)))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(runs
            .into_iter()
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| format!("one of its runs: {error}")))
    }

    pub(super) fn run(&self, id: RunId) -> Result<Option<Run>> {
        let mut query = self.db.prepare_cached(&self.sql.run_by_id)?;
        let run = query
            .query_row([rows::run_key(id)], |row| Ok(rows::run(row)))
            .optional()?;
        run.transpose()
            .map_err(|error| StoreError::failed(format!("run {id}: {error}")).into())
    }

    /// Writes a plan for a job; returns whether it is gone.
    pub(super) fn apply(&mut self, job: &Loaded, plan: &Plan) -> Result<bool> {
        self.insert_all(&plan.insert)?;
        self.apply_inserted(job, plan)
    }

    /// Writes the rest of a plan whose new rows are there.
    pub(super) fn apply_inserted(&mut self, job: &Loaded, plan: &Plan) -> Result<bool> {
        self.update_rows(&plan.update)?;
        if let Some(state) = &plan.state {
            self.write_state(job.n, &job.state, state)?;
        } else {
            self.delete_job(job.n, &job.definition.id, job.state.fence)?;
        }
        Ok(plan.state.is_none())
    }

    /// Writes the ledger's part of a plan.
    pub(super) fn write_rows(&self, plan: &Plan) -> Result<()> {
        self.insert_all(&plan.insert)?;
        self.update_rows(&plan.update)
    }

    fn update_rows(&self, rows: &[Run]) -> Result<()> {
        rows.iter().try_for_each(|run| self.update_run(run))
    }

    fn insert_all(&self, rows: &[Run]) -> Result<()> {
        if self.insert_rows(rows)? {
            return Ok(());
        }
        let message = "the ledger has a row for this attempt already; nothing was changed";
        Err(StoreError::failed(message).into())
    }

    /// Inserts all rows, or none where one of them is there already.
    pub(super) fn insert_rows(&self, runs: &[Run]) -> Result<bool> {
        for (at, run) in runs.iter().enumerate() {
            if !self.insert_run(run)? {
                let mut delete = self.db.prepare_cached(&self.sql.run_delete)?;
                for run in &runs[..at] {
                    delete.execute([rows::run_key(run.id)])?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn write_state(
        &mut self,
        n: i64,
        before: &JobState,
        after: &JobState,
    ) -> Result<()> {
        self.note_wake(before.wake_at, after.wake_at);
        if rows::only_counters_differ(before, after) {
            let mut update = self.db.prepare_cached(&self.sql.job_counters_update)?;
            let manual_at = after.manual_at.map(Timestamp::as_microsecond);
            update.execute(params![
                n,
                after.seq as i64,
                after.fence.0 as i64,
                after.live,
                manual_at
            ])?;
            return Ok(());
        }
        let cells = StateCells::of(after);
        let mut update = self.db.prepare_cached(&self.sql.job_state_update)?;
        update.execute(params![
            n,
            cells.key,
            cells.cursor,
            cells.due_at,
            cells.extra,
            cells.manual_at,
            cells.paused,
            cells.phase,
            cells.revision,
            cells.seq,
            cells.fence,
            cells.wake_at,
            cells.live,
            cells.listed_at
        ])?;
        Ok(())
    }

    pub(super) fn note_wake(&mut self, before: Option<Timestamp>, after: Option<Timestamp>) {
        self.earlier |= after.is_some_and(|after| before.is_none_or(|before| after < before));
    }

    pub(super) fn write_definition(&mut self, n: i64, job: &Job) -> Result<()> {
        let definition = &job.definition;
        let mut update = self.db.prepare_cached(&self.sql.job_definition_update)?;
        update.execute(params![
            n,
            definition.task.as_str(),
            definition.executor.as_str(),
            definition.given_name,
            tags_text(definition),
            document::write(definition).to_string()
        ])?;
        drop(update);
        self.cache.put(rows::edition(&job.state), definition);
        Ok(())
    }

    pub(super) fn insert_job(&mut self, job: &Job) -> Result<()> {
        let Job { definition, state } = job;
        let cells = StateCells::of(state);
        let mut insert = self.db.prepare_cached(&self.sql.job_insert)?;
        insert.execute(params![
            definition.id.as_str(),
            definition.task.as_str(),
            definition.executor.as_str(),
            definition.given_name,
            tags_text(definition),
            document::write(definition).to_string(),
            cells.key,
            cells.cursor,
            cells.due_at,
            cells.extra,
            cells.manual_at,
            cells.paused,
            cells.phase,
            cells.revision,
            cells.seq,
            cells.fence,
            cells.wake_at,
            cells.live,
            cells.listed_at
        ])?;
        drop(insert);
        self.note_wake(None, state.wake_at);
        self.cache.put(rows::edition(state), definition);
        Ok(())
    }

    pub(super) fn delete_job(&mut self, n: i64, id: &JobId, fence: Fence) -> Result<()> {
        self.raise_fence_floor(fence)?;
        self.db.prepare_cached(&self.sql.job_delete)?.execute([n])?;
        self.cache.remove(id);
        Ok(())
    }

    /// The highest token ever given to a job that is gone.
    pub(super) fn fence_floor(&self) -> Result<Fence> {
        let mut query = self.db.prepare_cached(&self.sql.fence_floor)?;
        let floor: Option<i64> = query.query_row((), |row| row.get(0)).optional()?;
        Ok(Fence(floor.unwrap_or(0) as u64))
    }

    pub(super) fn raise_fence_floor(&self, fence: Fence) -> Result<()> {
        if fence > Fence::default() {
            let mut update = self.db.prepare_cached(&self.sql.fence_floor_raise)?;
            update.execute([fence.0 as i64])?;
        }
        Ok(())
    }

    /// Inserts rows that are not there yet; returns how many.
    pub(super) fn import_rows(&self, runs: &[Run]) -> Result<u64> {
        let mut inserted = 0;
        for run in runs {
            inserted += u64::from(self.insert_run(run)?);
        }
        Ok(inserted)
    }

    /// Inserts a row; `false` where it is there already.
    fn insert_run(&self, run: &Run) -> Result<bool> {
        let micros = |time: Option<Timestamp>| time.map(Timestamp::as_microsecond);
        let mut insert = self.db.prepare_cached(&self.sql.run_insert)?;
        let inserted = insert.execute(params![
            rows::run_key(run.id),
            run.job_id.as_str(),
            run.job_key.0 as i64,
            run.kind.as_str(),
            run.scheduled_at.as_microsecond(),
            run.due_at.as_microsecond(),
            run.attempt,
            run.crashes,
            run.instance as i64,
            run.state().as_str(),
            run.reason.map(punctual_core::run::Reason::as_str),
            run.node.map(|node| node.0 as i64),
            run.fence.0 as i64,
            micros(run.lease_until),
            micros(run.started_at),
            micros(run.finished_at),
            run.output,
            run.error,
            run.cancel_requested,
            micros(run.scheduled_until),
            run.count as i64,
            micros(run.superseded_at)
        ])?;
        Ok(inserted == 1)
    }

    pub(super) fn update_run(&self, run: &Run) -> Result<()> {
        let micros = |time: Option<Timestamp>| time.map(Timestamp::as_microsecond);
        let mut update = self.db.prepare_cached(&self.sql.run_update)?;
        update.execute(params![
            rows::run_key(run.id),
            run.state().as_str(),
            run.reason.map(punctual_core::run::Reason::as_str),
            run.node.map(|node| node.0 as i64),
            run.fence.0 as i64,
            micros(run.lease_until),
            micros(run.started_at),
            micros(run.finished_at),
            run.output,
            run.error,
            run.cancel_requested,
            micros(run.superseded_at)
        ])?;
        Ok(())
    }

    /// Steps over a job that cannot be read.
    pub(super) fn park(&mut self, unreadable: &Unreadable) -> Result<()> {
        let Unreadable { head, error } = unreadable;
        tracing::error!(job = %head.id(), %error, "a stored job cannot be read; it is kept, and does not run");
        self.park_edition(head.id().clone(), head.edition());
        let mut update = self.db.prepare_cached(&self.sql.job_list_last)?;
        update.execute([head.n()])?;
        Ok(())
    }

    pub(super) fn park_edition(&self, id: JobId, edition: (i64, i64)) {
        self.parked.park(id, edition, self.monotonic());
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// Reads a stored definition; the error says what does not fit.
pub(super) fn read_definition(
    id: &JobId,
    text: &str,
    zones: &Zones,
) -> std::result::Result<Arc<JobDefinition>, Broken> {
    let document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    document::read(id, &document, zones).map(Arc::new)
}

fn tags_text(definition: &JobDefinition) -> Option<String> {
    (!definition.tags.is_empty())
        .then(|| serde_json::to_string(&definition.tags).expect("tags are texts"))
}
