//! The jobs of `src/lib.rs`, with a mailer that prints.
//!
//! Run with: `cargo run -p testing`. Ctrl-C ends it.

#![expect(clippy::print_stdout, reason = "an example shows something")]

use punctual::prelude::*;
use testing::{Mailer, builder, schedule};

struct Printer;

impl Mailer for Printer {
    fn send(&self, to: &str, subject: &str) -> Result<(), String> {
        println!("to {to}: {subject}");
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scheduler = TokioScheduler::build(builder(Box::new(Printer))?).await?;
    schedule(&scheduler).await?;
    scheduler.start(StartMode::Running)?;
    for located in scheduler.get_jobs().await? {
        if let Some(job) = located.job.into_job() {
            let next = job.next_run_time().map(|at| at.to_string());
            println!("{} runs next at {}", job.id(), next.unwrap_or_default());
        }
    }
    tokio::signal::ctrl_c().await?;
    scheduler.shutdown(Shutdown::Wait).await;
    Ok(())
}
