//! The program's side of one worker process: start, frames, end. What is dropped is killed and waited for.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use async_io::{Async, Timer};
use futures_util::future::{Either, select};
use rustix::process::{Pid, Signal, kill_process_group};

use super::status::describe;
use super::wire::{Frame, Frames, RELEASE, Report, VARIABLE, inode};

/// How long a program may take to come to `process_pool_worker`. It is the first thing in `main`.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// How long a worker may take to end that has been told to, or that has closed its socket.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// How often to look whether a process has ended, where it cannot be waited for beside other things.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What to start as a worker.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// `None`: this program.
    pub(super) program: Option<PathBuf>,
    pub(super) args: Vec<OsString>,
}

impl Launch {
    fn command(&self) -> io::Result<Command> {
        if let Some(program) = &self.program {
            return Ok(Command::new(program));
        }
        // The file that this process runs, also where another release has taken its place by now.
        let same_file = Path::new("/proc/self/exe");
        let by_name = std::env::current_exe()?;
        let mut command = if cfg!(target_os = "linux") && same_file.exists() {
            Command::new(same_file)
        } else {
            Command::new(&by_name)
        };
        command.arg0(std::env::args_os().next().unwrap_or(by_name.into()));
        Ok(command)
    }
}

/// How a worker process ended, as the rest of a sentence.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: io::Result<ExitStatus>,
    /// It lived on and had to be killed.
    pub(super) was_killed: bool,
}

impl Ended {
    /// By SIGKILL, from whomever.
    pub(super) fn is_by_kill(&self) -> bool {
        let signal = self.status.as_ref().ok().and_then(ExitStatusExt::signal);
        signal == Some(Signal::KILL.as_raw())
    }

    pub(super) fn text(&self) -> String {
        match &self.status {
            _ if self.was_killed => {
                "broke off its connection to the program and was killed".to_owned()
            }
            Ok(status) => describe(*status),
            Err(error) => format!("has ended; how is not known: {error}"),
        }
    }
}

/// A worker process.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    id: Pid,
    socket: Async<UnixStream>,
    frames: Frames,
    exit: Exit,
    has_exited: bool,
    is_over: bool,
}

impl Process {
    pub(super) fn start(launch: &Launch) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let socket = Async::new(ours)?;
        let child = launch
            .command()?
            .args(&launch.args)
            .env(VARIABLE, inode(&theirs)?.to_string())
            .stdin(OwnedFd::from(theirs))
            // Ctrl-C in a terminal is for the program alone, and a signal to the group ends what tasks have started too.
            .process_group(0)
            .spawn()?;
        let id = Pid::from_child(&child);
        Ok(Self {
            child,
            id,
            socket,
            frames: Frames::default(),
            exit: Exit::of(id),
            has_exited: false,
            is_over: false,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it is ready for runs; the error is for people.
    pub(super) async fn ready(&mut self) -> Result<(), String> {
        const CURE: &str =
            "call `punctual::executor::process_pool_worker(tasks)` first thing in `main`";
        let hello = {
            let hello = pin!(self.next());
            match select(hello, Timer::after(HELLO_PATIENCE)).await {
                Either::Left((hello, _)) => hello,
                Either::Right(_) => {
                    let patience = HELLO_PATIENCE.as_secs();
                    return Err(format!(
                        "the worker process did not say within {patience} s that it is one; {CURE}"
                    ));
                }
            }
        };
        match hello {
            Ok(Some(Frame::Message(Report::Hello { release }))) if release == RELEASE => {}
            Ok(Some(Frame::Message(Report::Hello { release }))) => {
                return Err(format!(
                    "the worker process is of Punctual {release}, and this program of {RELEASE}; build both from one source"
                ));
            }
            _ => {
                let how = self.end().await.text();
                return Err(format!(
                    "the worker process {how} before it said that it is one; {CURE}"
                ));
            }
        }
        match self.next().await {
            Ok(Some(Frame::Message(Report::Ready))) => Ok(()),
            Ok(Some(Frame::Message(Report::NoTasks(error)))) => Err(format!(
                "the worker process could not make its tasks: {error}"
            )),
            _ => {
                let how = self.end().await.text();
                Err(format!("the worker process {how} while it made its tasks"))
            }
        }
    }

    /// The next thing it says; `None` when it is gone. May be dropped and called again.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame<Report>>> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(Some(frame));
            }
            match self.frames.fill(self.socket.get_ref()) {
                Ok(0) => return Ok(None),
                Ok(_) => continue,
                // What was said before the end has been read by now.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.has_exited => {
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // It died with something unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
            // A process that a task forked may hold the socket open for longer than the worker lives.
            let (readable, exited) = (self.socket.readable(), self.exit.noticed());
            if let Either::Right(_) = select(pin!(readable), pin!(exited)).await {
                self.has_exited = true;
            }
        }
    }

