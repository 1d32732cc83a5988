//! Runs of tasks that need not be `Send`, on one thread of the program's choice.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use futures_util::future::{Either, LocalBoxFuture, select};
use futures_util::stream::FuturesUnordered;

use super::threads::Threads;
use super::{ArgsCheck, Executor, ExecutorEnv, Prepared, Work, run_future};
use crate::id::TaskName;
use crate::job::JobArgs;
use crate::task::{
    ArgsError, IntoTaskEnd, LocalTaskFunction, Parameter, RegisterError, TaskEnd, TaskInput,
    check_taken,
};

type LocalFuture = LocalBoxFuture<'static, TaskEnd>;

/// An async function with parameters `P` that, like its future, need not be `Send`.
pub trait LocalFunction<P>: 'static {
    /// Makes the parameters and calls it.
    fn call(&self, input: &TaskInput) -> LocalFuture;
    /// Checks the arguments.
    fn check(args: &JobArgs) -> Result<(), ArgsError>;
}

macro_rules! local_functions {
    ($(($($name:ident),*))*) => { $(
        impl<F, R, $($name: Parameter),*> LocalFunction<($($name,)*)> for F
        where
            F: Fn($($name),*) -> R + 'static,
            R: Future + 'static,
            R::Output: IntoTaskEnd,
        {
            #[allow(non_snake_case, unused_variables)]
            fn call(&self, input: &TaskInput) -> LocalFuture {
                $(let $name = match $name::make(input) {
                    Ok(made) => made,
                    Err(error) => return Box::pin(std::future::ready(TaskEnd::Failed(error.to_string()))),
                };)*
                let future = self($($name),*);
                let output = input.context.output().clone();
                Box::pin(async move { future.await.into_task_end(&output) })
            }

            #[allow(unused_variables)]
            fn check(args: &JobArgs) -> Result<(), ArgsError> {
                check_taken(args, false $(|| $name::TAKES_ARGUMENTS)*)?;
                $($name::check(args)?;)*
                Ok(())
            }
        }
    )* };
}

local_functions! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) }

type Running = FuturesUnordered<LocalBoxFuture<'static, ()>>;
type Call = dyn Fn(&TaskInput) -> LocalFuture;

/// Tasks that stay on the thread they were made on: what they capture, and their futures, need not be `Send`.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// use punctual_core::executor::LocalTasks;
/// use punctual_core::task::Args;
///
/// let clicks = Rc::new(Cell::new(0));
/// let counted = Rc::clone(&clicks);
/// let mut tasks = LocalTasks::new();
/// tasks.add("click", move |Args(by): Args<u32>| {
///     let clicks = Rc::clone(&counted);
///     async move { clicks.set(clicks.get() + by) }
/// })?;
/// # Ok::<(), punctual_core::task::RegisterError>(())
/// ```
#[derive(Clone, Default)]
pub struct LocalTasks {
    calls: BTreeMap<TaskName, Rc<Call>>,
    checks: BTreeMap<TaskName, ArgsCheck>,
}

impl fmt::Debug for LocalTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.checks.keys()).finish()
    }
}

impl LocalTasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a task that is a type (`#[task(local)]`).
    ///
    /// # Errors
    ///
    /// A name that cannot be one, or is taken here already.
    pub fn register<T: LocalTaskFunction>(&mut self) -> Result<(), RegisterError> {
        T::register(self)
    }

    /// Registers an async function or closure.
    ///
    /// # Errors
    ///
    /// A name that cannot be one, or is taken here already.
    pub fn add<P, F: LocalFunction<P>>(
        &mut self,
        name: &str,
        function: F,
    ) -> Result<(), RegisterError> {
        let name = TaskName::new(name)?;
        if self.calls.contains_key(&name) {
            return Err(RegisterError::Taken(name));
        }
        self.checks.insert(name.clone(), F::check);
        self.calls
            .insert(name, Rc::new(move |input| function.call(input)));
        Ok(())
    }
}

/// Runs tasks on the thread that drives its [`LocalDriver`]: its own [`LocalTasks`], and the async tasks of the scheduler's
/// registry. Plain functions run on threads beside it. `max_workers` in all.
#[derive(Debug)]
pub struct LocalExecutor {
    max_workers: usize,
    checks: BTreeMap<TaskName, ArgsCheck>,
    env: Arc<OnceLock<ExecutorEnv>>,
    work: async_channel::Sender<Work>,
    threads: Threads,
}

impl LocalExecutor {
    /// At most `max_workers` runs at once. The driver is to be run by the loop of the thread that the tasks belong to:
    /// `spawn_local(driver.run())`, as that loop calls it. Runs wait until it is.
    pub fn new(max_workers: usize, tasks: LocalTasks) -> (Self, LocalDriver) {
        let (sender, receiver) = async_channel::unbounded(); // the scheduler never submits more than `max_workers`
        let env = Arc::default();
        let threads = Threads::new(max_workers);
        let driver = LocalDriver {
            calls: tasks.calls,
            env: Arc::clone(&env),
            work: receiver,
            threads: threads.clone(),
        };
        let executor = Self {
            max_workers,
            checks: tasks.checks,
            env,
            work: sender,
            threads,
        };
        (executor, driver)
    }
}

impl Executor for LocalExecutor {
    fn capacity(&self) -> usize {
        self.max_workers
    }

    fn start(&self, env: ExecutorEnv) {
        self.env.get_or_init(|| env);
        self.threads.open();
    }

    fn submit(&self, work: Work) {
        // Where the driver is gone the work is dropped, which says that it was given up.
        let _ = self.work.try_send(work);
    }

    fn shutdown(&self) {
        self.threads.close();
    }

    fn own_tasks(&self) -> BTreeMap<TaskName, ArgsCheck> {
        self.checks.clone()
    }
}

/// Drives the runs of a [`LocalExecutor`] on the thread it was made on.
#[must_use = "nothing runs before `run` is polled"]
pub struct LocalDriver {
    calls: BTreeMap<TaskName, Rc<Call>>,
    env: Arc<OnceLock<ExecutorEnv>>,
    work: async_channel::Receiver<Work>,
    threads: Threads,
}

impl fmt::Debug for LocalDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalDriver").finish_non_exhaustive()
    }
}

impl LocalDriver {
    /// Runs what it is given, until the executor is gone and the last run has ended.
    pub async fn run(self) {
        let mut running = FuturesUnordered::new();
        while let Some(work) = self.next_work(&mut running).await {
            running.extend(self.begin(work));
        }
        while running.next().await.is_some() {}
    }

    /// Goes on with what runs until there is more; `None` where the executor is gone.
    async fn next_work(&self, running: &mut Running) -> Option<Work> {
        let ends = async {
            while running.next().await.is_some() {}
            std::future::pending::<()>().await;
        };
        match select(pin!(self.work.recv()), pin!(ends)).await {
            Either::Left((work, _)) => work.ok(),
            Either::Right(_) => None,
        }
    }

    fn begin(&self, work: Work) -> Option<LocalBoxFuture<'static, ()>> {
        let env = self.env.get()?;
        if let Some(call) = self.calls.get(&work.context.job().task) {
            let (call, Work { context, done }) = (Rc::clone(call), work);
            let input = env.registry.input(context.clone());
            return Some(Box::pin(async move {
                // Called inside the boundary: making the future may panic too.
                let future = async move { call(&input).await };
                if let Some(end) = run_future(context, future).await {
                    done(end);
                }
            }));
        }
        match work.prepare(env) {
            Prepared::Async(future) => Some(future),
            Prepared::Blocking(function) => {
                self.threads.run(function);
                None
            }
        }
    }
}
