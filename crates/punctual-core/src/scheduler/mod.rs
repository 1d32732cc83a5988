//! The scheduler: a cheap handle to the stores, executors and loops behind it.

mod add;
mod builder;
mod configure;
mod declared;
mod engine;
mod error;
mod flight;
mod heartbeat;
mod kinds;
mod new_job;
mod prepare;
mod shared;
mod transfer;
mod zone_data;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::select;
use jiff::Timestamp;
use punctual_trigger::Trigger;
use serde_json::json;

pub use self::add::{AddJob, AddLocal, Moment};
pub use self::builder::SchedulerBuilder;
pub use self::configure::{ConfigError, JobStoreFactory};
pub use self::declared::StaleJobs;
pub use self::error::{Error, nearest};
#[cfg(feature = "tokio")]
pub use self::kinds::TokioScheduler;
pub use self::kinds::{BackgroundScheduler, BlockingHandle, BlockingScheduler, HostedScheduler};
pub use self::new_job::{JobUpdate, NewJob};
pub use self::prepare::NodeRecord;
use self::shared::{Attached, Shared, Stop, lock};
pub use self::shared::{SchedulerState, Settings, StoreHealth};
use crate::event::{Event, EventKind, ListenerId};
use crate::executor::{Executor, current_run};
use crate::id::{JobId, NodeId, RunId};
use crate::job::{Job, JobDefinition, StoredJob};
use crate::plan::{AddRefusal, JobChange, PauseRequest};
use crate::run::{Run, RunState};
use crate::store::{
    Added, Enqueued, Expect, JobQuery, JobStore, PAUSED_KEY, Page, RunQuery, SCHEDULER_NAMESPACE,
    Updated,
};
use crate::zones::Zones;

/// The alias of the executor and the job store that are used where nothing else is said.
pub const DEFAULT_ALIAS: &str = "default";

/// Which job is meant: an id, for the first store that has it in the order in which they were added, or an alias with an
/// id, for that store alone. What the verbs take: `&id`, `("reports", &id)`, or a [`Located`] job as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRef<'a> {
    job_store: Option<&'a str>,
    id: &'a JobId,
}

impl<'a> From<&'a JobId> for JobRef<'a> {
    fn from(id: &'a JobId) -> Self {
        Self {
            job_store: None,
            id,
        }
    }
}

impl<'a> From<(&'a str, &'a JobId)> for JobRef<'a> {
    fn from((alias, id): (&'a str, &'a JobId)) -> Self {
        Self {
            job_store: Some(alias),
            id,
        }
    }
}

impl<'a> From<&'a Located> for JobRef<'a> {
    fn from(found: &'a Located) -> Self {
        (&*found.job_store, found.job.id()).into()
    }
}

/// A handle to a scheduler. Cheap to clone, usable from inside a job, from async code, and by
/// [`blocking`](Self::blocking) from any other.
///
/// Jobs can be added before it is started and after it was shut down: they are stored.
#[derive(Clone, Debug)]
pub struct Scheduler(Arc<Shared>);

/// Whether a scheduler begins to run jobs at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartMode {
    /// It does. The default.
    #[default]
    Running,
    /// Not before [`Scheduler::resume`].
    Paused,
}

/// What becomes of running runs when a scheduler is shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shutdown {
    /// They may end, for as long as [`Settings::drain`] says; then they are cancelled. The default.
    #[default]
    Wait,
    /// They may end, for this long; then they are cancelled.
    WaitAtMost(Duration),
    /// They are cancelled at once.
    Cancel,
}

/// An added job.
#[derive(Clone, Debug)]
pub struct AddedJob {
    /// The job as stored.
    pub job: Job,
    /// Whether it took the place of another.
    pub replaced: bool,
    /// What its owner should know, such as that its date has passed.
    pub warnings: Vec<String>,
}

/// A job with the alias of its store.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The alias.
    pub job_store: Arc<str>,
    /// The job.
    pub job: StoredJob,
}

impl Scheduler {
    /// A builder; every setting has a default.
    pub fn builder() -> SchedulerBuilder {
        SchedulerBuilder::new()
    }

    /// This process, among those that share its stores.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// What it is doing.
    pub fn state(&self) -> SchedulerState {
        self.0.state()
    }

