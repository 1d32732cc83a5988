//! What happens to runs: claim, enqueue, finish, reclaim, cancel.

use jiff::Timestamp;

use super::change::end_pause;
use super::{Claimer, Draft, MICRO, Moment, Plan};
use crate::clock::later;
use crate::decide::{Admission, Decision, JobView, admit, decide};
use crate::id::{Fence, RunId};
use crate::job::{CRASH_ATTEMPTS_MAX, JobDefinition, OnCrash, Phase};
use crate::run::{Ending, NewRun, Reason, Run, RunKind, RunState};

/// Decides what is due of a job and takes runs for `claimer`, as many as it has slots for.
pub fn claim(view: JobView<'_>, claimer: Claimer, moment: Moment<'_>) -> Plan {
    let Moment { now, .. } = moment;
    let definition = view.definition;
    let mut draft = Draft::new(view);
    if let Some(paused) = &view.state.paused {
        let Some(until) = paused.until.filter(|until| *until <= now) else {
            return draft.settle(definition);
        };
        // What came after its end was missed, not paused, however late anybody looks.
        let moment = Moment {
            now: until,
            ..moment
        };
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
    /// It is recorded already: the answer to the first report was lost. Nothing changes.
    Repeated,
    /// The run belongs to somebody else by now, or is over: the row notes the late result, nothing else changes.
    Superseded(Run),
}

/// Whether the row says what the report says, under the same token.
fn is_recorded(run: &Run, finish: &Finish) -> bool {
    run.fence == finish.fence
        && match finish.ending {
            None => run.state() == RunState::Pending,
            Some(ending) => {
                run.state() == ending.state()
                    && run.output == finish.output
                    && run.error == finish.error
            }
        }
}

/// Records the end of `run`. `view` is its job, where that still exists.
pub fn finish(
    view: Option<JobView<'_>>,
    run: &Run,
    finish: &Finish,
    moment: Moment<'_>,
) -> Finished {
    if is_recorded(run, finish) {
        return Finished::Repeated;
    }
    let now = moment.now;
    let mut run = run.clone();
    if run.state() != RunState::Running || run.fence != finish.fence {
        run.superseded_at = Some(now);
        return Finished::Superseded(run);
    }
    if finish.ending == Some(Ending::Lost) {
        // Nobody took it over meanwhile, so its own node does what another would have done.
        run.output.clone_from(&finish.output);
        run.error.clone_from(&finish.error);
        let plan = reclaim(view, &run, Reason::LeaseExpired, moment);
        return Finished::Accepted(plan.expect("checked above that it is running"));
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
    // Given back after its job went or began another life, or after somebody asked it to stop, it waits for nothing.
    let is_of_this_life = view.is_some_and(|view| run.job_key == view.state.key);
    let why = if is_of_this_life {
        run.cancel_requested.then_some(Reason::Requested)
    } else {
        Some(Reason::Removed)
    };
    if let Some(why) = why.filter(|_| !run.state().is_final()) {
        run.withdraw(why, now).expect("a run given back is pending");
    }
    let Some(view) = view else {
        return Finished::Accepted(Plan {
            state: None,
            insert: Vec::new(),
            update: vec![run],
        });
    };
    let mut draft = Draft::new(view);
    if let Some(due_at) = finish
        .next_attempt_at
        .filter(|_| is_of_this_life && run.state().is_final())
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
