//! Five calls that are due at once, on an executor that makes two a second.
//!
//! Run with: `cargo run -p custom-executor`. It takes two seconds.

#![expect(clippy::print_stdout, reason = "an example shows something")]

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::channel;

use custom_executor::PacedExecutor;
use punctual::clock::SystemClock;
use punctual::prelude::*;

#[task]
async fn call(city: String, run: RunContext) {
    run.log(&format!("asked for the weather of {city}"));
}

fn main() -> Result<(), Box<dyn Error>> {
    let paced = PacedExecutor::new(2, 10, Arc::new(SystemClock));
    let builder = Scheduler::builder()
        .register::<call>()?
        .executor("weather", Arc::new(paced));
    let scheduler = BackgroundScheduler::build(builder)?;
    let (started, starts) = channel();
    let tell = move |event: &Event| {
        let _ = started.send(event.clone());
    };
    // Not the ledger: there a run has started when it was claimed.
    let kinds = [EventKind::JobStarted];
    scheduler.scheduler().add_listener(&kinds, tell);
    for city in ["Paris", "Lima", "Oslo", "Cairo", "Quito"] {
        let job = scheduler.scheduler().add(call(city)).id(city);
        job.executor("weather").wait()?;
    }
    scheduler.start(StartMode::Running)?;
    for event in starts.iter().take(5) {
        let city = event.job_id.map(|id| id.to_string());
        println!("{} {}", event.at, city.unwrap_or_default());
    }
    scheduler.shutdown(Shutdown::Wait);
    Ok(())
}
