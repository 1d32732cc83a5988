//! What only this store can get wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_io::block_on;
use jiff::Timestamp;
use punctual_conformance::{Place as _, START, job};
use punctual_core::clock::{Clock, SimClock, SystemClock};
use punctual_core::id::{ExecutorName, JobId, NodeId, RunId, TaskName};
use punctual_core::job::StoredJob;
use punctual_core::plan::Finish;
use punctual_core::run::{Ending, NewRun, Reason, Run, RunKind, RunState};
use punctual_core::store::{
    ClaimFilter, ClaimRequest, Claimed, JobQuery, JobStore, Renewed, RunQuery, StoreError,
    StoreResult,
};
use punctual_core::zones::Zones;
use punctual_redis::{RedisStore, StoreOptions};

use super::server::Server;
use crate::{Prefix, client, url};

type Store = Arc<dyn JobStore>;

/// A prefix on the common server; `None`, and a word about it, where there is none.
fn prefix() -> Option<Prefix> {
    if url().is_none() {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: no Redis server\n");
        return None;
    }
    Some(Prefix::new())
}

fn clock() -> SimClock {
    SimClock::new(Timestamp::from_second(START).unwrap())
}

fn open(prefix: &Prefix, clock: &SimClock) -> Store {
    block_on(prefix.open(clock)).unwrap()
}

fn open_at(url: &str, clock: &SimClock) -> StoreResult<RedisStore> {
    let options = StoreOptions::default()
        .timeout(Duration::from_secs(5))
        .clock(Arc::new(clock.clone()));
    block_on(RedisStore::open(url, options))
}

fn id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

fn add(store: &dyn JobStore, clock: &SimClock, ids: &[&str]) {
    let additions = ids
        .iter()
        .map(|id| job(*id).addition(clock.now(), &Zones::system()));
    for added in block_on(store.add_many(additions.collect())).unwrap() {
        added.unwrap();
    }
}

fn request(node: u64) -> ClaimRequest {
    let task = TaskName::new("t").unwrap();
    ClaimRequest {
        node: NodeId(node),
        lease: Duration::from_secs(30),
        filter: ClaimFilter {
            tasks: Arc::new(BTreeSet::from([task])),
            slots: [(ExecutorName::default(), 1000)].into(),
        },
        limit: 7,
    }
}

fn started(claimed: &Claimed) -> Vec<Run> {
    let runs = claimed.jobs.iter().flat_map(|job| job.started.clone());
    runs.collect()
}

fn finishes(runs: &[Run]) -> Vec<Finish> {
    let finish = |run: &Run| Finish {
        run: run.id,
        fence: run.fence,
        ending: Some(Ending::Succeeded),
        output: None,
        error: None,
        next_attempt_at: None,
    };
    runs.iter().map(finish).collect()
}

