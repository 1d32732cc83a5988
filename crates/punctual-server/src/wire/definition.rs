//! What people send to add or change a job.

use std::time::Duration;

use jiff::Timestamp;
use punctual_core::job::{Coalesce, OnCrash, Overlap, Retry};
use punctual_core::scheduler::{JobUpdate, NewJob};
use punctual_core::zones::Zones;
use punctual_trigger::Trigger;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::trigger;
use crate::fields::Fields;
use crate::problem::{Answer, Problem};

/// Fields that answers have and requests do not take.
const READ_ONLY: &[&str] = &[
    "state",
    "created_at",
    "updated_at",
    "description",
    "no_node_has_task",
    "warnings",
    "error",
    "run",
    "stored",
];
/// Fields of adding and changing alike, beside those of the trigger.
const COMMON: &[&str] = &[
    "id",
    "name",
    "func",
    "task",
    "args",
    "kwargs",
    "trigger",
    "executor",
    "tags",
    "max_instances",
    "coalesce",
    "misfire_grace_time",
    "overlap",
    "retry",
    "timeout",
    "on_crash",
    "next_run_time",
    "allow_unknown_task",
];
/// Fields of adding alone.
const ADDING: &[&str] = &["jobstore", "replace_existing", "paused"];

/// When a job runs next, where the request says so.
#[derive(Debug)]
enum NextRun {
    Unsaid,
    /// `null`: it is paused.
    Never,
    At(Timestamp),
}

/// The fields that adding and changing have in common.
#[derive(Debug)]
#[expect(
    clippy::option_option,
    reason = "absent, and present as nothing, are two things"
)]
struct Common {
    name: Option<String>,
    task: Option<String>,
    args: Option<Vec<Value>>,
    kwargs: Option<Map<String, Value>>,
    trigger: Option<Trigger>,
    executor: Option<String>,
    tags: Option<Vec<String>>,
    max_instances: Option<u32>,
    coalesce: Option<bool>,
    misfire_grace_time: Option<Option<Duration>>,
    overlap: Option<Overlap>,
    retry: Option<Option<Retry>>,
    timeout: Option<Option<Duration>>,
    on_crash: Option<OnCrash>,
    next_run: NextRun,
    allow_unknown_task: bool,
}

fn task(fields: &mut Fields) -> Answer<Option<String>> {
    match (fields.text("func")?, fields.text("task")?) {
        (Some(func), Some(task)) if func != task => Err(Problem::invalid(
            "task",
            format!("is {task:?} but func is {func:?}; give one of them"),
        )),
        (func, task) => Ok(func.or(task)),
    }
}

#[expect(
    clippy::option_option,
    reason = "absent, and present as nothing, are two things"
)]
fn retry(fields: &mut Fields) -> Answer<Option<Option<Retry>>> {
    match fields.take("retry") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => Retry::deserialize(value)
            .map(|retry| Some(Some(retry)))
            .map_err(|error| Problem::invalid("retry", error)),
    }
}

fn next_run(fields: &mut Fields, trigger: Option<&Trigger>, zones: &Zones) -> Answer<NextRun> {
    match fields.take("next_run_time") {
        None => Ok(NextRun::Unsaid),
        Some(Value::Null) => Ok(NextRun::Never),
        Some(Value::String(text)) => {
            let zone = trigger
                .and_then(Trigger::timezone)
                .unwrap_or(zones.default_zone());
            trigger::moment("next_run_time", &text, zone, zones).map(NextRun::At)
        }
        Some(_) => Err(Problem::invalid(
            "next_run_time",
            "takes a date such as \"2026-08-12 09:30:00\", or null for a paused job",
        )),
    }
}

fn common(fields: &mut Fields, zones: &Zones) -> Answer<Common> {
    let trigger = trigger::take(fields)?;
    Ok(Common {
        name: fields.text("name")?,
        task: task(fields)?,
        args: fields.list("args")?,
        kwargs: fields.object("kwargs")?,
        executor: fields.text("executor")?,
        tags: fields.texts("tags")?,
        max_instances: fields.count("max_instances")?,
        coalesce: fields.flag("coalesce")?,
        misfire_grace_time: fields.seconds("misfire_grace_time")?,
        overlap: fields.word(
            "overlap",
            &[
                ("skip", Overlap::Skip),
                ("queue_one", Overlap::QueueOne),
                ("cancel_running", Overlap::CancelRunning),
            ],
        )?,
        retry: retry(fields)?,
        timeout: fields.seconds("timeout")?,
        on_crash: fields.word(
            "on_crash",
            &[("rerun", OnCrash::Rerun), ("give_up", OnCrash::GiveUp)],
        )?,
        next_run: next_run(fields, trigger.as_ref(), zones)?,
        allow_unknown_task: fields.flag("allow_unknown_task")?.unwrap_or(false),
        trigger,
    })
}

