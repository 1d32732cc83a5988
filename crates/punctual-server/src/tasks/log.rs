//! `log`: writes a line to the server's log and the run's output.

use punctual_core::task::{Args, RunContext};
use serde::Deserialize;

/// How loud.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

/// The arguments of `log`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogArgs {
    message: String,
    #[serde(default)]
    level: Level,
}

pub(crate) async fn run(Args(args): Args<LogArgs>, context: RunContext) {
    let LogArgs { message, level } = args;
    let job = context.job().id.as_str();
    match level {
        Level::Debug => tracing::debug!(job, "{message}"),
        Level::Info => tracing::info!(job, "{message}"),
        Level::Warn => tracing::warn!(job, "{message}"),
        Level::Error => tracing::error!(job, "{message}"),
    }
    context.log(&message);
}
