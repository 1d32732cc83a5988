//! Programs that are set up wrongly, and what a worker is to the rest of the system.

use std::io::Write;

use punctual_core::executor::ProcessPoolExecutor;
use punctual_core::run::RunState;

use crate::bench::Bench;

cases! {
    a_program_without_the_line_is_told_the_cure,
    a_program_that_never_comes_to_the_line_is_given_up,
    tasks_that_cannot_be_made_are_a_failed_run,
    a_task_that_the_worker_has_not_is_a_failed_run,
    a_program_that_cannot_be_started_is_a_failed_run,
    a_worker_makes_no_pool,
    what_a_task_starts_is_no_worker,
    a_task_reads_nothing_from_stdin,
    the_line_works_in_an_async_main,
}

const CURE: &str = "call `punctual::executor::process_pool_worker(tasks)` first thing in `main`";

fn as_role(role: &str) -> Bench {
    let pool = ProcessPoolExecutor::new(2).args([format!("role:{role}")]);
    Bench::with(pool, |builder| builder)
}

fn a_program_without_the_line_is_told_the_cure() {
    let bench = as_role("forgets-and-builds");
    let error = bench.error("nothing", ());
    let expected = "the worker process exited with code 101 before it said that it is one; ";
    assert_eq!(error, format!("{expected}{CURE}"));
    assert!(bench.pool.worker_ids().is_empty());
}

fn a_program_that_never_comes_to_the_line_is_given_up() {
    let bench = as_role("forgets-and-sleeps");
    let error = bench.error("nothing", ());
    assert!(
        error.starts_with("the worker process did not say within"),
        "{error}"
    );
    assert!(error.ends_with(CURE), "{error}");
    assert!(bench.pool.worker_ids().is_empty());
}

fn tasks_that_cannot_be_made_are_a_failed_run() {
    for (role, expected) in [
        (
            "has-no-tasks",
            "the worker process could not make its tasks: no database",
        ),
        (
            "panics-over-tasks",
            "the worker process could not make its tasks: it panicked: no database at all",
        ),
        (
            "dies-over-tasks",
            "the worker process was killed by SIGABRT",
        ),
    ] {
        let bench = as_role(role);
        let error = bench.error("nothing", ());
        assert!(error.starts_with(expected), "{role}: {error}");
        assert!(bench.pool.worker_ids().is_empty());
    }
}

fn a_task_that_the_worker_has_not_is_a_failed_run() {
    let bench = as_role("has-other-tasks");
    let error = bench.error("nothing", ());
    assert!(
        error.starts_with("the worker process has no task \"nothing\""),
        "{error}"
    );
}

fn a_program_that_cannot_be_started_is_a_failed_run() {
    let pool = ProcessPoolExecutor::new(1).program("/nowhere/at/all");
    let error = Bench::with(pool, |builder| builder).error("nothing", ());
    assert!(
        error.starts_with("no worker process could be started: No such file"),
        "{error}"
    );
}

fn a_worker_makes_no_pool() {
    let error = Bench::new(1).error("nested_pool", ());
    assert!(
        error.contains("must not start workers of its own"),
        "{error}"
    );
}

fn what_a_task_starts_is_no_worker() {
    assert_eq!(Bench::new(1).output("start_program", ()), "\"a program\"");
}

fn a_task_reads_nothing_from_stdin() {
    let bench = Bench::new(1);
    assert_eq!(bench.output("stdin", ()), "0");
    // And the worker has lost nothing by it.
    assert_eq!(bench.output("stdin", ()), "0");
}

fn the_line_works_in_an_async_main() {
    let bench = as_role("is-async");
    assert_eq!(bench.run("async_sleep", 1).state(), RunState::Succeeded);
    assert_eq!(bench.output("length", "four"), "4");
    let _ = std::io::stdout().flush();
}
