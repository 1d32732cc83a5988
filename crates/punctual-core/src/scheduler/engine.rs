//! The loop of one job store: report what ended, claim what is due, sleep until the next.
//!
//! Each store has a loop of its own, so that one that stalls stops nobody else's clock.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{abortable, select};
use jiff::Timestamp;

use super::flight::{Entrusted, stop, watch_timeout};
use super::shared::{Attached, Caller, InFlight, Report, SchedulerState, Shared, Stop, lock};
use super::{declared, heartbeat, zone_data};
use crate::cancel::CancelToken;
use crate::clock::until;
use crate::event::EventKind;
use crate::executor::{Executor, Work};
use crate::job::JobDefinition;
use crate::lease::Lease;
use crate::plan::Finish;
use crate::run::{Ending, Reason, Run, RunState};
use crate::runtime::yield_now;
use crate::store::{ClaimFilter, ClaimRequest, ClaimedJob, FinishOutcome, StoreError, StoreResult};
use crate::task::{RunContext, Start};

/// How many jobs one claim decides about.
const CLAIM_LIMIT: usize = 1024;
/// The shortest sleep after a claim that left something that was due.
const FRUITLESS_WAIT: Duration = Duration::from_millis(50);
/// How long to leave alone what a store refused.
const REFUSED_WAIT: Duration = Duration::from_mins(1);
/// A claim of so many jobs is one of many in a row.
const BUSY_JOBS: usize = 64;
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// A store that is back is asked again within this time.
const RETRY_MAX: Duration = Duration::from_secs(3);

pub(super) struct StoreLoop {
    pub(super) shared: Arc<Shared>,
    pub(super) attached: Arc<Attached>,
    retry: Duration,
    /// A claim did not answer, so this node may own runs it does not know of.
    uncertain: bool,
    /// When to look for such runs once more: that claim may have come through after the first look.
    look_again_at: Option<Duration>,
    /// Ends of runs that the store would not take, and when to try again.
    refused: Vec<Report>,
    refused_until: Duration,
    /// The last claim brought many jobs, so the next look is worth more when it is not for one run at a time.
    busy: bool,
}

/// What to do after a step.
enum Next {
    /// There is more to do.
    Again,
    /// Nothing before this long, unless something happens.
    Sleep(Duration),
}

impl StoreLoop {
    /// `uncertain`: the loop before this one may have claimed runs that nobody works on.
    pub(super) fn new(shared: Arc<Shared>, attached: Arc<Attached>, uncertain: bool) -> Self {
        Self {
            shared,
            attached,
            retry: RETRY_FIRST,
            uncertain,
            look_again_at: None,
            refused: Vec::new(),
            refused_until: Duration::ZERO,
            busy: false,
        }
    }

    /// Works until the store is detached or the scheduler drained, and every run has ended.
    pub(super) async fn run(mut self) {
        if self.open().await {
            // The heartbeat lives as long as this loop does, also where it ends by a panic.
            let life = Arc::new(());
            let (shared, attached) = (Arc::clone(&self.shared), Arc::clone(&self.attached));
            let beats = heartbeat::supervise(shared, attached, Arc::downgrade(&life));
            self.shared.runtime.spawn(Box::pin(beats));
            self.work().await;
            drop(life);
            self.close().await;
        }
    }

    /// Registers the node, however long the store takes to answer; false where the scheduler stops first.
    async fn open(&mut self) -> bool {
        loop {
            let woken = self.attached.wake.listen();
            if self.attached.stopping.load(Ordering::SeqCst) {
                return false;
            }
            let opened = async {
                self.shared
                    .deadline(self.attached.store.register(self.shared.node))
                    .await?;
                zone_data::refresh(&self.shared, &self.attached).await?;
                declared::compare(&self.shared, &self.attached).await?;
                heartbeat::reclaim(
                    &self.shared,
                    &self.attached,
                    crate::store::ReclaimScope::ProvenDead,
                )
                .await
            };
            match opened.await {
                Ok(()) => {
                    self.succeeded();
                    lock(&self.attached.health).ready = true;
                    return true;
                }
                Err(error) => {
                    let wait = self.failed(&error);
                    select(woken, self.shared.runtime.sleep(wait)).await;
                }
            }
        }
    }

