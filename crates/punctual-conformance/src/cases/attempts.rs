//! Manual runs, retries, cancelling and reporting.

use punctual_core::job::Policy;
use punctual_core::plan::Finish;
use punctual_core::run::{Ending, Reason, RunKind, RunState};
use punctual_core::store::{FinishOutcome, Renewed};
use std::time::Duration;

use crate::trial::{Trial, Verdict, finish, held, job, started, words};

/// A manual run is due at once and leaves the schedule alone.
pub async fn a_manual_run_leaves_the_schedule_alone(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(4);
    let asked = trial.enqueue("a").await;
    assert_eq!(
        (asked.state(), asked.kind, asked.scheduled_at),
        (RunState::Pending, RunKind::Manual, trial.at(4))
    );
    assert_eq!(trial.next_due().await, Some(trial.at(4)));
    let run = trial.claim_one().await;
    assert_eq!((run.id, run.attempt), (asked.id, 1));
    trial.succeed(&run).await;
    assert_eq!(trial.next_due().await, Some(trial.at(10)));
    trial.go_to(10);
    assert_eq!(trial.claim_one().await.kind, RunKind::Scheduled);
    Ok(())
}

/// A manual run obeys the overlap policy: beyond the limit it is skipped, and says so.
pub async fn a_manual_run_obeys_the_limit(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    trial.claim_one().await;
    let run = trial.enqueue("a").await;
    assert_eq!(
        (run.state(), run.reason),
        (RunState::Skipped, Some(Reason::MaxInstances))
    );
    assert_eq!(trial.run(run.id).await, run);
    Ok(())
}

/// Two manual runs that are asked for at the same moment are two.
pub async fn two_manual_runs_are_two(trial: Trial) -> Verdict {
    trial
        .add(job("a").policy(Policy {
            max_instances: 3,
            ..Policy::default()
        }))
        .await;
    let (first, second) = (trial.enqueue("a").await, trial.enqueue("a").await);
    assert_ne!(first.scheduled_at, second.scheduled_at);
    trial.clock.advance(Duration::from_micros(1));
    assert_eq!(started(&trial.claim().await).len(), 2);
    Ok(())
}

/// A retry is another attempt at the same occurrence: it waits, keeps the idempotency key, and has a higher token.
pub async fn a_retry_waits_its_time(trial: Trial) -> Verdict {
    trial.add(job("a").every(60)).await;
    trial.go_to(60);
    let first = trial.claim_one().await;
    let report = Finish {
        error: Some("no luck".to_owned()),
        next_attempt_at: Some(trial.at(75)),
        ..finish(&first, Some(Ending::Failed))
    };
    assert_eq!(
        trial.finish_with(report).await,
        FinishOutcome::Accepted { job_removed: false }
    );
    assert_eq!(trial.next_due().await, Some(trial.at(75)));
    assert!(trial.claim().await.jobs.is_empty());
    trial.go_to(75);
    let second = trial.claim_one().await;
    assert_eq!((second.attempt, second.crashes), (2, 0));
    assert_eq!(second.idempotency_key(), first.idempotency_key());
    assert!(second.fence > first.fence);
    assert_eq!(trial.run(first.id).await.error.as_deref(), Some("no luck"));
    Ok(())
}

/// The last attempt of a job without further occurrences keeps the job until it has ended.
pub async fn a_job_stays_for_its_retry(trial: Trial) -> Verdict {
    trial.add(job("a").once(trial.at(10))).await;
    trial.go_to(10);
    let first = trial.claim_one().await;
    let report = Finish {
        next_attempt_at: Some(trial.at(20)),
        ..finish(&first, Some(Ending::TimedOut))
    };
    assert_eq!(
        trial.finish_with(report).await,
        FinishOutcome::Accepted { job_removed: false }
    );
    trial.go_to(20);
    let second = trial.claim_one().await;
    let outcome = trial.finish(&second, Ending::Succeeded).await;
    assert_eq!(outcome, FinishOutcome::Accepted { job_removed: true });
    assert_eq!(words(&trial.ledger("a").await), ["timed_out", "succeeded"]);
    Ok(())
}

