//! Starting, pausing, ending.

use std::sync::Arc;

use punctual_core::clock::SystemClock;
use punctual_core::event::EventKind;
use punctual_core::executor::ThreadPoolExecutor;
use punctual_core::memory::MemoryStore;
use punctual_core::scheduler::{Error, NewJob, SchedulerState, Shutdown, StartMode};

use crate::schedulers::SchedulerTrial;
use crate::schedulers::trial::{add, runs};

/// A scheduler that runs says so, is not started twice, and says so when it has ended.
pub fn it_starts_and_ends(trial: &SchedulerTrial<'_>) {
    trial.case(|subject, world| {
        let scheduler = &subject.scheduler;
        assert_eq!(scheduler.state(), SchedulerState::Stopped);
        subject.start(StartMode::Running).expect("it starts");
        world.event(&[EventKind::SchedulerStarted]);
        assert!(scheduler.is_running());
        let again = subject.start(StartMode::Running);
        assert!(matches!(again, Err(Error::AlreadyRunning)), "{again:?}");
        subject.shutdown(Shutdown::Wait);
        assert_eq!(scheduler.state(), SchedulerState::Stopped);
        world.event(&[EventKind::SchedulerShutdown]);
    });
}

/// A shutdown may come twice, or before the start.
pub fn it_may_be_shut_down_twice_or_before_it_starts(trial: &SchedulerTrial<'_>) {
    trial.case(|subject, world| {
        subject.shutdown(Shutdown::Wait);
        subject.start(StartMode::Running).expect("it starts");
        subject.shutdown(Shutdown::Wait);
        subject.shutdown(Shutdown::Wait);
        subject.shutdown(Shutdown::Cancel);
        let kinds = [EventKind::SchedulerStarted, EventKind::SchedulerShutdown];
        assert_eq!(world.event(&kinds).kind, EventKind::SchedulerStarted);
        assert_eq!(world.event(&kinds).kind, EventKind::SchedulerShutdown);
    });
}

/// A scheduler that was shut down can be started again, and runs what is due.
pub fn it_may_be_started_again(trial: &SchedulerTrial<'_>) {
    trial.case(|subject, world| {
        for job in ["first", "second"] {
            subject.start(StartMode::Running).expect("it starts");
            add(subject, NewJob::new("note").id(job));
            assert_eq!(world.hear(), job);
            let blocking = format!("{job}, blocking");
            add(subject, NewJob::new("note_blocking").id(&blocking));
            assert_eq!(world.hear(), blocking);
            subject.shutdown(Shutdown::Wait);
        }
    });
}

/// A scheduler that is started paused runs nothing before it is resumed.
pub fn it_may_start_paused(trial: &SchedulerTrial<'_>) {
    trial.case(|subject, world| {
        let scheduler = subject.scheduler.blocking();
        subject.start(StartMode::Paused).expect("it starts");
        assert!(scheduler.is_paused().expect("it can be asked"));
        add(subject, NewJob::new("note").id("job"));
        let resumed_at = subject.scheduler.now();
        scheduler.resume().expect("it is resumed");
        assert_eq!(world.hear(), "job");
        world.event_of(EventKind::JobExecuted, "job");
        assert!(runs(subject, "job")[0].started_at >= Some(resumed_at));
        assert!(!scheduler.is_paused().expect("it can be asked"));
    });
}

/// While the scheduler is paused no run starts; what is due then starts when it is resumed.
pub fn it_may_be_paused_and_resumed(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let scheduler = subject.scheduler.blocking();
        scheduler.pause().expect("it is paused");
        world.event(&[EventKind::SchedulerPaused]);
        add(subject, NewJob::new("note").id("job"));
        let resumed_at = subject.scheduler.now();
        scheduler.resume().expect("it is resumed");
        assert_eq!(world.hear(), "job");
        // The run may be faster than the news.
        let kinds = [EventKind::SchedulerResumed, EventKind::JobExecuted];
        assert_ne!(world.event(&kinds).kind, world.event(&kinds).kind);
        assert!(runs(subject, "job")[0].started_at >= Some(resumed_at));
    });
}

/// A job that was added before the start runs after it.
pub fn jobs_may_be_added_before_the_start(trial: &SchedulerTrial<'_>) {
    trial.case(|subject, world| {
        add(subject, NewJob::new("note").id("early"));
        world.event_of(EventKind::JobAdded, "early");
        subject.start(StartMode::Running).expect("it starts");
        assert_eq!(world.hear(), "early");
    });
}

/// Job stores and executors can be added and removed while the scheduler runs.
pub fn stores_and_executors_come_and_go(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let scheduler = &subject.scheduler;
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        scheduler.add_jobstore("side", store).expect("it is added");
        world.event(&[EventKind::JobStoreAdded]);
        let pool = Arc::new(ThreadPoolExecutor::new(2));
        scheduler.add_executor("pool", pool).expect("it is added");
        world.event(&[EventKind::ExecutorAdded]);
        let job = NewJob::new("note_blocking").id("job");
        add(subject, job.job_store("side").executor("pool"));
        assert_eq!(world.hear(), "job");
        let removed = async_io::block_on(scheduler.remove_jobstore("side"));
        removed.expect("it is removed");
        world.event(&[EventKind::JobStoreRemoved]);
        scheduler.remove_executor("pool").expect("it is removed");
        world.event(&[EventKind::ExecutorRemoved]);
        add(subject, NewJob::new("note").id("after"));
        assert_eq!(world.hear(), "after");
    });
}
