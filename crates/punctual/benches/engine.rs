//! The engine on the memory store: how many jobs a second can be added, how large one is, how many fires a second go
//! from claim to ledger, and how late they are.
//!
//! How to run: `cargo bench --package punctual --bench engine`, or with `-- add`, `-- fire` or `-- lateness` for one of them.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use punctual::clock::{Clock, SystemClock, later};
use punctual::id::{ExecutorName, JobId, TaskName};
use punctual::job::{CompiledSchedule, JobArgs, JobDefinition, Policy};
use punctual::plan::{Addition, FirstRun, OnConflict};
use punctual::prelude::*;
use punctual::store::JobStore;
use punctual::zones::Zones;

/// Resident memory in bytes, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn addition(
    number: u64,
    task: &TaskName,
    trigger: &Trigger,
    zones: &Zones,
    now: Timestamp,
) -> Addition {
    let definition = JobDefinition {
        id: JobId::new(format!("job-{number:07}")).expect("a short id"),
        given_name: None,
        task: task.clone(),
        args: JobArgs::default().shared(),
        trigger: trigger.clone(),
        declared: None,
        executor: ExecutorName::default(),
        policy: Policy::default().shared(),
        tags: Box::new([]),
        created_at: now,
        updated_at: now,
        schedule: CompiledSchedule(trigger.compile(zones.db()).expect("a resolved trigger")),
    };
    Addition {
        definition,
        first_run: FirstRun::ByTrigger,
        on_conflict: OnConflict::Error,
    }
}

fn interval_from(start: Timestamp, seconds: u64, zones: &Zones) -> Trigger {
    let json = serde_json::json!({ "type": "interval", "seconds": seconds, "start_date": start.to_string() });
    let trigger = Trigger::from_json(&json).expect("a valid trigger");
    trigger
        .resolve(start, "UTC", zones.db())
        .expect("a complete trigger")
}

fn per_second(count: u64, took: Duration) -> String {
    format!("{:>10.0}/s", count as f64 / took.as_secs_f64())
}

async fn add_change_remove(zones: &Zones) {
    const JOBS: u64 = 1_000_000;
    let clock = SystemClock;
    let now = clock.now();
    let task = TaskName::new("noop").expect("a name");
    let before = resident();
    let store = MemoryStore::new(Arc::new(clock));
    let mut adding = Duration::ZERO;
    for batch in 0..JOBS / 1000 {
        let additions: Vec<_> = (batch * 1000..(batch + 1) * 1000)
            .map(|number| {
                let start = later(
                    now,
                    Duration::from_millis(3_600_000 + number * 7919 % 1_000_000),
                );
                addition(number, &task, &interval_from(start, 60, zones), zones, now)
            })
            .collect();
        let began = Instant::now();
        store
            .add_many(additions)
            .await
            .expect("memory does not fail");
        adding += began.elapsed();
    }
    println!(
        "add            {} ({JOBS} interval jobs, one thread)",
        per_second(JOBS, adding)
    );
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("memory         {:>10} bytes a job", (after - before) / JOBS);
    }
    let ids: Vec<_> = (0..100_000)
        .map(|n| JobId::new(format!("job-{:07}", n * 10)).expect("an id"))
        .collect();
    let began = Instant::now();
    for id in &ids {
        let change = punctual::plan::JobChange::Pause(PauseRequest::default());
        store
            .update(id, None, change)
            .await
            .expect("memory does not fail");
    }
    println!(
        "pause          {} (among {JOBS})",
        per_second(ids.len() as u64, began.elapsed())
    );
    let began = Instant::now();
    for id in &ids {
        store.remove(id).await.expect("memory does not fail");
    }
    println!(
        "remove         {} (among {JOBS})",
        per_second(ids.len() as u64, began.elapsed())
    );
}

async fn fires(zones: &Zones) {
    const JOBS: u64 = 200_000;
    let done = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&done);
    let task = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock)));
    let builder = Scheduler::builder()
        .task("noop", task)
        .expect("a name")
        .executor("default", Arc::new(AsyncExecutor::new(4096)))
        .job_store("default", Arc::clone(&store) as Arc<dyn JobStore>);
    let scheduler = TokioScheduler::build(builder).await.expect("it builds");
    let name = TaskName::new("noop").expect("a name");
    let now = clock.now();
    // Each fires once and stays: a recurring job, one claim, one run, one row of the ledger.
    let trigger = interval_from(later(now, Duration::from_millis(1)), 3600, zones);
    for batch in 0..JOBS / 10_000 {
        let numbers = batch * 10_000..(batch + 1) * 10_000;
        let additions = numbers.map(|number| {
            let mut addition = addition(number, &name, &trigger, zones, now);
            addition.first_run = FirstRun::At(now);
            addition
        });
        store
            .add_many(additions.collect())
            .await
            .expect("memory does not fail");
    }
    let began = Instant::now();
    scheduler.start(StartMode::Running).expect("it is stopped");
    while done.load(Ordering::Relaxed) < JOBS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "fire           {} (claim, run, ledger; {JOBS} recurring jobs)",
        per_second(JOBS, began.elapsed())
    );
    scheduler.shutdown(Shutdown::Wait).await;
}

async fn lateness(zones: &Zones) {
    const RATE: u64 = 10_000;
    let late: Arc<Mutex<Vec<Duration>>> = Arc::new(Mutex::new(Vec::with_capacity(100_000)));
    let seen = Arc::clone(&late);
    let task = move |run: RunContext| {
        let by = punctual::clock::until(run.run().scheduled_at, SystemClock.now());
        seen.lock().expect("no panic").push(by);
        std::future::ready(())
    };
    let builder = Scheduler::builder().task("note", task).expect("a name");
    let builder = builder.executor("default", Arc::new(AsyncExecutor::new(4096)));
    let scheduler = TokioScheduler::build(builder).await.expect("it builds");
    let store = Arc::clone(&scheduler.jobstores()[0].1);
    let name = TaskName::new("note").expect("a name");
    let now = SystemClock.now();
    let additions = (0..RATE).map(|number| {
        let start = later(
            now,
            Duration::from_micros(500_000 + number * 1_000_000 / RATE),
        );
        addition(number, &name, &interval_from(start, 1, zones), zones, now)
    });
    store
        .add_many(additions.collect())
        .await
        .expect("memory does not fail");
    scheduler.start(StartMode::Running).expect("it is stopped");
    tokio::time::sleep(Duration::from_secs(2)).await;
    late.lock().expect("no panic").clear(); // warmed up
    tokio::time::sleep(Duration::from_secs(5)).await;
    scheduler.shutdown(Shutdown::Wait).await;
    let mut late = late.lock().expect("no panic").clone();
    late.sort_unstable();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize].as_micros();
    println!(
        "lateness       p50 {} µs, p99 {} µs, p99.9 {} µs, max {} µs ({} fires in 5 s)",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        late.len()
    );
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let zones = Zones::system();
    // `cargo bench` passes `--bench`; any other argument chooses what to measure.
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|choice| choice == name);
    if wanted("add") {
        add_change_remove(&zones).await;
    }
    if wanted("fire") {
        fires(&zones).await;
    }
    if wanted("lateness") {
        lateness(&zones).await;
    }
}
