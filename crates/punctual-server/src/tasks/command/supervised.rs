//! A program under a supervisor: a process of its own that outlives this one by the moment it takes to kill.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use punctual_core::lease::Lease;
use punctual_core::task::{RunContext, TaskEnd};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use super::wire::{Order, Report, Told, lease_end, line, read};
use super::{CommandArgs, Helpers, SECRETS, Stop, Supervisor, capture, end_of, environment};

fn spawn(supervisor: &Supervisor) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(&supervisor.program);
    command
        .args(&supervisor.args)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal is for the server alone.
        .process_group(0);
    for secret in SECRETS {
        command.env_remove(secret);
    }
    Ok((command.spawn()?, UnixStream::from_std(ours)?))
}

/// What became of the program.
enum Heard {
    NotStarted(std::io::Error),
    Ended {
        status: ExitStatus,
        lease: bool,
    },
    TooLate,
    /// The supervisor is gone and did not say; the program may live.
    Silence(Option<Pid>),
}

async fn hear(socket: OwnedReadHalf) -> Heard {
    let mut lines = BufReader::new(socket).lines();
    let mut group = None;
    while let Ok(Some(text)) = lines.next_line().await {
        match read::<Report>(&text) {
            Some(Report::Started(id)) => group = Pid::from_raw(id),
            Some(Report::NotStarted { os: Some(os), .. }) => {
                return Heard::NotStarted(std::io::Error::from_raw_os_error(os));
            }
            Some(Report::NotStarted { text, .. }) => {
                return Heard::NotStarted(std::io::Error::other(text));
            }
            Some(Report::Ended { status, lease }) => {
                let status = ExitStatus::from_raw(status);
                return Heard::Ended { status, lease };
            }
            Some(Report::TooLate) => return Heard::TooLate,
            None => break,
        }
    }
    Heard::Silence(group)
}

/// Tells the supervisor what to start, each renewal, and when to stop. What it does not take, it need not know: then it
/// is gone, or about to kill.
async fn tell(mut socket: OwnedWriteHalf, mut order: Order, lease: &Lease, stop: &Notify) {
    let mut end = lease.ends_at();
    order.lease = lease_end(lease);
    let mut next = Told::Start(order);
    while socket.write_all(&line(&next)).await.is_ok() {
        next = tokio::select! {
            () = stop.notified() => Told::Stop,
            renewed = lease.changed(end) => {
                end = renewed;
                match lease_end(lease) {
                    Some(end) => Told::Lease(end),
                    None => break,
                }
            }
        };
    }
    // The socket stays open: that it closes is the sign of this process's end.
    std::future::pending::<()>().await;
}

pub(super) async fn run(
    supervisor: &Supervisor,
    args: CommandArgs,
    context: &RunContext,
) -> TaskEnd {
    let (mut process, socket) = match spawn(supervisor) {
        Ok(spawned) => spawned,
        Err(error) => {
            let program = supervisor.program.display();
            return TaskEnd::Failed(format!(
                "the supervisor {program} could not be started: {error}"
            ));
        }
    };
    let helpers = Helpers(vec![
        capture(process.stdout.take(), context.output()),
        capture(process.stderr.take(), context.output()),
    ]);
    let order = Order {
        argv: args.argv.clone(),
        env: environment(&args, context),
        cwd: args.cwd.clone(),
        stdin: args.stdin.clone(),
        lease: None,
    };
    let (from, to) = socket.into_split();
    let stop = Notify::new();
    let mut asked = None;
    let heard = {
        let mut hearing = std::pin::pin!(hear(from));
        let mut telling = std::pin::pin!(tell(to, order, context.lease(), &stop));
        let mut asking = std::pin::pin!(super::stop_asked(context, args.timeout));
        loop {
            tokio::select! {
                biased;
                heard = &mut hearing => break heard,
                () = &mut telling => {}
                why = &mut asking, if asked.is_none() => {
                    asked = Some(why);
                    stop.notify_one();
                }
            }
        }
    };
    if let Heard::Silence(Some(group)) = heard {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = process.wait().await;
    helpers.finish().await;
    match (heard, asked) {
        (Heard::Ended { lease: true, .. } | Heard::TooLate, None) => end_of(Stop::Lease),
        (_, Some(why)) => end_of(why),
        (Heard::Ended { status, .. }, None) => super::ended_by_itself(Ok(status)),
        (Heard::NotStarted(error), None) => TaskEnd::Failed(super::not_started(&args, &error)),
        (Heard::Silence(_), None) => {
            TaskEnd::Failed("its supervisor was killed, and the program with it".to_owned())
        }
    }
}
