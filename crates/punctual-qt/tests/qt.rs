//! The scheduler in Qt's event loop, on the platform `offscreen`.
//!
//! Without the usual harness, which keeps the main thread: Qt wants that. Tests run on others, and ask it for what is its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use punctual_conformance::schedulers::{
    Body, Host, SCHEDULER_CASES, SchedulerTrial, Session, Store, Subject,
};
use punctual_core::event::EventKind;
use punctual_core::executor::{DebugExecutor, LocalTasks};
use punctual_core::scheduler::{
    NewJob, Scheduler, SchedulerBuilder, SchedulerState, Shutdown, StartMode,
};
use punctual_core::task::RunContext;
use punctual_qt::app::Application;
use punctual_qt::{LOCAL_EXECUTOR, QtScheduler};
use punctual_sql::{SqliteOptions, SqliteStore};
use punctual_trigger::Trigger;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let app = Application::new(["qt", "-platform", "offscreen"]);
    let tests = std::thread::spawn(move || {
        let conclusion = catch_unwind(|| libtest_mimic::run(&arguments, trials()));
        Application::post(|| Application::quit(0));
        conclusion
    });
    app.exec();
    match tests.join().expect("its panics are caught") {
        Ok(conclusion) => conclusion.exit_code(),
        Err(panic) => resume_unwind(panic),
    }
}

/// Calls `function` on the GUI thread and waits for its answer; a panic there is one here.
fn on_gui<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> T {
    let (answer, answered) = channel();
    Application::post(move || {
        let result = catch_unwind(AssertUnwindSafe(function));
        let _ = answer.send(result);
    });
    match answered.recv_timeout(PATIENCE) {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(error) => panic!("the GUI thread does not answer: {error}"),
    }
}

thread_local! {
    /// The schedulers of the GUI thread, which cannot leave it.
    static SCHEDULERS: RefCell<HashMap<u64, Rc<QtScheduler>>> = RefCell::default();
}

/// A scheduler on the GUI thread, as seen from another; shut down when it is dropped.
struct OnGui {
    key: u64,
    scheduler: Scheduler,
}

impl OnGui {
    fn build(build: impl FnOnce() -> QtScheduler + Send + 'static) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let key = MADE.fetch_add(1, Ordering::Relaxed);
        let scheduler = on_gui(move || {
            let scheduler = build();
            let handle = (*scheduler).clone();
            SCHEDULERS.with_borrow_mut(|all| all.insert(key, Rc::new(scheduler)));
            handle
        });
        Self { key, scheduler }
    }

    fn with<T: Send + 'static>(
        &self,
        function: impl FnOnce(&QtScheduler) -> T + Send + 'static,
    ) -> T {
        let key = self.key;
        on_gui(move || {
            let scheduler = SCHEDULERS.with_borrow(|all| Rc::clone(&all[&key]));
            function(&scheduler)
        })
    }
}

impl Drop for OnGui {
    fn drop(&mut self) {
        let key = self.key;
        let remove = move || SCHEDULERS.with_borrow_mut(|all| all.remove(&key));
        on_gui(move || drop(remove()));
    }
}

/// Every case of the suite works with a scheduler of its own on the one GUI thread.
struct Qt;

impl Host for Qt {
    fn run(&self, builder: SchedulerBuilder, body: Body) {
        let gui = OnGui::build(move || QtScheduler::build(builder).expect("it can be built"));
        Session::begin(Subject::new(gui.scheduler.clone()), body).finish();
    }
}

/// Jobs in memory.
fn memory() -> Store {
    None
}

