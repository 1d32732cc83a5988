//! calloop: a reactor with callbacks and timers.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::calloop::ping::{Ping, PingSource, make_ping};
use ::calloop::timer::{TimeoutAction, Timer};
use ::calloop::{EventSource, Poll, PostAction, Readiness, Token, TokenFactory};
use punctual_core::event::{Event, EventKind};
use punctual_core::executor::AsyncExecutor;
use punctual_core::runtime::HostedRuntime;
use punctual_core::scheduler::{Error, HostedScheduler, SchedulerBuilder};
use punctual_core::store::StoreError;

/// How many runs the default executor works on at once.
const MAX_WORKERS: usize = 100;
/// How long to wait where nothing is to be waited for: the source must have some deadline.
const IDLE: Duration = Duration::from_hours(24);

/// A scheduler in a calloop reactor: `APScheduler`'s `TwistedScheduler`. Everything it does, async tasks included, happens inside
/// the host's dispatch; plain functions run on threads beside it.
///
/// ```
/// use std::time::Duration;
///
/// use calloop::EventLoop;
/// use punctual_core::event::{Event, EventKind};
/// use punctual_core::scheduler::{NewJob, Scheduler, StartMode};
/// use punctual_loops::CalloopScheduler;
///
/// let mut host: EventLoop<u32> = EventLoop::try_new()?;
/// let builder = Scheduler::builder().task("greet", async || println!("hello"))?;
/// let (scheduler, source) = CalloopScheduler::build(builder)?;
/// // Events of the scheduler are events of the host, with its data at hand.
/// host.handle().insert_source(source.events(&[EventKind::JobExecuted]), |event: Event, (), executed: &mut u32| {
///     println!("{:?}", event.job_id);
///     *executed += 1;
/// })?;
/// scheduler.start(StartMode::Running)?;
/// scheduler.add(NewJob::new("greet")).wait()?;
/// let mut executed = 0;
/// while executed == 0 {
///     host.dispatch(Some(Duration::from_secs(10)), &mut executed)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CalloopScheduler(HostedScheduler);

impl CalloopScheduler {
    /// Builds it, and the event source to insert into the host's loop; nothing happens before it is dispatched.
    ///
    /// # Errors
    ///
    /// As [`SchedulerBuilder::build`], and where the process has no file descriptor left.
    pub fn build(builder: SchedulerBuilder) -> Result<(Self, CalloopSource), Error> {
        let (ping, pinged) = make_ping().map_err(|error| {
            Error::Store(StoreError::failed(format!(
                "no wake-up for the event loop: {error}"
            )))
        })?;
        let wake = ping.clone();
        let runtime = HostedRuntime::new(move || wake.ping());
        let builder = builder.default_executor(|| Arc::new(AsyncExecutor::new(MAX_WORKERS)));
        let scheduler = HostedScheduler::build(builder, runtime.clone())?;
        let source = CalloopSource {
            runtime,
            scheduler: (*scheduler).clone(),
            ping,
            pinged,
            timer: Timer::from_duration(IDLE),
            events: Arc::default(),
        };
        Ok((Self(scheduler), source))
    }
}

impl Deref for CalloopScheduler {
    type Target = HostedScheduler;
    fn deref(&self) -> &HostedScheduler {
        &self.0
    }
}

/// Drives a [`CalloopScheduler`] inside the loop that it is inserted into. Its callback gets the events it was asked for by
/// [`events`](Self::events); without that, none.
pub struct CalloopSource {
    runtime: HostedRuntime,
    scheduler: punctual_core::scheduler::Scheduler,
    ping: Ping,
    pinged: PingSource,
    timer: Timer,
    events: Arc<Mutex<VecDeque<Event>>>,
}

impl fmt::Debug for CalloopSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CalloopSource").finish_non_exhaustive()
    }
}

impl CalloopSource {
    /// Gives its callback the events of these kinds, or all where there are none.
    pub fn events(self, kinds: &[EventKind]) -> Self {
        let (events, ping) = (Arc::clone(&self.events), self.ping.clone());
        self.scheduler.add_listener(kinds, move |event| {
            let mut queue = events.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back(event.clone());
            ping.ping();
        });
        self
    }

    fn next_event(&self) -> Option<Event> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

impl EventSource for CalloopSource {
    type Event = Event;
    type Metadata = ();
    type Ret = ();
    type Error = ::calloop::Error;

    fn process_events<F>(
        &mut self,
        readiness: Readiness,
        token: Token,
        mut callback: F,
    ) -> Result<PostAction, Self::Error>
    where
        F: FnMut(Event, &mut ()),
    {
        // One of the two is not meant by the token, and does nothing.
        self.pinged
            .process_events(readiness, token, |(), ()| {})
            .map_err(|error| ::calloop::Error::OtherError(error.into()))?;
        self.timer
            .process_events(readiness, token, |_, ()| TimeoutAction::Drop)?;
        let wait = self.runtime.turn();
        while let Some(event) = self.next_event() {
            callback(event, &mut ());
        }
        if wait.is_some_and(|wait| wait.is_zero()) {
            // After whatever else the host has to do.
            self.ping.ping();
            return Ok(PostAction::Continue);
        }
        self.timer.set_duration(wait.unwrap_or(IDLE));
        Ok(PostAction::Reregister)
    }

    fn register(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> ::calloop::Result<()> {
        self.pinged.register(poll, factory)?;
        self.timer.register(poll, factory)
    }

    fn reregister(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> ::calloop::Result<()> {
        self.pinged.reregister(poll, factory)?;
        self.timer.reregister(poll, factory)
    }

    fn unregister(&mut self, poll: &mut Poll) -> ::calloop::Result<()> {
        self.pinged.unregister(poll)?;
        self.timer.unregister(poll)
    }
}
