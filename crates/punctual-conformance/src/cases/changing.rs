//! Changing a job that is there.

use punctual_core::id::{ExecutorName, TaskName};
use punctual_core::plan::{JobChange, JobPatch};
use punctual_core::run::{Ending, RunState};
use punctual_core::store::{ClaimRequest, FinishOutcome, Updated};

use crate::trial::{
    Trial, Verdict, change_trigger, count, every, filter, job, job_id, started, words,
};

fn patch(patch: JobPatch) -> JobChange {
    JobChange::Modify(Box::new(patch))
}

fn rename(name: &str) -> JobChange {
    patch(JobPatch {
        name: Some(name.into()),
        ..JobPatch::default()
    })
}

/// A change that expects another revision than the job has is refused, and says which it has.
pub async fn a_stale_change_is_refused(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    let id = job_id("a");
    let update = |expected, name: &str| trial.store.update(&id, Some(expected), rename(name));
    let first = update(1, "one").await.expect("the store works");
    assert!(matches!(first, Updated::Job(job) if job.state.revision == 2));
    let second = update(1, "two").await.expect("the store works");
    assert!(matches!(second, Updated::Conflict(2)), "{second:?}");
    assert_eq!(trial.get("a").await.definition.name(), "one");
    Ok(())
}

/// A change of anything but the trigger moves neither cursor nor phase; nor does the trigger, given as it was.
pub async fn an_edit_moves_nothing(trial: Trial) -> Verdict {
    let added = trial.add(job("a")).await;
    trial.go_to(7);
    let same = trial.ready(&every(10_000_000));
    for change in [rename("new"), change_trigger(same)] {
        let changed = trial.change("a", change).await;
        assert_eq!(changed.state.cursor, added.state.cursor);
        assert_eq!(changed.next_run_time(), Some(trial.at(10)));
        assert_eq!(changed.definition.updated_at, trial.at(7));
        assert_eq!(trial.get("a").await, changed);
    }
    Ok(())
}

/// A changed trigger starts from now: what was due before is no misfire.
pub async fn a_changed_trigger_starts_from_now(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(35);
    let ready = trial.ready(&every(20_000_000));
    let changed = trial.change("a", change_trigger(ready)).await;
    assert_eq!(changed.next_run_time(), Some(trial.at(55)));
    assert!(trial.ledger("a").await.is_empty());
    trial.go_to(55);
    assert_eq!(trial.claim_one().await.scheduled_at, trial.at(55));
    Ok(())
}

/// The next run can be set, earlier or later; the trigger goes on from there.
pub async fn the_next_run_can_be_set(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    for (next, then) in [(3, 10), (34, 40)] {
        let next = trial.at(next);
        let change = patch(JobPatch {
            next_run_time: Some(next),
            ..JobPatch::default()
        });
        let changed = trial.change("a", change).await;
        assert_eq!(changed.next_run_time(), Some(next));
        assert_eq!(trial.next_due().await, Some(next));
        trial.go_to_micros(next.duration_since(trial.at(0)).as_micros() as i64);
        let run = trial.claim_one().await;
        assert_eq!(run.scheduled_at, next);
        trial.succeed(&run).await;
        assert_eq!(trial.next_due().await, Some(trial.at(then)));
    }
    Ok(())
}

/// Setting the next run to a moment that was decided already decides nothing twice, and stops no claim.
pub async fn a_decided_moment_is_not_decided_again(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.add(job("b")).await;
    trial.go_to(10);
    for run in started(&trial.claim().await) {
        trial.succeed(&run).await;
    }
    for next in [10, 5] {
        let change = patch(JobPatch {
            next_run_time: Some(trial.at(next)),
            ..JobPatch::default()
        });
        trial.change("a", change).await;
        trial.clock.advance(std::time::Duration::from_micros(10));
        for run in started(&trial.claim().await) {
            trial.succeed(&run).await;
        }
    }
    trial.go_to(20);
    assert!(
        started(&trial.claim().await)
            .iter()
            .any(|run| run.job_id.as_str() == "b")
    );
    let rows = trial.ledger("a").await;
    let mut moments: Vec<_> = rows
        .iter()
        .map(|row| (row.job_key, row.scheduled_at))
        .collect();
    moments.sort_unstable();
    moments.dedup();
    assert_eq!(
        moments.len(),
        rows.len(),
        "each moment of one life has one decision"
    );
    Ok(())
}

