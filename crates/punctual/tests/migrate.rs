//! Moving between stores: from `SQLite` to another file, and back into memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use punctual::clock::SimClock;
use punctual::id::{ExecutorName, JobId, NodeId, TaskName};
use punctual::job::StoredJob;
use punctual::memory::MemoryStore;
use punctual::migrate::{MigrateError, MigrateOptions, Migrated, migrate};
use punctual::plan::{Finish, JobChange, PauseRequest};
use punctual::run::{Ending, Run, RunState};
use punctual::store::{
    ClaimFilter, ClaimRequest, Enqueued, Expect, JobQuery, JobStore, NODES_NAMESPACE, PAUSED_KEY,
    Records, RunQuery, SCHEDULER_NAMESPACE,
};
use punctual::zones::Zones;
use punctual_conformance::{START, job};
use punctual_sql::{SqliteOptions, SqliteStore};
use serde_json::json;

struct World {
    clock: SimClock,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            clock: SimClock::new(Timestamp::from_second(START).unwrap()),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn store(&self, name: &str) -> SqliteStore {
        let options = SqliteOptions::new(Arc::new(self.clock.clone()), Zones::system());
        SqliteStore::open(self.folder.path().join(name), options).unwrap()
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

async fn add(store: &dyn JobStore, name: &str) {
    let now = store.now().await.unwrap();
    let addition = job(name).every(10).addition(now, &Zones::system());
    store.add_many(vec![addition]).await.unwrap()[0]
        .as_ref()
        .unwrap();
}

async fn claim(store: &dyn JobStore) -> Vec<Run> {
    let request = ClaimRequest {
        node: NodeId(1),
        lease: Duration::from_secs(30),
        filter: ClaimFilter {
            tasks: Arc::new(BTreeSet::from([TaskName::new("t").unwrap()])),
            slots: BTreeMap::from([(ExecutorName::default(), 1000)]),
        },
        limit: 1000,
    };
    let claimed = store.claim(request).await.unwrap();
    claimed
        .jobs
        .into_iter()
        .flat_map(|job| job.started)
        .collect()
}

async fn finish(store: &dyn JobStore, runs: &[Run]) {
    let finishes = runs.iter().map(|run| Finish {
        run: run.id,
        fence: run.fence,
        ending: Some(Ending::Succeeded),
        output: Some("done".to_owned()),
        error: None,
        next_attempt_at: None,
    });
    store.finish(finishes.collect()).await.unwrap();
}

async fn jobs(store: &dyn JobStore) -> Vec<StoredJob> {
    let all = JobQuery::default();
    store.list(&all).await.unwrap().items
}

async fn rows(store: &dyn JobStore) -> Vec<Run> {
    store.runs(&RunQuery::default()).await.unwrap().items
}

async fn is_paused(store: &dyn JobStore) -> bool {
    let record = store.record(SCHEDULER_NAMESPACE, PAUSED_KEY).await.unwrap();
    record.is_some_and(|record| record.value["paused"] == true)
}

/// 300 jobs, of which all ran once, one is paused, one has a run that waits, and one is gone.
async fn filled(world: &World) -> SqliteStore {
    let store = world.store("old.db");
    for n in 0..301 {
        add(&store, &format!("job-{n:03}")).await;
    }
    world.wait(10);
    let runs = claim(&store).await;
    finish(&store, &runs).await;
    let pause = JobChange::Pause(PauseRequest::default());
    store.update(&id("job-001"), None, pause).await.unwrap();
    store.remove(&id("job-300")).await.unwrap();
    let waiting = store.enqueue(&id("job-002")).await.unwrap();
    assert!(matches!(waiting, Enqueued::Run(..)));
    store
        .put_record("tokens", "admin", Some(json!("hash")), Expect::Any)
        .await
        .unwrap();
    store
}

#[test]
fn everything_moves_and_goes_on() {
    async_io::block_on(async {
        let world = World::new();
        let old = filled(&world).await;
        let new = world.store("new.db");
        let options = MigrateOptions {
            namespaces: vec!["tokens".to_owned()],
            ..MigrateOptions::default()
        };
        let mut told = Vec::new();
        let done = migrate(&old, &new, &options, |so_far| told.push(so_far.clone()))
            .await
            .unwrap();
        let expected = Migrated {
            jobs: 300,
            jobs_moved: 300,
            unreadable: Vec::new(),
            rows: 301,
            rows_moved: 301,
            records_moved: 1,
        };
        assert_eq!(done, expected);
        assert_eq!(told.last(), Some(&expected));
        assert_eq!(jobs(&new).await, jobs(&old).await);
        assert_eq!(rows(&new).await, rows(&old).await);
        assert!(is_paused(&old).await, "two clusters must not run the jobs");
        assert!(!is_paused(&new).await);

        let again = migrate(&old, &new, &options, |_| ()).await;
        assert!(matches!(again, Err(MigrateError::Done)), "{again:?}");

        let waiting = claim(&new).await;
        assert_eq!(waiting.len(), 1);
        finish(&new, &waiting).await;
        world.wait(10);
        assert_eq!(claim(&new).await.len(), 299, "all but the paused one");
        assert!(claim(&old).await.is_empty());
        add(&new, "job-300").await;
        world.wait(10);
        let fences = claim(&new).await;
        let gone = fences.iter().find(|run| run.job_id.as_str() == "job-300");
        assert!(gone.unwrap().fence.0 > 1, "fences go on over a move");

        let memory = MemoryStore::new(Arc::new(world.clock.clone()));
        let options = MigrateOptions::default();
        let elsewhere = migrate(&old, &memory, &options, |_| ()).await;
        assert!(
            matches!(elsewhere, Err(MigrateError::MovedElsewhere)),
            "{elsewhere:?}"
        );
        let back = migrate(&new, &old, &options, |_| ()).await;
        let Err(MigrateError::Occupied { ids, more }) = back else {
            panic!("{back:?}");
        };
        assert_eq!((ids.len(), more), (10, true), "what stood still is older");
        old.remove_all().await.unwrap();
        let done = migrate(&new, &old, &options, |_| ()).await;
        assert!(
            matches!(done, Err(MigrateError::StillRunning { .. })),
            "{done:?}"
        );
        world.wait(31);
        let done = migrate(&new, &old, &options, |_| ()).await.unwrap();
        assert_eq!((done.jobs, done.jobs_moved), (301, 301));
        assert_eq!(jobs(&old).await, jobs(&new).await);
    });
}

#[test]
fn a_live_source_is_refused_unless_it_may_be_paused() {
    async_io::block_on(async {
        let world = World::new();
        let old = filled(&world).await;
        let new = world.store("new.db");
        let node = json!({
            "tasks": [], "executors": [], "seen_at": old.now().await.unwrap(),
            "started_at": old.now().await.unwrap(), "lease_ms": 30_000, "version": "1",
        });
        old.put_record(NODES_NAMESPACE, "n1", Some(node), Expect::Any)
            .await
            .unwrap();
        let mut options = MigrateOptions::default();
        let refused = migrate(&old, &new, &options, |_| ()).await.unwrap_err();
        assert!(refused.to_string().contains("n1"), "{refused}");
        assert!(!is_paused(&old).await, "a refusal changes nothing");
        let nothing = world.store("empty.db");
        let empty = migrate(&nothing, &new, &options, |_| ()).await;
        assert!(matches!(empty, Err(MigrateError::EmptySource)), "{empty:?}");
        assert!(!is_paused(&nothing).await);
        options.pause_live_source = true;
        migrate(&old, &new, &options, |_| ()).await.unwrap();
    });
}

#[test]
fn runs_are_waited_for_and_the_move_goes_on() {
    async_io::block_on(async {
        let world = World::new();
        let old = filled(&world).await;
        let new = world.store("new.db");
        world.wait(10);
        let running = claim(&old).await;
        let options = MigrateOptions::default();
        let same = migrate(&old, &world.store("./old.db"), &options, |_| ()).await;
        assert!(matches!(same, Err(MigrateError::SameStore)), "{same:?}");
        assert!(!is_paused(&old).await);
        let early = migrate(&old, &new, &options, |_| ()).await;
        assert!(
            matches!(early, Err(MigrateError::StillRunning { runs }) if runs == running.len()),
            "{early:?}"
        );
        assert!(is_paused(&new).await, "until all is there");
        finish(&old, &running[1..]).await;
        // The last one's node has died.
        world.wait(31);
        let done = migrate(&old, &new, &options, |_| ()).await.unwrap();
        assert_eq!(done.jobs_moved, 300);
        let lost = new
            .reclaim_expired(NodeId(2), punctual::store::ReclaimScope::Expired)
            .await
            .unwrap();
        assert_eq!(lost.len(), 1);
        assert!(!is_paused(&new).await);
    });
}

#[test]
fn a_source_that_went_on_is_noticed() {
    async_io::block_on(async {
        let world = World::new();
        let old = filled(&world).await;
        let new = world.store("new.db");
        let options = MigrateOptions::default();
        let mut changed = false;
        let meanwhile = migrate(&old, &new, &options, |so_far| {
            if so_far.jobs == 300 && !changed {
                changed = true;
                let pause = JobChange::Pause(PauseRequest::default());
                let job = id("job-007");
                async_io::block_on(old.update(&job, None, pause)).unwrap();
            }
        })
        .await;
        assert!(
            matches!(meanwhile, Err(MigrateError::SourceWentOn)),
            "{meanwhile:?}"
        );
        assert!(is_paused(&new).await, "nobody works with half of it");
        // Somebody thinks better of it, and the old store goes on for a while.
        old.put_record(SCHEDULER_NAMESPACE, PAUSED_KEY, None, Expect::Any)
            .await
            .unwrap();
        world.wait(10);
        let runs = claim(&old).await;
        finish(&old, &runs).await;
        let again = migrate(&old, &new, &options, |_| ()).await;
        assert!(
            matches!(again, Err(MigrateError::SourceWentOn)),
            "{again:?}"
        );
        new.remove_all().await.unwrap();
        let again = migrate(&old, &new, &options, |_| ()).await.unwrap();
        assert_eq!(again.jobs_moved, 300, "the cure works");
        assert!(!is_paused(&new).await);
        assert_eq!(jobs(&new).await, jobs(&old).await);
    });
}

#[test]
fn a_job_of_the_targets_own_is_no_reason_to_lose_one() {
    async_io::block_on(async {
        let world = World::new();
        let old = filled(&world).await;
        let new = world.store("new.db");
        add(&new, "job-005").await;
        add(&new, "mine").await;
        let options = MigrateOptions::default();
        for _ in 0..2 {
            let refused = migrate(&old, &new, &options, |_| ()).await.unwrap_err();
            assert!(refused.to_string().contains("(job-005)"), "{refused}");
            assert!(!is_paused(&new).await, "it goes on as it was");
            assert!(!is_paused(&old).await, "and so does this");
        }
        new.remove(&id("job-005")).await.unwrap();
        let done = migrate(&old, &new, &options, |_| ()).await.unwrap();
        assert_eq!(done.jobs_moved, 300);
        assert_eq!(jobs(&new).await.len(), 301);
    });
}

#[test]
fn a_paused_source_makes_a_paused_target() {
    async_io::block_on(async {
        let world = World::new();
        let old = filled(&world).await;
        let new = world.store("new.db");
        let pause = json!({ "paused": true });
        old.put_record(SCHEDULER_NAMESPACE, PAUSED_KEY, Some(pause), Expect::Any)
            .await
            .unwrap();
        migrate(&old, &new, &MigrateOptions::default(), |_| ())
            .await
            .unwrap();
        assert!(is_paused(&new).await);
        assert_eq!(rows(&new).await.len(), 302);
        assert!(
            rows(&new)
                .await
                .iter()
                .any(|run| run.state() == RunState::Pending)
        );
    });
}
