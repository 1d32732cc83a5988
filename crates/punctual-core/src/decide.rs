//! Which occurrences run and which do not: one pure function.
//!
//! Misfire, coalesce, max instances, overlap, jitter, catch-up and the end of a schedule live here and nowhere else.
//! Nothing is read but the arguments, so a store may ask again after a lost race.

use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::{Schedule, SearchLimit, jittered};

use crate::clock::{earlier, until};
use crate::id::{JobKey, RunId};
use crate::job::{Coalesce, JobDefinition, JobState, Overlap};
use crate::run::{Reason, Run, RunState};

/// How many occurrences one decision may run, where `coalesce` is off.
pub const CATCH_UP_MAX: usize = 100;
/// How old an occurrence may be and still be caught up with, where `coalesce` is off.
pub const CATCH_UP_WINDOW: Duration = Duration::from_hours(24);
/// How many skipped occurrences of one decision get a row each; the rest share one.
pub const SKIPPED_ROWS_MAX: usize = 100;

const MICRO: Duration = Duration::from_micros(1);

/// One moment at which the trigger says the job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The nominal time.
    pub scheduled_at: Timestamp,
    /// The nominal time plus jitter.
    pub due_at: Timestamp,
}

/// Occurrences too many for a row each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The first of them.
    pub from: Timestamp,
    /// The last of them.
    pub until: Timestamp,
    /// How many.
    pub count: u64,
    /// Why none of them runs.
    pub reason: Reason,
}

/// What was decided about all occurrences that are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Those that run, in order, as one instance.
    pub run: Vec<Occurrence>,
    /// Those that do not, in order.
    pub skipped: Vec<(Occurrence, Reason)>,
    /// Those before all the others.
    pub summary: Option<Summary>,
    /// Running runs to stop.
    pub cancel: Vec<RunId>,
    /// Waiting runs that the new ones displace.
    pub displace: Vec<RunId>,
    /// Everything up to here is decided.
    pub cursor: Timestamp,
    /// When the next occurrence is due.
    pub due_at: Option<Timestamp>,
    /// No occurrence is left.
    pub exhausted: bool,
}

/// What a decision looks at: the definition, the state, and the live runs as read under the same lock.
#[derive(Clone, Copy, Debug)]
pub struct JobView<'a> {
    /// What people say of the job.
    pub definition: &'a JobDefinition,
    /// Where its decisions stand.
    pub state: &'a JobState,
    /// Its pending and running runs, of any life of its id.
    pub live: &'a [Run],
}

/// The undecided occurrences of a job: the trigger's after the cursor, and the extra one before them.
struct Undecided<'a> {
    schedule: &'a Schedule,
    cursor: Timestamp,
    extra: Option<Timestamp>,
    key: JobKey,
}

impl<'a> Undecided<'a> {
    fn of(definition: &'a JobDefinition, state: &JobState) -> Self {
        let extra = state.extra.filter(|&extra| extra > state.cursor);
        Self {
            schedule: &definition.schedule.0,
            cursor: state.cursor,
            extra,
            key: state.key,
        }
    }

    fn occurrence(&self, scheduled_at: Timestamp) -> Occurrence {
        let due_at = if self.extra == Some(scheduled_at) {
            scheduled_at
        } else {
            // Where the gap to the next fire cannot be found, there is nothing to keep the jitter within.
            jittered(self.schedule, self.key.0, scheduled_at).unwrap_or(scheduled_at)
        };
        Occurrence {
            scheduled_at,
            due_at,
        }
    }

    fn first_after(&self, time: Timestamp) -> Result<Option<Occurrence>, SearchLimit> {
        let extra = self.extra.filter(|&extra| extra > time);
        let next = self.schedule.next_after(time)?;
        Ok(extra
            .into_iter()
            .chain(next)
            .min()
            .map(|at| self.occurrence(at)))
    }

