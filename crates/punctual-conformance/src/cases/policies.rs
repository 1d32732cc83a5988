//! What becomes of occurrences that are late, together, or too many: the rows of the ledger say so.

use std::time::Duration;

use punctual_core::decide::SKIPPED_ROWS_MAX;
use punctual_core::job::{Coalesce, Overlap, Policy};
use punctual_core::run::{Ending, Reason, RunState};
use punctual_core::store::{FinishOutcome, Renewed};

use crate::trial::{Trial, Verdict, count, held, job, skipped, started, words};

/// Of occurrences found due together the latest runs; the others leave rows that say `coalesced`.
pub async fn late_occurrences_coalesce(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(35);
    let claimed = trial.claim().await;
    assert_eq!(started(&claimed)[0].scheduled_at, trial.at(30));
    assert_eq!(skipped(&claimed).len(), 2);
    let rows = trial.ledger("a").await;
    let mut facts: Vec<_> = rows
        .iter()
        .map(|row| (row.scheduled_at, row.state(), row.reason))
        .collect();
    facts.sort();
    let coalesced = Some(Reason::Coalesced);
    assert_eq!(
        facts,
        [
            (trial.at(10), RunState::Skipped, coalesced),
            (trial.at(20), RunState::Skipped, coalesced),
            (trial.at(30), RunState::Running, None),
        ]
    );
    assert_eq!(trial.next_due().await, Some(trial.at(40)));
    Ok(())
}

/// An occurrence that is later than the misfire grace time does not run, and its row says `misfired`.
pub async fn a_misfire_does_not_run(trial: Trial) -> Verdict {
    let policy = Policy {
        misfire_grace_time: Some(Duration::from_secs(5)),
        ..Policy::default()
    };
    trial.add(job("a").policy(policy)).await;
    trial.go_to(15);
    let run = trial.claim_one().await;
    assert_eq!(
        run.scheduled_at,
        trial.at(10),
        "five seconds late is not too late"
    );
    trial.succeed(&run).await;
    trial.go_to_micros(25_000_001);
    let claimed = trial.claim().await;
    assert!(started(&claimed).is_empty());
    assert_eq!(words(&skipped(&claimed)), ["skipped misfired"]);
    assert_eq!(trial.next_due().await, Some(trial.at(30)));
    Ok(())
}

/// A misfire that was a job's last occurrence leaves its row, and the job is gone.
pub async fn a_last_misfire_removes_the_job(trial: Trial) -> Verdict {
    let policy = Policy {
        misfire_grace_time: Some(Duration::from_secs(5)),
        ..Policy::default()
    };
    trial.add(job("a").once(trial.at(10)).policy(policy)).await;
    trial.go_to(20);
    let claimed = trial.claim().await;
    assert!(claimed.jobs[0].removed);
    assert!(!trial.has("a").await);
    assert_eq!(words(&trial.ledger("a").await), ["skipped misfired"]);
    Ok(())
}

/// With coalescing off every occurrence runs, one after another, as one instance.
pub async fn without_coalescing_each_runs_in_turn(trial: Trial) -> Verdict {
    let policy = Policy {
        coalesce: Coalesce::Off,
        max_instances: 3,
        ..Policy::default()
    };
    trial.add(job("a").policy(policy)).await;
    trial.go_to(35);
    let mut ran = Vec::new();
    for _ in 0..3 {
        let run = trial.claim_one().await;
        assert!(trial.claim().await.jobs.is_empty(), "one at a time");
        assert_eq!(trial.next_due().await, Some(trial.at(40)));
        ran.push(run.scheduled_at);
        trial.succeed(&run).await;
    }
    assert_eq!(ran, [10, 20, 30].map(|second| trial.at(second)));
    assert_eq!(trial.next_due().await, Some(trial.at(40)));
    Ok(())
}

