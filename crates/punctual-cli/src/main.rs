//! The `punctual` command: server and client. `docs/cli.md` describes it.

mod cli;
mod duration;
mod exit;
mod output;
mod serve;
mod settings;
mod signals;
mod token;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use self::cli::{Cli, Command};
use self::exit::Outcome;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Serve(args) => {
            log_to_stderr();
            let settings = settings::resolve(&args.layer(), variables(), args.config.as_deref())?;
            serve::run(&settings)
        }
    }
}

fn variables() -> impl Iterator<Item = (String, String)> {
    // What is not UTF-8 is none of ours.
    std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}

/// Logs go to stderr, as much of them as `PUNCTUAL_LOG` or `RUST_LOG` say; `info` unless told otherwise.
fn log_to_stderr() {
    let said = std::env::var("PUNCTUAL_LOG").or_else(|_| std::env::var("RUST_LOG"));
    let filter = EnvFilter::new(said.unwrap_or_else(|_| "info".to_owned()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
