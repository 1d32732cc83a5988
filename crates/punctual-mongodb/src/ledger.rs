//! The ledger: rows that are over in a collection of their own, the others in the heads of their jobs.
//!
//! A row is inserted when a decision that ended it is written out, so it is written once, whoever does it. Readers look at
//! the live runs first, write out what is not yet, and look at the ledger last: a row on its way is in one of the three.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use futures_util::{TryFutureExt, TryStreamExt};
use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc};
use punctual_backend::{BackendError, BackendResult, codec};
use punctual_core::clock::later;
use punctual_core::id::{Fence, JobId, RunId};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{Renewed, RunQuery, StoreError};

use crate::decision::Decision;
use crate::error::backend_error;
use crate::inner::{Inner, Unit};
use crate::log::insert_all;

/// How often a renewal gives way to other changes of its job.
const TRIES: usize = 30;

/// A row that is over, as a document.
fn row(text: &str) -> Result<Document, String> {
    let run = codec::read_run(text)?;
    let mut row = doc! {
        "_id": run.id.to_string(),
        "job": run.job_id.as_str(),
        "attempt": format!("{}-{}", run.idempotency_key(), run.attempt),
        "state": run.state().as_str(),
        "scheduled_at": run.scheduled_at.as_microsecond(),
        "run": text,
    };
    if let Some(at) = run.finished_at {
        row.insert("finished_at", at.as_microsecond());
    }
    Ok(row)
}

fn read_row(row: &Document) -> Result<Run, String> {
    let text = row.get_str("run").map_err(|error| error.to_string())?;
    let mut run = codec::read_run(text)?;
    if let Ok(at) = row.get_i64("superseded_at") {
        let at = Timestamp::from_microsecond(at).map_err(|error| error.to_string())?;
        run.superseded_at = Some(at);
    }
    Ok(run)
}

