//! The collections, what is known of them in this process, and the commit.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection, Database};
use punctual_backend::{After, BackendError, BackendResult, Fate, Snapshot, Version, Write};
use punctual_core::clock::{Clock, SystemClock};
use punctual_core::id::{JobId, JobKey, RunId};
use punctual_core::run::{Run, RunKind};
use punctual_core::store::StoreError;

use crate::decision::{Decision, position};
use crate::error::backend_error;
use crate::log::{Log, insert_all, is_first, is_late};

/// From this many ids on it pays to ask first which of them were never used.
const MANY: usize = 64;
/// How old what was read may be when it is decided upon. A write that takes longer is refused without a try.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many live runs are remembered with their jobs.
const HINTS_MAX: usize = 200_000;

/// What all of the store share.
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) db: Database,
    pub(crate) log: Log,
    /// Every id that ever had a decision; only where the server reads a whole collection to say that a decision is not
    /// there. An insert into it is quick, and where it succeeds nothing lies under the id.
    pub(crate) known: Option<Collection<Document>>,
    /// Rows of the ledger that are over.
    pub(crate) runs: Collection<Document>,
    pub(crate) records: Collection<Document>,
    pub(crate) logs: Collection<Document>,
    pub(crate) fences: Collection<Document>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    /// How long a superseded decision stays.
    pub(crate) kept: Duration,
    /// Of live runs, which job they are of. A hint: it may be wrong or missing.
    pub(crate) hints: Mutex<HashMap<RunId, JobId>>,
    /// The fence floor is at least here.
    pub(crate) floor: AtomicU64,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoDB")
            .field("database", &self.db.name())
            .field("ledger", &self.runs.name())
            .finish_non_exhaustive()
    }
}

/// A unit of work. Nothing is held on the server: what is read here is compared when it is committed.
#[derive(Debug)]
pub(crate) struct Unit {
    /// The store's time at its beginning.
    pub(crate) now: Timestamp,
    /// Its beginning on the monotonic clock of the machine.
    pub(crate) begun: Duration,
    heads: HashMap<JobId, Decision>,
}

/// What a commit has written, and is still to be done about it.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) fates: Vec<Fate>,
    /// The new heads.
    pub(crate) decisions: Vec<Decision>,
    /// What they took the place of, and what others have taken the place of.
    superseded: Vec<(JobId, Version)>,
}

impl Inner {
    pub(crate) async fn now(&self) -> BackendResult<Timestamp> {
        if let Some(clock) = &self.clock {
            return Ok(clock.now());
        }
        server_time(&self.db).await
    }

    pub(crate) async fn begin(&self) -> BackendResult<Unit> {
        let begun = SystemClock.monotonic();
        Ok(Unit {
            now: self.now().await?,
            begun,
            heads: HashMap::new(),
        })
    }

    /// What lies under these ids, as this unit sees it.
    pub(crate) async fn load(&self, unit: &mut Unit, ids: &[JobId]) -> BackendResult<()> {
        let mut unknown: Vec<&JobId> = ids
            .iter()
            .filter(|id| !unit.heads.contains_key(*id))
            .collect();
        if unknown.len() >= MANY {
            unknown = self.without_unused(unknown).await?;
        }
        let heads = self.log.heads(unknown).await?;
        unit.heads.extend(heads);
        Ok(())
    }

