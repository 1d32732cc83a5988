//! The small process between a server and a program that it runs: whatever becomes of the server, the program is gone
//! before another node starts it again.
//!
//! It starts one program in a process group of its own, hears over a socket each renewal of the run's lease, and kills
//!
//! - at once, when the socket closes: the server has ended, however it ended;
//! - in time to be done before the lease ends, when no renewal came: the server is frozen or cut off from its store. The
//!   timer is this process's own, by a clock that goes on while the machine is suspended;
//! - when it is told to, or gets SIGTERM, SIGINT or SIGHUP: SIGTERM first, SIGKILL after 5 s.
//!
//! It kills the process group, and on Linux whatever else the program started, also where that has left the group
//! (`setsid`): orphans become children of this process, which is a subreaper, and only children that it has not waited
//! for are ever signalled, so no number can be another's by then.
//!
//! What it cannot do: reach a process that another service started for the program (`systemd-run`, `docker run`, `at`) or
//! that belongs to another user (`sudo`); or anything at all where it is frozen itself (a paused container, a suspended
//! machine: it kills when it goes on) or killed. Where it alone is killed, the server kills the program's group. Outside
//! Linux a program that has left the group escapes.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use rustix::process::{Pid, Signal, WaitOptions};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use crate::tasks::command::wire::{Order, Report, Told, line, read, remaining};
use crate::tasks::command::{STOP_GRACE, lease_grace};

/// The longest sleep. A sleep stands still while the machine is suspended, and the lease does not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long killing may take. What has not gone by then hangs in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Supervises one program, as the server on the other end of stdin says; returns when that is over.
///
/// For the `main` of a program that [`Supervisor`](crate::tasks::Supervisor) names. It may be called once in a process, and
/// not in an event loop.
pub fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime.and_then(|runtime| runtime.block_on(supervise())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Into the output of the run, where somebody may look for it.
            let _ = writeln!(io::stderr(), "punctual: supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn supervise() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let socket = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr().map_err(|_| {
        io::Error::other("this is a part of `punctual serve`, and nothing to be called by hand")
    })?;
    socket.set_nonblocking(true)?;
    let (from, to) = UnixStream::from_std(socket)?.into_split();
    let mut told = BufReader::new(from).lines();
    // Before the program starts: its end must not be missed.
    let mut signals = Caught::new()?;
    let order = match told.next_line().await?.as_deref().map(read) {
        Some(Some(Told::Start(order))) => order,
        // The server has ended already.
        None => return Ok(()),
        _ => {
            return Err(io::Error::other(
                "the server said something else than what to start",
            ));
        }
    };
    if let Some(mut watch) = Watch::start(order, to).await? {
        watch.watch(&mut told, &mut signals).await?;
    }
    Ok(())
}

struct Caught {
    child: Signals,
    terminate: Signals,
    interrupt: Signals,
    hang_up: Signals,
}

impl Caught {
    fn new() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Why the program is being stopped, and when it is killed.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    lease: bool,
    kill_at: Duration,
}

/// When to do something about the lease.
#[derive(Clone, Copy, Debug)]
struct Ends {
    stop_at: Duration,
    kill_at: Duration,
}

impl Ends {
    /// What the end of a lease means.
    fn of(end: u64) -> Self {
        let grace = lease_grace(remaining(end));
        let end = Duration::from_micros(end);
        Self {
            stop_at: end.saturating_sub(grace),
            kill_at: end.saturating_sub(grace / 2),
        }
    }
}

/// Whether the number of the program is still its own.
#[derive(Clone, Copy, PartialEq)]
enum Program {
    Lives,
    WasWaitedFor,
}

struct Watch {
    program: Pid,
    to: OwnedWriteHalf,
    lease: Option<Ends>,
    stopping: Option<Stopping>,
}

fn now() -> Duration {
    SystemClock.monotonic()
}

fn spawn(order: Order) -> io::Result<Pid> {
    let (program, args) = order
        .argv
        .split_first()
        .ok_or_else(|| io::Error::other("argv is empty"))?;
    let mut command = Command::new(program);
    command
        .args(args)
        .envs(order.env)
        .stdin(if order.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .process_group(0);
    if let Some(cwd) = order.cwd {
        command.current_dir(cwd);
    }
    let mut child = command.spawn()?;
    if let (Some(text), Some(mut stdin)) = (order.stdin, child.stdin.take()) {
        // A program that does not read it all is free not to; this thread ends with the process.
        std::thread::spawn(move || {
            let _ = stdin.write_all(text.as_bytes());
        });
    }
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| io::Error::other("the program has no number"))
}

