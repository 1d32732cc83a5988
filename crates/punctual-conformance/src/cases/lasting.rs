//! What outlives a process, and what cannot be read.

use punctual_core::id::NodeId;
use punctual_core::job::StoredJob;
use punctual_core::plan::{AddRefusal, JobChange, PauseRequest};
use punctual_core::run::{Ending, Reason, RunState};
use punctual_core::store::{Enqueued, Expect, FinishOutcome, JobQuery, Updated};
use serde_json::json;

use crate::trial::{Trial, Verdict, held, job, job_id, skipped, started, words};

/// After a restart everything is as it was: jobs, ledger, records, logs.
pub async fn a_restart_changes_nothing(trial: Trial) -> Verdict {
    let added = trial.add(job("a").name("n").tags(&["x"])).await;
    trial.add(job("b")).await;
    let paused = trial.pause("b").await;
    trial.go_to(10);
    let run = trial.claim_one().await;
    trial.succeed(&run).await;
    let row = trial.run(run.id).await;
    let put = trial
        .store
        .put_record("space", "key", Some(json!(1)), Expect::Any)
        .await;
    assert!(put.expect("the store works"));
    let position = trial
        .store
        .append_log("log", json!(2))
        .await
        .expect("the store works");
    let before = trial.get("a").await;
    let trial = trial.reopened().await?;
    assert_eq!(trial.get("a").await, before);
    assert_eq!(before.definition, added.definition);
    assert_eq!(trial.get("b").await, paused);
    assert_eq!(trial.ledger("a").await, [row]);
    let record = trial
        .store
        .record("space", "key")
        .await
        .expect("the store works");
    assert_eq!(
        record.map(|record| (record.value, record.version)),
        Some((json!(1), 1))
    );
    let log = trial
        .store
        .read_log("log", 0, 9)
        .await
        .expect("the store works");
    assert_eq!((log.len(), log[0].position), (1, position));
    Ok(())
}

/// After a stop, however long, scheduling goes on from the cursor: nothing is forgotten.
pub async fn a_restart_goes_on_from_the_cursor(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let run = trial.claim_one().await;
    trial.succeed(&run).await;
    let trial = trial.reopened().await?;
    trial.go_to(45);
    let claimed = trial.claim().await;
    assert_eq!(started(&claimed)[0].scheduled_at, trial.at(40));
    let missed: Vec<_> = skipped(&claimed)
        .iter()
        .map(|run| run.scheduled_at)
        .collect();
    assert_eq!(missed, [trial.at(20), trial.at(30)]);
    Ok(())
}

/// A crash between claim and finish loses no occurrence: once its lease has ended, it runs again.
pub async fn a_crash_between_claim_and_finish_is_made_good(trial: Trial) -> Verdict {
    trial.add(job("a").every(3600)).await;
    trial.go_to(3600);
    let first = trial.claim_one().await;
    let trial = trial.reopened().await?;
    assert!(
        trial.claim().await.jobs.is_empty(),
        "it is still its owner's"
    );
    let owned = trial
        .store
        .owned_by(NodeId(1))
        .await
        .expect("the store works");
    assert_eq!(owned.iter().map(held).collect::<Vec<_>>(), [held(&first)]);
    trial.go_to(3630);
    assert_eq!(trial.reclaim().await.len(), 1);
    let second = trial.claim_one().await;
    assert_eq!(second.idempotency_key(), first.idempotency_key());
    assert_eq!(second.attempt, 2);
    assert!(second.fence > first.fence);
    Ok(())
}

/// Tokens grow for ever: also over a removal and a restart.
pub async fn fences_survive_a_restart(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let old = trial.claim_one().await;
    trial.succeed(&old).await;
    trial
        .store
        .remove(&job_id("a"))
        .await
        .expect("the store works");
    let trial = trial.reopened().await?;
    trial.add(job("a")).await;
    trial.go_to(20);
    assert!(trial.claim_one().await.fence > old.fence);
    Ok(())
}