/// A waiting run that is cancelled is over at once; a running one is marked, and its node learns of it on renewal.
pub async fn runs_can_be_cancelled(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    let waiting = trial.enqueue("a").await;
    let cancel = |id| {
        let cancelled = trial.store.request_cancel(id);
        async {
            cancelled
                .await
                .expect("the store works")
                .expect("the run is there")
        }
    };
    let cancelled = cancel(waiting.id).await;
    assert_eq!(
        (cancelled.state(), cancelled.reason),
        (RunState::Cancelled, Some(Reason::Requested))
    );
    assert_eq!(trial.next_due().await, Some(trial.at(10)));
    trial.go_to(10);
    let run = trial.claim_one().await;
    assert!(cancel(run.id).await.cancel_requested);
    let renewed = trial
        .store
        .renew(Duration::from_secs(30), &[held(&run)])
        .await;
    assert_eq!(
        renewed.expect("the store works"),
        [Renewed::CancelRequested]
    );
    trial
        .finish(&run, Ending::Cancelled(Reason::Requested))
        .await;
    let over = cancel(run.id).await;
    assert_eq!(
        (over.state(), over.reason),
        (RunState::Cancelled, Some(Reason::Requested))
    );
    assert_eq!(over, trial.run(run.id).await, "what is over stays as it is");
    Ok(())
}

/// A run that is given back unstarted waits again, and is claimed again as the same attempt with a higher token.
pub async fn a_run_can_be_given_back(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let first = trial.claim_one().await;
    trial.finish_with(finish(&first, None)).await;
    assert_eq!(trial.next_due().await, Some(trial.at(10)));
    let second = trial.claim_one().await;
    assert_eq!((second.id, second.attempt), (first.id, 1));
    assert!(second.fence > first.fence);
    Ok(())
}

/// A run that is given back after its job began another life, or after it was asked to stop, does not wait to start again.
pub async fn what_is_given_back_in_vain_ends(trial: Trial) -> Verdict {
    for id in ["changed", "stopped"] {
        trial.add(job(id)).await;
    }
    trial.go_to(10);
    let runs = started(&trial.claim().await);
    let replaced = trial.try_add(job("changed").every(3).replacing()).await;
    assert!(replaced.expect("it is replaced").replaced);
    let asked = trial.store.request_cancel(runs[1].id).await;
    assert!(asked.expect("the store works").is_some());
    for run in &runs {
        trial.finish_with(finish(run, None)).await;
        let row = trial.run(run.id).await;
        let reason = if run.job_id.as_str() == "changed" {
            Reason::Removed
        } else {
            Reason::Requested
        };
        assert_eq!(
            (row.state(), row.reason),
            (RunState::Cancelled, Some(reason))
        );
    }
    assert!(trial.claim().await.jobs.is_empty());
    Ok(())
}

/// A result is kept as reported; the same run cannot end twice, and the second report is noted.
pub async fn a_run_ends_once(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let run = trial.claim_one().await;
    trial.go_to(12);
    let report = Finish {
        output: Some("printed äöü\n".to_owned()),
        error: Some("why".to_owned()),
        ..finish(&run, Some(Ending::Failed))
    };
    trial.finish_with(report.clone()).await;
    let row = trial.run(run.id).await;
    assert_eq!(
        (row.state(), row.finished_at, row.lease_until),
        (RunState::Failed, Some(trial.at(12)), None)
    );
    assert_eq!(
        (row.output.as_deref(), row.error.as_deref()),
        (Some("printed äöü\n"), Some("why"))
    );
    trial.go_to(13);
    assert_eq!(
        trial.finish_with(report).await,
        FinishOutcome::Accepted { job_removed: false },
        "whoever lost the answer may say it again"
    );
    assert_eq!(trial.run(run.id).await, row, "and nothing changes");
    assert_eq!(
        trial.finish(&run, Ending::Succeeded).await,
        FinishOutcome::Superseded
    );
    let after = trial.run(run.id).await;
    assert_eq!(
        (after.state(), after.superseded_at),
        (RunState::Failed, Some(trial.at(13)))
    );
    Ok(())
}
