//! Punctual's scheduler in the main loop of GLib, for GTK programs and others: beside `QtScheduler` the counterpart of `APScheduler`'s
//! scheduler for graphical programs.
//!
//! The scheduler works on the thread of the main loop, woken by GLib's own timer (to the millisecond), between the program's
//! other events. Tasks run on a pool of threads, so that none of them holds up the window; those that touch widgets are
//! [`LocalTasks`] and run on the loop's thread.
//!
//! ```
//! use std::cell::Cell;
//! use std::rc::Rc;
//!
//! use punctual_core::event::EventKind;
//! use punctual_core::scheduler::{NewJob, Scheduler, StartMode};
//! use punctual_glib::GlibScheduler;
//!
//! let context = glib::MainContext::new();
//! context.with_thread_default(|| {
//!     let main_loop = glib::MainLoop::new(Some(&context), false);
//!     let builder = Scheduler::builder().blocking_task("work", || std::thread::sleep(std::time::Duration::from_millis(1)))?;
//!     let scheduler = GlibScheduler::build(builder)?;
//!     // Called on this thread: here a label would be changed.
//!     let quit = main_loop.clone();
//!     scheduler.on_event(&[EventKind::JobExecuted], move |_event| quit.quit());
//!     scheduler.start(StartMode::Running)?;
//!     scheduler.add(NewJob::new("work")).wait()?;
//!     main_loop.run();
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use glib::{ControlFlow, MainContext, Priority, Source};
use punctual_core::event::{Event, EventKind, LISTENER_QUEUE_MAX};
use punctual_core::executor::{LocalExecutor, LocalTasks};
use punctual_core::runtime::HostedRuntime;
#[cfg(doc)]
use punctual_core::scheduler::Scheduler;
use punctual_core::scheduler::{Error, HostedScheduler, SchedulerBuilder};

/// The alias of the executor whose tasks run on the thread of the main loop.
pub const LOCAL_EXECUTOR: &str = "local";
/// How many of its runs go on at once.
const LOCAL_MAX_WORKERS: usize = 100;

/// A scheduler in the main loop of GLib. It stays on the thread of that loop; dropping it shuts it down, without waiting for
/// runs longer than it takes to cancel them. A [`Scheduler`] in all else, whose clones may go anywhere.
#[derive(Debug)]
pub struct GlibScheduler {
    scheduler: HostedScheduler,
    driver: Arc<Driver>,
}

impl GlibScheduler {
    /// Builds it in the main context of this thread: its own, where it has pushed one, or else the global one. The default executor
    /// is a pool of 10 threads.
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`].
    ///
    /// # Panics
    ///
    /// Where another thread runs that context.
    pub fn build(builder: SchedulerBuilder) -> Result<Self, Error> {
        let driver = Arc::new(Driver {
            context: MainContext::ref_thread_default(),
            runtime: OnceLock::new(),
            timer: Mutex::default(),
        });
        // Weak: the driver holds the runtime that holds this.
        let wake = Arc::downgrade(&driver);
        let runtime = HostedRuntime::new(move || {
            if let Some(driver) = wake.upgrade() {
                driver.turn_soon();
            }
        });
        driver.runtime.get_or_init(|| runtime.clone());
        let scheduler = HostedScheduler::build(builder, runtime)?;
        Ok(Self { scheduler, driver })
    }

    /// Builds it with tasks that run on the thread of the main loop, where they may touch widgets and hold what is not `Send`: on the
    /// executor [`LOCAL_EXECUTOR`], which a job names (`.executor("local")`). While [`HostedScheduler::shutdown`] waits on that thread they
    /// stand still, and are cancelled in the end; where they should end by themselves, spawn the [`Scheduler`]'s own `shutdown` on the main loop.
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
        built.driver.context.spawn_local(driver.run());
        Ok(built)
    }

    /// Calls `react` for every event of `kinds`, or of any kind where that is empty, on the thread of the main loop.
    pub fn on_event(&self, kinds: &[EventKind], mut react: impl FnMut(&Event) + 'static) {
        let (tell, told) = async_channel::bounded(LISTENER_QUEUE_MAX);
        self.scheduler.add_listener(kinds, move |event| {
            if tell.try_send(event.clone()).is_err() {
                tracing::warn!(kind = ?event.kind, "the main loop was too slow for an event, or has ended");
            }
        });
        self.driver.context.spawn_local(async move {
            while let Ok(event) = told.recv().await {
                // A panic must not unwind into GLib, which is C.
                if catch_unwind(AssertUnwindSafe(|| react(&event))).is_err() {
                    tracing::error!(kind = ?event.kind, "a listener panicked");
                }
            }
        });
    }
}

impl Deref for GlibScheduler {
    type Target = HostedScheduler;
    fn deref(&self) -> &HostedScheduler {
        &self.scheduler
    }
}

/// Turns the scheduler's loop in a main context.
#[derive(Debug)]
struct Driver {
    context: MainContext,
    runtime: OnceLock<HostedRuntime>,
    /// What waits for the next turn by time.
    timer: Mutex<Option<Source>>,
}

impl Driver {
    /// From any thread.
    fn turn_soon(self: &Arc<Self>) {
        let this = Arc::clone(self);
        // Not `invoke`, which would turn at once, and so inside a turn, where this is the context's own thread.
        let source = glib::idle_source_new(None, Priority::DEFAULT, move || {
            this.turn();
            ControlFlow::Break
        });
        source.attach(Some(&self.context));
    }

    fn turn(self: &Arc<Self>) {
        let Some(runtime) = self.runtime.get() else {
            return;
        };
        let wait = runtime.turn();
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(over) = timer.take() {
            over.destroy();
        }
        match wait {
            None => {}
            Some(wait) if wait.is_zero() => self.turn_soon(),
            Some(wait) => *timer = Some(self.turn_after(wait)),
        }
    }

    fn turn_after(self: &Arc<Self>, wait: Duration) -> Source {
        let this = Arc::clone(self);
        // Up to the next whole millisecond: a turn that comes too early finds nothing to do.
        let wait = wait + Duration::from_micros(999);
        let source = glib::timeout_source_new(wait, None, Priority::DEFAULT, move || {
            this.turn();
            ControlFlow::Break
        });
        source.attach(Some(&self.context));
        source
    }
}
