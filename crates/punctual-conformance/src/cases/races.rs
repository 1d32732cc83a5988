//! Many hands at once, on as many stores as there may be: threads of this process, and where the store takes many nodes,
//! a second store beside the first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;

use punctual_core::id::{NodeId, RunId};
use punctual_core::job::Policy;
use punctual_core::plan::{AddRefusal, JobChange, PauseRequest};
use punctual_core::run::{Ending, RunState};
use punctual_core::store::{ClaimRequest, Enqueued, FinishOutcome, JobStore};

use crate::trial::{Trial, Verdict, finish, job, job_id, started};

/// How many hands.
const HANDS: u64 = 4;

/// The stores that hands take in turn.
async fn stores(trial: &Trial) -> Vec<Arc<dyn JobStore>> {
    let mut stores = vec![Arc::clone(&trial.store)];
    stores.extend(trial.second().await);
    stores
}

/// Runs `work` in many threads at once, each with a store and a node of its own; returns what they bring.
async fn at_once<T: Send>(
    trial: &Trial,
    work: impl Fn(Arc<dyn JobStore>, NodeId) -> T + Sync,
) -> Vec<T> {
    let stores = stores(trial).await;
    thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS)
            .map(|n| {
                let store = Arc::clone(&stores[n as usize % stores.len()]);
                let work = &work;
                scope.spawn(move || work(store, NodeId(100 + n)))
            })
            .collect();
        hands
            .into_iter()
            .map(|hand| hand.join().expect("no hand panics"))
            .collect()
    })
}

/// Nodes that claim and finish side by side start every occurrence once, and leave none out.
pub async fn nodes_share_the_work(trial: Trial) -> Verdict {
    const JOBS: usize = 30;
    const SECONDS: i64 = 8;
    for n in 0..JOBS {
        trial.add(job(format!("job-{n}")).every(1)).await;
    }
    let mut seen: BTreeMap<RunId, u32> = BTreeMap::new();
    for second in 1..=SECONDS {
        trial.go_to(second);
        let brought = at_once(&trial, |store, node| {
            async_io::block_on(async {
                let mut ids = Vec::new();
                loop {
                    let request = ClaimRequest {
                        node,
                        ..trial.request(5)
                    };
                    let runs = started(&store.claim(request).await.expect("the store works"));
                    if runs.is_empty() {
                        return ids;
                    }
                    ids.extend(runs.iter().map(|run| run.id));
                    let finishes = runs
                        .iter()
                        .map(|run| finish(run, Some(Ending::Succeeded)))
                        .collect();
                    for outcome in store.finish(finishes).await.expect("the store works") {
                        assert!(
                            matches!(outcome, FinishOutcome::Accepted { .. }),
                            "{outcome:?}"
                        );
                    }
                }
            })
        })
        .await;
        for id in brought.into_iter().flatten() {
            *seen.entry(id).or_default() += 1;
        }
        // Whoever was in another's way has left it to the next claim.
        loop {
            let runs = started(&trial.claim().await);
            if runs.is_empty() {
                break;
            }
            for run in runs {
                trial.succeed(&run).await;
                *seen.entry(run.id).or_default() += 1;
            }
        }
    }
    assert!(seen.values().all(|&times| times == 1), "each once");
    for n in 0..JOBS {
        let rows = trial.ledger(&format!("job-{n}")).await;
        let due: Vec<_> = rows.iter().map(|run| run.scheduled_at).collect();
        let expected: Vec<_> = (1..=SECONDS).map(|second| trial.at(second)).collect();
        assert_eq!(due, expected, "job-{n}");
        for run in rows {
            assert_eq!((run.state(), run.attempt), (RunState::Succeeded, 1));
            assert_eq!(seen.get(&run.id), Some(&1));
        }
    }
    Ok(())
}

