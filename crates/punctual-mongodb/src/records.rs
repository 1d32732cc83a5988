//! Small documents, logs and the fence floor. They too rest on inserts alone: a record is the document with the highest
//! position among those of its key.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use futures_util::{TryFutureExt, TryStreamExt};
use jiff::Timestamp;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use punctual_backend::{BackendError, BackendResult};
use punctual_core::id::Fence;
use punctual_core::store::{Expect, LogEntry, PAUSED_KEY, Record, SCHEDULER_NAMESPACE, StoreError};
use serde_json::Value;

use crate::error::backend_error;
use crate::inner::Inner;
use crate::log::insert_all;

/// How often a write gives way to others.
const TRIES: usize = 100;

/// The `_id` of a position under a name: unambiguous, whatever the name holds.
fn id_of(name: &[&str], position: i64) -> String {
    format!("{}:{position}", serde_json::json!(name))
}

fn position(document: &Document) -> i64 {
    document.get_i64("n").unwrap_or(0)
}

/// What a document holds; `None` where it says that there is nothing.
fn record(document: &Document) -> BackendResult<Option<Record>> {
    let Ok(text) = document.get_str("value") else {
        return Ok(None);
    };
    let key = document.get_str("key").map_err(StoreError::failed)?;
    Ok(Some(Record {
        key: key.to_owned(),
        value: json(text)?,
        version: document.get_i64("version").unwrap_or(0) as u64,
    }))
}

fn json(text: &str) -> BackendResult<Value> {
    Ok(serde_json::from_str(text)
        .map_err(|error| StoreError::failed(format!("a stored document is no JSON: {error}")))?)
}

async fn all(
    collection: &Collection<Document>,
    filter: Document,
    sort: Document,
    limit: i64,
) -> BackendResult<Vec<Document>> {
    collection
        .find(filter)
        .sort(sort)
        .limit(limit)
        .into_future()
        .and_then(TryStreamExt::try_collect)
        .await
        .map_err(backend_error)
}

impl Inner {
    async fn last_record(&self, namespace: &str, key: &str) -> BackendResult<Option<Document>> {
        let filter = doc! {"namespace": namespace, "key": key};
        let mut found = all(&self.records, filter, doc! {"n": -1}, 1).await?;
        Ok(found.pop())
    }

    pub(crate) async fn record(&self, namespace: &str, key: &str) -> BackendResult<Option<Record>> {
        match self.last_record(namespace, key).await? {
            Some(document) => record(&document),
            None => Ok(None),
        }
    }

    /// Whether the record that pauses all nodes says so.
    pub(crate) async fn is_paused(&self) -> BackendResult<bool> {
        let record = self.record(SCHEDULER_NAMESPACE, PAUSED_KEY).await?;
        Ok(record.is_some_and(|record| record.value["paused"] == true))
    }

    pub(crate) async fn records(&self, namespace: &str) -> BackendResult<Vec<Record>> {
        let filter = doc! {"namespace": namespace};
        let mut last: BTreeMap<String, Document> = BTreeMap::new();
        for document in all(&self.records, filter, doc! {"key": 1, "n": 1}, 0).await? {
            let key = document.get_str("key").unwrap_or_default().to_owned();
            last.insert(key, document);
        }
        last.values()
            .filter_map(|document| record(document).transpose())
            .collect()
    }

