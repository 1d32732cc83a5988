//! Arguments by name: what a job gives, matched with what a task takes, as Python would match them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use super::ArgsError;
use crate::job::JobArgs;
use crate::scheduler::nearest;

/// A type that an argument of a task can have: every one that is [`Serialize`] and [`DeserializeOwned`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a task",
    label = "is no argument",
    note = "arguments are stored with the job, as JSON: derive `serde::Serialize` and `serde::Deserialize`",
    note = "what the application has is taken as `State<…>`; mark what makes itself from the run with `#[inject]`"
)]
pub trait Argument: Sized {
    /// Reads a value; `field` is its path in the job's arguments.
    fn read(field: &str, value: &Value) -> Result<Self, ArgsError>;

    /// The value as it is stored.
    ///
    /// # Errors
    ///
    /// It cannot be JSON: a map whose keys are no strings, or a type whose `Serialize` fails.
    fn write(&self) -> Result<Value, serde_json::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Argument for T {
    fn read(field: &str, value: &Value) -> Result<Self, ArgsError> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path();
            let cure = cure::<T>(value, path).unwrap_or_default();
            let why = in_words(error.inner().to_string());
            ArgsError::new(below(field, path), format!("does not fit: {why}{cure}"))
        })
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// Reads a value of a field. Not a bound on `T`: the compiler then says once, where the type is written, that it is no
/// [`Argument`].
pub type ReadArgument<T> = fn(&str, &Value) -> Result<T, ArgsError>;

/// The path of what lies below a field.
pub(super) fn below(field: &str, path: &Path) -> String {
    match path.to_string() {
        root if root == "." => field.to_owned(),
        index if index.starts_with('[') => format!("{field}{index}"),
        path => format!("{field}.{path}"),
    }
}

/// What people write in another way than JSON has it; found by trying.
fn cure<T: DeserializeOwned>(value: &Value, path: &Path) -> Option<String> {
    let found = at(value, path)?;
    let fits = |other: Value| {
        let mut changed = value.clone();
        *at_mut(&mut changed, path)? = other;
        T::deserialize(&changed).ok().map(|_| ())
    };
    let unquoted = |text: &String| serde_json::from_str(text).ok();
    match found {
        Value::String(text) if unquoted(text).and_then(fits).is_some() => {
            Some(format!("; write {text} without quotes"))
        }
        Value::Number(_) | Value::Bool(_) if fits(found.to_string().into()).is_some() => {
            Some(format!("; write \"{found}\", in quotes"))
        }
        _ if fits(vec![found.clone()].into()).is_some() => {
            Some(format!("; write [{found}], a list"))
        }
        _ => None,
    }
}

fn at<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        _ => None,
    })
}

fn at_mut<'a>(value: &'a mut Value, path: &Path) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.get_mut(index),
        Segment::Map { key } => value.get_mut(key),
        _ => None,
    })
}

/// The same for people who do not know Rust's numbers.
fn in_words(why: String) -> String {
    let Some((before, kind)) = why.rsplit_once("expected ") else {
        return why;
    };
    let (min, max) = match kind {
        "i8" => (i128::from(i8::MIN), i128::from(i8::MAX)),
        "i16" => (i16::MIN.into(), i16::MAX.into()),
        "i32" => (i32::MIN.into(), i32::MAX.into()),
        "i64" => (i64::MIN.into(), i64::MAX.into()),
        "u8" => (0, u8::MAX.into()),
        "u16" => (0, u16::MAX.into()),
        "u32" => (0, u32::MAX.into()),
        "u64" | "usize" => (0, u64::MAX.into()),
        "f32" | "f64" => return format!("{before}expected a number"),
        _ => return why,
    };
    format!("{before}expected a whole number from {min} to {max}")
}

/// An argument that a task takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentSpec {
    /// Its name.
    pub name: &'static str,
    /// Whether a job must give it.
    pub is_required: bool,
}

impl ArgumentSpec {
    /// One that a job must give.
    pub const fn required(name: &'static str) -> Self {
        Self {
            name,
            is_required: true,
        }
    }

    /// One that the task has a default for.
    pub const fn optional(name: &'static str) -> Self {
        Self {
            name,
            is_required: false,
        }
    }
}

/// A job's arguments, each by the name that the task has for it.
///
/// ```
/// use punctual_core::job::JobArgs;
/// use punctual_core::task::{Argument, ArgumentSpec, BoundArgs};
/// use serde_json::json;
///
/// let takes = [ArgumentSpec::required("days"), ArgumentSpec::optional("limit")];
/// let args = JobArgs { args: vec![json!(30)], ..JobArgs::default() };
/// let bound = BoundArgs::bind("cleanup", &takes, &args)?;
/// assert_eq!(bound.required("days", u32::read)?, 30);
/// assert_eq!(bound.optional("limit", u32::read)?, None);
/// # Ok::<(), punctual_core::task::ArgsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BoundArgs<'a> {
    task: &'a str,
    takes: &'a [ArgumentSpec],
    given: Vec<Given<'a>>,
}