/// Of many who add the same id at the same moment one succeeds; the others are told that it is taken.
pub async fn an_id_is_added_once(trial: Trial) -> Verdict {
    for round in 0..10 {
        let id = format!("job-{round}");
        let addition = trial.addition(job(&id));
        let answers = at_once(&trial, |store, _| {
            let added = async_io::block_on(store.add_many(vec![addition.clone()]));
            added.expect("the store works").remove(0).map(|_| ())
        })
        .await;
        let (added, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(added.len(), 1, "{refused:?}");
        let taken = |answer: &Result<(), AddRefusal>| *answer == Err(AddRefusal::Exists);
        assert!(refused.iter().all(taken), "{refused:?}");
        assert!(trial.has(&id).await);
    }
    Ok(())
}

/// Once a pause is acknowledged, no claim that is asked for afterwards takes a run of the job.
pub async fn no_claim_follows_a_pause(trial: Trial) -> Verdict {
    const JOBS: usize = 60;
    for n in 0..JOBS {
        trial.add(job(format!("job-{n:02}")).every(1)).await;
    }
    trial.go_to(1);
    let steps = AtomicU64::new(0);
    let step = || steps.fetch_add(1, Ordering::SeqCst);
    let brought = at_once(&trial, |store, node| {
        async_io::block_on(async {
            let mut paused = Vec::new();
            let mut claimed = Vec::new();
            if node.0.is_multiple_of(2) {
                // From the end, so that they meet in the middle.
                for n in (0..JOBS).rev() {
                    let id = job_id(&format!("job-{n:02}"));
                    let change = JobChange::Pause(PauseRequest::default());
                    store
                        .update(&id, None, change)
                        .await
                        .expect("the store works");
                    paused.push((id, step()));
                }
            } else {
                for _ in 0..JOBS / 2 {
                    let asked = step();
                    let request = ClaimRequest {
                        node,
                        ..trial.request(2)
                    };
                    let runs = started(&store.claim(request).await.expect("the store works"));
                    claimed.extend(runs.into_iter().map(|run| (run.job_id, asked)));
                }
            }
            (paused, claimed)
        })
    })
    .await;
    let mut pauses = BTreeMap::new();
    let mut claims = Vec::new();
    for (paused, claimed) in brought {
        for (id, at) in paused {
            let first = pauses.entry(id).or_insert(at);
            *first = at.min(*first);
        }
        claims.extend(claimed);
    }
    assert_eq!(pauses.len(), JOBS);
    for (id, asked) in claims {
        assert!(
            asked < pauses[&id],
            "{id} was claimed after it had been paused"
        );
    }
    assert!(trial.claim().await.jobs.is_empty());
    Ok(())
}

/// However many ask for runs, claim and finish at once: never are there more instances than allowed, and the counts
/// come out right.
pub async fn instances_are_counted_once(trial: Trial) -> Verdict {
    const INSTANCES: u32 = 2;
    const ROUNDS: usize = 12;
    let policy = Policy {
        max_instances: INSTANCES,
        ..Policy::default()
    };
    trial.add(job("a").every(3600).policy(policy)).await;
    let running = AtomicI64::new(0);
    let most = AtomicI64::new(0);
    let asked = at_once(&trial, |store, node| {
        async_io::block_on(async {
            let mut asked = 0;
            for _ in 0..ROUNDS {
                match store.enqueue(&job_id("a")).await.expect("the store works") {
                    Enqueued::Run(..) => asked += 1,
                    other => panic!("{other:?}"),
                }
                let request = ClaimRequest {
                    node,
                    ..trial.request(10)
                };
                let runs = started(&store.claim(request).await.expect("the store works"));
                let count = runs.len() as i64;
                let now = running.fetch_add(count, Ordering::SeqCst) + count;
                most.fetch_max(now, Ordering::SeqCst);
                running.fetch_sub(count, Ordering::SeqCst);
                for run in runs {
                    let report = finish(&run, Some(Ending::Succeeded));
                    store.finish(vec![report]).await.expect("the store works");
                }
            }
            asked
        })
    })
    .await;
    assert!(most.load(Ordering::SeqCst) <= i64::from(INSTANCES));
    loop {
        let runs = started(&trial.claim().await);
        if runs.is_empty() {
            break;
        }
        for run in runs {
            trial.succeed(&run).await;
        }
    }
    let rows = trial.ledger("a").await;
    assert_eq!(rows.len(), asked.into_iter().sum::<usize>());
    assert!(rows.iter().all(|run| run.state().is_final()), "{rows:?}");
    assert_eq!(trial.get("a").await.state.live, 0);
    Ok(())
}

/// Of many nodes that find an owner dead one takes each run over.
pub async fn a_dead_owner_is_buried_once(trial: Trial) -> Verdict {
    const JOBS: usize = 40;
    for n in 0..JOBS {
        trial.add(job(format!("job-{n}")).every(3600)).await;
    }
    trial.go_to(3600);
    assert_eq!(started(&trial.claim().await).len(), JOBS);
    trial.go_to(3700);
    let brought = at_once(&trial, |store, node| {
        let scope = punctual_core::store::ReclaimScope::Expired;
        let reclaimed = async_io::block_on(store.reclaim_expired(node, scope));
        reclaimed
            .expect("the store works")
            .into_iter()
            .map(|reclaimed| reclaimed.run.id)
            .collect::<Vec<_>>()
    })
    .await;
    let mut taken: Vec<_> = brought.into_iter().flatten().collect();
    taken.sort_unstable();
    let count = taken.len();
    taken.dedup();
    assert_eq!((taken.len(), count), (JOBS, JOBS), "each once");
    for n in 0..JOBS {
        let rows = trial.ledger(&format!("job-{n}")).await;
        let told: Vec<_> = rows.iter().map(|run| (run.attempt, run.state())).collect();
        assert_eq!(told, [(1, RunState::Lost), (2, RunState::Pending)]);
    }
    Ok(())
}