    async fn work(&mut self) {
        loop {
            // Listened to before looking, so that nothing that happens meanwhile is slept through.
            let woken = self.attached.wake.listen();
            let changed = self.attached.store.changed();
            let next = match self.step().await {
                Ok(None) => return,
                Ok(Some(next)) => {
                    self.succeeded();
                    next
                }
                Err(error) => Next::Sleep(self.failed(&error)),
            };
            match next {
                Next::Again => yield_now().await,
                Next::Sleep(duration) => {
                    let sleep = self.shared.runtime.sleep(duration);
                    select(select(pin!(woken), changed), sleep).await;
                    if std::mem::take(&mut self.busy) {
                        yield_now().await;
                    }
                }
            }
        }
    }

    /// One round; `None` when all is done.
    async fn step(&mut self) -> StoreResult<Option<Next>> {
        self.report().await?;
        if self.attached.stopping.load(Ordering::SeqCst) {
            let idle =
                lock(&self.attached.running).is_empty() && lock(&self.attached.reports).is_empty();
            return Ok((!idle).then_some(Next::Sleep(self.shared.settings.sleep_max)));
        }
        if self.shared.state() != SchedulerState::Running {
            return Ok(Some(Next::Sleep(self.shared.settings.sleep_max)));
        }
        let now = self.shared.clock.monotonic();
        if self.uncertain {
            self.give_back_unknown().await?;
            self.look_again_at = Some(now + 2 * self.shared.settings.store_deadline);
        } else if self.look_again_at.is_some_and(|at| at <= now) {
            self.give_back_unknown().await?;
            self.look_again_at = None;
        }
        self.claim().await.map(Some)
    }

    async fn claim(&mut self) -> StoreResult<Next> {
        let filter = ClaimFilter {
            tasks: self.shared.tasks(),
            slots: self.shared.free_slots(),
        };
        if filter.is_empty() {
            return Ok(Next::Sleep(self.shared.settings.sleep_max)); // a run that ends wakes this loop
        }
        let lease = self.shared.settings.lease;
        let asked_at = self.shared.clock.monotonic();
        let request = ClaimRequest {
            node: self.shared.node,
            lease,
            filter: filter.clone(),
            limit: CLAIM_LIMIT,
        };
        self.uncertain = true;
        let claimed = self
            .shared
            .deadline(self.attached.store.claim(request))
            .await?;
        self.uncertain = false;
        *lock(&self.attached.offset) = claimed.now.duration_since(self.shared.clock.now());
        let claimed_at = claimed.now;
        self.busy = claimed.jobs.len() >= BUSY_JOBS;
        let taken = claimed
            .jobs
            .into_iter()
            .flat_map(|job| self.take(job, asked_at + lease));
        hand_over(taken);
        if claimed.more {
            return Ok(Next::Again);
        }
        let filter = ClaimFilter {
            slots: self.shared.free_slots(),
            ..filter
        };
        let due = if filter.is_empty() {
            None
        } else {
            self.shared
                .deadline(self.attached.store.next_due(&filter))
                .await?
        };
        let sleep_max = self.shared.settings.sleep_max;
        let mut wait = due
            .map_or(sleep_max, |due| until(self.now(), due))
            .min(sleep_max);
        if !self.attached.store.abilities().notification {
            wait = wait.min(self.shared.settings.poll);
        }
        if wait.is_zero() {
            // What was due when the claim was made and is still there was not for this node to take.
            let passed_over = due.is_some_and(|due| due <= claimed_at);
            return Ok(if passed_over {
                Next::Sleep(FRUITLESS_WAIT)
            } else {
                Next::Again
            });
        }
        Ok(Next::Sleep(wait))
    }

