//! From what people give to what a store takes: checking, filling in, compiling.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::Trigger;
use serde::{Deserialize, Serialize};

use super::error::{Error, nearest, nearest_or_all};
use super::new_job::{JobUpdate, NewJob};
use super::shared::{Attached, Shared};
use crate::clock::{later, whole_micros};
use crate::closure::{CLOSURE_STORE, CLOSURE_TASK, RESERVED};
use crate::decide::CATCH_UP_WINDOW;
use crate::id::{ExecutorName, JobId, TaskName};
use crate::job::{
    Coalesce, CompiledSchedule, JobArgs, JobDefinition, Policy, RETRY_ATTEMPTS, Retry,
};
use crate::plan::{Addition, FirstRun, JobPatch, PolicyPatch, ReadyTrigger};
use crate::store::{NODES_NAMESPACE, Record};

/// What a node says of itself in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The tasks it has.
    pub tasks: Vec<String>,
    /// Its executors.
    pub executors: Vec<String>,
    /// When it last said so, by the store's time.
    pub seen_at: Timestamp,
    /// When it began.
    pub started_at: Timestamp,
    /// Its lease, in milliseconds: seen longer ago, it may be gone.
    pub lease_ms: u64,
    /// Its version.
    pub version: String,
}

impl NodeRecord {
    pub(crate) fn parse(record: &Record) -> Option<Self> {
        Self::deserialize(&record.value).ok()
    }

    /// Whether it was seen within its lease.
    pub fn is_live(&self, now: Timestamp) -> bool {
        later(self.seen_at, Duration::from_millis(self.lease_ms)) >= now
    }
}

/// A job that is ready to be stored, and what its owner should know.
pub(super) struct Prepared {
    pub(super) addition: Addition,
    pub(super) warnings: Vec<String>,
}

pub(super) async fn new_job(
    shared: &Shared,
    attached: &Attached,
    new: NewJob,
) -> Result<Prepared, Error> {
    let now = whole_micros(shared.deadline(attached.store.now()).await?);
    let NewJob {
        task,
        id,
        name,
        args,
        kwargs,
        trigger,
        executor,
        job_store: _,
        policy,
        tags,
        ..
    } = new;
    let id = id.map_or_else(|| Ok(JobId::random()), JobId::new)?;
    if let Some(reason) = new.args_error {
        return Err(Error::invalid("kwargs", reason));
    }
    let task = checked_name_of_task(task, attached)?;
    let args = JobArgs { args, kwargs };
    let executor = executor.map_or_else(|| Ok(ExecutorName::default()), ExecutorName::new)?;
    let policy = checked_policy(policy, shared.settings.job_defaults.over(Policy::default()))?;
    let given_name = checked_name(name)?;
    let tags = checked_tags(tags)?;
    check_task(
        shared,
        attached,
        &task,
        &args,
        &executor,
        now,
        new.allow_unknown_task,
    )
    .await?;

    let now_trigger = || Trigger::date(now);
    let declared = trigger.unwrap_or_else(now_trigger);
    let ready = ready_trigger(shared, &declared, now)?;
    let mut warnings = Vec::new();
    if matches!(new.first_run, FirstRun::ByTrigger) {
        check_runs(shared, &id, &ready, now)?;
        if ready.trigger.kind() == "date"
            && let Ok(Some(past)) = ready.schedule.last_at_or_before(now)
            && past < now
        {
            if new.is_declared && shared.deadline(attached.store.get(&id)).await?.is_none() {
                let reason = format!("its date, {past}, has passed");
                return Err(Error::NeverRuns { id, reason });
            }
            let is_within =
                |span: Option<Duration>| span.is_none_or(|span| later(past, span) >= now);
            let window = (policy.coalesce == Coalesce::Off).then_some(CATCH_UP_WINDOW);
            warnings.push(if !is_within(policy.misfire_grace_time) {
                format!(
                    "run_date {past} has passed by more than misfire_grace_time; it will be skipped"
                )
            } else if is_within(window) {
                format!("run_date {past} has passed; the job runs now")
            } else {
                format!(
                    "run_date {past} has passed by more than 24 h; without coalesce it will be skipped"
                )
            });
        }
    }
    let definition = JobDefinition {
        id,
        given_name,
        task,
        args: args.shared(),
        trigger: ready.trigger,
        declared: ready.declared,
        executor,
        policy: policy.shared(),
        tags,
        created_at: now,
        updated_at: now,
        schedule: CompiledSchedule(ready.schedule),
    };
    let first_run = match new.first_run {
        FirstRun::At(at) => FirstRun::At(whole_micros(at)),
        other => other,
    };
    Ok(Prepared {
        addition: Addition {
            definition,
            first_run,
            on_conflict: new.on_conflict,
        },
        warnings,
    })
}