/// Jobs in a fresh file.
#[expect(clippy::unnecessary_wraps, reason = "as `memory`")]
fn sqlite() -> Store {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.db");
    let store = SqliteStore::open(path, SqliteOptions::default()).expect("a fresh file opens");
    Some((Arc::new(store), Box::new(folder)))
}

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    (
        "runs_on_threads_and_tells_the_gui_thread",
        runs_on_threads_and_tells_the_gui_thread,
    ),
    (
        "local_jobs_run_on_the_gui_thread",
        local_jobs_run_on_the_gui_thread,
    ),
    (
        "an_event_loop_inside_a_listener_stops_nothing",
        an_event_loop_inside_a_listener_stops_nothing,
    ),
    (
        "an_event_loop_inside_a_job_stops_nothing",
        an_event_loop_inside_a_job_stops_nothing,
    ),
    (
        "an_event_loop_inside_an_inline_job_only_delays",
        an_event_loop_inside_an_inline_job_only_delays,
    ),
    ("a_panic_hurts_nobody_else", a_panic_hurts_nobody_else),
    (
        "may_be_dropped_by_its_own_listener",
        may_be_dropped_by_its_own_listener,
    ),
    ("dropping_cancels_what_runs", dropping_cancels_what_runs),
    (
        "shutdown_waits_on_the_gui_thread",
        shutdown_waits_on_the_gui_thread,
    ),
    ("leaves_nothing_behind", leaves_nothing_behind),
    ("many_jobs_at_once", many_jobs_at_once),
    ("refuses_another_thread", refuses_another_thread),
];

fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = TESTS
        .iter()
        .map(|&(name, test)| trial(format!("qt::{name}"), test))
        .collect();
    let stores: [(_, fn() -> Store); 2] = [("memory", memory), ("sqlite", sqlite)];
    for (alias, store) in stores {
        trials.extend(SCHEDULER_CASES.iter().map(|&(name, case)| {
            let run = move || case(&SchedulerTrial::new(&Qt, &store));
            trial(format!("qt::{alias}::{name}"), run)
        }));
    }
    trials
}

fn trial(name: String, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        test();
        Ok(())
    })
}

fn gui_thread() -> ThreadId {
    on_gui(|| std::thread::current().id())
}

fn every_millisecond(task: &str) -> NewJob {
    let often = Trigger::interval(Duration::from_millis(1)).unwrap();
    NewJob::new(task).id(task).trigger(often)
}

fn start(gui: &OnGui, jobs: Vec<NewJob>) {
    for job in jobs {
        gui.scheduler.blocking().add_job(job).unwrap();
    }
    gui.scheduler.start(StartMode::Running).unwrap();
}

fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(PATIENCE).expect("in time")
}

fn this_thread() -> ThreadId {
    std::thread::current().id()
}

fn runs_on_threads_and_tells_the_gui_thread() {
    let (ran, runs) = channel();
    let (told, events) = channel();
    let gui = OnGui::build(move || {
        let task = move || {
            let _ = ran.send(this_thread());
        };
        let builder = Scheduler::builder().blocking_task("note", task).unwrap();
        let scheduler = QtScheduler::build(builder).unwrap();
        scheduler.on_event(&[EventKind::JobExecuted], move |event| {
            let id = event.job_id.as_ref().unwrap().to_string();
            let _ = told.send((this_thread(), id));
        });
        scheduler
    });
    start(&gui, vec![every_millisecond("note")]);
    for _ in 0..5 {
        assert_ne!(next(&runs), gui_thread());
        assert_eq!(next(&events), (gui_thread(), "note".to_owned()));
    }
}

fn local_jobs_run_on_the_gui_thread() {
    let (ran, runs) = channel();
    let gui = OnGui::build(move || {
        let count = Rc::new(Cell::new(0));
        let note = move || {
            let (ran, count) = (ran.clone(), Rc::clone(&count));
            async move {
                count.set(count.get() + 1);
                let _ = ran.send((this_thread(), count.get()));
            }
        };
        let mut tasks = LocalTasks::new();
        tasks.add("note", note).unwrap();
        QtScheduler::build_with(Scheduler::builder(), tasks).unwrap()
    });
    start(
        &gui,
        vec![every_millisecond("note").executor(LOCAL_EXECUTOR)],
    );
    for count in 1..=5 {
        assert_eq!(next(&runs), (gui_thread(), count));
    }
}

/// As a dialog does that a listener or a job shows: handles events until enough runs have ended.
fn wait_as_a_dialog(runs: &AtomicUsize, enough: usize) {
    let from = runs.load(Ordering::SeqCst);
    while runs.load(Ordering::SeqCst) < from + enough {
        Application::process_events();
    }
}

