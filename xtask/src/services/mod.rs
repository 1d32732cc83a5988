//! Real servers for the tests: found, installed, started, asked and stopped.

mod address;
mod install;
mod mongodb;
mod mysql;
mod postgres;
mod redis;
mod server;
mod state;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use server::{Place, SERVERS, Server};
use state::{Folder, Running};

/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) name: &'static str,
    pub(crate) variable: String,
    pub(crate) url: String,
    /// Whether this call started it.
    pub(crate) is_new: bool,
}

/// A server that cannot be had.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) name: &'static str,
    pub(crate) reason: anyhow::Error,
    /// Whether somebody asked for it by its address: then it is a mistake, not a choice.
    pub(crate) is_error: bool,
}

/// `cargo xtask services …`
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let mut names = Vec::new();
    let mut folder = default_folder();
    let mut arguments = arguments.iter();
    let verb = arguments.next().map(String::as_str);
    if verb == Some("detached") {
        return server::detached(arguments.as_slice());
    }
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--dir" => folder = arguments.next().context("--dir needs a folder")?.into(),
            name => names.push(by_name(name)?),
        }
    }
    if names.is_empty() {
        names = SERVERS.to_vec();
    }
    match verb {
        Some("start") => start_and_print(&names, &folder),
        Some("stop") => stop_and_print(&names, &folder),
        Some("status") => status(&names, &folder),
        Some("install") => install_missing(&names),
        Some(other) => bail!("services: expected start, stop, status or install, got {other:?}"),
        None => bail!("services: start, stop, status or install?"),
    }
}

/// The folder that remembers what runs.
pub(crate) fn default_folder() -> PathBuf {
    std::env::var_os("PUNCTUAL_SERVICES_DIR").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../target/services").into(),
        PathBuf::from,
    )
}

fn by_name(name: &str) -> Result<&'static dyn Server> {
    SERVERS
        .into_iter()
        .find(|server| server.name() == name)
        .with_context(|| {
            let names = SERVERS.map(Server::name).join(", ");
            format!("no service is called {name:?}; there are {names}")
        })
}

/// Talk goes to stderr: stdout is for a shell to read.
#[expect(clippy::print_stderr, reason = "chores talk to people")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "for a shell to read")]
fn start_and_print(servers: &[&'static dyn Server], folder: &Path) -> Result<()> {
    let (ready, missing) = start(servers, folder)?;
    for server in &ready {
        println!("export {}='{}'", server.variable, server.url);
    }
    for server in &missing {
        say(&format!("{}: {:#}", server.name, server.reason));
    }
    match missing.len() {
        0 => Ok(()),
        _ => bail!(
            "{} of {} services are missing",
            missing.len(),
            servers.len()
        ),
    }
}

/// Brings every one of these servers to life that can be, all at once. What runs already is left as it is.
pub(crate) fn start(
    servers: &[&'static dyn Server],
    folder: &Path,
) -> Result<(Vec<Ready>, Vec<Missing>)> {
    let folder = Folder::open(folder.to_owned())?;
    let _lock = folder.lock()?;
    let absent: Vec<&dyn Server> = servers
        .iter()
        .copied()
        .filter(|server| needs_program(*server, &folder) && server.find().is_none())
        .collect();
    if !absent.is_empty()
        && install::is_possible()
        && let Err(error) = install::install(&absent)
    {
        say(&format!("{error:#}"));
    }
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(|| bring_up(*server, &folder)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("starting a server does not panic"))
            .collect()
    });
    let mut ready = Vec::new();
    let mut missing = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(server) => ready.push(server),
            Err(server) => missing.push(server),
        }
    }
    Ok((ready, missing))
}

fn needs_program(server: &dyn Server, folder: &Folder) -> bool {
    let recorded = folder.read(server.name()).ok().flatten();
    given_address(server, recorded.as_ref()).is_none()
        && !recorded.is_some_and(|running| running.is_alive())
}

/// The address that somebody set. One that we printed ourselves is none: that server is ours, and may have ended.
fn given_address(server: &dyn Server, recorded: Option<&Running>) -> Option<String> {
    std::env::var(server.variable())
        .ok()
        .filter(|url| !url.is_empty())
        .filter(|url| recorded.is_none_or(|running| running.url != *url))
}

fn bring_up(server: &'static dyn Server, folder: &Folder) -> Result<Ready, Missing> {
    let mut is_error = false;
    let outcome = (|| {
        let recorded = folder.read(server.name())?;
        if let Some(url) = given_address(server, recorded.as_ref()) {
            is_error = true;
            server
                .ping(&url)
                .with_context(|| format!("the server at {} is no use", server.variable()))?;
            say(&format!("{}: at {}", server.name(), server.variable()));
            return Ok((url, false));
        }
        if let Some(running) = recorded {
            if running.is_alive() && server.ping(&running.url).is_ok() {
                say(&format!("{}: runs already", server.name()));
                return Ok((running.url, false));
            }
            say(&format!(
                "{}: it ended or does not answer; starting anew",
                server.name()
            ));
            clear_away(server, &running, folder)?;
        }
        let running = launch(server)?;
        folder.write(server.name(), &running)?;
        say(&format!("{}: {} started", server.name(), running.version));
        Ok((running.url, true))
    })();
    match outcome {
        Ok((url, is_new)) => Ok(Ready {
            name: server.name(),
            variable: server.variable(),
            url,
            is_new,
        }),
        Err(reason) => Err(Missing {
            name: server.name(),
            reason,
            is_error,
        }),
    }
}

