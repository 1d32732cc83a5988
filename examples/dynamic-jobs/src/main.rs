//! A web service that manages its jobs at run time: the classic Flask tutorial on `APScheduler`, on Punctual.
//!
//! Laid out as the tutorial is: `settings`, `extensions` (the scheduler), `tasks`, `views`. README.md walks through it.

mod body;
mod database;
mod extensions;
mod flags;
mod guard;
mod listen;
mod refusal;
mod settings;
mod signals;
mod tasks;
mod token;
mod views;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use clap::Parser;
use punctual::scheduler::{Scheduler, Shutdown, StartMode};
use punctual_server::Secret;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use self::database::Database;
use self::flags::Flags;
use self::guard::Guard;
use self::listen::Port;
use self::settings::Settings;
use self::views::App;

/// How long connections may go on once the work has ended.
const HANGUP: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let ended = Flags::parse().resolve().and_then(|settings| run(&settings));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> anyhow::Result<()> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.log.clone());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        // That nobody reads the log is no reason to fail; it would be written there, too.
        .log_internal_errors(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no threads could be started")?;
    let served = runtime.block_on(serve(settings));
    // A blocking call that hangs does not keep the process.
    runtime.shutdown_timeout(HANGUP);
    served
}

/// Serves until a signal, then lets what runs end.
async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let given = token::given(settings)?;
    let mut signals = signals::Signals::listen()?;
    // Bound before the store is opened, so that a taken port is told at once; nobody can connect yet.
    let port = Port::bind(settings.listen, settings.is_shared())?;
    let address = port.address();
    let opening = async {
        let database = Database::open(&settings.database)?;
        let scheduler = extensions::scheduler(settings, database.clone()).await?;
        let router = app(settings, given.as_ref(), &scheduler, database).await?;
        anyhow::Ok((scheduler, router))
    };
    let (scheduler, router) = tokio::select! {
        opened = opening => opened?,
        signal = signals.next() => {
            tracing::info!(signal, "told to end before the store had answered");
            return Ok(());
        }
    };
    scheduler.start(StartMode::Running)?;
    tracing::info!(node = %scheduler.node(), process = std::process::id(), "the scheduler works");

    let listener = port.listen()?;
    let (hang_up, hung_up) = oneshot::channel::<()>();
    let until = async {
        let _ = hung_up.await;
    };
    let http = axum::serve(listener, router).with_graceful_shutdown(until);
    let mut http = tokio::spawn(http.into_future());
    // Nobody has to read it.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");

    tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "letting the last runs end; a second signal ends at once");
        }
        ended = &mut http => {
            ended.context("the web server panicked")?.context("the web server failed")?;
        }
    }
    // The port first, so that new requests go to the other processes on it.
    let _ = hang_up.send(());
    tokio::select! {
        () = scheduler.shutdown(Shutdown::Wait) => {
            let _ = tokio::time::timeout(HANGUP, http).await;
        }
        signal = signals.next() => {
            tracing::warn!(signal, "ending at once; what ran is left to its lease");
        }
    }
    Ok(())
}

/// The views, and what stands before them; with `api_enabled` the API beside them.
async fn app(
    settings: &Settings,
    given: Option<&Secret>,
    scheduler: &Scheduler,
    database: Database,
) -> anyhow::Result<Router> {
    let api = if settings.api_enabled {
        let tokens = token::for_api(settings, given, scheduler).await?;
        Some(extensions::api(scheduler, tokens))
    } else {
        None
    };
    let guard = Guard::new(settings, given);
    let app = App {
        scheduler: scheduler.clone(),
        database,
    };
    Ok(guard.around(views::router(app, api)))
}
