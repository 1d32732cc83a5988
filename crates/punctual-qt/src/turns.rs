//! What the timer does: a turn of the scheduler's loop, and of the futures that stay on the GUI thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use punctual_core::runtime::HostedRuntime;

use crate::ticker::Alarm;

/// Programs run event loops inside a turn: a task or a listener that shows a dialog does. So a turn may begin while another
/// is on the stack.
pub(crate) struct Turns {
    runtime: HostedRuntime,
    alarm: Arc<Alarm>,
    /// Borrowed while they are polled.
    local: RefCell<FuturesUnordered<LocalBoxFuture<'static, ()>>>,
    spawned: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    depth: Cell<u32>,
    runtime_state: Cell<RuntimeState>,
    is_closed: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RuntimeState {
    Idle,
    Turning,
    /// Turning, and woken in an event loop inside of that.
    Missed,
}

impl Turns {
    pub(crate) fn new(alarm: Alarm) -> Self {
        let alarm = Arc::new(alarm);
        let waker = Waker::from(Arc::clone(&alarm));
        Self {
            runtime: HostedRuntime::new(move || waker.wake_by_ref()),
            alarm,
            local: RefCell::default(),
            spawned: RefCell::default(),
            depth: Cell::new(0),
            runtime_state: Cell::new(RuntimeState::Idle),
            is_closed: Cell::new(false),
        }
    }

    pub(crate) fn runtime(&self) -> &HostedRuntime {
        &self.runtime
    }

    /// Runs what is ready. `wait` is told how long to wait until the next turn, unless only a wake ends the wait.
    pub(crate) fn turn(&self, wait: impl FnOnce(Duration)) {
        self.alarm.clear();
        self.depth.set(self.depth.get() + 1);
        let next = self.turn_runtime();
        if let Some(next) = next.filter(|_| !self.is_closed()) {
            wait(next);
        }
        // Last: an event loop in one of these futures is to find the timer set, and sets it itself.
        self.poll_local(&mut Context::from_waker(&self.waker()));
        self.depth.set(self.depth.get() - 1);
    }

    fn turn_runtime(&self) -> Option<Duration> {
        if self.runtime_state.get() != RuntimeState::Idle {
            self.runtime_state.set(RuntimeState::Missed);
            return None;
        }
        self.runtime_state.set(RuntimeState::Turning);
        let wait = self.runtime.turn();
        match self.runtime_state.replace(RuntimeState::Idle) {
            RuntimeState::Missed => Some(Duration::ZERO),
            RuntimeState::Idle | RuntimeState::Turning => wait,
        }
    }

    /// Goes on with the local futures. One that runs an event loop holds up the others, but not the scheduler.
    pub(crate) fn poll_local(&self, cx: &mut Context<'_>) {
        let Ok(mut local) = self.local.try_borrow_mut() else {
            return;
        };
        local.extend(self.spawned.take());
        while let Poll::Ready(Some(())) = local.poll_next_unpin(cx) {}
        drop(local);
        if self.is_closed() {
            self.drop_local();
        }
    }

    pub(crate) fn spawn(&self, future: LocalBoxFuture<'static, ()>) {
        self.spawned.borrow_mut().push(future);
        self.waker().wake();
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.alarm))
    }

    /// Nothing begins any more. Returns whether a turn is on the stack.
    pub(crate) fn close(&self) -> bool {
        self.is_closed.set(true);
        self.drop_local();
        self.depth.get() > 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    fn drop_local(&self) {
        // Dropped outside of the borrows: what they hold may call back.
        let spawned = self.spawned.take();
        let local = self
            .local
            .try_borrow_mut()
            .map(|mut local| std::mem::take(&mut *local));
        drop((spawned, local));
    }
}
