//! An event loop inside a host's: a reactor, a toolkit's main loop, a coroutine.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::Duration;

use async_task::Runnable;
use event_listener::Event;
use futures_util::future::{Either, select};

use super::timers::{Sleep, TimeKeeper, Timers};
use super::{Runtime, yield_now};
use crate::clock::{Clock, SystemClock};
use crate::store::BoxFuture;

/// How long one turn may take, as far as that can be told between two tasks: shorter than a frame of a screen.
const TURN_MAX: Duration = Duration::from_millis(4);
/// How many turns a loop that ends may still take.
const LAST_TURNS: usize = 1000;

/// A loop that a host drives: it calls [`turn`](Self::turn) when it is woken, and when the time it was told has passed.
/// Cheap to clone; all clones are one loop.
///
/// ```
/// use std::sync::mpsc::{RecvTimeoutError, channel};
/// use std::time::Duration;
///
/// use punctual_core::runtime::{HostedRuntime, Runtime};
///
/// let (wake, woken) = channel();
/// let runtime = HostedRuntime::new(move || {
///     let _ = wake.send(());
/// });
/// let (done, is_done) = channel();
/// let sleep = runtime.sleep(Duration::from_millis(5));
/// runtime.spawn(Box::pin(async move {
///     sleep.await;
///     done.send(()).expect("somebody waits");
/// }));
/// // The host's loop: it waits for a call of `wake`, but not longer than it was told.
/// let mut wait = runtime.turn();
/// while is_done.try_recv().is_err() {
///     match woken.recv_timeout(wait.unwrap_or(Duration::MAX)) {
///         Ok(()) | Err(RecvTimeoutError::Timeout) => wait = runtime.turn(),
///         Err(RecvTimeoutError::Disconnected) => unreachable!("the runtime holds the sender"),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct HostedRuntime(Arc<Inner>);

struct Inner {
    ready: Mutex<VecDeque<Runnable>>,
    timers: Timers,
    wake: Box<dyn Fn() + Send + Sync>,
    /// The host knows that a turn is wanted.
    woken: AtomicBool,
    /// The thread that is inside a turn.
    turning: Mutex<Option<ThreadId>>,
    /// A turn was asked for inside a turn.
    missed: AtomicBool,
    /// Tells a thread that turns the loop itself, instead of the host.
    stirred: Event,
}

impl fmt::Debug for HostedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedRuntime").finish_non_exhaustive()
    }
}

impl HostedRuntime {
    /// A loop whose host is told by `wake` that it should call [`turn`](Self::turn) soon. `wake` is called from any thread, at
    /// most once between two turns; it should be cheap, and not call `turn` itself.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            ready: Mutex::default(),
            timers: Timers::default(),
            wake: Box::new(wake),
            woken: AtomicBool::new(false),
            turning: Mutex::default(),
            missed: AtomicBool::new(false),
            stirred: Event::new(),
        }))
    }

    /// Runs what is ready, for a few milliseconds at most where no single task takes longer. Returns how long the host may wait
    /// before the next turn: nothing where there is more to do now, `None` where only a wake ends the wait.
    ///
    /// A turn inside a turn does nothing, and is followed by another when that has ended.
    pub fn turn(&self) -> Option<Duration> {
        let this = &self.0;
        {
            let mut turning = lock(&this.turning);
            if turning.is_some() {
                // Not "more now": a host whose task runs its loop again would spin.
                this.missed.store(true, Ordering::SeqCst);
                return None;
            }
            *turning = Some(std::thread::current().id());
        }
        // From here on a wake means another turn.
        this.woken.store(false, Ordering::SeqCst);
        let began = SystemClock.monotonic();
        while let Some((_, waker)) = this.timers.take_due(began) {
            waker.wake();
        }
        // What gets ready meanwhile waits for the next turn: the host has other things to do.
        let mut left = lock(&this.ready).len();
        while left > 0 && SystemClock.monotonic().saturating_sub(began) < TURN_MAX {
            let Some(task) = lock(&this.ready).pop_front() else {
                break;
            };
            left -= 1;
            if catch_unwind(AssertUnwindSafe(|| task.run())).is_err() {
                tracing::error!("a task of the event loop panicked");
            }
        }
        *lock(&this.turning) = None;
        let missed = this.missed.swap(false, Ordering::SeqCst);
        if missed || !lock(&this.ready).is_empty() {
            return Some(Duration::ZERO);
        }
        let next = this.timers.next()?;
        Some(next.saturating_sub(SystemClock.monotonic()))
    }

    /// Turns the loop on this thread until `future` resolves, for a host that is not turning it now: before its own loop
    /// begins, or after that has ended. Inside a turn the loop stands still meanwhile.
    pub fn run_until<T>(&self, future: impl Future<Output = T>) -> T {
        if self.0.is_turning_here() {
            return async_io::block_on(future);
        }
        let turns = async {
            loop {
                let stirred = self.0.stirred.listen();
                match self.turn() {
                    Some(wait) if wait.is_zero() => yield_now().await,
                    Some(wait) => {
                        select(stirred, async_io::Timer::after(wait)).await;
                    }
                    None => stirred.await,
                }
            }
        };
        async_io::block_on(async {
            match select(pin!(future), pin!(turns)).await {
                Either::Left((value, _)) => value,
                Either::Right((never, _)) => never,
            }
        })
    }

    /// Lets go of whatever still waits in a loop that nobody will turn again: such tasks hold the scheduler that holds the loop.
    pub(crate) fn abandon(&self) {
        // What ends by itself does; each turn may make the next one ready.
        for _ in 0..LAST_TURNS {
            if self.turn() != Some(Duration::ZERO) {
                break;
            }
        }
        while let Some((_, waker)) = self.0.timers.take_due(Duration::MAX) {
            drop(waker);
        }
        // The end of a waker, or of a task, may bring another task, to be ended the same way.
        while let Some(task) = { lock(&self.0.ready).pop_front() } {
            drop(task);
        }
    }
}

