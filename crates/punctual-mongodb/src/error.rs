//! What the driver and the server say, as errors of the store.

use mongodb::error::{Error, ErrorKind, InsertManyError, WriteFailure};
use punctual_backend::BackendError;
use punctual_core::store::StoreError;

/// Somebody else has a document with this `_id`, or with the same value of a unique index.
pub(crate) const DUPLICATE_KEY: i32 = 11_000;
/// Two writes met within the server.
const WRITE_CONFLICT: i32 = 112;
/// The server is no primary (any more), goes down, or did not answer in time.
const PASSING: [i32; 12] = [
    6, 7, 50, 89, 91, 189, 262, 9001, 10_107, 11_600, 13_435, 13_436,
];

/// Whether it may pass by itself.
fn is_passing(code: i32, message: &str) -> bool {
    PASSING.contains(&code)
        || code == 11_602
        // FerretDB passes on what SQLite says.
        || message.contains("SQLITE_BUSY")
        || message.contains("database is locked")
}

/// Whether the answer was lost on its way, so that nobody knows what became of the request.
pub(crate) fn is_lost(error: &Error) -> bool {
    matches!(
        *error.kind,
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. }
    )
}

/// An error as the store reports it.
pub(crate) fn store_error(error: &Error) -> StoreError {
    let coded = |code: i32, message: &str| {
        if is_passing(code, message) {
            StoreError::unavailable(format!("the MongoDB server says: {message}"))
        } else {
            StoreError::failed(format!("the MongoDB server says: {message} (code {code})"))
        }
    };
    let unconfirmed = |message: &str| {
        let text = format!("the MongoDB server did not confirm a write: {message}");
        StoreError::unavailable(text)
    };
    match &*error.kind {
        ErrorKind::Command(command) => coded(command.code, &command.message),
        ErrorKind::Write(WriteFailure::WriteError(write)) => coded(write.code, &write.message),
        ErrorKind::InsertMany(InsertManyError {
            write_errors: Some(errors),
            ..
        }) if !errors.is_empty() => coded(errors[0].code, &errors[0].message),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern))
        | ErrorKind::InsertMany(InsertManyError {
            write_concern_error: Some(concern),
            ..
        }) => unconfirmed(&concern.message),
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Shutdown => StoreError::unavailable(error),
        _ => StoreError::failed(error),
    }
}

/// An error of one call.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
pub(crate) fn backend_error(error: Error) -> BackendError {
    match &*error.kind {
        ErrorKind::Command(command) if command.code == WRITE_CONFLICT => {
            BackendError::Again("two writes met in the server".to_owned())
        }
        _ => store_error(&error).into(),
    }
}
