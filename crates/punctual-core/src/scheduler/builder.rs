//! Putting a scheduler together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use punctual_trigger::Trigger;
use serde_json::{Map, Value};

use super::configure::{self, ConfigError, JobStoreFactory};
use super::error::Error;
use super::new_job::NewJob;
use super::shared::{Attached, SchedulerState, Settings, Shared, Status};
use super::{DEFAULT_ALIAS, Scheduler};
use crate::clock::{Clock, SystemClock};
use crate::event::Listeners;
use crate::executor::{AsyncExecutor, Executor};
use crate::id::NodeId;
use crate::memory::MemoryStore;
use crate::plan::PolicyPatch;
use crate::runtime::Runtime;
use crate::store::{JobStore, Retention};
use crate::task::{AsyncFunction, RegisterError, Registry};
use crate::zones::Zones;

/// The shortest lease.
const LEASE_MIN: Duration = Duration::from_secs(2);
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
        }
    }

    /// The tasks it can run. Default: none.
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
            .map_err(|error| Error::invalid("timezone", error.to_string()))?;
        Ok(self)
    }

    /// All settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// How long a claim holds without a sign of life. Default 30 s; with less than 2 s building fails.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// How long a shutdown waits for runs before it cancels them. Default 20 s.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.settings.drain = drain;
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
    /// `executors.<alias>` takes `type` (`asyncio`, `threadpool`, `debug`) and `max_workers`; `jobstores.<alias>` takes
    /// `type` (`memory`, and what [`job_store_type`](Self::job_store_type) taught) and what that type asks for;
    /// `job_defaults` takes `misfire_grace_time`, `coalesce`, `max_instances`.
    ///
    /// # Errors
    ///
    /// Any other key, and any value that does not fit, by its path. Nothing is ignored.
    pub fn configure(self, config: &Map<String, Value>) -> Result<Self, ConfigError> {
        configure::apply(self, config)
    }

    /// A scheduler in an event loop of the caller's.
    ///
    /// # Errors
    ///
    /// A lease below 2 s, a name that cannot be one, and what keeps a job from being added.
    pub async fn build(mut self, runtime: Arc<dyn Runtime>) -> Result<Scheduler, Error> {
        let jobs = std::mem::take(&mut self.jobs);
        let scheduler = self.build_without_jobs(runtime)?;
        for job in jobs {
            scheduler.add_job(job).await?;
        }
        Ok(scheduler)
    }

    fn build_without_jobs(self, runtime: Arc<dyn Runtime>) -> Result<Scheduler, Error> {
        let Self {
            registry,
            clock,
            zones,
            settings,
            mut executors,
            mut stores,
            ..
        } = self;
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
            tasks: Arc::new(registry.names()),
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
        };
        for (alias, executor) in executors {
            shared.add_executor(&alias, executor)?;
        }
        Ok(Scheduler(Arc::new(shared)))
    }
}
