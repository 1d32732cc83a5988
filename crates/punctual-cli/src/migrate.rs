//! `punctual migrate`: jobs and ledger from one store to another.

use std::time::Duration;

use clap::Args;
use punctual::address::{StoreAddress, StoreKind};
use punctual::migrate::{MigrateError, MigrateOptions, Migrated, migrate};
use punctual::{OpenOptions, open_store};
use punctual_core::store::JobStore;
use punctual_server::TOKENS_NAMESPACE;
use punctual_trigger::words;

use crate::exit::{Code, Failure, Outcome};
use crate::{output, serve};

/// How often a source is asked whether its last runs have ended.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Move jobs and ledger to another store.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// The store to move from: sqlite:FILE, postgres://…, mysql://…, redis://…, rediss://… or mongodb://…
    #[arg(long, value_name = "STORE")]
    from: StoreAddress,
    /// The store to move to
    #[arg(long, value_name = "STORE")]
    to: StoreAddress,
    /// Pause the source even though servers work on it now; they start nothing more, and their runs are waited for
    #[arg(long)]
    pause_source: bool,
    /// How long to wait for runs that still go on in the source
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = words::duration)]
    wait: Duration,
    /// What the names of the source's tables or keys begin with
    #[arg(long, value_name = "PREFIX", default_value = "punctual_")]
    from_prefix: String,
    /// What the names of the target's tables or keys begin with
    #[arg(long, value_name = "PREFIX", default_value = "punctual_")]
    to_prefix: String,
}

/// Moves, and says what came of it.
pub(crate) async fn run(args: &MigrateArgs) -> Outcome {
    if args.from == args.to && args.from_prefix == args.to_prefix {
        return Err(Failure::usage("--from and --to are the same store"));
    }
    for (flag, address) in [("--from", &args.from), ("--to", &args.to)] {
        if address.kind() == StoreKind::Memory {
            return Err(Failure::usage(format!(
                "{flag} memory: would end with this command; there is nothing to move from it or to it"
            )));
        }
    }
    let is_file = args.from.path().is_none_or(std::path::Path::exists);
    if !is_file {
        return Err(Failure::usage(format!(
            "--from {}: there is no such file",
            args.from
        )));
    }
    let from = open(&args.from, &args.from_prefix, "--from").await?;
    let to = open(&args.to, &args.to_prefix, "--to").await?;
    let options = MigrateOptions {
        pause_live_source: args.pause_source,
        namespaces: vec![TOKENS_NAMESPACE.to_owned()],
    };
    let mut waited = Duration::ZERO;
    let done = loop {
        let error = match migrate(&*from, &*to, &options, progress()).await {
            Ok(done) => break done,
            Err(error) => error,
        };
        if !matches!(error, MigrateError::StillRunning { .. }) || waited >= args.wait {
            return Err(failure(&error));
        }
        if waited.is_zero() {
            output::tell(format_args!("{error}; waiting"));
        }
        waited += ASK_AGAIN;
        tokio::time::sleep(ASK_AGAIN).await;
    };
    report(args, &done)
}

async fn open(
    address: &StoreAddress,
    prefix: &str,
    flag: &str,
) -> Outcome<std::sync::Arc<dyn JobStore>> {
    let options = OpenOptions {
        zones: serve::zones(None)?,
        prefix: prefix.to_owned(),
    };
    open_store(address, options)
        .await
        .map_err(|error| Failure::plain(format!("{flag} {address}: {error}")))
}

/// Tells now and then how far it is.
fn progress() -> impl FnMut(&Migrated) {
    const EVERY: u64 = 20_000;
    let mut told = 0;
    move |so_far| {
        let moved = so_far.jobs + so_far.rows;
        if moved / EVERY > told {
            told = moved / EVERY;
            output::tell(format_args!(
                "{} jobs, {} rows of the ledger",
                so_far.jobs, so_far.rows
            ));
        }
    }
}

fn failure(error: &MigrateError) -> Failure {
    let failure = Failure::new(
        match error {
            MigrateError::LiveSource { .. }
            | MigrateError::SameStore
            | MigrateError::MovedElsewhere
            | MigrateError::Occupied { .. }
            | MigrateError::StillRunning { .. }
            | MigrateError::SourceWentOn
            | MigrateError::Done => Code::Conflict,
            _ => Code::Failure,
        },
        error,
    );
    match error {
        MigrateError::LiveSource { .. } => failure.hint(
            "stop the servers, or say --pause-source: no run starts there any more, and those that go on are waited for",
        ),
        MigrateError::MovedElsewhere => {
            failure.hint("POST /scheduler/resume on a server of the source lets it go on; see docs/stores.md")
        }
        MigrateError::StillRunning { .. } => {
            failure.hint("the source stays paused; the same command goes on, --wait sets for how long it waits")
        }
        MigrateError::Source(_) | MigrateError::Target(_) => {
            failure.hint("nothing is lost, and the same command goes on where this stopped")
        }
        _ => failure,
    }
}

fn report(args: &MigrateArgs, done: &Migrated) -> Outcome {
    let unreadable = done.unreadable.len() as u64;
    let jobs_there = done.jobs - done.jobs_moved - unreadable;
    let rows_there = done.rows - done.rows_moved;
    output::line(format_args!(
        "jobs     {:>9} moved {jobs_there:>9} there before",
        done.jobs_moved
    ))?;
    output::line(format_args!(
        "ledger   {:>9} moved {rows_there:>9} there before",
        done.rows_moved
    ))?;
    output::line(format_args!("tokens   {:>9} moved", done.records_moved))?;
    output::tell(format_args!(
        "{} stays paused, so that no server runs the jobs twice; start servers on {}",
        args.from, args.to
    ));
    if unreadable == 0 {
        return Ok(());
    }
    let ids: Vec<&str> = done
        .unreadable
        .iter()
        .take(10)
        .map(punctual_core::id::JobId::as_str)
        .collect();
    Err(Failure::plain(format!(
        "{unreadable} jobs cannot be read and stay where they are: {}",
        ids.join(", ")
    )))
}
