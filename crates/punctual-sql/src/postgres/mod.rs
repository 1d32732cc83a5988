//! The `PostgreSQL` job store.

mod dialect;
mod examine;
mod listen;

use punctual_backend::{BackendStore, StoreOptions, delegate_job_store};
use punctual_core::store::StoreError;

use self::dialect::Postgres;
use crate::server::SqlBackend;

/// A job store in a `PostgreSQL` database, 12 or newer.
///
/// Tables stand in the first schema of the `search_path`. Changes made through other nodes are heard at once, over one
/// connection of its own that listens; behind a pooler in transaction mode that does not work, and polling stands in.
#[derive(Debug)]
pub struct PostgresStore(BackendStore<SqlBackend<Postgres>>);

delegate_job_store!(PostgresStore);

impl PostgresStore {
    /// Connects to `postgres://user:password@host:5432/database`, looks whether the server keeps what the store promises, and
    /// brings the tables up to date. Parameters after a `?`: `sslmode` (`disable`, `allow`, `prefer`, which is the default,
    /// `require`, `verify-ca`, `verify-full`), `sslrootcert`, `sslcert`, `sslkey`, `host` (a socket's folder), `options`,
    /// `application_name`, `statement-cache-capacity`.
    ///
    /// Needs no ambient runtime.
    ///
    /// # Errors
    ///
    /// Where the server cannot be reached, which may pass; where the address, the login or the options are wrong, the server
    /// is too old, a standby or read-only, its locks do not lock, or its tables are newer than this program.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let dialect = Postgres::new(url, &options.prefix, options.timeout)?;
        let settings = options.clone();
        let store = BackendStore::open(options, |changed| async move {
            let backend = SqlBackend::open(dialect, &settings).await?;
            Ok(listen::listening(backend, changed, settings.timeout))
        });
        store.await.map(Self)
    }
}
