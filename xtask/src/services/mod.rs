//! Real servers for the tests: found, installed, started, asked and stopped.

mod address;
mod launch;
mod mongodb;
mod mysql;
mod postgres;
mod redis;
mod server;
mod state;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::packages;
use launch::{answers, clear_away, launch};
pub(crate) use server::on_path;
use server::{SERVERS, Server};
use state::{Folder, Keep, Running};

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) variable: String,
    pub(crate) url: String,
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
fn default_folder() -> PathBuf {
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

/// How a person gets the server.
fn advice(server: &dyn Server) -> String {
    let packages = server.packages().join(" ");
    let variable = server.variable();
    format!(
        "install it (on Debian or Ubuntu: sudo apt-get install {packages}), use compose.yaml, or set {variable}"
    )
}

fn install(servers: &[&dyn Server]) -> Result<()> {
    let packages: Vec<&str> = servers
        .iter()
        .flat_map(|server| server.packages())
        .copied()
        .collect();
    packages::install(&packages)
}

/// Talk goes to stderr: stdout is for a shell to read.
fn say(text: &str) {
    eprintln!("{text}");
}

fn start_and_print(servers: &[&'static dyn Server], folder: &Path) -> Result<()> {
    let folder = Folder::open(folder.to_owned())?;
    let (ready, missing) = start(servers, &folder, Keep::UntilStopped)?;
    for server in &ready {
        let quoted = server.url.replace('\'', r"'\''");
        println!("export {}='{quoted}'", server.variable);
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

/// The servers while tests run.
#[derive(Debug)]
pub(crate) struct ForTests {
    pub(crate) ready: Vec<Ready>,
    pub(crate) missing: Vec<Missing>,
    folder: Folder,
    in_use: File,
}

impl ForTests {
    /// Brings every server to life that can be. What runs already is left as it is.
    pub(crate) fn start() -> Result<Self> {
        let folder = Folder::open(default_folder())?;
        let in_use = folder.use_for_tests()?;
        let (ready, missing) = start(&SERVERS, &folder, Keep::WhileTestsRun)?;
        Ok(Self {
            ready,
            missing,
            folder,
            in_use,
        })
    }

    /// Stops what was started for tests, unless other tests still run on it: then that is for them to do.
    pub(crate) fn stop(self) -> Result<()> {
        drop(self.in_use);
        let _lock = self.folder.lock()?;
        let Some(_alone) = self.folder.try_alone()? else {
            say("the servers are left to the other tests that run on them");
            return Ok(());
        };
        let mut for_tests = Vec::new();
        for server in SERVERS {
            let recorded = self.folder.read(server.name())?;
            for_tests.extend(
                recorded
                    .filter(|running| running.keep == Keep::WhileTestsRun)
                    .map(|running| (server, running)),
            );
        }
        stop(&for_tests, &self.folder)
    }
}

/// All of them at once: some take seconds.
fn start(
    servers: &[&'static dyn Server],
    folder: &Folder,
    keep: Keep,
) -> Result<(Vec<Ready>, Vec<Missing>)> {
    let _lock = folder.lock()?;
    let absent: Vec<&dyn Server> = servers
        .iter()
        .copied()
        .filter(|server| needs_program(*server, folder) && server.find().is_none())
        .collect();
    if !absent.is_empty()
        && packages::is_possible()
        && let Err(error) = install(&absent)
    {
        say(&format!("{error:#}"));
    }
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(|| bring_up(*server, folder, keep)))
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

fn bring_up(server: &'static dyn Server, folder: &Folder, keep: Keep) -> Result<Ready, Missing> {
    let mut is_error = false;
    let outcome = folder.read(server.name()).and_then(|recorded| {
        let Some(url) = given_address(server, recorded.as_ref()) else {
            return our_own(server, recorded, folder, keep);
        };
        is_error = true;
        server
            .ping(&url)
            .with_context(|| format!("the server at {} is no use", server.variable()))?;
        say(&format!("{}: at {}", server.name(), server.variable()));
        Ok(url)
    });
    let variable = server.variable();
    match outcome {
        Ok(url) => Ok(Ready { variable, url }),
        Err(reason) => Err(Missing {
            name: server.name(),
            variable,
            reason,
            is_error,
        }),
    }
}

/// The address of the recorded server, or of a new one if that has ended.
fn our_own(
    server: &dyn Server,
    recorded: Option<Running>,
    folder: &Folder,
    keep: Keep,
) -> Result<String> {
    let name = server.name();
    if let Some(mut running) = recorded {
        if answers(server, &running) {
            say(&format!("{name}: runs already"));
            // Who starts it by hand keeps it, also if tests did so first.
            if keep == Keep::UntilStopped && running.keep != keep {
                running.keep = keep;
                folder.write(name, &running)?;
            }
            return Ok(running.url);
        }
        say(&format!(
            "{name}: it ended or does not answer; starting anew"
        ));
        clear_away(server, &running, folder)?;
    }
    let running = launch(server, folder, keep)?;
    say(&format!("{name}: {} started", running.version));
    Ok(running.url)
}

fn stop_and_print(servers: &[&'static dyn Server], folder: &Path) -> Result<()> {
    let folder = Folder::open(folder.to_owned())?;
    let _lock = folder.lock()?;
    let mut recorded = Vec::new();
    for server in servers {
        match folder.read(server.name())? {
            Some(running) => recorded.push((*server, running)),
            None => say(&format!("{}: none was started here", server.name())),
        }
    }
    stop(&recorded, &folder)?;
    for (server, _) in recorded {
        println!("unset {}", server.variable());
    }
    Ok(())
}

/// Stops what was started here, and removes its data.
fn stop(servers: &[(&'static dyn Server, Running)], folder: &Folder) -> Result<()> {
    // All are told before one is waited for.
    for (server, running) in servers {
        running.signal(server.stop_signal());
    }
    for (server, running) in servers {
        clear_away(*server, running, folder)?;
        say(&format!("{}: stopped", server.name()));
    }
    Ok(())
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
                None => println!("{name:<9} not installed: {}", advice(*server)),
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
    if !packages::is_possible() {
        for server in &absent {
            say(&format!("{}: {}", server.name(), advice(*server)));
        }
        bail!("only root on Debian can install packages without asking anybody");
    }
    install(&absent)
}
