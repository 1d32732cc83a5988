//! Keepers: the program's threads that each feed one worker process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};

use super::child::{Ended, Process};
use super::ends::Ends;
use super::wire::{FRAME_BYTES_MAX, Frame, Order, Report, Told, TooLong, lease_end, message};
use super::{Pool, Work};
use crate::clock::{Clock, SystemClock};
use crate::task::{RunContext, TaskEnd};

/// A worker process, and how much it has done. What is dropped is killed.
struct Worker {
    process: Process,
    runs: u32,
    // Dropped last: it is on the list for as long as it may live.
    listed: Listed,
}

/// Keeps a process on the pool's list.
struct Listed {
    pool: Arc<Pool>,
    id: u32,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.pool.lock().workers.remove(&self.id);
    }
}

impl Worker {
    fn start(pool: &Arc<Pool>) -> std::io::Result<Self> {
        let process = Process::start(&pool.launch)?;
        let id = process.id();
        let pool = Arc::clone(pool);
        pool.lock().workers.insert(id);
        Ok(Self {
            process,
            runs: 0,
            listed: Listed { pool, id },
        })
    }

    async fn retire(self) {
        let Self {
            process, listed, ..
        } = self;
        process.retire().await;
        drop(listed);
    }
}

impl Pool {
    /// Works on runs until there are none and the pool is closed, or the worker is gone.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut worker = None;
        while let Some(Work { context, done }) = self.next(&mut worker).await {
            let run = AssertUnwindSafe(run(&self, &mut worker, &context));
            let end = run.catch_unwind().await.unwrap_or_else(|_| {
                // Our fault; a worker in an unknown state is of no use.
                worker = None;
                None
            });
            let is_used_up =
                |worker: &mut Worker| self.max_runs.is_some_and(|max| worker.runs >= max);
            let used_up = worker.take_if(is_used_up);
            if used_up.is_none() {
                // First: the end of this run may bring the next one, which needs no other worker.
                self.lock().idle += 1;
            }
            // Without an end it is dropped, and not before the worker is gone: it holds the run's place in the executor.
            let tell = || end.map(done);
            let _ = catch_unwind(AssertUnwindSafe(tell));
            if let Some(worker) = used_up {
                worker.retire().await;
                self.lock().idle += 1;
            }
        }
    }

    /// The next run; `None` where this keeper is not needed any more.
    async fn next(&self, worker: &mut Option<Worker>) -> Option<Work> {
        loop {
            let changed = self.changed.listen();
            let is_closed = {
                let mut state = self.lock();
                if let Some(work) = state.queue.pop_front() {
                    state.idle -= 1;
                    return Some(work);
                }
                if worker.is_none() {
                    // Under the same lock: what is submitted from here on gets another keeper.
                    state.idle -= 1;
                    state.keepers -= 1;
                    return None;
                }
                state.closed
            };
            if is_closed {
                if let Some(worker) = worker.take() {
                    worker.retire().await;
                }
                continue;
            }
            let has_ended = match worker {
                // It has nothing to say but that it is gone.
                Some(worker) => {
                    let said = pin!(worker.process.next());
                    matches!(select(said, changed).await, Either::Left(_))
                }
                None => true,
            };
            if has_ended && let Some(mut worker) = worker.take() {
                let (process, how) = (worker.listed.id, worker.process.end().await.text());
                tracing::warn!(
                    process,
                    "an idle worker process {how}; another takes its place"
                );
            }
        }
    }
}

/// How a run ended; `None` where it was killed, and its worker with it.
async fn run(
    pool: &Arc<Pool>,
    worker: &mut Option<Worker>,
    context: &RunContext,
) -> Option<TaskEnd> {
    let ended = {
        let working = pin!(work_on(pool, worker, context));
        let killed = pin!(context.cancel_token().killed());
        match select(working, killed).await {
            Either::Left((end, _)) => Some(end),
            Either::Right(_) => None,
        }
    };
    if ended.is_none() {
        *worker = None;
    }
    ended
}

/// Has a worker call the task. Where one dies before it has, another one gets the run, once.
async fn work_on(pool: &Arc<Pool>, slot: &mut Option<Worker>, context: &RunContext) -> TaskEnd {
    let mut is_last = false;
    loop {
        if slot.is_none()
            && let Err(end) = start(pool, slot, context).await
        {
            *slot = None;
            return end;
        }
        let worker = slot.as_mut().expect("it was there, or was started");
        let told = ToldLease::of(context);
        let order = Told::Run(Box::new(Order::new(context, told.end)));
        let order = match message(&order) {
            Ok(order) => order,
            Err(TooLong(bytes)) => return TaskEnd::Failed(too_long(bytes)),
        };
        if let Err(end) = context.begin() {
            return end;
        }
        let gone = match converse(&mut worker.process, context, &order, told).await {
            Ok(end) => {
                worker.runs += 1;
                return end;
            }
            Err(gone) => gone,
        };
        let (process, ended) = (worker.listed.id, worker.process.end().await);
        *slot = None;
        if gone.has_started || is_last {
            return gone.end(&ended);
        }
        let how = ended.text();
        tracing::warn!(
            process,
            "a worker process {how} before it called a task; another one gets the run"
        );
        is_last = true;
    }
}

