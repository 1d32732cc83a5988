//! How many no-op fires a second one node gets through an `SQLite` file, ledger included: claim (row of the ledger,
//! cursor, running set, one commit for a batch), then finish.
//!
//! Run with `cargo bench -p punctual-sql`; arguments: jobs, fires of each, jobs per claim, folder.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_io::block_on;
use punctual_conformance::{START, job};
use punctual_core::clock::{Clock, SimClock, SystemClock};
use punctual_core::id::{ExecutorName, NodeId, TaskName};
use punctual_core::plan::Finish;
use punctual_core::run::Ending;
use punctual_core::store::{ClaimFilter, ClaimRequest, JobStore};
use punctual_core::zones::Zones;
use punctual_sql::{SqliteOptions, SqliteStore};

#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let number = |at: usize, default: usize| {
        args.get(at)
            .and_then(|arg| arg.parse().ok())
            .unwrap_or(default)
    };
    let (jobs, rounds, batch) = (number(0, 10_000), number(1, 10), number(2, 500));
    let folder = tempfile::tempdir_in(args.get(3).map_or_else(std::env::temp_dir, PathBuf::from))?;
    let start = jiff::Timestamp::from_second(START)?;
    let clock = SimClock::new(start);
    let zones = Zones::system();
    let options = SqliteOptions::new(Arc::new(clock.clone()), zones.clone());
    let store = SqliteStore::open(folder.path().join("bench.db"), options)?;
    let filter = ClaimFilter {
        tasks: Arc::new(BTreeSet::from([TaskName::new("t")?])),
        slots: BTreeMap::from([(ExecutorName::default(), batch)]),
    };

    let mut watch = Watch(SystemClock.monotonic());
    for first in (0..jobs).step_by(1000) {
        let additions = (first..jobs.min(first + 1000))
            .map(|n| job(format!("job-{n:07}")).every(60).addition(start, &zones));
        block_on(store.add_many(additions.collect()))?;
    }
    println!(
        "add:      {:>10.0} jobs/s  ({jobs} jobs, 1000 at a time)",
        watch.rate(jobs)
    );

    let mut fires = 0;
    for _ in 0..rounds {
        clock.advance(Duration::from_mins(1));
        loop {
            let claimed = block_on(store.claim(ClaimRequest {
                node: NodeId(1),
                lease: Duration::from_secs(30),
                filter: filter.clone(),
                limit: batch,
            }))?;
            let finishes: Vec<_> = claimed
                .jobs
                .iter()
                .flat_map(|job| &job.started)
                .map(|run| Finish {
                    run: run.id,
                    fence: run.fence,
                    ending: Some(Ending::Succeeded),
                    output: None,
                    error: None,
                    next_attempt_at: None,
                })
                .collect();
            if finishes.is_empty() {
                break;
            }
            fires += finishes.len();
            block_on(store.finish(finishes))?;
        }
    }
    println!(
        "fire:     {:>10.0} fires/s ({fires} fires, {batch} at a time)",
        watch.rate(fires)
    );

    let probes = 10_000;
    for _ in 0..probes {
        block_on(store.next_due(&filter))?;
    }
    println!(
        "next_due: {:>10.1} µs      ({jobs} jobs)",
        1e6 / watch.rate(probes)
    );

    let single = 200;
    clock.advance(Duration::from_mins(1));
    for _ in 0..single {
        block_on(store.claim(ClaimRequest {
            node: NodeId(1),
            lease: Duration::from_secs(30),
            filter: filter.clone(),
            limit: 1,
        }))?;
    }
    println!(
        "claim:    {:>10.2} ms      (one job and one commit each)",
        1e3 / watch.rate(single)
    );
    Ok(())
}

/// Time since the last look.
struct Watch(Duration);

impl Watch {
    fn rate(&mut self, count: usize) -> f64 {
        let now = SystemClock.monotonic();
        let since = std::mem::replace(&mut self.0, now);
        count as f64 / now.checked_sub(since).unwrap().as_secs_f64()
    }
}
