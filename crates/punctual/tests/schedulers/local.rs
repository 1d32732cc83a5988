//! Tasks that need not be `Send`, in every loop that can hold them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use punctual::executor::{LocalExecutor, LocalTasks};
use punctual::loops::{ActixScheduler, CalloopScheduler};
use punctual::run::RunState;
use punctual::scheduler::{Error, NewJob, Scheduler, Shutdown, StartMode, TokioScheduler};
use punctual::task::{Args, RunContext};

/// What the tasks saw, and on which thread.
type Seen = Rc<RefCell<Vec<(String, thread::ThreadId)>>>;

fn tasks(seen: &Seen) -> LocalTasks {
    let mut tasks = LocalTasks::new();
    let note = Rc::clone(seen);
    let note = move |Args(text): Args<String>, run: RunContext| {
        let seen = Rc::clone(&note);
        async move {
            run.sleep(std::time::Duration::from_millis(1)).await;
            seen.borrow_mut().push((text, thread::current().id()));
        }
    };
    tasks.add("note", note).unwrap();
    async fn explode() {
        panic!("boom");
    }
    tasks.add("explode", explode).unwrap();
    tasks
}

/// Adds three jobs and waits for them; returns the states of their runs.
async fn work(scheduler: &Scheduler) -> Vec<RunState> {
    let (tell, told) = async_channel::unbounded();
    let kinds = [
        punctual::event::EventKind::JobExecuted,
        punctual::event::EventKind::JobError,
    ];
    scheduler.add_listener(&kinds, move |event| {
        let _ = tell.send_blocking(event.run.clone());
    });
    scheduler.start(StartMode::Running).unwrap();
    let mut states = Vec::new();
    for job in [
        NewJob::new("note").arg("first"),
        NewJob::new("explode"),
        NewJob::new("note").arg("second"),
    ] {
        scheduler.add(job).await.unwrap();
        let run = told.recv().await.unwrap().unwrap();
        states.push(run.state());
    }
    // Arguments are checked when the job is added.
    let error = scheduler.add(NewJob::new("note").arg(7)).await.unwrap_err();
    assert_eq!(error.field(), Some("args[0]"), "{error}");
    let error = scheduler.add(NewJob::new("nota")).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTask { .. }), "{error}");
    states
}

fn check(seen: &Seen, states: &[RunState]) {
    assert_eq!(
        states,
        [RunState::Succeeded, RunState::Failed, RunState::Succeeded]
    );
    let here = thread::current().id();
    let expected = ["first", "second"].map(|text| (text.to_owned(), here));
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn on_an_arbiter() {
    let seen = Seen::default();
    let states = actix_rt::System::new().block_on(async {
        let scheduler = ActixScheduler::build(Scheduler::builder(), tasks(&seen))
            .await
            .unwrap();
        let states = work(&scheduler).await;
        scheduler.shutdown(Shutdown::Wait).await;
        states
    });
    check(&seen, &states);
}

#[test]
fn in_a_local_set_of_tokio() {
    let seen = Seen::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    let states = local.block_on(&runtime, async {
        let (executor, driver) = LocalExecutor::new(10, tasks(&seen));
        tokio::task::spawn_local(driver.run());
        let builder = Scheduler::builder().executor("default", Arc::new(executor));
        let scheduler = TokioScheduler::build(builder).await.unwrap();
        let states = work(&scheduler).await;
        scheduler.shutdown(Shutdown::Wait).await;
        states
    });
    check(&seen, &states);
}

#[test]
fn in_a_reactor() {
    let seen = Seen::default();
    let mut reactor = calloop::EventLoop::<Option<Vec<RunState>>>::try_new().unwrap();
    let (executor, driver) = LocalExecutor::new(10, tasks(&seen));
    let builder = Scheduler::builder().executor("default", Arc::new(executor));
    let (scheduler, source) = CalloopScheduler::build(builder).unwrap();
    reactor
        .handle()
        .insert_source(source, |_, (), _| {})
        .unwrap();
    // calloop's own executor runs what need not be Send.
    let (results, futures) = calloop::futures::executor().unwrap();
    reactor
        .handle()
        .insert_source(results, |states, (), got| *got = states)
        .unwrap();
    futures
        .schedule(async move {
            driver.run().await;
            None
        })
        .unwrap();
    let handle: Scheduler = (**scheduler).clone();
    futures
        .schedule(async move { Some(work(&handle).await) })
        .unwrap();
    let mut states = None;
    while states.is_none() {
        reactor.dispatch(None, &mut states).unwrap();
    }
    scheduler.shutdown(Shutdown::Wait);
    check(&seen, &states.unwrap());
}
