//! Runs in processes of their own.

mod child;
mod ends;
mod keeper;
mod status;
#[cfg(test)]
mod tests;
mod wire;
mod worker;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;

use self::child::Launch;
pub use self::worker::{IntoRegistry, process_pool_worker};
use super::{Executor, ExecutorEnv, Work};
use crate::task::TaskEnd;

/// Runs tasks in a bounded pool of processes, so that a task that aborts, overflows its stack, leaks or spins cannot take the
/// program along. The program starts itself again for each; [`process_pool_worker`], first thing in `main`, makes it a worker
/// there.
///
/// Workers are started as they are needed and kept for the next run. A run is a task's name and its arguments, as JSON of up
/// to 16 MiB; what the task logs and returns comes back while it works. A worker is in a process group of its own: Ctrl-C in a
/// terminal does not reach it.
///
/// How a run ends:
///
/// - A crash of the worker (a signal, an `exit`) is a failed run that names the signal or the exit code; what was logged until
///   then is kept, and the next run gets a new worker. A panic in a task is a failed run too, and its worker lives on. Where a
///   worker dies before it has called the task, another one is tried, once.
/// - A run that is cancelled or takes longer than its timeout is asked to stop by its
///   [token](crate::cancel::CancelToken). What has not stopped after the scheduler's
///   [`cancel_grace`](crate::scheduler::Settings::cancel_grace) is killed by SIGKILL, also in the middle of a busy loop, and
///   with it all that its worker's tasks have started and that is still in the worker's process group.
/// - When the program ends, however it ends, its workers end at once, in the middle of a run by SIGKILL. When the program is
///   frozen or cut off from its job store, so that the run's [lease](crate::lease::Lease) is not renewed, the worker asks the
///   run to stop and kills itself before the lease ends.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use punctual_core::executor::{ProcessPoolExecutor, process_pool_worker};
/// use punctual_core::scheduler::{BackgroundScheduler, NewJob, Scheduler, StartMode};
/// use punctual_core::task::{Args, RegisterError, Registry};
///
/// fn render(Args(page): Args<String>) -> Result<String, String> {
///     Ok(format!("{page}.png"))
/// }
///
/// fn tasks() -> Result<Registry, RegisterError> {
///     let mut registry = Registry::new();
///     registry.add_blocking("render", render)?;
///     Ok(registry)
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     process_pool_worker(tasks);
///     let pool = ProcessPoolExecutor::new(4).max_runs_per_worker(1000);
///     let builder = Scheduler::builder().registry(tasks()?).executor("processes", Arc::new(pool));
///     let scheduler = BackgroundScheduler::build(builder)?;
///     scheduler.start(StartMode::Running)?;
///     scheduler.add_job(NewJob::new("render").arg("front").executor("processes"))?;
///     # Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct ProcessPoolExecutor {
    queue: usize,
    pool: Arc<Pool>,
}

impl ProcessPoolExecutor {
    /// At most `max_workers` processes; none is started before there is a run for it.
    ///
    /// # Panics
    ///
    /// In a worker. A program that comes here as one did not call [`process_pool_worker`] first, and would go on to start
    /// itself for ever.
    pub fn new(max_workers: usize) -> Self {
        assert!(
            !worker::is_worker(),
            "a worker process must not start workers of its own: call `punctual::executor::process_pool_worker(tasks)` first thing in `main`, and make no process pool in `tasks`"
        );
        let launch = Launch {
            program: None,
            // For people who look at a list of processes.
            args: vec!["punctual-worker".into()],
        };
        Self {
            queue: 0,
            pool: Arc::new(Pool {
                max_workers,
                max_runs: None,
                launch,
                state: Mutex::default(),
                changed: Event::new(),
            }),
        }
    }

    fn settings(&mut self) -> &mut Pool {
        Arc::get_mut(&mut self.pool).expect("nobody has it before the executor is started")
    }

    /// Replaces a worker after so many runs, for tasks that leak; at least 1. Default: never.
    pub fn max_runs_per_worker(mut self, runs: u32) -> Self {
        self.settings().max_runs = Some(runs.max(1));
        self
    }

    /// Takes up to `runs` more than it has workers for, so that a worker that is free need not wait for the job store. What
    /// waits here is claimed: its timeout counts, no other node takes it, and it starts only if its lease still holds.
    /// Default 0: everything waits in the job store.
    pub fn queue(mut self, runs: usize) -> Self {
        self.queue = runs;
        self
    }

    /// Starts another program as worker, of the same release of Punctual and with the same tasks. Default: this program; on
    /// Linux the very file that it was started from, also when another release has taken its place.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.settings().launch.program = Some(program.into());
        self
    }

    /// The arguments that workers are started with, for a program that needs some to come to [`process_pool_worker`]: in a
    /// test, the name of the test that calls it. Default: `punctual-worker`, for people who look at a list of processes.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.settings().launch.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// The ids of the worker processes that there are now, idle ones too.
    pub fn worker_ids(&self) -> Vec<u32> {
        self.pool.lock().workers.iter().copied().collect()
    }
}

impl Executor for ProcessPoolExecutor {
    fn capacity(&self) -> usize {
        self.pool.max_workers.saturating_add(self.queue)
    }

    fn start(&self, _: ExecutorEnv) {
        self.pool.lock().closed = false;
    }

    fn submit(&self, work: Work) {
        self.pool.submit(work);
    }

    /// Idle workers end now, others after their run.
    fn shutdown(&self) {
        self.pool.close();
    }
}

impl Drop for ProcessPoolExecutor {
    fn drop(&mut self) {
        self.pool.close();
    }
}

/// The runs that wait, and who works on them. Each worker process has a keeper: a thread that feeds it and buries it.
struct Pool {
    max_workers: usize,
    max_runs: Option<u32>,
    launch: Launch,
    state: Mutex<State>,
    changed: Event,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Work>,
    keepers: usize,
    /// Keepers that have no run, and look for one soon or when they are told.
    idle: usize,
    closed: bool,
    workers: BTreeSet<u32>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Pool")
            .field("max_workers", &self.max_workers)
            .field("max_runs", &self.max_runs)
            .field("launch", &self.launch)
            .field("workers", &state.workers)
            .field("waiting", &state.queue.len())
            .finish_non_exhaustive()
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, work: Work) {
        let mut state = self.lock();
        state.queue.push_back(work);
        if state.idle >= state.queue.len() || state.keepers == self.max_workers {
            drop(state);
            self.changed.notify_additional(1);
            return;
        }
        state.keepers += 1;
        state.idle += 1;
        drop(state);
        let pool = Arc::clone(self);
        let started = std::thread::Builder::new()
            .name("punctual-process".to_owned())
            .spawn(move || async_io::block_on(pool.keep()));
        if let Err(error) = started {
            let mut state = self.lock();
            state.keepers -= 1;
            state.idle -= 1;
            // Another keeper may have taken it meanwhile, and takes what is left.
            let left = if state.keepers == 0 {
                std::mem::take(&mut state.queue)
            } else {
                VecDeque::new()
            };
            drop(state);
            for work in left {
                (work.done)(TaskEnd::Failed(format!(
                    "no thread for a worker process could be started: {error}"
                )));
            }
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify(usize::MAX);
    }
}
