//! Jobs run when they are due.

use std::time::Duration;

use punctual_core::event::EventKind;
use punctual_core::plan::PauseRequest;
use punctual_core::run::{Reason, RunState};
use punctual_core::scheduler::NewJob;
use punctual_trigger::Trigger;

use crate::schedulers::SchedulerTrial;
use crate::schedulers::trial::{add, id, runs};

fn every(interval: Duration) -> Trigger {
    Trigger::interval(interval).expect("it is an interval")
}

/// A job that is due runs, be its task async or blocking, and its run succeeds.
pub fn a_job_that_is_due_runs(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        for task in ["note", "note_blocking"] {
            add(subject, NewJob::new(task).id(task));
            assert_eq!(world.hear(), task);
            world.event_of(EventKind::JobExecuted, task);
            let runs = runs(subject, task);
            assert_eq!(runs.len(), 1);
            assert_eq!(runs[0].state(), RunState::Succeeded);
        }
    });
}

/// A task may add jobs, awaiting the scheduler or blocking on it.
pub fn a_job_may_be_added_from_inside_a_job(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        for (task, inner) in [("add", "inner"), ("add_blocking", "inner, blocking")] {
            add(subject, NewJob::new(task).id(task).arg(inner));
            assert_eq!(world.hear(), inner);
            world.event_of(EventKind::JobExecuted, task);
        }
    });
}

/// A scheduler that sleeps until a later job wakes up for one that is due earlier.
pub fn an_earlier_job_wakes_it_up(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let later = every(Duration::from_hours(1));
        add(subject, NewJob::new("note").id("later").trigger(later));
        let soon = subject.scheduler.now() + Duration::from_millis(40);
        let job = NewJob::new("note").id("soon").trigger(Trigger::date(soon));
        add(subject, job);
        assert_eq!(world.hear(), "soon");
        world.event_of(EventKind::JobExecuted, "soon");
        let run = &runs(subject, "soon")[0];
        assert!(run.started_at >= Some(soon), "it was early: {run:?}");
    });
}

/// A job with nothing left to run is removed when its last run has ended.
pub fn a_job_that_runs_once_is_removed(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let scheduler = subject.scheduler.blocking();
        add(subject, NewJob::new("wait").id("once"));
        assert_eq!(world.hear(), "waits");
        let job = scheduler.get_job(&id("once")).expect("it can be asked");
        assert!(job.is_some(), "while it runs it is there");
        world.open();
        world.event_of(EventKind::JobRemoved, "once");
        let job = scheduler.get_job(&id("once")).expect("it can be asked");
        assert!(job.is_none());
        assert_eq!(runs(subject, "once").len(), 1, "the ledger keeps its run");
    });
}

/// An interval job fires again and again, at its own times.
pub fn an_interval_goes_on(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let interval = Duration::from_millis(30);
        add(
            subject,
            NewJob::new("note").id("tick").trigger(every(interval)),
        );
        for _ in 0..5 {
            assert_eq!(world.hear(), "tick");
        }
        for _ in 0..5 {
            world.event_of(EventKind::JobExecuted, "tick");
        }
        let runs = runs(subject, "tick");
        let first = runs[0].scheduled_at;
        for run in &runs {
            let after = run.scheduled_at.duration_since(first);
            assert_eq!(after.as_micros() % 30_000, 0, "off its grid: {run:?}");
            assert!(run.started_at.is_none_or(|at| at >= run.scheduled_at));
        }
    });
}

/// An occurrence that is later than its grace time allows does not run.
pub fn what_is_too_late_is_missed(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let past = subject.scheduler.now() - Duration::from_hours(1);
        let job = NewJob::new("note").id("late").trigger(Trigger::date(past));
        add(subject, job.misfire_grace_time(Duration::from_secs(1)));
        world.event_of(EventKind::JobMissed, "late");
        let runs = runs(subject, "late");
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].state(), RunState::Skipped);
        assert_eq!(runs[0].reason, Some(Reason::Misfired));
        assert!(world.has_heard_nothing());
    });
}

