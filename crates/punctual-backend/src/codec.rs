//! State and runs as JSON, for stores that keep documents. Times are microseconds since 1970, ids are text.

use jiff::Timestamp;
use punctual_core::id::{Fence, JobId, JobKey, NodeId, RunId};
use punctual_core::job::{JobState, Paused, Phase};
use punctual_core::run::{NewRun, Reason, Run, RunKind, RunState};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct StateDocument {
    key: JobKeyText,
    cursor: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<Paused>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manual_at: Option<i64>,
    #[serde(default, skip_serializing_if = "is_false")]
    finishing: bool,
    revision: u64,
    seq: u64,
    fence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wake_at: Option<i64>,
    #[serde(default)]
    live: u32,
}

#[derive(Serialize, Deserialize)]
struct RunDocument {
    id: String,
    job_id: String,
    job_key: JobKeyText,
    kind: RunKind,
    scheduled_at: i64,
    due_at: i64,
    attempt: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    crashes: u32,
    instance: u64,
    state: RunState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    fence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    cancel_requested: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheduled_until: Option<i64>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superseded_at: Option<i64>,
}

/// A job key as 16 hexadecimal digits: some readers of JSON keep no whole numbers beyond 2^53.
#[derive(Serialize, Deserialize)]
struct JobKeyText(String);

impl JobKeyText {
    fn read(&self) -> Result<JobKey, String> {
        u64::from_str_radix(&self.0, 16)
            .map(JobKey)
            .map_err(|error| format!("job key {:?}: {error}", self.0))
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_one(value: &u64) -> bool {
    *value == 1
}

fn one() -> u64 {
    1
}

fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_microsecond)
}

fn time(micros: i64) -> Result<Timestamp, String> {
    Timestamp::from_microsecond(micros).map_err(|error| error.to_string())
}

fn maybe_time(micros: Option<i64>) -> Result<Option<Timestamp>, String> {
    micros.map(time).transpose()
}

/// A job's state as JSON text.
pub fn write_state(state: &JobState) -> String {
    let document = StateDocument {
        key: JobKeyText(state.key.to_string()),
        cursor: state.cursor.as_microsecond(),
        due_at: micros(state.due_at),
        extra: micros(state.extra),
        paused: state.paused.as_deref().cloned(),
        manual_at: micros(state.manual_at),
        finishing: state.phase == Phase::Finishing,
        revision: state.revision,
        seq: state.seq,
        fence: state.fence.0,
        wake_at: micros(state.wake_at),
        live: state.live,
    };
    serde_json::to_string(&document).expect("a state is made of texts and numbers")
}

/// Reads what [`write_state`] wrote; the error says what does not fit.
pub fn read_state(text: &str) -> Result<JobState, String> {
    let document: StateDocument =
        serde_json::from_str(text).map_err(|error| format!("state: {error}"))?;
    Ok(JobState {
        key: document.key.read()?,
        cursor: time(document.cursor)?,
        due_at: maybe_time(document.due_at)?,
        extra: maybe_time(document.extra)?,
        paused: document.paused.map(Box::new),
        manual_at: maybe_time(document.manual_at)?,
        phase: if document.finishing {
            Phase::Finishing
        } else {
            Phase::Active
        },
        revision: document.revision,
        seq: document.seq,
        fence: Fence(document.fence),
        wake_at: maybe_time(document.wake_at)?,
        live: document.live,
    })
}

/// A row of the ledger as JSON text.
pub fn write_run(run: &Run) -> String {
    let document = RunDocument {
        id: run.id.to_string(),
        job_id: run.job_id.to_string(),
        job_key: JobKeyText(run.job_key.to_string()),
        kind: run.kind,
        scheduled_at: run.scheduled_at.as_microsecond(),
        due_at: run.due_at.as_microsecond(),
        attempt: run.attempt,
        crashes: run.crashes,
        instance: run.instance,
        state: run.state(),
        reason: run.reason,
        node: run.node.map(|node| node.to_string()),
        fence: run.fence.0,
        lease_until: micros(run.lease_until),
        started_at: micros(run.started_at),
        finished_at: micros(run.finished_at),
        output: run.output.clone(),
        error: run.error.clone(),
        cancel_requested: run.cancel_requested,
        scheduled_until: micros(run.scheduled_until),
        count: run.count,
        superseded_at: micros(run.superseded_at),
    };
    serde_json::to_string(&document).expect("a run is made of texts and numbers")
}

