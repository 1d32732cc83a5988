//! One suite of tests that every Punctual job store runs, and one for every [scheduler](schedulers).
//!
//! A store that passes keeps the contract of [`JobStore`](punctual_core::store::JobStore). To run the suite, say how a
//! place for a store is made, and name it in a module of its own:
//!
//! ```
//! # mod demo {
//! use std::sync::Arc;
//! use punctual_conformance::{FreshStore, Place, job_store_suite};
//! use punctual_core::clock::SimClock;
//! use punctual_core::memory::MemoryStore;
//! use punctual_core::store::{BoxFuture, JobStore, StoreResult};
//!
//! struct Memory;
//!
//! impl FreshStore for Memory {
//!     fn fresh(&self) -> Box<dyn Place> {
//!         Box::new(Memory)
//!     }
//! }
//!
//! impl Place for Memory {
//!     fn open(&self, clock: &SimClock) -> BoxFuture<'_, StoreResult<Arc<dyn JobStore>>> {
//!         let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
//!         Box::pin(std::future::ready(Ok(store)))
//!     }
//! }
//!
//! job_store_suite!(Memory); // demo::claims_are_exclusive, …
//! # }
//! ```
//!
//! Every case is a function in [`cases`], and its doc line is the rule. A case that needs an ability which the store does
//! not declare says on stderr that it is skipped, and why. Time is set, never slept through.

pub mod bench;
pub mod cases;
mod list;
pub mod schedulers;
mod trial;

pub use list::CASES;
pub use trial::{
    FreshStore, JobSpec, Place, START, Skipped, Trial, Verdict, change_trigger, job, run_case,
    server_url,
};
