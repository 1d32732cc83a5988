//! Adding and removing jobs.

use std::sync::Arc;

use jiff::Timestamp;

use super::change::{
    PauseRequest, ReadyTrigger, decided_until, refresh_due, run_next_at, same_trigger, start_cursor,
};
use super::{Draft, Moment, Plan};
use crate::decide::JobView;
use crate::id::{Fence, JobKey};
use crate::job::{Job, JobDefinition, JobState, Paused, Phase};
use crate::run::{Reason, Run, RunState};

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
