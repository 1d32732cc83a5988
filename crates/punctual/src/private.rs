//! What the code that `#[task]` writes calls. Nothing here is for people, and any release may change it.

use std::fmt;
use std::pin::Pin;

pub use punctual_core::executor::{LocalFunction, LocalTasks};
pub use punctual_core::job::JobArgs;
pub use punctual_core::scheduler::NewJob;
pub use punctual_core::task::{
    ArgsError, Argument, ArgumentSpec, BoundArgs, CallArgs, IntoNewJob, IntoTaskEnd,
    LocalTaskFunction, Parameter, RegisterError, Registry, Task, TaskCall, TaskEnd, TaskFunction,
    TaskInput,
};
use punctual_trigger::Trigger;
pub use {serde, serde_json};

pub type LocalFuture = Pin<Box<dyn Future<Output = TaskEnd>>>;
pub type Object = serde_json::Map<String, serde_json::Value>;

pub fn make<T: CallArgs>(input: &TaskInput) -> Result<T, ArgsError> {
    T::from_job(&input.context.job().args)
}

pub fn check<T: CallArgs>(args: &JobArgs) -> Result<(), ArgsError> {
    T::from_job(args).map(|_| ())
}

pub fn serialize<T: CallArgs, S: serde::Serializer>(call: &T, to: S) -> Result<S::Ok, S::Error> {
    let object = call.write().map_err(serde::ser::Error::custom)?;
    serde::Serialize::serialize(&object, to)
}

pub fn deserialize<'de, T: CallArgs, D: serde::Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let kwargs = serde::Deserialize::deserialize(from)?;
    let args = Vec::new();
    T::from_job(&JobArgs { args, kwargs }).map_err(serde::de::Error::custom)
}

/// As the JSON it is stored as: an argument need not be `Debug`.
pub fn debug<T: CallArgs>(call: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut debug = f.debug_struct(T::TASK);
    match call.write() {
        Ok(object) => {
            for (name, value) in &object {
                debug.field(name, &format_args!("{value}"));
            }
            debug.finish()
        }
        Err(_) => debug.finish_non_exhaustive(),
    }
}

/// How a run ends whose parameters cannot be made.
pub fn failed(error: &ArgsError) -> TaskEnd {
    TaskEnd::Failed(error.to_string())
}

/// The job that a task declares; its trigger was read when the program was compiled.
pub fn declared_job(call: impl IntoNewJob, id: &str, trigger: &str) -> NewJob {
    let trigger: Trigger =
        serde_json::from_str(trigger).expect("`#[task]` writes what it has read");
    call.into_new_job()
        .id(id)
        .trigger(trigger)
        .replace_existing()
}