    fn last_at_or_before(&self, time: Timestamp) -> Result<Option<Occurrence>, SearchLimit> {
        let extra = self.extra.filter(|&extra| extra <= time);
        let last = self
            .schedule
            .last_at_or_before(time)?
            .filter(|&last| last > self.cursor);
        Ok(extra
            .into_iter()
            .chain(last)
            .max()
            .map(|at| self.occurrence(at)))
    }

    /// The last one whose jitter too is over by `now`.
    fn last_due(&self, now: Timestamp) -> Result<Option<Occurrence>, SearchLimit> {
        let mut last = self.last_at_or_before(now)?;
        while let Some(occurrence) = last.filter(|occurrence| occurrence.due_at > now) {
            last = self.last_at_or_before(earlier(occurrence.scheduled_at, MICRO))?;
        }
        Ok(last)
    }

    fn count_until(&self, last: Timestamp) -> Result<u64, SearchLimit> {
        let counted = self.schedule.count(self.cursor, last, u64::MAX)?;
        let extra_alone = match self.extra.filter(|&extra| extra <= last) {
            Some(extra) => self.schedule.last_at_or_before(extra)? != Some(extra),
            None => false,
        };
        Ok(counted + u64::from(extra_alone))
    }
}

/// When the first undecided occurrence is due.
pub fn next_due(
    definition: &JobDefinition,
    state: &JobState,
) -> Result<Option<Timestamp>, SearchLimit> {
    let undecided = Undecided::of(definition, state);
    Ok(undecided
        .first_after(state.cursor)?
        .map(|occurrence| occurrence.due_at))
}

/// How many occurrences lie undecided up to `now`, and the first and last of them.
pub fn overdue(
    definition: &JobDefinition,
    state: &JobState,
    now: Timestamp,
) -> Result<Option<(Timestamp, Timestamp, u64)>, SearchLimit> {
    let undecided = Undecided::of(definition, state);
    let (Some(first), Some(last)) = (
        undecided.first_after(state.cursor)?,
        undecided.last_due(now)?,
    ) else {
        return Ok(None);
    };
    Ok(Some((
        first.scheduled_at,
        last.scheduled_at,
        undecided.count_until(last.scheduled_at)?,
    )))
}

/// The instances that are live at `now`: decisions with a running run, or with one that is due and waits.
pub(crate) fn live_instances(live: &[Run], now: Timestamp) -> usize {
    distinct(
        live.iter()
            .filter(|run| run.state() == RunState::Running || run.due_at <= now),
    )
}

/// The instances with a running run.
pub(crate) fn running_instances<'a>(live: impl Iterator<Item = &'a Run>) -> usize {
    distinct(live.filter(|run| run.state() == RunState::Running))
}

fn distinct<'a>(runs: impl Iterator<Item = &'a Run>) -> usize {
    let mut instances: Vec<_> = runs.map(|run| (run.job_key, run.instance)).collect();
    instances.sort_unstable();
    instances.dedup();
    instances.len()
}

/// Whether a new instance may come in beside the live ones, and at what price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may run, or wait for its turn.
    Admitted {
        /// Running runs to stop.
        cancel: Vec<RunId>,
        /// Waiting runs that it displaces.
        displace: Vec<RunId>,
    },
    /// It may not.
    Refused,
}

pub(crate) fn admit(definition: &JobDefinition, live: &[Run], now: Timestamp) -> Admission {
    let free = Admission::Admitted {
        cancel: Vec::new(),
        displace: Vec::new(),
    };
    if live.is_empty() || live_instances(live, now) < definition.policy.max_instances as usize {
        return free;
    }
    let waiting = |run: &&Run| run.state() == RunState::Pending && run.due_at <= now;
    match definition.policy.overlap {
        Overlap::Skip => Admission::Refused,
        Overlap::QueueOne if live.iter().any(|run| waiting(&run)) => Admission::Refused,
        Overlap::QueueOne => free,
        Overlap::CancelRunning => Admission::Admitted {
            cancel: live
                .iter()
                .filter(|run| run.state() == RunState::Running)
                .map(|run| run.id)
                .collect(),
            displace: live.iter().filter(waiting).map(|run| run.id).collect(),
        },
    }
}

