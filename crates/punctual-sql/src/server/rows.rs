//! Jobs and runs as rows. Whatever a row holds, reading it never panics: what makes no sense is a text that says so.

use jiff::Timestamp;
use punctual_backend::{Body, Damaged, Listed, Snapshot, Version, listed_at};
use punctual_core::id::{Fence, JobId, JobKey, NodeId};
use punctual_core::job::{JobDefinition, JobState, Paused, Phase};
use punctual_core::run::{NewRun, Reason, Run, RunKind, RunState};

use super::cell::{Broken, Cell, Column, Value, columns};

/// The columns of a job, in the order in which [`snapshot`] reads them.
pub(crate) const JOB: &str = "id, version, job_key, cursor_at, due_at, extra, manual_at, paused, phase, revision, seq, \
                              fence, wake_at, live, definition, listed_at";

/// All columns of a job.
pub(crate) const JOB_COLUMNS: &[Column] = columns![
    id: Name, version: Int, task: Name, executor: Name, name: Text, tags: Text, definition: Text, job_key: Int,
    cursor_at: Int, due_at: Int, extra: Int, manual_at: Int, paused: Text, phase: Text, revision: Int, seq: Int, fence: Int,
    wake_at: Int, live: Int, listed_at: Int,
];

/// Those that change with every decision.
pub(crate) const STATE_COLUMNS: &[Column] = columns![
    id: Name, version: Int, job_key: Int, cursor_at: Int, due_at: Int, extra: Int, manual_at: Int, paused: Text,
    phase: Text, revision: Int, seq: Int, fence: Int, wake_at: Int, live: Int, listed_at: Int,
];

/// The columns of a run, in the order in which [`run`] reads them.
pub(crate) const RUN: &str = "id, job_id, job_key, kind, scheduled_at, due_at, attempt, crashes, instance, state, reason, \
                              node, fence, lease_until, started_at, finished_at, output, error, cancel_requested, \
                              scheduled_until, count, superseded_at";

/// The same, to be written.
pub(crate) const RUN_COLUMNS: &[Column] = columns![
    id: Run, job_id: Name, job_key: Int, kind: Text, scheduled_at: Int, due_at: Int, attempt: Int, crashes: Int,
    instance: Int, state: Text, reason: Text, node: Int, fence: Int, lease_until: Int, started_at: Int, finished_at: Int,
    output: Text, error: Text, cancel_requested: Flag, scheduled_until: Int, count: Int, superseded_at: Int,
];

/// Those that change in the life of a run.
pub(crate) const RUN_CHANGES: &[&str] = &[
    "state",
    "reason",
    "node",
    "fence",
    "lease_until",
    "started_at",
    "finished_at",
    "output",
    "error",
    "cancel_requested",
    "superseded_at",
];

/// The names of all columns but the first.
pub(crate) fn names_after_id(columns: &[Column]) -> Vec<&'static str> {
    columns[1..].iter().map(|column| column.name).collect()
}

fn time(micros: i64) -> Result<Timestamp, Broken> {
    Timestamp::from_microsecond(micros).map_err(|error| error.to_string())
}

fn maybe_time(cell: &Cell) -> Result<Option<Timestamp>, Broken> {
    cell.maybe_int()?.map(time).transpose()
}

fn micros(time: Option<Timestamp>) -> Value {
    Value::MaybeInt(time.map(Timestamp::as_microsecond))
}

fn word(word: &'static str) -> Value {
    Value::Text(word.to_owned())
}

/// Reads the columns [`JOB`], without runs; `None` for a row that has not even an id.
pub(crate) fn snapshot(row: &[Cell], now: Timestamp) -> Option<Snapshot> {
    let id = match row[0].text().map(JobId::new) {
        Ok(Ok(id)) => id,
        Ok(Err(error)) => {
            tracing::error!(%error, "a row of the table of jobs has no valid id");
            return None;
        }
        Err(error) => {
            tracing::error!(%error, "a row of the table of jobs has no valid id");
            return None;
        }
    };
    let version = row[1].int().unwrap_or(0) as u64;
    Some(Snapshot {
        id,
        version: Some(Version(version)),
        body: body(row, now),
        live: Ok(Vec::new()),
    })
}

