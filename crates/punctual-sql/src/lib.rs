//! SQL job stores for Punctual: SQLite.
