//! What the outside cannot see: writers that stop midway or come too late, and what is left in the collections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use mongodb::bson::{Document, doc};
use punctual_backend::{
    After, Awaited, Backend as _, BackendError, Due, Fate, StoreOptions, Version, Write,
};
use punctual_conformance::{START, job, server_url};
use punctual_core::clock::SimClock;
use punctual_core::document;
use punctual_core::id::{ExecutorName, JobId, NodeId, TaskName};
use punctual_core::job::StoredJob;
use punctual_core::plan::{Finish, JobChange, PauseRequest};
use punctual_core::run::{Ending, Run, RunState};
use punctual_core::store::{
    ClaimFilter, ClaimRequest, Claimed, JobStore, Renewed, Retention, RunQuery, StoreResult,
};
use punctual_core::zones::Zones;

use crate::MongoStore;
use crate::backend::Mongo;
use crate::decision::{Decision, position};
use crate::inner::{Inner, Unit};

/// A prefix of its own, a node as users have it, and another whose inside is open.
struct Bench {
    url: String,
    options: StoreOptions,
    clock: SimClock,
    store: MongoStore,
    raw: Mongo,
    runtime: tokio::runtime::Runtime,
}

/// A bench, unless there is no server.
fn bench() -> Option<Bench> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let url = server_url("MONGODB")?;
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let clock = SimClock::new(Timestamp::from_second(START).unwrap());
    let options = StoreOptions::default()
        .prefix(format!("unit_{}_{number}_", std::process::id()))
        .timeout(Duration::from_mins(2))
        .clock(Arc::new(clock.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let store = wait(MongoStore::open(&url, options.clone())).unwrap();
    let raw = runtime
        .block_on(Mongo::open(url.clone(), options.clone()))
        .unwrap();
    Some(Bench {
        url,
        options,
        clock,
        store,
        raw,
        runtime,
    })
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    async_io::block_on(future)
}

fn id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

fn filter() -> ClaimFilter {
    ClaimFilter {
        tasks: Arc::new(BTreeSet::from([TaskName::new("t").unwrap()])),
        slots: BTreeMap::from([(ExecutorName::default(), 1000)]),
    }
}

fn claim(store: &impl JobStore, node: u64, limit: usize) -> StoreResult<Claimed> {
    wait(store.claim(ClaimRequest {
        node: NodeId(node),
        lease: Duration::from_secs(30),
        filter: filter(),
        limit,
    }))
}

fn started(claimed: &Claimed) -> Vec<Run> {
    let runs = claimed.jobs.iter().flat_map(|job| job.started.clone());
    runs.collect()
}

fn succeeded(run: &Run) -> Finish {
    Finish {
        run: run.id,
        fence: run.fence,
        ending: Some(Ending::Succeeded),
        output: None,
        error: None,
        next_attempt_at: None,
    }
}

impl Bench {
    fn inner(&self) -> &Inner {
        self.raw.inner()
    }

    fn add(&self, ids: &[&str]) {
        let now = punctual_core::clock::Clock::now(&self.clock);
        let additions = ids
            .iter()
            .map(|id| job(*id).addition(now, &Zones::system()))
            .collect();
        let added = wait(self.store.add_many(additions)).unwrap();
        assert!(added.iter().all(Result::is_ok));
    }

    fn claim_one(&self) -> Run {
        let mut runs = started(&claim(&self.store, 1, 100).unwrap());
        assert_eq!(runs.len(), 1);
        runs.remove(0)
    }

    fn unit(&self, id: &JobId) -> Unit {
        self.runtime.block_on(async {
            let mut unit = self.inner().begin().await.unwrap();
            self.inner()
                .load(&mut unit, std::slice::from_ref(id))
                .await
                .unwrap();
            unit
        })
    }

    /// A write that says anew what is there, but that these runs have ended.
    fn write(&self, unit: &Unit, id: &JobId, ended: Vec<Run>) -> Write {
        let Some(StoredJob::Job(job)) = wait(self.store.get(id)).unwrap() else {
            panic!("the job is there");
        };
        let mut state = job.state;
        state.live = 0;
        Write {
            id: id.clone(),
            expected: Inner::head(unit, id).map(|head| head.version),
            after: After::Job {
                state,
                document: document::write(&job.definition).to_string().into(),
                definition: job.definition,
                is_new: false,
            },
            insert: Vec::new(),
            update: ended,
            live: Vec::new(),
        }
    }

    /// All decisions about an id, by position.
    fn decisions(&self, id: &JobId) -> Vec<Decision> {
        let of_id = doc! {"job": id.as_str()};
        let found = self.inner().log.find_all(&of_id, None, None);
        let mut found = self.runtime.block_on(found).unwrap();
        found.sort_by_key(|decision| decision.version);
        found
    }

    fn heads(&self, id: &JobId) -> Vec<u64> {
        let heads = self.decisions(id);
        let heads = heads
            .iter()
            .filter(|decision| decision.document.contains_key("head"));
        heads.map(|head| position(head.version)).collect()
    }

    fn positions(&self, id: &JobId) -> Vec<u64> {
        let decisions = self.decisions(id);
        decisions
            .iter()
            .map(|decision| position(decision.version))
            .collect()
    }

    fn due(&self) -> Vec<(JobId, Option<Version>)> {
        self.runtime.block_on(async {
            let (mut unit, _) = self.raw.begin().await.unwrap();
            let due = Due {
                tasks: &filter().tasks,
                executor: &ExecutorName::default(),
                except: &[],
                after: None,
                limit: 10,
            };
            let due = self.raw.due(&mut unit, due).await.unwrap();
            due.into_iter().map(|due| (due.id, due.version)).collect()
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.runtime.block_on(async {
            let db = &self.inner().db;
            for name in db.list_collection_names().await.unwrap() {
                if name.starts_with(&self.options.prefix) {
                    db.collection::<Document>(&name).drop().await.unwrap();
                }
            }
            self.raw.close().await;
        });
    }
}

/// A writer that dies right after its commit has written: its rows reach the ledger through whoever looks, and the former
/// head goes out of the indexes.
#[test]
fn what_a_dead_writer_left_is_done_by_others() {
    let Some(bench) = bench() else { return };
    let a = id("a");
    bench.add(&["a"]);
    bench.clock.advance(Duration::from_secs(10));
    let mut run = bench.claim_one();
    let unit = bench.unit(&a);
    run.end(Ending::Succeeded, unit.now).unwrap();
    let write = bench.write(&unit, &a, vec![run.clone()]);
    let writes = [write];
    let decided = bench.inner().decide(&unit, &writes);
    let written = bench.runtime.block_on(decided).unwrap();
    assert_eq!(written.fates, [Fate::Written]);
    assert_eq!(bench.heads(&a), [2, 3], "nothing followed yet");
    let count = |filter: Document| {
        let count = bench.inner().runs.count_documents(filter);
        bench.runtime.block_on(count.into_future()).unwrap()
    };
    assert_eq!(count(doc! {}), 0);

    let found = wait(bench.store.run(run.id)).unwrap().unwrap();
    assert_eq!(found.state(), RunState::Succeeded);
    assert_eq!(count(doc! {}), 1);
    assert_eq!(bench.heads(&a), [3]);
    let counts = wait(bench.store.counts(Timestamp::UNIX_EPOCH)).unwrap();
    assert_eq!(counts, BTreeMap::from([(RunState::Succeeded, 1)]));
    let rows = wait(bench.store.runs(&RunQuery::default())).unwrap();
    assert_eq!(rows.items, [found], "and once");
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(started(&claim(&bench.store, 1, 10).unwrap()).len(), 1);
}

/// A superseded decision that is in the index still is no candidate, and wakes nobody twice.
#[test]
fn a_superseded_candidate_is_stepped_over() {
    let Some(bench) = bench() else { return };
    let a = id("a");
    bench.add(&["a"]);
    bench.clock.advance(Duration::from_secs(10));
    let unit = bench.unit(&a);
    let mut write = bench.write(&unit, &a, Vec::new());
    if let After::Job { state, .. } = &mut write.after {
        state.wake_at = None;
    }
    let writes = [write];
    let decided = bench.inner().decide(&unit, &writes);
    bench.runtime.block_on(decided).unwrap();
    assert_eq!(bench.heads(&a), [1, 2]);
    assert_eq!(bench.due(), []);
    assert_eq!(bench.heads(&a), [2], "it is out of the index");
    let next = bench.runtime.block_on(bench.raw.next_wake(Awaited {
        tasks: &filter().tasks,
        executors: &[&ExecutorName::default()],
        except: &[],
    }));
    assert_eq!(next.unwrap(), None);
}

/// Of two writers who have read the same, one is refused, however they insert.
#[test]
fn of_two_writers_one_is_refused() {
    let Some(bench) = bench() else { return };
    let a = id("a");
    bench.add(&["a"]);
    let unit = bench.unit(&a);
    let writes = [0, 1].map(|_| [bench.write(&unit, &a, Vec::new())]);
    let fates = bench.runtime.block_on(async {
        let inner = bench.inner();
        futures_util::join!(
            inner.commit(&unit, &writes[0]),
            inner.commit(&unit, &writes[1])
        )
    });
    let mut fates = [fates.0.unwrap()[0], fates.1.unwrap()[0]];
    fates.sort_by_key(|fate| *fate == Fate::Stale);
    assert_eq!(fates, [Fate::Written, Fate::Stale]);
    assert_eq!(bench.heads(&a), [2]);
}

/// A writer that was frozen until what it had read was superseded and deleted finds its write void.
#[test]
fn a_write_that_comes_too_late_is_void() {
    let Some(bench) = bench() else { return };
    let a = id("a");
    bench.add(&["a"]);
    for _ in 0..2 {
        wait(
            bench
                .store
                .update(&a, None, JobChange::Pause(PauseRequest::default())),
        )
        .unwrap();
        wait(bench.store.update(&a, None, JobChange::Resume)).unwrap();
    }
    // It has read position 5, and gets no further.
    let unit = bench.unit(&a);
    let write = bench.write(&unit, &a, Vec::new());
    wait(
        bench
            .store
            .update(&a, None, JobChange::Pause(PauseRequest::default())),
    )
    .unwrap();
    wait(bench.store.update(&a, None, JobChange::Resume)).unwrap();
    let inner = bench.inner();
    bench.runtime.block_on(async {
        let superseded = inner.superseded().await.unwrap();
        assert_eq!(superseded.len(), 5, "2 to 6");
        inner.log.delete(superseded).await.unwrap();
    });
    assert_eq!(bench.positions(&a), [1, 7]);
    let late = Decision::follow(Inner::head(&unit, &a), &write, unit.now).unwrap();
    assert_eq!(position(late.version), 6);
    bench.runtime.block_on(async {
        let inserted = inner.log.insert(std::slice::from_ref(&late)).await.unwrap();
        assert_eq!(inserted, [true], "its place is free");
        // Also before it finds out, nobody takes it for the truth.
        let heads = inner.log.heads([&a]).await.unwrap();
        assert_eq!(position(heads[&a].version), 7);
        let holds = inner.holds(&unit, &late, write.expected, true).await;
        assert!(!holds.unwrap());
    });
    assert_eq!(bench.positions(&a), [1, 7]);
    // What it has read is the same, but a day has passed: it does not even try.
    let mut old = bench.unit(&a);
    old.begun = Duration::ZERO;
    let write = bench.write(&old, &a, Vec::new());
    let refused = bench.runtime.block_on(inner.decide(&old, &[write]));
    assert!(
        matches!(refused, Err(BackendError::Again(_))),
        "{refused:?}"
    );
}

/// Only what is superseded is deleted, and never the first decision of an id that is known.
#[test]
fn what_is_superseded_goes_and_nothing_else() {
    let Some(bench) = bench() else { return };
    let (a, b) = (id("a"), id("b"));
    bench.add(&["a", "b"]);
    for round in 1..=3 {
        bench.clock.advance(Duration::from_secs(10));
        for run in started(&claim(&bench.store, 1, 10).unwrap()) {
            if round < 3 || run.job_id == a {
                wait(bench.store.finish(vec![succeeded(&run)])).unwrap();
            }
        }
    }
    let before = [&a, &b].map(|id| wait(bench.store.get(id)).unwrap());
    let rows = wait(bench.store.runs(&RunQuery::default())).unwrap();
    assert_eq!(rows.items.len(), 6);
    bench.runtime.block_on(async {
        let superseded = bench.inner().superseded().await.unwrap();
        bench.inner().log.delete(superseded).await.unwrap();
    });
    assert_eq!(bench.positions(&a), [1, 7]);
    assert_eq!(bench.positions(&b), [1, 6]);
    assert_eq!(
        [&a, &b].map(|id| wait(bench.store.get(id)).unwrap()),
        before
    );
    assert_eq!(wait(bench.store.runs(&RunQuery::default())).unwrap(), rows);
    let owned = wait(bench.store.owned_by(NodeId(1))).unwrap();
    assert_eq!(owned.len(), 1, "b runs on");
    // A removed id is forgotten a day later, its fence is not.
    wait(bench.store.remove(&a)).unwrap();
    wait(bench.store.prune(Retention::default())).unwrap();
    assert_eq!(bench.heads(&a), [8], "it is known to be gone");
    bench.clock.advance(Duration::from_hours(25));
    bench.runtime.block_on(async {
        let superseded = bench.inner().superseded().await.unwrap();
        bench.inner().log.delete(superseded).await.unwrap();
    });
    wait(bench.store.prune(Retention::default())).unwrap();
    assert!(bench.positions(&a).is_empty());
    assert!(wait(bench.store.fence_floor()).unwrap() >= rows.items[0].fence);
    bench.add(&["a"]);
    assert_eq!(bench.positions(&a), [1]);
}

/// Which job a run is of need not be known to the process that renews or ends it.
#[test]
fn another_process_finds_the_job_of_a_run() {
    let Some(bench) = bench() else { return };
    bench.add(&["a", "b"]);
    bench.clock.advance(Duration::from_secs(10));
    let runs = started(&claim(&bench.store, 1, 10).unwrap());
    let other = wait(MongoStore::open(&bench.url, bench.options.clone())).unwrap();
    let held: Vec<_> = runs.iter().map(|run| (run.id, run.fence)).collect();
    let renewed = wait(other.renew(Duration::from_mins(1), &held)).unwrap();
    assert_eq!(renewed, [Renewed::Kept; 2]);
    let until = wait(other.run(runs[0].id)).unwrap().unwrap().lease_until;
    assert!(until > runs[0].lease_until);
    let finishes = runs.iter().map(succeeded).collect();
    assert_eq!(wait(other.finish(finishes)).unwrap().len(), 2);
    let renewed = wait(bench.store.renew(Duration::from_mins(1), &held)).unwrap();
    assert_eq!(renewed, [Renewed::Lost; 2]);
}

/// Several threads on two nodes take the same jobs: each occurrence is decided once, and none is missing.
#[test]
fn races_double_and_lose_nothing() {
    const JOBS: usize = 12;
    const ROUNDS: i64 = 4;
    let Some(bench) = bench() else { return };
    let ids: Vec<String> = (0..JOBS).map(|n| format!("job-{n}")).collect();
    bench.add(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let other = wait(MongoStore::open(&bench.url, bench.options.clone())).unwrap();
    for _ in 0..ROUNDS {
        bench.clock.advance(Duration::from_secs(10));
        std::thread::scope(|scope| {
            for node in 1..=4 {
                let store = if node % 2 == 0 { &other } else { &bench.store };
                scope.spawn(move || {
                    loop {
                        let claimed = claim(store, node, 5).unwrap();
                        let runs = started(&claimed);
                        if runs.is_empty()
                            && wait(store.next_due(&filter())).unwrap() > Some(claimed.now)
                        {
                            break;
                        }
                        if !runs.is_empty() {
                            let outcomes = wait(store.finish(runs.iter().map(succeeded).collect()));
                            assert_eq!(outcomes.unwrap().len(), runs.len());
                        }
                    }
                });
            }
        });
    }
    let rows = wait(bench.store.runs(&RunQuery::default())).unwrap().items;
    let decided: BTreeSet<_> = rows
        .iter()
        .map(|run| (run.job_id.clone(), run.scheduled_at))
        .collect();
    assert_eq!(rows.len(), JOBS * ROUNDS as usize);
    assert_eq!(decided.len(), rows.len(), "each once");
    assert!(rows.iter().all(|run| run.state() == RunState::Succeeded));
    for job in ids {
        // Added once, and a claim and a finish in each round: no position was skipped, and none written in vain.
        assert_eq!(bench.heads(&id(&job)), [1 + 2 * ROUNDS as u64]);
    }
}

/// Ten nodes may start at once on a fresh prefix; a newer schema is refused.
#[test]
fn ten_open_at_once() {
    let Some(bench) = bench() else { return };
    let options = bench
        .options
        .clone()
        .prefix(format!("{}x_", bench.options.prefix));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| wait(MongoStore::open(&bench.url, options.clone())).unwrap());
        }
    });
    bench.runtime.block_on(async {
        let meta: mongodb::Collection<Document> = bench
            .inner()
            .db
            .collection(&format!("{}meta", options.prefix));
        let newer = doc! {"$set": {"version": 99}};
        meta.update_one(doc! {"_id": "schema"}, newer)
            .await
            .unwrap();
    });
    let error = wait(MongoStore::open(&bench.url, options)).unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}

/// An address that cannot serve is refused with the reason, and without the password.
#[test]
fn addresses_are_refused_with_a_reason() {
    let options = StoreOptions::default().timeout(Duration::from_millis(200));
    for (url, word) in [
        (
            "mongodb://ann:s3cret@127.0.0.1:1/x?readPreference=secondary",
            "readPreference",
        ),
        ("mongodb+srv://ann:s3cret@db.example/x", "hosts"),
        ("mongodb://ann:s3cret%@127.0.0.1:1/x", "not understood"),
        (
            "mongodb://ann:s3cret@127.0.0.1:1/x?w=oops&tls=maybe",
            "not understood",
        ),
        ("mongodb://ann:s3cret@127.0.0.1:1/x", "unavailable"),
    ] {
        let error = wait(MongoStore::open(url, options.clone())).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(
            !format!("{error:?} {error}").contains("s3cret"),
            "{error:?}"
        );
    }
}
