//! What the server's errors mean for the scheduler.

use punctual_backend::BackendError;
use punctual_core::store::StoreError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Whether a fault passes by itself, and what to do if it does not.
pub(crate) fn store_error(error: &RedisError) -> StoreError {
    use ServerErrorKind as Server;
    let cure = |cure: &str| format!("{error}; {cure}");
    match error.kind() {
        ErrorKind::Io => StoreError::unavailable(error),
        ErrorKind::Server(Server::BusyLoading | Server::TryAgain | Server::MasterDown) => {
            StoreError::unavailable(error)
        }
        ErrorKind::Server(Server::ReadOnly) => StoreError::unavailable(cure(
            "it is a replica: the address has to lead to the primary",
        )),
        ErrorKind::Server(
            Server::Moved | Server::Ask | Server::CrossSlot | Server::ClusterDown,
        ) => StoreError::failed(cure(
            "the server belongs to a cluster, which is not supported",
        )),
        ErrorKind::Server(Server::NoPerm) => StoreError::failed(cure(
            "the user of the address needs all commands on the keys and the channel of the prefix",
        )),
        ErrorKind::AuthenticationFailed => unknown_user(error),
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => unknown_user(error),
            Some("OOM") => {
                StoreError::unavailable(cure("the server is full: raise its maxmemory, or prune"))
            }
            Some("MISCONF" | "BUSY" | "NOREPLICAS" | "UNKILLABLE") => {
                StoreError::unavailable(error)
            }
            _ => StoreError::failed(error),
        },
    }
}

fn unknown_user(error: &RedisError) -> StoreError {
    StoreError::failed(format!(
        "{error}; the server does not take the user and the password of the address"
    ))
}

/// The same, for a backend.
pub(crate) fn backend_error(error: &RedisError) -> BackendError {
    BackendError::Store(store_error(error))
}

/// The server answered something else than it was asked for.
pub(crate) fn senseless(what: &str) -> BackendError {
    BackendError::Store(StoreError::failed(format!(
        "the server's answer makes no sense: {what}"
    )))
}
