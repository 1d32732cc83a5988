//! The REST API of Punctual as an axum router, and its built-in tasks.
//!
//! [`router`] makes the API of a scheduler, which any program can serve or mount; [`tasks::register`] adds the tasks
//! `http`, `command` and `log` to a registry. The endpoints and their JSON are described in `docs/server.md`.

mod app;
mod auth;
pub mod client;
mod fields;
mod gate;
mod guard;
mod handlers;
pub mod json;
mod openapi;
mod percent;
mod problem;
mod query;
mod route;
mod secret;
#[cfg(unix)]
pub mod supervisor;
pub mod tasks;
mod wire;

pub use self::app::{ServerOptions, router};
pub use self::auth::{Auth, TOKENS_NAMESPACE, Tokens};
pub use self::gate::Gate;
pub use self::guard::Hosts;
pub use self::percent::encode;
pub use self::secret::{Secret, WeakSecret};
pub use self::wire::trigger::read_trigger;