/// Until it goes through.
fn persist<T, F: Future<Output = StoreResult<T>>>(call: impl Fn() -> F) -> T {
    loop {
        match block_on(call()) {
            Ok(done) => return done,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Claims and finishes as the engine does: after a claim without an answer it asks what it owns.
fn work(store: &dyn JobStore, node: u64) {
    loop {
        let (runs, is_idle) = match block_on(store.claim(request(node))) {
            Ok(claimed) => (started(&claimed), claimed.jobs.is_empty()),
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                (persist(|| store.owned_by(NodeId(node))), false)
            }
        };
        persist(|| store.finish(finishes(&runs)));
        if is_idle {
            return;
        }
    }
}

/// Each of these jobs has run once at each of so many moments, ten seconds apart.
fn check_ledger(store: &dyn JobStore, ids: &[String], moments: i64) {
    for text in ids {
        let query = RunQuery {
            job_id: Some(id(text)),
            ..RunQuery::default()
        };
        let rows = persist(|| store.runs(&query)).items;
        let mut found: Vec<_> = rows
            .iter()
            .map(|run| (run.scheduled_at.as_second() - START, run.state()))
            .collect();
        found.sort_unstable();
        let expected: Vec<_> = (1..=moments)
            .map(|n| (10 * n, RunState::Succeeded))
            .collect();
        assert_eq!(found, expected, "{text}");
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("job-{n}")).collect()
}

fn run(connection: &mut client::Connection, words: &[&str]) {
    let mut command = client::cmd(words[0]);
    command.arg(&words[1..]).exec(connection).unwrap();
}

/// Scripts that the server has forgotten are given to it again.
#[test]
fn a_flushed_script_cache_loses_nothing() {
    let Some(prefix) = prefix() else { return };
    let clock = clock();
    let store = open(&prefix, &clock);
    let mut connection = prefix.connection();
    let mut flush = || run(&mut connection, &["SCRIPT", "FLUSH"]);
    add(&*store, &clock, &["a"]);
    for moment in 1..=5 {
        clock.advance(Duration::from_secs(10));
        flush();
        let runs = started(&block_on(store.claim(request(1))).unwrap());
        assert_eq!(runs.len(), 1, "moment {moment}");
        flush();
        let held = [(runs[0].id, runs[0].fence)];
        let renewed = block_on(store.renew(Duration::from_secs(30), &held)).unwrap();
        assert_eq!(renewed, [Renewed::Kept]);
        flush();
        block_on(store.finish(finishes(&runs))).unwrap();
    }
    check_ledger(&*store, &["a".to_owned()], 5);
}

/// Two processes with many hands on the same jobs: every moment is decided once.
#[test]
fn stores_that_race_double_and_lose_nothing() {
    let Some(prefix) = prefix() else { return };
    let clock = clock();
    let stores = [open(&prefix, &clock), open(&prefix, &clock)];
    let names = names(40);
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    add(&*stores[0], &clock, &ids);
    for _ in 0..12 {
        clock.advance(Duration::from_secs(10));
        std::thread::scope(|scope| {
            for node in 0..8 {
                let store = &stores[node % 2];
                scope.spawn(move || work(&**store, node as u64 + 1));
            }
        });
    }
    check_ledger(&*stores[1], &names, 12);
}

/// Connections are cut again and again, also between a change and its answer: nothing is doubled or lost.
#[test]
fn killed_connections_come_back() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let clock = clock();
    let store = open_at(&server.url(), &clock).unwrap();
    let names = names(20);
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    add(&store, &clock, &ids);
    let is_over = AtomicBool::new(false);
    let kills = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let client = client::Client::open(server.url()).unwrap();
            let mut connection = client.get_connection().unwrap();
            let mut kills = 0;
            while !is_over.load(Ordering::Relaxed) {
                for kind in ["normal", "pubsub"] {
                    let mut kill = client::cmd("CLIENT");
                    kill.arg(&["KILL", "TYPE", kind, "SKIPME", "yes"]);
                    kills += kill.query::<u32>(&mut connection).unwrap();
                }
                std::thread::sleep(Duration::from_millis(3));
            }
            kills
        });
        for _ in 0..15 {
            clock.advance(Duration::from_secs(10));
            work(&store, 1);
        }
        is_over.store(true, Ordering::Relaxed);
        killer.join().unwrap()
    });
    assert!(kills > 5, "{kills} connections were cut");
    check_ledger(&store, &names, 15);
}

/// A server that was killed and comes back with what it kept: all goes on by itself, and whoever waits is told.
#[test]
fn a_restarted_server_goes_on() {
    let settings = [("appendonly", "yes"), ("appendfsync", "always")];
    let Some(mut server) = Server::start(&settings) else {
        return;
    };
    let clock = clock();
    let store = open_at(&server.url(), &clock).unwrap();
    add(&store, &clock, &["a"]);
    clock.advance(Duration::from_secs(10));
    work(&store, 1);
    let changed = store.changed();
    server.kill();
    let error = block_on(store.claim(request(1))).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    server.run();
    block_on(changed);
    clock.advance(Duration::from_secs(10));
    work(&store, 1);
    check_ledger(&store, &["a".to_owned()], 2);
}

