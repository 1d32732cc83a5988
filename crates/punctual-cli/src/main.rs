//! The `punctual` command: server and client. `docs/cli.md` describes it.

mod cli;
mod client;
mod commands;
mod exit;
mod log;
mod migrate;
mod next;
mod output;
mod serve;
mod settings;
mod show;
mod signals;
mod store;
mod table;
mod token;
mod torture;
mod trigger_flags;

use std::process::ExitCode;

use clap::Parser;

use self::cli::{Cli, Command};
use self::exit::Outcome;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Outcome<ExitCode> {
    match command {
        Command::Serve(args) => {
            log::to_stderr();
            let settings = settings::resolve(&args.layer(), variables(), args.config.as_deref())?;
            serve::run(&settings)
        }
        #[cfg(unix)]
        Command::Supervise => return Ok(punctual_server::supervisor::run()),
        #[cfg(unix)]
        Command::Torture(args) => torture::run(&args),
        Command::Next(args) => next::run(&args),
        Command::Migrate(args) => ask(migrate::run(&args)),
        Command::Add(args) => ask(commands::add(&args)),
        Command::List(args) => ask(commands::list(&args)),
        Command::Show(args) => ask(commands::show(&args)),
        Command::Modify(args) => ask(commands::modify(&args)),
        Command::Pause(args) => ask(commands::pause(&args)),
        Command::Resume(args) => ask(commands::resume(&args)),
        Command::Run(args) => ask(commands::run(&args)),
        Command::Remove(args) => ask(commands::remove(&args)),
        Command::Runs(args) => ask(commands::runs(&args)),
        Command::Cancel(args) => ask(commands::cancel(&args)),
        Command::Status(args) => ask(commands::status(&args)),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Waits for a server.
fn ask(answer: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            exit::Failure::plain(format!("no event loop could be started: {error}"))
        })?;
    runtime.block_on(answer)
}

fn variables() -> impl Iterator<Item = (String, String)> {
    // What is not UTF-8 is none of ours.
    std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}
