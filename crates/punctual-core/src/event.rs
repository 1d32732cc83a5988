//! Events, and listeners that can neither delay nor hurt anybody.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::id::JobId;
use crate::run::Run;

/// How many events may wait for one listener; beyond that they are dropped, with a warning that says how many.
pub const LISTENER_QUEUE_MAX: usize = 16_384;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u32)]
pub enum EventKind {
    /// The scheduler began to work.
    SchedulerStarted,
    /// The scheduler has ended.
    SchedulerShutdown,
    /// It starts no runs for now.
    SchedulerPaused,
    /// It starts runs again.
    SchedulerResumed,
    /// An executor was added.
    ExecutorAdded,
    /// An executor was removed.
    ExecutorRemoved,
    /// A job store was added.
    JobStoreAdded,
    /// A job store was removed.
    JobStoreRemoved,
    /// Every job was removed.
    AllJobsRemoved,
    /// A job was added or replaced.
    JobAdded,
    /// A job was removed, by somebody or because nothing was left to run.
    JobRemoved,
    /// A job was changed, paused or resumed.
    JobModified,
    /// A run was given to its executor.
    JobSubmitted,
    /// Its task was called. Follows [`JobSubmitted`](Self::JobSubmitted) as soon as the executor has a place, and comes before
    /// the run's end; a run that was stopped before has none.
    JobStarted,
    /// An occurrence was skipped: as many instances as allowed were live.
    JobMaxInstances,
    /// A run succeeded.
    JobExecuted,
    /// A run failed, timed out or was cancelled.
    JobError,
    /// An occurrence was skipped: it was too late.
    JobMissed,
    /// A run was taken from a node that is gone.
    JobLost,
    /// A job store did not answer as it should; it is tried again.
    JobStoreFailed,
    /// It answers again.
    JobStoreRecovered,
}

/// One event. Fields that make no sense for its kind are `None`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// The alias of the job store or executor.
    pub alias: Option<Arc<str>>,
    /// The job.
    pub job_id: Option<JobId>,
    /// The run, or the skipped occurrence, as it was then.
    pub run: Option<Arc<Run>>,
    /// What went wrong.
    pub error: Option<Arc<str>>,
}

impl Event {
    pub(crate) fn new(kind: EventKind, at: Timestamp) -> Self {
        Self {
            kind,
            at,
            alias: None,
            job_id: None,
            run: None,
            error: None,
        }
    }

    pub(crate) fn alias(mut self, alias: &Arc<str>) -> Self {
        self.alias = Some(Arc::clone(alias));
        self
    }

    pub(crate) fn job(mut self, id: &JobId) -> Self {
        self.job_id = Some(id.clone());
        self
    }

    pub(crate) fn run(mut self, run: Run) -> Self {
        self.job_id = Some(run.job_id.clone());
        self.run = Some(Arc::new(run));
        self
    }

    pub(crate) fn error(mut self, error: impl fmt::Display) -> Self {
        self.error = Some(error.to_string().into());
        self
    }
}

/// Names a listener, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

struct Listener {
    id: ListenerId,
    kinds: u32,
    queue: SyncSender<Event>,
    dropped: Arc<AtomicU64>,
}

/// Hands events to listeners. Each has a queue and a thread of its own.
#[derive(Default)]
pub(crate) struct Listeners {
    all: Mutex<Vec<Listener>>,
    count: AtomicUsize,
    made: AtomicU64,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listeners({})", self.count.load(Ordering::Relaxed))
    }
}

impl Listeners {
    /// Calls `listener` for every event of `kinds`; for every event at all where `kinds` is empty.
    pub(crate) fn add(
        &self,
        kinds: &[EventKind],
        mut listener: impl FnMut(&Event) + Send + 'static,
    ) -> ListenerId {
        let mask = kinds.iter().fold(0, |mask, &kind| mask | 1 << kind as u32);
        let id = ListenerId(self.made.fetch_add(1, Ordering::Relaxed));
        let (queue, events) = sync_channel::<Event>(LISTENER_QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let body = move || {
            for event in events {
                let missed = lost.swap(0, Ordering::Relaxed);
                if missed > 0 {
                    tracing::warn!(missed, "a listener was too slow for some events");
                }
                if catch_unwind(AssertUnwindSafe(|| listener(&event))).is_err() {
                    tracing::error!(kind = ?event.kind, "a listener panicked");
                }
            }
        };
        if let Err(error) = std::thread::Builder::new()
            .name("punctual-listener".to_owned())
            .spawn(body)
        {
            tracing::error!(%error, "no thread for a listener could be started");
        }
        let kinds = if mask == 0 { u32::MAX } else { mask };
        self.lock().push(Listener {
            id,
            kinds,
            queue,
            dropped,
        });
        self.count.fetch_add(1, Ordering::Relaxed);
        id
    }

    pub(crate) fn remove(&self, id: ListenerId) -> bool {
        let mut listeners = self.lock();
        let before = listeners.len();
        listeners.retain(|listener| listener.id != id);
        self.count.store(listeners.len(), Ordering::Relaxed);
        listeners.len() < before
    }

    /// Whether anybody listens: where not, events need not be made.
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        if !self.any() {
            return;
        }
        let event = event();
        for listener in &*self.lock() {
            if listener.kinds & 1 << event.kind as u32 == 0 {
                continue;
            }
            if let Err(TrySendError::Full(_)) = listener.queue.try_send(event.clone()) {
                listener.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Listener>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
