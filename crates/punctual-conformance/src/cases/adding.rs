//! Adding, replacing, finding and removing jobs.

use std::time::Duration;

use punctual_core::id::{Fence, JobId, RunId};
use punctual_core::job::{Backoff, Coalesce, OnCrash, Overlap, Policy, Retry, StoredJob};
use punctual_core::plan::{AddRefusal, FirstRun, JobChange, PauseRequest};
use punctual_core::run::{Reason, RunState};
use punctual_core::store::{Enqueued, FinishOutcome, JobQuery, Renewed, Updated};
use punctual_trigger::Trigger;

use crate::trial::{Trial, Verdict, job, job_id, words};

/// An id that is taken is refused, and the job that has it stays as it is.
pub async fn a_taken_id_is_refused(trial: Trial) -> Verdict {
    let first = trial.add(job("a").every(10)).await;
    assert_eq!(
        trial.try_add(job("a").every(20)).await.unwrap_err(),
        AddRefusal::Exists
    );
    assert_eq!(trial.get("a").await, first);
    Ok(())
}

/// Of several additions each is answered for itself, in order.
pub async fn each_addition_is_answered(trial: Trial) -> Verdict {
    let specs = ["a", "b", "a", "c"].map(|id| trial.addition(job(id)));
    let answers = trial
        .store
        .add_many(specs.into())
        .await
        .expect("the store works");
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.map(|added| added.job.id().to_string()))
        .collect();
    let ok = |id: &str| Ok(id.to_owned());
    assert_eq!(
        answers,
        [ok("a"), ok("b"), Err(AddRefusal::Exists), ok("c")]
    );
    assert!(
        trial
            .store
            .add_many(Vec::new())
            .await
            .expect("the store works")
            .is_empty()
    );
    Ok(())
}

/// Replacing a job keeps its pause, counts a revision, and says that it replaced.
pub async fn replacing_keeps_the_pause(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    let paused = trial
        .change(
            "a",
            JobChange::Pause(PauseRequest {
                by: Some("ann".to_owned()),
                note: Some("deploy".to_owned()),
                until: None,
            }),
        )
        .await;
    trial.go_to(1);
    let added = trial
        .try_add(job("a").every(20).replacing())
        .await
        .expect("replaced");
    assert!(added.replaced);
    assert_eq!(added.job.state.paused, paused.state.paused);
    assert_eq!(added.job.state.revision, 2);
    assert_eq!(added.job.definition.created_at, trial.at(0));
    assert_eq!(trial.get("a").await, added.job);
    assert!(
        !trial
            .try_add(job("b").replacing())
            .await
            .expect("added")
            .replaced
    );
    Ok(())
}

/// Replacing a job with the same trigger keeps cursor, phase and life: a redeploy moves nothing.
pub async fn replacing_with_the_same_trigger_moves_nothing(trial: Trial) -> Verdict {
    let first = trial.add(job("a").every(10)).await;
    trial.go_to(7);
    let added = trial
        .try_add(job("a").every(10).name("new").replacing())
        .await
        .expect("replaced");
    assert_eq!(added.job.state.key, first.state.key);
    assert_eq!(added.job.state.cursor, first.state.cursor);
    assert_eq!(added.job.next_run_time(), Some(trial.at(10)));
    assert_eq!(trial.get("a").await.definition.name(), "new");
    Ok(())
}

/// Replacing a job with another trigger begins another life, from now; what waited of the former does not run.
pub async fn replacing_with_another_trigger_begins_anew(trial: Trial) -> Verdict {
    let first = trial.add(job("a").every(10)).await;
    trial.enqueue("a").await;
    trial.go_to(7);
    let added = trial
        .try_add(job("a").every(20).replacing())
        .await
        .expect("replaced");
    assert_ne!(added.job.state.key, first.state.key);
    assert_eq!(trial.next_due().await, Some(trial.at(27)));
    assert_eq!(words(&trial.ledger("a").await), ["cancelled removed"]);
    Ok(())
}

/// Ids are kept byte for byte: case, spaces, accents and up to 191 characters of any script.
pub async fn ids_are_kept_byte_for_byte(trial: Trial) -> Verdict {
    let long = "é".repeat(191);
    let ids = [
        "a",
        "A",
        "a ",
        " a",
        "a/b",
        "a%b",
        "a_b",
        "e\u{301}",
        "\u{e9}",
        "日本語",
        "🦀",
        "'; --",
        &long,
    ];
    for id in ids {
        trial.add(job(id)).await;
    }
    for id in ids {
        assert_eq!(trial.get(id).await.id().as_str().as_bytes(), id.as_bytes());
    }
    assert_eq!(trial.ids(JobQuery::default()).await.len(), ids.len());
    trial
        .store
        .remove(&job_id("A"))
        .await
        .expect("the store works");
    assert!(trial.has("a").await && !trial.has("A").await);
    Ok(())
}

