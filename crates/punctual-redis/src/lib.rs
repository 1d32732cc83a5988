//! The job store on a Redis or Valkey server.
//!
//! ```no_run
//! # async fn example() -> Result<(), punctual_core::store::StoreError> {
//! use punctual_redis::{RedisStore, StoreOptions};
//!
//! let store = RedisStore::open("redis://:secret@localhost:6379/0", StoreOptions::default()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It takes Redis 6.2 or later and any Valkey, a primary with `maxmemory-policy noeviction`; anything else is refused on
//! opening, with the reason. What it promises holds as far as the server keeps what it acknowledged: `appendonly yes`
//! with `appendfsync always` loses nothing, `everysec` may lose the last second at a crash, and a fail-over to a replica may
//! lose what had not reached it.
//!
//! Every change is one script, which compares versions, writes all of it or nothing, and is never sent twice. All keys begin
//! with one hash tag made of the prefix, so they share one slot. A cluster is refused nonetheless: its redirections
//! are not followed. Behind Sentinel, or a service that fails over, use an address that always leads to the primary.

mod address;
mod backend;
mod commit;
mod connection;
mod documents;
mod error;
mod jobs;
mod keys;
mod notify;
mod open;
mod prune;
mod records;
mod rows;
mod runs;
mod script;
mod state;
mod store;
mod value;

pub use punctual_backend::StoreOptions;
pub use store::RedisStore;