/// What one process adds, another hears of within a tenth of a second.
#[test]
fn a_second_store_is_woken() {
    let Some(prefix) = prefix() else { return };
    let clock = clock();
    let (first, second) = (open(&prefix, &clock), open(&prefix, &clock));
    let mut worst = Duration::ZERO;
    for round in 0..10 {
        let changed = second.changed();
        let before = SystemClock.monotonic();
        add(&*first, &clock, &[&format!("job-{round}")]);
        block_on(changed);
        worst = worst.max(SystemClock.monotonic().saturating_sub(before));
    }
    assert!(worst < Duration::from_millis(100), "{worst:?}");
}

/// Stores with other prefixes see nothing of each other, however alike these are.
#[test]
fn prefixes_keep_stores_apart() {
    let (Some(one), Some(mut other)) = (prefix(), prefix()) else {
        return;
    };
    other.prefix = format!("{}x", one.prefix);
    let clock = clock();
    let (first, second) = (open(&one, &clock), open(&other, &clock));
    add(&*first, &clock, &["a", "b"]);
    add(&*second, &clock, &["a"]);
    clock.advance(Duration::from_secs(10));
    work(&*first, 1);
    assert_eq!(block_on(second.remove_all()).unwrap(), 1);
    assert!(
        block_on(second.list(&JobQuery::default()))
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        block_on(second.runs(&RunQuery::default()))
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(
        block_on(first.list(&JobQuery::default()))
            .unwrap()
            .items
            .len(),
        2
    );
    check_ledger(&*first, &["a".to_owned(), "b".to_owned()], 1);
}

/// Ids that look like parts of keys or patterns are ids like others.
#[test]
fn odd_ids_are_ids() {
    let Some(prefix) = prefix() else { return };
    let clock = clock();
    let store = open(&prefix, &clock);
    let ids = [
        "{}",
        "{a}:b",
        "*",
        "[x]",
        "(1",
        "-",
        "+",
        "a:b",
        "a b",
        "ä{ö}",
        "\u{10ffff}",
        "'\"\\",
        "%s%d",
        "nil",
        "0",
        "ffffffffffffffff",
    ];
    add(&*store, &clock, &ids);
    clock.advance(Duration::from_secs(10));
    work(&*store, 1);
    for text in ids {
        let stored = block_on(store.get(&id(text))).unwrap();
        assert!(matches!(stored, Some(StoredJob::Job(_))), "{text:?}");
    }
    check_ledger(&*store, &ids.map(str::to_owned), 1);
    for text in ids {
        assert!(
            block_on(store.remove(&id(text))).unwrap().is_some(),
            "{text:?}"
        );
    }
    let mut connection = prefix.connection();
    for key in ["state", "definitions", "ids", "listed"] {
        let exists: bool = client::cmd("EXISTS")
            .arg(prefix.key(key))
            .query(&mut connection)
            .unwrap();
        assert!(!exists, "{key} is empty, so it is gone");
    }
}

/// What a hand spoilt is shown, stands in nobody's way, and can be removed.
#[test]
fn a_spoilt_head_is_shown_and_can_be_removed() {
    let Some(prefix) = prefix() else { return };
    let clock = clock();
    let store = open(&prefix, &clock);
    add(&*store, &clock, &["a", "b", "c"]);
    let mut connection = prefix.connection();
    for (id, state) in [("a", "nonsense"), ("b", "17 nonsense")] {
        run(&mut connection, &["HSET", &prefix.key("state"), id, state]);
    }
    clock.advance(Duration::from_secs(10));
    work(&*store, 1);
    check_ledger(&*store, &["c".to_owned()], 1);
    for text in ["a", "b"] {
        let stored = block_on(store.get(&id(text))).unwrap();
        assert!(
            matches!(stored, Some(StoredJob::Unreadable(_))),
            "{stored:?}"
        );
        let removed = block_on(store.remove(&id(text))).unwrap();
        assert!(
            matches!(removed, Some(StoredJob::Unreadable(_))),
            "{removed:?}"
        );
    }
    assert_eq!(
        block_on(store.list(&JobQuery::default()))
            .unwrap()
            .items
            .len(),
        1
    );
    add(&*store, &clock, &["a", "b"]);
    clock.advance(Duration::from_secs(10));
    work(&*store, 1);
    assert_eq!(
        block_on(store.list(&JobQuery::default()))
            .unwrap()
            .items
            .len(),
        3
    );
}

/// An entry among those that are due which does not say what its job says is put right.
#[test]
fn a_misplaced_entry_is_mended() {
    let Some(prefix) = prefix() else { return };
    let clock = clock();
    let store = open(&prefix, &clock);
    add(&*store, &clock, &["a"]);
    let mut connection = prefix.connection();
    let due = prefix.key("due:default\nt");
    for member in ["a", "gone"] {
        run(&mut connection, &["ZADD", &due, "5", member]);
    }
    assert!(block_on(store.claim(request(1))).unwrap().jobs.is_empty());
    let due: Vec<(String, f64)> = client::cmd("ZRANGE")
        .arg(&[&due, "0", "-1", "WITHSCORES"])
        .query(&mut connection)
        .unwrap();
    assert_eq!(due, [("a".to_owned(), (START + 10) as f64 * 1e6)]);
}

/// A decision that the ledger has already is not written again, nor does it keep others from being written.
#[test]
fn what_was_decided_is_not_decided_again() {
    let Some(prefix) = prefix() else { return };
    let clock = clock();
    let store = open(&prefix, &clock);
    add(&*store, &clock, &["a", "b", "c"]);
    let stored = block_on(store.get(&id("b"))).unwrap();
    let Some(StoredJob::Job(job)) = stored else {
        panic!("{stored:?}");
    };
    clock.advance(Duration::from_secs(10));
    let now = clock.now();
    let new = NewRun {
        id: RunId(7),
        job_id: id("b"),
        job_key: job.state.key,
        kind: RunKind::Scheduled,
        scheduled_at: now,
        due_at: now,
        instance: 1,
    };
    let row = Run::skipped(new, Reason::Misfired, now);
    assert_eq!(block_on(store.import_rows(vec![row])).unwrap(), 1);
    let mut names = Vec::new();
    for _ in 0..3 {
        let runs = started(&block_on(store.claim(request(1))).unwrap());
        names.extend(runs.iter().map(|run| run.job_id.to_string()));
        block_on(store.finish(finishes(&runs))).unwrap();
    }
    assert_eq!(names, ["a", "c"]);
    let query = RunQuery {
        job_id: Some(id("b")),
        ..RunQuery::default()
    };
    let rows = block_on(store.runs(&query)).unwrap().items;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].state(), RunState::Skipped);
}

