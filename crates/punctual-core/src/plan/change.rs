//! Changes of a job that is there: editing, pausing, resuming.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::{Schedule, Trigger};

use super::{Draft, MICRO, Moment, Plan};
use crate::clock::{earlier, later};
use crate::decide::{JobView, next_due, overdue};
use crate::id::{ExecutorName, JobKey, TaskName};
use crate::job::{
    CompiledSchedule, JobArgs, JobDefinition, JobState, OnCrash, Paused, Phase, Policy,
};
use crate::run::Reason;

/// A trigger that was checked, fixed and compiled.
#[derive(Clone, Debug)]
pub struct ReadyTrigger {
    /// With start and zone fixed.
    pub trigger: Trigger,
    /// As it was given, where that differs.
    pub declared: Option<Box<Trigger>>,
    /// Compiled.
    pub schedule: Schedule,
}

/// What may be changed of a job; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct JobPatch {
    /// The name for people.
    pub name: Option<Box<str>>,
    /// The task.
    pub task: Option<TaskName>,
    /// Positional arguments.
    pub args: Option<Vec<serde_json::Value>>,
    /// Arguments by name.
    pub kwargs: Option<serde_json::Map<String, serde_json::Value>>,
    /// The trigger. Given as it was before, cursor and phase stay; else it starts from now.
    pub trigger: Option<ReadyTrigger>,
    /// The executor.
    pub executor: Option<ExecutorName>,
    /// How occurrences are treated, field by field.
    pub policy: PolicyPatch,
    /// Labels.
    pub tags: Option<Box<[Box<str>]>>,
    /// When it runs next: the trigger goes on from there.
    pub next_run_time: Option<Timestamp>,
}

/// What may be changed of a [`Policy`]. `Some(None)` takes the limit away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Policy")]
pub struct PolicyPatch {
    pub misfire_grace_time: Option<Option<Duration>>,
    pub coalesce: Option<crate::job::Coalesce>,
    pub max_instances: Option<u32>,
    pub overlap: Option<crate::job::Overlap>,
    pub retry: Option<Option<crate::job::Retry>>,
    pub timeout: Option<Option<Duration>>,
    pub on_crash: Option<OnCrash>,
}

impl PolicyPatch {
    /// `policy` with the given fields changed.
    pub fn over(&self, policy: Policy) -> Policy {
        Policy {
            misfire_grace_time: self.misfire_grace_time.unwrap_or(policy.misfire_grace_time),
            coalesce: self.coalesce.unwrap_or(policy.coalesce),
            max_instances: self.max_instances.unwrap_or(policy.max_instances),
            overlap: self.overlap.unwrap_or(policy.overlap),
            retry: self.retry.unwrap_or(policy.retry),
            timeout: self.timeout.unwrap_or(policy.timeout),
            on_crash: self.on_crash.unwrap_or(policy.on_crash),
        }
    }
}

/// A change of a job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum JobChange {
    /// Of its definition.
    Modify(Box<JobPatch>),
    /// No run of it starts from now on. A second pause replaces who, why and until; since when stays.
    Pause(PauseRequest),
    /// It goes on from now. What was due meanwhile is left as one row (`paused`). Nothing where it is not paused.
    Resume,
    /// Its due time is computed anew from its cursor, for the zone data has changed.
    Recompute(Schedule),
}

/// Who pauses a job, why and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PauseRequest {
    /// By whom.
    pub by: Option<String>,
    /// Why.
    pub note: Option<String>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// Applies `change`. The plan's state is `None` where nothing is left to run (a resumed job whose time has passed).
pub fn update(
    view: JobView<'_>,
    change: JobChange,
    moment: Moment<'_>,
) -> (Arc<JobDefinition>, Plan) {
    let mut definition = Arc::new(view.definition.clone());
    let mut draft = Draft::new(view);
    match change {
        JobChange::Modify(patch) => {
            let changed = Arc::make_mut(&mut definition);
            modify(changed, &mut draft, *patch, moment.now);
            draft.state.revision += 1;
        }
        JobChange::Pause(request) => {
            let at = draft
                .state
                .paused
                .as_ref()
                .map_or(moment.now, |paused| paused.at);
            let PauseRequest { by, note, until } = request;
            draft.state.paused = Some(Box::new(Paused {
                at,
                by,
                note,
                until,
            }));
        }
        JobChange::Resume => end_pause(&definition, &mut draft, moment),
        JobChange::Recompute(schedule) => {
            Arc::make_mut(&mut definition).schedule = CompiledSchedule(schedule);
            refresh_due(&definition, &mut draft.state);
        }
    }
    let plan = draft.settle(&definition);
    (definition, plan)
}

