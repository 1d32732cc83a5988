//! What a store on an SQL server can get wrong, the same for each of them: many nodes at once, lost connections, other
//! versions, and ids that a collation would take for equal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use async_io::block_on;
use jiff::Timestamp;
use punctual_conformance::{FreshStore, Place, START, job};
use punctual_core::clock::{Clock, SimClock, SystemClock};
use punctual_core::id::{JobId, NodeId};
use punctual_core::plan::{Finish, JobChange, PauseRequest};
use punctual_core::run::{Ending, Run, RunKind, RunState};
use punctual_core::store::{
    BoxFuture, ClaimFilter, ClaimRequest, Expect, FinishOutcome, JobQuery, JobStore, PAUSED_KEY,
    ReclaimScope, Renewed, RunQuery, SCHEDULER_NAMESPACE, StoreResult,
};
use punctual_core::zones::Zones;
use punctual_sql::StoreOptions;

/// A kind of server.
pub(crate) trait Server: Send + Sync + 'static {
    /// In `PUNCTUAL_TEST_<NAME>_URL`.
    const NAME: &'static str;

    /// Opens a store.
    fn open(
        url: String,
        options: StoreOptions,
    ) -> BoxFuture<'static, StoreResult<Arc<dyn JobStore>>>;

    /// Sends statements past the store; returns the first column of the rows.
    fn sql(url: &str, text: &str) -> Result<Vec<String>, String>;
}

/// Places on one server.
pub(crate) struct Fresh<S>(pub(crate) std::marker::PhantomData<S>);

impl<S: Server> FreshStore for Fresh<S> {
    fn fresh(&self) -> Box<dyn Place> {
        Box::new(Tables::<S>::new().expect("the suite does not run without a server"))
    }

    fn missing(&self) -> Option<String> {
        punctual_conformance::server_url(S::NAME)
            .is_none()
            .then(|| S::NAME.to_owned())
    }
}

/// Tables of their own, dropped in the end.
pub(crate) struct Tables<S: Server> {
    pub(crate) url: String,
    pub(crate) prefix: String,
    server: std::marker::PhantomData<S>,
}

impl<S: Server> Tables<S> {
    pub(crate) fn new() -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let url = punctual_conformance::server_url(S::NAME)?;
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let random = NodeId::random().0 as u32;
        Some(Self {
            url,
            prefix: format!("t{random:08x}{made}_"),
            server: std::marker::PhantomData,
        })
    }

    pub(crate) fn sql(&self, text: &str) -> Result<Vec<String>, String> {
        S::sql(&self.url, &text.replace('@', &self.prefix))
    }

    pub(crate) fn options(&self, clock: &SimClock) -> StoreOptions {
        StoreOptions::default()
            .prefix(&self.prefix)
            .connections(4)
            .clock(Arc::new(clock.clone()))
    }

    pub(crate) fn open_with(&self, options: StoreOptions) -> StoreResult<Arc<dyn JobStore>> {
        block_on(S::open(self.url.clone(), options))
    }

    pub(crate) fn open(&self, clock: &SimClock) -> Arc<dyn JobStore> {
        self.open_with(self.options(clock)).unwrap()
    }
}

impl<S: Server> Place for Tables<S> {
    fn open(&self, clock: &SimClock) -> BoxFuture<'_, StoreResult<Arc<dyn JobStore>>> {
        S::open(self.url.clone(), self.options(clock))
    }

    fn corrupt(&self, id: &JobId) -> bool {
        let id: String = id.as_str().replace('\'', "''");
        self.sql(&format!(
            "UPDATE @jobs SET definition = '{{\"version\": 99}}', revision = revision + 1, version = version + 1 \
             WHERE id = '{id}'"
        ))
        .unwrap();
        true
    }
}

impl<S: Server> Drop for Tables<S> {
    fn drop(&mut self) {
        // What stays behind disturbs nobody.
        let _ = self.sql("DROP TABLE IF EXISTS @jobs, @runs, @records, @log, @meta, @migrations");
    }
}

/// The tables of a test, or a loud word that it is skipped.
pub(crate) fn tables<S: Server>() -> Option<Tables<S>> {
    let tables = Tables::new();
    if tables.is_none() {
        let test = std::thread::current();
        let name = test.name().unwrap_or("a test");
        let _ = writeln!(std::io::stderr(), "SKIPPED {name}: no {} server", S::NAME);
    }
    tables
}

