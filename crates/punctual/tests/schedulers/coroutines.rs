//! Tasks that wait as coroutines do.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use punctual::loops::MayScheduler;
use punctual::scheduler::{NewJob, Scheduler, Shutdown, StartMode};
use punctual::task::{Registry, RunContext, State};

/// More of them at once than there are threads to wait on.
#[test]
fn many_coroutines_wait_at_once() {
    let (tell, told) = channel::<()>();
    let latch = Arc::new(may::sync::Semphore::new(0));
    let mut registry = Registry::new();
    registry.state(Arc::clone(&latch));
    registry.state(std::sync::Mutex::new(tell));
    type Tell = State<std::sync::Mutex<std::sync::mpsc::Sender<()>>>;
    let wait = |latch: State<Arc<may::sync::Semphore>>, tell: Tell| {
        let told = tell.lock().map(|tell| tell.send(()));
        told.expect("not poisoned").expect("the test listens");
        latch.wait();
    };
    registry.add_blocking("wait", wait).unwrap();
    registry
        .add("asynchronous", async |run: RunContext| run.log("ran"))
        .unwrap();
    let scheduler = MayScheduler::build(Scheduler::builder().registry(registry)).unwrap();
    let (executed, executions) = channel();
    scheduler.add_listener(&[punctual::event::EventKind::JobExecuted], move |_| {
        let _ = executed.send(());
    });
    scheduler.start(StartMode::Running).unwrap();
    for _ in 0..50 {
        scheduler.add(NewJob::new("wait")).wait().unwrap();
    }
    for _ in 0..50 {
        told.recv_timeout(Duration::from_secs(30))
            .expect("each begins");
    }
    scheduler.add(NewJob::new("asynchronous")).wait().unwrap();
    executions
        .recv_timeout(Duration::from_secs(30))
        .expect("it is not held up by those that wait");
    for _ in 0..50 {
        latch.post();
    }
    scheduler.blocking().shutdown(Shutdown::Wait);
    let runs = scheduler
        .blocking()
        .runs("default", &punctual::store::RunQuery::default())
        .unwrap();
    assert_eq!(runs.items.len(), 51);
    assert!(
        runs.items
            .iter()
            .all(|run| run.state() == punctual::run::RunState::Succeeded)
    );
}