    pub(crate) async fn put_record(
        &self,
        namespace: &str,
        key: &str,
        value: Option<&Value>,
        expect: Expect,
    ) -> BackendResult<bool> {
        for _ in 0..TRIES {
            let last = self.last_record(namespace, key).await?;
            let found = last.as_ref().map(record).transpose()?.flatten();
            let version = found.map(|record| record.version);
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => version.is_none(),
                Expect::Version(expected) => version == Some(expected),
            };
            if !holds {
                return Ok(false);
            }
            let before = last.as_ref().map_or(0, position);
            let nonce = i64::from(fastrand::u32(..));
            let mut next = doc! {
                "_id": id_of(&[namespace, key], before + 1),
                "namespace": namespace,
                "key": key,
                "n": before + 1,
                "nonce": nonce,
            };
            if let Some(before) = last.as_ref().and_then(|last| last.get("nonce")) {
                next.insert("before", before.clone());
            }
            match value {
                Some(value) => {
                    next.insert("value", value.to_string());
                    next.insert("version", version.unwrap_or(0) as i64 + 1);
                }
                None => _ = next.insert("gone_at", self.now().await?.as_microsecond()),
            }
            let refused = insert_all(&self.records, &[&next])
                .await
                .map_err(backend_error)?;
            if !refused.is_empty() {
                continue;
            }
            let Some(last) = last else {
                return Ok(true);
            };
            if !self.holds_record(&last, &next).await? {
                continue;
            }
            self.forget_records(namespace, key, before).await;
            return Ok(true);
        }
        Err(BackendError::Again(
            "the record changes all the time".to_owned(),
        ))
    }

    /// Whether a document that was inserted follows the one that it was made from.
    ///
    /// That one is deleted only by who comes after the next. So if it is there still, nobody was here. If not, somebody was:
    /// either its place was free only because the document there was deleted, and it is void, or it was gone on from.
    async fn holds_record(&self, last: &Document, own: &Document) -> BackendResult<bool> {
        let nonce = |document: &Document, field| document.get_i64(field).ok();
        let at = async |position: i64| {
            let name = |field| own.get_str(field).unwrap_or_default();
            let id = id_of(&[name("namespace"), name("key")], position);
            self.records
                .find_one(doc! {"_id": id})
                .await
                .map_err(backend_error)
        };
        let there = at(position(last)).await?;
        if there.is_some_and(|there| nonce(&there, "nonce") == nonce(last, "nonce")) {
            return Ok(true);
        }
        let next = at(position(own) + 1).await?;
        if next.is_some_and(|next| nonce(&next, "before") == nonce(own, "nonce")) {
            return Ok(true);
        }
        let there = at(position(own)).await?;
        if there.is_some_and(|there| nonce(&there, "nonce") == nonce(own, "nonce")) {
            let id = own.get_str("_id").unwrap_or_default();
            self.records
                .delete_one(doc! {"_id": id})
                .await
                .map_err(backend_error)?;
            return Ok(false);
        }
        let message = "the record changed so often that nobody knows what became of a write";
        Err(StoreError::unavailable(message).into())
    }

    /// Deletes the superseded position before the one that was superseded just now. The first stays: as long as it is
    /// there, who found nothing under the key cannot write late.
    async fn forget_records(&self, namespace: &str, key: &str, superseded: i64) {
        if superseded < 3 {
            return;
        }
        let id = id_of(&[namespace, key], superseded - 1);
        if let Err(error) = self.records.delete_one(doc! {"_id": id}).await {
            tracing::debug!(%error, "an old version of a record stays");
        }
    }

    /// Forgets records that were deleted before a moment.
    pub(crate) async fn forget_gone_records(&self, before: Timestamp) -> BackendResult<()> {
        let filter = doc! {"gone_at": {"$lte": before.as_microsecond()}};
        for gone in all(&self.records, filter, doc! {"gone_at": 1}, 1000).await? {
            let name = |field| gone.get_str(field).unwrap_or_default();
            let (namespace, key) = (name("namespace"), name("key"));
            let last = self.last_record(namespace, key).await?;
            if last.as_ref().map(position) != Some(position(&gone)) {
                continue;
            }
            // From below: the highest says that there is nothing until it goes, too.
            let below = position(&gone) - 1;
            for at in [1, below, position(&gone)] {
                let id = id_of(&[namespace, key], at);
                self.records
                    .delete_one(doc! {"_id": id})
                    .await
                    .map_err(backend_error)?;
            }
        }
        Ok(())
    }

    pub(crate) async fn append_log(&self, log: &str, value: &Value) -> BackendResult<u64> {
        let at = self.now().await?;
        for _ in 0..TRIES {
            let last = all(&self.logs, doc! {"log": log}, doc! {"n": -1}, 1).await?;
            let next = last.first().map_or(0, position) + 1;
            let entry = doc! {
                "_id": id_of(&[log], next),
                "log": log,
                "n": next,
                "at": at.as_microsecond(),
                "value": value.to_string(),
            };
            let refused = insert_all(&self.logs, &[&entry])
                .await
                .map_err(backend_error)?;
            if refused.is_empty() {
                return Ok(next as u64);
            }
        }
        Err(BackendError::Again("many append to the log".to_owned()))
    }

    pub(crate) async fn read_log(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> BackendResult<Vec<LogEntry>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let filter = doc! {"log": log, "n": {"$gt": after}};
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let entries = all(&self.logs, filter, doc! {"n": 1}, limit).await?;
        entries
            .iter()
            .map(|entry| {
                let at = entry.get_i64("at").unwrap_or(0);
                Ok(LogEntry {
                    position: position(entry) as u64,
                    at: Timestamp::from_microsecond(at).unwrap_or(Timestamp::MIN),
                    value: json(entry.get_str("value").unwrap_or_default())?,
                })
            })
            .collect()
    }

    /// The highest token among those that were noted. Each is a document, since of two who raise a number at once one may
    /// be forgotten.
    pub(crate) async fn fence_floor(&self) -> BackendResult<Fence> {
        let highest = all(&self.fences, Document::new(), doc! {"_id": -1}, 1).await?;
        let id = highest.first().and_then(|fence| fence.get_str("_id").ok());
        Ok(Fence(id.and_then(|id| id.parse().ok()).unwrap_or(0)))
    }

    pub(crate) async fn raise_fence_floor(&self, fence: Fence) -> BackendResult<()> {
        if fence.0 <= self.floor.load(Ordering::Relaxed) {
            return Ok(());
        }
        let id = format!("{:020}", fence.0);
        insert_all(&self.fences, &[&doc! {"_id": &id}])
            .await
            .map_err(backend_error)?;
        self.floor.fetch_max(fence.0, Ordering::Relaxed);
        self.fences
            .delete_many(doc! {"_id": {"$lt": id}})
            .await
            .map_err(backend_error)?;
        Ok(())
    }
}
