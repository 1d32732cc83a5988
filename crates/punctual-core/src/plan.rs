//! Every change of a job, as a pure function from what a store read under its lock to what it has to write.
//!
//! A store loads a job with its live runs, asks one of these functions, and writes the [`Plan`] in the same
//! transaction. So the five stores cannot differ in what a claim, a finish or a pause means.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::{Schedule, Trigger};

use crate::clock::{earlier, later};
use crate::decide::{
    Admission, Decision, JobView, admit, decide, next_due, overdue, running_instances,
};
use crate::id::{ExecutorName, Fence, JobKey, NodeId, RunId, RunIds, TaskName};
use crate::job::{
    CRASH_ATTEMPTS_MAX, CompiledSchedule, Job, JobArgs, JobDefinition, JobState, OnCrash, Paused,
    Phase, Policy,
};
use crate::run::{Ending, NewRun, Reason, Run, RunKind, RunState};

const MICRO: Duration = Duration::from_micros(1);

/// What a store has to write, all of it or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The job's new state; `None` removes the job.
    pub state: Option<JobState>,
    /// New rows of the ledger.
    pub insert: Vec<Run>,
    /// Rows of the ledger that change.
    pub update: Vec<Run>,
}

impl Plan {
    /// The rows that a claim took for its node.
    pub fn started(&self) -> impl Iterator<Item = &Run> {
        self.insert
            .iter()
            .chain(&self.update)
            .filter(|run| run.state() == RunState::Running && !run.cancel_requested)
    }

    /// The rows that say an occurrence does not run.
    pub fn skipped(&self) -> impl Iterator<Item = &Run> {
        self.insert
            .iter()
            .chain(&self.update)
            .filter(|run| run.state() == RunState::Skipped)
    }
}

/// The store's time, and the source of row ids.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The store's time.
    pub now: Timestamp,
    /// Makes ids for new rows.
    pub ids: &'a RunIds,
}

impl Moment<'_> {
    fn row(
        &self,
        job: &JobDefinition,
        state: &JobState,
        scheduled_at: Timestamp,
        due_at: Timestamp,
    ) -> NewRun {
        NewRun {
            id: self.ids.next(self.now),
            job_id: job.id.clone(),
            job_key: state.key,
            kind: RunKind::Scheduled,
            scheduled_at,
            due_at,
            instance: state.seq,
        }
    }

    fn summary(
        &self,
        job: &JobDefinition,
        state: &JobState,
        span: (Timestamp, Timestamp, u64),
        reason: Reason,
    ) -> Run {
        let (from, until, count) = span;
        let mut run = Run::skipped(self.row(job, state, from, from), reason, self.now);
        run.count = count;
        run.scheduled_until = (count > 1).then_some(until);
        run
    }
}

/// Who claims.
#[derive(Clone, Copy, Debug)]
pub struct Claimer {
    /// The node.
    pub node: NodeId,
    /// How long its claim holds without a sign of life.
    pub lease: Duration,
    /// How many runs it can take now.
    pub slots: usize,
}

/// Collects the changed rows of one plan over the live runs as they were.
struct Draft<'a> {
    state: JobState,
    live: &'a [Run],
    insert: Vec<Run>,
    update: Vec<Run>,
}

impl<'a> Draft<'a> {
    fn new(view: JobView<'a>) -> Self {
        let mut state = view.state.clone();
        state.seq += 1;
        Self {
            state,
            live: view.live,
            insert: Vec::new(),
            update: Vec::new(),
        }
    }

    fn is_changed(&self, run: &Run) -> bool {
        self.update.iter().any(|changed| changed.id == run.id)
    }

    /// The live runs as they will be.
    fn live_after(&self) -> impl Iterator<Item = &Run> {
        let same = self.live.iter().filter(|run| !self.is_changed(run));
        same.chain(&self.update)
            .chain(&self.insert)
            .filter(|run| !run.state().is_final())
    }

