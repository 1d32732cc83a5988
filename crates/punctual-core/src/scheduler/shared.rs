//! What the parts of a scheduler have in common.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::AbortHandle;
use jiff::{SignedDuration, Timestamp};

use super::declared::Declared;
use super::error::{Error, nearest_or_all};
use crate::cancel::CancelToken;
use crate::clock::Clock;
use crate::closure::{CLOSURE_TASK, RESERVED};
use crate::event::{Event, EventKind, Listeners};
use crate::executor::{ArgsCheck, Executor, ExecutorEnv};
use crate::id::{ExecutorName, Fence, JobId, NodeId, RunId, TaskName};
use crate::job::{JobArgs, JobDefinition};
use crate::lease::Lease;
use crate::plan::{Finish, PolicyPatch};
use crate::run::Run;
use crate::runtime::{Runtime, timeout};
use crate::single_instance::SingleInstance;
use crate::store::{JobStore, Retention, StoreError, StoreResult};
use crate::task::{ArgsError, Registry};
use crate::zones::Zones;

/// The settings of a scheduler. Each has a default that suits most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How long a claim holds without a sign of life; at least 2 s. Default 30 s.
    pub lease: Duration,
    /// How often a store is asked that announces no changes. Default 1 s.
    pub poll: Duration,
    /// The longest sleep. After it the wall clock is read anew, so that a step of it or a suspended machine is noticed.
    /// Default 30 s.
    pub sleep_max: Duration,
    /// How long one call of a store may take. Default 10 s.
    pub store_deadline: Duration,
    /// How long a shutdown waits for runs before it cancels them. Default 20 s.
    pub drain: Duration,
    /// How long a cancelled run has to wind up. Default 5 s.
    pub cancel_grace: Duration,
    /// How long the ledger remembers.
    pub retention: Retention,
    /// What a new job gets where it says nothing.
    pub job_defaults: PolicyPatch,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(1),
            sleep_max: Duration::from_secs(30),
            store_deadline: Duration::from_secs(10),
            drain: Duration::from_secs(20),
            cancel_grace: Duration::from_secs(5),
            retention: Retention::default(),
            job_defaults: PolicyPatch::default(),
        }
    }
}

/// What a scheduler is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulerState {
    /// Nothing.
    Stopped,
    /// It runs jobs.
    Running,
    /// It runs, but starts no runs for now.
    Paused,
    /// It waits for its last runs to end.
    Draining,
}

/// Refuses an alias that is ours.
pub(super) fn check_alias(alias: &str) -> Result<(), Error> {
    if alias.starts_with(RESERVED) {
        let message =
            format!("{alias:?} begins with \"punctual:\", which is reserved; choose another alias");
        return Err(Error::invalid("jobstore", message));
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) executor: Arc<dyn Executor>,
    /// The tasks that only this executor has.
    pub(super) own_tasks: BTreeMap<TaskName, ArgsCheck>,
    in_flight: AtomicUsize,
}

/// Holds a place in an executor until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    slot: Arc<Slot>,
    shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.slot.in_flight.fetch_sub(1, Ordering::SeqCst);
        // Only a full executor keeps a loop from claiming: the loop of any store, whoever's run filled it.
        if before >= self.slot.executor.capacity() {
            self.shared.wake_all();
        }
    }
}

/// Why the scheduler stops a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Requested,
    Shutdown,
    Timeout,
    /// It is no longer this node's.
    Lost,
}

/// A run that this process executes.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) run: Arc<Run>,
    pub(super) definition: Arc<JobDefinition>,
    pub(super) cancel: CancelToken,
    pub(super) stop: Option<Stop>,
    pub(super) lease: Lease,
    pub(super) output: crate::output::Output,
    /// Ends the wait for its timeout.
    pub(super) timer: Option<AbortHandle>,
}

/// How a store does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why the last call failed; `None` where it did not.
    pub error: Option<String>,
    /// Whether the store was opened by this scheduler's loop.
    pub ready: bool,
}

/// Who calls a store: each tells for itself whether it got through, so that one does not call well what the other cannot
/// do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caller {
    Loop,
    Heartbeat,
}

/// How a store does, for each of its callers.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub(super) ready: bool,
    errors: [Option<String>; 2],
}

impl Health {
    /// Notes an error; returns whether it is the first.
    pub(super) fn failed(&mut self, caller: Caller, error: String) -> bool {
        let was_well = self.error().is_none();
        self.errors[caller as usize] = Some(error);
        was_well
    }

    /// Notes that a caller got through; returns whether it was the last one that did not.
    pub(super) fn recovered(&mut self, caller: Caller) -> bool {
        self.errors[caller as usize].take().is_some() && self.error().is_none()
    }

    fn error(&self) -> Option<&String> {
        self.errors.iter().flatten().next()
    }

    pub(super) fn shown(&self) -> StoreHealth {
        StoreHealth {
            error: self.error().cloned(),
            ready: self.ready,
        }
    }
}

/// The end of a run, on its way to the ledger.
pub(super) type Report = (Finish, Arc<Run>);

