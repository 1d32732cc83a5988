//! Asking the ledger, and forgetting.

use std::collections::BTreeMap;
use std::time::Duration;

use punctual_core::job::Policy;
use punctual_core::run::{Ending, RunState};
use punctual_core::store::{Retention, RunQuery};

use crate::trial::{Trial, Verdict, job, job_id, words};

/// Runs the job at each of `rounds` times ten seconds.
async fn fire(trial: &Trial, rounds: std::ops::RangeInclusive<i64>) {
    for round in rounds {
        trial.go_to(round * 10);
        for run in crate::trial::started(&trial.claim().await) {
            trial.succeed(&run).await;
        }
    }
}

/// Pages of the ledger go newest first, and new rows do not shift what follows.
pub async fn pages_of_runs_are_stable(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    fire(&trial, 1..=5).await;
    let mut query = RunQuery {
        limit: 2,
        ..RunQuery::default()
    };
    let mut seen = Vec::new();
    for round in 6.. {
        let page = trial.runs(query.clone()).await;
        seen.extend(page.items.iter().map(|run| run.scheduled_at));
        let Some(cursor) = page.next_cursor else {
            break;
        };
        query.cursor = Some(cursor);
        fire(&trial, round..=round).await;
    }
    assert_eq!(seen, [50, 40, 30, 20, 10].map(|second| trial.at(second)));
    let bad = RunQuery {
        cursor: Some("?".to_owned()),
        ..query
    };
    assert!(
        trial.store.runs(&bad).await.is_err(),
        "a cursor of somebody else's is refused"
    );
    Ok(())
}

/// The ledger can be asked by job, state and nominal time, all at once.
pub async fn the_ledger_can_be_asked(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.add(job("b")).await;
    fire(&trial, 1..=2).await;
    trial.go_to(30);
    let claimed = trial.claim().await;
    trial
        .finish(&claimed.jobs[0].started[0], Ending::Failed)
        .await;
    trial.go_to(40);
    trial.claim().await;
    trial
        .store
        .remove(&job_id("b"))
        .await
        .expect("the store works");
    let of = |id: &str| RunQuery {
        job_id: Some(job_id(id)),
        ..RunQuery::default()
    };
    let state = |state| RunQuery {
        state: Some(state),
        ..RunQuery::default()
    };
    let span = |from: i64, until: i64| RunQuery {
        from: Some(trial.at(from)),
        until: Some(trial.at(until)),
        ..RunQuery::default()
    };
    for (query, expected) in [
        (
            RunQuery::default(),
            &[
                "b 40 skipped",
                "a 40 running",
                "b 30 running",
                "a 30 failed",
                "b 20 succeeded",
                "a 20 succeeded",
                "b 10 succeeded",
                "a 10 succeeded",
            ][..],
        ),
        (
            of("b"),
            &[
                "b 40 skipped",
                "b 30 running",
                "b 20 succeeded",
                "b 10 succeeded",
            ],
        ),
        (of("c"), &[]),
        (state(RunState::Running), &["a 40 running", "b 30 running"]),
        (state(RunState::Skipped), &["b 40 skipped"]),
        (state(RunState::Failed), &["a 30 failed"]),
        (state(RunState::Pending), &[]),
        (
            RunQuery {
                state: Some(RunState::Succeeded),
                ..of("a")
            },
            &["a 20 succeeded", "a 10 succeeded"],
        ),
        (
            RunQuery {
                state: Some(RunState::Running),
                ..of("a")
            },
            &["a 40 running"],
        ),
        (
            span(20, 40),
            &[
                "b 30 running",
                "a 30 failed",
                "b 20 succeeded",
                "a 20 succeeded",
            ],
        ),
        (
            RunQuery {
                state: Some(RunState::Succeeded),
                job_id: Some(job_id("b")),
                ..span(0, 20)
            },
            &["b 10 succeeded"],
        ),
    ] {
        let found = trial.runs(query.clone()).await.items;
        let mut found: Vec<_> = found
            .iter()
            .map(|run| {
                (
                    run.scheduled_at,
                    format!(
                        "{} {} {}",
                        run.job_id,
                        run.scheduled_at.duration_since(trial.at(0)).as_secs(),
                        run.state()
                    ),
                )
            })
            .collect();
        // Rows made at the same moment may stand in either order.
        found.sort_by(|a, b| b.cmp(a));
        let found: Vec<_> = found.into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, expected, "{query:?}");
    }
    Ok(())
}

