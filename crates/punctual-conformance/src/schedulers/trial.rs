//! What a case works with: tasks that tell what they do, and events to wait for.

use std::any::Any;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use punctual_core::cancel::CancelToken;
use punctual_core::event::{Event, EventKind};
use punctual_core::id::JobId;
use punctual_core::run::Run;
use punctual_core::scheduler::{
    DEFAULT_ALIAS, NewJob, Scheduler, SchedulerBuilder, Shutdown, StartMode,
};
use punctual_core::store::{JobStore, RunQuery};
use punctual_core::task::{Args, Registry, RunContext, State};

use super::{Body, Host, Subject};

/// How long a case waits for what must come: longer than a slow machine takes, shorter than somebody's patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// A job store, and what is to be kept until it is gone.
pub type Store = Option<(Arc<dyn JobStore>, Box<dyn Any + Send>)>;

/// A kind of scheduler with a kind of store.
pub struct SchedulerTrial<'a> {
    host: &'a dyn Host,
    store: &'a dyn Fn() -> Store,
}

impl fmt::Debug for SchedulerTrial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerTrial").finish_non_exhaustive()
    }
}

impl<'a> SchedulerTrial<'a> {
    /// A trial of `host` on stores that `store` opens.
    pub fn new(host: &'a dyn Host, store: &'a dyn Fn() -> Store) -> Self {
        Self { host, store }
    }

    /// Runs a case on a scheduler that is not started yet.
    pub fn case(&self, case: impl FnOnce(&Subject, &World) + Send + 'static) {
        self.case_with(|builder| builder, case);
    }

    /// Runs a case on a scheduler that has been started.
    pub fn started(&self, case: impl FnOnce(&Subject, &World) + Send + 'static) {
        self.case(|subject, world| {
            subject.start(StartMode::Running).expect("it starts");
            case(subject, world);
        });
    }

    /// The same with another builder.
    pub fn case_with(
        &self,
        adjust: impl FnOnce(SchedulerBuilder) -> SchedulerBuilder,
        case: impl FnOnce(&Subject, &World) + Send + 'static,
    ) {
        let (said, hears) = channel();
        let (event, events) = channel();
        let stage = Arc::new(Stage {
            said: Mutex::new(said),
            scheduler: OnceLock::new(),
            gate: CancelToken::new(),
            door: Door::default(),
        });
        let mut builder = Scheduler::builder().registry(registry(&stage));
        let kept = (self.store)().map(|(store, kept)| {
            builder = std::mem::replace(&mut builder, Scheduler::builder())
                .job_store(DEFAULT_ALIAS, store);
            kept
        });
        let world = World {
            stage,
            hears,
            events,
        };
        let body: Body = Box::new(move |subject| {
            let scheduler = &subject.scheduler;
            world.stage.scheduler.get_or_init(|| scheduler.clone());
            scheduler.add_listener(&[], move |seen| {
                let _ = event.send(seen.clone());
            });
            case(subject, &world);
            // Whoever still waits must not hold up the end.
            world.open();
        });
        self.host.run(adjust(builder), body);
        drop(kept);
    }
}

/// What tasks and case share.
struct Stage {
    said: Mutex<Sender<String>>,
    scheduler: OnceLock<Scheduler>,
    /// Where async tasks wait.
    gate: CancelToken,
    /// Where blocking tasks wait.
    door: Door,
}

#[derive(Default)]
struct Door(Mutex<bool>, Condvar);

impl Stage {
    fn say(&self, what: impl Into<String>) {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = said.send(what.into());
    }

    fn scheduler(&self) -> &Scheduler {
        self.scheduler.get().expect("the case sets it first")
    }
}

type Staged = State<Arc<Stage>>;