/// Sets what `NewJob` and `JobUpdate` have in common, by the setters they share.
macro_rules! apply {
    ($common:ident, $target:ident) => {
        if let Some(name) = $common.name {
            $target = $target.name(name);
        }
        if let Some(args) = $common.args {
            $target = $target.args(args);
        }
        if let Some(kwargs) = $common.kwargs {
            $target = $target.kwargs(kwargs);
        }
        if let Some(trigger) = $common.trigger {
            $target = $target.trigger(trigger);
        }
        if let Some(executor) = $common.executor {
            $target = $target.executor(executor);
        }
        if let Some(max) = $common.max_instances {
            $target = $target.max_instances(max);
        }
        if let Some(coalesce) = $common.coalesce {
            $target = $target.coalesce(if coalesce {
                Coalesce::Latest
            } else {
                Coalesce::Off
            });
        }
        if let Some(grace) = $common.misfire_grace_time {
            $target = $target.misfire_grace_time(grace);
        }
        if let Some(overlap) = $common.overlap {
            $target = $target.overlap(overlap);
        }
        if let Some(retry) = $common.retry {
            $target = $target.retry(retry);
        }
        if let Some(timeout) = $common.timeout {
            $target = $target.timeout(timeout);
        }
        if let Some(on_crash) = $common.on_crash {
            $target = $target.on_crash(on_crash);
        }
        if $common.allow_unknown_task {
            $target = $target.allow_unknown_task();
        }
        if let NextRun::At(at) = $common.next_run {
            $target = $target.next_run_time(at);
        }
    };
}

/// Reads the body of `POST /jobs`.
pub(crate) fn new_job(body: Value, zones: &Zones) -> Answer<NewJob> {
    let mut fields = Fields::new(body)?;
    let known = [COMMON, ADDING, trigger::KEYS].concat();
    fields.only(&known, &[READ_ONLY, &["revision"]].concat())?;
    let common = common(&mut fields, zones)?;
    let id = fields.text("id")?;
    let job_store = fields.text("jobstore")?;
    let replace = fields.flag("replace_existing")?.unwrap_or(false);
    let paused = fields.flag("paused")?.unwrap_or(false);
    let Some(task) = common.task else {
        return Err(Problem::invalid(
            "func",
            "is missing; it takes the name of a task, such as \"log\"",
        ));
    };
    let mut job = NewJob::new(task);
    apply!(common, job);
    if let Some(id) = id {
        job = job.id(id);
    }
    if let Some(job_store) = job_store {
        job = job.job_store(job_store);
    }
    for tag in common.tags.unwrap_or_default() {
        job = job.tag(tag);
    }
    if replace {
        job = job.replace_existing();
    }
    match common.next_run {
        NextRun::At(_) if paused => {
            let message = "a job is paused, or has a next_run_time; give one of them";
            return Err(Problem::invalid("paused", message));
        }
        NextRun::Never => job = job.paused(),
        _ if paused => job = job.paused(),
        _ => {}
    }
    Ok(job)
}

/// A change, and whether the job is paused with it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) update: JobUpdate,
    pub(crate) pause: bool,
}

/// Reads the body of `PATCH /jobs/{id}`.
pub(crate) fn update(body: Value, id: &str, zones: &Zones) -> Answer<Change> {
    let mut fields = Fields::new(body)?;
    let known = [COMMON, &["revision"], trigger::KEYS].concat();
    fields.only(&known, &[READ_ONLY, ADDING].concat())?;
    if !fields.has("trigger")
        && let Some(key) = trigger::KEYS.iter().find(|key| fields.has(key))
    {
        let message = "is a parameter of a trigger; give the whole trigger, such as \"trigger\": \"cron\", beside it";
        return Err(Problem::invalid(*key, message));
    }
    let common = common(&mut fields, zones)?;
    if fields.text("id")?.is_some_and(|other| other != id) {
        let message = "the id of a job stays; remove the job and add another";
        return Err(Problem::invalid("id", message));
    }
    let revision = fields.whole("revision", u64::MAX)?;
    let mut update = JobUpdate::new();
    apply!(common, update);
    if let Some(task) = common.task {
        update = update.task(task);
    }
    if let Some(tags) = common.tags {
        update = update.tags(tags);
    }
    if let Some(revision) = revision {
        update = update.expected_revision(revision);
    }
    Ok(Change {
        update,
        pause: matches!(common.next_run, NextRun::Never),
    })
}
