//! Other parts that this program plays, as a worker that is wrong or as a program of its own.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use punctual_core::executor::{ProcessPoolExecutor, process_pool_worker};
use punctual_core::task::Registry;

use crate::bench::{Bench, await_file};
use crate::tasks::tasks;

pub(crate) fn play(role: &str) -> ExitCode {
    match role {
        "forgets-and-sleeps" => sleep(),
        "forgets-and-builds" => {
            ProcessPoolExecutor::new(1);
        }
        "has-no-tasks" => process_pool_worker(|| Err::<Registry, _>("no database")),
        "panics-over-tasks" => process_pool_worker(|| -> Registry { panic!("no database at all") }),
        "dies-over-tasks" => process_pool_worker(|| -> Registry { std::process::abort() }),
        "has-other-tasks" => process_pool_worker(Registry::new),
        "is-async" => is_async(),
        "after-the-line" => {
            process_pool_worker(tasks);
            // A program like any other: it may have a pool, and be busy with its own things.
            ProcessPoolExecutor::new(1);
            let _ = writeln!(std::io::stdout(), "a program");
        }
        "parent" => {
            process_pool_worker(tasks);
            parent();
        }
        other => panic!("no part is called {other}"),
    }
    ExitCode::SUCCESS
}

fn sleep() {
    loop {
        std::thread::sleep(Duration::from_hours(1));
    }
}

/// As with `#[tokio::main]`.
#[cfg(feature = "tokio")]
fn is_async() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build();
    runtime
        .expect("a runtime can be made")
        .block_on(async { process_pool_worker(tasks) });
}

#[cfg(not(feature = "tokio"))]
fn is_async() {
    async_io::block_on(async { process_pool_worker(tasks) });
}

/// A program with one worker that is busy, one that is idle, and a program that the busy one has started. Says their numbers
/// and waits to be killed.
fn parent() {
    let folder = std::env::args().nth(2).expect("a folder for its files");
    let started = Path::new(&folder).join("started");
    let bench = Bench::with(
        ProcessPoolExecutor::new(2).args(["role:parent"]),
        |builder| builder,
    );
    bench.start("parent_of_busy", &started);
    let sleeper = await_file(&started);
    bench.output("pid", ());
    let mut numbers: Vec<String> = bench.pool.worker_ids().iter().map(u32::to_string).collect();
    numbers.push(sleeper);
    let _ = writeln!(std::io::stdout(), "{}", numbers.join(" "));
    sleep();
}