/// Renewing a lease that had ended disturbs whoever is about to take the run over; renewing another does not.
#[test]
fn a_late_renewal_changes_the_version() {
    let Some(prefix) = prefix() else { return };
    let clock = clock();
    let store = open(&prefix, &clock);
    add(&*store, &clock, &["a"]);
    clock.advance(Duration::from_secs(10));
    let runs = started(&block_on(store.claim(request(1))).unwrap());
    let version = || {
        let stored: Vec<u8> = client::cmd("HGET")
            .arg(&[&prefix.key("state"), "a"])
            .query(&mut prefix.connection())
            .unwrap();
        stored.split(|&byte| byte == b' ').next().unwrap().to_vec()
    };
    let held = [(runs[0].id, runs[0].fence)];
    let renew = || block_on(store.renew(Duration::from_secs(30), &held)).unwrap();
    let before = version();
    clock.advance(Duration::from_secs(20));
    assert_eq!(renew(), [Renewed::Kept]);
    assert_eq!(version(), before);
    clock.advance(Duration::from_secs(31));
    assert_eq!(renew(), [Renewed::Kept]);
    assert_ne!(version(), before);
    let row = block_on(store.run(runs[0].id)).unwrap().unwrap();
    let until = clock.now() + jiff::SignedDuration::from_secs(30);
    assert_eq!(row.lease_until, Some(until));
}

