//! What only a file can get wrong: other processes, other versions, other owners of the disk.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use async_io::block_on;
use jiff::Timestamp;
use punctual_conformance::{START, job};
use punctual_core::clock::{Clock, SimClock};
use punctual_core::id::{JobId, NodeId};
use punctual_core::run::{Reason, Run};
use punctual_core::store::{
    ClaimFilter, ClaimRequest, Claimed, Expect, JobQuery, JobStore, ReclaimScope, Reclaimed,
    Records,
};
use punctual_core::zones::Zones;
use punctual_sql::{SqliteOptions, SqliteStore};
use rusqlite::Connection;

/// Set for the copy of this test that plays another process: the path of the database.
const OTHER_PROCESS: &str = "PUNCTUAL_TEST_OTHER_PROCESS";
/// The node of that process.
const OTHER: NodeId = NodeId(0xb);

fn clock() -> SimClock {
    SimClock::new(Timestamp::from_second(START).unwrap())
}

fn open(path: &Path, clock: &SimClock) -> SqliteStore {
    SqliteStore::open(path, options(clock)).unwrap()
}

fn options(clock: &SimClock) -> SqliteOptions {
    SqliteOptions::new(Arc::new(clock.clone()), Zones::system())
}

fn add(store: &SqliteStore, clock: &SimClock, id: &str) {
    let addition = job(id).every(60).addition(clock.now(), &Zones::system());
    let added = block_on(store.add_many(vec![addition])).unwrap();
    assert!(added[0].is_ok());
}

fn claim(store: &SqliteStore, node: NodeId) -> Vec<Run> {
    let filter = ClaimFilter {
        tasks: Arc::new(["t".try_into().unwrap()].into()),
        slots: [("default".try_into().unwrap(), 10)].into(),
    };
    let request = ClaimRequest {
        node,
        lease: Duration::from_hours(1),
        filter,
        limit: 10,
    };
    let Claimed { jobs, .. } = block_on(store.claim(request)).unwrap();
    jobs.into_iter().flat_map(|job| job.started).collect()
}

fn reclaim(store: &SqliteStore, scope: ReclaimScope) -> Vec<Reclaimed> {
    block_on(store.reclaim_expired(NodeId(0xa), scope)).unwrap()
}

fn lock_files(path: &Path) -> usize {
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap();
    files
        .filter(|file| {
            file.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with(".lock")
        })
        .count()
}

/// Not a test of its own: the process that the tests below start and kill. It claims, says so, and waits.
#[test]
fn another_process() {
    let Some(path) = std::env::var_os(OTHER_PROCESS) else {
        return;
    };
    let clock = clock();
    clock.advance(Duration::from_mins(1));
    let store = open(Path::new(&path), &clock);
    block_on(store.register(OTHER)).unwrap();
    let claimed = claim(&store, OTHER).len();
    block_on(store.put_record("test", "claimed", Some(claimed.into()), Expect::Any)).unwrap();
    let mut line = String::new();
    // Until it is killed, or its parent has gone.
    std::io::stdin().read_line(&mut line).unwrap();
}