/// What one node writes, another sees; what one claims, another does not.
pub async fn nodes_see_each_other(trial: Trial) -> Verdict {
    let second = trial.second().await?;
    trial.add(job("a")).await;
    let seen = second.get(&job_id("a")).await.expect("the store works");
    assert_eq!(seen, Some(StoredJob::Job(trial.get("a").await)));
    trial.go_to(10);
    let request = trial.request(10);
    let taken = second.claim(request).await.expect("the store works");
    assert_eq!(started(&taken).len(), 1);
    assert!(trial.claim().await.jobs.is_empty());
    second
        .update(
            &job_id("a"),
            None,
            JobChange::Pause(PauseRequest::default()),
        )
        .await
        .expect("the store works");
    assert!(trial.get("a").await.state.paused.is_some());
    trial.succeed(&started(&taken)[0]).await;
    let row = second
        .run(started(&taken)[0].id)
        .await
        .expect("the store works");
    assert_eq!(row.map(|row| row.state()), Some(RunState::Succeeded));
    Ok(())
}

/// A job that cannot be read is shown as such with what is stored, is not claimed, and stands in nobody's way.
pub async fn an_unreadable_job_is_kept_and_shown(trial: Trial) -> Verdict {
    for id in ["a", "b"] {
        trial.add(job(id)).await;
    }
    trial.corrupt("a")?;
    trial.go_to(10);
    assert_eq!(trial.claim_one().await.job_id.as_str(), "b");
    assert!(trial.claim().await.jobs.is_empty());
    assert_eq!(
        trial.next_due().await,
        Some(trial.at(20)),
        "it wakes nobody"
    );
    let found = trial
        .store
        .get(&job_id("a"))
        .await
        .expect("the store works");
    let Some(StoredJob::Unreadable(unreadable)) = found else {
        panic!("{found:?}");
    };
    assert!(!unreadable.error.is_empty() && !unreadable.stored.is_empty());
    assert_eq!(trial.ids(JobQuery::default()).await, ["b", "a"]);
    let limited = JobQuery {
        limit: 1,
        ..JobQuery::default()
    };
    let page = trial.list(limited.clone()).await;
    let rest = trial
        .list(JobQuery {
            cursor: page.next_cursor,
            ..limited
        })
        .await;
    assert_eq!(rest.items, [StoredJob::Unreadable(unreadable)]);
    let trial = trial.reopened().await?;
    trial.go_to(20);
    assert!(
        started(&trial.claim().await).is_empty(),
        "b is still running"
    );
    assert!(trial.has("a").await);
    Ok(())
}

/// A job that cannot be read is changed by nobody and replaced only on request; it can be removed.
pub async fn an_unreadable_job_goes_only_on_request(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.pause("a").await;
    trial.corrupt("a")?;
    let updated = trial.update("a", JobChange::Resume).await;
    assert!(matches!(updated, Updated::Unreadable(_)), "{updated:?}");
    let enqueued = trial
        .store
        .enqueue(&job_id("a"))
        .await
        .expect("the store works");
    assert!(matches!(enqueued, Enqueued::Unreadable(_)), "{enqueued:?}");
    assert_eq!(
        trial.try_add(job("a")).await.unwrap_err(),
        AddRefusal::Exists
    );
    let added = trial.try_add(job("a").replacing()).await.expect("replaced");
    assert!(added.replaced);
    assert!(
        added.job.state.paused.is_some(),
        "also then the pause is kept"
    );
    assert_eq!(trial.get("a").await, added.job);
    trial.corrupt("a")?;
    let removed = trial
        .store
        .remove(&job_id("a"))
        .await
        .expect("the store works");
    assert!(
        matches!(removed, Some(StoredJob::Unreadable(_))),
        "{removed:?}"
    );
    assert!(!trial.has("a").await);
    Ok(())
}

/// Runs of a job that cannot be read end as they would: results count, and dead owners lose them.
pub async fn runs_of_an_unreadable_job_end(trial: Trial) -> Verdict {
    for id in ["a", "b"] {
        trial.add(job(id)).await;
    }
    trial.go_to(10);
    let runs = started(&trial.claim().await);
    trial.corrupt("a")?;
    trial.corrupt("b")?;
    let outcome = trial.finish(&runs[0], Ending::Succeeded).await;
    assert_eq!(outcome, FinishOutcome::Accepted { job_removed: false });
    trial.go_to(40);
    let reclaimed = trial
        .store
        .reclaim_expired(NodeId(5), punctual_core::store::ReclaimScope::Expired)
        .await;
    let reclaimed = reclaimed.expect("the store works");
    assert_eq!(
        (reclaimed.len(), reclaimed[0].run.reason),
        (1, Some(Reason::LeaseExpired))
    );
    assert_eq!(words(&trial.ledger("a").await), ["succeeded"]);
    assert!(trial.has("a").await && trial.has("b").await);
    Ok(())
}
