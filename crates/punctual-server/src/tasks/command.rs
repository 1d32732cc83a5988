//! `command`: runs a program, without a shell.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use punctual_core::output::Output;
use punctual_core::task::{Args, RunContext, TaskEnd};
use serde::Deserialize;
use serde_json::Number;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a program that was asked to stop has for it.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long the last output may take once the program has ended; what it left running may hold the pipe open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// The arguments of `command`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Given")]
pub(crate) struct CommandArgs {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    stdin: Option<String>,
    timeout: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    cwd: Option<PathBuf>,
    #[serde(default)]
    stdin: Option<String>,
    #[serde(default)]
    timeout: Option<Number>,
}

impl TryFrom<Given> for CommandArgs {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        match given.argv.first() {
            None => return Err("argv is empty; it takes a program and its arguments".to_owned()),
            Some(program) if program.is_empty() => {
                return Err("argv[0] is empty; it takes a program".to_owned());
            }
            Some(_) => {}
        }
        let cwd = given.cwd.iter().filter_map(|cwd| cwd.to_str());
        let texts = given.argv.iter().map(String::as_str).chain(cwd);
        let variables = given
            .env
            .iter()
            .flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        if texts.chain(variables).any(|text| text.contains('\0')) {
            return Err("argv, cwd and env take no NUL characters".to_owned());
        }
        if let Some(name) = given
            .env
            .keys()
            .find(|name| name.is_empty() || name.contains('='))
        {
            return Err(format!("env: {name:?} is not the name of a variable"));
        }
        Ok(Self {
            timeout: given.timeout.as_ref().map(super::timeout).transpose()?,
            argv: given.argv,
            env: given.env,
            cwd: given.cwd,
            stdin: given.stdin,
        })
    }
}

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
    let run = context.run();
    command
        .args(&args.argv[1..])
        // The key to this server is nothing for its jobs.
        .env_remove("PUNCTUAL_TOKEN")
        .envs(&args.env)
        .env("PUNCTUAL_IDEMPOTENCY_KEY", context.idempotency_key())
        .env("PUNCTUAL_FENCE", run.fence.to_string())
        .env("PUNCTUAL_JOB_ID", run.job_id.as_str())
        .env("PUNCTUAL_RUN_ID", run.id.to_string())
        .env("PUNCTUAL_ATTEMPT", run.attempt.to_string())
        .stdin(if args.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(cwd) = &args.cwd {
        command.current_dir(cwd);
    }
    #[cfg(unix)]
    command.process_group(0);
    command
}

fn capture(
    stream: Option<impl AsyncRead + Send + Unpin + 'static>,
    output: &Output,
) -> JoinHandle<()> {
    let output = output.clone();
    tokio::spawn(async move {
        let Some(mut stream) = stream else {
            return;
        };
        let mut buffer = vec![0; 8192];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            output.write(&buffer[..read]);
        }
    })
}

/// Tasks that end with this value.
struct Helpers(Vec<JoinHandle<()>>);

impl Drop for Helpers {
    fn drop(&mut self) {
        for helper in &self.0 {
            helper.abort();
        }
    }
}

/// How it came to an end.
enum Stopped {
    ByItself(std::io::Result<ExitStatus>),
    Cancelled,
    TooLong(Duration),
}

/// A folder that is missing looks to the system like a program that is.
fn not_started(args: &CommandArgs, error: &std::io::Error) -> String {
    let program = &args.argv[0];
    match &args.cwd {
        Some(cwd) if !cwd.is_dir() => {
            format!(
                "{program:?} could not be started: its cwd {} is not a folder",
                cwd.display()
            )
        }
        _ => format!("{program:?} could not be started: {error}"),
    }
}

pub(crate) async fn run(Args(args): Args<CommandArgs>, context: RunContext) -> TaskEnd {
    let mut child = match prepare(&args, &context).spawn() {
        Ok(child) => child,
        Err(error) => {
            return TaskEnd::Failed(not_started(&args, &error));
        }
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
    let too_long = async {
        match args.timeout {
            Some(limit) => {
                tokio::time::sleep(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    let stopped = tokio::select! {
        status = child.wait() => Stopped::ByItself(status),
        () = context.cancel_token().cancelled() => Stopped::Cancelled,
        limit = too_long => Stopped::TooLong(limit),
    };
    if !matches!(stopped, Stopped::ByItself(_)) {
        group.ask_to_stop(&mut child);
        if timeout(STOP_GRACE, child.wait()).await.is_err() {
            group.kill(&mut child);
            let _ = child.wait().await;
        }
        // What it started and left behind goes with it: the group still has its number while one of them lives.
        group.kill(&mut child);
    }
    group.forget();
    for helper in helpers.0.iter_mut().take(2) {
        let _ = timeout(LAST_OUTPUT, helper).await;
    }
    match stopped {
        Stopped::ByItself(Ok(status)) if status.success() => TaskEnd::Succeeded,
        Stopped::ByItself(Ok(status)) => TaskEnd::Failed(describe(status)),
        Stopped::ByItself(Err(error)) => {
            TaskEnd::Failed(format!("the program could not be waited for: {error}"))
        }
        Stopped::Cancelled => TaskEnd::Failed("stopped, as it was asked to".to_owned()),
        Stopped::TooLong(limit) => {
            TaskEnd::TimedOut(format!("did not end within {} s", limit.as_secs_f64()))
        }
    }
}

fn describe(status: ExitStatus) -> String {
    if let Some(code) = status.code() {
        return format!("exit code {code}");
    }
    #[cfg(unix)]
    if let Some(number) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("ended by {}", signal_name(number));
    }
    "ended without an exit code".to_owned()
}

#[cfg(unix)]
fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return format!("signal {number}"),
    };
    format!("signal {number} ({name})")
}
