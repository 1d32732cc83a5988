//! Tasks that may crash, in processes of their own: one counts primes, one gives up, one overflows its stack and one never
//! ends. The program goes on, and says what became of each.
//!
//! Run with `cargo run -p process-pool`. It takes seven seconds: a loop that listens to nobody is killed five seconds after its
//! timeout. `ps -e` shows the workers as `punctual-worker` meanwhile.
#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "parameters are made for a task, and only what a `Result` holds is recorded"
)]

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use punctual::event::EventKind;
use punctual::executor::{ProcessPoolExecutor, process_pool_worker};
use punctual::prelude::*;
use punctual::task::RegisterError;

fn primes(Args(below): Args<u32>, run: RunContext) -> Result<usize, String> {
    run.log(&format!("in process {}", std::process::id()));
    let is_prime = |n: u32| {
        (2..n)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
    };
    Ok((2..below).filter(|&n| is_prime(n)).count())
}

/// As a library in C might.
fn give_up(run: RunContext) {
    run.log("this will not end well");
    std::process::abort();
}

fn depth(Args(levels): Args<u64>) -> Result<u64, String> {
    fn descend(levels: u64) -> u64 {
        match levels {
            0 => 0,
            _ => 1 + std::hint::black_box(descend(std::hint::black_box(levels - 1))),
        }
    }
    Ok(descend(levels))
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// For the scheduler and for its workers.
fn tasks() -> Result<Registry, RegisterError> {
    let mut registry = Registry::new();
    registry.add_blocking("primes", primes)?;
    registry.add_blocking("give_up", give_up)?;
    registry.add_blocking("depth", depth)?;
    registry.add_blocking("spin", spin)?;
    Ok(registry)
}

fn main() -> Result<(), Box<dyn Error>> {
    // First of all: in a worker this does not return.
    process_pool_worker(tasks);

    let pool = ProcessPoolExecutor::new(2).max_runs_per_worker(100);
    let builder = Scheduler::builder()
        .registry(tasks()?)
        .executor("processes", Arc::new(pool));
    let scheduler = BackgroundScheduler::build(builder)?;
    let (ended, ends) = channel();
    let kinds = [EventKind::JobExecuted, EventKind::JobError];
    scheduler.scheduler().add_listener(&kinds, move |event| {
        let _ = ended.send(event.run.clone());
    });
    scheduler.start(StartMode::Running)?;

    let jobs = [
        NewJob::new("give_up").id("give_up"),
        NewJob::new("depth").id("depth").arg(10_u64.pow(9)),
        NewJob::new("primes").id("primes").arg(200_000),
        NewJob::new("spin")
            .id("spin")
            .timeout(Duration::from_secs(2)),
    ];
    for job in jobs {
        scheduler.add_job(job.executor("processes"))?;
    }
    let mut out = std::io::stdout();
    for run in ends.iter().flatten().take(4) {
        let why = run.error.as_deref().unwrap_or("no error");
        writeln!(out, "{}: {} ({why})", run.job_id, run.state())?;
        for line in run.output.iter().flat_map(|output| output.lines()) {
            writeln!(out, "    {line}")?;
        }
    }
    scheduler.shutdown(Shutdown::Wait);
    Ok(())
}
