//! Tasks: the named functions that jobs call, and what they may ask for.
//!
//! A task is an async or a plain function. Each parameter says what it wants: [`Args`] the job's arguments, [`State`]
//! something of the application, [`RunContext`] the run itself.
//!
//! ```
//! use punctual_core::task::{Args, Registry, RunContext, State};
//!
//! struct Mailer;
//!
//! async fn remind(Args((address, days)): Args<(String, u32)>, _mailer: State<Mailer>, run: RunContext) -> Result<(), String> {
//!     run.log(&format!("{address}: {days} days left"));
//!     Ok(())
//! }
//!
//! let mut registry = Registry::new();
//! registry.state(Mailer);
//! registry.add("mail:remind", remind)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arguments;

use std::any::{Any, TypeId, type_name};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::arguments::{Argument, ArgumentSpec, BoundArgs, CallArgs, ReadArgument};
use crate::cancel::CancelToken;
use crate::closure::{CLOSURE_TASK, Closures, RESERVED};
use crate::executor::LocalTasks;
use crate::id::{NameError, TaskName};
use crate::job::{JobArgs, JobDefinition};
use crate::lease::Lease;
use crate::output::Output;
use crate::run::Run;
use crate::runtime::Runtime;
use crate::scheduler::NewJob;
use crate::store::BoxFuture;

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskEnd {
    /// It did what it should.
    Succeeded,
    /// It did not; why.
    Failed(String),
    /// It gave up waiting; for what.
    TimedOut(String),
    /// It stopped because the run's [lease](RunContext::lease) was about to end; what it says. The run is lost to this
    /// node: it ends as that of a dead node does, and by the job's `on_crash` is run again.
    LeaseEnded(String),
}

/// The run a task works for: which, when, which attempt; a place to log to; and whether to stop.
#[derive(Clone, Debug)]
pub struct RunContext {
    run: Arc<Run>,
    definition: Arc<JobDefinition>,
    cancel: CancelToken,
    lease: Lease,
    output: Output,
    start: Option<Start>,
    runtime: Option<Arc<dyn Runtime>>,
}

/// Whether the run's task was called yet, and what to do when it is. All clones are one.
#[derive(Clone)]
pub(crate) struct Start(Arc<StartInner<dyn Fn() + Send + Sync>>);

struct StartInner<F: ?Sized> {
    is_settled: AtomicBool,
    announce: F,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Start({:?})", self.0.is_settled)
    }
}

impl Start {
    pub(crate) fn new(announce: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(StartInner {
            is_settled: AtomicBool::new(false),
            announce,
        }))
    }

    /// The task is called, or was called by an executor that did not say so.
    pub(crate) fn announce(&self) {
        if !self.0.is_settled.swap(true, Ordering::SeqCst) {
            (self.0.announce)();
        }
    }

    /// The task will not be called.
    fn refuse(&self) {
        self.0.is_settled.store(true, Ordering::SeqCst);
    }
}

impl RunContext {
    /// A context for a run whose lease holds for ever.
    pub fn new(run: Arc<Run>, definition: Arc<JobDefinition>, cancel: CancelToken) -> Self {
        Self {
            run,
            definition,
            cancel,
            lease: Lease::unlimited(),
            output: Output::default(),
            start: None,
            runtime: None,
        }
    }

