//! The `MongoDB` store runs the suite of all job stores, and the tests that only a server of its kind can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::mongodb as client;
use client::bson::{Document, doc};
use futures_util::{TryFutureExt, TryStreamExt};
use punctual_conformance::{FreshStore, Place};
use punctual_core::clock::SimClock;
use punctual_core::id::JobId;
use punctual_core::store::{BoxFuture, JobStore, StoreResult};
use punctual_mongodb::{MongoStore, StoreOptions};

/// A prefix of its own on the server that tests may use.
struct Fresh;

/// A prefix; its collections go with it.
struct Prefix {
    url: String,
    prefix: String,
}

fn url() -> Option<String> {
    punctual_conformance::server_url("MONGODB")
}

impl Prefix {
    fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self {
            url: url().expect("asked before"),
            prefix: format!("test_{}_{number}_", std::process::id()),
        }
    }

    /// Does something with the collections, beside the store.
    fn with_collections<F: Future<Output = ()>>(
        &self,
        act: impl FnOnce(Vec<client::Collection<Document>>) -> F,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = client::Client::with_uri_str(&self.url).await.unwrap();
            let db = client
                .default_database()
                .unwrap_or_else(|| client.database("punctual"));
            let names = db.list_collection_names().await.unwrap();
            let ours = names
                .iter()
                .filter(|name| name.starts_with(&self.prefix))
                .map(|name| db.collection(name))
                .collect();
            act(ours).await;
        });
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        self.with_collections(async |collections| {
            for collection in collections {
                collection.drop().await.unwrap();
            }
        });
    }
}

impl FreshStore for Fresh {
    fn fresh(&self) -> Box<dyn Place> {
        Box::new(Prefix::new())
    }

    fn missing(&self) -> Option<String> {
        url().is_none().then(|| "MongoDB".to_owned())
    }
}

impl Place for Prefix {
    fn open(&self, clock: &SimClock) -> BoxFuture<'_, StoreResult<Arc<dyn JobStore>>> {
        // The server may be FerretDB, which reads whole collections, on a machine that is busy with other tests.
        let options = StoreOptions::default()
            .prefix(&self.prefix)
            .timeout(Duration::from_mins(2))
            .clock(Arc::new(clock.clone()));
        Box::pin(async move {
            let store = MongoStore::open(&self.url, options).await?;
            Ok(Arc::new(store) as Arc<dyn JobStore>)
        })
    }

    fn corrupt(&self, id: &JobId) -> bool {
        let mut spoilt = false;
        self.with_collections(async |collections| {
            for collection in collections {
                spoilt |= spoil(&collection, id).await;
            }
        });
        spoilt
    }
}

/// Changes the head of a job, as a newer program or a hand might.
async fn spoil(collection: &client::Collection<Document>, id: &JobId) -> bool {
    let heads: Vec<Document> = collection
        .find(doc! {"job": id.as_str(), "head": true})
        .into_future()
        .and_then(TryStreamExt::try_collect)
        .await
        .unwrap();
    let Some(head) = heads.iter().max_by_key(|head| head.get_i64("v").unwrap()) else {
        return false;
    };
    let state = head.get_str("state").unwrap();
    let mut state: serde_json::Value = serde_json::from_str(state).unwrap();
    state["revision"] = (state["revision"].as_u64().unwrap() + 1).into();
    let set = doc! {"$set": {"document": r#"{"version": 99}"#, "state": state.to_string()}};
    let head = doc! {"_id": head.get_str("_id").unwrap()};
    let updated = collection.update_one(head, set).await.unwrap();
    updated.modified_count == 1
}

mod mongodb {
    use super::Fresh;

    punctual_conformance::job_store_suite!(Fresh);
}