/// Starts a new server, on another port if somebody was quicker on the first.
fn launch(server: &dyn Server) -> Result<Running> {
    let found = server
        .find()
        .with_context(|| format!("not installed: {}", install::advice(server)))?;
    let program = server.build(found)?;
    let mut attempt = 1;
    loop {
        match launch_once(server, &program) {
            Err(error) if attempt == 3 => return Err(error),
            Err(_) => attempt += 1,
            started => return started,
        }
    }
}

fn launch_once(server: &dyn Server, program: &Path) -> Result<Running> {
    let place = Place::new(server)?;
    let outcome = (|| {
        let launch = server.prepare(program, &place)?;
        let log_path = place.folder.join("log");
        let log = File::create(&log_path)?;
        let mut child = place
            .detached_command(program)?
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("it could not be started")?;
        let told = wait_until_ready(server, &launch.url, &mut child).with_context(|| {
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(15).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            format!(
                "it did not start; the end of its log:\n{}",
                lines.join("\n")
            )
        })?;
        let version = told
            .or_else(|| server.version(program))
            .unwrap_or_else(|| "version unknown".to_owned());
        Running::new(child.id(), launch.url, version, &place.folder)
    })();
    if outcome.is_err() {
        let _ = fs::remove_dir_all(&place.folder);
    }
    outcome
}

fn wait_until_ready(server: &dyn Server, url: &str, child: &mut Child) -> Result<Option<String>> {
    let mut waited = Duration::ZERO;
    loop {
        let answer = server.ping(url);
        // First whether it lives: what answers at the port may be somebody else.
        if let Some(status) = child.try_wait()? {
            bail!("it ended: {status}");
        }
        match answer {
            Ok(version) => return Ok(version),
            Err(error) if waited >= START_TIMEOUT => {
                child.kill()?;
                return Err(
                    error.context(format!("no answer within {} s", START_TIMEOUT.as_secs()))
                );
            }
            Err(_) => {
                thread::sleep(PAUSE);
                waited += PAUSE;
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "for a shell to read")]
fn stop_and_print(servers: &[&'static dyn Server], folder: &Path) -> Result<()> {
    for server in stop(servers, folder)? {
        println!("unset {}", server.variable());
    }
    Ok(())
}

/// Stops what was started here, and removes its data. Returns which servers there were.
pub(crate) fn stop(
    servers: &[&'static dyn Server],
    folder: &Path,
) -> Result<Vec<&'static dyn Server>> {
    let folder = Folder::open(folder.to_owned())?;
    let _lock = folder.lock()?;
    let mut running = Vec::new();
    for server in servers {
        match folder.read(server.name())? {
            Some(recorded) => running.push((*server, recorded)),
            None => say(&format!("{}: none was started here", server.name())),
        }
    }
    for (server, recorded) in &running {
        recorded.signal(server.stop_signal());
    }
    for (server, recorded) in &running {
        clear_away(*server, recorded, &folder)?;
        say(&format!("{}: stopped", server.name()));
    }
    Ok(running.into_iter().map(|(server, _)| server).collect())
}

fn clear_away(server: &dyn Server, recorded: &Running, folder: &Folder) -> Result<()> {
    recorded.signal(server.stop_signal());
    let mut waited = Duration::ZERO;
    while recorded.is_alive() {
        if waited >= STOP_TIMEOUT {
            recorded.kill();
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
    recorded.remove_data()?;
    folder.forget(server.name())
}

#[expect(clippy::print_stdout, reason = "chores talk to people")]
fn status(servers: &[&'static dyn Server], folder: &Path) -> Result<()> {
    let folder = Folder::open(folder.to_owned())?;
    for server in servers {
        let recorded = folder.read(server.name())?;
        let name = server.name();
        if let Some(url) = given_address(*server, recorded.as_ref()) {
            let state = match server.ping(&url) {
                Ok(version) => version.unwrap_or_else(|| "answers".to_owned()),
                Err(error) => format!("{error:#}"),
            };
            println!("{name:<9} given by {}: {state}", server.variable());
        } else if let Some(running) = recorded {
            let state = match server.ping(&running.url) {
                _ if !running.is_alive() => {
                    "ended by itself; `services start` starts it anew".to_owned()
                }
                Ok(_) => running.version,
                Err(error) => format!("does not answer: {error:#}"),
            };
            println!("{name:<9} pid {:<7} {}  {state}", running.pid, running.url);
        } else {
            match server.find() {
                Some(program) => println!("{name:<9} not started; would use {}", program.display()),
                None => println!("{name:<9} not installed: {}", install::advice(*server)),
            }
        }
    }
    Ok(())
}

fn install_missing(servers: &[&'static dyn Server]) -> Result<()> {
    let absent: Vec<&dyn Server> = servers
        .iter()
        .copied()
        .filter(|server| server.find().is_none())
        .map(|server| server as &dyn Server)
        .collect();
    if absent.is_empty() {
        say("nothing is missing");
        return Ok(());
    }
    if !install::is_possible() {
        for server in &absent {
            say(&format!("{}: {}", server.name(), install::advice(*server)));
        }
        bail!("only root on Debian can install packages without asking anybody");
    }
    install::install(&absent)
}
