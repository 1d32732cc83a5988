//! The worker's side: a process that runs one task after another, as the program that started it says.
//!
//! The main thread hears what the program says, and does in time what it must whatever a task does: it ends the process
//! when the program is gone, and when the lease of its run is about to end. Tasks run on a thread of their own, so that
//! their stack is of a known size, and so that it does not matter whether `main` is inside an event loop already.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use rustix::process::{Signal, getpgrp, getpid, kill_process, kill_process_group};

use self::event_loop::EventLoop;
use super::super::{ExecutorEnv, Prepared, Work, panic_message};
use super::ends::Ends;
use super::wire::{
    End, Frame, Frames, Order, RELEASE, Report, Told, TooLong, VARIABLE, inode, message, moment,
    output,
};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};
use crate::lease::Lease;
use crate::runtime::LoopRuntime;
use crate::task::{Registry, RunContext, TaskEnd};
use crate::zones::Zones;

/// The stack of a task: as much as the main thread of a program has on Linux, and four times what a thread pool gives.
const STACK_BYTES: usize = 8 * 1024 * 1024;
/// The longest wait while a lease has to be watched. A wait stands still while the machine is suspended, and the lease does
/// not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the tasks of a worker may come as: a [`Registry`], or the result of making one.
pub trait IntoRegistry: sealed::Sealed {
    /// The registry, or why there is none.
    #[doc(hidden)]
    fn into_registry(self) -> Result<Registry, String>;
}

impl IntoRegistry for Registry {
    fn into_registry(self) -> Result<Registry, String> {
        Ok(self)
    }
}

impl<E: fmt::Display> IntoRegistry for Result<Registry, E> {
    fn into_registry(self) -> Result<Registry, String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Registry {}
    impl<E> Sealed for Result<super::Registry, E> {}
}

/// Makes the program a worker where a [`ProcessPoolExecutor`](super::ProcessPoolExecutor) started it as one, and then never
/// returns; returns at once everywhere else. To be called first thing in `main`: what stands before it happens in every
/// worker too.
///
/// `tasks` makes the tasks and their state. It is called once in each worker, and not at all elsewhere; give the scheduler
/// the same tasks with [`SchedulerBuilder::registry`](crate::scheduler::SchedulerBuilder::registry), to have the arguments of
/// jobs checked when they are added. An error or a panic in it fails the run that the worker was started for.
///
/// A task has 8 MiB of stack and a stdin that is empty. With the feature `tokio` async tasks run inside a current-thread
/// tokio, with what of tokio is compiled in; that also goes on between runs, so what tasks spawned and state holds
/// (connection pools) lives on.
///
/// In a `main` that is `async` it works too, but each worker then starts an event loop that it does not need.
///
/// ```
/// use punctual_core::executor::process_pool_worker;
/// use punctual_core::task::{Args, RegisterError, Registry};
///
/// fn shout(Args(text): Args<String>) -> Result<String, String> {
///     Ok(text.to_uppercase())
/// }
///
/// fn tasks() -> Result<Registry, RegisterError> {
///     let mut registry = Registry::new();
///     registry.add_blocking("shout", shout)?;
///     Ok(registry)
/// }
///
/// fn main() {
///     process_pool_worker(tasks);
///     // … build a scheduler with `tasks()?` and a `ProcessPoolExecutor` …
/// }
/// ```
pub fn process_pool_worker<T: IntoRegistry>(tasks: impl FnOnce() -> T + Send + 'static) {
    if let Some(socket) = given_socket() {
        serve(&socket, Box::new(move || tasks().into_registry()));
    }
}

static SERVES: AtomicBool = AtomicBool::new(false);

/// Whether this process was started as a worker: it is one, or it did not call [`process_pool_worker`].
pub(super) fn is_worker() -> bool {
    SERVES.load(Ordering::Relaxed) || given_socket().is_some()
}

/// The socket that a program gave to its worker: named by the variable, and its stdin. One that only inherited the variable
/// has another stdin. (To take the variable from the environment is not possible without unsafe code.)
fn given_socket() -> Option<UnixStream> {
    let named: u64 = std::env::var(VARIABLE).ok()?.parse().ok()?;
    let stdin = rustix::stdio::stdin();
    if inode(stdin).ok()? != named {
        return None;
    }
    let file = File::from(stdin.try_clone_to_owned().ok()?);
    let is_socket = file.metadata().ok()?.file_type().is_socket();
    is_socket.then(|| UnixStream::from(OwnedFd::from(file)))
}

type MakeTasks = Box<dyn FnOnce() -> Result<Registry, String> + Send>;

fn serve(socket: &UnixStream, tasks: MakeTasks) -> ! {
    SERVES.store(true, Ordering::Relaxed);
    if let Err(error) = begin(socket, tasks) {
        let _ = writeln!(io::stderr(), "punctual: worker: {error}");
        leave(1);
    }
    // The program has closed the socket, and there is no run.
    leave(0)
}

