//! The client commands, each one or two requests.
#![expect(clippy::doc_markdown, reason = "help texts are read as they are")]

use std::time::Duration;

use axum::http::Method;
use clap::Args;
use punctual_server::encode;
use punctual_trigger::words;
use serde_json::{Map, Value, json};

use crate::client::{Client, ServerFlags};
use crate::exit::{Failure, Outcome};
use crate::show;
use crate::trigger_flags::{TriggerFlags, read_json};
use crate::{output, table};

/// How often a run that is waited for is looked at.
const POLL: Duration = Duration::from_millis(100);

/// What a job does, and how.
#[derive(Debug, Args)]
pub(crate) struct JobFlags {
    /// Its name for people
    #[arg(long)]
    name: Option<String>,
    /// The task's arguments by position, as a JSON list
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
    /// The task's arguments by name, as a JSON object
    #[arg(long, value_name = "JSON")]
    kwargs: Option<String>,
    /// Runs next at this date, and then by the trigger
    #[arg(long, value_name = "DATE")]
    next_run_time: Option<String>,
    /// A label; may be given again
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// How late a run may start; "none" for however late
    #[arg(long, value_name = "DURATION")]
    misfire_grace_time: Option<String>,
    /// Whether several missed runs become one
    #[arg(long, value_name = "BOOL")]
    coalesce: Option<bool>,
    /// How many runs of it may go on at once
    #[arg(long, value_name = "COUNT")]
    max_instances: Option<u32>,
    /// What becomes of a run beyond that: skip, queue_one or cancel_running
    #[arg(long, value_name = "POLICY")]
    overlap: Option<String>,
    /// What follows a failure: how many attempts in all, or {"attempts":3,"delay":10,"backoff":"exponential"}; "none"
    #[arg(long, value_name = "RETRY")]
    retry: Option<String>,
    /// How long one attempt may take; "none" for as long as it likes
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// What follows the death of its node: rerun or give_up
    #[arg(long, value_name = "POLICY")]
    on_crash: Option<String>,
    /// The executor that runs it
    #[arg(long, value_name = "NAME")]
    executor: Option<String>,
    /// Take a task that no node has yet
    #[arg(long)]
    allow_unknown_task: bool,
    #[command(flatten)]
    when: TriggerFlags,
}

fn limit(flag: &str, text: &str) -> Outcome<Value> {
    if text == "none" {
        return Ok(Value::Null);
    }
    let duration =
        words::duration(text).map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
    Ok(json!(duration.as_secs_f64()))
}

fn retry(text: &str) -> Outcome<Value> {
    match text.parse::<u32>() {
        Ok(attempts) => Ok(json!({ "attempts": attempts })),
        Err(_) if text == "none" => Ok(Value::Null),
        Err(_) => serde_json::from_str(text).map_err(|_| {
            Failure::usage(format!(
                "--retry: {text:?} is neither a number of attempts nor \"none\" nor an object such as \
                 {{\"attempts\":3,\"delay\":10}}"
            ))
        }),
    }
}

impl JobFlags {
    fn body(&self) -> Outcome<Map<String, Value>> {
        let mut body = Map::new();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        set("name", text(&self.name));
        set("next_run_time", text(&self.next_run_time));
        set("overlap", text(&self.overlap));
        set("on_crash", text(&self.on_crash));
        set("executor", text(&self.executor));
        set("coalesce", self.coalesce.map(Value::from));
        set("max_instances", self.max_instances.map(Value::from));
        set("tags", (!self.tags.is_empty()).then(|| json!(self.tags)));
        set(
            "allow_unknown_task",
            self.allow_unknown_task.then(|| true.into()),
        );
        let json = |flag, text: &Option<String>| {
            text.as_ref().map(|text| read_json(flag, text)).transpose()
        };
        set("args", json("--args", &self.args)?);
        set("kwargs", json("--kwargs", &self.kwargs)?);
        set("trigger", self.when.checked()?.map(Value::Object));
        let grace = self.misfire_grace_time.as_ref();
        set(
            "misfire_grace_time",
            grace
                .map(|text| limit("--misfire-grace-time", text))
                .transpose()?,
        );
        let timeout = self.timeout.as_ref();
        set(
            "timeout",
            timeout.map(|text| limit("--timeout", text)).transpose()?,
        );
        set(
            "retry",
            self.retry.as_ref().map(|text| retry(text)).transpose()?,
        );
        Ok(body)
    }
}

