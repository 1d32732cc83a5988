//! The command line.
#![expect(clippy::doc_markdown, reason = "help texts are read as they are")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    AddArgs, CancelArgs, JobArgs, ListArgs, ModifyArgs, PauseArgs, RunArgs, RunsArgs, StatusArgs,
};
use crate::migrate::MigrateArgs;
use crate::next::NextArgs;
use crate::settings::Layer;
#[cfg(unix)]
use crate::torture::TortureArgs;

/// A job scheduler that can be trusted: server and client.
#[derive(Debug, Parser)]
#[command(name = "punctual", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the scheduler with its REST API
    Serve(Box<ServeArgs>),
    /// Add a job
    Add(Box<AddArgs>),
    /// List jobs, by next run
    List(ListArgs),
    /// Show everything about a job
    Show(JobArgs),
    /// Change a job
    Modify(Box<ModifyArgs>),
    /// Let no run of a job start until it is resumed
    Pause(PauseArgs),
    /// Let a paused job run again
    Resume(JobArgs),
    /// Run a job now, once, beside its schedule
    Run(RunArgs),
    /// Remove a job; its runs stay in the ledger
    Remove(JobArgs),
    /// List runs, newest first
    Runs(RunsArgs),
    /// Ask a run to stop
    Cancel(CancelArgs),
    /// Show how the server does
    Status(StatusArgs),
    /// Show when a trigger would fire; needs no server
    Next(Box<NextArgs>),
    /// Move jobs and ledger from one store to another
    Migrate(Box<MigrateArgs>),
    /// Kill, freeze and restart nodes of a cluster of its own, and check that no promise is broken
    #[cfg(unix)]
    Torture(Box<TortureArgs>),
    /// Watch over one program for `serve`, which starts this by itself
    #[cfg(unix)]
    #[command(hide = true)]
    Supervise,
}

/// Settings of the server. Each may also be given as PUNCTUAL_<NAME> or in punctual.toml.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8377]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where jobs are kept: sqlite:FILE, postgres://…, mysql://…, redis://…, rediss://…, mongodb://… or memory: [default: sqlite:punctual.db]
    #[arg(long)]
    store: Option<String>,
    /// What the names of tables, keys or collections in the store begin with [default: punctual_]
    #[arg(long, value_name = "NAME")]
    store_prefix: Option<String>,
    /// The path before the API's endpoints [default: /scheduler]
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// Let jobs run programs on this machine (the task `command`)
    #[arg(long)]
    allow_command: bool,
    /// Let the task `http` reach loopback and private addresses
    #[arg(long)]
    allow_private_http: bool,
    /// How long a run is safe from other nodes without a sign of life, at least 2s [default: 30s]
    #[arg(long, value_name = "DURATION")]
    lease: Option<String>,
    /// How long runs may go on when the server is to end; then they are stopped, and run again elsewhere [default: 20s]
    #[arg(long, value_name = "DURATION")]
    drain: Option<String>,
    /// The zone of triggers that name none [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// How many runs this node works on at once [default: 100]
    #[arg(long, value_name = "COUNT")]
    max_workers: Option<String>,
    /// How many days the ledger remembers [default: 30]
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<String>,
    /// How many rows of each job the ledger remembers [default: 10000]
    #[arg(long, value_name = "ROWS")]
    retention_rows: Option<String>,
    /// A file that holds the only token that opens the API (or set PUNCTUAL_TOKEN)
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The settings file [default: punctual.toml, where it exists]
    #[arg(long, value_name = "FILE", env = "PUNCTUAL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

impl ServeArgs {
    /// The settings that were given as flags.
    pub(crate) fn layer(&self) -> Layer {
        let texts = [
            ("listen", &self.listen),
            ("store", &self.store),
            ("store_prefix", &self.store_prefix),
            ("prefix", &self.prefix),
            ("lease", &self.lease),
            ("drain", &self.drain),
            ("timezone", &self.timezone),
            ("max_workers", &self.max_workers),
            ("retention_days", &self.retention_days),
            ("retention_rows", &self.retention_rows),
            ("token_file", &self.token_file),
        ];
        let flags = [
            ("allow_command", self.allow_command),
            ("allow_private_http", self.allow_private_http),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(key, text)| Some((key.to_owned(), text.clone()?)));
        let flags = flags
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(key, _)| (key.to_owned(), "true".to_owned()));
        texts.chain(flags).collect()
    }
}
