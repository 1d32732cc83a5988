//! The `MySQL` and `MariaDB` job store.

mod dialect;
mod examine;

use punctual_backend::{BackendStore, StoreOptions, delegate_job_store};
use punctual_core::store::StoreError;

use self::dialect::Mysql;
use crate::server::SqlBackend;

/// A job store in a database of `MySQL` (8.0.1 or newer) or `MariaDB` (10.6 or newer).
///
/// The server tells no other node of a change, so changes made through others are noticed by polling.
#[derive(Debug)]
pub struct MysqlStore(BackendStore<SqlBackend<Mysql>>);

delegate_job_store!(MysqlStore);

impl MysqlStore {
    /// Connects to `mysql://user:password@host:3306/database`, looks whether the server keeps what the store promises, and
    /// brings the tables up to date. Parameters after a `?`: `ssl-mode` (`disabled`, `preferred`, which is the default,
    /// `required`, `verify_ca`, `verify_identity`), `ssl-ca`, `ssl-cert`, `ssl-key`, `socket`. A `MySQL` user with the usual
    /// `caching_sha2_password` logs in over TLS or a socket only.
    ///
    /// Needs no ambient runtime.
    ///
    /// # Errors
    ///
    /// Where the server cannot be reached, which may pass; where the address, the login or the options are wrong, the server
    /// is too old or read-only, its locks do not lock, or its tables are newer than this program.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let dialect = Mysql::new(url, options.timeout)?;
        let settings = options.clone();
        let store = BackendStore::open(options, |_| async move {
            SqlBackend::open(dialect, &settings).await
        });
        store.await.map(Self)
    }
}