    /// Tells it a frame. The worker always listens, so this waits only for one that is stopped.
    pub(super) async fn tell(&self, frame: &[u8]) -> io::Result<()> {
        let mut rest = frame;
        while !rest.is_empty() {
            let count = self
                .socket
                .write_with(|mut socket| socket.write(rest))
                .await?;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Asks a worker without a run to end, waits until it has, and leaves alone what its tasks have left behind.
    pub(super) async fn retire(mut self) {
        let _ = self.socket.get_ref().shutdown(std::net::Shutdown::Both);
        if self.exits_in_time().await {
            let _ = self.child.wait();
            self.is_over = true;
        }
    }

    /// Waits for the end of a worker that has broken off, and ends what its tasks have started. To be called once.
    pub(super) async fn end(&mut self) -> Ended {
        let was_killed = !self.exits_in_time().await;
        Ended {
            status: self.kill(),
            was_killed,
        }
    }

    async fn exits_in_time(&self) -> bool {
        let exited = pin!(self.exit.happened());
        let patience = Timer::after(END_PATIENCE);
        matches!(select(exited, patience).await, Either::Left(_))
    }

    /// Kills what is left of it and of what its tasks have started.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        // Nobody has waited for it yet, so its number is still its own, also where it has ended.
        let _ = kill_process_group(self.id, Signal::KILL);
        let status = self.child.wait();
        self.is_over = true;
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.kill();
        }
    }
}

/// Tells when a process has ended, without waiting for it as a parent does.
#[derive(Debug)]
struct Exit {
    id: Pid,
    /// Where the system has no such thing, only the end of the connection is noticed at once.
    handle: Option<Async<OwnedFd>>,
}

impl Exit {
    fn of(id: Pid) -> Self {
        Self {
            id,
            handle: Self::handle(id),
        }
    }

    #[cfg(target_os = "linux")]
    fn handle(id: Pid) -> Option<Async<OwnedFd>> {
        use rustix::process::{PidfdFlags, pidfd_open};
        // An old kernel, or a sandbox, may know none.
        let handle = pidfd_open(id, PidfdFlags::empty()).ok()?;
        Async::new_nonblocking(handle).ok()
    }

    #[cfg(not(target_os = "linux"))]
    fn handle(_: Pid) -> Option<Async<OwnedFd>> {
        None
    }

    /// Resolves when it has ended, where that can be noticed; else never.
    async fn noticed(&self) {
        if let Some(handle) = &self.handle
            && handle.readable().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Resolves when it has ended.
    async fn happened(&self) {
        let looks = async {
            while !self.is_zombie() {
                Timer::after(LOOK_AGAIN).await;
            }
        };
        select(pin!(self.noticed()), pin!(looks)).await;
    }

    #[cfg(not(any(target_os = "openbsd", target_os = "redox")))]
    fn is_zombie(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(self.id), look), Ok(Some(_)))
    }

    #[cfg(any(target_os = "openbsd", target_os = "redox"))]
    fn is_zombie(&self) -> bool {
        false
    }
}
