//! The log of decisions: what lies under an id is its decision with the highest position.
//!
//! A decision is one document, inserted once and never changed but for what queries look for. The insert of position
//! n + 1 is the commit of a change that was made from position n, because of two who insert it one is refused. So nothing
//! here needs a transaction, or a conditional update that is isolated.
//!
//! What follows an insert may be done late, twice, or by somebody else: taking the superseded decision out of the
//! indexes, and writing the rows that ended into the ledger.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{TryFutureExt, TryStreamExt};
use mongodb::Collection;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;
use punctual_backend::{BackendError, BackendResult, Version};
use punctual_core::id::JobId;
use punctual_core::store::StoreError;

use crate::decision::{Decision, following, id_of, position, superseding};
use crate::error::{DUPLICATE_KEY, backend_error, is_lost};

/// The most values in one `$in`.
const VALUES_MAX: usize = 500;

/// The collections of decisions. MongoDB has one. `FerretDB` on `SQLite` reads a whole collection for nearly every question,
/// so there are several, each of a part of the ids.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    shards: Vec<Collection<Document>>,
}

/// Where a decision lies: the collection, and its `_id`.
pub(crate) type Place = (usize, String);

impl Log {
    pub(crate) fn new(shards: Vec<Collection<Document>>) -> Self {
        Self { shards }
    }

    pub(crate) fn shards(&self) -> &[Collection<Document>] {
        &self.shards
    }

    /// Which collection has the decisions of an id. FNV-1a: the same in every release.
    pub(crate) fn shard(&self, id: &JobId) -> usize {
        let hash = id
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        (hash % self.shards.len() as u64) as usize
    }

    pub(crate) fn place(&self, decision: &Decision) -> Place {
        (self.shard(&decision.job), decision.id())
    }

    /// The documents of one collection that a filter finds.
    pub(crate) async fn find(
        &self,
        shard: usize,
        filter: Document,
        sort: Option<Document>,
        limit: Option<usize>,
    ) -> BackendResult<Vec<Decision>> {
        let mut find = self.shards[shard].find(filter);
        if let Some(sort) = sort {
            find = find.sort(sort);
        }
        if let Some(limit) = limit {
            find = find.limit(limit as i64);
        }
        let found: Vec<Document> = find
            .into_future()
            .and_then(TryStreamExt::try_collect)
            .await
            .map_err(backend_error)?;
        Ok(found.into_iter().filter_map(Decision::read).collect())
    }

    /// The same of all collections, in no order across them.
    pub(crate) async fn find_all(
        &self,
        filter: &Document,
        sort: Option<&Document>,
        limit: Option<usize>,
    ) -> BackendResult<Vec<Decision>> {
        let found = (0..self.shards.len())
            .map(|shard| self.find(shard, filter.clone(), sort.cloned(), limit));
        Ok(try_join_all(found).await?.into_iter().flatten().collect())
    }

    /// The jobs of the decisions that a filter finds.
    pub(crate) async fn jobs(&self, filter: &Document) -> BackendResult<Vec<JobId>> {
        let of_shard = async |shard: usize| -> BackendResult<Vec<Document>> {
            self.shards[shard]
                .find(filter.clone())
                .projection(doc! {"job": 1})
                .into_future()
                .and_then(TryStreamExt::try_collect)
                .await
                .map_err(backend_error)
        };
        let found = try_join_all((0..self.shards.len()).map(of_shard)).await?;
        let mut jobs: Vec<JobId> = found
            .iter()
            .flatten()
            .filter_map(|document| JobId::new(document.get_str("job").ok()?).ok())
            .collect();
        jobs.sort_unstable();
        jobs.dedup();
        Ok(jobs)
    }