#[expect(clippy::exit, reason = "a worker must not come to the program behind")]
fn leave(code: i32) -> ! {
    std::process::exit(code)
}

/// Ends this process and what its tasks have started, now, whatever its other threads do.
fn die() -> ! {
    let this = getpid();
    // Another's group only where somebody started the worker by hand.
    if getpgrp() == this {
        let _ = kill_process_group(this, Signal::KILL);
    }
    let _ = kill_process(this, Signal::KILL);
    std::process::abort()
}

/// Returns when the program has closed the socket and there is no run.
fn begin(socket: &UnixStream, tasks: MakeTasks) -> io::Result<()> {
    let link = Arc::new(Link {
        socket: Mutex::new(socket.try_clone()?),
        current: Mutex::default(),
    });
    link.report(&Report::Hello {
        release: RELEASE.to_owned(),
    });
    // The tasks and what they start must not read what the program says.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    be_known();
    let (sender, orders) = async_channel::unbounded();
    let theirs = Arc::clone(&link);
    std::thread::Builder::new()
        .name("punctual-task".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let worked = catch_unwind(AssertUnwindSafe(|| work(&theirs, &orders, tasks)));
            // Without this thread the process is of no use to anybody; a panic in it was said already.
            leave(i32::from(worked.is_err()));
        })?;
    hear(socket, &link, &sender)
}

/// Shows in lists of processes, and to the kernel, what this one is.
fn be_known() {
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::thread::set_name(c"punctual-worker");
        // When memory runs out the kernel is to take the worker, not the program. To ask for less would need privilege.
        let file = "/proc/self/oom_score_adj";
        let now = std::fs::read_to_string(file).ok();
        if let Some(now) = now.and_then(|text| text.trim().parse::<i32>().ok()) {
            let _ = std::fs::write(file, (now + 300).min(1000).to_string());
        }
    }
}

/// What both threads use.
struct Link {
    socket: Mutex<UnixStream>,
    current: Mutex<Option<Current>>,
}

/// The run that is worked on, as far as the main thread has to do with it.
struct Current {
    cancel: CancelToken,
    lease: Lease,
    ends: Option<Ends>,
    lease_asked: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// A program that is gone shows itself to the main thread, so an error says nothing new.
    fn send(&self, frame: &[u8]) {
        let _ = lock(&self.socket).write_all(frame);
    }

    fn report(&self, report: &Report) {
        match message(report) {
            Ok(frame) => self.send(&frame),
            Err(TooLong(bytes)) => {
                let text = format!("it ended with a message of {bytes} bytes, which is too long");
                let report = Report::Done(End::Failed(text));
                self.send(&message(&report).expect("a sentence fits"));
            }
        }
    }
}

/// A run on its way to the thread that works on it.
struct Ordered {
    order: Order,
    cancel: CancelToken,
    lease: Lease,
}

fn hear(socket: &UnixStream, link: &Link, orders: &Sender<Ordered>) -> io::Result<()> {
    let mut frames = Frames::default();
    loop {
        socket.set_read_timeout(act_in_time(link))?;
        match frames.fill(socket) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        while let Some(frame) = frames.next()? {
            if let Frame::Message(told) = frame {
                listen(told, link, orders);
            }
        }
    }
    // The program has ended, however it ended, or does not want this worker any more.
    if lock(&link.current).is_some() {
        die();
    }
    Ok(())
}

fn listen(told: Told, link: &Link, orders: &Sender<Ordered>) {
    let mut current = lock(&link.current);
    match (told, &mut *current) {
        (Told::Run(order), current) => {
            let cancel = CancelToken::new();
            let lease = order.lease.map_or_else(Lease::unlimited, |end| {
                Lease::until(moment(end), Arc::new(SystemClock))
            });
            *current = Some(Current {
                cancel: cancel.clone(),
                lease: lease.clone(),
                ends: order.lease.map(Ends::of),
                lease_asked: false,
            });
            let order = *order;
            let _ = orders.try_send(Ordered {
                order,
                cancel,
                lease,
            });
        }
        (Told::Cancel, Some(current)) => current.cancel.cancel(),
        (Told::Lease(Some(end)), Some(current)) => {
            current.lease.renew(moment(end));
            current.ends = Some(Ends::of(end));
        }
        // For a run that has just ended.
        (Told::Cancel | Told::Lease(_), _) => {}
    }
}

/// Does what is to be done by now about the lease of the run; returns how long there is nothing else.
fn act_in_time(link: &Link) -> Option<Duration> {
    let mut current = lock(&link.current);
    let current = current.as_mut()?;
    let ends = current.ends?;
    let now = SystemClock.monotonic();
    if ends.kill_at <= now {
        // By then another node may think of starting the next attempt.
        die();
    }
    if ends.stop_at <= now && !current.lease_asked {
        current.lease_asked = true;
        current.cancel.cancel();
    }
    let next = if current.lease_asked {
        ends.kill_at
    } else {
        ends.stop_at
    };
    Some(
        next.saturating_sub(now)
            .clamp(Duration::from_millis(1), LOOK_AGAIN),
    )
}

