//! One process of several runs the jobs. Two locks on one file in one process are as two processes are to each other.

use std::sync::Arc;

use punctual_core::clock::SystemClock;
use punctual_core::memory::MemoryStore;
use punctual_core::scheduler::{
    BackgroundScheduler, Error, NewJob, Scheduler, SchedulerBuilder, Shutdown, StartMode,
};
use punctual_core::single_instance::SingleInstance;
use punctual_core::store::JobStore;

fn builder(path: &std::path::Path) -> SchedulerBuilder {
    Scheduler::builder()
        .task("note", async || ())
        .unwrap()
        .single_instance(SingleInstance::at(path))
}

#[test]
fn the_second_process_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.lock");
    let first = BackgroundScheduler::build(builder(&path)).unwrap();
    first.start(StartMode::Running).unwrap();
    let second = BackgroundScheduler::build(builder(&path)).unwrap();
    let error = second.start(StartMode::Running).unwrap_err();
    assert!(matches!(error, Error::OtherInstance { .. }), "{error}");
    assert!(error.to_string().contains("jobs.lock"), "{error}");
    assert!(!second.scheduler().is_running());
    // Its memory is its own: a job there would never run, and it is told so.
    let error = second.add_job(NewJob::new("note")).unwrap_err();
    assert!(matches!(error, Error::OutOfReach { .. }), "{error}");
    assert!(error.to_string().contains("would never run"), "{error}");
    // When the first has ended the second takes over.
    first.shutdown(Shutdown::Wait);
    second.start(StartMode::Running).unwrap();
    second.add_job(NewJob::new("note")).unwrap();
    assert!(matches!(
        first.start(StartMode::Running),
        Err(Error::OtherInstance { .. })
    ));
}

#[test]
fn a_lock_is_let_go_of_with_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.lock");
    let first = BackgroundScheduler::build(builder(&path)).unwrap();
    first.start(StartMode::Running).unwrap();
    drop(first);
    let second = BackgroundScheduler::build(builder(&path)).unwrap();
    second.start(StartMode::Running).unwrap();
}

#[test]
fn a_lock_that_cannot_be_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = BackgroundScheduler::build(builder(folder.path())).unwrap_err();
    assert_eq!(error.field(), Some("single_instance"), "{error}");
}

#[test]
fn without_a_lock_everything_is_as_ever() {
    let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let builder = Scheduler::builder().task("note", async || ()).unwrap();
    let scheduler = BackgroundScheduler::build(builder.job_store("default", store)).unwrap();
    scheduler.add_job(NewJob::new("note")).unwrap();
}