/// A server that may throw jobs away, cannot be written to or redirects is refused, with what to do.
#[test]
fn servers_that_cannot_keep_jobs_are_refused() {
    for (setting, word) in [
        (("maxmemory-policy", "allkeys-lru"), "noeviction"),
        (("replicaof", "127.0.0.1 1"), "primary"),
        (("cluster-enabled", "yes"), "cluster"),
    ] {
        let Some(server) = Server::start(&[setting]) else {
            return;
        };
        let error = open_at(&server.url(), &clock()).unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// A password opens the door, a wrong one does not, and neither is ever shown.
#[test]
fn passwords_are_asked_for_and_not_shown() {
    let Some(server) = Server::start(&[("requirepass", "opensesame")]) else {
        return;
    };
    let store = open_at(&server.url(), &clock()).unwrap();
    assert!(!format!("{store:?}").contains("sesame"), "{store:?}");
    let port = server.port();
    for url in [
        format!("redis://127.0.0.1:{port}"),
        format!("redis://:wrongsesame@127.0.0.1:{port}"),
    ] {
        let error = open_at(&url, &clock()).unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains("password"), "{error}");
        assert!(!error.to_string().contains("sesame"), "{error}");
    }
}

/// A server that is not there may come; an address that is none never will.
#[test]
fn a_missing_server_may_come() {
    let error = open_at("redis://127.0.0.1:1", &clock()).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let error = open_at("redis:/nowhere", &clock()).unwrap_err();
    assert!(!error.is_retryable(), "{error}");
}

/// Keys of a newer Punctual are left alone.
#[test]
fn a_newer_schema_is_refused() {
    let Some(prefix) = prefix() else { return };
    run(
        &mut prefix.connection(),
        &["SET", &prefix.key("schema"), "2"],
    );
    let error = block_on(prefix.open(&clock())).unwrap_err();
    assert!(error.to_string().contains("newer Punctual"), "{error}");
}

/// Ten nodes may start at once on an empty server.
#[test]
fn many_nodes_start_at_once() {
    let Some(prefix) = prefix() else { return };
    let clock = clock();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| open(&prefix, &clock));
        }
    });
}

/// Without a clock of its own the store goes by the server's.
#[test]
fn time_is_the_servers() {
    let Some(prefix) = prefix() else { return };
    let options = StoreOptions::default().prefix(&prefix.prefix);
    let store = block_on(RedisStore::open(&prefix.url, options)).unwrap();
    let mut connection = prefix.connection();
    let mut time = || {
        let (seconds, micros): (i64, i64) = client::cmd("TIME").query(&mut connection).unwrap();
        Timestamp::from_microsecond(seconds * 1_000_000 + micros).unwrap()
    };
    let before = time();
    let now = block_on(store.now()).unwrap();
    assert!(before <= now && now <= time());
    let once = job("a").once(now);
    let addition = once.addition(now, &Zones::system());
    block_on(store.add_many(vec![addition])).unwrap()[0]
        .as_ref()
        .unwrap();
    let runs = started(&block_on(store.claim(request(1))).unwrap());
    assert_eq!(runs.len(), 1);
    let held = [(runs[0].id, runs[0].fence)];
    let renewed = block_on(store.renew(Duration::from_mins(1), &held)).unwrap();
    assert_eq!(renewed, [Renewed::Kept]);
    let lease = block_on(store.run(runs[0].id))
        .unwrap()
        .unwrap()
        .lease_until
        .unwrap();
    let ahead = lease.duration_since(time()).as_secs();
    assert!((50..=60).contains(&ahead), "{ahead} s");
    let expired =
        block_on(store.reclaim_expired(NodeId(2), punctual_core::store::ReclaimScope::Expired));
    assert!(expired.unwrap().is_empty());
}