/// Decides about every occurrence of `view`'s job that is due at `now`, the store's time.
///
/// The search for the next occurrence may be given up (an `and` of parts that hardly ever meet); then the decision
/// says neither when the next is due nor that none is left.
pub fn decide(view: JobView<'_>, now: Timestamp) -> Decision {
    try_decide(view, now).unwrap_or_else(|SearchLimit { .. }| Decision {
        run: Vec::new(),
        skipped: Vec::new(),
        summary: None,
        cancel: Vec::new(),
        displace: Vec::new(),
        cursor: view.state.cursor,
        due_at: None,
        exhausted: false,
    })
}

fn try_decide(view: JobView<'_>, now: Timestamp) -> Result<Decision, SearchLimit> {
    let JobView {
        definition,
        state,
        live,
    } = view;
    let undecided = Undecided::of(definition, state);
    let last = undecided.last_due(now)?;
    let cursor = last.map_or(state.cursor, |last| last.scheduled_at);
    let (due_at, exhausted) = match undecided.first_after(cursor) {
        Ok(next) => (next.map(|next| next.due_at), next.is_none()),
        Err(_) => (None, false),
    };
    let mut decision = Decision {
        run: Vec::new(),
        skipped: Vec::new(),
        summary: None,
        cancel: Vec::new(),
        displace: Vec::new(),
        cursor,
        due_at,
        exhausted,
    };
    let Some(last) = last else {
        return Ok(decision);
    };

    let policy = &definition.policy;
    let too_late = |occurrence: Occurrence| {
        policy
            .misfire_grace_time
            .is_some_and(|grace| until(occurrence.due_at, now) > grace)
    };
    let run_max = match policy.coalesce {
        Coalesce::Latest => 1,
        Coalesce::Off => CATCH_UP_MAX,
    };
    // From the latest back to the cursor, so that a long stop costs no more than the rows it leaves.
    let mut rest = Some(last);
    while let Some(occurrence) = rest {
        let caught_up =
            policy.coalesce == Coalesce::Latest || until(occurrence.due_at, now) <= CATCH_UP_WINDOW;
        if too_late(occurrence) || !caught_up || decision.run.len() == run_max {
            break;
        }
        decision.run.push(occurrence);
        rest = undecided.last_at_or_before(earlier(occurrence.scheduled_at, MICRO))?;
    }
    let reason = match policy.coalesce {
        Coalesce::Latest if !decision.run.is_empty() => Reason::Coalesced,
        _ => Reason::Misfired,
    };
    while let Some(occurrence) = rest.filter(|_| decision.skipped.len() < SKIPPED_ROWS_MAX) {
        decision.skipped.push((occurrence, reason));
        rest = undecided.last_at_or_before(earlier(occurrence.scheduled_at, MICRO))?;
    }
    if let (Some(rest), Some(first)) = (rest, undecided.first_after(state.cursor)?) {
        let count = undecided.count_until(rest.scheduled_at)?;
        decision.summary = Some(Summary {
            from: first.scheduled_at,
            until: rest.scheduled_at,
            count,
            reason,
        });
    }
    decision.run.reverse();
    decision.skipped.reverse();

    if !decision.run.is_empty() {
        match admit(definition, live, now) {
            Admission::Admitted { cancel, displace } => {
                decision.cancel = cancel;
                decision.displace = displace;
            }
            Admission::Refused => {
                let refused = decision
                    .run
                    .drain(..)
                    .map(|occurrence| (occurrence, Reason::MaxInstances));
                decision.skipped.extend(refused);
            }
        }
    }
    Ok(decision)
}