    fn change(&mut self, id: RunId, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self
            .update
            .iter_mut()
            .chain(&mut self.insert)
            .find(|run| run.id == id)
        {
            change(run);
        } else if let Some(run) = self.live.iter().find(|run| run.id == id) {
            let mut run = run.clone();
            change(&mut run);
            self.update.push(run);
        }
    }

    /// Starts pending runs that are due, oldest first, while instances and slots allow.
    fn start_pending(&mut self, definition: &JobDefinition, claimer: Claimer, now: Timestamp) {
        let mut ready: Vec<_> = self
            .live_after()
            .filter(|run| run.state() == RunState::Pending && run.due_at <= now)
            .map(|run| {
                (
                    run.due_at,
                    run.scheduled_at,
                    run.id,
                    (run.job_key, run.instance),
                )
            })
            .collect();
        if ready.is_empty() {
            return;
        }
        ready.sort_unstable();
        let mut running: Vec<_> = self
            .live_after()
            .filter(|run| run.state() == RunState::Running)
            .map(|run| (run.job_key, run.instance))
            .collect();
        running.sort_unstable();
        running.dedup();
        let mut slots = claimer.slots;
        for (_, _, id, instance) in ready {
            if slots == 0 || running.len() >= definition.policy.max_instances as usize {
                break;
            }
            if running.contains(&instance) {
                continue; // its instance runs one after another
            }
            let fence = self.state.fence.next();
            self.state.fence = fence;
            self.change(id, |run| {
                run.start(claimer.node, fence, now, claimer.lease)
                    .expect("only pending runs are ready");
            });
            running.push(instance);
            slots -= 1;
        }
    }

    /// Computes what follows from the rows: the number of live runs, the next wake-up, and whether the job is over.
    fn settle(mut self, definition: &JobDefinition) -> Plan {
        let live: Vec<&Run> = self.live_after().collect();
        let count = live.len();
        let wake_at = wake_at(definition, &self.state, &live);
        let over =
            self.state.phase == Phase::Finishing && count == 0 && self.state.paused.is_none();
        self.state.live = count as u32;
        self.state.wake_at = wake_at;
        Plan {
            state: (!over).then_some(self.state),
            insert: self.insert,
            update: self.update,
        }
    }
}

/// The first moment at which a claim has something to do.
fn wake_at(definition: &JobDefinition, state: &JobState, live: &[&Run]) -> Option<Timestamp> {
    if let Some(paused) = &state.paused {
        return paused.until;
    }
    let full = running_instances(live.iter().copied()) >= definition.policy.max_instances as usize;
    let is_running = |run: &Run| {
        live.iter().any(|other| {
            other.state() == RunState::Running
                && (other.job_key, other.instance) == (run.job_key, run.instance)
        })
    };
    let pending = live
        .iter()
        .filter(|run| !full && run.state() == RunState::Pending && !is_running(run))
        .map(|run| run.due_at)
        .min();
    state.due_at.into_iter().chain(pending).min()
}

/// Decides what is due of a job and takes runs for `claimer`, as many as it has slots for.
pub fn claim(view: JobView<'_>, claimer: Claimer, moment: Moment<'_>) -> Plan {
    let Moment { now, .. } = moment;
    let definition = view.definition;
    let mut draft = Draft::new(view);
    if let Some(paused) = &view.state.paused {
        if paused.until.is_none_or(|until| until > now) {
            return draft.settle(definition);
        }
        end_pause(definition, &mut draft, moment);
    }
    if draft.state.due_at.is_some_and(|due_at| due_at <= now) {
        let decision = decide(
            JobView {
                state: &draft.state.clone(),
                ..view
            },
            now,
        );
        record(definition, &mut draft, decision, moment);
    }
    draft.start_pending(definition, claimer, now);
    draft.settle(definition)
}