pub(crate) fn clock() -> SimClock {
    SimClock::new(Timestamp::from_second(START).unwrap())
}

pub(crate) fn add(store: &Arc<dyn JobStore>, clock: &SimClock, id: &str) {
    let addition = job(id).every(60).addition(clock.now(), &Zones::system());
    let added = block_on(store.add_many(vec![addition])).unwrap();
    assert!(added[0].is_ok(), "{added:?}");
}

fn request(node: u64, limit: usize) -> ClaimRequest {
    ClaimRequest {
        node: NodeId(node),
        lease: Duration::from_hours(1),
        filter: filter(limit),
        limit,
    }
}

pub(crate) fn filter(slots: usize) -> ClaimFilter {
    ClaimFilter {
        tasks: Arc::new(["t".try_into().unwrap()].into()),
        slots: [("default".try_into().unwrap(), slots)].into(),
    }
}

fn claim(store: &Arc<dyn JobStore>, node: u64) -> Vec<Run> {
    let claimed = block_on(store.claim(request(node, 100))).unwrap();
    claimed
        .jobs
        .into_iter()
        .flat_map(|job| job.started)
        .collect()
}

fn end(run: &Run) -> Finish {
    Finish {
        run: run.id,
        fence: run.fence,
        ending: Some(Ending::Succeeded),
        output: None,
        error: None,
        next_attempt_at: None,
    }
}

