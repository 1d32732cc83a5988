//! What goes: old rows of the ledger, decisions that were superseded, ids that were removed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{TryFutureExt, TryStreamExt};
use mongodb::bson::{Document, doc};
use punctual_backend::{BackendResult, PruneProgress};
use punctual_core::clock::{Clock as _, SystemClock, earlier};
use punctual_core::store::Retention;

use crate::decision::{Decision, position};
use crate::error::backend_error;
use crate::inner::Inner;
use crate::ledger::number;
use crate::log::Place;

/// How many rows go in one step.
const ROWS: usize = 1000;
/// How many rows of the ledger are counted in one step.
const COUNTED: i64 = 20_000;
/// How many superseded decisions of one collection are noted at a time.
const NOTED: i64 = 200_000;
/// How many ids that were removed are forgotten in one step.
const IDS: usize = 500;
/// How many times as long as tidying up took it rests, at least.
const PAUSE_FACTOR: u32 = 20;
/// How long it is known that an id was removed. Nobody who read before that writes after.
const GONE_KEPT: Duration = Duration::from_hours(24);

async fn ids(
    cursor: mongodb::error::Result<mongodb::Cursor<Document>>,
) -> BackendResult<Vec<String>> {
    let found: Vec<Document> = std::future::ready(cursor)
        .and_then(TryStreamExt::try_collect)
        .await
        .map_err(backend_error)?;
    Ok(found
        .iter()
        .filter_map(|found| found.get_str("_id").ok().map(str::to_owned))
        .collect())
}

impl Inner {
    pub(crate) async fn prune(
        &self,
        retention: Retention,
        progress: &mut PruneProgress,
    ) -> BackendResult<Option<u64>> {
        if !progress.old_rows_done {
            self.roll_forward().await?;
            let cutoff = earlier(self.now().await?, retention.age).as_microsecond();
            let old = self
                .runs
                .find(doc! {"finished_at": {"$lte": cutoff}})
                .projection(doc! {"_id": 1})
                .limit(ROWS as i64)
                .await;
            let old = ids(old).await?;
            progress.old_rows_done = old.len() < ROWS;
            return self.delete_rows(old).await.map(Some);
        }
        if let Some(count) = self.prune_crowded(retention, progress).await? {
            return Ok(Some(count));
        }
        self.forget_gone().await?;
        Ok(None)
    }

