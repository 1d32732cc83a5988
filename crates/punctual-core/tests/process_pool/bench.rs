//! A scheduler with a process pool, and waiting with a bound.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use punctual_core::cancel::CancelToken;
use punctual_core::clock::{Clock, SystemClock};
use punctual_core::event::{Event, EventKind};
use punctual_core::executor::{ProcessPoolExecutor, Work};
use punctual_core::id::{JobId, JobKey, RunId};
use punctual_core::lease::Lease;
use punctual_core::run::{NewRun, Run, RunKind, RunState};
use punctual_core::scheduler::{
    BackgroundScheduler, NewJob, Scheduler, SchedulerBuilder, StartMode,
};
use punctual_core::store::RunQuery;
use punctual_core::task::{RunContext, TaskEnd};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::tasks::tasks;

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Bench {
    pub(crate) scheduler: BackgroundScheduler,
    pub(crate) pool: Arc<ProcessPoolExecutor>,
    pub(crate) folder: TempDir,
    ends: Receiver<Event>,
    /// Of runs that have ended, by their jobs.
    rows: RefCell<BTreeMap<JobId, Run>>,
}

impl Bench {
    pub(crate) fn new(max_workers: usize) -> Self {
        Self::with(ProcessPoolExecutor::new(max_workers), |builder| builder)
    }

    pub(crate) fn with(
        pool: ProcessPoolExecutor,
        adjust: impl FnOnce(SchedulerBuilder) -> SchedulerBuilder,
    ) -> Self {
        let pool = Arc::new(pool);
        let builder = Scheduler::builder()
            .registry(tasks().expect("each task has a name of its own"))
            .executor("default", Arc::<ProcessPoolExecutor>::clone(&pool));
        let scheduler = BackgroundScheduler::build(adjust(builder)).expect("it can be built");
        let (sender, ends) = channel();
        let kinds = [
            EventKind::JobExecuted,
            EventKind::JobError,
            EventKind::JobLost,
        ];
        scheduler.scheduler().add_listener(&kinds, move |event| {
            let _ = sender.send(event.clone());
        });
        scheduler
            .start(StartMode::Running)
            .expect("it was not started");
        let folder = tempfile::tempdir().expect("there is room for a folder");
        Self {
            scheduler,
            pool,
            folder,
            ends,
            rows: RefCell::default(),
        }
    }

    pub(crate) fn add(&self, job: NewJob) -> JobId {
        let added = self.scheduler.add_job(job).expect("it fits");
        added.job.id().clone()
    }

    /// Begins a run of a task; one that takes nothing is given `()`.
    pub(crate) fn start(&self, task: &str, arg: impl Serialize) -> JobId {
        self.add(job(task, arg))
    }

    /// The rows of runs that have ended, as the ledger has them.
    pub(crate) fn ended(&self, jobs: &[JobId]) -> Vec<Run> {
        let mut rows = self.rows.borrow_mut();
        while !jobs.iter().all(|job| rows.contains_key(job)) {
            let event = self.ends.recv_timeout(PATIENCE).expect("every run ends");
            let run = event.run.expect("these are of runs");
            let row = self.scheduler.get_run(run.id).expect("it is in the ledger");
            rows.insert(run.job_id.clone(), row);
        }
        jobs.iter().map(|job| rows[job].clone()).collect()
    }

    pub(crate) fn end_of(&self, job: JobId) -> Run {
        self.ended(&[job]).remove(0)
    }

    /// A run from its beginning to its end.
    pub(crate) fn run(&self, task: &str, arg: impl Serialize) -> Run {
        self.end_of(self.start(task, arg))
    }

    /// Why a run failed.
    pub(crate) fn error(&self, task: &str, arg: impl Serialize) -> String {
        let row = self.run(task, arg);
        assert_eq!(row.state(), RunState::Failed, "{row:?}");
        row.error.expect("a failed run says why")
    }

    /// What a run printed or returned.
    pub(crate) fn output(&self, task: &str, arg: impl Serialize) -> String {
        let row = self.run(task, arg);
        assert_eq!(row.state(), RunState::Succeeded, "{:?}", row.error);
        let output = row.output.unwrap_or_default();
        output.trim_end().to_owned()
    }

    /// The worker of a run that returns its number.
    pub(crate) fn pid(&self) -> u32 {
        self.output("pid", ()).parse().expect("it is a number")
    }

    /// Asks the run of a job to stop.
    pub(crate) fn cancel(&self, job: &JobId) {
        let query = RunQuery {
            job_id: Some(job.clone()),
            ..RunQuery::default()
        };
        let runs = self
            .scheduler
            .runs("default", &query)
            .expect("memory answers");
        self.scheduler
            .cancel_run(runs.items[0].id)
            .expect("it runs");
    }

    /// A run for a pool without a scheduler: how it ends comes back.
    pub(crate) fn work(&self, task: &str, arg: impl Serialize, lease: Lease) -> (Work, End) {
        let job = self
            .scheduler
            .add_job(job(task, arg).paused())
            .expect("it fits")
            .job;
        let now = SystemClock.now();
        let run = Run::pending(NewRun {
            id: RunId(1),
            job_id: job.id().clone(),
            job_key: JobKey(1),
            kind: RunKind::Manual,
            scheduled_at: now,
            due_at: now,
            instance: 1,
        });
        let context = RunContext::new(Arc::new(run), job.definition, CancelToken::new());
        let (sender, end) = channel();
        let work = Work {
            context: context.with_lease(lease),
            done: Box::new(move |end| sender.send(end).expect("somebody waits")),
        };
        (work, End(end))
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

fn job(task: &str, arg: impl Serialize) -> NewJob {
    let job = NewJob::new(task);
    match serde_json::to_value(arg).expect("it is JSON") {
        Value::Null => job,
        arg => job.arg(arg),
    }
}

/// The end of a run without a scheduler.
pub(crate) struct End(Receiver<TaskEnd>);

impl End {
    pub(crate) fn wait(self) -> TaskEnd {
        self.0.recv_timeout(PATIENCE).expect("every run ends")
    }
}

/// Looks until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = SystemClock.monotonic() + PATIENCE;
    while !is_so() {
        assert!(SystemClock.monotonic() < end, "it was never so: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a file says, once it is there.
pub(crate) fn await_file(path: &Path) -> String {
    until(&format!("{} is there", path.display()), || path.exists());
    std::fs::read_to_string(path).expect("it is there")
}

pub(crate) fn number(text: &str) -> u32 {
    text.trim().parse().expect("it is a number")
}

/// Whether there is a process of this number, also one that nobody has waited for.
pub(crate) fn exists(process: u32) -> bool {
    rustix::process::test_kill_process(pid(process)).is_ok()
}

/// Whether it still does something: one that has lost its parent may wait for long for somebody to bury it.
pub(crate) fn lives(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    let is_zombie = stat.is_ok_and(|stat| stat.contains(") Z "));
    exists(process) && !is_zombie
}

pub(crate) fn pid(process: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(process as i32).expect("a process has a number above 0")
}