    /// The same, with another lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = lease;
        self
    }

    pub(crate) fn with_start(mut self, start: Start) -> Self {
        self.start = Some(start);
        self
    }

    pub(crate) fn with_runtime(mut self, runtime: Arc<dyn Runtime>) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Waits in the scheduler's event loop, finer than a millisecond: in a simulation no real time passes.
    pub async fn sleep(&self, duration: Duration) {
        match &self.runtime {
            Some(runtime) => runtime.sleep(duration).await,
            None => {
                async_io::Timer::after(duration).await;
            }
        }
    }

    /// To be called right before the task is: says that the run starts now. [`Work::prepare`](crate::executor::Work::prepare)
    /// does so by itself.
    ///
    /// # Errors
    ///
    /// How the run ends instead, because it was asked to stop, or its lease has ended, while it waited for its place.
    pub fn begin(&self) -> Result<(), TaskEnd> {
        let refused = if self.lease.remaining().is_some_and(|left| left.is_zero()) {
            TaskEnd::LeaseEnded("its lease had ended before it started".to_owned())
        } else if self.cancel.is_cancelled() {
            TaskEnd::Failed("it was asked to stop before it started".to_owned())
        } else {
            if let Some(start) = &self.start {
                start.announce();
            }
            return Ok(());
        };
        if let Some(start) = &self.start {
            start.refuse();
        }
        Err(refused)
    }

    /// The run's row: id, job, nominal time, attempt, fencing token.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The job as it was when the run was claimed.
    pub fn job(&self) -> &JobDefinition {
        &self.definition
    }

    /// The key to send to whoever must not do the same work twice: equal for every attempt at this occurrence.
    pub fn idempotency_key(&self) -> String {
        self.run.idempotency_key()
    }

    /// Appends a line to the run's output.
    pub fn log(&self, line: &str) {
        self.output.line(line);
    }

    /// The run's output.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Says when to stop.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// How long no other node can start the next attempt.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }
}

/// Why a parameter could not be made, or a task's arguments do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ArgsError {
    /// The path of what is at fault: `kwargs.url`, `args[0]`, or `args` or `kwargs` where it is none in particular.
    pub field: String,
    /// Why it is.
    pub message: String,
}

impl ArgsError {
    /// An error in a field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// What the parameters of a task are made from.
#[derive(Clone, Debug)]
pub struct TaskInput {
    /// The run.
    pub context: RunContext,
    states: Arc<States>,
}

type States = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// A parameter of a task.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a task",
    label = "is no parameter",
    note = "a task takes its arguments, `State<…>`, `RunContext`, `Run`, and what implements `Parameter`"
)]
pub trait Parameter: Sized + Send + 'static {
    /// Whether it is made of the job's arguments. A task without such a parameter takes none.
    const TAKES_ARGUMENTS: bool = false;

    /// Makes it for a run.
    fn make(input: &TaskInput) -> Result<Self, ArgsError>;

    /// Whether it could be made for a job with these arguments; asked when the job is added.
    fn check(_args: &JobArgs) -> Result<(), ArgsError> {
        Ok(())
    }
}

/// The job's arguments as `T`: a struct for named ones, a tuple for positional ones, or the type of a single one.
#[derive(Clone, Copy, Debug)]
pub struct Args<T>(pub T);

/// Reads a value of the field `base`; an error names the path below it.
fn fit<T: DeserializeOwned>(base: &str, value: Value) -> Result<T, ArgsError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = arguments::below(base, error.path());
        let why = error.into_inner();
        ArgsError::new(field, format!("the arguments do not fit: {why}"))
    })
}

fn parse_args<T: DeserializeOwned>(args: &JobArgs) -> Result<T, ArgsError> {
    let array = || fit("args", Value::Array(args.args.clone()));
    match (args.args.as_slice(), args.kwargs.is_empty()) {
        ([], true) => array()
            .or_else(|_| fit("args", Value::Null))
            .or_else(|_| fit("args", Value::Object(serde_json::Map::new()))),
        ([], false) => fit("kwargs", Value::Object(args.kwargs.clone())),
        ([one], true) => fit("args[0]", one.clone()).or_else(|single| {
            // Whichever of the two says more exactly what is at fault.
            array().map_err(|error| if error.field == "args" { single } else { error })
        }),
        (_, true) => array(),
        (_, false) => Err(ArgsError::new(
            "args",
            "args and kwargs together do not fit this task; give one of them",
        )),
    }
}

impl<T: DeserializeOwned + Send + 'static> Parameter for Args<T> {
    const TAKES_ARGUMENTS: bool = true;

    fn make(input: &TaskInput) -> Result<Self, ArgsError> {
        parse_args(&input.context.definition.args).map(Self)
    }

    fn check(args: &JobArgs) -> Result<(), ArgsError> {
        parse_args::<T>(args).map(|_| ())
    }
}

/// Something of the application's that was given to [`Registry::state`].
#[derive(Debug)]
pub struct State<T>(Arc<T>);

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> State<T> {
    /// For a test that calls a task by itself; a scheduler makes it from what the [`Registry`] was given.
    pub fn new(state: T) -> Self {
        Self(Arc::new(state))
    }
}