/// Whether a row says that its job has live runs.
pub(crate) fn has_live(row: &[Cell]) -> bool {
    row[13].int() != Ok(0)
}

/// A job in a list; `None` for the trace of one that is gone.
pub(crate) fn listed(row: &[Cell], now: Timestamp) -> Option<Listed> {
    let Snapshot { id, body, .. } = snapshot(row, now)?;
    (!matches!(body, Body::Nothing { .. })).then(|| Listed {
        id,
        at: row[15].int().unwrap_or(i64::MAX),
        body,
    })
}

fn body(row: &[Cell], now: Timestamp) -> Body {
    let fence = Fence(row[11].int().unwrap_or(0) as u64);
    let document = match row[14].maybe_text() {
        Ok(None) => return Body::Nothing { fence },
        Ok(Some(document)) => Ok(document),
        Err(error) => Err(error),
    };
    let read = document.and_then(|document| Ok((state(row)?, document)));
    match read {
        Ok((state, document)) => Body::Job {
            state,
            document: document.into(),
        },
        Err(error) => Body::Damaged(Damaged {
            error,
            stored: row[14].text().unwrap_or_default().to_owned(),
            revision: row[9].int().unwrap_or(0) as u64,
            fence,
            paused: paused(&row[7]).ok().flatten(),
            wake_at: maybe_time(&row[12]).ok().flatten().unwrap_or(now),
        }),
    }
}

fn paused(cell: &Cell) -> Result<Option<Paused>, Broken> {
    let text = cell.maybe_text()?;
    text.map(|text| serde_json::from_str(text).map_err(|error| format!("paused: {error}")))
        .transpose()
}

fn state(row: &[Cell]) -> Result<JobState, Broken> {
    let phase = match row[8].text()? {
        "active" => Phase::Active,
        "finishing" => Phase::Finishing,
        other => {
            return Err(format!(
                "phase is {other:?}; this program knows active and finishing"
            ));
        }
    };
    let live = row[13].int()?;
    Ok(JobState {
        key: JobKey(row[2].int()? as u64),
        cursor: time(row[3].int()?)?,
        due_at: maybe_time(&row[4])?,
        extra: maybe_time(&row[5])?,
        manual_at: maybe_time(&row[6])?,
        paused: paused(&row[7])?.map(Box::new),
        phase,
        revision: row[9].int()? as u64,
        seq: row[10].int()? as u64,
        fence: Fence(row[11].int()? as u64),
        wake_at: maybe_time(&row[12])?,
        live: u32::try_from(live).map_err(|_| format!("{live} live runs"))?,
    })
}

/// A whole row, in the order of [`JOB_COLUMNS`].
pub(crate) fn job_values(
    version: u64,
    definition: &JobDefinition,
    document: &str,
    state: &JobState,
    live: usize,
) -> Vec<Value> {
    let tags = (!definition.tags.is_empty())
        .then(|| serde_json::to_string(&definition.tags).expect("tags are texts"));
    let mut values = vec![
        Value::Name(definition.id.as_str().to_owned()),
        Value::Int(version as i64),
        Value::Name(definition.task.as_str().to_owned()),
        Value::Name(definition.executor.as_str().to_owned()),
        Value::MaybeText(definition.given_name.as_deref().map(str::to_owned)),
        Value::MaybeText(tags),
        Value::Text(document.to_owned()),
    ];
    values.extend(cells_of(state, live));
    values
}

/// The columns of the state, in the order of [`STATE_COLUMNS`].
pub(crate) fn state_values(id: &JobId, version: u64, state: &JobState, live: usize) -> Vec<Value> {
    let mut values = vec![
        Value::Name(id.as_str().to_owned()),
        Value::Int(version as i64),
    ];
    values.extend(cells_of(state, live));
    values
}

