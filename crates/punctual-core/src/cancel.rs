//! Asking a run to stop, and stopping it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use event_listener::Event;

const CANCELLED: u8 = 1;
const KILLED: u8 = 2;

#[derive(Debug, Default)]
struct Inner {
    level: AtomicU8,
    event: Event,
}

/// Asks one run to stop. Cheap to clone; all clones are one token.
///
/// A token that is cancelled asks politely: the task should wind up. One that is killed is no longer listened to: its
/// future is dropped.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<Inner>);

impl CancelToken {
    /// A token that asks for nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn raise(&self, level: u8) {
        if self.0.level.fetch_max(level, Ordering::SeqCst) < level {
            self.0.event.notify(usize::MAX);
        }
    }

    async fn reached(&self, level: u8) {
        while self.0.level.load(Ordering::SeqCst) < level {
            let raised = self.0.event.listen();
            if self.0.level.load(Ordering::SeqCst) < level {
                raised.await;
            }
        }
    }

    /// Asks the run to wind up.
    pub fn cancel(&self) {
        self.raise(CANCELLED);
    }

    /// Ends the run where it stands, as far as its executor can.
    pub fn kill(&self) {
        self.raise(KILLED);
    }

    /// Whether the run was asked to wind up.
    pub fn is_cancelled(&self) -> bool {
        self.0.level.load(Ordering::SeqCst) >= CANCELLED
    }

    /// Resolves when the run is asked to wind up.
    pub async fn cancelled(&self) {
        self.reached(CANCELLED).await;
    }

    /// Resolves when the run is to end where it stands.
    pub async fn killed(&self) {
        self.reached(KILLED).await;
    }
}