/// Tries for five seconds.
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let began = SystemClock.monotonic();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(why) => {
                let waited = SystemClock.monotonic().checked_sub(began).unwrap();
                assert!(
                    waited < Duration::from_secs(5),
                    "still after {waited:?}: {why}"
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Ten nodes may open new tables at once; each finds them made.
pub(crate) fn ten_nodes_open_at_once<S: Server>() {
    let Some(tables) = tables::<S>() else { return };
    let barrier = Barrier::new(10);
    std::thread::scope(|scope| {
        for n in 0..10 {
            let (tables, barrier) = (&tables, &barrier);
            scope.spawn(move || {
                let clock = clock();
                barrier.wait();
                let store = tables.open(&clock);
                add(&store, &clock, &format!("job-{n}"));
            });
        }
    });
    let store = tables.open(&clock());
    let jobs = block_on(store.list(&JobQuery::default())).unwrap().items;
    assert_eq!(jobs.len(), 10);
    let steps = tables
        .sql("SELECT CAST(COUNT(*) AS CHAR(9)) FROM @migrations")
        .unwrap();
    assert_eq!(steps[0].trim(), "1", "each step is taken once");
}

/// Tables of a newer program are refused, and left as they are.
pub(crate) fn newer_tables_are_refused<S: Server>() {
    let Some(tables) = tables::<S>() else { return };
    drop(tables.open(&clock()));
    tables
        .sql(
            "INSERT INTO @migrations (version, name, applied_at) VALUES (99, 'from the future', 0)",
        )
        .unwrap();
    let error = tables.open_with(tables.options(&clock())).unwrap_err();
    assert!(!error.is_retryable());
    for word in ["99", "upgrade"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// Addresses that lead nowhere, and passwords that do not fit, are told without the password.
pub(crate) fn wrong_addresses_are_refused<S: Server>() {
    let Some(tables) = tables::<S>() else { return };
    let refused = |url: &str| {
        let options = tables.options(&clock()).timeout(Duration::from_secs(2));
        let error = block_on(S::open(url.to_owned(), options)).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        error
    };
    let scheme = tables.url.split("://").next().unwrap();
    let nobody = refused(&format!("{scheme}://me:hunter2@127.0.0.1:1/x"));
    assert!(nobody.is_retryable(), "a server may come up: {nobody}");
    assert!(nobody.to_string().contains("me@127.0.0.1:1/x"), "{nobody}");
    let (_, place) = tables.url.rsplit_once('@').unwrap();
    let stranger = refused(&format!("{scheme}://nobody_at_all:hunter2@{place}"));
    assert!(!stranger.is_retryable(), "{stranger}");
    let parameter = refused(&format!("{scheme}://me:hunter2@{place}?sslmoed=require"));
    assert!(parameter.to_string().contains("ssl-mode"), "{parameter}");
    let other = refused("sqlite://me:hunter2@x");
    assert!(other.to_string().contains(scheme), "{other}");
}

/// Ids are compared byte for byte, and ordered so, up to 191 characters of four bytes each.
pub(crate) fn ids_are_bytes<S: Server>() {
    let Some(tables) = tables::<S>() else { return };
    let clock = clock();
    let store = tables.open(&clock);
    let long = "\u{1f980}".repeat(191);
    let longer_a = format!("{}a", "\u{1f980}".repeat(190));
    let ids = [
        "a", "A", "ä", "a\u{308}", "a ", " a", "a%", "a_", "a'", "a\\", "ß", "ss", "ñ", "n", "ı",
        "I", "\u{fffd}", &long, &longer_a,
    ];
    for id in ids {
        add(&store, &clock, id);
    }
    let mut sorted: Vec<&str> = ids.to_vec();
    sorted.sort_unstable();
    for limit in [0, 1, 4] {
        let mut listed = Vec::new();
        let mut query = JobQuery {
            order: punctual_core::store::JobOrder::Id,
            limit,
            ..JobQuery::default()
        };
        loop {
            let page = block_on(store.list(&query)).unwrap();
            listed.extend(
                page.items
                    .into_iter()
                    .map(|job| job.id().as_str().to_owned()),
            );
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, sorted, "{limit} at a time");
    }
    clock.advance(Duration::from_mins(1));
    let runs = claim(&store, 1);
    let claimed: Vec<&str> = runs.iter().map(|run| run.job_id.as_str()).collect();
    assert_eq!(claimed, sorted, "equally due jobs go by id");
    for id in ids {
        let id = JobId::new(id).unwrap();
        let query = RunQuery {
            job_id: Some(id.clone()),
            ..RunQuery::default()
        };
        let rows = block_on(store.runs(&query)).unwrap().items;
        assert_eq!(rows.len(), 1, "{id:?} has its own rows");
        assert_eq!(block_on(store.get(&id)).unwrap().unwrap().id(), &id);
    }
    let a = JobId::new("a").unwrap();
    block_on(store.remove(&a)).unwrap().unwrap();
    assert!(block_on(store.get(&a)).unwrap().is_none());
    assert!(
        block_on(store.get(&JobId::new("A").unwrap()))
            .unwrap()
            .is_some()
    );
}

/// What a program printed is kept, whatever it is; the one character that a server cannot hold is told by another.
pub(crate) fn output_of_any_kind_is_kept<S: Server>() {
    let Some(tables) = tables::<S>() else { return };
    let clock = clock();
    let store = tables.open(&clock);
    add(&store, &clock, "a");
    clock.advance(Duration::from_mins(1));
    let run = claim(&store, 1).remove(0);
    let output = "it's \"quoted\"; \\ -- /* \u{1f980}\r\n\t\u{7f} {} $1 ? @".to_owned();
    let finish = Finish {
        output: Some(output.clone()),
        error: Some("nul: \0.".to_owned()),
        ..end(&run)
    };
    let outcome = block_on(store.finish(vec![finish.clone()])).unwrap();
    assert!(
        matches!(outcome[0], FinishOutcome::Accepted { .. }),
        "{outcome:?}"
    );
    let again = block_on(store.finish(vec![finish])).unwrap();
    assert!(
        matches!(again[0], FinishOutcome::Accepted { .. }),
        "an end told twice is one: {again:?}"
    );
    let run = block_on(store.run(run.id)).unwrap().unwrap();
    assert_eq!(run.output, Some(output));
    let error = run.error.unwrap();
    assert!(
        ["nul: \0.", "nul: \u{fffd}."].contains(&error.as_str()),
        "{error:?}"
    );
}

/// Several stores and many threads claim, finish, change, pause, run and remove the same jobs at once. Each occurrence is
/// decided once, each attempt ends once, and nobody fails for being in the way of another.
pub(crate) fn a_storm_doubles_nothing<S: Server>() {
    const JOBS: usize = 24;
    const MINUTES: usize = 12;
    const THREADS: u64 = 8;
    let Some(tables) = tables::<S>() else { return };
    let clock = clock();
    let stores: Vec<_> = (0..3).map(|_| tables.open(&clock)).collect();
    for n in 0..JOBS {
        add(&stores[0], &clock, &format!("job-{n:02}"));
    }
    let over = AtomicBool::new(false);
    let ends: Vec<HashMap<_, usize>> = std::thread::scope(|scope| {
        let hands: Vec<_> = (1..=THREADS)
            .map(|node| {
                let store = &stores[node as usize % stores.len()];
                let over = &over;
                scope.spawn(move || storm(store, node, over))
            })
            .collect();
        for _ in 0..MINUTES {
            clock.advance(Duration::from_mins(1));
            // All of them are decided before the next are due, so that none is coalesced.
            eventually(|| {
                let due = block_on(stores[0].next_due(&filter(1))).unwrap();
                match due {
                    Some(due) if due <= clock.now() => Err(format!("{due} is due")),
                    _ => Ok(()),
                }
            });
        }
        over.store(true, Ordering::Relaxed);
        hands.into_iter().map(|hand| hand.join().unwrap()).collect()
    });
    let mut ended: HashMap<_, usize> = HashMap::new();
    for (run, count) in ends.into_iter().flatten() {
        *ended.entry(run).or_default() += count;
    }
    assert!(
        ended.values().all(|&count| count == 1),
        "an attempt ended twice"
    );
    let rows = block_on(stores[0].runs(&RunQuery::default()));
    let rows = rows.unwrap().items;
    let mut seen = BTreeSet::new();
    let mut decided: BTreeMap<&JobId, u64> = BTreeMap::new();
    for row in &rows {
        let what = (&row.job_id, row.kind, row.scheduled_at, row.attempt);
        assert!(seen.insert(what), "{row:?} is there twice");
        assert_ne!(row.state(), RunState::Running, "{row:?}");
        // A row may stand for several that passed while the job was paused.
        if row.kind == RunKind::Scheduled && row.attempt == 1 {
            *decided.entry(&row.job_id).or_default() += row.count;
        }
    }
    assert_eq!(decided.len(), JOBS);
    let complete = |count: &u64| *count == MINUTES as u64;
    assert!(
        decided.values().all(complete),
        "each is decided once: {decided:?}"
    );
}

/// One pair of hands; returns how often it ended which run.
fn storm(
    store: &Arc<dyn JobStore>,
    node: u64,
    over: &AtomicBool,
) -> HashMap<punctual_core::id::RunId, usize> {
    let mut ended = HashMap::new();
    let mut turn = node as usize;
    while !over.load(Ordering::Relaxed) {
        turn += 1;
        let id = JobId::new(format!("job-{:02}", turn * 7 % 24)).unwrap();
        match turn % 4 {
            0 => {
                block_on(store.enqueue(&id)).unwrap();
            }
            1 => {
                let pause = JobChange::Pause(PauseRequest::default());
                block_on(store.update(&id, None, pause)).unwrap();
                block_on(store.update(&id, None, JobChange::Resume)).unwrap();
            }
            _ => {}
        }
        let runs: Vec<Run> = block_on(store.claim(request(node, 5)))
            .unwrap()
            .jobs
            .into_iter()
            .flat_map(|job| job.started)
            .collect();
        let leases: Vec<_> = runs.iter().map(|run| (run.id, run.fence)).collect();
        block_on(store.renew(Duration::from_mins(1), &leases)).unwrap();
        let outcomes = block_on(store.finish(runs.iter().map(end).collect())).unwrap();
        for (run, outcome) in runs.iter().zip(outcomes) {
            assert!(
                matches!(outcome, FinishOutcome::Accepted { .. }),
                "{outcome:?}"
            );
            *ended.entry(run.id).or_default() += 1;
        }
    }
    ended
}

/// A stretch of wire before the server, which can be cut.
struct Wire {
    place: std::net::SocketAddr,
    ends: Arc<Mutex<Vec<TcpStream>>>,
    /// Whether the connections of now are silent.
    silence: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Wire {
    fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        let ends: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = Arc::clone(&ends);
        let silence: Arc<Mutex<Arc<AtomicBool>>> = Arc::default();
        let silences = Arc::clone(&silence);
        // It ends with the process.
        std::thread::spawn(move || {
            for here in listener.incoming() {
                let (here, there) = (here.unwrap(), TcpStream::connect(&server).unwrap());
                let silent = Arc::clone(&silences.lock().unwrap());
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let silent = Arc::clone(&silent);
                    std::thread::spawn(move || {
                        let mut bytes = vec![0; 65_536];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            let is_silent = silent.load(Ordering::Relaxed);
                            if !is_silent && to.write_all(&bytes[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                kept.lock().unwrap().extend([here, there]);
            }
        });
        Self {
            place,
            ends,
            silence,
        }
    }

    /// Lets nothing pass any more over the connections that there are, and tells nobody.
    fn silence(&self) {
        let silent = std::mem::take(&mut *self.silence.lock().unwrap());
        silent.store(true, Ordering::Relaxed);
    }

    /// Cuts every connection; returns how many ends there were.
    fn cut(&self) -> usize {
        let ends = std::mem::take(&mut *self.ends.lock().unwrap());
        let cut = ends
            .iter()
            .filter(|end| end.shutdown(Shutdown::Both).is_ok());
        cut.count()
    }
}

/// Connections that are cut are replaced; what was asked meanwhile fails in a way that may pass, or is done.
pub(crate) fn lost_connections_come_back<S: Server>() {
    let Some(tables) = tables::<S>() else { return };
    let rest = tables.url.split("://").nth(1).unwrap();
    let place = rest.rsplit('@').next().unwrap().split('/').next().unwrap();
    let wire = Wire::to(place.to_owned());
    let url = tables.url.replace(place, &wire.place.to_string());
    let clock = clock();
    let options = tables.options(&clock).timeout(Duration::from_secs(2));
    let store = block_on(S::open(url, options)).unwrap();
    outlives(&store, &clock, || wire.cut());
    // Those that lay idle have died, too: the next question is answered all the same.
    assert!(wire.cut() > 0);
    block_on(store.get(&JobId::new("job-1").unwrap())).unwrap();
}

/// Connections over which nothing comes any more cost one wait, not one each.
pub(crate) fn silent_connections_cost_one_wait<S: Server>() {
    const CONNECTIONS: u32 = 8;
    let Some(tables) = tables::<S>() else { return };
    let rest = tables.url.split("://").nth(1).unwrap();
    let place = rest.rsplit('@').next().unwrap().split('/').next().unwrap();
    let wire = Wire::to(place.to_owned());
    let url = tables.url.replace(place, &wire.place.to_string());
    let clock = clock();
    let options = tables.options(&clock).connections(CONNECTIONS);
    let options = options.timeout(Duration::from_secs(1));
    let store = block_on(S::open(url, options)).unwrap();
    let barrier = Barrier::new(CONNECTIONS as usize);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..50 {
                    block_on(store.records("x")).unwrap();
                }
            });
        }
    });
    assert!(wire.ends.lock().unwrap().len() > 6, "several lie idle");
    wire.silence();
    let began = SystemClock.monotonic();
    let lost = block_on(store.records("x")).unwrap_err();
    assert!(lost.is_retryable(), "{lost}");
    block_on(store.records("x")).unwrap();
    let waited = SystemClock.monotonic().checked_sub(began).unwrap();
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

/// A lost run whose next attempt is in the ledger already holds up no other lost run.
pub(crate) fn a_contradiction_holds_up_no_other_run<S: Server>() {
    let Some(tables) = tables::<S>() else { return };
    let clock = clock();
    let store = tables.open(&clock);
    for id in ["a", "b", "c", "d"] {
        add(&store, &clock, id);
    }
    clock.advance(Duration::from_mins(1));
    let runs = claim(&store, 1);
    let (b, d) = (&runs[1], &runs[3]);
    block_on(store.finish(vec![end(d)])).unwrap();
    let (key, time) = (b.job_key.0 as i64, b.scheduled_at.as_microsecond());
    let text = format!(
        "UPDATE @runs SET job_key = {key}, scheduled_at = {time}, attempt = 2 WHERE job_id = 'd'"
    );
    tables.sql(&text).unwrap();
    clock.advance(Duration::from_hours(2));
    let lost = reclaim(&store, 2);
    assert_eq!(lost, ["a", "c"]);
}

fn reclaim(store: &Arc<dyn JobStore>, node: u64) -> Vec<String> {
    let lost = block_on(store.reclaim_expired(NodeId(node), ReclaimScope::Expired)).unwrap();
    let ids = lost.into_iter().map(|lost| lost.run.job_id.to_string());
    let mut ids: Vec<String> = ids.collect();
    ids.sort_unstable();
    ids
}

/// While connections are ended again and again, jobs are claimed and finished, each once.
pub(crate) fn outlives(
    store: &Arc<dyn JobStore>,
    clock: &SimClock,
    end_connections: impl Fn() -> usize,
) {
    for n in 0..50 {
        add(store, clock, &format!("job-{n}"));
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hands: Vec<_> = (1..=4)
            .map(|node| {
                let over = &over;
                scope.spawn(move || work(store, clock, node, over))
            })
            .collect();
        let mut ended = 0;
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(100));
            ended += end_connections();
        }
        over.store(true, Ordering::Relaxed);
        let done: usize = hands.into_iter().map(|hand| hand.join().unwrap()).sum();
        assert!(done > 0, "nothing was done in between");
        assert!(ended > 0, "no connection was ended");
    });
    let rows = block_on(store.runs(&RunQuery::default())).unwrap().items;
    let mut seen = BTreeSet::new();
    for row in rows {
        let what = (row.job_id.clone(), row.kind, row.scheduled_at, row.attempt);
        assert!(seen.insert(what), "{row:?} is there twice");
    }
}

/// Claims and finishes; returns how many runs it finished.
fn work(store: &Arc<dyn JobStore>, clock: &SimClock, node: u64, over: &AtomicBool) -> usize {
    let mut done = 0;
    while !over.load(Ordering::Relaxed) {
        clock.advance(Duration::from_secs(7));
        let claimed = match block_on(store.claim(request(node, 5))) {
            Ok(claimed) => claimed,
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                continue;
            }
        };
        let runs = claimed.jobs.into_iter().flat_map(|job| job.started);
        let ends: Vec<_> = runs.map(|run| end(&run)).collect();
        done += ends.len();
        // Whether an end that failed was written is not known, so it is told again.
        eventually(|| {
            block_on(store.finish(ends.clone())).map_err(|error| {
                assert!(error.is_retryable(), "{error}");
                error.to_string()
            })
        });
    }
    done
}

