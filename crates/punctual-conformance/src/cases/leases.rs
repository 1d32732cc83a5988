//! Owners that die, freeze, or come back late.

use std::time::Duration;

use punctual_core::id::NodeId;
use punctual_core::job::{OnCrash, Policy};
use punctual_core::run::{Ending, Reason, RunState};
use punctual_core::store::{FinishOutcome, ReclaimScope, Renewed};

use crate::trial::{Trial, Verdict, held, job, job_id, started, words};

const OTHER: NodeId = NodeId(9);
const LEASE: Duration = Duration::from_secs(30);

/// A run whose lease has ended is lost and runs again: next attempt, same idempotency key, higher token.
pub async fn an_expired_lease_is_taken_over(trial: Trial) -> Verdict {
    trial.add(job("a").every(3600)).await;
    trial.go_to(3600);
    let first = started(&trial.claim_as(OTHER).await)[0].clone();
    assert_eq!(first.lease_until, Some(trial.at(3630)));
    trial.go_to(3629);
    assert!(trial.reclaim().await.is_empty(), "not before its end");
    trial.go_to(3630);
    let woken = trial.store.changed();
    let reclaimed = trial.reclaim().await;
    woken.await;
    assert_eq!(reclaimed.len(), 1);
    assert!(reclaimed[0].again);
    let lost = &reclaimed[0].run;
    assert_eq!(
        (lost.id, lost.state(), lost.reason),
        (first.id, RunState::Lost, Some(Reason::LeaseExpired))
    );
    assert!(trial.reclaim().await.is_empty(), "once");
    let second = trial.claim_one().await;
    assert_eq!((second.attempt, second.crashes), (2, 1));
    assert_eq!(second.idempotency_key(), first.idempotency_key());
    assert!(second.fence > first.fence);
    Ok(())
}

/// An occurrence that took its node down three times stays lost.
pub async fn the_third_crash_is_the_last(trial: Trial) -> Verdict {
    trial.add(job("a").every(86_400)).await;
    let mut now = 86_400;
    for attempt in 1..=3 {
        trial.go_to(now);
        let run = started(&trial.claim_as(OTHER).await)[0].clone();
        assert_eq!(run.attempt, attempt);
        now += 30;
        trial.go_to(now);
        assert_eq!(trial.reclaim().await[0].again, attempt < 3);
    }
    assert_eq!(words(&trial.ledger("a").await), ["lost lease_expired"; 3]);
    assert_eq!(trial.next_due().await, Some(trial.at(2 * 86_400)));
    Ok(())
}

/// Where a job gives up on a crash, its run stays lost the first time; a job without more to do is gone with it.
pub async fn a_job_may_give_up_on_a_crash(trial: Trial) -> Verdict {
    let policy = Policy {
        on_crash: OnCrash::GiveUp,
        ..Policy::default()
    };
    trial.add(job("a").once(trial.at(10)).policy(policy)).await;
    trial.go_to(10);
    trial.claim_as(OTHER).await;
    trial.go_to(40);
    assert!(!trial.reclaim().await[0].again);
    assert!(!trial.has("a").await);
    assert_eq!(trial.next_due().await, None);
    Ok(())
}

/// Renewing keeps a run from being taken; renewing a lease that has ended succeeds while nobody took the run.
pub async fn renewing_keeps_a_run(trial: Trial) -> Verdict {
    trial.add(job("a").every(3600)).await;
    trial.go_to(3600);
    let run = started(&trial.claim_as(OTHER).await)[0].clone();
    for now in [3620, 3640, 3700] {
        trial.go_to(now);
        let renewed = trial.store.renew(LEASE, &[held(&run)]).await;
        assert_eq!(renewed.expect("the store works"), [Renewed::Kept]);
        assert_eq!(
            trial.run(run.id).await.lease_until,
            Some(trial.at(now + 30))
        );
        assert!(trial.reclaim().await.is_empty());
    }
    Ok(())
}

