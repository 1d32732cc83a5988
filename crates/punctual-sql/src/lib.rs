//! SQL job stores for Punctual: `SQLite`.
//!
//! ```
//! use punctual_sql::{SqliteOptions, SqliteStore};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("punctual.db");
//! let store = SqliteStore::open(path, SqliteOptions::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the store promises, and what it does not, is in `docs/stores.md`.

pub mod sqlite;

pub use sqlite::{SqliteOptions, SqliteStore};