impl<T> Deref for State<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> Parameter for State<T> {
    fn make(input: &TaskInput) -> Result<Self, ArgsError> {
        let found = input
            .states
            .get(&TypeId::of::<T>())
            .cloned()
            .and_then(|state| state.downcast().ok());
        found.map(Self).ok_or_else(|| {
            ArgsError::new(
                "task",
                format!(
                    "no state of type {} was given to the registry",
                    type_name::<T>()
                ),
            )
        })
    }
}

impl Parameter for RunContext {
    fn make(input: &TaskInput) -> Result<Self, ArgsError> {
        Ok(input.context.clone())
    }
}

/// The run's row; [`RunContext`] has it too, with a log and the wish to stop.
impl Parameter for Run {
    fn make(input: &TaskInput) -> Result<Self, ArgsError> {
        Ok(input.context.run().clone())
    }
}

/// What a task may return: nothing, or a result. A value is recorded as the run's output, as JSON.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "is no end of a task",
    note = "a task returns nothing, or a `Result<T, E>` with a `T` that is `Serialize` and an `E` that is `Display`: \
            `Ok(value)` records the value as the run's output"
)]
pub trait IntoTaskEnd {
    /// How the task ended.
    fn into_task_end(self, output: &Output) -> TaskEnd;
}

impl IntoTaskEnd for () {
    fn into_task_end(self, _: &Output) -> TaskEnd {
        TaskEnd::Succeeded
    }
}

impl IntoTaskEnd for TaskEnd {
    fn into_task_end(self, _: &Output) -> TaskEnd {
        self
    }
}

impl<T: Serialize, E: fmt::Display> IntoTaskEnd for Result<T, E> {
    fn into_task_end(self, output: &Output) -> TaskEnd {
        match self {
            Err(error) => TaskEnd::Failed(format!("{error:#}")),
            Ok(value) => match serde_json::to_value(value) {
                Ok(Value::Null) => TaskEnd::Succeeded,
                Ok(value) => {
                    output.line(&value.to_string());
                    TaskEnd::Succeeded
                }
                Err(error) => TaskEnd::Failed(format!("its result is no JSON: {error}")),
            },
        }
    }
}

/// Refuses arguments that nothing of a task would read.
pub(crate) fn check_taken(args: &JobArgs, takes_arguments: bool) -> Result<(), ArgsError> {
    let field = match (args.args.is_empty(), args.kwargs.is_empty()) {
        _ if takes_arguments => return Ok(()),
        (true, true) => return Ok(()),
        (false, _) => "args",
        (true, false) => "kwargs",
    };
    Err(ArgsError::new(field, "the task takes no arguments"))
}

/// What a task does when it is called.
#[expect(missing_debug_implementations, reason = "it is code")]
pub enum TaskCall {
    /// A future to poll.
    Async(BoxFuture<'static, TaskEnd>),
    /// A function to run on a thread that may block.
    Blocking(Box<dyn FnOnce() -> TaskEnd + Send>),
}

/// A task, whatever its parameters.
pub trait Task: Send + Sync + 'static {
    /// Calls it.
    fn call(&self, input: TaskInput) -> TaskCall;
    /// Whether a job's arguments fit.
    fn check(&self, args: &JobArgs) -> Result<(), ArgsError>;
}

struct AsyncTask<F, P>(F, PhantomData<fn(P)>);
struct BlockingTask<F, P>(Arc<F>, PhantomData<fn(P)>);

/// An async function with parameters `P`.
pub trait AsyncFunction<P>: Send + Sync + 'static {
    /// Makes the parameters and calls it.
    fn call(&self, input: TaskInput) -> BoxFuture<'static, TaskEnd>;
    /// Checks the arguments.
    fn check(args: &JobArgs) -> Result<(), ArgsError>;
}

/// A plain function with parameters `P`.
pub trait BlockingFunction<P>: Send + Sync + 'static {
    /// Makes the parameters and calls it.
    fn call(&self, input: &TaskInput) -> TaskEnd;
    /// Checks the arguments.
    fn check(args: &JobArgs) -> Result<(), ArgsError>;
}

