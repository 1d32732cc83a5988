//! How many no-op fires a second one node gets through Redis, ledger included, and how many bytes a job and a run take.
//!
//! Run with `PUNCTUAL_TEST_REDIS_URL=redis://… cargo bench -p punctual-redis`; arguments: numbers of jobs, by default 1,000,
//! 10,000 and 100,000. It works under prefixes of its own and deletes what it made.

use std::error::Error;
use std::sync::Arc;

use async_io::block_on;
use jiff::Timestamp;
use punctual_conformance::bench::{Load, measure};
use punctual_conformance::{START, server_url};
use punctual_core::clock::SimClock;
use punctual_core::store::JobStore;
use punctual_redis::{RedisStore, StoreOptions};

#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn main() -> Result<(), Box<dyn Error>> {
    let Some(url) = server_url("REDIS") else {
        println!(
            "PUNCTUAL_TEST_REDIS_URL is not set; `cargo xtask services start` starts a server and says what it is"
        );
        return Ok(());
    };
    let numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let mut numbers: Vec<usize> = numbers.collect();
    if numbers.is_empty() {
        numbers = vec![1_000, 10_000, 100_000];
    }
    for jobs in numbers {
        let prefix = format!("bench_{}_{jobs}_", std::process::id());
        let clock = SimClock::new(Timestamp::from_second(START)?);
        let options = StoreOptions::default()
            .prefix(&prefix)
            .clock(Arc::new(clock.clone()));
        let store: Arc<dyn JobStore> = Arc::new(block_on(RedisStore::open(&url, options))?);
        let figures = measure(&store, &clock, Load::of(jobs))?;
        println!("{figures}");
        println!("{}", sizes(&url, &prefix)?);
    }
    Ok(())
}

/// What the keys of a store take, in bytes, and deletes them.
fn sizes(url: &str, prefix: &str) -> redis::RedisResult<String> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let mut count = |command: &str, key: &str| -> redis::RedisResult<u64> {
        redis::cmd(command)
            .arg(format!("{{{prefix}}}:{key}"))
            .query(&mut connection)
    };
    let jobs = count("HLEN", "state")?.max(1);
    let runs = count("HLEN", "runs")?.max(1);
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg(format!("{{{prefix}}}:*"))
        .query(&mut connection)?;
    let (mut of_jobs, mut of_runs) = (0, 0);
    for key in keys {
        let usage: u64 = redis::cmd("MEMORY")
            .arg("USAGE")
            .arg(&key)
            .arg("SAMPLES")
            .arg(1000)
            .query(&mut connection)?;
        let key = String::from_utf8_lossy(&key).into_owned();
        let name = key.split_once(':').map_or("", |(_, name)| name);
        let is_of_job =
            ["state", "definitions", "ids", "listed"].contains(&name) || name.starts_with("due:");
        *(if is_of_job {
            &mut of_jobs
        } else {
            &mut of_runs
        }) += usage;
        let () = redis::cmd("UNLINK").arg(&key).query(&mut connection)?;
    }
    Ok(format!(
        "{jobs:>9} jobs: {} bytes each; {runs} rows of the ledger: {} bytes each",
        of_jobs / jobs,
        of_runs / runs
    ))
}