fn too_long(bytes: usize) -> String {
    format!(
        "the job has {bytes} bytes, and a worker process takes {FRAME_BYTES_MAX}; keep the data elsewhere and give its place as argument"
    )
}

/// Starts a worker and waits until it has its tasks, or the run is asked to stop.
async fn start(
    pool: &Arc<Pool>,
    slot: &mut Option<Worker>,
    context: &RunContext,
) -> Result<(), TaskEnd> {
    let cancel = context.cancel_token();
    if cancel.is_cancelled() {
        return context.begin();
    }
    let worker = Worker::start(pool)
        .map_err(|error| TaskEnd::Failed(format!("no worker process could be started: {error}")))?;
    let process = &mut slot.insert(worker).process;
    match select(pin!(process.ready()), pin!(cancel.cancelled())).await {
        Either::Left((ready, _)) => ready.map_err(TaskEnd::Failed),
        Either::Right(_) => context.begin(),
    }
}

/// What a worker knows of the lease of its run.
#[derive(Clone, Copy)]
struct ToldLease {
    seen: Option<Duration>,
    end: Option<u64>,
    ends: Option<Ends>,
}

impl ToldLease {
    fn of(context: &RunContext) -> Self {
        // In this order: a renewal between the two is told once too often, and not missed.
        let seen = context.lease().ends_at();
        let end = lease_end(context.lease());
        Self {
            seen,
            end,
            ends: end.map(Ends::of),
        }
    }
}

/// A worker is gone that should have said how its run ended.
struct Gone {
    has_started: bool,
    ends: Option<Ends>,
}

impl Gone {
    fn end(&self, ended: &Ended) -> TaskEnd {
        let now = SystemClock.monotonic();
        if ended.is_by_kill() && self.ends.is_some_and(|ends| ends.kill_at <= now) {
            let text =
                "the worker process ended itself, because the lease of the run was about to end";
            return TaskEnd::LeaseEnded(text.to_owned());
        }
        let (how, when) = (
            ended.text(),
            if self.has_started {
                ""
            } else {
                " before it called the task"
            },
        );
        TaskEnd::Failed(format!("the worker process {how}{when}"))
    }
}

enum Happened {
    Said(std::io::Result<Option<Frame<Report>>>),
    Cancelled,
    Renewed,
}

async fn next(
    process: &mut Process,
    context: &RunContext,
    asked: bool,
    told: ToldLease,
) -> Happened {
    let said = pin!(process.next().map(Happened::Said));
    let cancelled = pin!(async {
        if asked {
            std::future::pending::<()>().await;
        }
        context.cancel_token().cancelled().await;
        Happened::Cancelled
    });
    let renewed = pin!(
        context
            .lease()
            .changed(told.seen)
            .map(|_| Happened::Renewed)
    );
    select(said, select(cancelled, renewed))
        .map(|either| match either {
            Either::Left((said, _)) => said,
            Either::Right((either, _)) => either.factor_first().0,
        })
        .await
}

/// Tells a worker to work on a run, and the run what comes of it.
async fn converse(
    process: &mut Process,
    context: &RunContext,
    order: &[u8],
    mut told: ToldLease,
) -> Result<TaskEnd, Gone> {
    let mut has_started = false;
    let mut asked = false;
    // What cannot be told need not be: a worker that is gone is noticed when it is listened to.
    let _ = process.tell(order).await;
    loop {
        let news = match next(process, context, asked, told).await {
            Happened::Said(Ok(Some(Frame::Output(bytes)))) => {
                context.output().write(&bytes);
                continue;
            }
            Happened::Said(Ok(Some(Frame::Message(Report::Started)))) => {
                has_started = true;
                continue;
            }
            Happened::Said(Ok(Some(Frame::Message(Report::Done(end))))) => return Ok(end.into()),
            Happened::Said(_) => {
                let ends = told.ends;
                return Err(Gone { has_started, ends });
            }
            Happened::Cancelled => {
                asked = true;
                Told::Cancel
            }
            Happened::Renewed => {
                told = ToldLease::of(context);
                Told::Lease(told.end)
            }
        };
        let news = message(&news).expect("a number fits");
        let _ = process.tell(&news).await;
    }
}
