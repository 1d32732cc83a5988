//! The store under its name.

use punctual_backend::{BackendStore, StoreOptions, delegate_job_store};
use punctual_core::store::StoreError;

use crate::backend::Mongo;

/// A job store on a `MongoDB` server. See the [crate](crate) for what it needs and what it promises.
#[derive(Debug)]
pub struct MongoStore(BackendStore<Mongo>);

delegate_job_store!(MongoStore);

impl MongoStore {
    /// Opens the store at `mongodb://user:password@host:27017/database`; several hosts of a replica set are separated by
    /// commas. Without a database it is `punctual`. Needs no ambient runtime.
    ///
    /// # Errors
    ///
    /// Where the address makes no sense or asks for a read preference, the server cannot be reached, is too old, no
    /// primary, or does not keep `_id` unique; and where a newer Punctual has been there. The error says what to do.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let (url, wanted) = (url.to_owned(), options.clone());
        BackendStore::open(options, |_| Mongo::open(url, wanted))
            .await
            .map(Self)
    }
}