    /// The store's time, as far as this node knows it.
    fn now(&self) -> Timestamp {
        let now = self.shared.clock.now();
        now.checked_add(*lock(&self.attached.offset)).unwrap_or(now)
    }

    /// Notes what a claim decided about a job, and makes its runs ready.
    fn take(&self, job: ClaimedJob, lease_end: Duration) -> Vec<(Arc<dyn Executor>, Work)> {
        let ClaimedJob {
            definition,
            started,
            skipped,
            cancelled,
            removed,
        } = job;
        for run in skipped {
            let kind = match run.reason {
                Some(Reason::MaxInstances) => EventKind::JobMaxInstances,
                Some(Reason::Misfired) => EventKind::JobMissed,
                _ => continue,
            };
            let (job, reason) = (&run.job_id, run.reason);
            tracing::warn!(%job, scheduled_at = %run.scheduled_at, count = run.count, ?reason, "skipped");
            self.shared
                .emit(kind, |event| event.alias(&self.attached.alias).run(run));
        }
        for id in cancelled {
            stop(&self.shared, &self.attached, id, Stop::Requested);
        }
        let taken = started
            .into_iter()
            .filter_map(|run| self.dispatch(run, Arc::clone(&definition), lease_end))
            .collect();
        if removed {
            self.emit_removed(&definition);
        }
        taken
    }

    fn emit_removed(&self, definition: &JobDefinition) {
        let alias = &self.attached.alias;
        self.shared.emit(EventKind::JobRemoved, |event| {
            event.alias(alias).job(&definition.id)
        });
    }

    /// Makes a claimed run ready for its executor, or gives it back.
    fn dispatch(
        &self,
        run: Run,
        definition: Arc<JobDefinition>,
        lease_end: Duration,
    ) -> Option<(Arc<dyn Executor>, Work)> {
        let Self {
            shared, attached, ..
        } = self;
        let place = shared.place(&definition.executor);
        // The last look at the lease before user code starts.
        let (Some((place, executor)), true) = (place, shared.clock.monotonic() < lease_end) else {
            let back = Finish {
                run: run.id,
                fence: run.fence,
                ending: None,
                output: None,
                error: None,
                next_attempt_at: None,
            };
            lock(&attached.reports).push((back, Arc::new(run)));
            attached.wake.notify(usize::MAX);
            return None;
        };
        let run = Arc::new(run);
        let cancel = CancelToken::new();
        let lease = if attached.store.abilities().many_nodes {
            Lease::until(lease_end, Arc::clone(&shared.clock))
        } else {
            Lease::unlimited()
        };
        let start = {
            let (shared, alias, run) = (
                Arc::clone(shared),
                Arc::clone(&attached.alias),
                Arc::clone(&run),
            );
            Start::new(move || {
                shared.emit(EventKind::JobStarted, |event| {
                    event.alias(&alias).run((*run).clone())
                });
            })
        };
        let context = RunContext::new(Arc::clone(&run), Arc::clone(&definition), cancel.clone())
            .with_lease(lease.clone())
            .with_start(start.clone())
            .with_runtime(Arc::clone(&shared.runtime));
        let timeout = definition.policy.timeout;
        let (timer, abort) = timeout
            .map(|timeout| abortable(shared.runtime.sleep(timeout)))
            .unzip();
        let flight = InFlight {
            run: Arc::clone(&run),
            definition,
            cancel,
            stop: None,
            lease,
            output: context.output().clone(),
            timer: abort,
        };
        lock(&attached.running).insert(run.id, flight);
        shared.emit(EventKind::JobSubmitted, |event| {
            event.alias(&attached.alias).run((*run).clone())
        });
        if let Some(timer) = timer {
            watch_timeout(shared, attached, run.id, timer);
        }
        let entrusted = Entrusted {
            shared: Arc::clone(shared),
            attached: Arc::clone(attached),
            id: run.id,
            start,
            is_over: false,
            _place: place,
        };
        let work = Work {
            context,
            done: Box::new(move |end| entrusted.done(end)),
        };
        Some((executor, work))
    }