macro_rules! functions {
    ($(($($name:ident),*))*) => { $(
        impl<F, R, $($name: Parameter),*> AsyncFunction<($($name,)*)> for F
        where
            F: Fn($($name),*) -> R + Send + Sync + 'static,
            R: Future + Send + 'static,
            R::Output: IntoTaskEnd + Send,
        {
            #[allow(non_snake_case, unused_variables)]
            fn call(&self, input: TaskInput) -> BoxFuture<'static, TaskEnd> {
                $(let $name = match $name::make(&input) {
                    Ok(made) => made,
                    Err(error) => return Box::pin(std::future::ready(TaskEnd::Failed(error.to_string()))),
                };)*
                let future = self($($name),*);
                Box::pin(async move { future.await.into_task_end(&input.context.output) })
            }

            #[allow(unused_variables)]
            fn check(args: &JobArgs) -> Result<(), ArgsError> {
                check_taken(args, false $(|| $name::TAKES_ARGUMENTS)*)?;
                $($name::check(args)?;)*
                Ok(())
            }
        }

        impl<F, R, $($name: Parameter),*> BlockingFunction<($($name,)*)> for F
        where
            F: Fn($($name),*) -> R + Send + Sync + 'static,
            R: IntoTaskEnd,
        {
            #[allow(non_snake_case, unused_variables)]
            fn call(&self, input: &TaskInput) -> TaskEnd {
                $(let $name = match $name::make(input) {
                    Ok(made) => made,
                    Err(error) => return TaskEnd::Failed(error.to_string()),
                };)*
                self($($name),*).into_task_end(&input.context.output)
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

functions! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) }

impl<F: AsyncFunction<P>, P: 'static> Task for AsyncTask<F, P> {
    fn call(&self, input: TaskInput) -> TaskCall {
        TaskCall::Async(self.0.call(input))
    }

    fn check(&self, args: &JobArgs) -> Result<(), ArgsError> {
        F::check(args)
    }
}

impl<F: BlockingFunction<P>, P: 'static> Task for BlockingTask<F, P> {
    fn call(&self, input: TaskInput) -> TaskCall {
        let function = Arc::clone(&self.0);
        TaskCall::Blocking(Box::new(move || function.call(&input)))
    }

    fn check(&self, args: &JobArgs) -> Result<(), ArgsError> {
        F::check(args)
    }
}

/// A task that is a type: a value of it is a call, with the arguments of a job. `#[punctual::task]` writes it; to
/// register a function without it see [`Registry::add`].
pub trait TaskFunction: Sized {
    /// The task's name.
    const NAME: &'static str;

    /// Registers it.
    fn register(registry: &mut Registry) -> Result<(), RegisterError>;

    /// The arguments of this call, where all of them can be JSON.
    fn into_args(self) -> Result<JobArgs, serde_json::Error>;

    /// The job that its code declares (`#[task(cron = "…")]`), to be added when a scheduler is built.
    fn declared_job() -> Option<NewJob> {
        None
    }
}

/// The same for a task that need not be `Send`: `#[punctual::task(local)]`.
pub trait LocalTaskFunction: Sized {
    /// The task's name.
    const NAME: &'static str;

    /// Registers it.
    fn register(tasks: &mut LocalTasks) -> Result<(), RegisterError>;

    /// The arguments of this call, where all of them can be JSON.
    fn into_args(self) -> Result<JobArgs, serde_json::Error>;
}

/// What can be made a job of: a [`NewJob`], or a call of a task that is a type, such as `cleanup(30)`.
pub trait IntoNewJob {
    /// The job, without a schedule unless it has one.
    fn into_new_job(self) -> NewJob;
}

impl IntoNewJob for NewJob {
    fn into_new_job(self) -> NewJob {
        self
    }
}

impl<T: TaskFunction> IntoNewJob for T {
    fn into_new_job(self) -> NewJob {
        NewJob::of_call(T::NAME, self.into_args())
    }
}

/// A task of an async function.
pub(crate) fn async_task<P: 'static>(function: impl AsyncFunction<P>) -> Arc<dyn Task> {
    Arc::new(AsyncTask(function, PhantomData))
}

