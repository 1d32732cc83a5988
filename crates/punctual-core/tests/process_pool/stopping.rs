//! Timeouts, cancellation, the end of the program and of leases.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use punctual_core::executor::{Executor, ProcessPoolExecutor};
use punctual_core::lease::Lease;
use punctual_core::run::{Reason, RunState};
use punctual_core::scheduler::{NewJob, Settings};
use punctual_core::task::TaskEnd;

use crate::bench::{Bench, await_file, exists, lives, number, pid, until};
use crate::signal::{STOP, send};

cases! {
    a_timeout_kills_a_busy_loop,
    a_polite_task_is_cancelled_and_its_worker_lives_on,
    an_impolite_task_is_killed_with_what_it_started,
    a_worker_that_is_stopped_is_killed,
    a_run_that_is_cancelled_before_it_starts_starts_no_worker,
    ctrl_c_in_a_terminal_does_not_reach_workers,
    workers_end_with_the_program,
    a_lease_that_ends_asks_and_then_kills,
}

/// Long enough for a worker to start on a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Not so patient with tasks that do not stop.
fn strict(max_workers: usize) -> Bench {
    let settings = Settings {
        cancel_grace: Duration::from_millis(200),
        ..Settings::default()
    };
    let pool = ProcessPoolExecutor::new(max_workers);
    Bench::with(pool, |builder| builder.settings(settings))
}

fn a_timeout_kills_a_busy_loop() {
    let bench = strict(1);
    let started = bench.path("started");
    let job = NewJob::new("busy").arg(&started);
    let job = bench.add(job.timeout(TIMEOUT));
    let worker = number(&await_file(&started));
    assert_eq!(bench.end_of(job).state(), RunState::TimedOut);
    until("it is gone", || !exists(worker));
    assert_ne!(bench.pid(), worker);
}

fn a_polite_task_is_cancelled_and_its_worker_lives_on() {
    let bench = Bench::new(1);
    let started = bench.path("started");
    let job = bench.start("polite", &started);
    let worker = number(&await_file(&started));
    bench.cancel(&job);
    let row = bench.end_of(job);
    assert_eq!(
        (row.state(), row.reason),
        (RunState::Cancelled, Some(Reason::Requested))
    );
    assert_eq!(row.output.as_deref(), Some("it was asked to stop\n"));
    assert_eq!(bench.pid(), worker);
}

fn an_impolite_task_is_killed_with_what_it_started() {
    let bench = strict(1);
    let started = bench.path("started");
    let job = bench.start("parent_of_busy", &started);
    let child = number(&await_file(&started));
    let [worker] = bench.pool.worker_ids()[..] else {
        panic!("there is one worker");
    };
    bench.cancel(&job);
    assert_eq!(bench.end_of(job).state(), RunState::Cancelled);
    until("it is buried", || !exists(worker));
    until("its child is gone", || !lives(child));
    assert_ne!(bench.pid(), worker);
}

fn a_worker_that_is_stopped_is_killed() {
    let bench = strict(1);
    let worker = bench.pid();
    send(worker, STOP);
    // More than the socket holds, so that not even the telling of it comes to an end.
    let job = NewJob::new("length").arg("x".repeat(1 << 20));
    let job = bench.add(job.timeout(TIMEOUT));
    assert_eq!(bench.end_of(job).state(), RunState::TimedOut);
    until("it is buried", || !exists(worker));
    assert_ne!(bench.pid(), worker);
}

fn a_run_that_is_cancelled_before_it_starts_starts_no_worker() {
    let bench = Bench::new(1);
    let (work, end) = bench.work("nothing", (), Lease::unlimited());
    work.context.cancel_token().cancel();
    bench.pool.submit(work);
    let expected = TaskEnd::Failed("it was asked to stop before it started".to_owned());
    assert_eq!(end.wait(), expected);
    assert!(bench.pool.worker_ids().is_empty());
}

fn ctrl_c_in_a_terminal_does_not_reach_workers() {
    // It goes to the group of the program.
    let bench = Bench::new(1);
    let worker = pid(bench.pid());
    let group = |process| rustix::process::getpgid(Some(process)).unwrap();
    assert_eq!(group(worker), worker);
    assert_ne!(group(rustix::process::getpid()), worker);
}

fn workers_end_with_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut parent = Command::new(program)
        .arg("role:parent")
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(parent.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let processes: Vec<u32> = line.split_whitespace().map(number).collect();
    assert_eq!(processes.len(), 3, "{line}");
    assert!(processes.iter().all(|&process| lives(process)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    for process in processes {
        until("it is gone", || !lives(process));
    }
}

fn a_lease_that_ends_asks_and_then_kills() {
    let bench = Bench::new(2);
    // Of the margin, an eighth of the lease, some goes to a machine that is busy.
    let lease_end = SystemClock.monotonic() + Duration::from_secs(8);
    let runs = [
        ("polite", "it stopped before its lease ended: stopped"),
        (
            "busy",
            "the worker process ended itself, because the lease of the run was about to end",
        ),
    ]
    .map(|(task, expected)| {
        let started = bench.path(task);
        let lease = Lease::until(lease_end, Arc::new(SystemClock));
        let (work, end) = bench.work(task, &started, lease);
        bench.pool.submit(work);
        (task, expected, number(&await_file(&started)), end)
    });
    for (task, expected, worker, end) in runs {
        assert_eq!(end.wait(), TaskEnd::LeaseEnded(expected.to_owned()));
        let is_in_time = SystemClock.monotonic() < lease_end;
        assert!(is_in_time, "{task}: it was too late");
        assert_eq!(lives(worker), task == "polite");
    }
}
