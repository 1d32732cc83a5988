//! How many no-op fires a second one node gets through a `MongoDB` server, ledger included.
//!
//! Run with `PUNCTUAL_TEST_MONGODB_URL=mongodb://… cargo bench -p punctual-mongodb`; arguments: numbers of jobs, by default
//! 1,000 and 10,000. It works under prefixes of its own and drops what it made. `FerretDB` on `SQLite` reads whole
//! collections where `MongoDB` uses an index, so figures of the one say nothing of the other; which it was is printed.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_io::block_on;
use jiff::Timestamp;
use mongodb::bson::{Document, doc};
use punctual_conformance::bench::{Load, measure};
use punctual_conformance::{START, server_url};
use punctual_core::clock::SimClock;
use punctual_core::store::JobStore;
use punctual_mongodb::{MongoStore, StoreOptions};

#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn main() -> Result<(), Box<dyn Error>> {
    let Some(url) = server_url("MONGODB") else {
        println!(
            "PUNCTUAL_TEST_MONGODB_URL is not set; `cargo xtask services start` starts a server and says what it is"
        );
        return Ok(());
    };
    let numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let mut numbers: Vec<usize> = numbers.collect();
    if numbers.is_empty() {
        numbers = vec![1_000, 10_000];
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for jobs in numbers {
        let prefix = format!("bench_{}_{jobs}_", std::process::id());
        let clock = SimClock::new(Timestamp::from_second(START)?);
        let options = StoreOptions::default()
            .prefix(&prefix)
            .timeout(Duration::from_mins(2))
            .clock(Arc::new(clock.clone()));
        let store: Arc<dyn JobStore> = Arc::new(block_on(MongoStore::open(&url, options))?);
        let load = Load {
            fires: 2_000,
            batch: 100,
            probes: 20,
            ..Load::of(jobs)
        };
        let figures = measure(&store, &clock, load)?;
        drop(store);
        let server = runtime.block_on(drop_all(&url, &prefix))?;
        println!("{server}: {figures}");
    }
    Ok(())
}

/// Drops the collections with a prefix; returns what the server is.
async fn drop_all(url: &str, prefix: &str) -> mongodb::error::Result<String> {
    let client = mongodb::Client::with_uri_str(url).await?;
    let db = client
        .default_database()
        .unwrap_or_else(|| client.database("punctual"));
    for name in db.list_collection_names().await? {
        if name.starts_with(prefix) {
            db.collection::<Document>(&name).drop().await?;
        }
    }
    let build = db.run_command(doc! {"buildInfo": 1}).await?;
    Ok(if build.contains_key("ferretdbVersion") {
        "FerretDB".to_owned()
    } else {
        format!("MongoDB {}", build.get_str("version").unwrap_or("unknown"))
    })
}
