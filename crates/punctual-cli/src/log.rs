//! What the server logs, on stderr.

use punctual_core::event::{Event, EventKind};
use punctual_core::scheduler::Scheduler;
use tracing_subscriber::EnvFilter;

/// Logs as much as `PUNCTUAL_LOG` or `RUST_LOG` say; `info` unless told otherwise.
pub(crate) fn to_stderr() {
    let said = std::env::var("PUNCTUAL_LOG").or_else(|_| std::env::var("RUST_LOG"));
    let filter = EnvFilter::new(said.unwrap_or_else(|_| "info".to_owned()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // That nobody reads the log is no reason to fail; it would be written there, too.
        .log_internal_errors(false)
        .init();
}

/// Logs what an operator wants to know: failed, lost and skipped runs. Of its stores the
/// scheduler tells by itself.
pub(crate) fn events(scheduler: &Scheduler) {
    const KINDS: &[EventKind] = &[
        EventKind::JobError,
        EventKind::JobLost,
        EventKind::JobMissed,
        EventKind::JobMaxInstances,
    ];
    scheduler.add_listener(KINDS, log);
}

fn log(event: &Event) {
    let job = event.job_id.as_ref().map(tracing::field::display);
    let run = event.run.as_ref();
    let state = run.map(|run| tracing::field::display(run.state()));
    let error = run
        .and_then(|run| run.error.as_deref())
        .or(event.error.as_deref());
    let run = run.map(|run| tracing::field::display(run.id));
    match event.kind {
        EventKind::JobError => tracing::warn!(job, run, state, error, "a run did not succeed"),
        EventKind::JobLost => tracing::warn!(job, run, "a run was lost with its node"),
        EventKind::JobMissed => tracing::info!(job, run, "an occurrence was too late to run"),
        EventKind::JobMaxInstances => {
            tracing::info!(
                job,
                run,
                "an occurrence was skipped: as many runs as allowed were live"
            );
        }
        _ => {}
    }
}
