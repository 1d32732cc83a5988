//! How fast a store is: the same measure for all of them.
//!
//! A benchmark opens its store with a [`SimClock`], hands both to [`measure`], and prints the [`Figures`]. Run it on an
//! empty place: `measure` adds its own jobs and leaves them there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use async_io::block_on;
use jiff::Timestamp;
use punctual_core::clock::{Clock, SimClock, SystemClock};
use punctual_core::id::{ExecutorName, NodeId, TaskName};
use punctual_core::plan::Finish;
use punctual_core::run::Ending;
use punctual_core::store::{
    ClaimFilter, ClaimRequest, Claimed, FinishOutcome, JobStore, StoreError, StoreResult,
};
use punctual_core::zones::Zones;

use crate::trial::{START, job};

/// How many finishes may wait while the next jobs are claimed: what a node has in flight.
const FINISHES_WAITING: usize = 2;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many jobs there are; each is due once a minute.
    pub jobs: usize,
    /// How many fires to count, at least; whole batches are claimed until then.
    pub fires: usize,
    /// The jobs of one claim, and the ends of one finish.
    pub batch: usize,
    /// The tasks that the jobs are spread over.
    pub tasks: usize,
    /// How often `next_due` and a claim of a single job are asked for.
    pub probes: usize,
}

impl Load {
    /// `jobs` jobs of 4 tasks; 50,000 fires, 500 at a time; 1,000 probes.
    pub fn of(jobs: usize) -> Self {
        Self {
            jobs,
            fires: 50_000,
            batch: 500,
            tasks: 4,
            probes: 1_000,
        }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// The jobs there were.
    pub jobs: usize,
    /// Jobs added in a second, 1,000 at a time.
    pub adds_per_second: f64,
    /// Fires in a second, from the claim to the accepted end, with all rows of the ledger.
    pub fires_per_second: f64,
    /// How many fires that is the mean of.
    pub fires: usize,
    /// How long one `next_due` takes, on average.
    pub next_due: Duration,
    /// How long a claim of one job takes, on average.
    pub claim_one: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        write!(
            f,
            "{:>9} jobs: {:>8.0} fires/s ({} fires), add {:>8.0}/s, next_due {:>7.0} µs, claim of one {:>7.0} µs",
            self.jobs,
            self.fires_per_second,
            self.fires,
            self.adds_per_second,
            micros(self.next_due),
            micros(self.claim_one),
        )
    }
}

/// Adds the jobs, then lets them fire: one node that claims, and hands the ends over to a second thread which reports them
/// while the next jobs are claimed, as the scheduler does. `clock` is what the store reads.
///
/// # Errors
///
/// Whatever the store says, and an end that it did not accept.
pub fn measure(store: &Arc<dyn JobStore>, clock: &SimClock, load: Load) -> StoreResult<Figures> {
    let tasks = task_names(load.tasks.max(1))?;
    let adds_per_second = add(store, clock, load, &tasks)?;
    let request = ClaimRequest {
        node: NodeId(1),
        lease: Duration::from_secs(30),
        filter: ClaimFilter {
            tasks: Arc::new(tasks.iter().cloned().collect::<BTreeSet<_>>()),
            slots: BTreeMap::from([(ExecutorName::default(), load.batch)]),
        },
        limit: load.batch,
    };
    let (fires, fires_per_second) = fire(store, clock, load, &request)?;

    let probes = load.probes.max(1);
    let watch = Watch::start();
    for _ in 0..probes {
        block_on(store.next_due(&request.filter))?;
    }
    let next_due = watch.each(probes);

    clock.advance(Duration::from_mins(1));
    let one = ClaimRequest {
        limit: 1,
        ..request
    };
    let singles = probes.min(load.jobs);
    let mut took = Duration::ZERO;
    for _ in 0..singles {
        let watch = Watch::start();
        let claimed = block_on(store.claim(one.clone()))?;
        took += watch.elapsed();
        finish(store, ends(&claimed))?;
    }
    Ok(Figures {
        jobs: load.jobs,
        adds_per_second,
        fires_per_second,
        fires,
        next_due,
        claim_one: took.div_f64(singles.max(1) as f64),
    })
}

fn task_names(count: usize) -> StoreResult<Vec<TaskName>> {
    (0..count)
        .map(|n| TaskName::new(format!("task-{n}")).map_err(StoreError::failed))
        .collect()
}

