//! `cargo xtask test`: every test, against real servers.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::services::{ForTests, Missing};
use crate::toolkits;

pub(crate) fn main(arguments: &[String]) -> Result<()> {
    with_servers(|servers, interrupt| run(arguments, servers, interrupt))
}

/// Starts the servers that are missing, runs what needs them, and stops what it started, however that ends.
pub(crate) fn with_servers(run: impl FnOnce(&ForTests, &Interrupt) -> Result<()>) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let servers = ForTests::start()?;
    let outcome = check(&servers.missing, &interrupt).and_then(|()| {
        let outcome = run(&servers, &interrupt);
        report(&servers.missing);
        outcome
    });
    servers.stop()?;
    outcome
}

/// Whether the tests may begin: on a laptop without some servers, in CI with all of them.
fn check(missing: &[Missing], interrupt: &Interrupt) -> Result<()> {
    interrupt.check()?;
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let fatal: Vec<String> = missing
        .iter()
        .filter(|server| is_ci || server.is_error)
        .map(|server| format!("{}: {:#}", server.name, server.reason))
        .collect();
    if !fatal.is_empty() {
        bail!("no test was run, for want of servers\n{}", fatal.join("\n"));
    }
    Ok(())
}

fn run(arguments: &[String], servers: &ForTests, interrupt: &Interrupt) -> Result<()> {
    if !arguments.is_empty() {
        let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
        let all = [&["test", "--all-features"], &arguments[..]].concat();
        return cargo(&all, servers, interrupt);
    }
    let toolkits = toolkits::Missing::find()?;
    let mut workspace = vec!["test", "--workspace", "--all-features"];
    workspace.extend(toolkits.exclusions());
    let targets = ["--lib", "--bins", "--tests", "--examples"];
    // Targets and doc examples apart, so that a failure in one names it.
    for what in [&targets[..], &["--doc"]] {
        cargo(&[&workspace[..], what].concat(), servers, interrupt)?;
    }
    toolkits.report();
    Ok(())
}

/// Runs cargo with the addresses in its environment.
fn cargo(arguments: &[&str], servers: &ForTests, interrupt: &Interrupt) -> Result<()> {
    println!("$ cargo {}", arguments.join(" "));
    let mut command = crate::command(arguments);
    for server in &servers.ready {
        command.env(&server.variable, &server.url);
    }
    for server in &servers.missing {
        // It may still hold the address of a server that has ended.
        command.env_remove(&server.variable);
    }
    let status = interrupt.wait_for(&mut command)?;
    if !status.success() {
        bail!("`cargo {}` failed: {status}", arguments.join(" "));
    }
    Ok(())
}

/// The last lines, so that nobody takes silence for success.
fn report(missing: &[Missing]) {
    for server in missing {
        println!(
            "SKIPPED: every test on {}: {:#}",
            server.name, server.reason
        );
    }
}

/// Ctrl-C and its like: passed on to the tests, so that there is time to stop the servers.
pub(crate) struct Interrupt(Arc<Heard>);

#[derive(Default)]
struct Heard {
    came: AtomicBool,
    /// The process group of the tests.
    group: AtomicI32,
}

const NOBODY: i32 = 0;

impl Interrupt {
    fn listen() -> Result<Self> {
        let heard = Arc::new(Heard::default());
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let listener = Arc::clone(&heard);
        thread::spawn(move || {
            for _ in signals.forever() {
                let was_told = listener.came.swap(true, Ordering::SeqCst);
                // Who does not listen the first time is not asked again.
                listener.signal(if was_told { Signal::KILL } else { Signal::TERM });
            }
        });
        Ok(Self(heard))
    }

    fn check(&self) -> Result<()> {
        if self.0.came.load(Ordering::SeqCst) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Runs a program to its end. Its group is its own, so that one signal ends it and all that it started.
    pub(crate) fn wait_for(&self, command: &mut Command) -> Result<ExitStatus> {
        let mut child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} could not be started", command.get_program().display()))?;
        self.forward_to(child.id() as i32);
        let status = child.wait();
        self.forward_to(NOBODY);
        self.check()?;
        Ok(status?)
    }

    fn forward_to(&self, group: i32) {
        self.0.group.store(group, Ordering::SeqCst);
        // It may have come before there was anybody to tell.
        if self.check().is_err() {
            self.0.signal(Signal::TERM);
        }
    }
}

impl Heard {
    fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.group.load(Ordering::SeqCst)) {
            // The tests may have ended by themselves.
            let _ = kill_process_group(group, signal);
        }
    }
}