    /// Writes the ends of runs to the ledger.
    async fn report(&mut self) -> StoreResult<()> {
        loop {
            self.take_up_refused();
            let attached = Arc::clone(&self.attached);
            let mut unreported = Unreported::of(&attached);
            let reports = &unreported.reports;
            if reports.is_empty() {
                return Ok(());
            }
            let finishes = reports.iter().map(|(finish, _)| finish.clone()).collect();
            let outcomes = match self
                .shared
                .deadline(self.attached.store.finish(finishes))
                .await
            {
                Ok(outcomes) => outcomes,
                Err(error) if error.is_retryable() => return Err(error),
                // One of them is at fault; the others must not wait for it.
                Err(_) => {
                    self.report_singly(&mut unreported.reports).await?;
                    continue;
                }
            };
            let reports = std::mem::take(&mut unreported.reports);
            for ((finish, run), outcome) in reports.into_iter().zip(outcomes) {
                self.reported(finish, &run, &outcome);
            }
        }
    }

    /// Writes ends one by one, and sets aside those that the store refuses for good.
    async fn report_singly(&mut self, reports: &mut Vec<Report>) -> StoreResult<()> {
        while let Some((finish, _)) = reports.first() {
            let finishing = self.attached.store.finish(vec![finish.clone()]);
            let outcome = self.shared.deadline(finishing).await;
            if let Err(error) = &outcome
                && error.is_retryable()
            {
                return Err(error.clone());
            }
            let (finish, run) = reports.remove(0);
            match outcome {
                Ok(outcomes) => {
                    for outcome in outcomes {
                        self.reported(finish.clone(), &run, &outcome);
                    }
                }
                Err(error) => {
                    let (job, id) = (&run.job_id, run.id);
                    tracing::error!(%job, run = %id, %error, "the end of a run cannot be recorded; trying again in a minute");
                    self.refused_until = self.shared.clock.monotonic() + REFUSED_WAIT;
                    self.refused.push((finish, run));
                }
            }
        }
        Ok(())
    }

    /// Tries again, after a while, what the store refused.
    fn take_up_refused(&mut self) {
        if !self.refused.is_empty() && self.shared.clock.monotonic() >= self.refused_until {
            lock(&self.attached.reports).append(&mut self.refused);
        }
    }

    fn reported(&self, finish: Finish, run: &Arc<Run>, outcome: &FinishOutcome) {
        match outcome {
            FinishOutcome::Accepted { job_removed } => {
                let Some(ending) = finish.ending else { return };
                let kind = match ending {
                    Ending::Succeeded => EventKind::JobExecuted,
                    Ending::Lost => EventKind::JobLost,
                    _ => EventKind::JobError,
                };
                self.shared.emit(kind, |event| {
                    let mut ended = (**run).clone();
                    // The event shows the row as the ledger has it.
                    let _ = ended.end(ending, self.now());
                    ended.output = finish.output;
                    ended.error.clone_from(&finish.error);
                    let event = event.alias(&self.attached.alias).run(ended);
                    match finish.error {
                        Some(error) => event.error(error),
                        None => event,
                    }
                });
                if *job_removed {
                    let (alias, id) = (&self.attached.alias, &run.job_id);
                    self.shared
                        .emit(EventKind::JobRemoved, |event| event.alias(alias).job(id));
                }
            }
            FinishOutcome::Superseded | FinishOutcome::Missing => {
                let (job, id) = (&run.job_id, run.id);
                tracing::warn!(%job, run = %id, fence = %run.fence, "a late result was refused: the run is no longer this node's");
            }
        }
    }