/// A definition comes back as it was given, every field of it.
pub async fn definitions_come_back_whole(trial: Trial) -> Verdict {
    let policy = Policy {
        misfire_grace_time: Some(Duration::from_micros(1_500_001)),
        coalesce: Coalesce::Off,
        max_instances: 7,
        overlap: Overlap::CancelRunning,
        retry: Some(Retry {
            backoff: Backoff::Exponential,
            jitter: Duration::from_millis(500),
            ..Retry::fixed(4, Duration::from_secs(3))
        }),
        timeout: Some(Duration::from_secs(90)),
        on_crash: OnCrash::GiveUp,
    };
    let trigger = Trigger::crontab("30 9 * * mon-fri").expect("it is right");
    let spec = job("a")
        .name("Täglich")
        .task("x:y.z")
        .executor("pool")
        .tags(&["a", "b"]);
    let added = trial.add(spec.trigger(trigger).policy(policy)).await;
    assert_eq!(trial.get("a").await, added);
    let listed = trial.list(JobQuery::default()).await.items;
    assert_eq!(listed, [StoredJob::Job(added)]);
    Ok(())
}

/// A trigger without a run left is refused; a date that is past is accepted and judged once.
pub async fn what_never_runs_is_refused(trial: Trial) -> Verdict {
    let past_year = Trigger::cron().year("2020").build().expect("it is right");
    let refused = trial
        .try_add(job("a").trigger(past_year))
        .await
        .unwrap_err();
    assert_eq!(refused, AddRefusal::NeverRuns);
    assert!(!trial.has("a").await);
    trial.add(job("b").once(trial.at(-60))).await;
    assert_eq!(trial.next_due().await, Some(trial.at(-60)));
    assert_eq!(trial.claim_one().await.scheduled_at, trial.at(-60));
    Ok(())
}

/// A job may be added paused, or with a first run of its own before its trigger's.
pub async fn the_first_run_can_be_chosen(trial: Trial) -> Verdict {
    let paused = trial
        .add(job("a").first_run(FirstRun::Paused(PauseRequest::default())))
        .await;
    assert_eq!(paused.next_run_time(), None);
    assert_eq!(trial.next_due().await, None);
    trial
        .add(job("b").first_run(FirstRun::At(trial.at(3))))
        .await;
    assert_eq!(trial.next_due().await, Some(trial.at(3)));
    trial.go_to(3);
    let run = trial.claim_one().await;
    assert_eq!((run.job_id.as_str(), run.scheduled_at), ("b", trial.at(3)));
    assert_eq!(trial.next_due().await, Some(trial.at(10)));
    Ok(())
}

/// What is not there is said to be missing, whatever is asked of it.
pub async fn missing_ids_are_missing(trial: Trial) -> Verdict {
    let (store, id, run) = (&trial.store, JobId::random(), RunId(7));
    assert_eq!(store.get(&id).await.expect("the store works"), None);
    assert_eq!(store.remove(&id).await.expect("the store works"), None);
    let updated = store
        .update(&id, None, JobChange::Resume)
        .await
        .expect("the store works");
    assert!(matches!(updated, Updated::Missing));
    let enqueued = store.enqueue(&id).await.expect("the store works");
    assert!(matches!(enqueued, Enqueued::Missing));
    assert_eq!(store.run(run).await.expect("the store works"), None);
    assert_eq!(
        store.request_cancel(run).await.expect("the store works"),
        None
    );
    let renewed = store
        .renew(Duration::from_secs(1), &[(run, Fence(1))])
        .await;
    assert_eq!(renewed.expect("the store works"), [Renewed::Lost]);
    let finish = punctual_core::plan::Finish {
        run,
        fence: Fence(1),
        ending: None,
        output: None,
        error: None,
        next_attempt_at: None,
    };
    assert_eq!(trial.finish_with(finish).await, FinishOutcome::Missing);
    assert_eq!(trial.next_due().await, None);
    assert_eq!(trial.ids(JobQuery::default()).await, [""; 0]);
    Ok(())
}

/// Removing a job returns what it was; its waiting runs are withdrawn, and its ledger stays.
pub async fn removing_withdraws_what_waits(trial: Trial) -> Verdict {
    let added = trial.add(job("a")).await;
    trial.enqueue("a").await;
    let removed = trial
        .store
        .remove(&job_id("a"))
        .await
        .expect("the store works");
    assert_eq!(
        removed
            .and_then(StoredJob::into_job)
            .map(|job| job.definition),
        Some(added.definition)
    );
    assert!(!trial.has("a").await);
    let rows = trial.ledger("a").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].state(), rows[0].reason),
        (RunState::Cancelled, Some(Reason::Removed))
    );
    assert_eq!(trial.next_due().await, None);
    Ok(())
}

/// Removing all jobs removes every one, withdraws what waits, and says how many there were.
pub async fn all_jobs_can_be_removed(trial: Trial) -> Verdict {
    for id in ["a", "b", "c"] {
        trial.add(job(id)).await;
    }
    trial.enqueue("a").await;
    trial.go_to(10);
    let run = trial.claim().await.jobs[0].started[0].clone();
    trial.enqueue("c").await;
    assert_eq!(trial.store.remove_all().await.expect("the store works"), 3);
    assert_eq!(trial.store.remove_all().await.expect("the store works"), 0);
    assert_eq!(trial.ids(JobQuery::default()).await, [""; 0]);
    assert_eq!(trial.next_due().await, None);
    trial.succeed(&run).await;
    trial.go_to(20);
    trial.add(job("a")).await;
    trial.go_to(30);
    assert!(
        trial.claim_one().await.fence > run.fence,
        "tokens go on growing"
    );
    Ok(())
}
