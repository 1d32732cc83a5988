//! Every kind of scheduler of this crate runs the suite, with jobs in memory and in an SQLite file.

mod coroutines;
mod hosts;
mod local;
mod servers;

use std::sync::Arc;

use punctual_conformance::schedulers::Store;
use punctual_sql::{SqliteOptions, SqliteStore};

/// Jobs in memory.
fn memory() -> Store {
    None
}

/// Jobs in a fresh file.
#[expect(clippy::unnecessary_wraps, reason = "`None` is the memory store")]
fn sqlite() -> Store {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.db");
    let store = SqliteStore::open(path, SqliteOptions::default()).expect("a fresh file opens");
    Some((Arc::new(store), Box::new(folder)))
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $host:expr;)*) => { $(
        $(#[$doc])*
        mod $kind {
            mod memory {
                punctual_conformance::scheduler_suite!($host, crate::memory);
            }

            mod sqlite {
                punctual_conformance::scheduler_suite!($host, crate::sqlite);
            }
        }
    )* };
}

kinds! {
    blocking: crate::hosts::Blocking;
    background: crate::hosts::Background;
    tokio_multi: crate::hosts::Tokio::multi_thread();
    tokio_current: crate::hosts::Tokio::current_thread();
    smol: crate::hosts::Smol;
    actix: crate::hosts::Actix;
    calloop: crate::hosts::Calloop;
    may: crate::hosts::May;
}
