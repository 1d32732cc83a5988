//! Job stores on SQL servers: one implementation over a small [`Dialect`](dialect::Dialect).
//!
//! # How it works
//!
//! A unit of work is a short transaction at READ COMMITTED. It locks the jobs that it is about, in the order of their ids
//! or past those that others hold (`SKIP LOCKED`), then their live runs, and writes them back with a handful of statements
//! for any number of jobs. While a job is locked nobody else decides about it, so what was read is what is changed.
//!
//! The one row that all write, the fence floor in `meta`, is taken last and held for the length of a commit.

pub(crate) mod address;
mod backend;
pub(crate) mod cell;
mod check;
pub(crate) mod dialect;
pub(crate) mod link;
mod read;
mod records;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod statement;
#[cfg(test)]
pub(crate) mod tests;
mod write;

pub(crate) use backend::SqlBackend;