    async fn delete_rows(&self, ids: Vec<String>) -> BackendResult<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let deleted = self.runs.delete_many(doc! {"_id": {"$in": ids}}).await;
        Ok(deleted.map_err(backend_error)?.deleted_count)
    }

    /// Deletes what is too much of some jobs; `None` after the last one.
    async fn prune_crowded(
        &self,
        retention: Retention,
        progress: &mut PruneProgress,
    ) -> BackendResult<Option<u64>> {
        let after = progress.job_id.clone().unwrap_or_default();
        let counts: Vec<Document> = self
            .runs
            .aggregate([
                doc! {"$match": {"job": {"$gt": after}}},
                doc! {"$sort": {"job": 1}},
                doc! {"$limit": COUNTED},
                doc! {"$group": {"_id": "$job", "count": {"$sum": 1}}},
                doc! {"$sort": {"_id": 1}},
            ])
            .into_future()
            .and_then(TryStreamExt::try_collect)
            .await
            .map_err(backend_error)?;
        let counted: u64 = counts.iter().map(|count| number(count.get("count"))).sum();
        let mut whole = counts.len();
        if counted >= COUNTED as u64 && whole > 1 {
            // The last one may have more.
            whole -= 1;
        }
        if counts.is_empty() {
            return Ok(None);
        }
        let mut pruned = 0;
        for count in &counts[..whole] {
            let job = count.get_str("_id").unwrap_or_default();
            // A job that fills the whole step may have more than were counted; they go by steps, too.
            while number(count.get("count")) > retention.rows_per_job {
                let gone = self.prune_job(job, retention.rows_per_job).await?;
                pruned += gone;
                if gone < ROWS as u64 {
                    break;
                }
            }
            progress.job_id = Some(job.to_owned());
        }
        Ok(Some(pruned))
    }

    async fn prune_job(&self, job: &str, keep: u64) -> BackendResult<u64> {
        let surplus = self
            .runs
            .find(doc! {"job": job})
            .projection(doc! {"_id": 1})
            .sort(doc! {"finished_at": -1, "_id": -1})
            .skip(keep)
            .limit(ROWS as i64)
            .await;
        self.delete_rows(ids(surplus).await?).await
    }

    /// Forgets ids whose job went long ago and that have no live run.
    async fn forget_gone(&self) -> BackendResult<()> {
        let before = earlier(self.now().await?, GONE_KEPT);
        let filter = doc! {
            "head": true,
            "gone_at": {"$lte": before.as_microsecond()},
            "live_ids": {"$exists": false},
            "unwritten": {"$exists": false},
        };
        let gone = self.log.find_all(&filter, None, Some(IDS)).await?;
        let mut gone = self.log.verified(gone).await?;
        if gone.is_empty() {
            return self.forget_gone_records(before).await;
        }
        // A position that is left in between would be in the way of the id's next life.
        let left = self.superseded().await?;
        let left: HashSet<&str> = left
            .iter()
            .filter_map(|(_, id)| Some(id.rsplit_once(':')?.0))
            .collect();
        gone.retain(|gone| !left.contains(gone.job.as_str()));
        let highest = gone.iter().map(Decision::fence).max();
        self.raise_fence_floor(highest.unwrap_or_default()).await?;
        let first = |decision: &Decision| -> Place {
            (self.log.shard(&decision.job), format!("{}:1", decision.job))
        };
        // From below: the highest says that there is nothing until it goes, too.
        self.log.delete(gone.iter().map(first).collect()).await?;
        let last = gone.iter().filter(|gone| position(gone.version) > 1);
        self.log
            .delete(last.map(|gone| self.log.place(gone)).collect())
            .await?;
        self.forget_gone_records(before).await
    }

    /// The decisions that are superseded and written out, but for the first of each id.
    pub(crate) async fn superseded(&self) -> BackendResult<Vec<Place>> {
        let mut places = Vec::new();
        for (shard, collection) in self.log.shards().iter().enumerate() {
            let over = collection
                .find(doc! {"over": true, "unwritten": {"$exists": false}})
                .projection(doc! {"_id": 1})
                .limit(NOTED)
                .await;
            places.extend(ids(over).await?.into_iter().map(|id| (shard, id)));
        }
        Ok(places)
    }
}

/// What was found at one time, and is dealt with the next time.
#[derive(Default)]
struct Noted {
    superseded: Vec<Place>,
    unwritten: HashSet<Place>,
}

/// Writes out what dead writers have left, and deletes superseded decisions, once either has been so for long enough by
/// the clock of this machine: no clock has to agree with another for that.
pub(crate) async fn tidy(inner: Arc<Inner>) {
    let mut noted = Noted::default();
    let mut pause = inner.kept;
    loop {
        tokio::time::sleep(pause).await;
        let begun = SystemClock.monotonic();
        if let Err(error) = tidy_once(&inner, &mut noted).await {
            tracing::debug!(?error, "tidying up is left for later");
        }
        // Where the server has much to read for it, it must not be all that the server does.
        let took = SystemClock.monotonic().saturating_sub(begun);
        pause = inner.kept.max(took * PAUSE_FACTOR);
    }
}

async fn tidy_once(inner: &Inner, noted: &mut Noted) -> BackendResult<()> {
    inner
        .log
        .delete(std::mem::take(&mut noted.superseded))
        .await?;
    noted.superseded = inner.superseded().await?;
    let unwritten = inner.unwritten().await?;
    // What is new is most likely being written by who decided it.
    let left: Vec<&Decision> = unwritten
        .iter()
        .filter(|decision| noted.unwritten.contains(&inner.log.place(decision)))
        .collect();
    inner.write_ended(&left).await?;
    noted.unwritten = unwritten
        .iter()
        .map(|decision| inner.log.place(decision))
        .collect();
    Ok(())
}
