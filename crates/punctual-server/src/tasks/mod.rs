//! The built-in tasks: `http`, `command`, `log`.

pub(crate) mod command;
mod http;
mod log;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use punctual_core::document::seconds;
use punctual_core::task::{RegisterError, Registry};
use serde_json::Number;

/// The name of the task that runs programs.
pub const COMMAND: &str = "command";

/// Which built-in tasks there are, and how far they may go.
#[derive(Clone, Debug, Default)]
pub struct TaskOptions {
    /// Whether there is a task that runs programs. Default no.
    pub allow_command: bool,
    /// Whether `http` may reach loopback, private and link-local addresses. Default no.
    pub allow_private_http: bool,
    /// What watches over the programs of `command`. Default nothing: they are this process's own children then. Their
    /// leases are kept too, but where this process is killed or frozen nobody stops them: the next attempt may start
    /// beside them.
    pub supervisor: Option<Supervisor>,
}

/// The command line of a small program that starts another one and kills it, and all that it started, when this process
/// ends or the run's lease is about to: it calls [`supervisor::run`](crate::supervisor::run) and nothing else. A binary
/// of your own can be both, by an argument that only it knows. Used on Unix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervisor {
    program: PathBuf,
    args: Vec<OsString>,
}

impl Supervisor {
    /// The program and its arguments.
    pub fn new(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
        }
    }
}

/// Registers the built-in tasks.
pub fn register(registry: &mut Registry, options: TaskOptions) -> Result<(), RegisterError> {
    registry.add("log", log::run)?;
    registry.state(http::Reach {
        private: options.allow_private_http,
    });
    registry.add("http", http::run)?;
    if options.allow_command {
        registry.state(command::Programs(options.supervisor));
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