/// A job store with what this process does for it.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) alias: Arc<str>,
    pub(super) store: Arc<dyn JobStore>,
    /// Wakes the store's loop.
    pub(super) wake: event_listener::Event,
    pub(super) running: Mutex<HashMap<RunId, InFlight>>,
    pub(super) reports: Mutex<Vec<Report>>,
    pub(super) stopping: AtomicBool,
    pub(super) health: Mutex<Health>,
    /// The store's time less the local clock's.
    pub(super) offset: Mutex<SignedDuration>,
    /// Jobs that the program's code declares no longer.
    pub(super) stale: Mutex<Vec<JobId>>,
    /// Whether its loop runs.
    pub(super) live: AtomicBool,
    pub(super) ended: event_listener::Event,
}

impl Attached {
    pub(super) fn new(alias: &str, store: Arc<dyn JobStore>) -> Arc<Self> {
        Arc::new(Self {
            alias: alias.into(),
            store,
            wake: event_listener::Event::new(),
            running: Mutex::default(),
            reports: Mutex::default(),
            stopping: AtomicBool::new(false),
            health: Mutex::default(),
            offset: Mutex::new(SignedDuration::ZERO),
            stale: Mutex::default(),
            live: AtomicBool::new(false),
            ended: event_listener::Event::new(),
        })
    }

    pub(super) fn lease_token(&self, id: RunId) -> Option<(RunId, Fence)> {
        lock(&self.running)
            .get(&id)
            .map(|flight| (id, flight.run.fence))
    }
}

#[derive(Debug)]
pub(super) struct Status {
    pub(super) state: SchedulerState,
}

