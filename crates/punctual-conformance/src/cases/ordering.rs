//! What comes first: claims, lists, and pages of lists.

use punctual_core::id::TaskName;
use punctual_core::store::{JobOrder, JobQuery};

use crate::trial::{Trial, Verdict, job, started};

/// Of the jobs that are due, the earliest is decided first.
pub async fn the_earliest_comes_first(trial: Trial) -> Verdict {
    for (id, seconds) in [("a", 30), ("b", 10), ("c", 20)] {
        trial.add(job(id).once(trial.at(seconds))).await;
    }
    trial.go_to(30);
    let order: Vec<_> = started(&trial.claim().await)
        .iter()
        .map(|run| run.job_id.to_string())
        .collect();
    assert_eq!(order, ["b", "c", "a"]);
    Ok(())
}

/// Jobs due at the same moment go by id, byte for byte.
pub async fn ties_go_by_id(trial: Trial) -> Verdict {
    for id in ["b", "é", "a", "C", "a1"] {
        trial.add(job(id)).await;
    }
    trial.go_to(10);
    let order: Vec<_> = started(&trial.claim().await)
        .iter()
        .map(|run| run.job_id.to_string())
        .collect();
    assert_eq!(order, ["C", "a", "a1", "b", "é"]);
    Ok(())
}

/// Times count to the microsecond: nothing starts one too early, and what is stored is exact.
pub async fn microseconds_count(trial: Trial) -> Verdict {
    trial.add(job("a").once(trial.at_micros(1_000_001))).await;
    trial.add(job("b").once(trial.at_micros(1_000_000))).await;
    assert_eq!(trial.next_due().await, Some(trial.at_micros(1_000_000)));
    trial.go_to_micros(999_999);
    assert!(trial.claim().await.jobs.is_empty());
    trial.go_to_micros(1_000_000);
    assert_eq!(trial.claim_one().await.job_id.as_str(), "b");
    assert_eq!(trial.next_due().await, Some(trial.at_micros(1_000_001)));
    trial.go_to_micros(1_000_001);
    let run = trial.claim_one().await;
    assert_eq!(trial.run(run.id).await, run);
    assert_eq!(run.scheduled_at, trial.at_micros(1_000_001));
    Ok(())
}

/// A list goes by the next run; paused jobs, which have none, stand last; ties go by id.
pub async fn paused_jobs_are_listed_last(trial: Trial) -> Verdict {
    for (id, seconds) in [("a", 30), ("b", 10), ("d", 20), ("c", 20)] {
        trial.add(job(id).every(seconds)).await;
    }
    trial.pause("b").await;
    trial.pause("d").await;
    assert_eq!(trial.ids(JobQuery::default()).await, ["c", "a", "b", "d"]);
    let by_id = JobQuery {
        order: JobOrder::Id,
        ..JobQuery::default()
    };
    assert_eq!(trial.ids(by_id).await, ["a", "b", "c", "d"]);
    Ok(())
}

/// A page goes on where the last one ended, in either order, also when what it ended with has gone.
pub async fn pages_of_jobs_go_on(trial: Trial) -> Verdict {
    for n in 0..7 {
        trial.add(job(format!("job-{n}")).every(20 - n)).await;
    }
    trial.pause("job-3").await;
    for (order, expected) in [
        (JobOrder::NextRun, [6, 5, 4, 2, 1, 0, 3]),
        (JobOrder::Id, [0, 1, 2, 3, 4, 5, 6]),
    ] {
        let mut query = JobQuery {
            order,
            limit: 2,
            ..JobQuery::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = trial.list(query.clone()).await;
            assert!(page.items.len() <= 2);
            seen.extend(page.items.iter().map(|job| job.id().to_string()));
            let Some(cursor) = page.next_cursor else {
                break;
            };
            query.cursor = Some(cursor);
        }
        assert_eq!(seen, expected.map(|n| format!("job-{n}")));
    }
    let query = JobQuery {
        order: JobOrder::Id,
        limit: 2,
        ..JobQuery::default()
    };
    let page = trial.list(query.clone()).await;
    trial
        .store
        .remove(page.items[1].id())
        .await
        .expect("the store works");
    let next = JobQuery {
        cursor: page.next_cursor,
        ..query.clone()
    };
    assert_eq!(trial.ids(next).await, ["job-2", "job-3"]);
    let bad = JobQuery {
        cursor: Some("?".to_owned()),
        ..query
    };
    assert!(
        trial.store.list(&bad).await.is_err(),
        "a cursor of somebody else's is refused"
    );
    Ok(())
}

/// A list can be narrowed by words, tags, pause and task, all at once; letters count in either case, signs as they are.
pub async fn lists_can_be_narrowed(trial: Trial) -> Verdict {
    trial
        .add(job("report").name("Daily ÄRGER 100%").tags(&["a", "b"]))
        .await;
    trial
        .add(job("REPORT-2").task("mail:Send_All").tags(&["b"]))
        .await;
    trial.add(job("x").task("mail:SendXAll")).await;
    trial.pause("x").await;
    let text = |text: &str| JobQuery {
        text: Some(text.to_owned()),
        ..JobQuery::default()
    };
    let tags = |tags: &[&str]| JobQuery {
        tags: tags.iter().map(ToString::to_string).collect(),
        ..JobQuery::default()
    };
    let task = TaskName::new("mail:SendXAll").expect("a name");
    for (query, expected) in [
        (text("rePort"), &["REPORT-2", "report"][..]),
        (text("ärger 1"), &["report"]),
        (text("0%"), &["report"]),
        (text("send_"), &["REPORT-2"]),
        (text("%"), &["report"]),
        (text("nowhere"), &[]),
        (tags(&["b"]), &["REPORT-2", "report"]),
        (tags(&["a", "b"]), &["report"]),
        (tags(&["A"]), &[]),
        (
            JobQuery {
                paused: Some(true),
                ..JobQuery::default()
            },
            &["x"],
        ),
        (
            JobQuery {
                paused: Some(false),
                ..text("mail")
            },
            &["REPORT-2"],
        ),
        (
            JobQuery {
                task: Some(task),
                ..JobQuery::default()
            },
            &["x"],
        ),
    ] {
        assert_eq!(trial.ids(query.clone()).await, expected, "{query:?}");
    }
    Ok(())
}
