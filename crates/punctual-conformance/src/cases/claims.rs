//! Taking what is due.

use std::collections::BTreeSet;
use std::sync::Arc;

use punctual_core::id::NodeId;
use punctual_core::job::Policy;
use punctual_core::store::{ClaimRequest, Expect, JobStore, PAUSED_KEY, SCHEDULER_NAMESPACE};
use serde_json::json;

use crate::trial::{Trial, Verdict, filter, held, job, started};

/// How many threads claim at once.
const CLAIMERS: u64 = 8;
/// How many jobs they claim.
const JOBS: usize = 400;

/// Two workers that claim at once never receive the same job: eight threads share every occurrence, each once.
pub async fn claims_are_exclusive(trial: Trial) -> Verdict {
    let stores = vec![Arc::clone(&trial.store); CLAIMERS as usize];
    share(&trial, stores).await;
    Ok(())
}

/// The same between stores that are open on the same data in several nodes.
pub async fn claims_are_exclusive_between_nodes(trial: Trial) -> Verdict {
    let mut stores = vec![Arc::clone(&trial.store)];
    for _ in 1..4 {
        stores.push(trial.second().await?);
    }
    share(&trial, stores).await;
    Ok(())
}

async fn share(trial: &Trial, stores: Vec<Arc<dyn JobStore>>) {
    let specs = (0..JOBS).map(|n| trial.addition(job(format!("job-{n}"))));
    trial
        .store
        .add_many(specs.collect())
        .await
        .expect("the store works");
    trial.go_to(10);
    let threads: Vec<_> = stores
        .into_iter()
        .zip(1..)
        .map(|(store, node)| {
            let request = ClaimRequest {
                node: NodeId(node),
                ..trial.request(7)
            };
            std::thread::spawn(move || {
                let mut mine = Vec::new();
                loop {
                    let claimed = async_io::block_on(store.claim(request.clone()));
                    let claimed = claimed.expect("the store works");
                    if claimed.jobs.is_empty() {
                        return mine;
                    }
                    mine.extend(started(&claimed));
                }
            })
        })
        .collect();
    let runs: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("no claimer panics"))
        .collect();
    let jobs: BTreeSet<_> = runs.iter().map(|run| run.job_id.clone()).collect();
    assert_eq!(
        (runs.len(), jobs.len()),
        (JOBS, JOBS),
        "each occurrence once"
    );
    for run in &runs {
        assert_eq!(
            trial.run(run.id).await,
            *run,
            "what was handed out is what is stored"
        );
    }
}

/// A claim takes and sees only jobs whose task and executor it names.
pub async fn a_claim_takes_what_it_names(trial: Trial) -> Verdict {
    trial.add(job("a").task("t")).await;
    trial.add(job("b").task("u")).await;
    trial.add(job("c").executor("pool")).await;
    trial.add(job("d").task("u").executor("pool")).await;
    trial.go_to(10);
    let mut taken = Vec::new();
    for (tasks, executors) in [
        (&["t", "zz"][..], &["default"][..]),
        (&[], &["default", "pool"]),
        (&["t", "u"], &[]),
        (&["u"], &["pool"]),
        (&["T", "U"], &["default", "pool"]),
        (&["t", "u"], &["default", "pool"]),
    ] {
        let slots: Vec<_> = executors.iter().map(|&name| (name, 5)).collect();
        let filter = filter(tasks, &slots);
        let due = trial
            .store
            .next_due(&filter)
            .await
            .expect("the store works");
        let claimed = trial
            .claim_with(ClaimRequest {
                filter,
                ..trial.request(100)
            })
            .await;
        let ids: Vec<_> = started(&claimed)
            .iter()
            .map(|run| run.job_id.to_string())
            .collect();
        let has_due = due == Some(trial.at(10));
        assert_eq!(
            has_due,
            !ids.is_empty(),
            "next_due sees what claim takes: {ids:?}"
        );
        taken.push(ids.join(" "));
    }
    assert_eq!(taken, ["a", "", "", "d", "", "b c"]);
    Ok(())
}

/// Ten thousand due jobs of a task that a node does not have neither wake it nor stand before its own.
pub async fn foreign_jobs_are_not_in_the_way(trial: Trial) -> Verdict {
    let specs = (0..10_000).map(|n| trial.addition(job(format!("a{n}")).task("foreign")));
    trial
        .store
        .add_many(specs.collect())
        .await
        .expect("the store works");
    trial.add(job("own").every(20)).await;
    assert_eq!(trial.next_due().await, Some(trial.at(20)));
    trial.go_to(10);
    assert!(trial.claim().await.jobs.is_empty());
    trial.go_to(20);
    let claimed = trial.claim_with(trial.request(1)).await;
    assert_eq!(started(&claimed)[0].job_id.as_str(), "own");
    assert!(!claimed.more);
    Ok(())
}