fn counting(runs: &Arc<AtomicUsize>) -> impl Fn() + Send + Sync + 'static {
    let runs = Arc::clone(runs);
    move || {
        runs.fetch_add(1, Ordering::SeqCst);
    }
}

fn an_event_loop_inside_a_listener_stops_nothing() {
    let (told, events) = channel();
    let gui = OnGui::build(move || {
        let runs = Arc::default();
        let builder = Scheduler::builder()
            .blocking_task("count", counting(&runs))
            .unwrap();
        let scheduler = QtScheduler::build(builder).unwrap();
        let mut dialogs = 0..3;
        scheduler.on_event(&[EventKind::JobExecuted], move |_| {
            if dialogs.next().is_some() {
                wait_as_a_dialog(&runs, 3);
                let _ = told.send(());
            }
        });
        scheduler
    });
    start(&gui, vec![every_millisecond("count")]);
    for _ in 0..3 {
        next(&events);
    }
}

fn an_event_loop_inside_a_job_stops_nothing() {
    let (told, events) = channel();
    let gui = OnGui::build(move || {
        let runs = Arc::default();
        let builder = Scheduler::builder()
            .blocking_task("count", counting(&runs))
            .unwrap();
        let dialog = move || {
            let (told, runs) = (told.clone(), Arc::clone(&runs));
            async move {
                wait_as_a_dialog(&runs, 3);
                let _ = told.send(());
            }
        };
        let mut tasks = LocalTasks::new();
        tasks.add("dialog", dialog).unwrap();
        QtScheduler::build_with(builder, tasks).unwrap()
    });
    let jobs = vec![
        every_millisecond("count"),
        NewJob::new("dialog").executor(LOCAL_EXECUTOR),
        NewJob::new("dialog").executor(LOCAL_EXECUTOR),
    ];
    start(&gui, jobs);
    next(&events);
    next(&events);
}

/// An inline job is part of the loop itself, which then stands still, and must go on afterwards.
fn an_event_loop_inside_an_inline_job_only_delays() {
    let (told, events) = channel();
    let gui = OnGui::build(move || {
        let inline = move || {
            for _ in 0..20 {
                Application::process_events();
            }
            let _ = told.send(this_thread());
        };
        let builder = Scheduler::builder()
            .blocking_task("inline", inline)
            .unwrap()
            .executor("inline", Arc::new(DebugExecutor::new()));
        QtScheduler::build(builder).unwrap()
    });
    start(&gui, vec![every_millisecond("inline").executor("inline")]);
    for _ in 0..3 {
        assert_eq!(next(&events), gui_thread());
    }
}

fn a_panic_hurts_nobody_else() {
    let (told, events) = channel();
    let gui = OnGui::build(move || {
        let builder = Scheduler::builder().blocking_task("run", || ()).unwrap();
        let scheduler = QtScheduler::build(builder).unwrap();
        scheduler.on_event(&[EventKind::JobExecuted], move |_| {
            let _ = told.send(());
            panic!("a listener of the test");
        });
        scheduler
    });
    start(&gui, vec![every_millisecond("run")]);
    for _ in 0..3 {
        next(&events);
    }
}

fn may_be_dropped_by_its_own_listener() {
    thread_local! {
        static ONLY: RefCell<Option<QtScheduler>> = RefCell::default();
    }
    let (told, events) = channel();
    let scheduler = on_gui(move || {
        let builder = Scheduler::builder().blocking_task("run", || ()).unwrap();
        let scheduler = QtScheduler::build(builder).unwrap();
        scheduler.on_event(&[EventKind::JobExecuted], move |_| {
            drop(ONLY.take());
            // Handled here, the end of the timer comes while its turn is on the stack.
            Application::process_events();
            let _ = told.send(());
        });
        let handle = (*scheduler).clone();
        ONLY.set(Some(scheduler));
        handle
    });
    let job = every_millisecond("run");
    scheduler.blocking().add_job(job).unwrap();
    scheduler.start(StartMode::Running).unwrap();
    next(&events);
    assert_eq!(scheduler.state(), SchedulerState::Stopped);
    assert!(events.recv().is_err(), "the listener is gone");
}