/// A task of a plain function.
pub(crate) fn blocking_task<P: 'static>(function: impl BlockingFunction<P>) -> Arc<dyn Task> {
    Arc::new(BlockingTask(Arc::new(function), PhantomData))
}

/// Why a task was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is taken.
    #[error("task {0:?} is registered twice; give one of them another name")]
    Taken(TaskName),
    /// The name begins as those of built-in tasks do.
    #[error("task {0:?} begins with \"punctual:\", which is reserved; choose another name")]
    Reserved(TaskName),
}

/// The tasks a scheduler can run, by name, and the application's state that they use.
#[derive(Clone, Default)]
pub struct Registry {
    tasks: BTreeMap<TaskName, Arc<dyn Task>>,
    states: Arc<States>,
    closures: Closures,
    declared: Vec<fn() -> Option<NewJob>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tasks.keys()).finish()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers an async function.
    pub fn add<P: 'static>(
        &mut self,
        name: &str,
        function: impl AsyncFunction<P>,
    ) -> Result<(), RegisterError> {
        self.add_shared(name, async_task(function))
    }

    /// Registers a plain function; it runs on a thread that may block.
    pub fn add_blocking<P: 'static>(
        &mut self,
        name: &str,
        function: impl BlockingFunction<P>,
    ) -> Result<(), RegisterError> {
        self.add_shared(name, blocking_task(function))
    }

    /// Registers a task that is a type (`#[task]`). Where its code declares a job (`#[task(cron = "…")]`), a scheduler that is built
    /// with this registry adds it. A job that is stored already is replaced: it keeps its pause, and its cursor and phase
    /// where the trigger is the same.
    ///
    /// # Errors
    ///
    /// Its name is taken, or cannot be one.
    pub fn register<T: TaskFunction>(&mut self) -> Result<(), RegisterError> {
        T::register(self)?;
        self.declared.push(T::declared_job);
        Ok(())
    }

    pub(crate) fn declared_jobs(&self) -> impl Iterator<Item = NewJob> {
        self.declared.iter().filter_map(|declared| declared())
    }

    /// Registers a task of another make.
    pub fn add_task(&mut self, name: &str, task: impl Task) -> Result<(), RegisterError> {
        self.add_shared(name, Arc::new(task))
    }

    fn add_shared(&mut self, name: &str, task: Arc<dyn Task>) -> Result<(), RegisterError> {
        let name = TaskName::new(name)?;
        if name.as_str().starts_with(RESERVED) {
            return Err(RegisterError::Reserved(name));
        }
        if self.tasks.contains_key(&name) {
            return Err(RegisterError::Taken(name));
        }
        self.tasks.insert(name, task);
        Ok(())
    }

    pub(crate) fn closures(&self) -> &Closures {
        &self.closures
    }

    /// Gives tasks access to `state`, by its type. A second one of the same type takes the place of the first.
    pub fn state<T: Send + Sync + 'static>(&mut self, state: T) {
        Arc::make_mut(&mut self.states).insert(TypeId::of::<T>(), Arc::new(state));
    }

    /// The task with a name.
    pub fn get(&self, name: &TaskName) -> Option<&Arc<dyn Task>> {
        self.tasks.get(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> BTreeSet<TaskName> {
        self.tasks.keys().cloned().collect()
    }

    pub(crate) fn input(&self, context: RunContext) -> TaskInput {
        TaskInput {
            context,
            states: Arc::clone(&self.states),
        }
    }

    /// Calls the task of a run.
    pub fn call(&self, context: RunContext) -> TaskCall {
        let name = &context.definition.task;
        let (task, problem) = if name.as_str() == CLOSURE_TASK {
            let closure = self.closures.get(&context.definition.args);
            (closure, "its closure is gone".to_owned())
        } else {
            let problem = format!("task {name:?} is not registered here");
            (self.tasks.get(name).cloned(), problem)
        };
        match task {
            Some(task) => task.call(self.input(context)),
            None => TaskCall::Async(Box::pin(std::future::ready(TaskEnd::Failed(problem)))),
        }
    }
}