fn cells_of(state: &JobState, live: usize) -> [Value; 13] {
    let paused = state
        .paused
        .as_deref()
        .map(|paused| serde_json::to_string(paused).expect("a pause is made of texts and times"));
    [
        Value::Int(state.key.0 as i64),
        Value::Int(state.cursor.as_microsecond()),
        micros(state.due_at),
        micros(state.extra),
        micros(state.manual_at),
        Value::MaybeText(paused),
        word(match state.phase {
            Phase::Active => "active",
            Phase::Finishing => "finishing",
        }),
        Value::Int(state.revision as i64),
        Value::Int(state.seq as i64),
        Value::Int(state.fence.0 as i64),
        micros(state.wake_at),
        Value::Int(live as i64),
        Value::Int(listed_at(state)),
    ]
}

/// A whole row, in the order of [`RUN_COLUMNS`].
pub(crate) fn run_values(run: &Run) -> Vec<Value> {
    vec![
        Value::Run(run.id),
        Value::Name(run.job_id.as_str().to_owned()),
        Value::Int(run.job_key.0 as i64),
        word(run.kind.as_str()),
        Value::Int(run.scheduled_at.as_microsecond()),
        Value::Int(run.due_at.as_microsecond()),
        Value::Int(run.attempt.into()),
        Value::Int(run.crashes.into()),
        Value::Int(run.instance as i64),
        word(run.state().as_str()),
        Value::MaybeText(run.reason.map(|reason| reason.as_str().to_owned())),
        Value::MaybeInt(run.node.map(|node| node.0 as i64)),
        Value::Int(run.fence.0 as i64),
        micros(run.lease_until),
        micros(run.started_at),
        micros(run.finished_at),
        Value::MaybeText(run.output.clone()),
        Value::MaybeText(run.error.clone()),
        Value::Flag(run.cancel_requested),
        micros(run.scheduled_until),
        Value::Int(run.count as i64),
        micros(run.superseded_at),
    ]
}

fn known<T>(what: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Broken> {
    parse(text).ok_or_else(|| format!("{what} is {text:?}, a word this program does not know"))
}

fn small(cell: &Cell) -> Result<u32, Broken> {
    let value = cell.int()?;
    u32::try_from(value).map_err(|_| format!("{value} is not from 0 to {}", u32::MAX))
}

/// Reads the columns [`RUN`].
pub(crate) fn run(row: &[Cell]) -> Result<Run, Broken> {
    let id = row[0].run()?;
    let read = || -> Result<Run, Broken> {
        let new = NewRun {
            id,
            job_id: JobId::new(row[1].text()?).map_err(|error| error.to_string())?,
            job_key: JobKey(row[2].int()? as u64),
            kind: known("kind", row[3].text()?, RunKind::parse)?,
            scheduled_at: time(row[4].int()?)?,
            due_at: time(row[5].int()?)?,
            instance: row[8].int()? as u64,
        };
        let mut run = Run::pending(new);
        run.attempt = small(&row[6])?;
        run.crashes = small(&row[7])?;
        run.reason = row[10]
            .maybe_text()?
            .map(|text| known("reason", text, Reason::parse))
            .transpose()?;
        run.node = row[11].maybe_int()?.map(|node| NodeId(node as u64));
        run.fence = Fence(row[12].int()? as u64);
        run.lease_until = maybe_time(&row[13])?;
        run.started_at = maybe_time(&row[14])?;
        run.finished_at = maybe_time(&row[15])?;
        run.output = row[16].maybe_text()?.map(str::to_owned);
        run.error = row[17].maybe_text()?.map(str::to_owned);
        run.cancel_requested = row[18].int()? != 0;
        run.scheduled_until = maybe_time(&row[19])?;
        run.count = row[20].int()? as u64;
        run.superseded_at = maybe_time(&row[21])?;
        let state = known("state", row[9].text()?, RunState::parse)?;
        Ok(run.with_stored_state(state))
    };
    read().map_err(|error| format!("run {id}: {error}"))
}

/// Rows of a newer program may not be readable; they are that program's.
pub(crate) fn readable<'r>(rows: impl IntoIterator<Item = &'r Vec<Cell>>) -> Vec<Run> {
    rows.into_iter()
        .filter_map(|row| {
            run(row)
                .inspect_err(|error| {
                    tracing::warn!(%error, "a row of the ledger cannot be read");
                })
                .ok()
        })
        .collect()
}