fn record(
    definition: &JobDefinition,
    draft: &mut Draft<'_>,
    decision: Decision,
    moment: Moment<'_>,
) {
    if let Some(summary) = decision.summary {
        let span = (summary.from, summary.until, summary.count);
        draft
            .insert
            .push(moment.summary(definition, &draft.state, span, summary.reason));
    }
    for (occurrence, reason) in decision.skipped {
        let row = moment.row(
            definition,
            &draft.state,
            occurrence.scheduled_at,
            occurrence.due_at,
        );
        draft.insert.push(Run::skipped(row, reason, moment.now));
    }
    for occurrence in decision.run {
        let row = moment.row(
            definition,
            &draft.state,
            occurrence.scheduled_at,
            occurrence.due_at,
        );
        draft.insert.push(Run::pending(row));
    }
    make_room(draft, &decision.cancel, &decision.displace, moment.now);
    draft.state.cursor = decision.cursor;
    draft.state.due_at = decision.due_at;
    draft.state.extra = draft.state.extra.filter(|&extra| extra > decision.cursor);
    if decision.exhausted {
        draft.state.phase = Phase::Finishing;
    }
}

fn make_room(draft: &mut Draft<'_>, cancel: &[RunId], displace: &[RunId], now: Timestamp) {
    for &id in cancel {
        draft.change(id, |run| run.cancel_requested = true);
    }
    for &id in displace {
        draft.change(id, |run| {
            run.skip(Reason::MaxInstances, now)
                .expect("only pending runs are displaced");
        });
    }
}

/// Puts a manual run into the ledger: pending, or skipped where the job's overlap policy forbids it. It is in
/// [`Plan::insert`], last. Never moves the schedule.
pub fn enqueue(view: JobView<'_>, moment: Moment<'_>) -> Plan {
    let now = moment.now;
    let mut draft = Draft::new(view);
    // Two asked for within a microsecond are still two.
    let last_asked = view
        .live
        .iter()
        .filter(|run| run.kind == RunKind::Manual)
        .map(|run| run.scheduled_at)
        .max();
    let floor = draft.state.manual_at.into_iter().chain(last_asked).max();
    let asked_at = floor.map_or(now, |floor| now.max(later(floor, MICRO)));
    draft.state.manual_at = Some(asked_at);
    let row = NewRun {
        kind: RunKind::Manual,
        ..moment.row(view.definition, &draft.state, asked_at, now)
    };
    match admit(view.definition, view.live, now) {
        Admission::Refused => draft
            .insert
            .push(Run::skipped(row, Reason::MaxInstances, now)),
        Admission::Admitted { cancel, displace } => {
            make_room(&mut draft, &cancel, &displace, now);
            let mut run = Run::pending(row);
            run.reason = draft.state.paused.is_some().then_some(Reason::Paused);
            draft.insert.push(run);
        }
    }
    draft.settle(view.definition)
}

/// The end of an attempt, as its node reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// The run.
    pub run: RunId,
    /// The token it was claimed with.
    pub fence: Fence,
    /// How it ended; `None` gives it back unstarted.
    pub ending: Option<Ending>,
    /// What it printed or returned; capped by the reporter.
    pub output: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When the next attempt is due, if there is to be one.
    pub next_attempt_at: Option<Timestamp>,
}

/// A finish, decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Finished {
    /// The result holds.
    Accepted(Plan),
    /// The run belongs to somebody else by now, or is over: the row notes the late result, nothing else changes.
    Superseded(Run),
}

/// Records the end of `run`. `view` is its job, where that still exists.
pub fn finish(
    view: Option<JobView<'_>>,
    run: &Run,
    finish: &Finish,
    moment: Moment<'_>,
) -> Finished {
    let now = moment.now;
    let mut run = run.clone();
    if run.state() != RunState::Running || run.fence != finish.fence {
        run.superseded_at = Some(now);
        return Finished::Superseded(run);
    }
    match finish.ending {
        None => run.release(),
        Some(ending) => run.end(ending, now),
    }
    .expect("checked above that it is running");
    if finish.ending.is_some() {
        run.output.clone_from(&finish.output);
        run.error.clone_from(&finish.error);
    }
    let Some(view) = view else {
        if !run.state().is_final() {
            run.withdraw(Reason::Removed, now)
                .expect("a run given back is pending");
        }
        return Finished::Accepted(Plan {
            state: None,
            insert: Vec::new(),
            update: vec![run],
        });
    };
    let mut draft = Draft::new(view);
    if let Some(due_at) = finish
        .next_attempt_at
        .filter(|_| run.job_key == view.state.key && run.state().is_final())
        .filter(|_| !run.cancel_requested)
    {
        draft
            .insert
            .push(run.next_attempt(moment.ids.next(now), due_at));
    }
    draft.update.push(run);
    Finished::Accepted(draft.settle(view.definition))
}