/// Rows that ended long enough ago are forgotten; those that wait or run never are.
pub async fn old_rows_are_forgotten(trial: Trial) -> Verdict {
    let policy = Policy {
        max_instances: 3,
        ..Policy::default()
    };
    trial.add(job("a").policy(policy)).await;
    trial.add(job("b").once(trial.at(10))).await;
    trial.go_to(10);
    let claimed = trial.claim().await;
    assert_eq!(claimed.jobs[1].started.len(), 1, "b runs on");
    trial.succeed(&claimed.jobs[0].started[0]).await;
    fire(&trial, 2..=5).await;
    trial.enqueue("a").await;
    let retention = Retention {
        age: Duration::from_secs(25),
        ..Retention::default()
    };
    assert_eq!(
        trial.store.prune(retention).await.expect("the store works"),
        2
    );
    assert_eq!(trial.ledger("a").await.len(), 4);
    let none = Retention {
        age: Duration::ZERO,
        ..Retention::default()
    };
    assert_eq!(trial.store.prune(none).await.expect("the store works"), 3);
    assert_eq!(words(&trial.ledger("a").await), ["pending"]);
    assert_eq!(words(&trial.ledger("b").await), ["running"]);
    Ok(())
}

/// Of each job the newest rows stay, as many as asked; those that wait or run are not counted and never go.
pub async fn rows_too_many_are_forgotten(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.add(job("b").every(20)).await;
    fire(&trial, 1..=6).await;
    trial.enqueue("a").await;
    let retention = Retention {
        rows_per_job: 2,
        ..Retention::default()
    };
    assert_eq!(
        trial.store.prune(retention).await.expect("the store works"),
        5
    );
    let left: Vec<_> = trial
        .ledger("a")
        .await
        .iter()
        .map(|run| (run.scheduled_at, run.state()))
        .collect();
    assert_eq!(
        left,
        [
            (trial.at(50), RunState::Succeeded),
            (trial.at(60), RunState::Succeeded),
            (trial.at(60), RunState::Pending),
        ]
    );
    assert_eq!(trial.ledger("b").await.len(), 2);
    let none = Retention {
        rows_per_job: 0,
        ..Retention::default()
    };
    assert_eq!(trial.store.prune(none).await.expect("the store works"), 4);
    assert_eq!(trial.runs(RunQuery::default()).await.items.len(), 1);
    Ok(())
}

/// More rows than one bite are forgotten in one call.
pub async fn very_many_rows_are_forgotten(trial: Trial) -> Verdict {
    let specs = (0..600).map(|n| trial.addition(job(format!("a{n}")).every(1)));
    trial
        .store
        .add_many(specs.collect())
        .await
        .expect("the store works");
    trial.go_to(4);
    let claimed = trial.claim().await;
    assert_eq!(claimed.jobs.len(), 600);
    let pruned = trial
        .store
        .prune(Retention {
            age: Duration::ZERO,
            ..Retention::default()
        })
        .await;
    assert_eq!(pruned.expect("the store works"), 1800);
    let counts = trial
        .store
        .counts(trial.at(0))
        .await
        .expect("the store works");
    assert_eq!(counts, BTreeMap::from([(RunState::Running, 600)]));
    Ok(())
}

/// Rows are counted by state: those that ended since a moment, and all that are not over.
pub async fn rows_are_counted_by_state(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.add(job("b").once(trial.at(10))).await;
    trial.go_to(10);
    let first = trial.claim().await;
    trial.succeed(&first.jobs[0].started[0]).await;
    trial.go_to(20);
    let second = trial.claim_one().await;
    trial.finish(&second, Ending::Failed).await;
    trial.enqueue("a").await;
    let counts = |since| {
        let counts = trial.store.counts(since);
        async { counts.await.expect("the store works") }
    };
    let live = [
        (RunState::Pending, 1),
        (RunState::Running, 1),
        (RunState::Failed, 1),
    ];
    assert_eq!(counts(trial.at(20)).await, BTreeMap::from(live));
    let mut all = BTreeMap::from(live);
    all.insert(RunState::Succeeded, 1);
    assert_eq!(counts(trial.at(10)).await, all);
    Ok(())
}