#[derive(Clone, Debug)]
struct Given<'a> {
    name: &'a str,
    /// Where in the job's arguments it is.
    field: String,
    value: &'a Value,
}

impl<'a> BoundArgs<'a> {
    /// Matches positional arguments by their order and the others by their names.
    ///
    /// # Errors
    ///
    /// The first that is one too many, has no name that the task takes, or is given twice; or that is missing. The field
    /// is its path: `args[2]`, `kwargs.days`.
    pub fn bind(
        task: &'a str,
        takes: &'a [ArgumentSpec],
        args: &'a JobArgs,
    ) -> Result<Self, ArgsError> {
        let mut given = Vec::with_capacity(takes.len());
        for (i, value) in args.args.iter().enumerate() {
            let field = format!("args[{i}]");
            let Some(spec) = takes.get(i) else {
                let message = format!("is one too many: {}", task_takes(task, takes));
                return Err(ArgsError::new(field, message));
            };
            given.push(Given {
                name: spec.name,
                field,
                value,
            });
        }
        for (name, value) in &args.kwargs {
            let field = format!("kwargs.{name}");
            if !takes.iter().any(|spec| spec.name == name) {
                return Err(ArgsError::new(field, unknown(task, takes, name)));
            }
            if let Some(first) = given.iter().find(|first| first.name == name) {
                let message = format!("is given twice, as {} too; give it once", first.field);
                return Err(ArgsError::new(field, message));
            }
            given.push(Given { name, field, value });
        }
        let bound = Self { task, takes, given };
        let is_missing = |spec: &&ArgumentSpec| spec.is_required && bound.find(spec.name).is_none();
        match takes.iter().find(is_missing) {
            Some(spec) => Err(bound.missing(spec.name)),
            None => Ok(bound),
        }
    }

    /// An argument that a job must give; `read` is [`Argument::read`] of its type.
    ///
    /// # Errors
    ///
    /// It is not given, or does not fit its type; the field is the path of the value at fault.
    pub fn required<T>(&self, name: &str, read: ReadArgument<T>) -> Result<T, ArgsError> {
        self.optional(name, read)?.ok_or_else(|| self.missing(name))
    }

    /// An argument that a job may give. A null is a value: it fits where the type takes one.
    ///
    /// # Errors
    ///
    /// It does not fit its type; the field is the path of the value at fault.
    pub fn optional<T>(&self, name: &str, read: ReadArgument<T>) -> Result<Option<T>, ArgsError> {
        let Some(given) = self.find(name) else {
            return Ok(None);
        };
        read(&given.field, given.value)
            .map(Some)
            .map_err(|mut error| {
                if given.value.is_null() && self.is_optional(name) {
                    error.message.push_str("; leave it out for the default");
                }
                error
            })
    }

    /// All that are given, by name.
    pub fn to_object(&self) -> Map<String, Value> {
        let entry = |given: &Given<'_>| (given.name.to_owned(), given.value.clone());
        self.given.iter().map(entry).collect()
    }

    fn is_optional(&self, name: &str) -> bool {
        let spec = self.takes.iter().find(|spec| spec.name == name);
        spec.is_some_and(|spec| !spec.is_required)
    }

    fn find(&self, name: &str) -> Option<&Given<'a>> {
        self.given.iter().find(|given| given.name == name)
    }

    fn missing(&self, name: &str) -> ArgsError {
        let message = format!("is missing: task {:?} needs it", self.task);
        ArgsError::new(format!("kwargs.{name}"), message)
    }
}

/// The arguments of one call of a task, as a type. `#[punctual::task]` writes it.
pub trait CallArgs: Sized {
    /// The task's name.
    const TASK: &'static str;
    /// What it takes, in order.
    const TAKES: &'static [ArgumentSpec];