/// A transaction that another program leaves open holds up no claim of other jobs, no add, and no reclaim of other runs.
pub(crate) fn a_held_job_is_stepped_over<S: Server>(
    hold: impl Fn(&str, &str) -> Box<dyn std::any::Any>,
) {
    let Some(tables) = tables::<S>() else { return };
    let clock = clock();
    let store = tables.open(&clock);
    for id in ["a", "b", "c"] {
        add(&store, &clock, id);
    }
    clock.advance(Duration::from_mins(1));
    let text = format!(
        "SELECT id FROM {}jobs WHERE id = 'a' FOR UPDATE",
        tables.prefix
    );
    let held = hold(&tables.url, &text);
    let claimed: Vec<_> = claim(&store, 1)
        .into_iter()
        .map(|run| run.job_id.to_string())
        .collect();
    assert_eq!(claimed, ["b", "c"]);
    for n in 0..10 {
        add(&store, &clock, &format!("a{n}"));
    }
    drop(held);
    let claimed = eventually(|| {
        let claimed: Vec<_> = claim(&store, 1)
            .into_iter()
            .map(|run| run.job_id.to_string())
            .collect();
        if claimed.is_empty() {
            Err("`a` is held".to_owned())
        } else {
            Ok(claimed)
        }
    });
    assert_eq!(claimed, ["a"]);
    clock.advance(Duration::from_hours(2));
    let held = hold(&tables.url, &text);
    assert_eq!(reclaim(&store, 2), ["b", "c"]);
    drop(held);
    eventually(|| match reclaim(&store, 2).as_slice() {
        [id] if id == "a" => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// However many slow questions are asked, a lease is renewed.
pub(crate) fn slow_questions_leave_room<S: Server>(
    hold: impl Fn(&str, &str) -> Box<dyn std::any::Any>,
) {
    let Some(tables) = tables::<S>() else { return };
    let clock = clock();
    let store = tables.open(&clock);
    add(&store, &clock, "a");
    clock.advance(Duration::from_mins(1));
    let run = claim(&store, 1).remove(0);
    let text = match S::NAME {
        "POSTGRES" => "LOCK TABLE @log IN ACCESS EXCLUSIVE MODE",
        _ => "LOCK TABLES @log WRITE",
    };
    let held = hold(&tables.url, &text.replace('@', &tables.prefix));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                block_on(store.read_log("audit", 0, 1)).unwrap();
                assert!(is_over.load(Ordering::Relaxed), "it was to be slow");
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let began = SystemClock.monotonic();
        let renewed = block_on(store.renew(Duration::from_hours(1), &[(run.id, run.fence)]));
        let waited = SystemClock.monotonic().checked_sub(began).unwrap();
        is_over.store(true, Ordering::Relaxed);
        drop(held);
        assert_eq!(renewed.unwrap(), [Renewed::Kept]);
        assert!(waited < Duration::from_secs(2), "{waited:?}");
    });
}

/// A pause of the scheduler is acknowledged only once no claim of before can start anything any more.
pub(crate) fn a_pause_waits_for_claims<S: Server>(
    hold: impl Fn(&str, &str) -> Box<dyn std::any::Any>,
) {
    let Some(tables) = tables::<S>() else { return };
    let clock = clock();
    let store = tables.open(&clock);
    let other = tables.open(&clock);
    add(&store, &clock, "a");
    clock.advance(Duration::from_mins(1));
    let run = claim(&store, 1).remove(0);
    add(&store, &clock, "b");
    clock.advance(Duration::from_mins(1));
    let text = format!(
        "SELECT state FROM {}runs WHERE job_id = 'a' FOR UPDATE",
        tables.prefix
    );
    let held = hold(&tables.url, &text);
    let is_paused = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let claiming = scope.spawn(|| claim(&store, 1));
        std::thread::sleep(Duration::from_millis(500));
        scope.spawn(|| {
            let paused = Some(serde_json::json!({"paused": true}));
            let put = other.put_record(SCHEDULER_NAMESPACE, PAUSED_KEY, paused, Expect::Any);
            assert!(block_on(put).unwrap());
            is_paused.store(true, Ordering::Relaxed);
        });
        std::thread::sleep(Duration::from_millis(500));
        assert!(!claiming.is_finished(), "it waits for {run:?}");
        assert!(!is_paused.load(Ordering::Relaxed), "runs may yet start");
        drop(held);
        assert_eq!(claiming.join().unwrap().len(), 1);
    });
    clock.advance(Duration::from_mins(1));
    assert_eq!(claim(&store, 1), []);
}