/// Adds the jobs; returns how many a second.
fn add(
    store: &Arc<dyn JobStore>,
    clock: &SimClock,
    load: Load,
    tasks: &[TaskName],
) -> StoreResult<f64> {
    let start = Timestamp::from_second(START).map_err(StoreError::failed)?;
    let zones = Zones::system();
    debug_assert_eq!(clock.now(), start);
    let mut took = Duration::ZERO;
    for first in (0..load.jobs).step_by(1000) {
        let additions = (first..load.jobs.min(first + 1000)).map(|n| {
            let task = tasks[n % tasks.len()].as_str();
            job(format!("job-{n:07}"))
                .task(task)
                .every(60)
                .addition(start, &zones)
        });
        let additions = additions.collect();
        let watch = Watch::start();
        let added = block_on(store.add_many(additions))?;
        took += watch.elapsed();
        if let Some(refusal) = added.into_iter().find_map(Result::err) {
            return Err(StoreError::failed(format!("{refusal:?}")));
        }
    }
    Ok(load.jobs as f64 / took.as_secs_f64())
}

/// Claims and finishes; returns how many fires there were, and how many a second.
fn fire(
    store: &Arc<dyn JobStore>,
    clock: &SimClock,
    load: Load,
    request: &ClaimRequest,
) -> StoreResult<(usize, f64)> {
    let mut fires = 0;
    let mut took = Duration::ZERO;
    while fires < load.fires {
        clock.advance(Duration::from_mins(1));
        let watch = Watch::start();
        let count = minute(store, request, load.fires - fires)?;
        took += watch.elapsed();
        if count == 0 {
            return Err(StoreError::failed("nothing was due after a minute"));
        }
        fires += count;
    }
    Ok((fires, fires as f64 / took.as_secs_f64()))
}

/// Claims what is due in one minute, all of it or about `most`, and reports the ends beside.
fn minute(store: &Arc<dyn JobStore>, request: &ClaimRequest, most: usize) -> StoreResult<usize> {
    std::thread::scope(|scope| {
        let (give, take) = sync_channel(FINISHES_WAITING);
        let reporter = scope.spawn(|| report(store, take));
        let mut count = 0;
        while count < most {
            let ends = ends(&block_on(store.claim(request.clone()))?);
            if ends.is_empty() {
                break;
            }
            count += ends.len();
            if give.send(ends).is_err() {
                break; // the reporter has failed, and says why
            }
        }
        drop(give);
        reporter
            .join()
            .map_err(|_| StoreError::failed("the thread that reports ends panicked"))??;
        Ok(count)
    })
}

fn report(store: &Arc<dyn JobStore>, take: Receiver<Vec<Finish>>) -> StoreResult<()> {
    take.into_iter().try_for_each(|ends| finish(store, ends))
}

fn finish(store: &Arc<dyn JobStore>, ends: Vec<Finish>) -> StoreResult<()> {
    let outcomes = block_on(store.finish(ends))?;
    let refused = outcomes
        .into_iter()
        .find(|outcome| !matches!(outcome, FinishOutcome::Accepted { .. }));
    match refused {
        None => Ok(()),
        Some(outcome) => Err(StoreError::failed(format!(
            "an end was not accepted: {outcome:?}"
        ))),
    }
}

fn ends(claimed: &Claimed) -> Vec<Finish> {
    let started = claimed.jobs.iter().flat_map(|job| &job.started);
    started
        .map(|run| Finish {
            run: run.id,
            fence: run.fence,
            ending: Some(Ending::Succeeded),
            output: None,
            error: None,
            next_attempt_at: None,
        })
        .collect()
}

struct Watch(Duration);

impl Watch {
    fn start() -> Self {
        Self(SystemClock.monotonic())
    }

    fn elapsed(&self) -> Duration {
        SystemClock.monotonic().saturating_sub(self.0)
    }

    fn each(&self, count: usize) -> Duration {
        self.elapsed().div_f64(count as f64)
    }
}

#[cfg(test)]
mod tests {
    use punctual_core::memory::MemoryStore;

    use super::*;

    #[test]
    fn every_job_fires_and_is_timed() {
        let clock = SimClock::new(Timestamp::from_second(START).unwrap());
        let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        let load = Load {
            fires: 150,
            batch: 20,
            probes: 5,
            ..Load::of(50)
        };
        let figures = measure(&store, &clock, load).unwrap();
        assert_eq!((figures.jobs, figures.fires), (50, 150));
        assert!(figures.fires_per_second > 0.0, "{figures}");
        assert!(figures.claim_one > Duration::ZERO, "{figures}");
    }
}
