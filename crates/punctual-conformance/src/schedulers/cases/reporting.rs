//! What is told of runs and jobs.

use std::time::Duration;

use punctual_core::event::EventKind;
use punctual_core::plan::PauseRequest;
use punctual_core::run::RunState;
use punctual_core::scheduler::NewJob;
use punctual_trigger::Trigger;

use crate::schedulers::SchedulerTrial;
use crate::schedulers::trial::{add, id, runs};

/// A run is submitted, started, executed or failed, and its job then removed, in this order.
pub fn the_events_of_a_run_are_in_order(trial: &SchedulerTrial<'_>) {
    use EventKind::{JobAdded, JobError, JobExecuted, JobRemoved, JobStarted, JobSubmitted};
    trial.started(|subject, world| {
        let kinds = [
            JobAdded,
            JobSubmitted,
            JobStarted,
            JobExecuted,
            JobError,
            JobRemoved,
        ];
        for (task, end) in [
            ("note", JobExecuted),
            ("note_blocking", JobExecuted),
            ("fail", JobError),
            ("fail_blocking", JobError),
        ] {
            add(subject, NewJob::new(task).id(task));
            let events: Vec<_> = (0..5).map(|_| world.event(&kinds)).collect();
            let told: Vec<_> = events.iter().map(|event| event.kind).collect();
            // Whoever adds a job is told of it when the store has it; the loop may be faster.
            let mut of_the_run = told.clone();
            of_the_run.retain(|&kind| kind != JobAdded);
            assert_eq!(
                of_the_run,
                [JobSubmitted, JobStarted, end, JobRemoved],
                "{task}: {told:?}"
            );
            let rows: Vec<_> = events
                .iter()
                .filter_map(|event| event.run.as_ref())
                .collect();
            assert!(rows.iter().all(|row| row.id == rows[0].id), "one run");
        }
    });
}

/// An error is its run's: it is told and recorded, and the next job runs.
pub fn an_error_is_the_runs(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        for task in ["fail", "fail_blocking"] {
            add(subject, NewJob::new(task).id(task));
            let event = world.event_of(EventKind::JobError, task);
            assert_eq!(event.error.as_deref(), Some("it went wrong"));
            let run = &runs(subject, task)[0];
            assert_eq!(run.state(), RunState::Failed);
            assert_eq!(run.error.as_deref(), Some("it went wrong"));
        }
        add(subject, NewJob::new("note").id("next"));
        assert_eq!(world.hear(), "next");
    });
}

/// A panic is its run's error, and the next job runs.
pub fn a_panic_is_the_runs(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        for task in ["explode", "explode_blocking"] {
            add(subject, NewJob::new(task).id(task));
            let event = world.event_of(EventKind::JobError, task);
            let error = event.error.expect("the event says why");
            assert!(error.contains("panicked: boom"), "{error}");
            assert_eq!(runs(subject, task)[0].state(), RunState::Failed);
        }
        for task in ["note", "note_blocking"] {
            add(subject, NewJob::new(task).id(task));
            assert_eq!(world.hear(), task);
        }
    });
}

/// While a listener takes its time, jobs run and other listeners hear of them.
pub fn a_slow_listener_delays_nobody(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        subject
            .scheduler
            .add_listener(&[EventKind::JobExecuted], move |event| {
                let _ = tell.send(event.job_id.clone());
                let _ = gate.recv();
            });
        for number in 0..3 {
            let job = format!("job {number}");
            add(subject, NewJob::new("note").id(&job));
            assert_eq!(world.hear(), job);
            world.event_of(EventKind::JobExecuted, &job);
        }
        drop(open);
        for number in 0..3 {
            let job = told.recv().expect("in the end it hears of all");
            assert_eq!(job, Some(id(&format!("job {number}"))), "in order");
        }
    });
}

/// A listener that panics hurts neither jobs nor other listeners, and hears of the next event.
pub fn a_listener_may_panic(trial: &SchedulerTrial<'_>) {
    trial.started(|subject, world| {
        let (tell, told) = std::sync::mpsc::channel();
        subject
            .scheduler
            .add_listener(&[EventKind::JobExecuted], move |_| {
                let _ = tell.send(());
                panic!("of a listener");
            });
        for job in ["first", "second"] {
            add(subject, NewJob::new("note").id(job));
            assert_eq!(world.hear(), job);
            world.event_of(EventKind::JobExecuted, job);
            told.recv().expect("it hears of each");
        }
    });
}

/// Every change of a job is told: added, modified, paused, resumed, removed, all removed.
pub fn changes_of_jobs_are_told(trial: &SchedulerTrial<'_>) {
    use EventKind::{AllJobsRemoved, JobAdded, JobModified, JobRemoved};
    trial.started(|subject, world| {
        let scheduler = subject.scheduler.blocking();
        let hourly = || Trigger::interval(Duration::from_hours(1)).expect("it is an interval");
        let job = id("job");
        add(subject, NewJob::new("note").id("job").trigger(hourly()));
        scheduler
            .reschedule_job(&job, hourly())
            .expect("it is changed");
        scheduler
            .pause_job(&job, PauseRequest::default())
            .expect("it is paused");
        scheduler.resume_job(&job).expect("it is resumed");
        scheduler.remove_job(&job).expect("it is removed");
        scheduler
            .remove_all_jobs(None)
            .expect("nothing is there to be removed");
        let kinds = [JobAdded, JobModified, JobRemoved, AllJobsRemoved];
        for expected in [
            JobAdded,
            JobModified,
            JobModified,
            JobModified,
            JobRemoved,
            AllJobsRemoved,
        ] {
            let event = world.event(&kinds);
            assert_eq!(event.kind, expected);
            if expected != AllJobsRemoved {
                assert_eq!(event.job_id.as_ref(), Some(&job));
            }
        }
    });
}
