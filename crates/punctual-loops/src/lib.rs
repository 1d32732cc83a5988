//! Punctual's scheduler in other event loops: the same engine, the same words, the same behaviour.
//!
//! | your program | take | feature | `APScheduler` calls it |
//! |---|---|---|---|
//! | runs on smol's executors | `SmolScheduler` | `smol` | `GeventScheduler` |
//! | is an actix program | `ActixScheduler` | `actix` | `TornadoScheduler` |
//! | has a calloop reactor | `CalloopScheduler` | `calloop` | `TwistedScheduler` |
//! | runs on may's coroutines | `MayScheduler` | `may` | `GeventScheduler` |
//!
//! Each is a [`Scheduler`](punctual_core::scheduler::Scheduler) in all else. For a loop that is not here see
//! [`HostedRuntime`](punctual_core::runtime::HostedRuntime): a host calls one function when it is woken, and when a time has
//! passed.

#[cfg(feature = "actix")]
mod actix;
#[cfg(feature = "calloop")]
mod calloop;
#[cfg(feature = "may")]
mod may;
#[cfg(feature = "smol")]
mod smol;

#[cfg(feature = "actix")]
pub use self::actix::ActixScheduler;
#[cfg(feature = "calloop")]
pub use self::calloop::{CalloopScheduler, CalloopSource};
#[cfg(feature = "may")]
pub use self::may::{MayExecutor, MayScheduler};
#[cfg(feature = "smol")]
pub use self::smol::SmolScheduler;
