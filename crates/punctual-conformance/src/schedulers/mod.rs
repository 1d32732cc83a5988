//! One suite of tests that every kind of scheduler runs, each in its own event loop.
//!
//! A [`Host`] says how a scheduler is made in a loop, and drives that loop while a case works on another thread, through the handle
//! that programs use. Loops are real, and so is their time: a case waits for what it is told, by events and tasks, and
//! compares the times in the ledger, but never sleeps.
//!
//! ```
//! # mod demo {
//! use punctual_conformance::schedulers::{Body, Host, Session, Subject};
//! use punctual_core::scheduler::{BackgroundScheduler, SchedulerBuilder};
//! use std::sync::Arc;
//!
//! struct Background;
//!
//! impl Host for Background {
//!     fn run(&self, builder: SchedulerBuilder, body: Body) {
//!         let scheduler = Arc::new(BackgroundScheduler::build(builder).expect("it can be built"));
//!         let subject = Subject::new(scheduler.scheduler().clone())
//!             .starting({ let scheduler = Arc::clone(&scheduler); move |mode| scheduler.start(mode) })
//!             .ending(move |how| scheduler.shutdown(how));
//!         Session::begin(subject, body).finish();
//!     }
//! }
//!
//! punctual_conformance::scheduler_suite!(Background, || None); // demo::a_job_that_is_due_runs, …
//! # }
//! ```

pub mod cases;
mod list;
mod trial;

pub use list::{SCHEDULER_CASES, SchedulerCase};
pub use trial::{SchedulerTrial, Store, World};

use std::fmt;
use std::panic::resume_unwind;
use std::thread::JoinHandle;

use punctual_core::scheduler::{Error, Scheduler, SchedulerBuilder, Shutdown, StartMode};

/// What a case does with a scheduler.
pub type Body = Box<dyn FnOnce(&Subject) + Send>;

/// A kind of scheduler, and the loop it lives in.
pub trait Host: Send + Sync {
    /// Builds a scheduler, lets `body` work with it by a [`Session`], drives the loop until that is over, and ends.
    fn run(&self, builder: SchedulerBuilder, body: Body);
}

type Start = dyn Fn(StartMode) -> Result<(), Error> + Send + Sync;
type End = dyn Fn(Shutdown) + Send + Sync;

/// A scheduler under test, as a thread of its program sees it.
pub struct Subject {
    /// The handle.
    pub scheduler: Scheduler,
    start: Box<Start>,
    end: Box<End>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

impl Subject {
    /// One that is started and shut down through its handle.
    pub fn new(scheduler: Scheduler) -> Self {
        let (starting, ending) = (scheduler.clone(), scheduler.blocking());
        Self {
            scheduler,
            start: Box::new(move |mode| starting.start(mode)),
            end: Box::new(move |how| ending.shutdown(how)),
        }
    }

    /// Where the kind has a `start` of its own.
    pub fn starting(
        mut self,
        start: impl Fn(StartMode) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        self.start = Box::new(start);
        self
    }

    /// Where the kind has a `shutdown` of its own.
    pub fn ending(mut self, end: impl Fn(Shutdown) + Send + Sync + 'static) -> Self {
        self.end = Box::new(end);
        self
    }

    /// Starts it.
    pub fn start(&self, mode: StartMode) -> Result<(), Error> {
        (self.start)(mode)
    }

    /// Shuts it down, from a thread that is none of its loop's.
    pub fn shutdown(&self, how: Shutdown) {
        (self.end)(how);
    }
}

/// A case at work, on a thread of its own.
#[derive(Debug)]
pub struct Session {
    thread: JoinHandle<()>,
    /// Closed when the case is over.
    over: async_channel::Receiver<()>,
}

impl Session {
    /// Begins. Afterwards the scheduler is shut down, also where the case fails.
    pub fn begin(subject: Subject, body: Body) -> Self {
        Self::begin_with(subject, body, || ())
    }

    /// The same, for a loop that wants to be told when the case is over.
    pub fn begin_with(subject: Subject, body: Body, tell: impl FnOnce() + Send + 'static) -> Self {
        /// Tells also when the body panics.
        struct Tell<F: FnOnce()>(Option<F>);
        impl<F: FnOnce()> Drop for Tell<F> {
            fn drop(&mut self) {
                self.0.take().expect("dropped once")();
            }
        }
        let (open, over) = async_channel::bounded(1);
        let tell = Tell(Some(tell));
        let work = move || {
            let _tell = tell;
            let _open = open;
            let subject = Ended(subject);
            body(&subject.0);
        };
        let thread = std::thread::Builder::new().name("case".to_owned());
        let thread = thread.spawn(work).expect("a thread can be started");
        Self { thread, over }
    }

    /// Resolves when the case is over.
    pub async fn over(&self) {
        let _ = self.over.recv().await;
    }

    /// Waits for the end; a case that failed fails here.
    pub fn finish(self) {
        if let Err(panic) = self.thread.join() {
            resume_unwind(panic);
        }
    }
}

/// Shuts the scheduler down, whatever became of the case.
struct Ended(Subject);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.shutdown(Shutdown::Cancel);
    }
}