    /// What lies under these ids; those under which nothing does are not in the answer.
    ///
    /// The decisions that a writer left in the indexes when it died are taken out in passing.
    pub(crate) async fn heads(
        &self,
        ids: impl IntoIterator<Item = &JobId>,
    ) -> BackendResult<HashMap<JobId, Decision>> {
        let mut by_shard: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for id in ids {
            by_shard
                .entry(self.shard(id))
                .or_default()
                .push(id.as_str());
        }
        let questions = by_shard.iter().flat_map(|(&shard, ids)| {
            ids.chunks(VALUES_MAX).map(move |ids| {
                let job = match ids {
                    [id] => Bson::from(*id),
                    ids => doc! {"$in": ids.to_vec()}.into(),
                };
                // Upwards: a decision that is superseded while this goes on has its successor ahead, so that one of the
                // two is found.
                let upwards = doc! {"job": 1, "v": 1};
                self.find(shard, doc! {"head": true, "job": job}, Some(upwards), None)
            })
        });
        let mut heads: HashMap<JobId, Decision> = HashMap::new();
        let mut superseded = Vec::new();
        for decision in try_join_all(questions).await?.into_iter().flatten() {
            if let Some(before) = heads.insert(decision.job.clone(), decision) {
                superseded.push(self.place(&before));
            }
        }
        self.supersede(superseded).await?;
        Ok(heads)
    }

    /// Of these decisions those that nothing follows.
    pub(crate) async fn verified(&self, candidates: Vec<Decision>) -> BackendResult<Vec<Decision>> {
        let heads = self
            .heads(candidates.iter().map(|candidate| &candidate.job))
            .await?;
        let is_head = |candidate: &Decision| {
            heads
                .get(&candidate.job)
                .is_some_and(|head| head.version == candidate.version)
        };
        Ok(candidates.into_iter().filter(is_head).collect())
    }

    /// Takes decisions that have a successor out of the indexes.
    pub(crate) async fn supersede(&self, places: Vec<Place>) -> BackendResult<()> {
        let (first, later): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|(_, id)| id.ends_with(":1"));
        self.update(first, &superseding(true)).await?;
        self.update(later, &superseding(false)).await
    }

    /// Makes one update of all these decisions.
    pub(crate) async fn update(&self, places: Vec<Place>, update: &Document) -> BackendResult<()> {
        let updates = by_shard(places).into_iter().flat_map(|(shard, ids)| {
            chunks(&ids).into_iter().map(move |ids| async move {
                let shard = &self.shards[shard];
                match ids.as_slice() {
                    [id] => shard.update_one(doc! {"_id": id}, update.clone()).await,
                    _ => shard.update_many(among(ids), update.clone()).await,
                }
            })
        });
        try_join_all(updates).await.map_err(backend_error)?;
        Ok(())
    }

    pub(crate) async fn delete(&self, places: Vec<Place>) -> BackendResult<()> {
        let deletions = by_shard(places).into_iter().flat_map(|(shard, ids)| {
            chunks(&ids).into_iter().map(move |ids| async move {
                let shard = &self.shards[shard];
                match ids.as_slice() {
                    [id] => shard.delete_one(doc! {"_id": id}).await,
                    _ => shard.delete_many(among(ids)).await,
                }
            })
        });
        try_join_all(deletions).await.map_err(backend_error)?;
        Ok(())
    }

    /// The decision at the position of a version.
    async fn at(&self, id: &JobId, version: Version) -> BackendResult<Option<Decision>> {
        let shard = &self.shards[self.shard(id)];
        let found = shard
            .find_one(doc! {"_id": id_of(id, version)})
            .await
            .map_err(backend_error)?;
        Ok(found.and_then(Decision::read))
    }

    /// Whether a decision is stored still, and not another at its position.
    pub(crate) async fn is_there(&self, id: &JobId, version: Version) -> BackendResult<bool> {
        let found = self.at(id, version).await?;
        Ok(found.is_some_and(|found| found.version == version))
    }

    /// Whether an inserted decision whose predecessor is gone follows it nonetheless: others may have gone on from it, and
    /// deleted what was superseded, before its writer heard of its insert.
    pub(crate) async fn was_followed(&self, decision: &Decision) -> BackendResult<bool> {
        let heads = self.heads([&decision.job]).await?;
        if heads.get(&decision.job).map(|head| head.version) == Some(decision.version) {
            return Ok(true);
        }
        let next = self
            .at(&decision.job, following(Some(decision.version)))
            .await?;
        if next.and_then(|next| next.before()) == Some(decision.version) {
            return Ok(true);
        }
        if self.is_there(&decision.job, decision.version).await? {
            return Ok(false);
        }
        // It went as one that is superseded does. Whether it was followed before is not to be told any more.
        let message = "it took so long to hear of a write that nobody knows what became of it";
        Err(StoreError::unavailable(message).into())
    }

    /// Inserts decisions; returns of each whether it was. That is the commit of what it says.
    pub(crate) async fn insert(&self, decisions: &[Decision]) -> BackendResult<Vec<bool>> {
        let mut by_shard: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, decision) in decisions.iter().enumerate() {
            let shard = self.shard(&decision.job);
            by_shard.entry(shard).or_default().push(index);
        }
        let inserts = by_shard.into_iter().map(|(shard, indices)| async move {
            let documents: Vec<&Document> = indices
                .iter()
                .map(|&index| &decisions[index].document)
                .collect();
            let refused = self
                .insert_into(shard, &documents, decisions, &indices)
                .await?;
            Ok::<_, BackendError>((indices, refused))
        });
        let mut inserted = vec![true; decisions.len()];
        for (indices, refused) in try_join_all(inserts).await? {
            for at in refused {
                inserted[indices[at]] = false;
            }
        }
        Ok(inserted)
    }

    async fn insert_into(
        &self,
        shard: usize,
        documents: &[&Document],
        decisions: &[Decision],
        indices: &[usize],
    ) -> BackendResult<Vec<usize>> {
        match insert_all(&self.shards[shard], documents).await {
            Err(error) if is_lost(&error) => {
                // It may have arrived. The same documents cannot be inserted twice, and each is known by its number; so
                // they are sent again, and what is refused now may be ours from before.
                let mut refused = Vec::new();
                for at in insert_all(&self.shards[shard], documents)
                    .await
                    .map_err(backend_error)?
                {
                    let ours = &decisions[indices[at]];
                    if !self.is_there(&ours.job, ours.version).await? {
                        refused.push(at);
                    }
                }
                Ok(refused)
            }
            other => other.map_err(backend_error),
        }
    }
}