    /// Gives back what this node owns without knowing: a claim that was answered too late.
    async fn give_back_unknown(&mut self) -> StoreResult<()> {
        let owned = self
            .shared
            .deadline(self.attached.store.owned_by(self.shared.node))
            .await?;
        for run in owned {
            let known = lock(&self.attached.running).contains_key(&run.id)
                || lock(&self.attached.reports)
                    .iter()
                    .any(|(finish, _)| finish.run == run.id);
            if !known && run.state() == RunState::Running {
                let (id, fence) = (run.id, run.fence);
                let back = Finish {
                    run: id,
                    fence,
                    ending: None,
                    output: None,
                    error: None,
                    next_attempt_at: None,
                };
                lock(&self.attached.reports).push((back, Arc::new(run)));
            }
        }
        self.uncertain = false;
        self.report().await
    }

    /// Says farewell to the store; a store that is away learns of it from the lease.
    async fn close(&mut self) {
        if self.uncertain {
            // What is not given back now waits for the end of its lease.
            let _ = self.give_back_unknown().await;
        }
        let Shared { node, .. } = *self.shared;
        let key = node.to_string();
        let store = &self.attached.store;
        let nodes = crate::store::NODES_NAMESPACE;
        let farewell = async {
            self.shared
                .deadline(store.put_record(nodes, &key, None, crate::store::Expect::Any))
                .await?;
            self.shared.deadline(store.deregister(node)).await
        };
        if let Err(error) = farewell.await {
            tracing::warn!(job_store = %self.attached.alias, %error, "could not sign off");
        }
    }

    fn succeeded(&mut self) {
        self.retry = RETRY_FIRST;
        recovered(&self.shared, &self.attached, Caller::Loop);
    }

    fn failed(&mut self, error: &StoreError) -> Duration {
        failed(&self.shared, &self.attached, Caller::Loop, error);
        let wait = self.retry;
        self.retry = (self.retry * 2).min(RETRY_MAX);
        wait
    }
}

/// Reports on their way to the store. They come back where it does not take them, also by a panic: finishing twice is
/// harmless, the second is superseded by the first.
struct Unreported<'a> {
    attached: &'a Attached,
    reports: Vec<Report>,
}

impl<'a> Unreported<'a> {
    fn of(attached: &'a Attached) -> Self {
        let reports = std::mem::take(&mut *lock(&attached.reports));
        Self { attached, reports }
    }
}

impl Drop for Unreported<'_> {
    fn drop(&mut self) {
        lock(&self.attached.reports).append(&mut self.reports);
    }
}

/// Notes that a store failed; says so once.
pub(super) fn failed(shared: &Shared, attached: &Attached, caller: Caller, error: &StoreError) {
    if lock(&attached.health).failed(caller, error.to_string()) {
        tracing::error!(job_store = %attached.alias, %error, "trying again");
        shared.emit(EventKind::JobStoreFailed, |event| {
            event.alias(&attached.alias).error(error)
        });
    }
}

/// Notes that a caller got through to a store.
pub(super) fn recovered(shared: &Shared, attached: &Attached, caller: Caller) {
    if lock(&attached.health).recovered(caller) {
        tracing::info!(job_store = %attached.alias, "answers again");
        shared.emit(EventKind::JobStoreRecovered, |event| {
            event.alias(&attached.alias)
        });
    }
}

/// Runs the loop of a store to its end. A panic in it (a fault of the store, or ours) is said, turns the store's health
/// red, and is followed by another loop: jobs do not silently stop.
pub(super) async fn supervise(shared: Arc<Shared>, attached: Arc<Attached>) {
    let mut uncertain = false;
    loop {
        let store_loop = StoreLoop::new(Arc::clone(&shared), Arc::clone(&attached), uncertain);
        let ended = AssertUnwindSafe(store_loop.run()).catch_unwind().await;
        lock(&attached.health).ready = false;
        if ended.is_ok() {
            attached.live.store(false, Ordering::SeqCst);
            attached.ended.notify(usize::MAX);
            // A start that came before `live` was cleared took this loop for a living one.
            if attached.stopping.load(Ordering::SeqCst)
                || attached.live.swap(true, Ordering::SeqCst)
            {
                return;
            }
            continue;
        }
        failed(
            &shared,
            &attached,
            Caller::Loop,
            &StoreError::failed("the loop of the job store panicked"),
        );
        shared.runtime.sleep(RETRY_MAX).await;
        uncertain = true;
    }
}

