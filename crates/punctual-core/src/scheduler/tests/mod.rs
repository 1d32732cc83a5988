//! The scheduler on a simulated clock: years pass in a blink, and nothing sleeps.

mod changes;
mod lifecycle;
mod occurrences;
mod places;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::Trigger;
use serde_json::json;

use super::*;
use crate::clock::{Clock, SimClock};
use crate::executor::{AsyncExecutor, ThreadPoolExecutor};
use crate::job::{Coalesce, Overlap, Retry};
use crate::memory::MemoryStore;
use crate::run::{Reason, RunKind};
use crate::runtime::SimRuntime;
use crate::task::{Args, Registry, RunContext, State};

const START: &str = "2026-01-01T00:00:00Z";

/// A scheduler on a simulated clock with the tasks that these tests call.
struct Bench {
    sim: SimRuntime,
    scheduler: Scheduler,
    calls: Arc<Mutex<Vec<(String, Timestamp)>>>,
}

#[derive(Clone)]
struct World {
    sim: SimRuntime,
    calls: Arc<Mutex<Vec<(String, Timestamp)>>>,
    failures: Arc<AtomicU32>,
}

async fn note(run: RunContext, world: State<World>) {
    let call = (run.job().id.to_string(), run.run().scheduled_at);
    world.calls.lock().unwrap().push(call);
}

async fn slow(Args(seconds): Args<u64>, run: RunContext, world: State<World>) {
    note(run.clone(), world.clone()).await;
    let sleep = crate::runtime::Runtime::sleep(&world.sim, Duration::from_secs(seconds));
    select(sleep, std::pin::pin!(run.cancel_token().cancelled())).await;
}

async fn stubborn(world: State<World>) {
    crate::runtime::Runtime::sleep(&world.sim, Duration::from_hours(100)).await;
}

async fn flaky(
    Args(times): Args<u32>,
    run: RunContext,
    world: State<World>,
) -> Result<String, String> {
    note(run, world.clone()).await;
    if world.failures.fetch_add(1, Ordering::SeqCst) < times {
        Err("not yet".to_owned())
    } else {
        Ok("done".to_owned())
    }
}

async fn explode() {
    panic!("boom");
}

impl Bench {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(adjust: impl FnOnce(SchedulerBuilder) -> SchedulerBuilder) -> Self {
        let clock = SimClock::new(START.parse().unwrap());
        let sim = SimRuntime::new(clock.clone());
        let calls = Arc::default();
        let world = World {
            sim: sim.clone(),
            calls: Arc::clone(&calls),
            failures: Arc::default(),
        };
        let mut registry = Registry::new();
        registry.state(world);
        registry.add("note", note).unwrap();
        registry.add("slow", slow).unwrap();
        registry.add("stubborn", stubborn).unwrap();
        registry.add("flaky", flaky).unwrap();
        registry.add("explode", explode).unwrap();
        let builder = Scheduler::builder()
            .registry(registry)
            .clock(Arc::new(clock))
            .timezone("UTC")
            .unwrap();
        let building = adjust(builder).build(Arc::new(sim.clone()));
        let scheduler = sim.run(building).unwrap();
        Self {
            sim,
            scheduler,
            calls,
        }
    }

    fn started() -> Self {
        let bench = Self::new();
        bench.scheduler.start(StartMode::Running).unwrap();
        bench
    }

    fn run<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        f: impl FnOnce(Scheduler) -> F,
    ) -> T {
        self.sim.run(f(self.scheduler.clone()))
    }

    fn add(&self, job: NewJob) -> AddedJob {
        self.run(|scheduler| async move { scheduler.add_job(job).await })
            .unwrap()
    }

    fn add_error(&self, job: NewJob) -> Error {
        self.run(|scheduler| async move { scheduler.add_job(job).await })
            .unwrap_err()
    }

    /// Seconds after the start at which the tasks were called for, in order.
    fn called(&self) -> Vec<i64> {
        let start: Timestamp = START.parse().unwrap();
        self.calls
            .lock()
            .unwrap()
            .iter()
            .map(|(_, at)| at.as_second() - start.as_second())
            .collect()
    }

    /// The ledger, oldest first: state and reason.
    fn ledger(&self) -> Vec<String> {
        let query = RunQuery::default();
        let page = self
            .run(|scheduler| async move { scheduler.runs("default", &query).await })
            .unwrap();
        let words = page.items.iter().rev().map(|run| match run.reason {
            None => run.state().to_string(),
            Some(reason) => format!("{} {reason}", run.state()),
        });
        words.collect()
    }

    fn get(&self, id: &str) -> Option<Job> {
        let id = JobId::new(id).unwrap();
        self.run(|scheduler| async move { scheduler.get_job(&id).await })
            .unwrap()
            .and_then(|found| found.job.into_job())
    }

    fn advance(&self, seconds: u64) {
        self.sim.advance(Duration::from_secs(seconds));
    }
}

fn every(seconds: u64) -> Trigger {
    Trigger::interval(Duration::from_secs(seconds)).unwrap()
}

fn id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}