    /// Leaves out ids that have no decision, where the server has a quick way to tell.
    async fn without_unused<'a>(&self, ids: Vec<&'a JobId>) -> BackendResult<Vec<&'a JobId>> {
        let Some(known) = &self.known else {
            return Ok(ids);
        };
        let documents: Vec<Document> = ids.iter().map(|id| doc! {"_id": id.as_str()}).collect();
        let documents: Vec<&Document> = documents.iter().collect();
        let used = insert_all(known, &documents).await.map_err(backend_error)?;
        Ok(used.into_iter().map(|at| ids[at]).collect())
    }

    pub(crate) async fn jobs(
        &self,
        unit: &mut Unit,
        ids: &[JobId],
    ) -> BackendResult<Vec<Snapshot>> {
        self.load(unit, ids).await?;
        let snapshots = ids.iter().map(|id| match unit.heads.get(id) {
            Some(head) => head.snapshot(),
            None => Snapshot::nothing(id.clone()),
        });
        Ok(snapshots.collect())
    }

    /// Remembers heads that were read within the unit.
    pub(crate) fn keep(unit: &mut Unit, heads: &[Decision]) {
        for head in heads {
            unit.heads.insert(head.job.clone(), head.clone());
        }
    }

    pub(crate) fn head<'a>(unit: &'a Unit, id: &JobId) -> Option<&'a Decision> {
        unit.heads.get(id)
    }

    /// The commit alone: inserts decisions. Everything after it, anybody may do.
    pub(crate) async fn decide(&self, unit: &Unit, writes: &[Write]) -> BackendResult<Written> {
        let mut written = Written {
            fates: vec![Fate::Stale; writes.len()],
            ..Written::default()
        };
        let mut places = Vec::with_capacity(writes.len());
        let mut decisions = Vec::with_capacity(writes.len());
        for (index, write) in writes.iter().enumerate() {
            if contradicts(write) {
                written.fates[index] = Fate::Contradiction;
                continue;
            }
            let before = unit
                .heads
                .get(&write.id)
                .filter(|head| Some(head.version) == write.expected);
            // A job that cannot be read is carried on as it was found; if it was not, it is read again.
            let Some(next) = Decision::follow(before, write, unit.now) else {
                continue;
            };
            places.push(index);
            decisions.push(next);
        }
        let expected: Vec<Option<Version>> =
            places.iter().map(|&index| writes[index].expected).collect();
        let held = self
            .insert(unit, &decisions, &expected, &mut written.superseded)
            .await?;
        for ((index, decision), held) in places.into_iter().zip(decisions).zip(held) {
            if held {
                written.fates[index] = Fate::Written;
                written.decisions.push(decision);
            }
        }
        Ok(written)
    }

    /// Inserts decisions that were made from what this unit has read; returns of each whether it holds.
    async fn insert(
        &self,
        unit: &Unit,
        decisions: &[Decision],
        expected: &[Option<Version>],
        superseded: &mut Vec<(JobId, Version)>,
    ) -> BackendResult<Vec<bool>> {
        let taken = SystemClock.monotonic().saturating_sub(unit.begun);
        if taken > PATIENCE {
            let message = format!("it is {taken:?} since the jobs were read");
            return Err(BackendError::Again(message));
        }
        self.note_used(decisions).await?;
        let inserted = self.log.insert(decisions).await?;
        let taken = SystemClock.monotonic().saturating_sub(unit.begun);
        let late = is_late(taken, self.kept);
        let held = inserted.iter().zip(decisions).zip(expected).map(
            async |((inserted, decision), expected)| {
                Ok::<_, BackendError>(
                    *inserted && self.holds(unit, decision, *expected, late).await?,
                )
            },
        );
        let held = try_join_all(held).await?;
        for (((held, inserted), decision), expected) in
            held.iter().zip(inserted).zip(decisions).zip(expected)
        {
            if let Some(before) = expected.filter(|_| *held || !inserted) {
                superseded.push((decision.job.clone(), before));
            }
        }
        Ok(held)
    }

    /// Writes the next decision of these heads, in which only these live runs are others; returns of each whether it was.
    pub(crate) async fn carry_on(
        &self,
        unit: &Unit,
        changes: &[(&Decision, Vec<Run>)],
    ) -> BackendResult<Vec<bool>> {
        let decisions: Vec<Decision> = changes
            .iter()
            .map(|(head, changed)| head.with_changed(changed))
            .collect();
        let expected: Vec<Option<Version>> =
            changes.iter().map(|(head, _)| Some(head.version)).collect();
        let mut written = Written::default();
        let held = self
            .insert(unit, &decisions, &expected, &mut written.superseded)
            .await?;
        self.follow_up_or_leave(&written).await;
        Ok(held)
    }

    /// Before the first decision about an id it is among those that were used.
    async fn note_used(&self, decisions: &[Decision]) -> BackendResult<()> {
        let Some(known) = &self.known else {
            return Ok(());
        };
        let documents: Vec<Document> = decisions
            .iter()
            .filter(|decision| is_first(decision.version))
            .map(|decision| doc! {"_id": decision.job.as_str()})
            .collect();
        let documents: Vec<&Document> = documents.iter().collect();
        insert_all(known, &documents).await.map_err(backend_error)?;
        Ok(())
    }

    /// Whether an inserted decision is the one that follows what it was made from.
    ///
    /// It is unless its position was free only because the decisions there were superseded and deleted. That takes longer
    /// than `kept` after this unit has read them, or, where nothing lay under the id, a day. So who is later than that looks
    /// whether the one before is there still: they are deleted from below. If not, its own is void: below the head, where
    /// nobody sees it.
    pub(crate) async fn holds(
        &self,
        unit: &Unit,
        decision: &Decision,
        expected: Option<Version>,
        late: bool,
    ) -> BackendResult<bool> {
        let Some(before) = expected else {
            // The first decision of an id stays as long as anything is known of it.
            return Ok(true);
        };
        let was_nothing = unit
            .heads
            .get(&decision.job)
            .is_some_and(Decision::is_nothing);
        if !(late || was_nothing)
            || self.log.is_there(&decision.job, before).await?
            || self.log.was_followed(decision).await?
        {
            return Ok(true);
        }
        tracing::warn!(job = %decision.job, position = position(decision.version), "a write came too late and is void");
        self.log.delete(vec![self.log.place(decision)]).await?;
        Ok(false)
    }

    /// What follows a commit: it is in the ledger, and the former heads are out of the indexes.
    pub(crate) async fn follow_up(&self, written: &Written) -> BackendResult<()> {
        let superseded = written
            .superseded
            .iter()
            .map(|(job, version)| {
                let id = crate::decision::id_of(job, *version);
                (self.log.shard(job), id)
            })
            .collect();
        let unwritten: Vec<&Decision> = written
            .decisions
            .iter()
            .filter(|decision| !decision.ended().is_empty())
            .collect();
        let (superseded, ended) =
            futures_util::join!(self.log.supersede(superseded), self.write_ended(&unwritten),);
        superseded.and(ended)
    }

    pub(crate) async fn commit(&self, unit: &Unit, writes: &[Write]) -> BackendResult<Vec<Fate>> {
        // Before a job goes, so that it is not too low for a moment. Where the job does not go after all, it is too high.
        let gone = writes.iter().filter_map(|write| match write.after {
            After::Nothing { fence } => Some(fence),
            After::Job { .. } | After::Unread { .. } => None,
        });
        self.raise_fence_floor(gone.max().unwrap_or_default())
            .await?;
        let written = self.decide(unit, writes).await?;
        self.hint(&written.decisions, writes);
        self.follow_up_or_leave(&written).await;
        Ok(written.fates)
    }

    async fn follow_up_or_leave(&self, written: &Written) {
        if let Err(error) = self.follow_up(written).await {
            // It is decided. Whoever reads it next does what is left.
            tracing::debug!(?error, "what follows a commit is left to others");
        }
    }

    fn hint(&self, decisions: &[Decision], writes: &[Write]) {
        let decided: BTreeSet<&JobId> = decisions.iter().map(|decision| &decision.job).collect();
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        if hints.len() > HINTS_MAX {
            hints.clear();
        }
        for write in writes {
            if !decided.contains(&write.id) {
                continue;
            }
            for run in &write.update {
                hints.remove(&run.id);
            }
            for run in &write.live {
                hints.insert(run.id, write.id.clone());
            }
        }
    }

    pub(crate) fn hinted(&self, run: RunId) -> Option<JobId> {
        let hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        hints.get(&run).cloned()
    }
}

