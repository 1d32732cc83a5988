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

use std::any::{Any, TypeId, type_name};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cancel::CancelToken;
use crate::id::{NameError, TaskName};
use crate::job::{JobArgs, JobDefinition};
use crate::lease::Lease;
use crate::output::Output;
use crate::run::Run;
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
        }
    }

    /// The same, with another lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = lease;
        self
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
#[error("{message}")]
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
pub trait Parameter: Sized + Send + 'static {
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
        let field = match error.path().to_string() {
            root if root == "." => base.to_owned(),
            index if index.starts_with('[') => format!("{base}{index}"),
            path => format!("{base}.{path}"),
        };
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
        ([one], true) => fit("args[0]", one.clone()).or_else(|_| array()),
        (_, true) => array(),
        (_, false) => Err(ArgsError::new(
            "args",
            "args and kwargs together do not fit this task; give one of them",
        )),
    }
}

impl<T: DeserializeOwned + Send + 'static> Parameter for Args<T> {
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

/// What a task may return: nothing, or a result. A value is recorded as the run's output, as JSON.
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
                    Err(error) => return Box::pin(std::future::ready(TaskEnd::Failed(error.message))),
                };)*
                let future = self($($name),*);
                Box::pin(async move { future.await.into_task_end(&input.context.output) })
            }

            #[allow(unused_variables)]
            fn check(args: &JobArgs) -> Result<(), ArgsError> {
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
                    Err(error) => return TaskEnd::Failed(error.message),
                };)*
                self($($name),*).into_task_end(&input.context.output)
            }

            #[allow(unused_variables)]
            fn check(args: &JobArgs) -> Result<(), ArgsError> {
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
}

/// The tasks a scheduler can run, by name, and the application's state that they use.
#[derive(Clone, Default)]
pub struct Registry {
    tasks: BTreeMap<TaskName, Arc<dyn Task>>,
    states: Arc<States>,
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
        self.add_task(name, AsyncTask(function, PhantomData))
    }

    /// Registers a plain function; it runs on a thread that may block.
    pub fn add_blocking<P: 'static>(
        &mut self,
        name: &str,
        function: impl BlockingFunction<P>,
    ) -> Result<(), RegisterError> {
        self.add_task(name, BlockingTask(Arc::new(function), PhantomData))
    }

    /// Registers a task of another make.
    pub fn add_task(&mut self, name: &str, task: impl Task) -> Result<(), RegisterError> {
        let name = TaskName::new(name)?;
        if self.tasks.contains_key(&name) {
            return Err(RegisterError::Taken(name));
        }
        self.tasks.insert(name, Arc::new(task));
        Ok(())
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

    /// Calls the task of a run.
    pub fn call(&self, context: RunContext) -> TaskCall {
        match self.tasks.get(&context.definition.task) {
            Some(task) => task.call(TaskInput {
                context,
                states: Arc::clone(&self.states),
            }),
            None => {
                let error = format!("task {:?} is not registered here", context.definition.task);
                TaskCall::Async(Box::pin(std::future::ready(TaskEnd::Failed(error))))
            }
        }
    }
}
