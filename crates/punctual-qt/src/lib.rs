//! Punctual in Qt's event loop: a scheduler on the GUI thread, driven by a `QTimer`.
//!
//! ```
//! use std::time::Duration;
//!
//! use punctual_core::event::EventKind;
//! use punctual_core::scheduler::{NewJob, Scheduler, StartMode};
//! use punctual_qt::QtScheduler;
//! use punctual_qt::app::Application;
//!
//! // In a real program: the `QGuiApplication` of cxx-qt-lib, or whatever else makes it.
//! let app = Application::new(["clock", "-platform", "offscreen"]);
//!
//! // It runs on a thread of the default executor; for tasks on the GUI thread see `build_with`.
//! let builder = Scheduler::builder().blocking_task("tick", || println!("tick"))?;
//! let scheduler = QtScheduler::build(builder)?;
//! scheduler.on_event(&[EventKind::JobExecuted], |event| {
//!     // On the GUI thread: this is the place to change what a window shows.
//!     println!("{:?} has run", event.job_id);
//!     Application::quit(0);
//! });
//! scheduler.add(NewJob::new("tick")).every(Duration::from_secs(1)).wait()?;
//! scheduler.start(StartMode::Running)?;
//! assert_eq!(app.exec(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "app")]
#[expect(
    unsafe_code,
    unreachable_pub,
    reason = "generated bindings to C++; the bridge says why they are safe to call"
)]
pub mod app;
#[expect(
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::unnecessary_box_returns,
    reason = "generated bindings to C++; the bridge says why they are safe to call"
)]
mod ticker;
mod turns;

use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use cxx::UniquePtr;
use futures_util::future::select;
use punctual_core::event::{Event, EventKind, ListenerId};
use punctual_core::executor::{LocalExecutor, LocalTasks};
use punctual_core::scheduler::{Error, HostedScheduler, Scheduler, SchedulerBuilder, Shutdown};

use self::ticker::{Alarm, Ticker};
use self::turns::Turns;

/// How many events may wait for the GUI thread, besides those that wait for the listener behind it
/// ([`LISTENER_QUEUE_MAX`](punctual_core::event::LISTENER_QUEUE_MAX)).
const EVENTS_MAX: usize = 256;
/// The alias of the executor whose tasks run on the GUI thread.
pub const LOCAL_EXECUTOR: &str = "local";
/// How many of its runs go on at once.
const LOCAL_MAX_WORKERS: usize = 100;

/// A scheduler on the GUI thread, in Qt's event loop: `APScheduler`'s `QtScheduler`.
///
/// A [`Scheduler`] in all else; a clone of what this derefs to may go to any thread. Dropping it shuts it down, without waiting for
/// running runs longer than it takes to cancel them.
pub struct QtScheduler {
    scheduler: HostedScheduler,
    turns: Rc<Turns>,
    ticker: UniquePtr<Ticker>,
}

impl fmt::Debug for QtScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QtScheduler").field(&self.scheduler).finish()
    }
}

impl QtScheduler {
    /// Builds it, to be driven by the event loop of this thread; [`start`](Scheduler::start) begins. The default executor is
    /// a pool of 10 threads.
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`].
    ///
    /// # Panics
    ///
    /// On another thread than that of the program's `QCoreApplication`, and before there is one.
    pub fn build(builder: SchedulerBuilder) -> Result<Self, Error> {
        assert!(
            ticker::is_gui_thread(),
            "a QtScheduler lives on the thread of the QCoreApplication, and after it is made"
        );
        let mut ticker = ticker::make();
        let turns = Rc::new(Turns::new(Alarm::new(&ticker)));
        ticker.pin_mut().set_turns(Rc::clone(&turns));
        let scheduler = HostedScheduler::build(builder, turns.runtime().clone())?;
        Ok(Self {
            scheduler,
            turns,
            ticker,
        })
    }

    /// Builds it with tasks that run on the GUI thread, where they may touch what is on the screen and hold what is not `Send`: on
    /// the executor [`LOCAL_EXECUTOR`], which a job names (`.executor("local")`).
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`].
    ///
    /// # Panics
    ///
    /// As [`build`](Self::build).
    pub fn build_with(builder: SchedulerBuilder, tasks: LocalTasks) -> Result<Self, Error> {
        let (executor, driver) = LocalExecutor::new(LOCAL_MAX_WORKERS, tasks);
        let built = Self::build(builder.executor(LOCAL_EXECUTOR, Arc::new(executor)))?;
        built.spawn_local(driver.run());
        Ok(built)
    }

    /// Calls `listener` on the GUI thread for every event of `kinds`; for every event at all where `kinds` is empty. A
    /// listener that is slow, or shows a dialog, gets the events later; one that panics gets the next ones all the same.
    pub fn on_event(
        &self,
        kinds: &[EventKind],
        mut listener: impl FnMut(&Event) + 'static,
    ) -> ListenerId {
        let (sender, events) = async_channel::bounded::<Event>(EVENTS_MAX);
        self.spawn_local(async move {
            while let Ok(event) = events.recv().await {
                // Further up is C++, where a panic ends the program.
                if catch_unwind(AssertUnwindSafe(|| listener(&event))).is_err() {
                    tracing::error!(kind = ?event.kind, "a listener panicked");
                }
                // Between two events the toolkit may draw.
                yield_now().await;
            }
        });
        self.scheduler.add_listener(kinds, move |event| {
            // An error says that the GUI's end is gone.
            let _ = sender.send_blocking(event.clone());
        })
    }

    fn spawn_local(&self, future: impl Future<Output = ()> + 'static) {
        self.turns.spawn(Box::pin(future));
    }

    /// Ends the work, and returns when it has ended. Meanwhile this thread turns the scheduler's loop and goes on with local
    /// tasks, but the GUI stands still. May be called twice, or before [`start`](Scheduler::start).
    pub fn shutdown(&self, how: Shutdown) {
        let handle: &Scheduler = self;
        let local = poll_fn(|cx| {
            self.turns.poll_local(cx);
            Poll::<()>::Pending
        });
        let shutdown = pin!(handle.shutdown(how));
        self.turns.runtime().run_until(select(shutdown, local));
        // The local futures told the wait above what they wait for; from now on it is the timer again.
        self.turns.waker().wake();
    }
}

impl Deref for QtScheduler {
    type Target = Scheduler;
    fn deref(&self) -> &Scheduler {
        &self.scheduler
    }
}

impl Drop for QtScheduler {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Cancel);
        // What was told of the end just now has no other turn to end in, and to let go of what it holds.
        self.turns.runtime().run_until(async {
            for _ in 0..8 {
                yield_now().await;
            }
        });
        if self.turns.close() {
            // A turn of this very timer is on the stack. Qt deletes the object when that has returned.
            self.ticker.pin_mut().delete_later();
            mem::replace(&mut self.ticker, UniquePtr::null()).into_raw();
        }
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