/// A node is never given more runs than it has free slots, executor by executor; what is left stays due.
pub async fn slots_are_not_exceeded(trial: Trial) -> Verdict {
    for n in 0..5 {
        trial.add(job(format!("a{n}"))).await;
        trial.add(job(format!("b{n}")).executor("pool")).await;
    }
    trial.go_to(10);
    let request = |slots: &[(&str, usize)]| ClaimRequest {
        filter: filter(&["t"], slots),
        ..trial.request(100)
    };
    let claimed = trial
        .claim_with(request(&[("default", 2), ("pool", 1)]))
        .await;
    let ids: Vec<_> = started(&claimed)
        .iter()
        .map(|run| run.job_id.to_string())
        .collect();
    assert_eq!(ids, ["a0", "a1", "b0"]);
    let claimed = trial
        .claim_with(request(&[("default", 0), ("pool", 0)]))
        .await;
    assert!(claimed.jobs.is_empty());
    let claimed = trial
        .claim_with(request(&[("default", 0), ("pool", 100)]))
        .await;
    assert_eq!(started(&claimed).len(), 4);
    assert_eq!(trial.next_due().await, Some(trial.at(10)));
    Ok(())
}

/// A claim decides about at most as many jobs as its limit says, and says when more are due.
pub async fn a_limit_leaves_more(trial: Trial) -> Verdict {
    for n in 0..5 {
        trial.add(job(format!("a{n}"))).await;
    }
    trial.go_to(10);
    let (first, second) = (
        trial.claim_with(trial.request(3)).await,
        trial.claim_with(trial.request(2)).await,
    );
    assert_eq!((first.jobs.len(), first.more), (3, true));
    assert_eq!((second.jobs.len(), second.more), (2, false));
    assert_eq!(first.now, trial.at(10));
    assert_eq!(trial.next_due().await, Some(trial.at(20)));
    Ok(())
}

/// A claim that takes nothing leaves nothing due that it could take.
pub async fn an_empty_claim_is_followed_by_a_wait(trial: Trial) -> Verdict {
    trial
        .add(job("a").policy(Policy {
            max_instances: 1,
            ..Policy::default()
        }))
        .await;
    trial.go_to(10);
    trial.claim_one().await;
    assert_eq!(trial.next_due().await, Some(trial.at(20)));
    assert!(trial.claim().await.jobs.is_empty());
    trial.go_to(20);
    assert!(
        started(&trial.claim().await).is_empty(),
        "skipped: one instance is live"
    );
    assert_eq!(trial.next_due().await, Some(trial.at(30)));
    Ok(())
}

/// While the record says that all nodes pause, nothing is claimed and nothing is due; then it goes on where it was.
pub async fn the_stored_pause_holds_for_all(trial: Trial) -> Verdict {
    trial.add(job("a")).await;
    trial.go_to(10);
    let put = |value| {
        let put = trial
            .store
            .put_record(SCHEDULER_NAMESPACE, PAUSED_KEY, value, Expect::Any);
        async { assert!(put.await.expect("the store works")) }
    };
    put(Some(json!({"paused": true}))).await;
    assert_eq!(trial.next_due().await, None);
    assert!(trial.claim().await.jobs.is_empty());
    let woken = trial.store.changed();
    put(Some(json!({"paused": false}))).await;
    woken.await;
    assert_eq!(trial.next_due().await, Some(trial.at(10)));
    let run = trial.claim_one().await;
    put(Some(json!({"paused": true}))).await;
    trial.succeed(&run).await;
    put(None).await;
    trial.go_to(20);
    trial.claim_one().await;
    Ok(())
}

/// Whoever waits for a change is woken when something is due earlier: a job added, resumed or run by hand.
pub async fn a_change_wakes(trial: Trial) -> Verdict {
    let woken = trial.store.changed();
    trial.add(job("a")).await;
    woken.await;
    let woken = trial.store.changed();
    trial.enqueue("a").await;
    woken.await;
    trial.pause("a").await;
    let woken = trial.store.changed();
    trial
        .change("a", punctual_core::plan::JobChange::Resume)
        .await;
    woken.await;
    Ok(())
}

/// A node's runs can be asked for: those that run, no others'.
pub async fn what_a_node_owns_can_be_asked(trial: Trial) -> Verdict {
    for id in ["a", "b", "c"] {
        trial.add(job(id)).await;
    }
    trial.go_to(10);
    let first = started(&trial.claim_with(trial.request(2)).await);
    let second = started(&trial.claim_as(NodeId(9)).await);
    trial.succeed(&first[0]).await;
    let owned = |node| {
        let owned = trial.store.owned_by(node);
        async {
            owned
                .await
                .expect("the store works")
                .iter()
                .map(held)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(owned(trial.node).await, [held(&first[1])]);
    assert_eq!(owned(NodeId(9)).await, [held(&second[0])]);
    assert_eq!(owned(NodeId(77)).await, []);
    Ok(())
}
