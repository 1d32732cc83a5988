//! The job store on a `MongoDB` server.
//!
//! ```no_run
//! # async fn example() -> Result<(), punctual_core::store::StoreError> {
//! use punctual_mongodb::{MongoStore, StoreOptions};
//!
//! let store = MongoStore::open("mongodb://ann:secret@localhost/jobs", StoreOptions::default()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It takes `MongoDB` 4.2 or later, standalone or a replica set, and `FerretDB` 1. No transactions, no change streams, no
//! conditional updates: on a standalone server there are none of the first two, and not every server that speaks the
//! protocol isolates the third. What it rests on is that a document whose `_id` is taken cannot be inserted.
//!
//! # How it works
//!
//! Every change of what lies under a job's id is a decision: one document with the whole truth about the id after it, the
//! job, its live runs, and the rows that ended with it. Its `_id` is the job's id and the decision's position, one
//! above that of the decision it was made from. So of two who decide from the same state one is refused, and begins anew;
//! and what lies under an id is its decision with the highest position.
//!
//! What a query looks for is in the decision itself, so it can be found the moment it holds. Taking the former one out of
//! the indexes, writing the rows that ended into the ledger, and deleting what is superseded come after. They may be late,
//! repeated, or done by another node; so a reader may meet a decision too many, which it tells by its successor, but misses
//! none.
//!
//! Writes are `w: majority` and journaled, reads go to the primary. The store's time is the server's, to the millisecond.

mod backend;
mod decision;
mod due;
mod error;
mod inner;
mod ledger;
mod log;
mod open;
mod records;
mod store;
#[cfg(test)]
mod tests;
mod tidy;

pub use punctual_backend::StoreOptions;
pub use store::MongoStore;
