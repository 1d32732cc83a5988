//! What Punctual's job stores on database servers share.
//!
//! A [`Backend`] is a database that can do a few reads and one conditional write. [`BackendStore`] makes a
//! [`JobStore`](punctual_core::store::JobStore) of it: every verb reads what it needs, asks
//! [`punctual_core::plan`], and writes the answer in one commit that holds only if nothing changed in between. So the
//! stores differ in their statements, not in what they mean.

pub mod codec;

mod backend;
mod changed;
mod claim;
mod delegate;
mod draft;
mod jobs;
mod options;
mod parked;
mod runs;
mod shared;
mod store;

pub use backend::{
    After, Awaited, Backend, BackendError, BackendResult, Body, Damaged, Due, Fate, Listed,
    PruneProgress, Snapshot, Version, Write, listed_at,
};
pub use changed::Changed;
pub use options::{DEFAULT_PREFIX, StoreOptions};
pub use store::BackendStore;

/// For [`delegate_job_store`].
#[doc(hidden)]
pub mod export {
    pub use {jiff, punctual_core, serde_json};
}