/// An occurrence beyond `max_instances` does not run, and its row says so; a finish makes room.
pub async fn instances_are_limited(trial: Trial) -> Verdict {
    let policy = Policy {
        max_instances: 2,
        ..Policy::default()
    };
    trial.add(job("a").policy(policy)).await;
    trial.go_to(10);
    let first = trial.claim_one().await;
    trial.go_to(20);
    trial.claim_one().await;
    trial.go_to(30);
    assert_eq!(
        words(&skipped(&trial.claim().await)),
        ["skipped max_instances"]
    );
    trial.succeed(&first).await;
    trial.go_to(40);
    assert_eq!(trial.claim_one().await.scheduled_at, trial.at(40));
    Ok(())
}

/// With `queue one` an occurrence waits for the running instance; a second that would wait is skipped.
pub async fn one_may_queue(trial: Trial) -> Verdict {
    let policy = Policy {
        overlap: Overlap::QueueOne,
        ..Policy::default()
    };
    trial.add(job("a").policy(policy)).await;
    trial.go_to(10);
    let first = trial.claim_one().await;
    trial.go_to(20);
    assert!(started(&trial.claim().await).is_empty());
    trial.go_to(30);
    trial.claim().await;
    assert_eq!(
        words(&trial.ledger("a").await),
        ["running", "pending", "skipped max_instances"]
    );
    assert_eq!(trial.next_due().await, Some(trial.at(40)));
    let woken = trial.store.changed();
    trial.succeed(&first).await;
    woken.await;
    assert_eq!(trial.next_due().await, Some(trial.at(20)));
    assert_eq!(trial.claim_one().await.scheduled_at, trial.at(20));
    Ok(())
}

/// With `cancel running` the running instance is asked to stop, and the next starts when it has.
pub async fn the_running_one_may_be_cancelled(trial: Trial) -> Verdict {
    let policy = Policy {
        overlap: Overlap::CancelRunning,
        ..Policy::default()
    };
    trial.add(job("a").policy(policy)).await;
    trial.go_to(10);
    let first = trial.claim_one().await;
    trial.go_to(20);
    let claimed = trial.claim().await;
    assert!(started(&claimed).is_empty());
    assert_eq!(claimed.jobs[0].cancelled, [first.id]);
    let renewed = trial
        .store
        .renew(Duration::from_secs(30), &[held(&first)])
        .await;
    assert_eq!(
        renewed.expect("the store works"),
        [Renewed::CancelRequested]
    );
    trial
        .finish(&first, Ending::Cancelled(Reason::Requested))
        .await;
    assert_eq!(trial.claim_one().await.scheduled_at, trial.at(20));
    Ok(())
}

/// Of very many skipped occurrences the latest hundred have rows; the rest share one that counts them.
pub async fn many_skipped_share_a_row(trial: Trial) -> Verdict {
    trial.add(job("a").every(1)).await;
    trial.go_to(1000);
    let claimed = trial.claim().await;
    assert_eq!(started(&claimed)[0].scheduled_at, trial.at(1000));
    let rows = trial.ledger("a").await;
    assert_eq!(count(&rows, RunState::Skipped), SKIPPED_ROWS_MAX + 1);
    let all: u64 = rows.iter().map(|row| row.count).sum();
    assert_eq!(all, 1000, "every occurrence is accounted for");
    let summary = rows
        .iter()
        .find(|row| row.count > 1)
        .expect("there is a summary");
    assert_eq!(
        (summary.scheduled_at, summary.scheduled_until),
        (trial.at(1), Some(trial.at(899)))
    );
    assert_eq!(summary.count, 899);
    Ok(())
}

/// A job without an occurrence left stays while its last run lives; that run's finish removes it.
pub async fn the_last_finish_removes_the_job(trial: Trial) -> Verdict {
    trial.add(job("a").once(trial.at(10))).await;
    trial.go_to(10);
    let claimed = trial.claim().await;
    assert!(!claimed.jobs[0].removed);
    let run = started(&claimed)[0].clone();
    assert_eq!(trial.get("a").await.next_run_time(), None);
    let outcome = trial.finish(&run, Ending::Failed).await;
    assert_eq!(outcome, FinishOutcome::Accepted { job_removed: true });
    assert!(!trial.has("a").await);
    assert_eq!(words(&trial.ledger("a").await), ["failed"]);
    Ok(())
}
