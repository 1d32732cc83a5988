//! Pausing and resuming.

use punctual_core::plan::{JobChange, PauseRequest};
use punctual_core::run::{Reason, RunState};
use punctual_core::store::Updated;

use crate::trial::{Trial, Verdict, job, words};

/// Once a pause is acknowledged, no run of the job is claimed; the job says who paused it, why and since when.
pub async fn a_paused_job_is_not_claimed(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let request = PauseRequest {
        by: Some("ann".to_owned()),
        note: Some("why".to_owned()),
        until: None,
    };
    trial.change("a", JobChange::Pause(request)).await;
    assert!(trial.claim().await.jobs.is_empty());
    assert_eq!(trial.next_due().await, None);
    let job = trial.get("a").await;
    assert_eq!(job.next_run_time(), None);
    let paused = job.state.paused.expect("it is paused");
    assert_eq!(
        (paused.at, paused.by.as_deref(), paused.note.as_deref()),
        (trial.at(10), Some("ann"), Some("why"))
    );
    trial.go_to(20);
    let again = trial.pause("a").await.state.paused.expect("it is paused");
    assert_eq!(
        (again.at, again.by),
        (trial.at(10), None),
        "since when stays"
    );
    Ok(())
}

/// Resuming makes up nothing: what was due meanwhile is one row, and the job goes on from now.
pub async fn resuming_leaves_one_row(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.pause("a").await;
    trial.go_to(35);
    let resumed = trial.change("a", JobChange::Resume).await;
    assert_eq!(resumed.next_run_time(), Some(trial.at(40)));
    let rows = trial.ledger("a").await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(
        (row.state(), row.reason),
        (RunState::Skipped, Some(Reason::Paused))
    );
    assert_eq!(
        (row.scheduled_at, row.scheduled_until, row.count),
        (trial.at(10), Some(trial.at(30)), 3)
    );
    assert!(trial.claim().await.jobs.is_empty());
    trial.change("a", JobChange::Resume).await;
    assert_eq!(
        trial.ledger("a").await.len(),
        1,
        "resuming what is not paused does nothing"
    );
    Ok(())
}

/// Pausing and resuming between two occurrences leaves no row and moves nothing.
pub async fn a_short_pause_leaves_no_trace(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(3);
    trial.pause("a").await;
    trial.go_to(7);
    trial.change("a", JobChange::Resume).await;
    assert_eq!(trial.next_due().await, Some(trial.at(10)));
    assert!(trial.ledger("a").await.is_empty());
    Ok(())
}

/// A pause with an end ends by itself, as if somebody had resumed the job then.
pub async fn a_pause_may_end_by_itself(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    let until = Some(trial.at(25));
    trial
        .change(
            "a",
            JobChange::Pause(PauseRequest {
                until,
                ..PauseRequest::default()
            }),
        )
        .await;
    assert_eq!(trial.next_due().await, until);
    trial.go_to(24);
    assert!(trial.claim().await.jobs.is_empty());
    trial.go_to(25);
    trial.claim().await;
    assert_eq!(trial.get("a").await.next_run_time(), Some(trial.at(30)));
    assert_eq!(words(&trial.ledger("a").await), ["skipped paused"]);
    Ok(())
}

/// What comes after the end of a pause was missed, not paused, however late anybody looks.
pub async fn nothing_is_paused_after_the_end(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    let pause = PauseRequest {
        until: Some(trial.at(25)),
        ..PauseRequest::default()
    };
    trial.change("a", JobChange::Pause(pause)).await;
    trial.go_to(55);
    assert_eq!(trial.claim_one().await.scheduled_at, trial.at(50));
    let mut rows = trial.ledger("a").await;
    rows.sort_unstable_by_key(|run| run.scheduled_at);
    let told: Vec<_> = rows
        .iter()
        .map(|run| (run.scheduled_at, run.count, run.reason))
        .collect();
    let expected = [
        (trial.at(10), 2, Some(Reason::Paused)),
        (trial.at(30), 1, Some(Reason::Coalesced)),
        (trial.at(40), 1, Some(Reason::Coalesced)),
        (trial.at(50), 1, None),
    ];
    assert_eq!(told, expected);
    Ok(())
}

/// A run that is under way when its job is paused goes on, and its finish counts.
pub async fn a_pause_leaves_running_runs_alone(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let run = trial.claim_one().await;
    trial.pause("a").await;
    trial.succeed(&run).await;
    assert_eq!(trial.run(run.id).await.state(), RunState::Succeeded);
    Ok(())
}

/// A manual run of a paused job waits until it is resumed.
pub async fn a_manual_run_waits_out_a_pause(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.pause("a").await;
    let run = trial.enqueue("a").await;
    assert_eq!(
        (run.state(), run.reason),
        (RunState::Pending, Some(Reason::Paused))
    );
    assert!(trial.claim().await.jobs.is_empty());
    assert_eq!(trial.next_due().await, None);
    trial.change("a", JobChange::Resume).await;
    assert_eq!(trial.claim_one().await.id, run.id);
    Ok(())
}

/// A job whose time passed while it was paused is gone when it is resumed, and its row says why.
pub async fn resuming_too_late_removes_the_job(trial: Trial) -> Verdict {
    trial.add(job("a").once(trial.at(10))).await;
    trial.pause("a").await;
    trial.go_to(20);
    let updated = trial.update("a", JobChange::Resume).await;
    assert!(matches!(updated, Updated::Removed(_)), "{updated:?}");
    assert!(!trial.has("a").await);
    assert_eq!(words(&trial.ledger("a").await), ["skipped paused"]);
    Ok(())
}
