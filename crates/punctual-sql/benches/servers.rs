//! How many no-op fires a second one node gets through a server, ledger included, and how the rest goes with more jobs.
//!
//! Run with `cargo bench -p punctual-sql --bench servers --features postgres,mysql`; the servers are those of
//! `PUNCTUAL_TEST_POSTGRES_URL` and `PUNCTUAL_TEST_MYSQL_URL`. Arguments: numbers of jobs (1000 and 10000 unless told
//! otherwise), words that the server's name must hold, `batch=500`. The tables it makes stay: their prefix is printed.

use std::error::Error;
use std::sync::Arc;

use async_io::block_on;
use punctual_conformance::START;
use punctual_conformance::bench::{Load, measure};
use punctual_core::clock::{Clock, SimClock, SystemClock};
use punctual_core::store::JobStore;
use punctual_sql::{MysqlStore, PostgresStore, StoreOptions};

#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let mut sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000];
    }
    let batch = args.iter().find_map(|arg| arg.strip_prefix("batch="));
    let batch: usize = batch.map_or(Ok(500), str::parse)?;
    let wanted = args
        .iter()
        .find(|arg| arg.parse::<usize>().is_err() && !arg.contains('='));

    for name in ["POSTGRES", "MYSQL"] {
        if wanted.is_some_and(|wanted| !name.contains(&wanted.to_uppercase())) {
            continue;
        }
        let Ok(url) = std::env::var(format!("PUNCTUAL_TEST_{name}_URL")) else {
            println!("{name}: PUNCTUAL_TEST_{name}_URL is not set");
            continue;
        };
        for &jobs in &sizes {
            let clock = SimClock::new(jiff::Timestamp::from_second(START)?);
            let prefix = format!("b{:x}_", SystemClock.now().as_millisecond());
            let options = StoreOptions::default()
                .prefix(&prefix)
                .clock(Arc::new(clock.clone()));
            let store: Arc<dyn JobStore> = match name {
                "POSTGRES" => Arc::new(block_on(PostgresStore::open(&url, options))?),
                _ => Arc::new(block_on(MysqlStore::open(&url, options))?),
            };
            let load = Load {
                batch,
                ..Load::of(jobs)
            };
            println!("{name} {prefix} {}", measure(&store, &clock, load)?);
        }
    }
    Ok(())
}
