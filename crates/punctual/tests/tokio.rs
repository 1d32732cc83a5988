//! The scheduler in a real tokio, in both of its kinds.

use std::sync::Arc;
use std::time::Duration;

use punctual::prelude::*;
use tokio::sync::mpsc;

async fn runs_jobs() {
    let (send, mut called) = mpsc::unbounded_channel();
    let blocking = send.clone();
    let mut registry = Registry::new();
    registry
        .add("note", move |Args(text): Args<String>| {
            let send = send.clone();
            async move {
                tokio::task::yield_now().await; // only tokio's own tasks may
                send.send(text).map_err(|error| error.to_string())
            }
        })
        .unwrap();
    registry
        .add_blocking("block", move |Args(text): Args<String>| {
            blocking.send(text).map_err(|error| error.to_string())
        })
        .unwrap();
    let builder = Scheduler::builder()
        .registry(registry)
        .executor("pool", Arc::new(ThreadPoolExecutor::new(2)));
    let scheduler = TokioScheduler::build(builder).await.unwrap();
    scheduler.start(StartMode::Running).unwrap();
    let often = Trigger::interval(Duration::from_millis(2)).unwrap();
    scheduler
        .add_job(NewJob::new("note").id("often").arg("tick").trigger(often))
        .await
        .unwrap();
    for executor in ["default", "pool"] {
        let task = NewJob::new("block").arg(executor).executor(executor);
        scheduler.add_job(task).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 3 || seen.iter().filter(|text| *text == "tick").count() < 5 {
        let next = tokio::time::timeout(Duration::from_secs(10), called.recv()).await;
        seen.push(
            next.expect("within ten seconds")
                .expect("the tasks hold the sender"),
        );
    }
    assert!(
        seen.contains(&"default".to_owned()) && seen.contains(&"pool".to_owned()),
        "{seen:?}"
    );
    scheduler.shutdown(Shutdown::Wait).await;
    assert!(!scheduler.is_running());
}

#[tokio::test(flavor = "current_thread")]
async fn current_thread() {
    runs_jobs().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn multi_thread() {
    runs_jobs().await;
}