fn start_another_process(path: &Path, store: &SqliteStore) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["files::another_process", "--exact", "--nocapture"])
        .env(OTHER_PROCESS, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // A file tells nobody that it has changed.
    while block_on(store.record("test", "claimed")).unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// The runs of a process that was killed are taken at once, long before their lease ends; never while it lives.
#[test]
fn a_killed_process_is_known_to_be_dead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    let clock = clock();
    let store = open(&path, &clock);
    block_on(store.register(NodeId(0xa))).unwrap();
    add(&store, &clock, "a");
    let mut child = start_another_process(&path, &store);
    clock.advance(Duration::from_secs(61));
    assert_eq!(block_on(store.owned_by(OTHER)).unwrap().len(), 1);
    assert!(
        reclaim(&store, ReclaimScope::Expired).is_empty(),
        "it lives, and so does its lease"
    );
    assert_eq!(lock_files(&path), 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let reclaimed = reclaim(&store, ReclaimScope::ProvenDead);
    assert_eq!(reclaimed.len(), 1);
    assert!(reclaimed[0].again);
    assert_eq!(reclaimed[0].run.reason, Some(Reason::NodeDied));
    assert_eq!(lock_files(&path), 1, "the dead node's file is gone");
    assert_eq!(claim(&store, NodeId(0xa))[0].attempt, 2);
}

/// Two stores in one process are two nodes: dropped without a word, the one is known to be dead to the other.
#[test]
fn a_dropped_store_is_known_to_be_dead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    let clock = clock();
    let (store, other) = (open(&path, &clock), open(&path, &clock));
    block_on(other.register(OTHER)).unwrap();
    add(&store, &clock, "a");
    clock.advance(Duration::from_mins(1));
    let run = claim(&other, OTHER).remove(0);
    assert!(reclaim(&store, ReclaimScope::Expired).is_empty());
    drop(other);
    let reclaimed = reclaim(&store, ReclaimScope::ProvenDead);
    assert_eq!(reclaimed[0].run.id, run.id);
    assert_eq!(lock_files(&path), 0);
}

/// A missing file proves nothing: then only the lease counts. Files of nodes that own nothing are swept away.
#[test]
fn a_missing_file_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    let clock = clock();
    let store = open(&path, &clock);
    add(&store, &clock, "a");
    clock.advance(Duration::from_mins(1));
    claim(&store, OTHER);
    assert!(reclaim(&store, ReclaimScope::Expired).is_empty());
    clock.advance(Duration::from_hours(1));
    assert!(reclaim(&store, ReclaimScope::ProvenDead).is_empty());
    assert_eq!(
        reclaim(&store, ReclaimScope::Expired)[0].run.reason,
        Some(Reason::LeaseExpired)
    );
    let idle = open(&path, &clock);
    block_on(idle.register(NodeId(0xc))).unwrap();
    assert_eq!(lock_files(&path), 1);
    reclaim(&store, ReclaimScope::ProvenDead);
    assert_eq!(lock_files(&path), 1, "it lives");
    drop(idle);
    reclaim(&store, ReclaimScope::ProvenDead);
    assert_eq!(lock_files(&path), 0);
}

/// Eight processes may open a new database at once; each finds the tables made.
#[test]
fn many_may_open_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let (path, barrier) = (path.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                let clock = clock();
                barrier.wait();
                let store = open(&path, &clock);
                add(&store, &clock, &format!("job-{n}"));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let store = open(&path, &clock());
    assert_eq!(
        block_on(store.list(&JobQuery::default()))
            .unwrap()
            .items
            .len(),
        8
    );
}

/// Tables of a newer program are refused, and left as they are.
#[test]
fn newer_tables_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    drop(open(&path, &clock()));
    let db = Connection::open(&path).unwrap();
    db.execute(
        "INSERT INTO punctual_migrations VALUES (99, 'from the future', 0)",
        (),
    )
    .unwrap();
    let error = SqliteStore::open(&path, options(&clock())).unwrap_err();
    assert!(!error.is_retryable());
    for word in ["punctual.db", "99", "upgrade"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// Stores under different prefixes share a file and nothing else; a prefix that is no name is refused.
#[test]
fn prefixes_keep_stores_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    let clock = clock();
    let (one, two) = (
        open(&path, &clock),
        SqliteStore::open(&path, options(&clock).prefix("b_")).unwrap(),
    );
    add(&one, &clock, "a");
    assert_eq!(block_on(two.get(&JobId::new("a").unwrap())).unwrap(), None);
    let error = SqliteStore::open(&path, options(&clock).prefix("b-; DROP")).unwrap_err();
    assert!(error.to_string().contains("b-; DROP"), "{error}");
}

