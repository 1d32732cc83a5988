//! Jobs that send mail, and how they are tested: `tests/mail.rs` lets weeks pass in a blink, and sees every run, what a mail server
//! that is down does to them, a night whose clock skips an hour, and a laptop that sleeps too long.
//!
//! Run with: `cargo run -p testing`; test with `cargo test -p testing`.
//!
//! What makes it testable: the tasks see the world through [`State`] alone, and wait by [`RunContext::sleep`]; and the program
//! and its tests make their scheduler by the same two functions, [`builder`] and [`schedule`].

use std::time::Duration;

use punctual::prelude::*;
use punctual::scheduler::Error;
use punctual::task::RegisterError;

/// What mail goes through: a server, or what a test looks into.
pub trait Mailer: Send + Sync + 'static {
    /// Sends one mail.
    ///
    /// # Errors
    ///
    /// What the mail server says.
    fn send(&self, to: &str, subject: &str) -> Result<(), String>;
}

/// As the tasks ask for it.
pub type Mail = Box<dyn Mailer>;

/// What is to be done today.
#[task]
pub async fn agenda(to: String, mail: State<Mail>) -> Result<(), String> {
    mail.send(&to, "your day")
}

/// The news, to each reader one after another: the mail server takes no more.
#[task]
pub async fn newsletter(to: Vec<String>, mail: State<Mail>, run: RunContext) -> Result<(), String> {
    for reader in to {
        mail.send(&reader, "the week")?;
        run.log(&format!("sent to {reader}"));
        run.sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// A scheduler to be, with the tasks and what they need.
///
/// # Errors
///
/// Where two tasks have one name.
pub fn builder(mail: Mail) -> Result<SchedulerBuilder, RegisterError> {
    let builder = Scheduler::builder().state(mail);
    builder.register::<agenda>()?.register::<newsletter>()
}

/// Adds the jobs.
///
/// # Errors
///
/// Where the job store fails.
pub async fn schedule(scheduler: &Scheduler) -> Result<(), Error> {
    let job = scheduler.add(agenda("ann@example.com")).id("agenda");
    job.cron("day_of_week=mon-fri hour=7")
        .timezone("Europe/Paris")
        .retry(Retry::fixed(3, Duration::from_mins(10)))
        // At noon nobody needs it any more.
        .misfire_grace_time(Duration::from_hours(3))
        .replace_existing()
        .await?;
    let readers = ["ann@example.com", "ben@example.com"]
        .map(str::to_owned)
        .into();
    let job = scheduler.add(newsletter(readers)).id("newsletter");
    job.cron("day_of_week=sun hour=2 minute=30")
        .timezone("Europe/Paris")
        .replace_existing()
        .await?;
    Ok(())
}