/// The server's clock, to the millisecond.
pub(crate) async fn server_time(db: &Database) -> BackendResult<Timestamp> {
    let hello = db
        .run_command(doc! {"hello": 1})
        .await
        .map_err(backend_error)?;
    let time = hello
        .get_datetime("localTime")
        .map_err(|_| StoreError::failed("the server's answer to hello has no localTime"))?;
    Ok(Timestamp::from_millisecond(time.timestamp_millis()).map_err(StoreError::failed)?)
}

/// Whether a write has two rows that are the same attempt. With the rows that were written before, a new one cannot
/// collide: they all come from the decisions of one chain, of which each was made from the one before, and what a chain
/// has decided once its cursor, its attempts and its `manual_at` exclude from then on.
fn contradicts(write: &Write) -> bool {
    let key = |run: &Run| -> (JobKey, RunKind, Timestamp, u32) {
        (run.job_key, run.kind, run.scheduled_at, run.attempt)
    };
    let mut ids = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let old = write
        .live
        .iter()
        .chain(&write.update)
        .filter(|run| !write.insert.iter().any(|new| new.id == run.id));
    for run in old {
        ids.insert(run.id);
        keys.insert(key(run));
    }
    write
        .insert
        .iter()
        .any(|run| !ids.insert(run.id) || !keys.insert(key(run)))
}
