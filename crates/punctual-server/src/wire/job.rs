//! Job JSON: Flask-APScheduler's keys, and ours beside them.

use std::collections::BTreeSet;

use punctual_core::document::seconds;
use punctual_core::job::{Coalesce, Job, Phase, StoredJob, UnreadableJob};
use punctual_core::zones::Zones;
use serde_json::{Map, Value, json};

use super::{iso, trigger, utc};

/// What a job's JSON says beyond the job.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// The alias of its store.
    pub(crate) job_store: &'a str,
    /// The tasks that some live node has.
    pub(crate) tasks: &'a BTreeSet<String>,
    /// Where the offsets of dates come from.
    pub(crate) zones: &'a Zones,
}

/// A job, readable or not.
pub(crate) fn stored(stored: &StoredJob, around: &Surroundings<'_>) -> Value {
    match stored {
        StoredJob::Job(job) => readable(job, around),
        StoredJob::Unreadable(job) => unreadable(job, around),
    }
}

fn unreadable(job: &UnreadableJob, around: &Surroundings<'_>) -> Value {
    json!({
        "id": job.id.as_str(),
        "name": job.id.as_str(),
        "func": null,
        "args": [],
        "kwargs": {},
        "trigger": null,
        "next_run_time": null,
        "jobstore": around.job_store,
        "error": format!("cannot be read back: {}", job.error),
        "stored": job.stored,
    })
}

/// A job.
pub(crate) fn readable(job: &Job, around: &Surroundings<'_>) -> Value {
    let Job { definition, state } = job;
    let policy = &definition.policy;
    let zoned = |time| iso(&definition.schedule.0.zoned(time));
    let mut map: Map<String, Value> = trigger::inline(&definition.trigger, around.zones);
    let own = json!({
        "id": definition.id.as_str(),
        "name": definition.name(),
        "func": definition.task.as_str(),
        "args": definition.args.args,
        "kwargs": definition.args.kwargs,
        "misfire_grace_time": policy.misfire_grace_time.map(seconds::to_number),
        "max_instances": policy.max_instances,
        "next_run_time": job.next_run_time().map(zoned),
        "coalesce": policy.coalesce == Coalesce::Latest,
        "executor": definition.executor.as_str(),
        "jobstore": around.job_store,
        "tags": definition.tags,
        "overlap": policy.overlap,
        "retry": policy.retry,
        "timeout": policy.timeout.map(seconds::to_number),
        "on_crash": policy.on_crash,
        "paused": state.paused.as_ref().map(|paused| json!({
            "at": utc(paused.at),
            "by": paused.by,
            "note": paused.note,
            "until": paused.until.map(utc),
        })),
        "state": match state.phase { Phase::Active => "active", Phase::Finishing => "finishing" },
        "revision": state.revision,
        "created_at": utc(definition.created_at),
        "updated_at": utc(definition.updated_at),
        "description": definition.trigger.describe(),
    });
    if let Value::Object(own) = own {
        map.extend(own);
    }
    if !around.tasks.contains(definition.task.as_str()) {
        map.insert("no_node_has_task".to_owned(), true.into());
    }
    Value::Object(map)
}