/// The server's clock tells the time, to the microsecond; leases and dueness go by it.
pub(crate) fn time_is_the_servers<S: Server>() {
    let Some(tables) = tables::<S>() else { return };
    let options = StoreOptions::default().prefix(&tables.prefix);
    let store = tables.open_with(options).unwrap();
    let times: Vec<_> = (0..5).map(|_| block_on(store.now()).unwrap()).collect();
    assert!(times.is_sorted());
    let micros = times
        .iter()
        .filter(|time| time.as_microsecond() % 1000 != 0);
    assert!(micros.count() > 0, "{times:?}");
    let off = times[0].duration_since(SystemClock.now());
    assert!(
        off.abs() < jiff::SignedDuration::from_secs(5),
        "{off}: it runs on this machine"
    );
    let start = SystemClock.now();
    let addition = job("a").every(1).addition(start, &Zones::system());
    let added = block_on(store.add_many(vec![addition]))
        .unwrap()
        .remove(0)
        .unwrap();
    let due = added.job.state.due_at.unwrap();
    let run = eventually(|| claim(&store, 1).pop().ok_or("nothing is due".to_owned()));
    assert!(run.started_at.unwrap() >= due);
    assert_eq!(run.due_at, due);
}

/// A module's tests, one for each function above.
#[macro_export]
macro_rules! server_tests {
    ($server:ty: $($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                $crate::server::$name::<$server>();
            }
        )*
    };
}
