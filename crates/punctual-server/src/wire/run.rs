//! Run JSON.

use punctual_core::run::{Reason, Run};
use serde_json::{Value, json};

use super::utc;

/// A row of the ledger.
pub(crate) fn run(run: &Run) -> Value {
    json!({
        "id": run.id.to_string(),
        "job_id": run.job_id.as_str(),
        "kind": run.kind.as_str(),
        "scheduled_at": utc(run.scheduled_at),
        "due_at": utc(run.due_at),
        "attempt": run.attempt,
        "state": run.state().as_str(),
        "reason": run.reason.map(Reason::as_str),
        "node": run.node.map(|node| node.to_string()),
        "fence": run.fence.0,
        "started_at": run.started_at.map(utc),
        "finished_at": run.finished_at.map(utc),
        "output": run.output,
        "error": run.error,
        "count": run.count,
        "scheduled_until": run.scheduled_until.map(utc),
        "superseded_at": run.superseded_at.map(utc),
        "idempotency_key": run.idempotency_key(),
        "cancel_requested": run.cancel_requested,
    })
}
