//! Jobs and runs as rows. Whatever a row holds, reading it never panics: what makes no sense is a text that says so.

use std::sync::Arc;

use jiff::Timestamp;
use punctual_core::id::{Fence, JobId, JobKey, NodeId, RunId};
use punctual_core::job::{Job, JobDefinition, JobState, Paused, Phase};
use punctual_core::run::{NewRun, Reason, Run, RunKind, RunState};
use rusqlite::Row;
use rusqlite::types::FromSql;

/// Why a row cannot be read.
pub(super) type Broken = String;

/// The state columns of a job.
#[derive(Clone, Debug)]
pub(super) struct JobHead {
    /// The row.
    pub(super) n: i64,
    pub(super) id: JobId,
    pub(super) state: JobState,
}

/// The state columns of any row of the table of jobs.
#[derive(Clone, Debug)]
pub(super) enum Head {
    Read(JobHead),
    Broken(BrokenHead),
}

/// What can be told of a job whose columns make no sense.
#[derive(Clone, Debug)]
pub(super) struct BrokenHead {
    pub(super) n: i64,
    pub(super) id: JobId,
    pub(super) revision: i64,
    pub(super) key: i64,
    pub(super) wake_at: i64,
    pub(super) error: Broken,
}

impl Head {
    pub(super) fn id(&self) -> &JobId {
        match self {
            Self::Read(head) => &head.id,
            Self::Broken(head) => &head.id,
        }
    }

    pub(super) fn n(&self) -> i64 {
        match self {
            Self::Read(head) => head.n,
            Self::Broken(head) => head.n,
        }
    }

    /// What is different after every change of what is stored: the life of the id, and the revision.
    pub(super) fn edition(&self) -> (i64, i64) {
        match self {
            Self::Read(head) => edition(&head.state),
            Self::Broken(head) => (head.key, head.revision),
        }
    }

    /// How many live runs the job has.
    pub(super) fn live(&self) -> Option<u32> {
        match self {
            Self::Read(head) => Some(head.state.live),
            Self::Broken(_) => None,
        }
    }

    pub(super) fn wake_micros(&self) -> i64 {
        match self {
            Self::Read(head) => head
                .state
                .wake_at
                .map_or(i64::MAX, Timestamp::as_microsecond),
            Self::Broken(head) => head.wake_at,
        }
    }
}

/// See [`Head::edition`].
pub(super) fn edition(state: &JobState) -> (i64, i64) {
    (state.key.0 as i64, state.revision as i64)
}

fn cell<T: FromSql>(row: &Row<'_>, at: usize) -> Result<T, Broken> {
    row.get(at).map_err(|error| error.to_string())
}

fn time(micros: i64) -> Result<Timestamp, Broken> {
    Timestamp::from_microsecond(micros).map_err(|error| error.to_string())
}

fn time_at(row: &Row<'_>, at: usize) -> Result<Timestamp, Broken> {
    time(cell(row, at)?)
}

fn maybe_time_at(row: &Row<'_>, at: usize) -> Result<Option<Timestamp>, Broken> {
    cell::<Option<i64>>(row, at)?.map(time).transpose()
}

fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_microsecond)
}

/// Reads the columns `head!()`; `None` for a row that has not even an id.
pub(super) fn job_head(row: &Row<'_>) -> Option<Head> {
    let id: String = row.get(1).ok()?;
    let Ok(id) = JobId::new(&id) else {
        tracing::error!(?id, "a row of the table of jobs has no valid id");
        return None;
    };
    let n = row.get(0).ok()?;
    Some(match job_state(row) {
        Ok(state) => Head::Read(JobHead { n, id, state }),
        Err(error) => Head::Broken(BrokenHead {
            n,
            id,
            key: row.get(2).unwrap_or(0),
            revision: row.get(9).unwrap_or(0),
            wake_at: row.get(12).unwrap_or(i64::MAX),
            error,
        }),
    })
}

fn job_state(row: &Row<'_>) -> Result<JobState, Broken> {
    let paused = cell::<Option<String>>(row, 7)?;
    let paused = paused.map(|text| paused_from_text(&text)).transpose()?;
    let phase: Box<str> = cell(row, 8)?;
    let phase = match &*phase {
        "active" => Phase::Active,
        "finishing" => Phase::Finishing,
        other => {
            return Err(format!(
                "phase is {other:?}; this program knows active and finishing"
            ));
        }
    };
    Ok(JobState {
        key: JobKey(cell::<i64>(row, 2)? as u64),
        cursor: time_at(row, 3)?,
        due_at: maybe_time_at(row, 4)?,
        extra: maybe_time_at(row, 5)?,
        manual_at: maybe_time_at(row, 6)?,
        paused: paused.map(Box::new),
        phase,
        revision: cell::<i64>(row, 9)? as u64,
        seq: cell::<i64>(row, 10)? as u64,
        fence: Fence(cell::<i64>(row, 11)? as u64),
        wake_at: maybe_time_at(row, 12)?,
        live: cell(row, 13)?,
    })
}

