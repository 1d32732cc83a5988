//! How many workers there are, and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use punctual_core::executor::{Executor, ProcessPoolExecutor};
use punctual_core::lease::Lease;
use punctual_core::run::RunState;
use punctual_core::scheduler::{NewJob, Shutdown, StartMode};
use punctual_core::store::RunQuery;
use punctual_core::task::TaskEnd;

use crate::bench::{Bench, await_file, exists, lives, number, until};
use crate::signal::{KILL, send};

cases! {
    there_are_never_more_workers_than_allowed,
    what_is_beyond_the_queue_waits_in_the_job_store,
    a_worker_is_replaced_after_its_runs,
    an_idle_worker_that_is_killed_is_replaced,
    shutting_down_ends_idle_workers_and_starting_again_works,
    a_pool_that_is_dropped_finishes_its_run,
    what_is_left_behind_in_good_order_stays,
}

fn there_are_never_more_workers_than_allowed() {
    // With a queue it is the pool that keeps to the bound, and not the scheduler.
    let pool = ProcessPoolExecutor::new(3).queue(20);
    let bench = Bench::with(pool, |builder| builder);
    let folder = bench.path("here");
    std::fs::create_dir(&folder).unwrap();
    let (over, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    let rows = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                most.fetch_max(bench.pool.worker_ids().len(), Ordering::SeqCst);
                std::thread::yield_now();
            }
        });
        let jobs: Vec<_> = (0..100)
            .map(|_| bench.start("head_count", &folder))
            .collect();
        let rows = bench.ended(&jobs);
        over.store(true, Ordering::SeqCst);
        rows
    });
    let mut workers = BTreeSet::new();
    for row in rows {
        assert_eq!(row.state(), RunState::Succeeded, "{:?}", row.error);
        let seen: (u32, usize) = serde_json::from_str(&row.output.unwrap()).unwrap();
        workers.insert(seen.0);
        assert!(seen.1 <= 3, "{} at once", seen.1);
    }
    assert!(workers.len() <= 3, "{workers:?}");
    assert_eq!(most.into_inner(), 3);
}

fn what_is_beyond_the_queue_waits_in_the_job_store() {
    let pool = ProcessPoolExecutor::new(1).queue(1);
    assert_eq!(pool.capacity(), 2);
    let bench = Bench::with(pool, |builder| builder);
    let (started, go) = (bench.path("started"), bench.path("go"));
    let first = bench.add(NewJob::new("wait_for").arg((&started, &go)));
    await_file(&started);
    let others = [bench.start("nothing", ()), bench.start("nothing", ())];
    // One is claimed, the other is not.
    let running = || {
        let runs = bench
            .scheduler
            .runs("default", &RunQuery::default())
            .unwrap();
        runs.items.len()
    };
    until("two runs are claimed", || running() == 2);
    assert_eq!(bench.pool.worker_ids().len(), 1);
    std::fs::write(&go, "").unwrap();
    bench.end_of(first);
    bench.ended(&others);
}

fn a_worker_is_replaced_after_its_runs() {
    let pool = ProcessPoolExecutor::new(1).max_runs_per_worker(2);
    let bench = Bench::with(pool, |builder| builder);
    let mut runs = BTreeMap::<u32, usize>::new();
    for _ in 0..6 {
        *runs.entry(bench.pid()).or_default() += 1;
    }
    assert_eq!(runs.values().collect::<Vec<_>>(), [&2; 3]);
    for worker in runs.into_keys() {
        until("it is gone", || !exists(worker));
    }
}

fn an_idle_worker_that_is_killed_is_replaced() {
    let bench = Bench::new(1);
    for _ in 0..30 {
        // The next run may find it dead, dying or gone.
        send(bench.pid(), KILL);
    }
    let last = bench.pid();
    send(last, KILL);
    // Nobody has to come by for it to be noticed.
    until("it is noticed", || bench.pool.worker_ids().is_empty());
    assert!(!exists(last));
    assert_ne!(bench.pid(), last);
}

fn shutting_down_ends_idle_workers_and_starting_again_works() {
    let bench = Bench::new(2);
    let first = bench.pid();
    bench.scheduler.shutdown(Shutdown::Wait);
    until("they are gone", || bench.pool.worker_ids().is_empty());
    assert!(!exists(first));
    bench.scheduler.start(StartMode::Running).unwrap();
    assert_ne!(bench.pid(), first);
}

fn a_pool_that_is_dropped_finishes_its_run() {
    let bench = Bench::new(1);
    let (started, go) = (bench.path("started"), bench.path("go"));
    let pool = ProcessPoolExecutor::new(1);
    let (work, end) = bench.work("wait_for", (&started, &go), Lease::unlimited());
    pool.submit(work);
    let worker = number(&await_file(&started));
    drop(pool);
    assert!(lives(worker));
    std::fs::write(go, "").unwrap();
    assert_eq!(end.wait(), TaskEnd::Succeeded);
    until("it is gone", || !exists(worker));
}

fn what_is_left_behind_in_good_order_stays() {
    let pool = ProcessPoolExecutor::new(1).max_runs_per_worker(1);
    let bench = Bench::with(pool, |builder| builder);
    let left = number(&bench.output("leave_behind", ()));
    until("the worker is gone", || bench.pool.worker_ids().is_empty());
    // A signal takes a moment to do its work: as long as it takes to start another worker.
    bench.pid();
    assert!(lives(left));
    send(left, KILL);
}