/// A job to add.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Its id; random unless given
    #[arg(long)]
    id: Option<String>,
    /// The task it calls: log, http, command
    #[arg(long)]
    task: String,
    #[command(flatten)]
    job: JobFlags,
    /// Take the place of a job with the same id
    #[arg(long, help_heading = "Options")]
    replace: bool,
    /// Add it paused
    #[arg(long, help_heading = "Options")]
    paused: bool,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// A job to change. What is not given stays.
#[derive(Debug, Args)]
pub(crate) struct ModifyArgs {
    /// The job
    id: String,
    /// Another task
    #[arg(long)]
    task: Option<String>,
    #[command(flatten)]
    job: JobFlags,
    /// Only if nobody has changed it since it had this revision
    #[arg(long, help_heading = "Options")]
    revision: Option<u64>,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// Jobs to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those with this text in id, name or task
    #[arg(long)]
    text: Option<String>,
    /// Only those with this tag; may be given again
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only paused ones (true) or others (false)
    #[arg(long, value_name = "BOOL")]
    paused: Option<bool>,
    /// Only those of this task
    #[arg(long)]
    task: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<u32>,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// One job.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job
    id: String,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// A job to pause.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// The job
    id: String,
    /// Why
    #[arg(long)]
    note: Option<String>,
    /// Who says so
    #[arg(long)]
    by: Option<String>,
    /// Until this date, and then on by itself
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// A job to run now.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The job
    id: String,
    /// Wait until the run has ended; the command fails where the run does
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// Runs to list.
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Of this job, gone or not
    id: Option<String>,
    /// In this state: pending, running, succeeded, failed, timed_out, cancelled, lost or skipped
    #[arg(long)]
    state: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// A run to stop.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The run, as `runs` shows it
    run: String,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// A server to look at.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

fn job_path(id: &str, action: &str) -> Outcome<String> {
    if id.is_empty() {
        return Err(Failure::usage("the id of a job is not empty"));
    }
    Ok(format!("/jobs/{}{action}", encode(id)))
}

fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs.iter().filter_map(|(key, value)| {
        let value = value.as_ref()?;
        Some(format!("{key}={}", encode(value)))
    });
    let joined = given.collect::<Vec<_>>().join("&");
    if joined.is_empty() {
        joined
    } else {
        format!("?{joined}")
    }
}

/// Prints an answer: as it came with `--json`, else as `readable` puts it.
fn print(flags: &ServerFlags, answer: &Value, readable: impl FnOnce(&Value) -> String) -> Outcome {
    if flags.json {
        output::json(answer)
    } else {
        output::line(readable(answer))
    }
}

fn warn(answer: &Value) {
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        let text = warning.as_str().unwrap_or_default();
        output::tell(format_args!("warning: {}", table::harmless(text)));
    }
}

pub(crate) async fn add(args: &AddArgs) -> Outcome {
    let mut body = args.job.body()?;
    body.insert("func".to_owned(), args.task.as_str().into());
    if let Some(id) = &args.id {
        body.insert("id".to_owned(), id.as_str().into());
    }
    if args.replace {
        body.insert("replace_existing".to_owned(), true.into());
    }
    if args.paused {
        body.insert("paused".to_owned(), true.into());
    }
    let client = Client::new(&args.server)?;
    let answer = client
        .ask(Method::POST, "/jobs", Some(&Value::Object(body)))
        .await?;
    warn(&answer);
    print(&args.server, &answer, |job| show::sentence("added", job))
}

pub(crate) async fn modify(args: &ModifyArgs) -> Outcome {
    let mut body = args.job.body()?;
    if let Some(task) = &args.task {
        body.insert("func".to_owned(), task.as_str().into());
    }
    if body.is_empty() {
        return Err(Failure::usage("nothing to change was given"));
    }
    if let Some(revision) = args.revision {
        body.insert("revision".to_owned(), revision.into());
    }
    let client = Client::new(&args.server)?;
    let path = job_path(&args.id, "")?;
    let answer = client
        .ask(Method::PATCH, &path, Some(&Value::Object(body)))
        .await?;
    warn(&answer);
    print(&args.server, &answer, |job| show::sentence("modified", job))
}