    /// Reads what a job gives.
    fn read(bound: &BoundArgs<'_>) -> Result<Self, ArgsError>;

    /// What a job gives for this call; without what is left to the task's defaults.
    fn write(&self) -> Result<Map<String, Value>, serde_json::Error>;

    /// Binds and reads a job's arguments.
    fn from_job(args: &JobArgs) -> Result<Self, ArgsError> {
        Self::read(&BoundArgs::bind(Self::TASK, Self::TAKES, args)?)
    }

    /// The arguments of a job that makes this call, where all of them can be JSON.
    fn to_job(&self) -> Result<JobArgs, serde_json::Error> {
        Ok(JobArgs {
            args: Vec::new(),
            kwargs: self.write()?,
        })
    }
}

fn unknown(task: &str, takes: &[ArgumentSpec], name: &str) -> String {
    let close = nearest(name, takes.iter().map(|spec| spec.name));
    match close.first() {
        Some(guess) => format!("is no argument of task {task:?}; did you mean {guess}?"),
        None => format!("is no argument: {}", task_takes(task, takes)),
    }
}

fn task_takes(task: &str, takes: &[ArgumentSpec]) -> String {
    let names: Vec<_> = takes.iter().map(|spec| spec.name).collect();
    match names.as_slice() {
        [] => format!("task {task:?} takes none"),
        [one] => format!("task {task:?} takes {one}"),
        [most @ .., last] => format!("task {task:?} takes {} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        size: u8,
        #[serde(default)]
        names: Vec<String>,
    }

    const TAKES: [ArgumentSpec; 3] = [
        ArgumentSpec::required("days"),
        ArgumentSpec::optional("limit"),
        ArgumentSpec::optional("filter"),
    ];

    #[expect(clippy::needless_pass_by_value, reason = "for `json!` at the call")]
    fn job_args(args: Value, kwargs: Value) -> JobArgs {
        serde_json::from_value(json!({"args": args, "kwargs": kwargs})).unwrap()
    }

    type Read = (u32, Option<Option<i8>>, Option<Filter>);

    fn read(args: &JobArgs) -> Result<Read, ArgsError> {
        let bound = BoundArgs::bind("cleanup", &TAKES, args)?;
        Ok((
            bound.required("days", u32::read)?,
            bound.optional("limit", Option::read)?,
            bound.optional("filter", Filter::read)?,
        ))
    }

    #[test]
    fn binds_as_python_would() {
        let filter = |size| Filter {
            size,
            names: Vec::new(),
        };
        for (args, kwargs, wanted) in [
            (json!([]), json!({"days": 3}), (3, None, None)),
            (json!([3]), json!({}), (3, None, None)),
            (json!([3, 4]), json!({}), (3, Some(Some(4)), None)),
            (json!([3]), json!({"limit": null}), (3, Some(None), None)),
            (
                json!([3]),
                json!({"filter": {"size": 1}}),
                (3, None, Some(filter(1))),
            ),
            (
                json!([]),
                json!({"filter": {"size": 1}, "limit": -4, "days": 3}),
                (3, Some(Some(-4)), Some(filter(1))),
            ),
        ] {
            assert_eq!(read(&job_args(args, kwargs)), Ok(wanted));
        }
    }

    #[test]
    fn refusals_name_the_path_and_the_cure() {
        for (args, kwargs, field, message) in [
            (
                json!([1, 2, {"size": 1}, 4]),
                json!({}),
                "args[3]",
                "is one too many: task \"cleanup\" takes days, limit and filter",
            ),
            (
                json!([]),
                json!({"days": 1, "limt": 2}),
                "kwargs.limt",
                "is no argument of task \"cleanup\"; did you mean limit?",
            ),
            (
                json!([]),
                json!({"days": 1, "zone": 2}),
                "kwargs.zone",
                "is no argument: task \"cleanup\" takes days, limit and filter",
            ),
            (
                json!([1]),
                json!({"days": 1}),
                "kwargs.days",
                "is given twice, as args[0] too; give it once",
            ),
            (
                json!([]),
                json!({"limit": 1}),
                "kwargs.days",
                "is missing: task \"cleanup\" needs it",
            ),
            (
                json!(["x"]),
                json!({}),
                "args[0]",
                "does not fit: invalid type: string \"x\", expected a whole number from 0 to 4294967295",
            ),
            (
                json!([]),
                json!({"days": "30"}),
                "kwargs.days",
                "expected a whole number from 0 to 4294967295; write 30 without quotes",
            ),
            (
                json!([null]),
                json!({}),
                "args[0]",
                "invalid type: null, expected a whole number",
            ),
            (
                json!([1, 200]),
                json!({}),
                "args[1]",
                "invalid value: integer `200`, expected a whole number from -128 to 127",
            ),
            (
                json!([1]),
                json!({"filter": {"size": 300}}),
                "kwargs.filter.size",
                "from 0 to 255",
            ),
            (
                json!([1]),
                json!({"filter": {"size": 3, "names": "x"}}),
                "kwargs.filter.names",
                "expected a sequence; write [\"x\"], a list",
            ),
            (
                json!([1, 2, {"size": 3, "names": ["x", 7]}]),
                json!({}),
                "args[2].names[1]",
                "expected a string; write \"7\", in quotes",
            ),
            (
                json!([1]),
                json!({"filter": {}}),
                "kwargs.filter",
                "missing field `size`",
            ),
        ] {
            let error = read(&job_args(args, kwargs)).unwrap_err();
            assert_eq!(error.field, field, "{error}");
            assert!(error.message.contains(message), "{error}");
        }
        let error = BoundArgs::bind("tick", &[], &job_args(json!([1]), json!({}))).unwrap_err();
        assert_eq!(error.message, "is one too many: task \"tick\" takes none");
    }

    #[test]
    fn what_is_given_becomes_an_object() {
        let args = job_args(json!([1]), json!({"filter": {"size": 2}}));
        let bound = BoundArgs::bind("cleanup", &TAKES, &args).unwrap();
        let wanted = json!({"days": 1, "filter": {"size": 2}});
        assert_eq!(Value::Object(bound.to_object()), wanted);
    }
}
