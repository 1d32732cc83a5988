//! The built-in tasks: `http`, `command`, `log`.

mod log;

use punctual_core::task::{RegisterError, Registry};

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
pub fn register(registry: &mut Registry, _options: TaskOptions) -> Result<(), RegisterError> {
    registry.add("log", log::run)?;
    Ok(())
}
