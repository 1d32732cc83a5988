//! The built-in tasks: `http`, `command`, `log`.

mod command;
mod http;
mod log;

use std::time::Duration;

use punctual_core::document::seconds;
use punctual_core::task::{RegisterError, Registry};
use serde_json::Number;

/// The name of the task that runs programs.
pub const COMMAND: &str = "command";

/// Which built-in tasks there are, and how far they may go.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskOptions {
    /// Whether there is a task that runs programs. Default no.
    pub allow_command: bool,
    /// Whether `http` may reach loopback, private and link-local addresses. Default no.
    pub allow_private_http: bool,
}

/// Registers the built-in tasks.
pub fn register(registry: &mut Registry, options: TaskOptions) -> Result<(), RegisterError> {
    registry.add("log", log::run)?;
    registry.state(http::Reach {
        private: options.allow_private_http,
    });
    registry.add("http", http::run)?;
    if options.allow_command {
        registry.add(COMMAND, command::run)?;
    }
    Ok(())
}

/// A task's own `timeout`: a number of seconds above 0.
fn timeout(number: &Number) -> Result<Duration, String> {
    number
        .as_f64()
        .and_then(seconds::from_f64)
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| format!("timeout is {number}; it takes a number of seconds above 0"))
}