/// Takes `run` from an owner that is dead or cut off, and by the job's `on_crash` puts the next attempt beside it.
pub fn reclaim(
    view: Option<JobView<'_>>,
    run: &Run,
    reason: Reason,
    moment: Moment<'_>,
) -> Option<Plan> {
    let now = moment.now;
    let mut run = run.clone();
    run.lose(reason, now).ok()?;
    let Some(view) = view else {
        return Some(Plan {
            state: None,
            insert: Vec::new(),
            update: vec![run],
        });
    };
    let mut draft = Draft::new(view);
    let again = view.definition.policy.on_crash == OnCrash::Rerun
        && run.crashes + 1 < CRASH_ATTEMPTS_MAX
        && !run.cancel_requested
        && run.job_key == view.state.key;
    if again {
        draft
            .insert
            .push(run.next_attempt(moment.ids.next(now), now));
    }
    draft.update.push(run);
    Some(draft.settle(view.definition))
}

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
fn decided_until(state: &JobState, now: Timestamp) -> Timestamp {
    if state.extra.is_some_and(|extra| extra > state.cursor) {
        state.cursor.min(now)
    } else {
        state.cursor
    }
}

/// Puts an extra run before the trigger's. A moment that may be decided already means as soon as possible, and, where
/// the wall clock was set back behind what is decided, another life: nothing is decided twice.
fn run_next_at(state: &mut JobState, at: Timestamp, decided: Timestamp, now: Timestamp) {
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

fn same_trigger(definition: &JobDefinition, ready: &ReadyTrigger) -> bool {
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

fn refresh_due(definition: &JobDefinition, state: &mut JobState) {
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

fn end_pause(definition: &JobDefinition, draft: &mut Draft<'_>, moment: Moment<'_>) {
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
fn start_cursor(definition: &JobDefinition, now: Timestamp) -> Timestamp {
    let schedule = &definition.schedule.0;
    if definition.trigger.kind() == "date"
        && let Ok(Some(past)) = schedule.last_at_or_before(now)
    {
        return earlier(past, MICRO);
    }
    earlier(now, MICRO)
}

/// What to do where the id is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Refuse. The default.
    #[default]
    Error,
    /// Replace the definition. Always keeps a pause; keeps cursor and phase where the trigger is the same.
    Replace,
}

/// When a new job runs first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FirstRun {
    /// When its trigger says. The default.
    #[default]
    ByTrigger,
    /// At this moment, and then by the trigger.
    At(Timestamp),
    /// Not before somebody resumes it.
    Paused(PauseRequest),
}

/// A new job, checked and compiled.
#[derive(Clone, Debug)]
pub struct Addition {
    /// Its definition.
    pub definition: JobDefinition,
    /// Its first run.
    pub first_run: FirstRun,
    /// What to do where the id is taken.
    pub on_conflict: OnConflict,
}

/// Why a job is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddRefusal {
    /// The id is taken, and the addition does not replace.
    Exists,
    /// Its trigger has no occurrence left.
    NeverRuns,
}

/// Adds a job. `existing` is what has the id now; where nothing has, `orphans` are runs of the id that outlived their
/// job. `fence_floor` is the highest token ever given in the store to a job that is gone.
///
/// Returns the job and what to write.
pub fn add(
    existing: Option<JobView<'_>>,
    addition: Addition,
    orphans: &[Run],
    fence_floor: Fence,
    moment: Moment<'_>,
) -> Result<(Job, Plan), AddRefusal> {
    let Addition {
        mut definition,
        first_run,
        on_conflict,
    } = addition;
    let now = moment.now;
    let mut draft = match existing {
        Some(_) if on_conflict == OnConflict::Error => return Err(AddRefusal::Exists),
        Some(view) => {
            let ready = ReadyTrigger {
                trigger: definition.trigger.clone(),
                declared: definition.declared.clone(),
                schedule: definition.schedule.0.clone(),
            };
            let mut draft = Draft::new(view);
            draft.state.revision += 1;
            definition.created_at = view.definition.created_at;
            if same_trigger(view.definition, &ready) {
                definition.trigger = view.definition.trigger.clone();
                definition.schedule = view.definition.schedule.clone();
            } else {
                begin(&definition, &mut draft.state, now);
                let waiting: Vec<_> = view
                    .live
                    .iter()
                    .filter(|run| run.state() == RunState::Pending)
                    .map(|run| run.id)
                    .collect();
                for id in waiting {
                    draft.change(id, |run| {
                        run.withdraw(Reason::Removed, now)
                            .expect("only pending runs are withdrawn");
                    });
                }
            }
            draft
        }
        None => {
            let mut state = JobState {
                key: JobKey::random(),
                cursor: now,
                due_at: None,
                extra: None,
                manual_at: None,
                paused: None,
                phase: Phase::Active,
                revision: 1,
                seq: 1,
                fence: fence_floor,
                wake_at: None,
                live: 0,
            };
            begin(&definition, &mut state, now);
            Draft {
                state,
                live: orphans,
                insert: Vec::new(),
                update: Vec::new(),
            }
        }
    };
    match first_run {
        FirstRun::ByTrigger => {}
        FirstRun::At(at) => {
            let decided = existing
                .filter(|view| view.state.key == draft.state.key)
                .map_or(Timestamp::MIN, |view| decided_until(view.state, now));
            run_next_at(&mut draft.state, at, decided, now);
            refresh_due(&definition, &mut draft.state);
        }
        FirstRun::Paused(PauseRequest { by, note, until }) => {
            draft.state.paused = Some(Box::new(Paused {
                at: now,
                by,
                note,
                until,
            }));
        }
    }
    let plan = draft.settle(&definition);
    let state = plan.state.clone().ok_or(AddRefusal::NeverRuns)?;
    Ok((
        Job {
            definition: Arc::new(definition),
            state,
        },
        plan,
    ))
}

fn begin(definition: &JobDefinition, state: &mut JobState, now: Timestamp) {
    state.key = JobKey::random();
    state.cursor = start_cursor(definition, now);
    state.extra = None;
    refresh_due(definition, state);
}

/// Removes a job: what waits is withdrawn, what runs goes on.
pub fn remove(view: JobView<'_>, moment: Moment<'_>) -> Plan {
    let withdrawn = view
        .live
        .iter()
        .filter(|run| run.state() == RunState::Pending)
        .cloned()
        .map(|mut run| {
            run.withdraw(Reason::Removed, moment.now)
                .expect("only pending runs are withdrawn");
            run
        });
    Plan {
        state: None,
        insert: Vec::new(),
        update: withdrawn.collect(),
    }
}

/// Asks a run to stop: a waiting one is withdrawn, a running one marked for its node. `None` where it is over.
pub fn request_cancel(view: Option<JobView<'_>>, run: &Run, moment: Moment<'_>) -> Option<Plan> {
    let mut run = run.clone();
    match run.state() {
        RunState::Pending => run
            .withdraw(Reason::Requested, moment.now)
            .expect("it is pending"),
        RunState::Running => run.cancel_requested = true,
        _ => return None,
    }
    Some(match view {
        None => Plan {
            state: None,
            insert: Vec::new(),
            update: vec![run],
        },
        Some(view) => {
            let mut draft = Draft::new(view);
            draft.update.push(run);
            draft.settle(view.definition)
        }
    })
}