/// A trigger that is changed back and forth decides no moment of one life twice, and stops no claim.
pub async fn a_trigger_may_be_changed_back(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let run = trial.claim_one().await;
    trial.succeed(&run).await;
    let once = punctual_trigger::Trigger::date(trial.at(10));
    trial.change("a", change_trigger(trial.ready(&once))).await;
    let again = started(&trial.claim().await);
    for run in &again {
        trial.succeed(run).await;
    }
    let rows = trial.ledger("a").await;
    let mut moments: Vec<_> = rows
        .iter()
        .map(|row| (row.job_key, row.scheduled_at))
        .collect();
    moments.sort_unstable();
    moments.dedup();
    assert_eq!(moments.len(), rows.len());
    Ok(())
}

/// A job that is given another task or executor is claimed by those who have them, and by nobody else.
pub async fn a_moved_job_is_claimed_elsewhere(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let change = JobPatch {
        task: Some(TaskName::new("u").expect("a name")),
        executor: Some(ExecutorName::new("pool").expect("a name")),
        ..JobPatch::default()
    };
    trial.change("a", patch(change)).await;
    assert_eq!(trial.next_due().await, None);
    assert!(trial.claim().await.jobs.is_empty());
    let filter = filter(&["u"], &[("pool", 1)]);
    let claimed = trial
        .claim_with(ClaimRequest {
            filter,
            ..trial.request(10)
        })
        .await;
    assert_eq!(started(&claimed).len(), 1);
    Ok(())
}

/// Computing the due time anew, for new zone data, goes by the cursor: nothing is lost or repeated.
pub async fn due_times_can_be_computed_anew(trial: Trial) -> Verdict {
    let added = trial.add(job("a")).await;
    trial.go_to(15);
    let schedule = added.definition.schedule.0.clone();
    let changed = trial.change("a", JobChange::Recompute(schedule)).await;
    assert_eq!(changed.state.due_at, Some(trial.at(10)));
    assert_eq!(changed.state.revision, 1);
    assert_eq!(trial.claim_one().await.scheduled_at, trial.at(10));
    Ok(())
}

/// A job may be removed while it runs: the run goes on, and its finish is accepted.
pub async fn a_run_outlives_its_job(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let run = trial.claim_one().await;
    trial
        .store
        .remove(&job_id("a"))
        .await
        .expect("the store works");
    assert_eq!(trial.run(run.id).await.state(), RunState::Running);
    let outcome = trial.finish(&run, Ending::Succeeded).await;
    assert_eq!(outcome, FinishOutcome::Accepted { job_removed: false });
    assert_eq!(words(&trial.ledger("a").await), ["succeeded"]);
    Ok(())
}

/// An id that is added again gets higher tokens than ever before, another life, and counts what still runs of the old.
pub async fn a_readded_id_gets_higher_fences(trial: Trial) -> Verdict {
    let first = trial.add(job("a")).await;
    trial.go_to(10);
    let old = trial.claim_one().await;
    trial
        .store
        .remove(&job_id("a"))
        .await
        .expect("the store works");
    let second = trial.add(job("a")).await;
    assert_ne!(first.state.key, second.state.key);
    trial.go_to(20);
    assert!(
        started(&trial.claim().await).is_empty(),
        "one instance is live already"
    );
    assert_eq!(count(&trial.ledger("a").await, RunState::Skipped), 1);
    trial.succeed(&old).await;
    trial.go_to(30);
    let new = trial.claim_one().await;
    assert!(new.fence > old.fence);
    assert_ne!(new.idempotency_key(), old.idempotency_key());
    Ok(())
}
