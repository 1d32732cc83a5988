//! An executor of your own: one that starts runs at a rate that somebody else prescribes, such as an API that answers 429
//! beyond two calls a second. Jobs choose it by its alias, so that all of them together keep to the rate.
//!
//! Run with: `cargo run -p custom-executor`

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use punctual::clock::Clock;
use punctual::executor::{Executor, ExecutorEnv, Prepared, Work};
use punctual::runtime::timeout;

/// Starts runs with an interval between them, in the order in which they come. Async tasks run in the scheduler's loop, plain
/// functions on a thread each.
///
/// What waits for its turn is claimed already, and its timeout counts: a small `max_workers` leaves it to other nodes. The rate
/// is that of this process; several nodes have it several times.
#[derive(Debug)]
pub struct PacedExecutor {
    max_workers: usize,
    interval: Duration,
    clock: Arc<dyn Clock>,
    /// When the next run may start.
    next: Mutex<Duration>,
    env: OnceLock<ExecutorEnv>,
}

impl PacedExecutor {
    /// At most `per_second` starts a second, by `clock`, and at most `max_workers` runs at once. Zero of either counts as one.
    pub fn new(per_second: u32, max_workers: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            max_workers: max_workers.max(1),
            interval: Duration::from_secs(1) / per_second.max(1),
            clock,
            next: Mutex::default(),
            env: OnceLock::new(),
        }
    }

    /// Takes the next turn, and says how long it is until then.
    fn turn(&self) -> Duration {
        let now = self.clock.monotonic();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = now.max(*next);
        *next = turn + self.interval;
        turn.saturating_sub(now)
    }
}

impl Executor for PacedExecutor {
    fn capacity(&self) -> usize {
        self.max_workers
    }

    fn start(&self, env: ExecutorEnv) {
        // Called again where a scheduler is started again; its environment is the same.
        self.env.get_or_init(|| env);
    }

    fn submit(&self, work: Work) {
        let env = self.env.get().expect("`start` comes first").clone();
        let wait = self.turn();
        let runtime = Arc::clone(&env.runtime);
        runtime.spawn(Box::pin(async move {
            let cancel = work.context.cancel_token().clone();
            // A run that is asked to stop need not wait: what was prepared ends without calling the task.
            let _ = timeout(&*env.runtime, wait, cancel.cancelled()).await;
            match work.prepare(&env) {
                Prepared::Async(future) => future.await,
                Prepared::Blocking(function) => {
                    // Where there is no thread the function is dropped, and the run has failed.
                    let _ = std::thread::Builder::new().spawn(function);
                }
            }
        }));
    }

    fn shutdown(&self) {
        // Nothing is held: each thread ends with its run.
    }
}
