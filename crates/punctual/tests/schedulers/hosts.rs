//! The kinds of schedulers, and the loops they live in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use punctual::executor::{LocalTasks, ThreadPoolExecutor};
use punctual::loops::{ActixScheduler, CalloopScheduler, MayScheduler, SmolScheduler};
use punctual::scheduler::{
    BackgroundScheduler, BlockingScheduler, SchedulerBuilder, TokioScheduler,
};
use punctual_conformance::schedulers::{Body, Host, Session, Subject};

/// A thread that does nothing else.
pub(crate) struct Blocking;

impl Host for Blocking {
    fn run(&self, builder: SchedulerBuilder, body: Body) {
        let scheduler = Arc::new(BlockingScheduler::build(builder).expect("it can be built"));
        let started = Arc::clone(&scheduler);
        // `start` returns when the scheduler has ended, or at once where it is refused.
        let subject = Subject::new(scheduler.scheduler().clone()).starting(move |mode| {
            if started.scheduler().is_running() {
                return started.start(mode);
            }
            let blocking = Arc::clone(&started);
            let thread = thread::spawn(move || blocking.start(mode));
            while !started.scheduler().is_running() && !thread.is_finished() {
                thread::yield_now();
            }
            if thread.is_finished() {
                return thread.join().expect("it does not panic");
            }
            Ok(())
        });
        let subject = subject.ending(move |how| scheduler.shutdown(how));
        Session::begin(subject, body).finish();
    }
}

/// A thread of the scheduler's own.
pub(crate) struct Background;

impl Host for Background {
    fn run(&self, builder: SchedulerBuilder, body: Body) {
        let scheduler = Arc::new(BackgroundScheduler::build(builder).expect("it can be built"));
        let started = Arc::clone(&scheduler);
        let subject = Subject::new(scheduler.scheduler().clone())
            .starting(move |mode| started.start(mode))
            .ending(move |how| scheduler.shutdown(how));
        Session::begin(subject, body).finish();
    }
}

/// A runtime of tokio.
pub(crate) struct Tokio(fn() -> tokio::runtime::Builder);

impl Tokio {
    pub(crate) fn multi_thread() -> Self {
        Self(tokio::runtime::Builder::new_multi_thread)
    }

    pub(crate) fn current_thread() -> Self {
        Self(tokio::runtime::Builder::new_current_thread)
    }
}

impl Host for Tokio {
    fn run(&self, builder: SchedulerBuilder, body: Body) {
        let runtime = self.0().build().expect("a runtime");
        let session = runtime.block_on(async {
            let scheduler = TokioScheduler::build(builder).await;
            let scheduler = scheduler.expect("it can be built");
            let session = Session::begin(Subject::new((*scheduler).clone()), body);
            session.over().await;
            session
        });
        session.finish();
    }
}

/// The global executor of smol.
pub(crate) struct Smol;

impl Host for Smol {
    fn run(&self, builder: SchedulerBuilder, body: Body) {
        let session = smol::block_on(async {
            let scheduler = SmolScheduler::build(builder).await;
            let scheduler = scheduler.expect("it can be built");
            let session = Session::begin(Subject::new((*scheduler).clone()), body);
            session.over().await;
            session
        });
        session.finish();
    }
}

/// An arbiter of actix.
pub(crate) struct Actix;

impl Host for Actix {
    fn run(&self, builder: SchedulerBuilder, body: Body) {
        let session = actix_rt::System::new().block_on(async {
            let scheduler = ActixScheduler::build(builder, LocalTasks::new()).await;
            let scheduler = scheduler.expect("it can be built");
            let session = Session::begin(Subject::new((*scheduler).clone()), body);
            session.over().await;
            session
        });
        session.finish();
    }
}

/// A reactor of calloop.
pub(crate) struct Calloop;

impl Host for Calloop {
    fn run(&self, builder: SchedulerBuilder, body: Body) {
        let mut reactor = calloop::EventLoop::<()>::try_new().expect("a reactor");
        let (scheduler, source) = CalloopScheduler::build(builder).expect("it can be built");
        let handle = reactor.handle();
        let inserted = handle.insert_source(source, |_, (), ()| {});
        inserted
            .map_err(|error| error.error)
            .expect("it is inserted");
        let (signal, over) = (reactor.get_signal(), Arc::new(AtomicBool::new(false)));
        let tell = Arc::clone(&over);
        let subject = Subject::new((**scheduler).clone());
        let session = Session::begin_with(subject, body, move || {
            tell.store(true, Ordering::SeqCst);
            signal.wakeup();
        });
        while !over.load(Ordering::SeqCst) {
            reactor.dispatch(None, &mut ()).expect("it dispatches");
        }
        session.finish();
    }
}

/// A coroutine of may. The tasks of the suite wait as threads do, so they run on threads; `coroutines.rs` has those that wait as
/// coroutines do.
pub(crate) struct May;

impl Host for May {
    fn run(&self, builder: SchedulerBuilder, body: Body) {
        let builder = builder.executor("default", Arc::new(ThreadPoolExecutor::new(10)));
        let scheduler = MayScheduler::build(builder).expect("it can be built");
        Session::begin(Subject::new((*scheduler).clone()), body).finish();
    }
}
