//! The smallest scheduler: a greeting every second, three times.
//!
//! Run with: `cargo run -p hello`

#![expect(clippy::print_stdout, reason = "an example shows something")]

use std::time::Duration;

use punctual::prelude::*;
use tokio::sync::mpsc;

#[task]
async fn greet(name: String) {
    println!("hello, {name}");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scheduler = TokioScheduler::build(Scheduler::builder().register::<greet>()?).await?;
    let (ended, mut ends) = mpsc::channel(3);
    scheduler.add_listener(&[EventKind::JobExecuted], move |_| {
        let _ = ended.blocking_send(());
    });
    scheduler.start(StartMode::Running)?;
    scheduler
        .add(greet("world"))
        .every(Duration::from_secs(1))
        .await?;
    for _ in 0..3 {
        ends.recv().await;
    }
    scheduler.shutdown(Shutdown::Wait).await;
    Ok(())
}
