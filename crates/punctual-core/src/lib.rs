//! Jobs, decisions, job stores, executors and the scheduler of Punctual.
//!
//! The parts, from the pure to the busy:
//!
//! - [`job`], [`run`]: what a job is, and the life of one occurrence.
//! - [`decide`], [`plan`]: what becomes of due occurrences, and of every other change, as pure functions.
//! - [`store`]: the contract that keeps jobs and their ledger; [`memory`]: the store inside the process.

pub mod cancel;
pub mod clock;
mod closure;
pub mod decide;
pub mod definitions;
pub mod document;
pub mod event;
pub mod executor;
pub mod id;
pub mod job;
pub mod lease;
pub mod memory;
pub mod output;
pub mod plan;
pub mod run;
pub mod runtime;
pub mod scheduler;
pub mod single_instance;
pub mod store;
pub mod task;
pub mod testing;
pub mod zones;