/// The tasks that cases call. Each says what it does.
fn registry(stage: &Arc<Stage>) -> Registry {
    let mut registry = Registry::new();
    registry.state(Arc::clone(stage));
    let tasks = [
        registry.add("note", async |run: RunContext, stage: Staged| {
            stage.say(run.run().job_id.as_str());
        }),
        registry.add_blocking("note_blocking", |run: RunContext, stage: Staged| {
            stage.say(run.run().job_id.as_str());
        }),
        registry.add("fail", async || Err::<(), _>("it went wrong")),
        registry.add_blocking("fail_blocking", || Err::<(), _>("it went wrong")),
        registry.add("explode", explode),
        registry.add_blocking("explode_blocking", explode_blocking),
        registry.add("wait", async |stage: Staged| {
            stage.say("waits");
            stage.gate.cancelled().await;
        }),
        registry.add("obey", async |run: RunContext, stage: Staged| {
            stage.say("waits");
            run.cancel_token().cancelled().await;
            stage.say("obeys");
        }),
        registry.add_blocking("obey_blocking", |run: RunContext, stage: Staged| {
            stage.say("waits");
            async_io::block_on(run.cancel_token().cancelled());
            stage.say("obeys");
        }),
        registry.add_blocking("wait_blocking", |stage: Staged| {
            stage.say("waits");
            let Door(open, opened) = &stage.door;
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            while !*open {
                open = opened.wait(open).unwrap_or_else(PoisonError::into_inner);
            }
        }),
        registry.add("add", async |Args(id): Args<String>, stage: Staged| {
            let job = NewJob::new("note").id(id);
            let added = stage.scheduler().add_job(job).await;
            added.map(drop).map_err(|error| error.to_string())
        }),
        registry.add_blocking("add_blocking", |Args(id): Args<String>, stage: Staged| {
            let job = NewJob::new("note_blocking").id(id);
            let added = stage.scheduler().blocking().add_job(job);
            added.map(drop).map_err(|error| error.to_string())
        }),
        registry.add("stop", async |stage: Staged| {
            stage.scheduler().shutdown(Shutdown::Wait).await;
            stage.say("asked");
        }),
        registry.add_blocking("stop_blocking", |stage: Staged| {
            stage.scheduler().blocking().shutdown(Shutdown::Wait);
            stage.say("asked");
        }),
    ];
    for task in tasks {
        task.expect("each has a name of its own");
    }
    registry
}

async fn explode() {
    panic!("boom");
}

fn explode_blocking() {
    panic!("boom");
}

/// What a case hears of its scheduler.
pub struct World {
    stage: Arc<Stage>,
    hears: Receiver<String>,
    events: Receiver<Event>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// The next thing that a task says.
    pub fn hear(&self) -> String {
        match self.hears.recv_timeout(PATIENCE) {
            Ok(said) => said,
            Err(RecvTimeoutError::Timeout) => panic!("no task said anything"),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the stage holds the sender"),
        }
    }

    /// What was said and not heard yet.
    pub fn has_heard_nothing(&self) -> bool {
        self.hears.try_recv().is_err()
    }

    /// The next event of these kinds; others are passed over.
    pub fn event(&self, kinds: &[EventKind]) -> Event {
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) if kinds.contains(&event.kind) => return event,
                Ok(_) => {}
                Err(error) => panic!("none of these events came: {kinds:?} ({error})"),
            }
        }
    }

    /// The next event of a kind about a job.
    pub fn event_of(&self, kind: EventKind, job: &str) -> Event {
        loop {
            let event = self.event(&[kind]);
            if event.job_id.as_ref().is_some_and(|id| id.as_str() == job) {
                return event;
            }
        }
    }

    /// Lets every task go on that waits.
    pub fn open(&self) {
        self.stage.gate.cancel();
        self.open_for_blocking();
    }

    /// Lets the blocking tasks go on that wait.
    pub fn open_for_blocking(&self) {
        let Door(open, opened) = &self.stage.door;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        opened.notify_all();
    }
}

/// Adds a job.
pub(crate) fn add(subject: &Subject, job: NewJob) {
    let added = subject.scheduler.blocking().add_job(job);
    added.expect("the job can be added");
}

/// A job's id.
pub(crate) fn id(text: &str) -> JobId {
    JobId::new(text).expect("it is an id")
}

/// The rows of a job in the ledger, oldest first.
pub(crate) fn runs(subject: &Subject, job: &str) -> Vec<Run> {
    let query = RunQuery {
        job_id: Some(id(job)),
        ..RunQuery::default()
    };
    let page = subject.scheduler.blocking().runs(DEFAULT_ALIAS, &query);
    let mut runs = page.expect("the ledger can be read").items;
    runs.reverse();
    runs
}