/// Inserts documents; returns which were refused because they, or their like, are there.
pub(crate) async fn insert_all(
    collection: &Collection<Document>,
    documents: &[&Document],
) -> mongodb::error::Result<Vec<usize>> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let inserted = collection
        .insert_many(documents.iter().copied())
        .ordered(false)
        .await;
    let Err(error) = inserted else {
        return Ok(Vec::new());
    };
    let ErrorKind::InsertMany(failure) = &*error.kind else {
        return Err(error);
    };
    let refused = failure.write_errors.as_deref().unwrap_or_default();
    let is_expected = failure.write_concern_error.is_none()
        && refused.iter().all(|refused| refused.code == DUPLICATE_KEY);
    if !is_expected {
        return Err(error);
    }
    Ok(refused.iter().map(|refused| refused.index).collect())
}

fn by_shard(places: Vec<Place>) -> BTreeMap<usize, Vec<String>> {
    let mut by_shard: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (shard, id) in places {
        by_shard.entry(shard).or_default().push(id);
    }
    by_shard
}

fn chunks(ids: &[String]) -> Vec<Vec<String>> {
    let chunks = ids.chunks(VALUES_MAX);
    chunks.map(<[String]>::to_vec).collect()
}

fn among(ids: Vec<String>) -> Document {
    doc! {"_id": {"$in": ids}}
}

/// How long an insert may take before its writer asks whether it came too late.
pub(crate) fn is_late(taken: Duration, kept: Duration) -> bool {
    taken > kept / 2
}

/// Whether a version is of the first decision of an id.
pub(crate) fn is_first(version: Version) -> bool {
    position(version) == 1
}
