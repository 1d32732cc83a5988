//! A program that is this process's own child: it is stopped by this process, and outlives it where this is killed.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use punctual_core::task::{RunContext, TaskEnd};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{CommandArgs, Helpers, SECRETS, STOP_GRACE, Stop, capture, end_of, environment};

/// The process group of a program. It ends with this value, unless the program has ended before.
#[derive(Debug)]
struct Group(#[cfg(unix)] Option<rustix::process::Pid>);

#[cfg(unix)]
impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    fn ask_to_stop(&self, _: &mut Child) {
        self.signal(rustix::process::Signal::TERM);
    }

    fn kill(&self, _: &mut Child) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// The program has ended and was waited for: its number may be another's by now.
    fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }
}

#[cfg(not(unix))]
#[expect(clippy::unused_self, reason = "the surface is that of unix")]
impl Group {
    fn of(_: &Child) -> Self {
        Self()
    }

    fn ask_to_stop(&self, child: &mut Child) {
        let _ = child.start_kill();
    }

    fn kill(&self, child: &mut Child) {
        let _ = child.start_kill();
    }

    fn forget(&mut self) {}
}

fn prepare(args: &CommandArgs, context: &RunContext) -> Command {
    let mut command = Command::new(&args.argv[0]);
    command
        .args(&args.argv[1..])
        .envs(environment(args, context))
        .stdin(if args.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for secret in SECRETS {
        command.env_remove(secret);
    }
    if let Some(cwd) = &args.cwd {
        command.current_dir(cwd);
    }
    #[cfg(unix)]
    command.process_group(0);
    command
}

/// Resolves a little before the lease ends, so that the program is gone by then.
async fn lease_ends(context: &RunContext) -> Duration {
    let lease = context.lease();
    loop {
        let end = lease.ends_at();
        let Some(remaining) = lease.remaining() else {
            return std::future::pending().await;
        };
        let grace = super::lease_grace(remaining);
        // In short steps: this sleep stands still while the machine is suspended, and the lease does not.
        let wait = remaining.saturating_sub(grace).min(Duration::from_secs(1));
        if wait.is_zero() {
            return grace / 2;
        }
        let _ = timeout(wait, lease.changed(end)).await;
    }
}

async fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    child.wait().await
}

pub(super) async fn run(args: CommandArgs, context: &RunContext) -> TaskEnd {
    let mut child = match prepare(&args, context).spawn() {
        Ok(child) => child,
        Err(error) => return TaskEnd::Failed(super::not_started(&args, &error)),
    };
    let mut group = Group::of(&child);
    let mut helpers = Helpers(vec![
        capture(child.stdout.take(), context.output()),
        capture(child.stderr.take(), context.output()),
    ]);
    if let (Some(text), Some(mut stdin)) = (args.stdin, child.stdin.take()) {
        // A program that does not read it all is free not to.
        helpers.0.push(tokio::spawn(async move {
            let _ = stdin.write_all(text.as_bytes()).await;
        }));
    }
    let (stopped, grace) = tokio::select! {
        status = wait(&mut child) => (Err(status), Duration::ZERO),
        stop = super::stop_asked(context, args.timeout) => (Ok(stop), STOP_GRACE),
        grace = lease_ends(context) => (Ok(Stop::Lease), grace),
    };
    let end = match stopped {
        Err(status) => super::ended_by_itself(status),
        Ok(stop) => {
            group.ask_to_stop(&mut child);
            if timeout(grace, child.wait()).await.is_err() {
                group.kill(&mut child);
                let _ = child.wait().await;
            }
            // What it started and left behind goes with it: the group still has its number while one of them lives.
            group.kill(&mut child);
            end_of(stop)
        }
    };
    group.forget();
    helpers.finish().await;
    end
}
