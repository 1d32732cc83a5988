//! What goes wrong with `SQLite`, in the words of the contract.

use std::path::Path;
use std::time::Duration;

use punctual_core::store::StoreError;
use rusqlite::ErrorCode;

/// What can go wrong inside a request.
#[derive(Debug)]
pub(super) enum Failure {
    /// `SQLite` said so.
    Sql(rusqlite::Error),
    /// We did.
    Store(StoreError),
}

pub(super) type Result<T> = std::result::Result<T, Failure>;

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// The error for the caller: which file, what happened, what to do.
    pub(super) fn describe(self, path: &Path, busy_timeout: Duration) -> StoreError {
        let path = path.display();
        let error = match self {
            Self::Sql(error) => error,
            Self::Store(StoreError::Unavailable { message }) => {
                return StoreError::unavailable(format!("{path}: {message}"));
            }
            Self::Store(StoreError::Failed { message }) => {
                return StoreError::failed(format!("{path}: {message}"));
            }
            Self::Store(other) => return other,
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::unavailable(format!(
                    "{path} is busy: another program has held its write lock for {busy_timeout:?} ({error}); look for a \
                     backup or an open transaction in a database shell"
                ))
            }
            Some(ErrorCode::DiskFull) => StoreError::unavailable(format!(
                "the disk of {path} is full ({error}); nothing was changed, free some space"
            )),
            Some(ErrorCode::SystemIoFailure) => StoreError::unavailable(format!(
                "{path} could not be read or written ({error}); look into the system's log for faults of the disk"
            )),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::failed(format!(
                "{path} cannot be written ({error}); give this user the right to write to the file and to its folder, \
                     where SQLite keeps the -wal and -shm files"
            )),
            Some(ErrorCode::CannotOpen) => StoreError::failed(format!(
                "{path} cannot be opened ({error}); its folder must exist and be writable"
            )),
            Some(ErrorCode::DatabaseCorrupt) => StoreError::failed(format!(
                "{path} is damaged ({error}); stop all programs that use it, keep a copy, then restore a backup or try \
                 `sqlite3 {path} .recover`"
            )),
            Some(ErrorCode::NotADatabase) => StoreError::failed(format!(
                "{path} is not an SQLite database ({error}); give the path of a new file, or of one that Punctual made"
            )),
            _ => StoreError::failed(format!("{path}: {error}")),
        }
    }
}
