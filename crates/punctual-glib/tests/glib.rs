//! The scheduler in GLib's main loop runs the suite, with jobs in memory and in an SQLite file.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use ::glib::{MainContext, MainLoop};
use punctual_conformance::schedulers::{Body, Host, Session, Store, Subject};
use punctual_core::event::EventKind;
use punctual_core::executor::LocalTasks;
use punctual_core::scheduler::{NewJob, Scheduler, SchedulerBuilder, StartMode};
use punctual_glib::{GlibScheduler, LOCAL_EXECUTOR};
use punctual_sql::{SqliteOptions, SqliteStore};

/// A main context of the test's own, for each test is a thread.
struct Glib;

impl Host for Glib {
    fn run(&self, builder: SchedulerBuilder, body: Body) {
        in_a_context(|main_loop| {
            let scheduler = GlibScheduler::build(builder).expect("it can be built");
            let subject = Subject::new((**scheduler).clone());
            let quit = main_loop.clone();
            let session = Session::begin_with(subject, body, move || {
                // From inside the loop, for it may not have begun.
                quit.clone().context().invoke(move || quit.quit());
            });
            main_loop.run();
            session.finish();
        });
    }
}

fn in_a_context(body: impl FnOnce(MainLoop)) {
    let context = MainContext::new();
    let main_loop = MainLoop::new(Some(&context), false);
    let done = context.with_thread_default(|| body(main_loop));
    done.expect("the context is this thread's");
}

fn memory() -> Store {
    None
}

#[expect(clippy::unnecessary_wraps, reason = "`None` is the memory store")]
fn sqlite() -> Store {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.db");
    let store = SqliteStore::open(path, SqliteOptions::default()).expect("a fresh file opens");
    Some((Arc::new(store), Box::new(folder)))
}

mod glib {
    mod memory {
        punctual_conformance::scheduler_suite!(crate::Glib, crate::memory);
    }

    mod sqlite {
        punctual_conformance::scheduler_suite!(crate::Glib, crate::sqlite);
    }
}

/// What a window would show is changed on the window's thread, by tasks and by events.
#[test]
fn widgets_are_touched_on_their_thread() {
    in_a_context(|main_loop| {
        let label = Rc::new(RefCell::new(Vec::new()));
        let text = Rc::clone(&label);
        let mut tasks = LocalTasks::new();
        let show = move || {
            let text = Rc::clone(&text);
            async move { text.borrow_mut().push(("task", thread::current().id())) }
        };
        tasks.add("show", show).unwrap();
        let scheduler = GlibScheduler::build_with(Scheduler::builder(), tasks).unwrap();
        let (text, quit) = (Rc::clone(&label), main_loop.clone());
        scheduler.on_event(&[EventKind::JobExecuted], move |_| {
            text.borrow_mut().push(("event", thread::current().id()));
            quit.quit();
        });
        scheduler.start(StartMode::Running).unwrap();
        let job = NewJob::new("show").executor(LOCAL_EXECUTOR);
        scheduler.add(job).wait().unwrap();
        main_loop.run();
        let here = thread::current().id();
        assert_eq!(*label.borrow(), [("task", here), ("event", here)]);
    });
}