impl Watch {
    /// `None` where there is nothing to watch; the server knows why.
    async fn start(order: Order, mut to: OwnedWriteHalf) -> io::Result<Option<Self>> {
        let lease = order.lease.map(Ends::of);
        let started = if lease.is_some_and(|lease| lease.stop_at <= now()) {
            Err(Report::TooLate)
        } else {
            spawn(order).map_err(|error| Report::NotStarted {
                os: error.raw_os_error(),
                text: error.to_string(),
            })
        };
        match started {
            Ok(program) => {
                let mut watch = Self {
                    program,
                    to,
                    lease,
                    stopping: None,
                };
                watch
                    .report(&Report::Started(program.as_raw_nonzero().get()))
                    .await;
                Ok(Some(watch))
            }
            Err(report) => {
                to.write_all(&line(&report)).await?;
                Ok(None)
            }
        }
    }

    /// A server that is gone shows itself when it is read from.
    async fn report(&mut self, report: &Report) {
        let _ = self.to.write_all(&line(report)).await;
    }

    async fn watch(
        &mut self,
        told: &mut Lines<BufReader<OwnedReadHalf>>,
        signals: &mut Caught,
    ) -> io::Result<()> {
        loop {
            let wait = self.act_in_time();
            tokio::select! {
                biased;
                heard = told.next_line() => match heard.ok().flatten().as_deref().map(read) {
                    Some(Some(Told::Lease(end))) => self.lease = Some(Ends::of(end)),
                    Some(Some(Told::Stop)) => self.stop(false, now() + STOP_GRACE),
                    // The server is gone, or speaks in tongues.
                    _ => {
                        self.kill_all(Program::Lives);
                        return Ok(());
                    }
                },
                _ = signals.child.recv() => {
                    if let Some(status) = self.reap()? {
                        let lease = self.stopping.is_some_and(|stopping| stopping.lease);
                        if self.stopping.is_some() {
                            // What it started and left behind goes with it.
                            self.kill_all(Program::WasWaitedFor);
                        }
                        self.report(&Report::Ended { status, lease }).await;
                        return Ok(());
                    }
                }
                _ = signals.terminate.recv() => self.stop(false, now() + STOP_GRACE),
                _ = signals.interrupt.recv() => self.stop(false, now() + STOP_GRACE),
                _ = signals.hang_up.recv() => self.stop(false, now() + STOP_GRACE),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does what is to be done by now; returns how long there is nothing else.
    fn act_in_time(&mut self) -> Duration {
        let now = now();
        if let Some(lease) = self.lease
            && lease.stop_at <= now
        {
            self.stop(true, lease.kill_at);
        }
        let kill_at = self.stopping.map(|stopping| stopping.kill_at);
        if kill_at.is_some_and(|kill_at| kill_at <= now) {
            let _ = rustix::process::kill_process_group(self.program, Signal::KILL);
            return LOOK_AGAIN;
        }
        let stop_at = self
            .lease
            .map(|lease| lease.stop_at)
            .filter(|_| kill_at.is_none());
        [kill_at, stop_at]
            .into_iter()
            .flatten()
            .map(|moment| moment.saturating_sub(now))
            .fold(LOOK_AGAIN, Duration::min)
    }

    /// Asks the program to stop, once, and to be gone by then; the earliest moment counts.
    fn stop(&mut self, lease: bool, kill_at: Duration) {
        match &mut self.stopping {
            Some(stopping) => stopping.kill_at = stopping.kill_at.min(kill_at),
            None => {
                self.stopping = Some(Stopping { lease, kill_at });
                let _ = rustix::process::kill_process_group(self.program, Signal::TERM);
            }
        }
    }

    /// Waits for those that have ended; returns the status of the program, where it is one of them.
    fn reap(&self) -> io::Result<Option<i32>> {
        let mut status = None;
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((id, ended))) if id == self.program => status = Some(ended.as_raw()),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(status),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Kills the group, and then whoever is left, generation by generation: the children of one that is killed become
    /// ours.
    fn kill_all(&self, program: Program) {
        // The number of a group whose leader was waited for is its own only as long as somebody is in it. On Linux those
        // are found as our children, so there is no need to trust the number.
        if program == Program::Lives || !cfg!(target_os = "linux") {
            let _ = rustix::process::kill_process_group(self.program, Signal::KILL);
        }
        let end = now() + KILL_PATIENCE;
        while now() < end {
            for child in children() {
                let _ = rustix::process::kill_process(child, Signal::KILL);
            }
            loop {
                match rustix::process::wait(WaitOptions::NOHANG) {
                    Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                    Ok(None) => break,
                    Err(_) => return, // there are no more
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The processes that this one is the parent of and has not waited for.
#[cfg(target_os = "linux")]
fn children() -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .filter_map(|id| Pid::from_raw(id.parse().ok()?))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Where orphans are not ours, the group is all there is.
#[cfg(not(target_os = "linux"))]
fn children() -> Vec<Pid> {
    Vec::new()
}