/// While another program holds the write lock, writes wait, then say who may be in the way and that trying again may
/// help; reads go on, and so does the store afterwards.
#[test]
fn a_busy_database_is_unavailable_not_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    let clock = clock();
    let store = SqliteStore::open(
        &path,
        options(&clock).busy_timeout(Duration::from_millis(50)),
    )
    .unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = block_on(store.append_log("a", 1.into())).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains("busy"), "{error}");
    assert_eq!(block_on(store.read_log("a", 0, 1)).unwrap(), []);
    let error = SqliteStore::open(
        &path,
        options(&clock).busy_timeout(Duration::from_millis(50)),
    )
    .unwrap_err();
    assert!(error.is_retryable(), "{error}");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(block_on(store.append_log("a", 1.into())).unwrap(), 1);
}

/// What cannot keep the store's promises is refused with the reason and the cure.
#[test]
fn bad_places_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        SqliteStore::open(path, options(&clock()))
            .unwrap_err()
            .to_string()
    };
    assert!(refused(Path::new(":memory:")).contains("memory store"));
    assert!(refused(folder.path()).contains("is a folder"));
    let missing = refused(&folder.path().join("no/such/folder/a.db"));
    assert!(missing.contains("folder must exist"), "{missing}");
    let text = folder.path().join("notes.txt");
    std::fs::write(
        &text,
        "this is no database, it is a text of some length\n".repeat(40),
    )
    .unwrap();
    let not_a_database = refused(&text);
    assert!(
        not_a_database.contains("not an SQLite database"),
        "{not_a_database}"
    );
    assert!(
        std::fs::read_to_string(&text)
            .unwrap()
            .starts_with("this is"),
        "and is left alone"
    );
}

/// A job whose rows contradict the ledger is stepped over: the others are claimed.
#[test]
fn a_contradiction_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    let clock = clock();
    let store = open(&path, &clock);
    add(&store, &clock, "a");
    add(&store, &clock, "b");
    clock.advance(Duration::from_mins(1));
    assert_eq!(claim(&store, OTHER).len(), 2);
    let db = Connection::open(&path).unwrap();
    // As if the first decision about `a` had been forgotten, but for its row.
    let text = "UPDATE punctual_jobs SET cursor = cursor - 60000000, due_at = due_at - 60000000, wake_at = wake_at - \
                60000000, live = 0, revision = revision + 1 WHERE id = 'a'";
    assert_eq!(db.execute(text, ()).unwrap(), 1);
    add(&store, &clock, "c");
    clock.advance(Duration::from_mins(1));
    db.execute(
        "UPDATE punctual_runs SET scheduled_at = scheduled_at + 60000000 WHERE job_id = 'a'",
        (),
    )
    .unwrap();
    let claimed = claim(&store, OTHER);
    assert_eq!(
        claimed
            .iter()
            .map(|run| run.job_id.as_str())
            .collect::<Vec<_>>(),
        ["c"]
    );
}

/// Dropping a future abandons the answer, never half of the work; what was handed over is done before the store closes.
#[test]
fn a_dropped_future_leaves_no_half() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    let clock = clock();
    let store = open(&path, &clock);
    for n in 0..100 {
        let id = format!("job-{n}");
        let addition = job(&id).every(60).addition(clock.now(), &Zones::system());
        let mut add = store.add_many(vec![addition]);
        block_on(async {
            assert!(
                std::future::poll_fn(|cx| std::task::Poll::Ready(add.as_mut().poll(cx)))
                    .await
                    .is_pending()
            );
        });
        drop(add);
    }
    drop(store);
    let store = open(&path, &clock);
    let jobs = block_on(store.list(&JobQuery::default())).unwrap().items;
    assert!(jobs.into_iter().all(|job| job.into_job().is_some()));
}

/// A file that says it belongs to a dead node outlives a store that closes in order only if nobody deregistered.
#[test]
fn deregistering_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("punctual.db");
    let store = open(&path, &clock());
    block_on(store.register(OTHER)).unwrap();
    assert_eq!(lock_files(&path), 1);
    block_on(store.deregister(OTHER)).unwrap();
    assert_eq!(lock_files(&path), 0);
    drop(store);
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(names, ["punctual.db"], "the log is carried over on closing");
}