pub(crate) async fn list(args: &ListArgs) -> Outcome {
    let mut pairs = vec![
        ("text", args.text.clone()),
        ("paused", args.paused.map(|paused| paused.to_string())),
        ("task", args.task.clone()),
        ("limit", args.limit.map(|limit| limit.to_string())),
    ];
    pairs.extend(args.tags.iter().map(|tag| ("tag", Some(tag.clone()))));
    let client = Client::new(&args.server)?;
    let answer = client
        .ask(Method::GET, &format!("/jobs{}", query(&pairs)), None)
        .await?;
    print(&args.server, &answer, show::jobs)
}

pub(crate) async fn show(args: &JobArgs) -> Outcome {
    let client = Client::new(&args.server)?;
    let answer = client
        .ask(Method::GET, &job_path(&args.id, "")?, None)
        .await?;
    print(&args.server, &answer, show::job)
}

pub(crate) async fn pause(args: &PauseArgs) -> Outcome {
    let mut body = Map::new();
    for (key, text) in [
        ("note", &args.note),
        ("by", &args.by),
        ("until", &args.until),
    ] {
        if let Some(text) = text {
            body.insert(key.to_owned(), text.as_str().into());
        }
    }
    let client = Client::new(&args.server)?;
    let path = job_path(&args.id, "/pause")?;
    let answer = client
        .ask(Method::POST, &path, Some(&Value::Object(body)))
        .await?;
    print(&args.server, &answer, |job| show::sentence("paused", job))
}

pub(crate) async fn resume(args: &JobArgs) -> Outcome {
    let client = Client::new(&args.server)?;
    let path = job_path(&args.id, "/resume")?;
    let answer = client.ask(Method::POST, &path, None).await?;
    print(&args.server, &answer, |job| {
        if job.is_null() {
            return format!(
                "resumed {}: nothing was left to run, so it is gone",
                args.id
            );
        }
        show::sentence("resumed", job)
    })
}

pub(crate) async fn remove(args: &JobArgs) -> Outcome {
    let client = Client::new(&args.server)?;
    let answer = client
        .ask(Method::DELETE, &job_path(&args.id, "")?, None)
        .await?;
    print(&args.server, &answer, |_| format!("removed {}", args.id))
}

pub(crate) async fn run(args: &RunArgs) -> Outcome {
    let client = Client::new(&args.server)?;
    let path = job_path(&args.id, "/run")?;
    let answer = client.ask(Method::POST, &path, None).await?;
    if !args.wait {
        return print(&args.server, &answer, |job| show::run_sentence(&job["run"]));
    }
    let id = answer["run"]["id"].as_str().unwrap_or_default().to_owned();
    let mut told = false;
    let ended = loop {
        let run = client
            .ask(Method::GET, &format!("/runs/{}", encode(&id)), None)
            .await?;
        if !matches!(run["state"].as_str(), Some("pending" | "running")) {
            break run;
        }
        if run["reason"] == "paused" && !told {
            told = true;
            output::tell(format_args!(
                "run {id} is held back, for {} is paused; it starts when that is resumed",
                if answer["paused"].is_null() {
                    "the scheduler"
                } else {
                    "the job"
                },
            ));
        }
        tokio::time::sleep(POLL).await;
    };
    print(&args.server, &ended, show::run)?;
    match ended["state"].as_str() {
        Some("succeeded") => Ok(()),
        state => Err(Failure::plain(format!(
            "the run ended {}",
            state.unwrap_or("in an unknown state")
        ))),
    }
}

pub(crate) async fn runs(args: &RunsArgs) -> Outcome {
    let pairs = [
        ("state", args.state.clone()),
        ("limit", Some(args.limit.to_string())),
    ];
    let path = match &args.id {
        Some(id) => job_path(id, "/runs")?,
        None => "/runs".to_owned(),
    };
    let client = Client::new(&args.server)?;
    let answer = client
        .ask(Method::GET, &format!("{path}{}", query(&pairs)), None)
        .await?;
    print(&args.server, &answer, show::runs)
}

pub(crate) async fn cancel(args: &CancelArgs) -> Outcome {
    let client = Client::new(&args.server)?;
    let path = format!("/runs/{}/cancel", encode(&args.run));
    let answer = client.ask(Method::POST, &path, None).await?;
    print(&args.server, &answer, show::run_sentence)
}

pub(crate) async fn status(args: &StatusArgs) -> Outcome {
    let client = Client::new(&args.server)?;
    let answer = client.ask(Method::GET, "", None).await?;
    print(&args.server, &answer, show::details)
}