fn modify(definition: &mut JobDefinition, draft: &mut Draft<'_>, patch: JobPatch, now: Timestamp) {
    let JobPatch {
        name,
        task,
        args,
        kwargs,
        trigger,
        executor,
        policy,
        tags,
        next_run_time,
    } = patch;
    if name.is_some() {
        definition.given_name = name;
    }
    definition.task = task.unwrap_or_else(|| definition.task.clone());
    if args.is_some() || kwargs.is_some() {
        let mut changed = JobArgs::clone(&definition.args);
        changed.args = args.unwrap_or(changed.args);
        changed.kwargs = kwargs.unwrap_or(changed.kwargs);
        definition.args = changed.shared();
    }
    definition.executor = executor.unwrap_or_else(|| definition.executor.clone());
    definition.policy = policy.over(*definition.policy).shared();
    definition.tags = tags.unwrap_or_else(|| std::mem::take(&mut definition.tags));
    definition.updated_at = now;
    let decided = decided_until(&draft.state, now);
    if let Some(ready) = trigger.filter(|ready| !same_trigger(definition, ready)) {
        set_trigger(definition, ready);
        let start = start_cursor(definition, now);
        if start < decided && (definition.trigger.kind() == "date" || decided > now) {
            // It is to run at moments that may be decided already, for a date may lie in the past, and a wall clock
            // may have been set back: in another life.
            draft.state.key = JobKey::random();
            draft.state.cursor = start;
        } else {
            draft.state.cursor = start.max(decided);
        }
        draft.state.extra = None;
        draft.state.phase = Phase::Active;
        refresh_due(definition, &mut draft.state);
    }
    if let Some(at) = next_run_time {
        run_next_at(&mut draft.state, at, decided, now);
        draft.state.phase = Phase::Active;
        refresh_due(definition, &mut draft.state);
    }
}

/// No later moment of this life is decided. Where somebody set the next run the cursor lies right before it, but the
/// moments that it passes over are not decided.
pub(super) fn decided_until(state: &JobState, now: Timestamp) -> Timestamp {
    if state.extra.is_some_and(|extra| extra > state.cursor) {
        state.cursor.min(now)
    } else {
        state.cursor
    }
}

/// Puts an extra run before the trigger's. A moment that may be decided already means as soon as possible, and, where
/// the wall clock was set back behind what is decided, another life: nothing is decided twice.
pub(super) fn run_next_at(state: &mut JobState, at: Timestamp, decided: Timestamp, now: Timestamp) {
    let at = if at > decided {
        at
    } else if decided > now {
        state.key = JobKey::random();
        at
    } else {
        now.max(later(decided, MICRO))
    };
    state.cursor = earlier(at, MICRO);
    state.extra = Some(at);
}

pub(super) fn same_trigger(definition: &JobDefinition, ready: &ReadyTrigger) -> bool {
    // A date without a date means "now", which is another moment each time.
    let given = ready.declared.as_deref().unwrap_or(&ready.trigger);
    given == definition.declared_trigger() && (given.kind() != "date" || ready.declared.is_none())
        || ready.trigger == definition.trigger
}

fn set_trigger(definition: &mut JobDefinition, ready: ReadyTrigger) {
    definition.trigger = ready.trigger;
    definition.declared = ready.declared;
    definition.schedule = CompiledSchedule(ready.schedule);
}

pub(super) fn refresh_due(definition: &JobDefinition, state: &mut JobState) {
    match next_due(definition, state) {
        Ok(due_at) => {
            state.due_at = due_at;
            state.phase = if due_at.is_some() {
                Phase::Active
            } else {
                Phase::Finishing
            };
        }
        // Kept, and shown without a next run.
        Err(_) => state.due_at = None,
    }
}

pub(super) fn end_pause(definition: &JobDefinition, draft: &mut Draft<'_>, moment: Moment<'_>) {
    if draft.state.paused.take().is_none() {
        return;
    }
    if let Ok(Some(span)) = overdue(definition, &draft.state, moment.now) {
        draft
            .insert
            .push(moment.summary(definition, &draft.state, span, Reason::Paused));
        draft.state.cursor = span.1;
        draft.state.extra = None;
    }
    refresh_due(definition, &mut draft.state);
}

/// The cursor of a schedule that begins at `now`: a fire at `now` still counts, and a date that lies in the past is
/// judged once, by its misfire grace time.
pub(super) fn start_cursor(definition: &JobDefinition, now: Timestamp) -> Timestamp {
    let schedule = &definition.schedule.0;
    if definition.trigger.kind() == "date"
        && let Ok(Some(past)) = schedule.last_at_or_before(now)
    {
        return earlier(past, MICRO);
    }
    earlier(now, MICRO)
}