    /// Whether it was started and not shut down, paused or not.
    pub fn is_running(&self) -> bool {
        self.state() != SchedulerState::Stopped
    }

    /// The time zone data, and the zone of triggers that name none.
    pub fn zones(&self) -> &Zones {
        &self.0.zones
    }

    /// The tasks it can run.
    pub fn registry(&self) -> &crate::task::Registry {
        &self.0.registry
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The present time by its clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Begins to work. Returns when the loops are spawned; a store that is away is waited for in the background.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyRunning`], [`Error::ShuttingDown`]; [`Error::OtherInstance`] where another process holds the lock of
    /// [`SchedulerBuilder::single_instance`].
    pub fn start(&self, mode: StartMode) -> Result<(), Error> {
        {
            let mut status = lock(&self.0.status);
            match status.state {
                SchedulerState::Stopped => {}
                SchedulerState::Draining => return Err(Error::ShuttingDown),
                SchedulerState::Running | SchedulerState::Paused => {
                    return Err(Error::AlreadyRunning);
                }
            }
            self.0.be_the_instance()?;
            status.state = match mode {
                StartMode::Running => SchedulerState::Running,
                StartMode::Paused => SchedulerState::Paused,
            };
        }
        self.0.start_executors();
        for attached in self.0.stores() {
            self.launch(attached);
        }
        self.0.emit(EventKind::SchedulerStarted, |event| event);
        Ok(())
    }

    fn launch(&self, attached: Arc<Attached>) {
        attached.stopping.store(false, Ordering::SeqCst);
        if attached.live.swap(true, Ordering::SeqCst) {
            return;
        }
        let supervised = engine::supervise(Arc::clone(&self.0), attached);
        self.0.runtime.spawn(Box::pin(supervised));
    }

    /// Ends the work and returns when it has ended. May be called twice, or before [`start`](Self::start).
    ///
    /// What does not end in time is asked to stop, has [`Settings::cancel_grace`] to do so, and is then dropped; by the
    /// job's `on_crash` the next attempt is left for whoever starts next.
    ///
    /// Called from inside a run of this scheduler it returns at once, for that run would wait for itself; the work ends
    /// behind it, and [`stopped`](Self::stopped) says when.
    pub async fn shutdown(&self, how: Shutdown) {
        {
            let mut status = lock(&self.0.status);
            if status.state == SchedulerState::Stopped {
                return;
            }
            status.state = SchedulerState::Draining;
        }
        let stores = self.0.stores();
        for attached in &stores {
            attached.stopping.store(true, Ordering::SeqCst);
            attached.wake.notify(usize::MAX);
        }
        let patience = match how {
            Shutdown::Wait => self.0.settings.drain,
            Shutdown::WaitAtMost(patience) => patience,
            Shutdown::Cancel => Duration::ZERO,
        };
        if self.is_called_by_own_run() {
            let this = self.clone();
            self.0.runtime.spawn(Box::pin(async move {
                this.wind_up(stores, patience).await;
            }));
        } else {
            self.wind_up(stores, patience).await;
        }
    }

    fn is_called_by_own_run(&self) -> bool {
        let Some(run) = current_run() else {
            return false;
        };
        let stores = self.0.stores();
        stores
            .iter()
            .any(|attached| lock(&attached.running).contains_key(&run))
    }

    async fn wind_up(&self, stores: Vec<Arc<Attached>>, patience: Duration) {
        futures_util::future::join_all(
            stores.iter().map(|attached| self.drain(attached, patience)),
        )
        .await;
        let before = std::mem::replace(&mut lock(&self.0.status).state, SchedulerState::Stopped);
        if before != SchedulerState::Stopped {
            for slot in lock(&self.0.executors).values() {
                slot.executor.shutdown();
            }
            if let Some(lock) = &self.0.single_instance {
                lock.release();
            }
            self.0.emit(EventKind::SchedulerShutdown, |event| event);
            self.0.stopped.notify(usize::MAX);
        }
    }

    /// Resolves when the scheduler has been shut down and its work has ended; at once where it was not started.
    pub async fn stopped(&self) {
        while self.is_running() {
            let stopped = self.0.stopped.listen();
            if self.is_running() {
                stopped.await;
            }
        }
    }

    async fn drain(&self, attached: &Arc<Attached>, patience: Duration) {
        if self.ended_within(attached, patience).await {
            return;
        }
        let left: Vec<RunId> = lock(&attached.running).keys().copied().collect();
        if !left.is_empty() {
            tracing::warn!(job_store = %attached.alias, runs = left.len(), "asking the last runs to stop");
        }
        for id in left {
            flight::stop(&self.0, attached, id, Stop::Shutdown);
        }
        // The grace for runs, and then the time a store may take to hear of them.
        let rest = self.0.settings.cancel_grace + self.0.settings.store_deadline;
        if !self.ended_within(attached, rest).await {
            tracing::error!(job_store = %attached.alias, "did not answer in time; its runs are left to their leases");
        }
    }

    async fn ended_within(&self, attached: &Attached, patience: Duration) -> bool {
        let ended = attached.ended.listen();
        if attached.live.load(Ordering::SeqCst) && !patience.is_zero() {
            select(ended, self.0.runtime.sleep(patience)).await;
        }
        !attached.live.load(Ordering::SeqCst)
    }

    /// Starts no runs from now on, on any node that shares a store with this one; what runs goes on. Stored: it
    /// holds until somebody resumes.
    pub async fn pause(&self) -> Result<(), Error> {
        if self.write_paused(true).await? {
            self.0.emit(EventKind::SchedulerPaused, |event| event);
        }
        Ok(())
    }

    /// Starts runs again, on every node, also where this one was started paused. What became due meanwhile is judged
    /// as after any other wait.
    pub async fn resume(&self) -> Result<(), Error> {
        let mut changed = self.write_paused(false).await?;
        {
            let mut status = lock(&self.0.status);
            if status.state == SchedulerState::Paused {
                status.state = SchedulerState::Running;
                changed = true;
            }
        }
        if changed {
            self.0.emit(EventKind::SchedulerResumed, |event| event);
        }
        self.wakeup();
        Ok(())
    }

    /// Writes the cluster's pause into every store; returns whether that changed anything.
    async fn write_paused(&self, paused: bool) -> Result<bool, Error> {
        if !self.is_running() {
            return Err(Error::NotRunning);
        }
        let mut changed = false;
        for attached in self.0.stores() {
            let store = &attached.store;
            let record = self
                .0
                .deadline(store.record(SCHEDULER_NAMESPACE, PAUSED_KEY))
                .await?;
            if record.is_some_and(|record| record.value["paused"] == true) != paused {
                let value = paused.then(|| json!({ "paused": true, "at": self.now() }));
                let write = store.put_record(SCHEDULER_NAMESPACE, PAUSED_KEY, value, Expect::Any);
                changed |= self.0.deadline(write).await?;
            }
        }
        Ok(changed)
    }

    /// Whether no run would start now: this scheduler was started paused, or a store of it says that all nodes are paused.
    pub async fn is_paused(&self) -> Result<bool, Error> {
        if self.state() == SchedulerState::Paused {
            return Ok(true);
        }
        for attached in self.0.stores() {
            let record = self
                .0
                .deadline(attached.store.record(SCHEDULER_NAMESPACE, PAUSED_KEY))
                .await?;
            if record.is_some_and(|record| record.value["paused"] == true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The jobs that the program's code declared in an earlier release and does no longer, and that still run; known when
    /// their job store was opened after [`start`](Self::start).
    pub fn stale_jobs(&self) -> Vec<JobId> {
        let stores = self.0.stores();
        let lists = stores.iter().map(|attached| lock(&attached.stale).clone());
        lists.flatten().collect()
    }

    /// Looks for due jobs now.
    pub fn wakeup(&self) {
        self.0.wake_all();
    }

    /// Adds a job.
    pub async fn add_job(&self, job: NewJob) -> Result<AddedJob, Error> {
        let attached = self
            .0
            .store(job.job_store.as_deref().unwrap_or(DEFAULT_ALIAS))?;
        self.0.check_reachable(&attached)?;
        let prepare::Prepared { addition, warnings } =
            prepare::new_job(&self.0, &attached, job).await?;
        let id = addition.definition.id.clone();
        let added = self
            .0
            .deadline(attached.store.add_many(vec![addition]))
            .await?
            .pop();
        match added.expect("a store answers once for each addition") {
            Ok(Added { job, replaced }) => {
                self.0.emit(EventKind::JobAdded, |event| {
                    event.alias(&attached.alias).job(job.id())
                });
                Ok(AddedJob {
                    job,
                    replaced,
                    warnings,
                })
            }
            Err(AddRefusal::Exists) => Err(Error::Exists { id }),
            Err(AddRefusal::NeverRuns) => Err(Error::NeverRuns {
                id,
                reason: "its trigger has ended".to_owned(),
            }),
        }
    }

    /// The stores in which a job may be.
    fn stores_of(&self, job: JobRef<'_>) -> Result<Vec<Arc<Attached>>, Error> {
        match job.job_store {
            Some(alias) => Ok(vec![self.0.store(alias)?]),
            None => Ok(self.0.stores()),
        }
    }

    /// The store that has a job.
    async fn locate(&self, job: JobRef<'_>) -> Result<(Arc<Attached>, StoredJob), Error> {
        for attached in self.stores_of(job)? {
            if let Some(job) = self.0.deadline(attached.store.get(job.id)).await? {
                return Ok((attached, job));
            }
        }
        Err(Error::NoSuchJob { id: job.id.clone() })
    }

    /// The job with an id, and where it is; `None` where no store has it.
    pub async fn get_job(&self, job: impl Into<JobRef<'_>>) -> Result<Option<Located>, Error> {
        match self.locate(job.into()).await {
            Ok((attached, job)) => Ok(Some(Located {
                job_store: Arc::clone(&attached.alias),
                job,
            })),
            Err(Error::NoSuchJob { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All jobs: store by store, each by next run, those without one last.
    pub async fn get_jobs(&self) -> Result<Vec<Located>, Error> {
        let mut jobs = Vec::new();
        for attached in self.0.stores() {
            let page = self
                .0
                .deadline(attached.store.list(&JobQuery::default()))
                .await?;
            jobs.extend(page.items.into_iter().map(|job| Located {
                job_store: Arc::clone(&attached.alias),
                job,
            }));
        }
        Ok(jobs)
    }

    /// Jobs of one store by a query.
    pub async fn query_jobs(
        &self,
        job_store: &str,
        query: &JobQuery,
    ) -> Result<Page<StoredJob>, Error> {
        let attached = self.0.store(job_store)?;
        Ok(self.0.deadline(attached.store.list(query)).await?)
    }

    async fn change(
        &self,
        attached: &Attached,
        id: &JobId,
        expected_revision: Option<u64>,
        change: JobChange,
    ) -> Result<Option<Job>, Error> {
        let modified = || {
            self.0.emit(EventKind::JobModified, |event| {
                event.alias(&attached.alias).job(id)
            });
        };
        match self
            .0
            .deadline(attached.store.update(id, expected_revision, change))
            .await?
        {
            Updated::Job(job) => {
                modified();
                Ok(Some(job))
            }
            Updated::Removed(_) => {
                modified();
                self.0.emit(EventKind::JobRemoved, |event| {
                    event.alias(&attached.alias).job(id)
                });
                Ok(None)
            }
            Updated::Missing => Err(Error::NoSuchJob { id: id.clone() }),
            Updated::Unreadable(reason) => Err(Error::Unreadable {
                id: id.clone(),
                reason,
            }),
            Updated::Conflict(revision) => Err(Error::Conflict {
                id: id.clone(),
                revision,
            }),
        }
    }

    async fn locate_readable(
        &self,
        job: JobRef<'_>,
    ) -> Result<(Arc<Attached>, Arc<JobDefinition>), Error> {
        match self.locate(job).await? {
            (attached, StoredJob::Job(job)) => Ok((attached, job.definition)),
            (_, StoredJob::Unreadable(unreadable)) => Err(Error::Unreadable {
                id: job.id.clone(),
                reason: unreadable.error,
            }),
        }
    }

    /// Changes a job, all of it or nothing. `None` where the change left nothing to run, so that the job is gone.
    pub async fn modify_job(
        &self,
        job: impl Into<JobRef<'_>>,
        update: JobUpdate,
    ) -> Result<Option<Job>, Error> {
        let job = job.into();
        let id = job.id;
        let (attached, definition) = self.locate_readable(job).await?;
        let expected_revision = update.expected_revision;
        let patch = prepare::patch(&self.0, &attached, id, &definition, update).await?;
        self.change(
            &attached,
            id,
            expected_revision,
            JobChange::Modify(Box::new(patch)),
        )
        .await
    }

    /// Gives a job another trigger, which starts from now. A pause stays.
    pub async fn reschedule_job(
        &self,
        job: impl Into<JobRef<'_>>,
        trigger: Trigger,
    ) -> Result<Option<Job>, Error> {
        self.modify_job(job, JobUpdate::new().trigger(trigger))
            .await
    }

    /// Pauses a job: once this returns, no run of it is claimed any more, on any node; what runs goes on, as does what an
    /// executor has claimed for its queue.
    pub async fn pause_job(
        &self,
        job: impl Into<JobRef<'_>>,
        request: PauseRequest,
    ) -> Result<Job, Error> {
        let job = job.into();
        let (attached, _) = self.locate(job).await?;
        let paused = self
            .change(&attached, job.id, None, JobChange::Pause(request))
            .await?;
        paused.ok_or_else(|| Error::NoSuchJob { id: job.id.clone() })
    }

    /// Resumes a job. Nothing is made up for: what was due meanwhile stands in the ledger as one row. `None` where
    /// nothing is left to run, so that the job is gone.
    pub async fn resume_job(&self, job: impl Into<JobRef<'_>>) -> Result<Option<Job>, Error> {
        let job = job.into();
        let (attached, _) = self.locate(job).await?;
        self.change(&attached, job.id, None, JobChange::Resume)
            .await
    }

    /// Runs a job now, once, beside its schedule. The run is pending, or skipped where the job's overlap policy
    /// forbids it; a paused job's run waits until the job is resumed.
    pub async fn run_job(&self, job: impl Into<JobRef<'_>>) -> Result<(Job, Run), Error> {
        let job = job.into();
        let id = job.id;
        let (attached, _) = self.locate(job).await?;
        match self.0.deadline(attached.store.enqueue(id)).await? {
            Enqueued::Run(job, run) => Ok((job, run)),
            Enqueued::Missing => Err(Error::NoSuchJob { id: id.clone() }),
            Enqueued::Unreadable(reason) => Err(Error::Unreadable {
                id: id.clone(),
                reason,
            }),
        }
    }

    /// Removes a job, also one that cannot be read. What runs goes on; its ledger stays.
    pub async fn remove_job(&self, job: impl Into<JobRef<'_>>) -> Result<StoredJob, Error> {
        let job = job.into();
        let id = job.id;
        for attached in self.stores_of(job)? {
            if let Some(job) = self.0.deadline(attached.store.remove(id)).await? {
                self.0.emit(EventKind::JobRemoved, |event| {
                    event.alias(&attached.alias).job(id)
                });
                return Ok(job);
            }
        }
        Err(Error::NoSuchJob { id: id.clone() })
    }

    /// Removes every job of one store, or of all; returns how many.
    pub async fn remove_all_jobs(&self, job_store: Option<&str>) -> Result<u64, Error> {
        let stores = match job_store {
            Some(alias) => vec![self.0.store(alias)?],
            None => self.0.stores(),
        };
        let mut removed = 0;
        for attached in stores {
            removed += self.0.deadline(attached.store.remove_all()).await?;
            self.0.emit(EventKind::AllJobsRemoved, |event| {
                event.alias(&attached.alias)
            });
        }
        Ok(removed)
    }

    /// Rows of the ledger of one store, newest first.
    pub async fn runs(&self, job_store: &str, query: &RunQuery) -> Result<Page<Run>, Error> {
        let attached = self.0.store(job_store)?;
        Ok(self.0.deadline(attached.store.runs(query)).await?)
    }

    /// One row of the ledger.
    pub async fn get_run(&self, id: RunId) -> Result<Run, Error> {
        for attached in self.0.stores() {
            if let Some(run) = self.0.deadline(attached.store.run(id)).await? {
                return Ok(run);
            }
        }
        Err(Error::NoSuchRun { id })
    }

    /// Asks a run to stop, wherever it runs: a waiting one is cancelled, a running one told so, here at once and on
    /// another node with its next sign of life. One that is over stays as it is.
    pub async fn cancel_run(&self, id: RunId) -> Result<Run, Error> {
        for attached in self.0.stores() {
            if let Some(run) = self.0.deadline(attached.store.request_cancel(id)).await? {
                if run.state() == RunState::Running {
                    flight::stop(&self.0, &attached, id, Stop::Requested);
                }
                return Ok(run);
            }
        }
        Err(Error::NoSuchRun { id })
    }

    /// Adds an executor; it may be used at once.
    pub fn add_executor(&self, alias: &str, executor: Arc<dyn Executor>) -> Result<(), Error> {
        self.0.add_executor(alias, executor)
    }

    /// Removes an executor: it gets no more runs, and ends when those it has are over.
    pub fn remove_executor(&self, alias: &str) -> Result<Arc<dyn Executor>, Error> {
        self.0.remove_executor(alias)
    }

    /// The aliases of the executors, sorted.
    pub fn executors(&self) -> Vec<String> {
        self.0
            .executor_names()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Adds a job store; its jobs run at once, where the scheduler does.
    pub fn add_jobstore(&self, alias: &str, store: Arc<dyn JobStore>) -> Result<(), Error> {
        shared::check_alias(alias)?;
        self.attach(alias, store)
    }

    fn attach(&self, alias: &str, store: Arc<dyn JobStore>) -> Result<(), Error> {
        let attached = Attached::new(alias, store);
        {
            let mut stores = lock(&self.0.stores);
            if stores.iter().any(|other| &*other.alias == alias) {
                return Err(Error::AliasTaken {
                    what: "job store",
                    alias: alias.to_owned(),
                });
            }
            stores.push(Arc::clone(&attached));
        }
        self.0.emit(EventKind::JobStoreAdded, |event| {
            event.alias(&attached.alias)
        });
        if matches!(
            self.state(),
            SchedulerState::Running | SchedulerState::Paused
        ) {
            self.launch(attached);
        }
        Ok(())
    }

    /// Removes a job store; returns when its runs have ended, as [`shutdown`](Self::shutdown) does. What it keeps stays.
    pub async fn remove_jobstore(&self, alias: &str) -> Result<Arc<dyn JobStore>, Error> {
        shared::check_alias(alias)?;
        let attached = self.0.store(alias)?;
        attached.stopping.store(true, Ordering::SeqCst);
        attached.wake.notify(usize::MAX);
        self.drain(&attached, self.0.settings.drain).await;
        lock(&self.0.stores).retain(|other| &*other.alias != alias);
        self.0.emit(EventKind::JobStoreRemoved, |event| {
            event.alias(&attached.alias)
        });
        Ok(Arc::clone(&attached.store))
    }

    /// The job stores, in the order in which they were added.
    pub fn jobstores(&self) -> Vec<(Arc<str>, Arc<dyn JobStore>)> {
        let stores = self.0.stores();
        stores
            .iter()
            .map(|attached| (Arc::clone(&attached.alias), Arc::clone(&attached.store)))
            .collect()
    }

    /// How each job store does.
    pub fn health(&self) -> Vec<(Arc<str>, StoreHealth)> {
        let stores = self.0.stores();
        stores
            .iter()
            .map(|attached| (Arc::clone(&attached.alias), lock(&attached.health).shown()))
            .collect()
    }

    /// Calls `listener` for every event of `kinds`, or of any kind where that is empty, on a thread of its own: a slow
    /// one delays nobody, and a panic in it hurts nobody. Beyond [16,384](crate::event::LISTENER_QUEUE_MAX) waiting
    /// events it loses some, which is logged.
    pub fn add_listener(
        &self,
        kinds: &[EventKind],
        listener: impl FnMut(&Event) + Send + 'static,
    ) -> ListenerId {
        self.0.listeners.add(kinds, listener)
    }

    /// Removes a listener; returns whether it was there.
    pub fn remove_listener(&self, id: ListenerId) -> bool {
        self.0.listeners.remove(id)
    }

    /// The same verbs for code that is not async.
    pub fn blocking(&self) -> BlockingHandle {
        BlockingHandle::new(self.clone())
    }
}
