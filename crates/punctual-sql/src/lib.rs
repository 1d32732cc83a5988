//! SQL job stores for Punctual: `SQLite`, `PostgreSQL`, `MySQL` and `MariaDB`. Each is behind a feature.
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! use punctual_sql::{SqliteOptions, SqliteStore};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("punctual.db");
//! let store = SqliteStore::open(path, SqliteOptions::default())?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn example() -> Result<(), punctual_core::store::StoreError> {
//! use punctual_sql::{PostgresStore, StoreOptions};
//!
//! let url = "postgres://punctual:secret@localhost/punctual?sslmode=require";
//! let store = PostgresStore::open(url, StoreOptions::default()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What each store promises, and what it does not, is in `docs/stores.md`.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[cfg_attr(
    not(all(feature = "postgres", feature = "mysql")),
    allow(
        dead_code,
        reason = "each database has its own share of what is spelt differently"
    )
)]
mod server;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(feature = "mysql")]
pub use mysql::MysqlStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub use punctual_backend::StoreOptions;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteStore};