fn texts(ids: impl IntoIterator<Item = RunId>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

/// One `_id`, or one of several.
fn among(ids: &[String]) -> Document {
    match ids {
        [id] => doc! {"_id": id},
        ids => doc! {"_id": {"$in": ids}},
    }
}

fn live_in(head: Option<&Decision>, id: RunId) -> Option<Run> {
    let mut live = head?.readable();
    let at = live.iter().position(|run| run.id == id)?;
    Some(live.swap_remove(at))
}

impl Inner {
    /// Writes the rows that ended with these decisions into the ledger.
    pub(crate) async fn write_ended(&self, decisions: &[&Decision]) -> BackendResult<()> {
        if decisions.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        let mut places = Vec::new();
        for decision in decisions {
            let ended: Result<Vec<Document>, String> =
                decision.ended().into_iter().map(row).collect();
            match ended {
                Ok(ended) => {
                    rows.extend(ended);
                    places.push(self.log.place(decision));
                }
                // A newer program's; it writes it.
                Err(error) => {
                    tracing::warn!(job = %decision.job, %error, "a row that ended cannot be read");
                }
            }
        }
        let documents: Vec<&Document> = rows.iter().collect();
        // One that is there was written by somebody else who did the same.
        insert_all(&self.runs, &documents)
            .await
            .map_err(backend_error)?;
        let done = doc! {"$unset": {"unwritten": "", "ended": ""}};
        self.log.update(places, &done).await
    }

    /// The decisions with rows that are not written out yet.
    pub(crate) async fn unwritten(&self) -> BackendResult<Vec<Decision>> {
        self.log
            .find_all(&doc! {"unwritten": true}, None, None)
            .await
    }

    /// Writes out what others have decided and not written out.
    pub(crate) async fn roll_forward(&self) -> BackendResult<()> {
        let left = self.unwritten().await?;
        self.write_ended(&left.iter().collect::<Vec<_>>()).await
    }

    /// Rows that are over.
    async fn over(&self, filter: Document) -> BackendResult<Vec<Document>> {
        self.runs
            .find(filter)
            .into_future()
            .and_then(TryStreamExt::try_collect)
            .await
            .map_err(backend_error)
    }

    async fn over_by_id(&self, ids: &[String]) -> BackendResult<Vec<Run>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.over(among(ids)).await?;
        rows.iter()
            .map(|row| {
                read_row(row).map_err(|error| {
                    let id = row.get_str("_id").unwrap_or_default();
                    StoreError::failed(format!("run {id}: {error}")).into()
                })
            })
            .collect()
    }

    /// Which jobs these runs are live runs of, or were a moment ago.
    async fn jobs_of(&self, ids: &[RunId]) -> BackendResult<Vec<JobId>> {
        let mut jobs: Vec<JobId> = ids.iter().filter_map(|id| self.hinted(*id)).collect();
        if jobs.len() < ids.len() {
            jobs.extend(self.jobs_by_index(ids).await?);
        }
        jobs.sort_unstable();
        jobs.dedup();
        Ok(jobs)
    }

    async fn jobs_by_index(&self, ids: &[RunId]) -> BackendResult<Vec<JobId>> {
        let ids = texts(ids.iter().copied());
        let filter = doc! {"head": true, "live_ids": {"$in": ids, "$exists": true}};
        self.log.jobs(&filter).await
    }

    pub(crate) async fn rows(&self, unit: &mut Unit, ids: &[RunId]) -> BackendResult<Vec<Run>> {
        let mut found: HashMap<RunId, Run> = HashMap::new();
        // Live, by what this process knows.
        let hinted: Vec<JobId> = ids.iter().filter_map(|id| self.hinted(*id)).collect();
        self.load(unit, &hinted).await?;
        for id in ids {
            let job = self.hinted(*id);
            let run = job.and_then(|job| live_in(Self::head(unit, &job), *id));
            found.extend(run.map(|run| (*id, run)));
        }
        let left = |found: &HashMap<RunId, Run>| -> Vec<RunId> {
            let left = ids.iter().filter(|id| !found.contains_key(*id));
            left.copied().collect()
        };
        // Over.
        let over = self.over_by_id(&texts(left(&found))).await?;
        found.extend(over.into_iter().map(|run| (run.id, run)));
        // Live, by what the store knows; and what is on its way between the two.
        let missing = left(&found);
        if !missing.is_empty() {
            let jobs = self.jobs_by_index(&missing).await?;
            self.load(unit, &jobs).await?;
            for job in &jobs {
                let live = Self::head(unit, job).map(Decision::readable);
                let live = live.into_iter().flatten();
                found.extend(live.map(|run| (run.id, run)));
            }
            let missing = left(&found);
            if !missing.is_empty() {
                self.roll_forward().await?;
                let over = self.over_by_id(&texts(missing)).await?;
                found.extend(over.into_iter().map(|run| (run.id, run)));
            }
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    pub(crate) async fn run(&self, id: RunId) -> BackendResult<Option<Run>> {
        let mut unit = self.begin().await?;
        Ok(self.rows(&mut unit, &[id]).await?.pop())
    }

    pub(crate) async fn runs(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> BackendResult<Vec<Run>> {
        let mut found: BTreeMap<RunId, Run> = BTreeMap::new();
        if query.state.is_none_or(|state| !state.is_final()) {
            let live = match &query.job_id {
                Some(id) => {
                    let heads = self.log.heads([id]).await?;
                    heads.values().flat_map(Decision::readable).collect()
                }
                None => self.live_where(&live()).await?,
            };
            found.extend(
                live.into_iter()
                    .filter(|run| query.matches(run))
                    .filter(|run| before.is_none_or(|before| run.id < before))
                    .map(|run| (run.id, run)),
            );
        }
        if query.state.is_none_or(RunState::is_final) {
            self.roll_forward().await?;
            for row in self.over_page(query, before, limit).await? {
                match read_row(&row) {
                    Ok(run) => _ = found.insert(run.id, run),
                    Err(error) => {
                        tracing::warn!(%error, "a row of the ledger cannot be read");
                    }
                }
            }
        }
        Ok(found.into_values().rev().take(limit).collect())
    }

    async fn over_page(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> BackendResult<Vec<Document>> {
        let mut filter = Document::new();
        if let Some(before) = before {
            filter.insert("_id", doc! {"$lt": before.to_string()});
        }
        if let Some(job) = &query.job_id {
            filter.insert("job", job.as_str());
        }
        if let Some(state) = query.state {
            filter.insert("state", state.as_str());
        }
        let mut span = Document::new();
        if let Some(from) = query.from {
            span.insert("$gte", from.as_microsecond());
        }
        if let Some(until) = query.until {
            span.insert("$lt", until.as_microsecond());
        }
        if !span.is_empty() {
            filter.insert("scheduled_at", span);
        }
        self.runs
            .find(filter)
            .sort(doc! {"_id": -1})
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .into_future()
            .and_then(TryStreamExt::try_collect)
            .await
            .map_err(backend_error)
    }

    pub(crate) async fn counts(&self, since: Timestamp) -> BackendResult<BTreeMap<RunState, u64>> {
        let mut counts: BTreeMap<RunState, u64> = BTreeMap::new();
        for run in self.live_where(&live()).await? {
            *counts.entry(run.state()).or_default() += 1;
        }
        self.roll_forward().await?;
        let groups: Vec<Document> = self
            .runs
            .aggregate([
                doc! {"$match": {"finished_at": {"$gte": since.as_microsecond()}}},
                doc! {"$group": {"_id": "$state", "count": {"$sum": 1}}},
            ])
            .into_future()
            .and_then(TryStreamExt::try_collect)
            .await
            .map_err(backend_error)?;
        for group in &groups {
            let state = group.get_str("_id").ok().and_then(RunState::parse);
            if let Some(state) = state {
                *counts.entry(state).or_default() += number(group.get("count"));
            }
        }
        Ok(counts)
    }

    pub(crate) async fn renew(
        &self,
        lease: Duration,
        runs: &[(RunId, Fence)],
    ) -> BackendResult<Vec<Renewed>> {
        let mut answers: HashMap<RunId, Renewed> = HashMap::new();
        let mut left: Vec<(RunId, Fence)> = runs.to_vec();
        for _ in 0..TRIES {
            let stale = self.renew_once(lease, &left, &mut answers).await?;
            left.retain(|(run, _)| stale.contains(run));
            if left.is_empty() {
                let answer = |(run, _): &(RunId, Fence)| answers.get(run).copied();
                let answers = runs.iter().map(|run| answer(run).unwrap_or(Renewed::Lost));
                return Ok(answers.collect());
            }
        }
        let message = "the jobs of running runs change all the time";
        Err(BackendError::Again(message.to_owned()))
    }

    /// Renews leases; returns the runs whose job was changed by somebody else meanwhile.
    async fn renew_once(
        &self,
        lease: Duration,
        runs: &[(RunId, Fence)],
        answers: &mut HashMap<RunId, Renewed>,
    ) -> BackendResult<HashSet<RunId>> {
        let unit = self.begin().await?;
        let until = later(unit.now, lease);
        let ids: Vec<RunId> = runs.iter().map(|(run, _)| *run).collect();
        let wanted: HashSet<(RunId, Fence)> = runs.iter().copied().collect();
        let heads = self.log.heads(&self.jobs_of(&ids).await?).await?;
        let mut changes = Vec::new();
        for head in heads.values() {
            let mut ours = head.readable();
            ours.retain(|run| {
                run.state() == RunState::Running && wanted.contains(&(run.id, run.fence))
            });
            for run in &mut ours {
                run.lease_until = Some(until);
            }
            if !ours.is_empty() {
                changes.push((head, ours));
            }
        }
        for id in &ids {
            answers.insert(*id, Renewed::Lost);
        }
        let written = self.carry_on(&unit, &changes).await?;
        let mut stale = HashSet::new();
        for ((_, ours), written) in changes.iter().zip(written) {
            for run in ours {
                if !written {
                    stale.insert(run.id);
                } else if run.cancel_requested {
                    answers.insert(run.id, Renewed::CancelRequested);
                } else {
                    answers.insert(run.id, Renewed::Kept);
                }
            }
        }
        Ok(stale)
    }

    pub(crate) async fn supersede_rows(&self, runs: &[RunId], at: Timestamp) -> BackendResult<()> {
        let set = doc! {"$set": {"superseded_at": at.as_microsecond()}};
        let note = async || {
            self.runs
                .update_many(among(&texts(runs.iter().copied())), set.clone())
                .await
                .map_err(backend_error)
        };
        if note().await?.matched_count == runs.len() as u64 {
            return Ok(());
        }
        // Some are somebody else's, and live; some may be on their way into the ledger.
        let unit = self.begin().await?;
        let heads = self.log.heads(&self.jobs_of(runs).await?).await?;
        let noted: Vec<(&Decision, Vec<Run>)> = heads
            .values()
            .filter_map(|head| {
                let mut late = head.readable();
                late.retain(|run| runs.contains(&run.id));
                for run in &mut late {
                    run.superseded_at = Some(at);
                }
                (!late.is_empty()).then_some((head, late))
            })
            .collect();
        let written = self.carry_on(&unit, &noted).await?;
        if written.contains(&false) {
            return Err(BackendError::Again("the job was changed".to_owned()));
        }
        self.roll_forward().await?;
        note().await?;
        Ok(())
    }

    pub(crate) async fn insert_rows(&self, rows: &[Run]) -> BackendResult<u64> {
        let rows: Result<Vec<Document>, String> = rows
            .iter()
            .map(|run| {
                let mut row = row(&codec::write_run(run))?;
                if let Some(at) = run.superseded_at {
                    row.insert("superseded_at", at.as_microsecond());
                }
                Ok(row)
            })
            .collect();
        let rows = rows.map_err(StoreError::failed)?;
        let documents: Vec<&Document> = rows.iter().collect();
        let refused = insert_all(&self.runs, &documents)
            .await
            .map_err(backend_error)?;
        Ok((documents.len() - refused.len()) as u64)
    }
}

/// Every head that has live runs.
fn live() -> Document {
    doc! {"head": true, "live_ids": {"$exists": true}}
}

/// A count, in whichever type the server sends it.
pub(crate) fn number(value: Option<&Bson>) -> u64 {
    match value {
        Some(Bson::Int32(number)) => u64::try_from(*number).unwrap_or(0),
        Some(Bson::Int64(number)) => u64::try_from(*number).unwrap_or(0),
        Some(Bson::Double(number)) => *number as u64,
        _ => 0,
    }
}
