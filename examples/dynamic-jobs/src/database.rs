//! The application's own database: a row for each task id, which the task reads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rusqlite::{Connection, OptionalExtension, params};

/// How long to wait while another process writes.
const BUSY: Duration = Duration::from_secs(10);

/// What the application knows of a task id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What the task says.
    pub(crate) message: String,
    /// How long its work takes.
    pub(crate) work: Duration,
}

/// A handle to the database. Cheap to clone; every process of the service opens the same file.
#[derive(Clone, Debug)]
pub(crate) struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// Opens the file, and makes it where there is none.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY)?;
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS tasks (
                     task_id TEXT PRIMARY KEY,
                     message TEXT NOT NULL,
                     work_ms INTEGER NOT NULL DEFAULT 0
                 ) STRICT",
            )?;
            Ok(connection)
        };
        let connection = open().with_context(|| {
            format!(
                "the application's database {} cannot be opened",
                path.display()
            )
        })?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn with<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        // Each question is one statement: a panic leaves nothing half done.
        ask(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the row of a task id, where there is none yet.
    pub(crate) fn ensure(&self, task_id: &str) -> rusqlite::Result<()> {
        let message = format!("hello from task {task_id}");
        self.with(|connection| {
            let sql = "INSERT INTO tasks (task_id, message) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            connection.execute(sql, params![task_id, message])
        })?;
        Ok(())
    }

    /// The row of a task id.
    pub(crate) fn row(&self, task_id: &str) -> rusqlite::Result<Option<Row>> {
        self.with(|connection| {
            let sql = "SELECT message, work_ms FROM tasks WHERE task_id = ?1";
            let read = |row: &rusqlite::Row<'_>| {
                let work_ms: i64 = row.get(1)?;
                Ok(Row {
                    message: row.get(0)?,
                    work: Duration::from_millis(work_ms.max(0).unsigned_abs()),
                })
            };
            connection.query_row(sql, [task_id], read).optional()
        })
    }
}

/// The file where the settings name none.
pub(crate) fn default_path() -> PathBuf {
    "dynamic-jobs-app.db".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let database = Database::open(&path).unwrap();
        assert_eq!(database.row("5").unwrap(), None);
        database.ensure("5").unwrap();
        let other = Connection::open(&path).unwrap();
        let changed = "UPDATE tasks SET message = 'changed', work_ms = 20";
        other.execute(changed, []).unwrap();
        database.ensure("5").unwrap();
        let row = Row {
            message: "changed".to_owned(),
            work: Duration::from_millis(20),
        };
        assert_eq!(database.row("5").unwrap(), Some(row));
    }
}
