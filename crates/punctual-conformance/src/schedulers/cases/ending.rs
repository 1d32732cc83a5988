//! Runs that are ended: by a shutdown, a timeout, or on request.

use std::time::Duration;

use punctual_core::event::EventKind;
use punctual_core::job::OnCrash;
use punctual_core::run::{Reason, RunState};
use punctual_core::scheduler::{NewJob, SchedulerBuilder, SchedulerState, Shutdown, StartMode};

use crate::schedulers::trial::{World, add, runs};
use crate::schedulers::{SchedulerTrial, Subject};

/// A shutdown that waits lets what runs come to its end.
pub fn a_shutdown_waits_for_what_runs(trial: &SchedulerTrial<'_>) {
    trial.case(|subject, world| {
        // The one that is let go first leaves the other waiting.
        for task in ["wait_blocking", "wait"] {
            subject.start(StartMode::Running).expect("it starts");
            add(subject, NewJob::new(task).id(task));
            assert_eq!(world.hear(), "waits");
            std::thread::scope(|scope| {
                let ending = scope.spawn(|| subject.shutdown(Shutdown::Wait));
                while subject.scheduler.state() != SchedulerState::Draining {
                    assert!(!ending.is_finished(), "it does not wait");
                    std::thread::yield_now();
                }
                assert!(!ending.is_finished(), "it does not wait");
                match task {
                    "wait_blocking" => world.open_for_blocking(),
                    _ => world.open(),
                }
            });
            assert_eq!(subject.scheduler.state(), SchedulerState::Stopped);
            assert_eq!(runs(subject, task)[0].state(), RunState::Succeeded);
        }
    });
}

/// A shutdown that does not wait asks what runs to stop, and cuts off what does not.
pub fn a_shutdown_may_cancel_what_runs(trial: &SchedulerTrial<'_>) {
    trial.case_with(impatient, |subject, world| {
        for task in ["obey", "obey_blocking"] {
            subject.start(StartMode::Running).expect("it starts");
            let job = NewJob::new(task).id(task).on_crash(OnCrash::GiveUp);
            add(subject, job);
            assert_eq!(world.hear(), "waits");
            subject.shutdown(Shutdown::Cancel);
            assert_eq!(world.hear(), "obeys");
        }
        subject.start(StartMode::Running).expect("it starts");
        let job = NewJob::new("wait").id("deaf").on_crash(OnCrash::GiveUp);
        add(subject, job);
        assert_eq!(world.hear(), "waits");
        subject.shutdown(Shutdown::Cancel);
        let run = &runs(subject, "deaf")[0];
        assert_eq!(run.state(), RunState::Cancelled);
        assert_eq!(run.reason, Some(Reason::Shutdown));
    });
}

/// Who is asked to stop has little time.
fn impatient(builder: SchedulerBuilder) -> SchedulerBuilder {
    builder.cancel_grace(Duration::from_millis(50))
}

fn shut_down_by(subject: &Subject, world: &World, task: &str) {
    add(subject, NewJob::new(task).id(task));
    assert_eq!(world.hear(), "asked", "it does not wait for itself");
    async_io::block_on(subject.scheduler.stopped());
    world.event(&[EventKind::SchedulerShutdown]);
    assert_eq!(runs(subject, task)[0].state(), RunState::Succeeded);
    // The kind's own shutdown finds that it is done.
    subject.shutdown(Shutdown::Wait);
    subject.start(StartMode::Running).expect("it starts again");
    let next = format!("after {task}");
    add(subject, NewJob::new("note").id(&next));
    assert_eq!(world.hear(), next);
}

/// An async task may shut its own scheduler down.
pub fn a_job_may_shut_the_scheduler_down(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| shut_down_by(subject, world, "stop"));
}

/// A blocking task may shut its own scheduler down.
pub fn a_blocking_job_may_shut_the_scheduler_down(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| shut_down_by(subject, world, "stop_blocking"));
}

/// A run that takes longer than its timeout is asked to stop, and has timed out where it does not end well.
pub fn a_run_that_takes_too_long_is_ended(trial: &SchedulerTrial<'_>) {
    trial.case_with(impatient, |subject, world| {
        subject.start(StartMode::Running).expect("it starts");
        for task in ["wait", "wait_blocking"] {
            let job = NewJob::new(task).id(task);
            // Long enough for a slow machine to start it.
            add(subject, job.timeout(Duration::from_millis(500)));
            assert_eq!(world.hear(), "waits");
            world.event_of(EventKind::JobError, task);
            let run = &runs(subject, task)[0];
            assert_eq!(run.state(), RunState::TimedOut);
            assert!(
                run.error
                    .as_ref()
                    .is_some_and(|error| error.contains("0.5 s"))
            );
        }
    });
}

fn cancelled(subject: &Subject, world: &World, task: &str) {
    add(subject, NewJob::new(task).id(task));
    assert_eq!(world.hear(), "waits");
    let run = runs(subject, task)[0].id;
    let cancelled = subject.scheduler.blocking().cancel_run(run);
    cancelled.expect("it is there");
    assert_eq!(world.hear(), "obeys");
    world.event_of(EventKind::JobExecuted, task);
}

/// A run may be asked to stop while it runs; one that does not listen is cut off.
pub fn a_run_may_be_cancelled(trial: &SchedulerTrial<'_>) {
    trial.case_with(impatient, |subject, world| {
        subject.start(StartMode::Running).expect("it starts");
        cancelled(subject, world, "obey");
        add(subject, NewJob::new("wait").id("deaf"));
        assert_eq!(world.hear(), "waits");
        let run = runs(subject, "deaf")[0].id;
        let asked = subject.scheduler.blocking().cancel_run(run);
        asked.expect("it is there");
        world.event_of(EventKind::JobError, "deaf");
        let run = &runs(subject, "deaf")[0];
        assert_eq!(run.state(), RunState::Cancelled);
        assert_eq!(run.reason, Some(Reason::Requested));
    });
}

/// A blocking task hears that it is to stop.
pub fn a_blocking_run_may_be_cancelled(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| cancelled(subject, world, "obey_blocking"));
}
