//! What becomes of a run whose worker dies, and of the next one.

use std::collections::BTreeSet;

use punctual_core::run::RunState;
use punctual_core::scheduler::{NewJob, Shutdown};
use punctual_core::store::RunQuery;

use crate::bench::{Bench, await_file, exists, number, until};
use crate::signal::{KILL, STOP, send};

cases! {
    a_crash_is_a_failed_run_that_says_how,
    a_panic_is_a_failed_run_and_the_worker_lives_on,
    a_run_that_has_started_is_not_started_again,
    a_run_whose_worker_dies_before_it_starts_gets_another,
    nobody_is_left_unburied,
}

fn a_crash_is_a_failed_run_that_says_how() {
    let bench = Bench::new(1);
    for (how, expected) in [
        ("abort", "the worker process was killed by SIGABRT (aborted"),
        (
            "overflow",
            "the worker process was killed by SIGABRT (aborted; so ends a stack overflow",
        ),
        (
            "SIGKILL",
            "the worker process was killed by SIGKILL (perhaps by the kernel's out-of-memory",
        ),
        ("SIGSEGV", "the worker process was killed by SIGSEGV"),
        ("SIGBUS", "the worker process was killed by SIGBUS"),
        ("SIGILL", "the worker process was killed by SIGILL"),
        ("SIGFPE", "the worker process was killed by SIGFPE"),
        ("SIGTERM", "the worker process was killed by SIGTERM"),
        (
            "memory",
            "the worker process was killed by SIGABRT (aborted",
        ),
        ("exit", "the worker process exited with code 3"),
    ] {
        let before = bench.pid();
        let row = bench.run("end", how);
        assert_eq!(row.state(), RunState::Failed, "{how}");
        let error = row.error.unwrap();
        assert!(error.starts_with(expected), "{how}: {error}");
        // What it said until then is kept.
        assert_eq!(row.output, Some(format!("about to end by {how}\n")));
        assert_ne!(bench.pid(), before, "{how}");
        assert!(!exists(before), "{how}: it is buried");
    }
}

fn a_panic_is_a_failed_run_and_the_worker_lives_on() {
    let bench = Bench::new(1);
    let before = bench.pid();
    assert_eq!(
        bench.error("end", "panic"),
        "the task panicked: it was too much"
    );
    assert_eq!(bench.pid(), before);
}

fn a_run_that_has_started_is_not_started_again() {
    let bench = Bench::new(1);
    let (started, until) = (bench.path("started"), bench.path("until"));
    let job = bench.add(NewJob::new("wait_for").arg((&started, &until)));
    let worker = number(&await_file(&started));
    std::fs::remove_file(&started).unwrap();
    send(worker, KILL);
    let row = bench.end_of(job);
    assert_eq!((row.state(), row.attempt), (RunState::Failed, 1));
    assert!(row.error.unwrap().contains("SIGKILL"));
    bench.pid();
    assert!(!started.exists(), "it was started twice");
}

fn a_run_whose_worker_dies_before_it_starts_gets_another() {
    let bench = Bench::new(1);
    let worker = bench.pid();
    send(worker, STOP);
    let job = bench.start("pid", ());
    let query = RunQuery {
        state: Some(RunState::Running),
        ..RunQuery::default()
    };
    until("it is told", || {
        let runs = bench.scheduler.runs("default", &query);
        !runs.expect("memory answers").items.is_empty()
    });
    send(worker, KILL);
    let row = bench.end_of(job);
    assert_eq!((row.state(), row.attempt), (RunState::Succeeded, 1));
    assert_ne!(row.output, Some(format!("{worker}\n")));
}

fn nobody_is_left_unburied() {
    let bench = Bench::new(3);
    let jobs = ["abort", "exit", "SIGKILL"].map(|how| bench.start("end", how));
    let mut workers = BTreeSet::new();
    for _ in 0..3 {
        workers.insert(bench.pid());
        workers.extend(bench.pool.worker_ids());
    }
    bench.ended(&jobs);
    bench.scheduler.shutdown(Shutdown::Wait);
    until("nobody is left", || bench.pool.worker_ids().is_empty());
    for worker in workers {
        assert!(!exists(worker));
    }
}
