//! The tables, and how they come about: numbered steps, each applied once.

use jiff::Timestamp;
use punctual_core::store::StoreError;
use rusqlite::{Connection, OptionalExtension};

use super::error::{Failure, Result};

/// A step from one version of the tables to the next.
struct Migration {
    name: &'static str,
    text: &'static str,
}

/// All steps; the version of the tables is how many were taken. A step that was released is never changed.
const MIGRATIONS: &[Migration] = &[Migration {
    name: "jobs, runs, records",
    // `n` keeps the other indexes short. Times are microseconds since 1970.
    text: "
        CREATE TABLE @jobs (
            n INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            task TEXT NOT NULL,
            executor TEXT NOT NULL,
            name TEXT,
            tags TEXT,
            key INTEGER NOT NULL,
            cursor INTEGER NOT NULL,
            due_at INTEGER,
            extra INTEGER,
            manual_at INTEGER,
            paused TEXT,
            phase TEXT NOT NULL,
            revision INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            fence INTEGER NOT NULL,
            wake_at INTEGER,
            live INTEGER NOT NULL,
            listed_at INTEGER NOT NULL,
            definition TEXT NOT NULL
        ) STRICT;
        CREATE INDEX @jobs_wake ON @jobs (task, executor, wake_at, id) WHERE wake_at IS NOT NULL;
        CREATE INDEX @jobs_listed ON @jobs (listed_at, id);

        CREATE TABLE @runs (
            n INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE,
            job_id TEXT NOT NULL,
            job_key INTEGER NOT NULL,
            kind TEXT NOT NULL,
            scheduled_at INTEGER NOT NULL,
            due_at INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            crashes INTEGER NOT NULL,
            instance INTEGER NOT NULL,
            state TEXT NOT NULL,
            reason TEXT,
            node INTEGER,
            fence INTEGER NOT NULL,
            lease_until INTEGER,
            started_at INTEGER,
            finished_at INTEGER,
            cancel_requested INTEGER NOT NULL,
            scheduled_until INTEGER,
            count INTEGER NOT NULL,
            superseded_at INTEGER,
            output TEXT,
            error TEXT
        ) STRICT;
        CREATE UNIQUE INDEX @runs_occurrence ON @runs (job_key, scheduled_at, kind, attempt);
        CREATE INDEX @runs_job ON @runs (job_id, id);
        CREATE INDEX @runs_live ON @runs (job_id, id) WHERE state IN ('pending', 'running');
        CREATE INDEX @runs_running ON @runs (node, lease_until) WHERE state = 'running';
        CREATE INDEX @runs_over ON @runs (finished_at, state) WHERE finished_at IS NOT NULL;
        CREATE INDEX @runs_state ON @runs (state, id) WHERE state NOT IN ('pending', 'running', 'succeeded');

        CREATE TABLE @records (
            namespace TEXT NOT NULL,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            version INTEGER NOT NULL,
            PRIMARY KEY (namespace, key)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE @log (
            log TEXT NOT NULL,
            position INTEGER NOT NULL,
            at INTEGER NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (log, position)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE @meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
}];

/// The version of the tables that this program reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// The most characters a prefix may have.
const PREFIX_CHARS_MAX: usize = 32;

/// Refuses a prefix that is not the beginning of a plain SQL name: it becomes part of every statement.
pub(super) fn check_prefix(prefix: &str) -> std::result::Result<(), StoreError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins_well = prefix
        .chars()
        .next()
        .is_none_or(|first| !first.is_ascii_digit());
    if prefix.chars().all(plain) && begins_well && prefix.len() <= PREFIX_CHARS_MAX {
        return Ok(());
    }
    Err(StoreError::failed(format!(
        "table prefix {prefix:?} is not a plain name; it takes up to {PREFIX_CHARS_MAX} ASCII letters, digits and \
         underscores, and does not begin with a digit"
    )))
}

/// Brings the tables to [`VERSION`]. The caller holds the write lock.
pub(super) fn migrate(db: &Connection, prefix: &str, now: Timestamp) -> Result<()> {
    let fill = |text: &str| text.replace('@', prefix);
    db.execute_batch(&fill(
        "CREATE TABLE IF NOT EXISTS @migrations
            (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
    ))?;
    let found = fill("SELECT version FROM @migrations ORDER BY version DESC LIMIT 1");
    let found: i64 = db
        .query_row(&found, (), |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    if found > VERSION {
        return Err(Failure::Store(StoreError::failed(format!(
            "its tables are version {found}, written by a newer Punctual; this one knows up to {VERSION}: upgrade \
             Punctual, or restore a backup from before its upgrade"
        ))));
    }
    for (migration, version) in MIGRATIONS.iter().zip(1_i64..).skip(found as usize) {
        db.execute_batch(&fill(migration.text))?;
        db.execute(
            &fill("INSERT INTO @migrations (version, name, applied_at) VALUES (?1, ?2, ?3)"),
            (version, migration.name, now.as_microsecond()),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_names() {
        for good in ["", "punctual_", "_a1", "P"] {
            assert!(check_prefix(good).is_ok(), "{good:?}");
        }
        let long = "x".repeat(33);
        for bad in ["1a", "a-b", "a b", "a;", "\"", "ü", "a.b", "@", &long] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
