//! Putting a scheduler together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use punctual_trigger::Trigger;
use serde_json::{Map, Value};

use super::configure::{self, ConfigError, JobStoreFactory};
use super::declared::{Declared, StaleJobs, program_name};
use super::error::Error;
use super::new_job::NewJob;
use super::shared::{Attached, SchedulerState, Settings, Shared, Status, check_alias};
use super::{DEFAULT_ALIAS, Scheduler};
use crate::clock::{Clock, SystemClock};
use crate::event::Listeners;
use crate::executor::{AsyncExecutor, Executor};
use crate::id::{JobId, NodeId};
use crate::memory::MemoryStore;
use crate::plan::PolicyPatch;
use crate::runtime::Runtime;
use crate::single_instance::SingleInstance;
use crate::store::{JobStore, Retention};
use crate::task::{AsyncFunction, BlockingFunction, RegisterError, Registry, TaskFunction};
use crate::testing::TestExecutor;
use crate::zones::Zones;

/// The shortest lease.
const LEASE_MIN: Duration = Duration::from_secs(2);
/// The longest lease: what adds some of them to a time stays a time.
const LEASE_MAX: Duration = Duration::from_hours(24);
/// How many runs the default executor works on at once.
pub(super) const DEFAULT_MAX_WORKERS: usize = 100;

/// Builds a [`Scheduler`], or one of the kinds that bring their event loop along.
#[derive(Debug)]
pub struct SchedulerBuilder {
    pub(super) registry: Registry,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) zones: Zones,
    pub(super) settings: Settings,
    pub(super) executors: BTreeMap<String, Arc<dyn Executor>>,
    pub(super) stores: Vec<(String, Arc<dyn JobStore>)>,
    pub(super) jobs: Vec<NewJob>,
    pub(super) store_types: BTreeMap<String, JobStoreFactory>,
    application: Option<String>,
    stale_jobs: StaleJobs,
    single_instance: Option<SingleInstance>,
}

impl SchedulerBuilder {
    pub(super) fn new() -> Self {
        Self {
            registry: Registry::new(),
            clock: Arc::new(SystemClock),
            zones: Zones::system(),
            settings: Settings::default(),
            executors: BTreeMap::new(),
            stores: Vec::new(),
            jobs: Vec::new(),
            store_types: BTreeMap::new(),
            application: None,
            stale_jobs: StaleJobs::default(),
            single_instance: None,
        }
    }

