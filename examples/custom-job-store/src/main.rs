//! Some changes of a job, and what is written of them.
//!
//! Run with: `cargo run -p custom-job-store`

#![expect(clippy::print_stdout, reason = "an example shows something")]

use std::error::Error;
use std::sync::Arc;

use custom_job_store::AuditedStore;
use punctual::clock::SystemClock;
use punctual::prelude::*;

#[task]
async fn report() {}

fn main() -> Result<(), Box<dyn Error>> {
    let trail = std::env::temp_dir().join(format!("audit-{}.jsonl", std::process::id()));
    // Any store: `punctual::sqlite("jobs.db")?` keeps its jobs.
    let jobs = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let audited = AuditedStore::new(jobs, &trail)?;
    let builder = Scheduler::builder()
        .register::<report>()?
        .job_store("default", Arc::new(audited));
    let scheduler = BackgroundScheduler::build(builder)?;
    scheduler.start(StartMode::Running)?;

    let id = JobId::new("nightly")?;
    let job = scheduler.scheduler().add(report()).id("nightly");
    job.cron("hour=3").timezone("Europe/Paris").wait()?;
    scheduler.modify_job(&id, JobUpdate::new().name("the nightly report"))?;
    let request = PauseRequest {
        by: Some("ann".to_owned()),
        note: Some("the numbers are wrong".to_owned()),
        until: None,
    };
    scheduler.pause_job(&id, request)?;
    scheduler.remove_job(&id)?;
    scheduler.shutdown(Shutdown::Wait);

    print!("{}", std::fs::read_to_string(&trail)?);
    println!("left in {}", trail.display());
    Ok(())
}
