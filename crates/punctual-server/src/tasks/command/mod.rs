//! `command`: runs a program, without a shell.

mod direct;
#[cfg(unix)]
mod supervised;
#[cfg(unix)]
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use punctual_core::output::Output;
use punctual_core::task::{Args, RunContext, State, TaskEnd};
use serde::Deserialize;
use serde_json::Number;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Supervisor;

/// How long a program that was asked to stop has for it.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long the last output may take once the program has ended; what it left running may hold the pipe open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// How programs are run; a state of the registry.
#[derive(Debug)]
pub(crate) struct Programs(pub(crate) Option<Supervisor>);

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

/// What the environment of the server may hold that is none of its jobs' business: the key to it, and to its store.
const SECRETS: &[&str] = &["PUNCTUAL_TOKEN", "PUNCTUAL_STORE"];

/// The variables of a program beside those of the server.
fn environment(args: &CommandArgs, context: &RunContext) -> BTreeMap<String, String> {
    let run = context.run();
    let mut environment = args.env.clone();
    environment.extend([
        (
            "PUNCTUAL_IDEMPOTENCY_KEY".to_owned(),
            context.idempotency_key(),
        ),
        ("PUNCTUAL_FENCE".to_owned(), run.fence.to_string()),
        ("PUNCTUAL_JOB_ID".to_owned(), run.job_id.to_string()),
        ("PUNCTUAL_RUN_ID".to_owned(), run.id.to_string()),
        ("PUNCTUAL_ATTEMPT".to_owned(), run.attempt.to_string()),
    ]);
    environment
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

impl Helpers {
    /// Waits for the last output: the first two helpers bring it.
    async fn finish(mut self) {
        for helper in self.0.iter_mut().take(2) {
            let _ = timeout(LAST_OUTPUT, helper).await;
        }
    }
}

/// Why a program is stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Cancelled,
    TooLong(Duration),
    Lease,
}

/// Resolves when the run is cancelled, or its own time limit is over.
async fn stop_asked(context: &RunContext, limit: Option<Duration>) -> Stop {
    let too_long = async {
        match limit {
            Some(limit) => {
                tokio::time::sleep(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = context.cancel_token().cancelled() => Stop::Cancelled,
        limit = too_long => Stop::TooLong(limit),
    }
}

/// How long before the end of a lease that still holds for `remaining` the program is asked to stop. For half of it the
/// program has time to; then it is killed, with the other half to be gone.
pub(crate) fn lease_grace(remaining: Duration) -> Duration {
    (remaining / 4).clamp(Duration::from_millis(500), Duration::from_secs(2))
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

pub(crate) async fn run(
    Args(args): Args<CommandArgs>,
    programs: State<Programs>,
    context: RunContext,
) -> TaskEnd {
    #[cfg(unix)]
    if let Some(supervisor) = &programs.0 {
        return supervised::run(supervisor, args, &context).await;
    }
    #[cfg(not(unix))]
    let _ = programs;
    direct::run(args, &context).await
}

fn ended_by_itself(status: std::io::Result<ExitStatus>) -> TaskEnd {
    match status {
        Ok(status) if status.success() => TaskEnd::Succeeded,
        Ok(status) => TaskEnd::Failed(describe(status)),
        Err(error) => TaskEnd::Failed(format!("the program could not be waited for: {error}")),
    }
}

fn end_of(stop: Stop) -> TaskEnd {
    match stop {
        Stop::Cancelled => TaskEnd::Failed("stopped, as it was asked to".to_owned()),
        Stop::TooLong(limit) => {
            TaskEnd::TimedOut(format!("did not end within {} s", limit.as_secs_f64()))
        }
        Stop::Lease => TaskEnd::LeaseEnded(
            "stopped before its lease ended, for no sign of life of this node had reached the job store"
                .to_owned(),
        ),
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