    /// The tasks it can run, in place of those it had, and the jobs that their code declares. Default: none.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Registers an async function as a task; see [`Registry::add`].
    pub fn task<P: 'static>(
        mut self,
        name: &str,
        function: impl AsyncFunction<P>,
    ) -> Result<Self, RegisterError> {
        self.registry.add(name, function)?;
        Ok(self)
    }

    /// Registers a plain function as a task; see [`Registry::add_blocking`].
    pub fn blocking_task<P: 'static>(
        mut self,
        name: &str,
        function: impl BlockingFunction<P>,
    ) -> Result<Self, RegisterError> {
        self.registry.add_blocking(name, function)?;
        Ok(self)
    }

    /// Registers a task that is a type (`#[task]`), with the job that its code declares; see [`Registry::register`].
    pub fn register<T: TaskFunction>(mut self) -> Result<Self, RegisterError> {
        self.registry.register::<T>()?;
        Ok(self)
    }

    /// What the program calls itself in job stores that it shares with other programs: jobs that it declared once, and does
    /// no longer, are found by this name. Default: the name of its file.
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = Some(name.into());
        self
    }

    /// What becomes of jobs that the program's code declared before and does no longer. Default: they are reported.
    pub fn stale_jobs(mut self, stale_jobs: StaleJobs) -> Self {
        self.stale_jobs = stale_jobs;
        self
    }

    /// Runs jobs only in the process that holds this lock. Elsewhere [`Scheduler::start`] is refused
    /// ([`Error::OtherInstance`]), and jobs can be added to stores that both processes share. The lock is tried when the scheduler
    /// is built and at each start, and let go of when it has been shut down.
    pub fn single_instance(mut self, lock: SingleInstance) -> Self {
        self.single_instance = Some(lock);
        self
    }

    /// Gives tasks access to `state`; see [`Registry::state`].
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        self.registry.state(state);
        self
    }

    /// Registers an async function as a task, and adds a job of the same id that calls it, when the scheduler is built.
    /// A job that is stored already is replaced: it keeps its pause, and its cursor where the trigger is the same.
    pub fn scheduled_job<P: 'static>(
        mut self,
        name: &str,
        trigger: Trigger,
        function: impl AsyncFunction<P>,
    ) -> Result<Self, RegisterError> {
        self.registry.add(name, function)?;
        self.jobs.push(
            NewJob::new(name)
                .id(name)
                .trigger(trigger)
                .replace_existing(),
        );
        Ok(self)
    }

    /// The clock. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The time zone data and the default zone. Default: the host's.
    pub fn zones(mut self, zones: Zones) -> Self {
        self.zones = zones;
        self
    }

    /// The zone of triggers that name none. Default: the host's.
    pub fn timezone(mut self, name: &str) -> Result<Self, Error> {
        self.zones = self
            .zones
            .with_default(name)
            .map_err(|_| Error::invalid("timezone", format!("{name:?} is no time zone known here; it takes an IANA name, such as Europe/Paris")))?;
        Ok(self)
    }

    /// All settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// How long a claim holds without a sign of life. Default 30 s; outside of 2 s to a day building fails.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// How often a job store is asked that announces no changes. Default 1 s.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.settings.poll = poll;
        self
    }

    /// How long a shutdown waits for runs before it cancels them. Default 20 s.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.settings.drain = drain;
        self
    }

    /// How long a run that was asked to stop has to wind up. Default 5 s.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.settings.cancel_grace = grace;
        self
    }

    /// How long the ledger remembers. Default 30 days or 10,000 rows a job.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.settings.retention = retention;
        self
    }

    /// What a new job gets where it says nothing.
    pub fn job_defaults(mut self, defaults: PolicyPatch) -> Self {
        self.settings.job_defaults = defaults;
        self
    }

    /// An executor. Without one called `default`, that is an [`AsyncExecutor`] for 100 runs.
    pub fn executor(mut self, alias: impl Into<String>, executor: Arc<dyn Executor>) -> Self {
        self.executors.insert(alias.into(), executor);
        self
    }

    /// The executor called `default`, where the caller gave none: for schedulers of another event loop.
    pub fn default_executor(mut self, executor: impl FnOnce() -> Arc<dyn Executor>) -> Self {
        self.executors
            .entry(DEFAULT_ALIAS.to_owned())
            .or_insert_with(executor);
        self
    }

    /// A job store. Without one called `default`, that is a [`MemoryStore`].
    pub fn job_store(mut self, alias: impl Into<String>, store: Arc<dyn JobStore>) -> Self {
        let alias = alias.into();
        self.stores.retain(|(other, _)| *other != alias);
        self.stores.push((alias, store));
        self
    }

    /// Teaches [`configure`](Self::configure) a `type` of job store.
    pub fn job_store_type(mut self, name: impl Into<String>, factory: JobStoreFactory) -> Self {
        self.store_types.insert(name.into(), factory);
        self
    }

    /// Settings by `APScheduler`'s keys: `timezone`, `job_defaults`, `executors`, `jobstores`, nested or dotted
    /// (`job_defaults.coalesce`), with or without the prefix `apscheduler.`.
    ///
    /// `executors.<alias>` takes `type` (`asyncio`, `threadpool`, `processpool`, `debug`) and `max_workers`; `jobstores.<alias>` takes
    /// `type` (`memory`, and what [`job_store_type`](Self::job_store_type) taught) and what that type asks for;
    /// `job_defaults` takes `misfire_grace_time`, `coalesce`, `max_instances`.
    ///
    /// # Errors
    ///
    /// Any other key, and any value that does not fit, by its path. Nothing is ignored.
    pub fn configure(self, config: &Map<String, Value>) -> Result<Self, ConfigError> {
        configure::apply(self, config)
    }

    /// For a simulation: its clock, executors inside it, UTC, and a ledger that forgets nothing.
    pub(crate) fn for_test(mut self, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        for executor in self.executors.values_mut() {
            *executor = Arc::new(TestExecutor::new(executor.capacity()));
        }
        self.settings.retention = Retention {
            age: Duration::MAX,
            rows_per_job: u64::MAX,
        };
        self.default_executor(|| Arc::new(TestExecutor::new(DEFAULT_MAX_WORKERS)))
            .clock(clock)
            .timezone("UTC")
    }

    /// A scheduler in an event loop of the caller's.
    ///
    /// # Errors
    ///
    /// A lease below 2 s or above a day, a name that cannot be one, and what keeps a job from being added.
    pub async fn build(mut self, runtime: Arc<dyn Runtime>) -> Result<Scheduler, Error> {
        let mut jobs: Vec<NewJob> = self.registry.declared_jobs().collect();
        jobs.append(&mut self.jobs);
        let mut ids = BTreeSet::new();
        for job in &jobs {
            let alias = job.job_store.clone();
            if let Some(id) = &job.id {
                let alias = alias.unwrap_or_else(|| DEFAULT_ALIAS.to_owned());
                if !ids.insert((alias, JobId::new(id)?)) {
                    let message = format!(
                        "two tasks declare a job with the id {id:?}; give one of them another id"
                    );
                    return Err(Error::invalid("id", message));
                }
            }
        }
        let scheduler = self.build_without_jobs(runtime, ids)?;
        for mut job in jobs {
            job.is_declared = true;
            match scheduler.add_job(job).await {
                // They are declared by the process that runs them, too.
                Ok(_) | Err(Error::OutOfReach { .. }) => {}
                // No reason for a program that has run for years to start no more.
                Err(Error::NeverRuns { id, reason }) => {
                    tracing::warn!(job = %id, reason, "the program's code declares it, but its time is over; it is not added");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(scheduler)
    }

    fn build_without_jobs(
        self,
        runtime: Arc<dyn Runtime>,
        declared: BTreeSet<(String, JobId)>,
    ) -> Result<Scheduler, Error> {
        let Self {
            registry,
            clock,
            zones,
            settings,
            mut executors,
            mut stores,
            application,
            stale_jobs,
            single_instance,
            ..
        } = self;
        if settings.lease > LEASE_MAX {
            let message = format!(
                "{} s is too long: it is how long the runs of a dead node wait for another; it is at most {} s",
                settings.lease.as_secs_f64(),
                LEASE_MAX.as_secs()
            );
            return Err(Error::invalid("lease", message));
        }
        if settings.lease < LEASE_MIN {
            return Err(Error::invalid(
                "lease",
                format!(
                    "{} s is too short: a sign of life has to get through in a third of it; it is at least {} s",
                    settings.lease.as_secs_f64(),
                    LEASE_MIN.as_secs()
                ),
            ));
        }
        for (alias, _) in &stores {
            check_alias(alias)?;
        }
        executors
            .entry(DEFAULT_ALIAS.to_owned())
            .or_insert_with(|| Arc::new(AsyncExecutor::new(DEFAULT_MAX_WORKERS)));
        if !stores.iter().any(|(alias, _)| alias == DEFAULT_ALIAS) {
            stores.insert(
                0,
                (
                    DEFAULT_ALIAS.to_owned(),
                    Arc::new(MemoryStore::new(Arc::clone(&clock))),
                ),
            );
        }
        let shared = Shared {
            node: NodeId::random(),
            started_at: clock.now(),
            clock,
            runtime,
            tasks: std::sync::Mutex::default(),
            has_closures: AtomicBool::new(false),
            registry: Arc::new(registry),
            zones,
            settings,
            listeners: Listeners::default(),
            executors: std::sync::Mutex::default(),
            stores: std::sync::Mutex::new(
                stores
                    .into_iter()
                    .map(|(alias, store)| Attached::new(&alias, store))
                    .collect(),
            ),
            status: std::sync::Mutex::new(Status {
                state: SchedulerState::Stopped,
            }),
            stopped: event_listener::Event::new(),
            declared: Declared {
                application: application.unwrap_or_else(program_name),
                stale_jobs,
                jobs: declared,
            },
            single_instance,
        };
        match shared.be_the_instance() {
            // Whoever only wants to add jobs may do so.
            Ok(()) | Err(Error::OtherInstance { .. }) => {}
            Err(error) => return Err(error),
        }
        for (alias, executor) in executors {
            shared.add_executor(&alias, executor)?;
        }
        Ok(Scheduler(Arc::new(shared)))
    }
}
