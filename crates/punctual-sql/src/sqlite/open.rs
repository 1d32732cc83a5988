//! Opening: settings, self-tests, tables.

use std::path::Path;
use std::thread;
use std::time::Duration;

use punctual_core::store::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::SqliteOptions;
use super::error::{Failure, Result};
use super::schema;

/// How many statements each connection keeps prepared.
const STATEMENTS_MAX: usize = 128;
/// How often turning on the write-ahead log is tried while another process does the same.
const WAL_ATTEMPTS: u32 = 250;
/// After how many pages (16 MiB) the log is carried over into the database.
const CHECKPOINT_PAGES: u32 = 4096;
/// How much of the database the writer keeps in memory at most, in KiB: the upper pages of every index, and what is due.
const WRITER_CACHE_KIB: i64 = 64 << 10;
/// Likewise the reader.
const READER_CACHE_KIB: i64 = 8 << 10;
/// What the log is cut down to when it was longer.
const LOG_BYTES_MAX: u32 = 64 << 20;

/// The two connections: of the writer, and of the reader.
pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<(Connection, Connection)> {
    schema::check_prefix(&options.prefix)?;
    check_path(path)?;
    let writer = connect(path, options)?;
    use_wal(&writer)?;
    writer.busy_timeout(options.busy_timeout)?;
    writer.pragma_update(None, "synchronous", "FULL")?;
    writer.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    writer.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    // What a savepoint may have to restore stays out of the file system.
    writer.pragma_update(None, "temp_store", "MEMORY")?;
    // A negative size is in KiB.
    writer.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    let reader = connect(path, options)?;
    reader.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;

    writer.execute_batch("BEGIN IMMEDIATE")?;
    let prepared = check_promises(&writer, &reader)
        .and_then(|()| schema::migrate(&writer, &options.prefix, options.clock.now()));
    match prepared {
        Ok(()) => writer.execute_batch("COMMIT")?,
        Err(error) => {
            let _ = writer.execute_batch("ROLLBACK");
            return Err(error);
        }
    }
    reader.busy_timeout(options.busy_timeout)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok((writer, reader))
}

fn refuse<T>(message: impl std::fmt::Display) -> Result<T> {
    Err(Failure::Store(StoreError::failed(message)))
}

fn check_path(path: &Path) -> Result<()> {
    let text = path.to_string_lossy();
    if text.is_empty() || text.contains(":memory:") {
        return refuse(
            "a database in memory is gone with its connection and keeps nothing; give a path, or use the memory store",
        );
    }
    if path.is_dir() {
        return refuse("it is a folder; give the path of a file in it");
    }
    if let Some(kind) = network_file_system(path) {
        return refuse(format!(
            "it lies on a network file system ({kind}), where SQLite cannot share its write-ahead log; put it on a disk \
             of this machine"
        ));
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn network_file_system(path: &Path) -> Option<&'static str> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let found = rustix::fs::statfs(folder.unwrap_or(Path::new("."))).ok()?;
    // The numbers are those of linux/magic.h.
    match found.f_type as u32 {
        0x6969 => Some("nfs"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("smb"),
        0x5346_414f => Some("afs"),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

fn connect(path: &Path, options: &SqliteOptions) -> Result<Connection> {
    // Not as a URI: a path may hold any character. Each connection stays with one thread.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(options.busy_timeout)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(db)
}

/// Leaves the connection without a busy timeout.
fn use_wal(db: &Connection) -> Result<()> {
    // SQLite waits for some of the locks that this takes and not for others, so we wait for all of them.
    db.busy_timeout(Duration::ZERO)?;
    for _ in 0..WAL_ATTEMPTS {
        let answer = db.query_row("PRAGMA journal_mode = WAL", (), |row| {
            row.get::<_, String>(0)
        });
        match answer {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return refuse(format!(
                    "its journal mode stays {mode:?}, without a write-ahead log; put it on a disk of this machine that \
                     allows shared memory"
                ));
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Store(StoreError::unavailable(
        "other programs keep it busy, so the write-ahead log cannot be turned on; close them and try again",
    )))
}

/// Checks what the promises of the store rest on. The writer holds the write lock.
fn check_promises(writer: &Connection, other: &Connection) -> Result<()> {
    let pragma = |name: &str| writer.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let synchronous = pragma("synchronous")?;
    if synchronous != 2 {
        return refuse(format!(
            "synchronous is {synchronous}, not 2 (FULL), so what is acknowledged could be lost with the power"
        ));
    }
    if writer.is_readonly(rusqlite::MAIN_DB)? {
        return refuse(
            "it cannot be written by the user who runs this; give write permission to the file",
        );
    }
    other.busy_timeout(Duration::ZERO)?;
    match other.execute_batch("BEGIN IMMEDIATE") {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => {
            let _ = other.execute_batch("ROLLBACK");
            refuse(
                "locks do not hold here: two connections could write at once; put it on a disk of this machine",
            )
        }
    }
}
