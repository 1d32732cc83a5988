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
const START_TIMEOUT: Duration = Duration::from_mins(1);
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
    pub(crate) variable: String,
    pub(crate) reason: anyhow::Error,
    /// Whether somebody asked for it by its address: then it is a mistake, not a choice.
    pub(crate) is_error: bool,
}

/// `cargo xtask services …`
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let Some((verb, arguments)) = arguments.split_first() else {
        bail!("services: start, stop, status or install?");
    };
    let run: fn(&[&'static dyn Server], &Path) -> Result<()> = match verb.as_str() {
        "start" => start_and_print,
        "stop" => stop_and_print,
        "status" => status,
        "install" => install_missing,
        "detached" => return server::detached(arguments),
        other => bail!("services: expected start, stop, status or install, got {other:?}"),
    };
    let mut names = Vec::new();
    let mut folder = default_folder();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--dir" => folder = arguments.next().context("--dir needs a folder")?.into(),
            name => names.push(by_name(name)?),
        }
    }
    if names.is_empty() {
        names = SERVERS.to_vec();
    }
    run(&names, &folder)
}

/// The folder that remembers what runs.
pub(crate) fn default_folder() -> PathBuf {
    std::env::var_os("PUNCTUAL_SERVICES_DIR")
        .map_or_else(|| crate::root().join("target/services"), PathBuf::from)
}

fn by_name(name: &str) -> Result<&'static dyn Server> {
    SERVERS
        .into_iter()
        .find(|server| server.name() == name)
        .with_context(|| {
            let names = SERVERS.map(Server::name).join(", ");
            format!("expected --dir FOLDER or a service ({names}), got {name:?}")
        })
}

/// Talk goes to stderr: stdout is for a shell to read.
fn say(text: &str) {
    eprintln!("{text}");
}

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

/// Brings every server to life that can be. What runs already is left as it is.
pub(crate) fn start_all(folder: &Path) -> Result<(Vec<Ready>, Vec<Missing>)> {
    start(&SERVERS, folder)
}

/// Stops these servers, by their names, if they were started here.
pub(crate) fn stop_named(names: &[&str], folder: &Path) -> Result<()> {
    let servers: Vec<_> = SERVERS
        .into_iter()
        .filter(|server| names.contains(&server.name()))
        .collect();
    stop(&servers, folder).map(|_| ())
}

/// All of them at once: some take seconds.
fn start(servers: &[&'static dyn Server], folder: &Path) -> Result<(Vec<Ready>, Vec<Missing>)> {
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
        let running = launch(server, folder)?;
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
            variable: server.variable(),
            reason,
            is_error,
        }),
    }
}

/// Starts a new server, on another port if somebody was quicker on the first.
fn launch(server: &dyn Server, folder: &Folder) -> Result<Running> {
    let found = server
        .find()
        .with_context(|| format!("not installed: {}", install::advice(server)))?;
    let program = server.build(found)?;
    let mut attempts_left = 3;
    loop {
        let place = Place::new(server)?;
        attempts_left -= 1;
        match launch_at(server, &program, &place, folder) {
            Err(_) if attempts_left > 0 && place.port_is_taken() => {}
            outcome => return outcome,
        }
    }
}

fn launch_at(
    server: &dyn Server,
    program: &Path,
    place: &Place,
    folder: &Folder,
) -> Result<Running> {
    let outcome = (|| {
        let launch = server.prepare(program, place)?;
        let log = File::create(place.log())?;
        let mut child = place
            .detached_command(program)?
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("it could not be started")?;
        let mut running = Running::new(&child, launch.url, &place.folder)?;
        // At once: if we are interrupted now, `stop` still finds it.
        folder.write(server.name(), &running)?;
        match wait_until_ready(server, &running.url, &mut child) {
            Ok(told) => {
                if let Some(version) = server.version(program).or(told) {
                    running.version = version;
                }
                folder.write(server.name(), &running)?;
                Ok(running)
            }
            Err(error) => {
                running.kill();
                child.wait()?;
                folder.forget(server.name())?;
                Err(error.context(format!(
                    "it did not start; the end of its log:\n{}",
                    place.log_end()
                )))
            }
        }
    })();
    if outcome.is_err() {
        let _ = fs::remove_dir_all(&place.folder);
    }
    outcome
}

/// Asks until it answers, and returns what it tells of its version.
fn wait_until_ready(server: &dyn Server, url: &str, child: &mut Child) -> Result<Option<String>> {
    let mut waited = Duration::ZERO;
    loop {
        let answer = server.ping(url);
        // What answers at the port may be somebody else.
        if let Some(status) = child.try_wait()? {
            bail!("it ended: {status}");
        }
        match answer {
            Ok(version) => return Ok(version),
            Err(error) if waited >= START_TIMEOUT => {
                let seconds = START_TIMEOUT.as_secs();
                return Err(error.context(format!("no answer within {seconds} s")));
            }
            Err(_) => {
                thread::sleep(PAUSE);
                waited += PAUSE;
            }
        }
    }
}

fn stop_and_print(servers: &[&'static dyn Server], folder: &Path) -> Result<()> {
    for server in stop(servers, folder)? {
        println!("unset {}", server.variable());
    }
    Ok(())
}

/// Stops what was started here, and removes its data. Returns which servers there were.
fn stop(servers: &[&'static dyn Server], folder: &Path) -> Result<Vec<&'static dyn Server>> {
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

fn install_missing(servers: &[&'static dyn Server], _folder: &Path) -> Result<()> {
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