pub(super) async fn patch(
    shared: &Shared,
    attached: &Attached,
    id: &JobId,
    current: &JobDefinition,
    update: JobUpdate,
) -> Result<JobPatch, Error> {
    let now = whole_micros(shared.deadline(attached.store.now()).await?);
    let JobUpdate {
        name,
        task,
        args,
        kwargs,
        trigger,
        executor,
        policy,
        tags,
        next_run_time,
        ..
    } = update;
    if let Some(reason) = update.args_error {
        return Err(Error::invalid("kwargs", reason));
    }
    if current.task.as_str() == CLOSURE_TASK
        && (task.is_some() || args.is_some() || kwargs.is_some())
    {
        let message = "is a closure's: remove the job, and add another closure";
        return Err(Error::invalid("task", message));
    }
    let task = task
        .map(|task| checked_name_of_task(task, attached))
        .transpose()?;
    let executor = executor.map(ExecutorName::new).transpose()?;
    checked_policy(policy, *current.policy)?;
    if task.is_some() || executor.is_some() || args.is_some() || kwargs.is_some() {
        let all = JobArgs {
            args: args.clone().unwrap_or_else(|| current.args.args.clone()),
            kwargs: kwargs
                .clone()
                .unwrap_or_else(|| current.args.kwargs.clone()),
        };
        let task = task.as_ref().unwrap_or(&current.task);
        let executor = executor.as_ref().unwrap_or(&current.executor);
        // A job whose task nobody has may still be renamed or given other arguments.
        let is_where_it_was = *task == current.task && *executor == current.executor;
        let allow = update.allow_unknown_task || is_where_it_was;
        check_task(shared, attached, task, &all, executor, now, allow).await?;
    }
    let trigger = trigger
        .map(|trigger| ready_trigger(shared, &trigger, now))
        .transpose()?;
    if let Some(ready) = &trigger
        && next_run_time.is_none()
        && ready.trigger != current.trigger
    {
        check_runs(shared, id, ready, now)?;
    }
    Ok(JobPatch {
        name: checked_name(name)?,
        task,
        args,
        kwargs,
        trigger,
        executor,
        policy,
        tags: tags.map(checked_tags).transpose()?,
        next_run_time: next_run_time.map(whole_micros),
    })
}

pub(super) fn ready_trigger(
    shared: &Shared,
    declared: &Trigger,
    now: Timestamp,
) -> Result<ReadyTrigger, Error> {
    let zones = &shared.zones;
    let trigger = declared.resolve(now, zones.default_zone(), zones.db())?;
    let schedule = trigger.compile(zones.db())?;
    let declared = (trigger != *declared).then(|| Box::new(declared.clone()));
    Ok(ReadyTrigger {
        trigger,
        declared,
        schedule,
    })
}

fn check_runs(
    shared: &Shared,
    id: &JobId,
    ready: &ReadyTrigger,
    now: Timestamp,
) -> Result<(), Error> {
    let never = |reason| {
        Err(Error::NeverRuns {
            id: id.clone(),
            reason,
        })
    };
    if ready.trigger.kind() == "date" {
        return Ok(()); // a past date is judged once, by its misfire grace time
    }
    match ready.schedule.next_at_or_after(now) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => never(
            ready
                .trigger
                .never_fires_reason(now, shared.zones.db())
                .unwrap_or_else(|| "its trigger has ended".to_owned()),
        ),
        Err(limit) => never(limit.to_string()),
    }
}

/// Closures are called by the jobs of their own store only.
fn checked_name_of_task(task: String, attached: &Attached) -> Result<TaskName, Error> {
    if &*attached.alias == CLOSURE_STORE && task != CLOSURE_TASK {
        let message =
            format!("{CLOSURE_STORE:?} has the jobs that call closures; choose another job store");
        return Err(Error::invalid("jobstore", message));
    }
    if task.starts_with(RESERVED) && &*attached.alias != CLOSURE_STORE {
        let message = format!(
            "{task:?} begins with \"punctual:\", which is reserved; a closure is added by add_local"
        );
        return Err(Error::invalid("task", message));
    }
    Ok(TaskName::new(task)?)
}