/// While as many instances run as may, an occurrence is skipped.
pub fn instances_are_limited(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        for task in ["wait", "wait_blocking"] {
            let often = every(Duration::from_millis(20));
            add(subject, NewJob::new(task).id(task).trigger(often));
            assert_eq!(world.hear(), "waits");
            let event = world.event_of(EventKind::JobMaxInstances, task);
            let run = event.run.expect("the event has the occurrence");
            assert_eq!(run.reason, Some(Reason::MaxInstances));
            assert!(world.has_heard_nothing(), "one at a time");
        }
    });
}

/// A closure can be scheduled.
pub fn a_closure_runs(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let (tell, told) = async_channel::unbounded();
        let closure = move || {
            let tell = tell.clone();
            async move { tell.send(()).await.map_err(|error| error.to_string()) }
        };
        let added = subject.scheduler.add_local(closure).id("closure");
        let added = added.every(Duration::from_millis(20)).wait();
        added.expect("it is added");
        for _ in 0..3 {
            told.recv_blocking().expect("it is called");
        }
        world.event_of(EventKind::JobExecuted, "closure");
    });
}

/// A paused job does not run; when it is resumed it does.
pub fn a_paused_job_waits(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let scheduler = subject.scheduler.blocking();
        let often = every(Duration::from_millis(20));
        add(subject, NewJob::new("note").id("job").trigger(often));
        assert_eq!(world.hear(), "job");
        let paused = scheduler.pause_job(&id("job"), PauseRequest::default());
        let paused = paused.expect("it is paused");
        assert_eq!(paused.next_run_time(), None);
        let resumed = scheduler.resume_job(&id("job")).expect("it is resumed");
        let resumed_at = resumed.expect("it is there").state.cursor;
        while !world.has_heard_nothing() {}
        assert_eq!(world.hear(), "job");
        world.event_of(EventKind::JobExecuted, "job");
        let paused_at = paused.state.paused.expect("it was paused").at;
        let between = runs(subject, "job")
            .into_iter()
            .filter(|run| run.started_at.is_some())
            .filter(|run| run.scheduled_at > paused_at && run.scheduled_at <= resumed_at)
            .count();
        assert_eq!(between, 0, "nothing is made up for");
    });
}

/// Ten thousand jobs that are due at once each run once.
pub fn ten_thousand_due_jobs_run_at_once(trial: &SchedulerTrial<'_>) {
    const JOBS: usize = 10_000;
    trial.case(|subject, world| {
        let due = subject.scheduler.now();
        // Many at a time: a store on disk writes them together.
        for chunk in 0..JOBS / 500 {
            let adding = (0..500).map(|number| {
                let job = NewJob::new("note").id(format!("job {}", chunk * 500 + number));
                subject.scheduler.add_job(job.trigger(Trigger::date(due)))
            });
            for added in async_io::block_on(futures_util::future::join_all(adding)) {
                added.expect("the job can be added");
            }
        }
        let all: Vec<_> = (0..JOBS).map(|number| format!("job {number}")).collect();
        subject
            .start(punctual_core::scheduler::StartMode::Running)
            .expect("it starts");
        let mut heard: Vec<_> = (0..JOBS).map(|_| world.hear()).collect();
        heard.sort_unstable_by_key(|job| (job.len(), job.clone()));
        assert_eq!(heard, all, "each once");
        subject.shutdown(punctual_core::scheduler::Shutdown::Wait);
        assert!(world.has_heard_nothing(), "each once");
        let left = subject.scheduler.blocking().get_jobs();
        assert_eq!(left.expect("they can be listed").len(), 0);
        let page = subject.scheduler.blocking().runs(
            punctual_core::scheduler::DEFAULT_ALIAS,
            &punctual_core::store::RunQuery::default(),
        );
        let succeeded = page.expect("the ledger can be read").items;
        assert_eq!(succeeded.len(), JOBS);
        assert!(
            succeeded
                .iter()
                .all(|run| run.state() == RunState::Succeeded)
        );
    });
}
