//! The smallest scheduler: a greeting every second, for five seconds.
//!
//! Run with: `cargo run --package punctual --example hello`

#![expect(clippy::print_stdout, reason = "an example shows something")]

use std::time::Duration;

use punctual::prelude::*;

async fn greet(Args(name): Args<String>, run: RunContext) {
    run.log(&format!("hello, {name}"));
    println!("{} hello, {name}", run.run().scheduled_at);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scheduler = TokioScheduler::build(Scheduler::builder().task("greet", greet)?).await?;
    let every_second = Trigger::interval(Duration::from_secs(1))?;
    scheduler
        .add_job(
            NewJob::new("greet")
                .id("greeting")
                .arg("world")
                .trigger(every_second),
        )
        .await?;
    scheduler.start(StartMode::Running)?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    scheduler.shutdown(Shutdown::Wait).await;
    Ok(())
}