fn checked_policy(patch: PolicyPatch, over: Policy) -> Result<Policy, Error> {
    let policy = patch.over(over);
    if let Some(Retry { attempts, .. }) = policy.retry
        && !RETRY_ATTEMPTS.contains(&attempts)
    {
        let (least, most) = RETRY_ATTEMPTS.into_inner();
        let message =
            format!("attempts is {attempts}; it is {least} to {most}, the first included");
        return Err(Error::invalid("retry", message));
    }
    if policy.max_instances == 0 {
        return Err(Error::invalid(
            "max_instances",
            "0 would never run; it takes 1 or more",
        ));
    }
    if policy.misfire_grace_time == Some(Duration::ZERO) {
        let message =
            "0 would skip every run; give a number of seconds above 0, or null for however late";
        return Err(Error::invalid("misfire_grace_time", message));
    }
    if policy.timeout == Some(Duration::ZERO) {
        return Err(Error::invalid(
            "timeout",
            "0 would end every run; give a number of seconds above 0, or null",
        ));
    }
    Ok(policy)
}

fn checked_name(name: Option<String>) -> Result<Option<Box<str>>, Error> {
    match name {
        Some(name) if name.is_empty() => Err(Error::invalid(
            "name",
            "is empty; leave it out to have the id as name",
        )),
        Some(name) if name.chars().count() > 500 => {
            Err(Error::invalid("name", "has more than 500 characters"))
        }
        name => Ok(name.map(Into::into)),
    }
}

fn checked_tags(mut tags: Vec<String>) -> Result<Box<[Box<str>]>, Error> {
    if let Some(bad) = tags
        .iter()
        .find(|tag| tag.is_empty() || tag.chars().count() > 100)
    {
        return Err(Error::invalid(
            "tags",
            format!("{bad:?} is not 1 to 100 characters long"),
        ));
    }
    tags.sort_unstable();
    tags.dedup();
    Ok(tags.into_iter().map(Into::into).collect())
}

async fn check_task(
    shared: &Shared,
    attached: &Attached,
    task: &TaskName,
    args: &JobArgs,
    executor: &ExecutorName,
    now: Timestamp,
    allow_unknown: bool,
) -> Result<(), Error> {
    let checked = shared.check_args(task, executor, args).transpose();
    let is_here = checked
        .map_err(|error| Error::invalid(error.field, error.message))?
        .is_some();
    let executors = shared.executor_names();
    if allow_unknown || is_here && executors.contains(executor) {
        return Ok(());
    }
    let records = shared
        .deadline(attached.store.records(NODES_NAMESPACE))
        .await?;
    let nodes: Vec<_> = records
        .iter()
        .filter_map(NodeRecord::parse)
        .filter(|node| node.is_live(now))
        .collect();
    let has_task = |node: &NodeRecord| node.tasks.iter().any(|name| name == task.as_str());
    let has_executor =
        |node: &NodeRecord| node.executors.iter().any(|name| name == executor.as_str());
    if nodes
        .iter()
        .any(|node| has_task(node) && has_executor(node))
    {
        return Ok(());
    }
    if !is_here && !nodes.iter().any(has_task) {
        let names = shared.tasks();
        let known = names.iter().map(TaskName::as_str);
        let known = known.chain(
            nodes
                .iter()
                .flat_map(|node| node.tasks.iter().map(String::as_str)),
        );
        return Err(Error::UnknownTask {
            task: task.clone(),
            nearest: nearest(task.as_str(), known),
        });
    }
    // Also those of the nodes that have the task.
    let there = nodes.iter().filter(|node| has_task(node));
    let there = there.flat_map(|node| node.executors.iter().map(String::as_str));
    let known = executors.iter().map(ExecutorName::as_str).chain(there);
    let known: BTreeSet<&str> = known.collect();
    Err(Error::UnknownExecutor {
        alias: executor.to_string(),
        likely: nearest_or_all(executor.as_str(), known.iter().copied()),
    })
}