pub(super) fn paused_from_text(text: &str) -> Result<Paused, Broken> {
    serde_json::from_str(text).map_err(|error| format!("paused: {error}"))
}

/// The state columns, ready to be written.
pub(super) struct StateCells {
    pub(super) key: i64,
    pub(super) cursor: i64,
    pub(super) due_at: Option<i64>,
    pub(super) extra: Option<i64>,
    pub(super) manual_at: Option<i64>,
    pub(super) paused: Option<String>,
    pub(super) phase: &'static str,
    pub(super) revision: i64,
    pub(super) seq: i64,
    pub(super) fence: i64,
    pub(super) wake_at: Option<i64>,
    pub(super) live: u32,
    pub(super) listed_at: i64,
}

impl StateCells {
    pub(super) fn of(state: &JobState) -> Self {
        let paused = state.paused.as_deref().map(|paused| {
            serde_json::to_string(paused).expect("a pause is made of texts and times")
        });
        // As `Job::next_run_time` has it.
        let listed_at = micros(state.due_at).filter(|_| paused.is_none());
        Self {
            key: state.key.0 as i64,
            cursor: state.cursor.as_microsecond(),
            due_at: micros(state.due_at),
            extra: micros(state.extra),
            manual_at: micros(state.manual_at),
            paused,
            phase: match state.phase {
                Phase::Active => "active",
                Phase::Finishing => "finishing",
            },
            revision: state.revision as i64,
            seq: state.seq as i64,
            fence: state.fence.0 as i64,
            wake_at: micros(state.wake_at),
            live: state.live,
            listed_at: listed_at.unwrap_or(i64::MAX),
        }
    }
}

/// Whether nothing differs but what `job_counters_update` writes.
pub(super) fn only_counters_differ(before: &JobState, after: &JobState) -> bool {
    before.wake_at == after.wake_at
        && before.due_at == after.due_at
        && before.cursor == after.cursor
        && before.extra == after.extra
        && before.paused == after.paused
        && before.phase == after.phase
        && before.revision == after.revision
        && before.key == after.key
}

/// A job from its parts.
pub(super) fn job(definition: &Arc<JobDefinition>, state: &JobState) -> Job {
    Job {
        definition: Arc::clone(definition),
        state: state.clone(),
    }
}

/// Run ids as they lie in the table: big-endian, so that they sort as the numbers do.
pub(super) fn run_key(id: RunId) -> [u8; 16] {
    id.0.to_be_bytes()
}

fn word<T>(what: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Broken> {
    parse(text).ok_or_else(|| format!("{what} is {text:?}, a word this program does not know"))
}

fn text_at<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, Broken> {
    let value = row.get_ref(at).map_err(|error| error.to_string())?;
    value.as_str().map_err(|error| error.to_string())
}

fn maybe_text_at<'r>(row: &'r Row<'_>, at: usize) -> Result<Option<&'r str>, Broken> {
    let value = row.get_ref(at).map_err(|error| error.to_string())?;
    value.as_str_or_null().map_err(|error| error.to_string())
}

/// Reads the columns `run!()`.
pub(super) fn run(row: &Row<'_>) -> Result<Run, Broken> {
    let id: [u8; 16] = cell(row, 0)?;
    let new = NewRun {
        id: RunId(u128::from_be_bytes(id)),
        job_id: JobId::new(text_at(row, 1)?).map_err(|error| error.to_string())?,
        job_key: JobKey(cell::<i64>(row, 2)? as u64),
        kind: word("kind", text_at(row, 3)?, RunKind::parse)?,
        scheduled_at: time_at(row, 4)?,
        due_at: time_at(row, 5)?,
        instance: cell::<i64>(row, 8)? as u64,
    };
    let mut run = Run::pending(new);
    run.attempt = cell(row, 6)?;
    run.crashes = cell(row, 7)?;
    run.reason = maybe_text_at(row, 10)?
        .map(|text| word("reason", text, Reason::parse))
        .transpose()?;
    run.node = cell::<Option<i64>>(row, 11)?.map(|node| NodeId(node as u64));
    run.fence = Fence(cell::<i64>(row, 12)? as u64);
    run.lease_until = maybe_time_at(row, 13)?;
    run.started_at = maybe_time_at(row, 14)?;
    run.finished_at = maybe_time_at(row, 15)?;
    run.output = cell(row, 16)?;
    run.error = cell(row, 17)?;
    run.cancel_requested = cell(row, 18)?;
    run.scheduled_until = maybe_time_at(row, 19)?;
    run.count = cell::<i64>(row, 20)? as u64;
    run.superseded_at = maybe_time_at(row, 21)?;
    let state = word("state", text_at(row, 9)?, RunState::parse)?;
    Ok(run.with_stored_state(state))
}