/// Everything a handle refers to.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: NodeId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) registry: Arc<Registry>,
    /// The names in the registry and of the executors' own tasks.
    pub(super) tasks: Mutex<Arc<BTreeSet<TaskName>>>,
    /// Whether a job store for closures was attached.
    pub(super) has_closures: AtomicBool,
    pub(super) zones: Zones,
    pub(super) settings: Settings,
    pub(super) listeners: Listeners,
    pub(super) executors: Mutex<BTreeMap<ExecutorName, Arc<Slot>>>,
    pub(super) stores: Mutex<Vec<Arc<Attached>>>,
    pub(super) status: Mutex<Status>,
    /// Tells that the state is `Stopped` again.
    pub(super) stopped: event_listener::Event,
    pub(super) started_at: Timestamp,
    pub(super) declared: Declared,
    /// Which process runs the jobs, where that is one only.
    pub(super) single_instance: Option<SingleInstance>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while one of these is held leaves nothing half done: each critical section is one assignment or call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Waits for a store, but not for ever.
    pub(super) async fn deadline<T>(
        &self,
        call: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        self.deadline_of(self.settings.store_deadline, call).await
    }

    /// The same, for a call that has less time.
    pub(super) async fn deadline_of<T>(
        &self,
        deadline: Duration,
        call: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        timeout(&*self.runtime, deadline, call)
            .await
            .unwrap_or_else(|_| {
                Err(StoreError::unavailable(format!(
                    "no answer within {} s",
                    deadline.as_secs_f64()
                )))
            })
    }

    pub(super) fn emit(&self, kind: EventKind, fill: impl FnOnce(Event) -> Event) {
        self.listeners
            .emit(|| fill(Event::new(kind, self.clock.now())));
    }

    pub(super) fn state(&self) -> SchedulerState {
        lock(&self.status).state
    }

    /// Takes the lock file, where there is one.
    pub(super) fn be_the_instance(&self) -> Result<(), Error> {
        let Some(lock) = &self.single_instance else {
            return Ok(());
        };
        let path = lock.path().display();
        match lock.acquire() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::OtherInstance {
                path: lock.path().to_owned(),
            }),
            Err(error) => Err(Error::invalid(
                "single_instance",
                format!(
                    "{path} cannot be locked: {error}; name a file in a folder that this process may write to"
                ),
            )),
        }
    }

    /// Refuses a job that the process which runs the jobs would never see.
    pub(super) fn check_reachable(&self, attached: &Attached) -> Result<(), Error> {
        match &self.single_instance {
            Some(lock) if !lock.is_held() && !attached.store.abilities().many_nodes => {
                Err(Error::OutOfReach {
                    job_store: attached.alias.to_string(),
                    path: lock.path().to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn executor_names(&self) -> BTreeSet<ExecutorName> {
        lock(&self.executors).keys().cloned().collect()
    }

    pub(super) fn tasks(&self) -> Arc<BTreeSet<TaskName>> {
        Arc::clone(&lock(&self.tasks))
    }

    /// To be called where what this node can run has changed.
    pub(super) fn collect_tasks(&self) {
        let mut all = self.registry.names();
        {
            let executors = lock(&self.executors);
            let own = executors.values().flat_map(|slot| slot.own_tasks.keys());
            all.extend(own.cloned());
        }
        if self.has_closures.load(Ordering::SeqCst) {
            all.insert(TaskName::new(CLOSURE_TASK).expect("it is a name"));
        }
        *lock(&self.tasks) = Arc::new(all);
    }

    /// Checks a job's arguments by its task, as the registry or an executor here has it; `None` where none does.
    pub(super) fn check_args(
        &self,
        task: &TaskName,
        executor: &ExecutorName,
        args: &JobArgs,
    ) -> Option<Result<(), ArgsError>> {
        let own = lock(&self.executors)
            .get(executor)
            .and_then(|slot| slot.own_tasks.get(task).copied());
        match own {
            Some(check) => Some(check(args)),
            None => Some(self.registry.get(task)?.check(args)),
        }
    }

    fn executor_env(&self) -> ExecutorEnv {
        ExecutorEnv {
            registry: Arc::clone(&self.registry),
            runtime: Arc::clone(&self.runtime),
        }
    }

    pub(super) fn start_executors(&self) {
        for slot in lock(&self.executors).values() {
            slot.executor.start(self.executor_env());
        }
    }

    pub(super) fn add_executor(
        &self,
        alias: &str,
        executor: Arc<dyn Executor>,
    ) -> Result<(), Error> {
        let name = ExecutorName::new(alias)?;
        if executor.capacity() == 0 {
            let message = "has no place for a run; give it 1 worker or more";
            return Err(Error::invalid(format!("executors.{alias}"), message));
        }
        let env = self.executor_env();
        {
            let mut executors = lock(&self.executors);
            if executors.contains_key(&name) {
                return Err(Error::AliasTaken {
                    what: "executor",
                    alias: alias.to_owned(),
                });
            }
            executor.start(env);
            executors.insert(
                name.clone(),
                Arc::new(Slot {
                    own_tasks: executor.own_tasks(),
                    executor,
                    in_flight: AtomicUsize::new(0),
                }),
            );
        }
        self.collect_tasks();
        self.emit(EventKind::ExecutorAdded, |event| {
            event.alias(&name.as_str().into())
        });
        self.wake_all();
        Ok(())
    }

    pub(super) fn remove_executor(&self, alias: &str) -> Result<Arc<dyn Executor>, Error> {
        let removed = lock(&self.executors).remove(alias);
        let Some(slot) = removed else {
            return Err(self.unknown_executor(alias));
        };
        self.collect_tasks();
        slot.executor.shutdown();
        self.emit(EventKind::ExecutorRemoved, |event| {
            event.alias(&alias.into())
        });
        Ok(Arc::clone(&slot.executor))
    }

    pub(super) fn unknown_executor(&self, alias: &str) -> Error {
        let names = self.executor_names();
        let known = names.iter().map(ExecutorName::as_str);
        Error::UnknownExecutor {
            alias: alias.to_owned(),
            likely: nearest_or_all(alias, known),
        }
    }

    /// How many more runs each executor can take.
    pub(super) fn free_slots(&self) -> BTreeMap<ExecutorName, usize> {
        let executors = lock(&self.executors);
        executors
            .iter()
            .map(|(name, slot)| {
                let free = slot
                    .executor
                    .capacity()
                    .saturating_sub(slot.in_flight.load(Ordering::SeqCst));
                (name.clone(), free)
            })
            .filter(|&(_, free)| free > 0)
            .collect()
    }

    /// Takes a place in an executor; `None` where that is gone, or was filled by the claim of another store.
    pub(super) fn place(
        self: &Arc<Self>,
        name: &ExecutorName,
    ) -> Option<(Place, Arc<dyn Executor>)> {
        let slot = Arc::clone(lock(&self.executors).get(name)?);
        let executor = Arc::clone(&slot.executor);
        let capacity = executor.capacity();
        slot.in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
                (taken < capacity).then_some(taken + 1)
            })
            .ok()?;
        let shared = Arc::clone(self);
        Some((Place { slot, shared }, executor))
    }

    pub(super) fn stores(&self) -> Vec<Arc<Attached>> {
        lock(&self.stores).clone()
    }

    pub(super) fn store(&self, alias: &str) -> Result<Arc<Attached>, Error> {
        let stores = self.stores();
        let found = stores
            .iter()
            .find(|attached| &*attached.alias == alias)
            .cloned();
        found.ok_or_else(|| Error::UnknownJobStore {
            alias: alias.to_owned(),
            likely: nearest_or_all(alias, stores.iter().map(|attached| &*attached.alias)),
        })
    }

    pub(super) fn wake_all(&self) {
        for attached in self.stores() {
            attached.wake.notify(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_well_when_each_of_its_callers_gets_through() {
        let mut health = Health::default();
        assert!(health.failed(Caller::Heartbeat, "no answer".to_owned()));
        assert!(!health.failed(Caller::Heartbeat, "none again".to_owned()));
        assert!(!health.recovered(Caller::Loop), "that one never failed");
        assert_eq!(health.shown().error.as_deref(), Some("none again"));
        assert!(!health.failed(Caller::Loop, "refused".to_owned()));
        assert!(!health.recovered(Caller::Heartbeat));
        assert_eq!(health.shown().error.as_deref(), Some("refused"));
        assert!(health.recovered(Caller::Loop));
        assert_eq!(health.shown().error, None);
    }
}