/// Makes the tasks and works on what is ordered; returns where there are none, or nobody orders any more.
fn work(link: &Arc<Link>, orders: &Receiver<Ordered>, tasks: MakeTasks) {
    let made = EventLoop::new().and_then(|event_loop| {
        let made = event_loop.within(|| catch_unwind(AssertUnwindSafe(tasks)));
        let registry =
            made.unwrap_or_else(|panic| Err(format!("it panicked: {}", panic_message(&*panic))))?;
        Ok((event_loop, registry))
    });
    let (event_loop, registry) = match made {
        Ok(made) => made,
        Err(error) => return link.report(&Report::NoTasks(error)),
    };
    let env = ExecutorEnv {
        registry: Arc::new(registry),
        // Of no use: the runs are driven here.
        runtime: Arc::new(LoopRuntime::new()),
    };
    let zones = [
        Zones::system(),
        // A zone that the scheduler knows must not be unknown here; which data has it hardly matters to a task.
        #[cfg(feature = "bundled-zones")]
        Zones::bundled(),
    ];
    link.report(&Report::Ready);
    while let Ok(ordered) = event_loop.block_on(orders.recv()) {
        match context(ordered, &zones, &env.registry) {
            Ok(context) => run(link, &event_loop, &env, context),
            Err(error) => end(link, TaskEnd::Failed(error)),
        }
    }
}

fn context(ordered: Ordered, zones: &[Zones], registry: &Registry) -> Result<RunContext, String> {
    let tries = zones.iter().map(|zones| ordered.order.read(zones));
    let (run, definition) = tries
        .reduce(Result::or)
        .expect("there is zone data, if only the host's")?;
    if registry.get(&definition.task).is_none() {
        let task = &definition.task;
        return Err(format!(
            "the worker process has no task {task:?}: the tasks that `process_pool_worker` is given and those of the scheduler differ"
        ));
    }
    let context = RunContext::new(Arc::new(run), Arc::new(definition), ordered.cancel);
    Ok(context.with_lease(ordered.lease))
}

fn run(link: &Arc<Link>, event_loop: &EventLoop, env: &ExecutorEnv, context: RunContext) {
    let log = context.output().clone();
    let sink = Arc::clone(link);
    log.forward_to(Some(Box::new(move |bytes| {
        for frame in output(bytes) {
            sink.send(&frame);
        }
    })));
    link.report(&Report::Started);
    let ended = Arc::clone(link);
    let work = Work {
        context,
        done: Box::new(move |task_end| {
            // What a thread of the task logs from here on is nobody's.
            log.forward_to(None);
            end(&ended, task_end);
        }),
    };
    match event_loop.within(|| work.prepare(env)) {
        Prepared::Async(future) => event_loop.block_on(future),
        Prepared::Blocking(function) => function(),
    }
}

fn end(link: &Link, end: TaskEnd) {
    // First: between the two there is nothing that the end of the program, or of the lease, must kill.
    let current = lock(&link.current).take();
    let end = match end {
        TaskEnd::Failed(text) if current.is_some_and(|current| current.lease_asked) => {
            TaskEnd::LeaseEnded(format!("it stopped before its lease ended: {text}"))
        }
        end => end,
    };
    link.report(&Report::Done(end.into()));
}

#[cfg(feature = "tokio")]
mod event_loop {
    use tokio::runtime::{Builder, Runtime};

    /// Drives async tasks, inside a tokio of this thread's.
    pub(super) struct EventLoop(Runtime);

    impl EventLoop {
        pub(super) fn new() -> Result<Self, String> {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime
                .map(Self)
                .map_err(|error| format!("no event loop could be made: {error}"))
        }

        pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
            self.0.block_on(future)
        }

        /// For code that is not async and may want to spawn.
        pub(super) fn within<T>(&self, code: impl FnOnce() -> T) -> T {
            let _entered = self.0.enter();
            code()
        }
    }
}

#[cfg(not(feature = "tokio"))]
mod event_loop {
    /// Drives async tasks.
    pub(super) struct EventLoop;

    impl EventLoop {
        #[expect(clippy::unnecessary_wraps, reason = "the other one may fail")]
        pub(super) fn new() -> Result<Self, String> {
            Ok(Self)
        }

        #[expect(clippy::unused_self, reason = "the other one has a state")]
        pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
            async_io::block_on(future)
        }

        #[expect(clippy::unused_self, reason = "the other one has a state")]
        pub(super) fn within<T>(&self, code: impl FnOnce() -> T) -> T {
            code()
        }
    }
}