/// A run that was taken over is lost to its former owner: renewal says so, answer by answer, and changes nothing.
pub async fn what_was_taken_is_lost(trial: Trial) -> Verdict {
    trial.add(job("a").every(3600)).await;
    trial.add(job("b").every(3600)).await;
    trial.go_to(3600);
    let old = started(&trial.claim_as(OTHER).await);
    trial
        .store
        .renew(Duration::from_mins(5), &[held(&old[1])])
        .await
        .expect("the store works");
    trial.go_to(3640);
    trial.reclaim().await;
    let new = trial.claim_one().await;
    let renewed = trial
        .store
        .renew(LEASE, &[held(&old[0]), held(&old[1]), held(&new)])
        .await;
    assert_eq!(
        renewed.expect("the store works"),
        [Renewed::Lost, Renewed::Kept, Renewed::Kept]
    );
    let wrong = (new.id, old[0].fence);
    assert_eq!(
        trial
            .store
            .renew(LEASE, &[wrong])
            .await
            .expect("the store works"),
        [Renewed::Lost]
    );
    Ok(())
}

/// A node that cut off its own work when the lease ran out loses the run as a dead node does: it is run again.
pub async fn work_that_was_cut_off_is_run_again(trial: Trial) -> Verdict {
    trial.add(job("a").every(3600)).await;
    trial.go_to(3600);
    let first = trial.claim_one().await;
    trial.go_to(3640);
    assert_eq!(
        trial.finish(&first, Ending::Lost).await,
        FinishOutcome::Accepted { job_removed: false }
    );
    let second = trial.claim_one().await;
    assert_eq!((second.attempt, second.crashes), (2, 1));
    assert_eq!(second.idempotency_key(), first.idempotency_key());
    assert!(second.fence > first.fence);
    trial.succeed(&second).await;
    assert_eq!(
        words(&trial.ledger("a").await),
        ["lost lease_expired", "succeeded"]
    );
    Ok(())
}

/// The late result of a former owner is refused and noted; the new owner's result stands.
pub async fn a_stale_fence_is_refused(trial: Trial) -> Verdict {
    trial.add(job("a").every(3600)).await;
    trial.go_to(3600);
    let old = started(&trial.claim_as(OTHER).await)[0].clone();
    trial.go_to(3630);
    trial.reclaim().await;
    let new = trial.claim_one().await;
    trial.go_to(3635);
    assert_eq!(
        trial.finish(&old, Ending::Succeeded).await,
        FinishOutcome::Superseded
    );
    let row = trial.run(old.id).await;
    assert_eq!(
        (row.state(), row.superseded_at),
        (RunState::Lost, Some(trial.at(3635)))
    );
    assert_eq!(trial.run(new.id).await.state(), RunState::Running);
    trial.succeed(&new).await;
    assert_eq!(
        words(&trial.ledger("a").await),
        ["lost lease_expired", "succeeded"]
    );
    Ok(())
}

/// A node does not reclaim from itself, nor from an owner whose death is not proven while it only asks for those.
pub async fn a_node_spares_itself(trial: Trial) -> Verdict {
    trial.add(job("a").every(3600)).await;
    trial.go_to(3600);
    let run = trial.claim_one().await;
    trial.go_to(3700);
    assert!(trial.reclaim().await.is_empty());
    let proven = trial
        .store
        .reclaim_expired(OTHER, ReclaimScope::ProvenDead)
        .await;
    assert!(proven.expect("the store works").is_empty());
    let expired = trial
        .store
        .reclaim_expired(OTHER, ReclaimScope::Expired)
        .await;
    assert_eq!(expired.expect("the store works")[0].run.id, run.id);
    Ok(())
}

/// A run of a job that is gone is taken from its dead owner too, and does not run again.
pub async fn a_run_without_a_job_stays_lost(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let run = started(&trial.claim_as(OTHER).await)[0].clone();
    trial
        .store
        .remove(&job_id("a"))
        .await
        .expect("the store works");
    trial.go_to(40);
    assert!(!trial.reclaim().await[0].again);
    assert_eq!(trial.run(run.id).await.state(), RunState::Lost);
    assert_eq!(trial.next_due().await, None);
    Ok(())
}

/// A node that has ended in order is nothing to be afraid of: registering and deregistering may be repeated.
pub async fn nodes_come_and_go(trial: Trial) -> Verdict {
    for _ in 0..2 {
        trial.store.register(OTHER).await.expect("the store works");
        trial.store.register(OTHER).await.expect("the store works");
        trial
            .store
            .deregister(OTHER)
            .await
            .expect("the store works");
        trial
            .store
            .deregister(OTHER)
            .await
            .expect("the store works");
    }
    Ok(())
}
