//! Moving from one store to another.

use punctual_core::id::Fence;
use punctual_core::run::{Ending, RunState};
use punctual_core::store::MovedJob;

use crate::trial::{Trial, Verdict, job, job_id};

/// A job that moves goes on where it stood: life, cursor, pause, live runs, fence.
pub async fn a_job_moves_with_its_state(trial: Trial) -> Verdict {
    let old = trial.anew().await;
    old.add(job("a").name("n").tags(&["x"])).await;
    old.add(job("b")).await;
    old.go_to(10);
    let first = old.claim().await;
    for claimed in &first.jobs {
        for run in &claimed.started {
            old.succeed(run).await;
        }
    }
    old.go_to(15);
    let waiting = old.enqueue("a").await;
    let moved = MovedJob {
        job: old.get("a").await,
        live: vec![waiting.clone()],
    };
    let paused = MovedJob {
        job: old.pause("b").await,
        live: Vec::new(),
    };
    trial.go_to(15);
    let answers = trial
        .store
        .import_jobs(vec![moved.clone(), paused.clone()])
        .await;
    assert_eq!(answers.expect("the store works"), [true, true]);
    assert_eq!(trial.get("a").await, moved.job);
    assert_eq!(trial.get("b").await, paused.job);
    let run = trial.claim_one().await;
    assert_eq!((run.id, run.attempt), (waiting.id, 1));
    assert!(run.fence > first.jobs[0].started[0].fence);
    trial.succeed(&run).await;
    trial.go_to(20);
    let next = trial.claim_one().await;
    assert_eq!(next.scheduled_at, trial.at(20));
    assert_eq!(next.job_key, run.job_key);
    Ok(())
}

/// An id that is taken is left alone, and whoever moves jobs twice moves them once.
pub async fn a_job_moves_once(trial: Trial) -> Verdict {
    let here = trial.add(job("a").name("here")).await;
    let old = trial.anew().await;
    let live = |job| MovedJob {
        job,
        live: Vec::new(),
    };
    let jobs = vec![live(old.add(job("a")).await), live(old.add(job("b")).await)];
    for expected in [[false, true], [false, false]] {
        let answers = trial.store.import_jobs(jobs.clone()).await;
        assert_eq!(answers.expect("the store works"), expected);
    }
    assert_eq!(trial.get("a").await, here);
    Ok(())
}

/// Rows of a ledger move whole, and once.
pub async fn rows_move_once(trial: Trial) -> Verdict {
    let old = trial.anew().await;
    old.add(job("a")).await;
    for second in [10, 20] {
        old.go_to(second);
        let run = old.claim_one().await;
        old.finish(&run, Ending::Failed).await;
    }
    let rows = old.ledger("a").await;
    assert_eq!(rows.len(), 2);
    for expected in [2, 0] {
        let imported = trial.store.import_rows(rows.clone()).await;
        assert_eq!(imported.expect("the store works"), expected);
    }
    assert_eq!(trial.ledger("a").await, rows);
    let counts = trial.store.counts(trial.at(0)).await;
    assert_eq!(
        counts.expect("the store works").get(&RunState::Failed),
        Some(&2)
    );
    Ok(())
}

/// The highest token of jobs that are gone moves, too: fences never go back.
pub async fn the_fence_floor_moves(trial: Trial) -> Verdict {
    let old = trial.anew().await;
    old.add(job("a")).await;
    old.go_to(10);
    let run = old.claim_one().await;
    old.succeed(&run).await;
    old.store
        .remove(&job_id("a"))
        .await
        .expect("the store works");
    let floor = old.store.fence_floor().await.expect("the store works");
    assert!(floor >= run.fence);
    for fence in [floor, Fence(0)] {
        trial
            .store
            .raise_fence_floor(fence)
            .await
            .expect("the store works");
    }
    assert!(trial.store.fence_floor().await.expect("the store works") >= floor);
    trial.add(job("a")).await;
    trial.go_to(10);
    assert!(trial.claim_one().await.fence > run.fence);
    Ok(())
}