/// Reads what [`write_run`] wrote; the error says what does not fit.
pub fn read_run(text: &str) -> Result<Run, String> {
    let document: RunDocument =
        serde_json::from_str(text).map_err(|error| format!("run: {error}"))?;
    let id: RunId = document
        .id
        .parse()
        .map_err(|error| format!("run id {:?}: {error}", document.id))?;
    let mut run = Run::pending(NewRun {
        id,
        job_id: JobId::new(&document.job_id).map_err(|error| error.to_string())?,
        job_key: document.job_key.read()?,
        kind: document.kind,
        scheduled_at: time(document.scheduled_at)?,
        due_at: time(document.due_at)?,
        instance: document.instance,
    });
    let node = document.node.map(|node| {
        node.parse::<NodeId>()
            .map_err(|error| format!("node {node:?}: {error}"))
    });
    run.attempt = document.attempt;
    run.crashes = document.crashes;
    run.reason = document.reason;
    run.node = node.transpose()?;
    run.fence = Fence(document.fence);
    run.lease_until = maybe_time(document.lease_until)?;
    run.started_at = maybe_time(document.started_at)?;
    run.finished_at = maybe_time(document.finished_at)?;
    run.output = document.output;
    run.error = document.error;
    run.cancel_requested = document.cancel_requested;
    run.scheduled_until = maybe_time(document.scheduled_until)?;
    run.count = document.count;
    run.superseded_at = maybe_time(document.superseded_at)?;
    Ok(run.with_stored_state(document.state))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_microsecond(micros).unwrap()
    }

    #[test]
    fn states_come_back_whole() {
        let bare = JobState {
            key: JobKey(u64::MAX >> 1),
            cursor: at(-5),
            due_at: None,
            extra: None,
            paused: None,
            manual_at: None,
            phase: Phase::Active,
            revision: 1,
            seq: 1,
            fence: Fence(0),
            wake_at: None,
            live: 0,
        };
        let full = JobState {
            due_at: Some(at(i64::from(u32::MAX) * 1_000_000 + 1)),
            extra: Some(at(2)),
            paused: Some(Box::new(Paused {
                at: at(3),
                by: Some("ann".to_owned()),
                note: None,
                until: Some(at(4)),
            })),
            manual_at: Some(at(5)),
            phase: Phase::Finishing,
            wake_at: Some(at(6)),
            live: 7,
            fence: Fence(1 << 40),
            ..bare.clone()
        };
        for state in [bare, full] {
            assert_eq!(read_state(&write_state(&state)), Ok(state));
        }
        assert!(read_state("{}").is_err());
        assert!(read_state("").is_err());
    }

    #[test]
    fn runs_come_back_whole() {
        let bare = Run::pending(NewRun {
            id: RunId(1 << 127),
            job_id: JobId::new("ü \"x\"").unwrap(),
            job_key: JobKey(3),
            kind: RunKind::Manual,
            scheduled_at: at(1),
            due_at: at(2),
            instance: 9,
        });
        let mut full = bare.clone();
        full.start(NodeId(77), Fence(8), at(3), Duration::from_secs(1))
            .unwrap();
        full.attempt = 3;
        full.crashes = 2;
        full.output = Some("out".to_owned());
        full.error = Some(String::new());
        full.cancel_requested = true;
        full.count = 5;
        full.scheduled_until = Some(at(10));
        full.superseded_at = Some(at(11));
        let mut over = full.clone();
        over.lose(Reason::NodeDied, at(12)).unwrap();
        for run in [bare, full, over] {
            assert_eq!(read_run(&write_run(&run)), Ok(run));
        }
        assert!(read_run("{}").is_err());
    }
}