fn dropping_cancels_what_runs() {
    let (told, tells) = channel();
    let gui = OnGui::build(move || {
        let obeyed = told.clone();
        let obey = move |run: RunContext| {
            let _ = obeyed.send("started");
            while !run.cancel_token().is_cancelled() {
                std::thread::yield_now();
            }
            let _ = obeyed.send("cancelled");
        };
        let obey_here = move |run: RunContext| {
            let told = told.clone();
            async move {
                let _ = told.send("started");
                run.cancel_token().cancelled().await;
                let _ = told.send("cancelled");
            }
        };
        let builder = Scheduler::builder().blocking_task("obey", obey).unwrap();
        let mut tasks = LocalTasks::new();
        tasks.add("obey_here", obey_here).unwrap();
        QtScheduler::build_with(builder, tasks).unwrap()
    });
    let here = NewJob::new("obey_here").executor(LOCAL_EXECUTOR);
    start(&gui, vec![NewJob::new("obey"), here]);
    assert_eq!([next(&tells), next(&tells)], ["started"; 2]);
    let scheduler = gui.scheduler.clone();
    drop(gui);
    assert_eq!(scheduler.state(), SchedulerState::Stopped);
    assert_eq!([next(&tells), next(&tells)], ["cancelled"; 2]);
}

fn shutdown_waits_on_the_gui_thread() {
    let (started, is_started) = channel();
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let ended = Arc::new(AtomicUsize::new(0));
    let count = counting(&ended);
    let gui = OnGui::build(move || {
        let task = move || {
            let _ = started.send(());
            let _ = released.lock().unwrap().recv_timeout(PATIENCE);
            count();
        };
        let builder = Scheduler::builder().blocking_task("wait", task).unwrap();
        QtScheduler::build(builder).unwrap()
    });
    start(&gui, vec![NewJob::new("wait")]);
    next(&is_started);
    let scheduler = gui.scheduler.clone();
    let releases = std::thread::spawn(move || {
        while scheduler.state() != SchedulerState::Draining {
            std::thread::yield_now();
        }
        drop(release);
    });
    gui.with(|scheduler| scheduler.shutdown(Shutdown::Wait));
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert!(!gui.scheduler.is_running());
    releases.join().unwrap();
    // The timer turns the loop again, after this thread did so itself.
    start(&gui, vec![NewJob::new("wait")]);
    next(&is_started);
}

fn leaves_nothing_behind() {
    let (told, events) = channel();
    let kept = told.clone();
    let gui = OnGui::build(move || {
        let builder = Scheduler::builder().blocking_task("run", || ()).unwrap();
        let scheduler = QtScheduler::build(builder).unwrap();
        scheduler.on_event(&[EventKind::JobRemoved], move |_| {
            let _ = told.send(());
        });
        scheduler
    });
    gui.scheduler.add_listener(&[], move |_| {
        let _ = &kept;
    });
    start(&gui, vec![NewJob::new("run")]);
    next(&events);
    drop(gui);
    let gone = events.recv_timeout(PATIENCE);
    assert_eq!(gone, Err(RecvTimeoutError::Disconnected));
}

fn many_jobs_at_once() {
    let runs = Arc::new(AtomicUsize::new(0));
    let (all, is_all) = channel();
    let count = counting(&runs);
    let gui = OnGui::build(move || {
        let builder = Scheduler::builder().blocking_task("count", count).unwrap();
        let scheduler = QtScheduler::build(builder).unwrap();
        let mut left = 2_000;
        scheduler.on_event(&[EventKind::JobExecuted], move |_| {
            left -= 1;
            if left == 0 {
                let _ = all.send(());
            }
        });
        scheduler
    });
    start(&gui, (0..2_000).map(|_| NewJob::new("count")).collect());
    next(&is_all);
    assert_eq!(runs.load(Ordering::SeqCst), 2_000);
}

fn refuses_another_thread() {
    let built = catch_unwind(|| QtScheduler::build(Scheduler::builder()));
    assert!(built.is_err());
}
