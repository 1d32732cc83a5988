//! What needs the crate's insides; the rest is in `tests/process_pool`. Here the workers are this test program, which comes to
//! `process_pool_worker` by way of a test.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::*;
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};
use crate::id::{JobKey, RunId};
use crate::lease::Lease;
use crate::run::{NewRun, Run, RunKind};
use crate::scheduler::{BackgroundScheduler, NewJob, Scheduler};
use crate::task::{RegisterError, Registry, RunContext, TaskEnd};

fn tasks() -> Result<Registry, RegisterError> {
    let mut registry = Registry::new();
    registry.add_blocking("outlive", outlive)?;
    Ok(registry)
}

#[test]
fn as_a_worker() {
    process_pool_worker(tasks);
}

/// Works until its first lease would have ended, or it is asked to stop.
#[expect(clippy::needless_pass_by_value, reason = "a parameter is made for it")]
fn outlive(run: RunContext) -> Result<(), &'static str> {
    let end = run.lease().ends_at().ok_or("it has no lease")?;
    while SystemClock.monotonic() < end {
        if run.cancel_token().is_cancelled() {
            return Err("it was asked to stop");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn a_lease_that_is_renewed_goes_on() {
    let builder = Scheduler::builder().registry(tasks().unwrap());
    let scheduler = BackgroundScheduler::build(builder).unwrap();
    let job = NewJob::new("outlive").paused();
    let job = scheduler.add_job(job).unwrap().job;
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
    let time = Duration::from_secs(4);
    let end = || SystemClock.monotonic() + time;
    let lease = Lease::until(end(), Arc::new(SystemClock));
    let context = RunContext::new(Arc::new(run), job.definition, CancelToken::new());
    let (sender, ends) = channel();
    let worker = format!(
        "{}::as_a_worker",
        module_path!().split_once("::").unwrap().1
    );
    let pool = ProcessPoolExecutor::new(1).args(["--exact", &worker, "--nocapture"]);
    pool.submit(Work {
        context: context.with_lease(lease.clone()),
        done: Box::new(move |end| sender.send(end).unwrap()),
    });
    let ended = loop {
        match ends.recv_timeout(Duration::from_millis(100)) {
            Err(RecvTimeoutError::Timeout) => lease.renew(end()),
            ended => break ended,
        }
    };
    assert_eq!(ended, Ok(TaskEnd::Succeeded));
}