impl Inner {
    /// The end of a turn looks for what this thread did in it.
    fn is_turning_here(&self) -> bool {
        *lock(&self.turning) == Some(std::thread::current().id())
    }

    fn wake(&self) {
        if !self.is_turning_here() && !self.woken.swap(true, Ordering::SeqCst) {
            self.stirred.notify(usize::MAX);
            (self.wake)();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TimeKeeper for HostedRuntime {
    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    fn timers(&self) -> &Timers {
        &self.0.timers
    }

    fn earlier(&self) {
        self.0.wake();
    }
}

impl Runtime for HostedRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        // Weak: a task that waits for ever must not keep alive the loop that keeps it.
        let inner: Weak<Inner> = Arc::downgrade(&self.0);
        let schedule = move |task: Runnable| {
            if let Some(inner) = inner.upgrade() {
                lock(&inner.ready).push_back(task);
                inner.wake();
            }
        };
        let (runnable, task) = async_task::spawn(future, schedule);
        task.detach();
        runnable.schedule();
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Sleep::new(self.clone(), duration))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn counted() -> (HostedRuntime, Arc<AtomicUsize>) {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&wakes);
        let runtime = HostedRuntime::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        (runtime, wakes)
    }

    #[test]
    fn many_tasks_are_one_wake() {
        let (runtime, wakes) = counted();
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..10_000 {
            let ran = Arc::clone(&ran);
            runtime.spawn(Box::pin(async move {
                ran.fetch_add(1, Ordering::SeqCst);
            }));
        }
        assert_eq!(wakes.load(Ordering::SeqCst), 1);
        while runtime.turn().is_some() {}
        assert_eq!(ran.load(Ordering::SeqCst), 10_000);
        assert_eq!(wakes.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panic_hurts_no_other_task() {
        let (runtime, _) = counted();
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        runtime.spawn(Box::pin(async { panic!("of a test") }));
        runtime.spawn(Box::pin(async move {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        while runtime.turn().is_some() {}
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_wait_is_that_of_the_first_timer() {
        let (runtime, wakes) = counted();
        assert_eq!(runtime.turn(), None);
        let mut later = runtime.sleep(Duration::from_hours(2));
        let mut sooner = runtime.sleep(Duration::from_hours(1));
        let waker = std::task::Waker::noop();
        let mut cx = std::task::Context::from_waker(waker);
        assert!(later.as_mut().poll(&mut cx).is_pending());
        assert!(sooner.as_mut().poll(&mut cx).is_pending());
        assert_eq!(wakes.load(Ordering::SeqCst), 1, "the host must look again");
        let wait = runtime.turn().unwrap();
        assert!(wait <= Duration::from_hours(1) && wait > Duration::from_mins(59));
        drop(sooner);
        assert!(runtime.turn().unwrap() > Duration::from_hours(1));
    }

    #[test]
    fn a_turn_inside_a_turn_is_made_up_for() {
        let (runtime, _) = counted();
        let inner = runtime.clone();
        runtime.spawn(Box::pin(async move {
            assert_eq!(inner.turn(), None);
        }));
        assert_eq!(runtime.turn(), Some(Duration::ZERO));
        assert_eq!(runtime.turn(), None);
    }

    #[test]
    fn an_abandoned_loop_holds_nothing() {
        let (runtime, _) = counted();
        let held = Arc::new(());
        for sleep in [
            runtime.sleep(Duration::from_hours(1)),
            runtime.sleep(Duration::ZERO),
        ] {
            let held = Arc::clone(&held);
            runtime.spawn(Box::pin(async move {
                sleep.await;
                drop(held);
            }));
        }
        runtime.turn();
        runtime.abandon();
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_thread_may_turn_it_itself() {
        let (runtime, _) = counted();
        let inner = runtime.clone();
        let answer = runtime.run_until(async move {
            inner.sleep(Duration::from_millis(2)).await;
            7
        });
        assert_eq!(answer, 7);
    }
}
