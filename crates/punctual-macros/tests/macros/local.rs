//! Tasks that need not be `Send`.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use punctual::clock::SimClock;
use punctual::executor::{LocalExecutor, LocalTasks};
use punctual::prelude::*;
use punctual::runtime::SimRuntime;
use punctual::task::{LocalTaskFunction, RegisterError};

thread_local! {
    static CLICKS: Cell<u32> = const { Cell::new(0) };
}

#[task(local, name = "button:click")]
async fn click(by: u32, #[default = 2] times: u32, run: RunContext) -> Result<(), String> {
    let total = Rc::new(by * times);
    std::future::ready(()).await;
    CLICKS.set(CLICKS.get() + *total);
    run.log("clicked");
    Ok(())
}

#[test]
fn run_on_the_thread_of_their_executor() {
    let mut tasks = LocalTasks::new();
    click::register(&mut tasks).unwrap();
    assert!(matches!(
        click::register(&mut tasks),
        Err(RegisterError::Taken(_))
    ));
    let (executor, driver) = LocalExecutor::new(4, tasks);

    let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
    let sim = SimRuntime::new(clock.clone());
    let builder = Scheduler::builder()
        .clock(Arc::new(clock))
        .timezone("UTC")
        .unwrap()
        .executor("local", Arc::new(executor));
    let scheduler = sim.run(builder.build(Arc::new(sim.clone()))).unwrap();
    scheduler.start(StartMode::Running).unwrap();

    let refused = scheduler
        .add(NewJob::new("button:click"))
        .executor("local")
        .wait();
    assert_eq!(
        refused.unwrap_err().to_string(),
        "kwargs.by: is missing: task \"button:click\" needs it"
    );
    scheduler.add(click(5)).executor("local").wait().unwrap();
    scheduler
        .add(click(1).times(3))
        .executor("local")
        .wait()
        .unwrap();
    sim.settle();
    let mut driver = pin!(driver.run());
    let _ = driver
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(CLICKS.get(), 13);
    sim.settle();
    sim.run(async move { scheduler.shutdown(Shutdown::Wait).await });
}
