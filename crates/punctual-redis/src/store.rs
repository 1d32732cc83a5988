//! The store under its name.

use punctual_backend::{BackendStore, StoreOptions, delegate_job_store};
use punctual_core::store::StoreError;

use crate::address::Address;
use crate::backend::Redis;
use crate::open;

/// A job store on a Redis or Valkey server. See the [crate](crate) for what it needs and what it promises.
#[derive(Debug)]
pub struct RedisStore(BackendStore<Redis>);

delegate_job_store!(RedisStore);

impl RedisStore {
    /// Opens the store at `redis://user:password@host:6379/0`, or `rediss://` with TLS; the number is the database. Needs no
    /// ambient runtime.
    ///
    /// # Errors
    ///
    /// Where the address makes no sense, the server cannot be reached, is too old, a replica, part of a cluster, or may
    /// throw away what is stored; and where a newer Punctual has been there. The error says what to do.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let address = Address::parse(url, options.timeout)?;
        let wanted = options.clone();
        let connect = |changed| open::connect(address, wanted, changed);
        BackendStore::open(options, connect).await.map(Self)
    }
}