/// Gives runs to their executors, in order, as many at once as follow each other on one.
fn hand_over(taken: impl Iterator<Item = (Arc<dyn Executor>, Work)>) {
    let mut batch: Option<(Arc<dyn Executor>, Vec<Work>)> = None;
    for (executor, work) in taken {
        match &mut batch {
            Some((same, batch)) if Arc::ptr_eq(same, &executor) => batch.push(work),
            _ => {
                if let Some((executor, batch)) = batch.replace((executor, vec![work])) {
                    executor.submit_many(batch);
                }
            }
        }
    }
    if let Some((executor, batch)) = batch {
        executor.submit_many(batch);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::clock::SimClock;
    use crate::id::RunId;
    use crate::runtime::SimRuntime;
    use crate::scheduler::flight::ended;
    use crate::scheduler::{DEFAULT_ALIAS, NewJob, Scheduler};
    use crate::task::{Registry, TaskEnd};

    /// A look at a node's runs, in the order in which the loop looks, never misses one that is just ending.
    #[test]
    fn a_run_is_in_flight_until_it_is_reported() {
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let sim = SimRuntime::new(clock.clone());
        let mut registry = Registry::new();
        registry.add("note", async || ()).unwrap();
        let builder = Scheduler::builder()
            .registry(registry)
            .clock(Arc::new(clock));
        let scheduler = sim.run(builder.build(Arc::new(sim.clone()))).unwrap();
        let job = NewJob::new("note").id("job");
        let added = scheduler.clone();
        let job = sim
            .run(async move { added.add_job(job).await })
            .unwrap()
            .job;
        let attached = scheduler.0.store(DEFAULT_ALIAS).unwrap();
        let row = crate::run::NewRun {
            id: RunId(0),
            job_id: job.id().clone(),
            job_key: job.state.key,
            kind: crate::run::RunKind::Scheduled,
            scheduled_at: Timestamp::UNIX_EPOCH,
            due_at: Timestamp::UNIX_EPOCH,
            instance: 1,
        };
        let runs: u64 = 20_000;
        let begun = AtomicU64::new(0);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=runs {
                    let id = RunId(number.into());
                    let run = Arc::new(Run::pending(crate::run::NewRun { id, ..row.clone() }));
                    let context = RunContext::new(
                        Arc::clone(&run),
                        Arc::clone(&job.definition),
                        CancelToken::new(),
                    );
                    let flight = InFlight {
                        run,
                        definition: Arc::clone(&job.definition),
                        cancel: CancelToken::new(),
                        stop: None,
                        lease: Lease::unlimited(),
                        output: context.output().clone(),
                        timer: None,
                    };
                    lock(&attached.running).insert(id, flight);
                    begun.store(number, Ordering::SeqCst);
                    ended(&scheduler.0, &attached, id, Some(TaskEnd::Succeeded));
                }
            });
            let mut seen = BTreeSet::new();
            while begun.load(Ordering::SeqCst) < runs {
                let number = begun.load(Ordering::SeqCst);
                let id = RunId(number.into());
                let is_known = number == 0
                    || lock(&attached.running).contains_key(&id)
                    || lock(&attached.reports)
                        .iter()
                        .rev()
                        .any(|(finish, _)| finish.run == id);
                seen.insert(is_known);
            }
            seen
        });
        assert!(!seen.contains(&false), "a run was nowhere");
    }
}
