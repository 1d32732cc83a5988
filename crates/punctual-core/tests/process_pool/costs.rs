//! What the pool costs here.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use punctual_core::executor::{ProcessPoolExecutor, ThreadPoolExecutor};

use crate::bench::Bench;

fn measure(what: &str, times: usize, mut once: impl FnMut()) {
    let mut took: Vec<Duration> = (0..times)
        .map(|_| {
            let began = SystemClock.monotonic();
            once();
            SystemClock.monotonic().saturating_sub(began)
        })
        .collect();
    took.sort_unstable();
    let (median, slow) = (took[times / 2], took[times * 95 / 100]);
    let _ = writeln!(
        std::io::stdout(),
        "{what}: median {median:.1?}, one in twenty over {slow:.1?}"
    );
}

/// Through a scheduler with a job store in memory, from adding a job until its end is in the ledger.
pub(crate) fn costs() {
    let warm = Bench::new(1);
    warm.pid();
    measure("a run on a worker that is there", 2000, || {
        warm.run("nothing", ());
    });
    let text = "x".repeat(1 << 20);
    measure("the same with 1 MiB of arguments", 100, || {
        warm.run("length", &text);
    });
    let threads = Arc::new(ThreadPoolExecutor::new(1));
    let threads = Bench::with(ProcessPoolExecutor::new(1), |builder| {
        builder.executor("default", threads)
    });
    measure("a run on a thread, to compare", 2000, || {
        threads.run("nothing", ());
    });
    let cold = ProcessPoolExecutor::new(1).max_runs_per_worker(1);
    let cold = Bench::with(cold, |builder| builder);
    measure("a run with a worker of its own", 200, || {
        cold.run("nothing", ());
    });
}
