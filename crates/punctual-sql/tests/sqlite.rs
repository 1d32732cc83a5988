//! The `SQLite` store runs the suite of all job stores, and the tests that only a file can fail.

use std::sync::Arc;

use punctual_conformance::{FreshStore, Place};
use punctual_core::clock::SimClock;
use punctual_core::id::JobId;
use punctual_core::store::{BoxFuture, JobStore, StoreResult};
use punctual_core::zones::Zones;
use punctual_sql::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// A database in a folder of its own.
struct Sqlite;

struct Folder(TempDir);

impl FreshStore for Sqlite {
    fn fresh(&self) -> Box<dyn Place> {
        Box::new(Folder(tempfile::tempdir().unwrap()))
    }
}

impl Place for Folder {
    fn open(&self, clock: &SimClock) -> BoxFuture<'_, StoreResult<Arc<dyn JobStore>>> {
        let options = SqliteOptions::new(Arc::new(clock.clone()), Zones::system());
        let store = SqliteStore::open(self.0.path().join("punctual.db"), options);
        Box::pin(std::future::ready(
            store.map(|store| Arc::new(store) as Arc<dyn JobStore>),
        ))
    }

    fn corrupt(&self, id: &JobId) -> bool {
        let db = rusqlite::Connection::open(self.0.path().join("punctual.db")).unwrap();
        let text = "UPDATE punctual_jobs SET definition = '{\"version\": 99}', revision = revision + 1 WHERE id = ?1";
        db.execute(text, [id.as_str()]).unwrap() == 1
    }
}

mod files;

mod sqlite {
    use super::Sqlite;

    punctual_conformance::job_store_suite!(Sqlite);
}
