//! Tasks that may crash, in processes of their own: one gives up, one overflows its stack, one counts primes and one never
//! ends. The program goes on, and says what became of each.
//!
//! Run with: `cargo run -p process-pool`. It takes seven seconds: a loop that listens to nobody is killed five seconds after its
//! timeout. `ps -e` shows the workers as `punctual-worker` meanwhile.

#![expect(clippy::print_stdout, reason = "an example shows something")]

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use punctual::executor::{ProcessPoolExecutor, process_pool_worker};
use punctual::prelude::*;
use punctual::task::RegisterError;

/// As a library in C might.
#[task]
fn give_up(run: RunContext) {
    run.log("this will not end well");
    std::process::abort();
}

#[task]
fn descend(levels: u64) -> Result<u64, String> {
    fn deeper(levels: u64) -> u64 {
        match levels {
            0 => 0,
            _ => 1 + std::hint::black_box(deeper(std::hint::black_box(levels - 1))),
        }
    }
    Ok(deeper(levels))
}

#[task]
fn count_primes(below: u32, run: RunContext) -> Result<usize, String> {
    run.log(&format!("in process {}", std::process::id()));
    let is_prime = |n: u32| {
        let mut divisors = (2..n).take_while(|d| d * d <= n);
        divisors.all(|d| !n.is_multiple_of(d))
    };
    Ok((2..below).filter(|&n| is_prime(n)).count())
}

#[task]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// For the scheduler, which checks arguments by them, and for its workers, which call them.
fn tasks() -> Result<Registry, RegisterError> {
    let mut registry = Registry::new();
    registry.register::<give_up>()?;
    registry.register::<descend>()?;
    registry.register::<count_primes>()?;
    registry.register::<spin>()?;
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
    let tell = move |event: &Event| {
        let _ = ended.send(event.run.clone());
    };
    let kinds = [EventKind::JobExecuted, EventKind::JobError];
    scheduler.scheduler().add_listener(&kinds, tell);
    let jobs = [
        scheduler.add(give_up()),
        scheduler.add(descend(1_000_000_000)),
        scheduler.add(count_primes(200_000)),
        scheduler.add(spin()).timeout(Duration::from_secs(2)),
    ];
    for (name, job) in ["give up", "descend", "count primes", "spin"]
        .into_iter()
        .zip(jobs)
    {
        job.id(name).executor("processes").wait()?;
    }
    scheduler.start(StartMode::Running)?;
    for run in ends.iter().flatten().take(4) {
        let why = run.error.as_deref().unwrap_or("no error");
        println!("{}: {} ({why})", run.job_id, run.state());
        for line in run.output.iter().flat_map(|output| output.lines()) {
            println!("    {line}");
        }
    }
    scheduler.shutdown(Shutdown::Wait);
    Ok(())
}
