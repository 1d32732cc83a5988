//! What people give to add or change a job: unchecked, with chained setters.

use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::Trigger;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::job::{Coalesce, JobArgs, OnCrash, Overlap, Retry};
use crate::plan::{FirstRun, OnConflict, PauseRequest, PolicyPatch};
use crate::task::IntoNewJob;

macro_rules! policy_setters {
    () => {
        /// How late a run may start; `None` is however late.
        pub fn misfire_grace_time(mut self, grace: impl Into<Option<Duration>>) -> Self {
            self.policy.misfire_grace_time = Some(grace.into());
            self
        }

        /// What becomes of several occurrences found due together.
        pub fn coalesce(mut self, coalesce: Coalesce) -> Self {
            self.policy.coalesce = Some(coalesce);
            self
        }

        /// How many instances may be live at once, over all nodes; at least 1.
        pub fn max_instances(mut self, max: u32) -> Self {
            self.policy.max_instances = Some(max);
            self
        }

        /// What becomes of an occurrence beyond that.
        pub fn overlap(mut self, overlap: Overlap) -> Self {
            self.policy.overlap = Some(overlap);
            self
        }

        /// What follows a failure; `None` is nothing.
        pub fn retry(mut self, retry: impl Into<Option<Retry>>) -> Self {
            self.policy.retry = Some(retry.into());
            self
        }

        /// How long one attempt may take; `None` is as long as it likes.
        pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
            self.policy.timeout = Some(timeout.into());
            self
        }

        /// What follows the death of the node.
        pub fn on_crash(mut self, on_crash: OnCrash) -> Self {
            self.policy.on_crash = Some(on_crash);
            self
        }
    };
}

/// A job to add. Everything but the task has a default.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub(crate) task: String,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) args: Vec<Value>,
    pub(crate) kwargs: Map<String, Value>,
    pub(crate) trigger: Option<Trigger>,
    pub(crate) executor: Option<String>,
    pub(crate) job_store: Option<String>,
    pub(crate) policy: PolicyPatch,
    pub(crate) tags: Vec<String>,
    pub(crate) first_run: FirstRun,
    pub(crate) on_conflict: OnConflict,
    pub(crate) allow_unknown_task: bool,
    /// A date that has passed is not made up for.
    pub(crate) is_declared: bool,
    /// Why its arguments cannot be stored.
    pub(crate) args_error: Option<String>,
}

impl NewJob {
    /// A job that calls `task`, once, now, unless a trigger is given.
    pub fn new(task: impl Into<String>) -> Self {
        Self {
            task: task.into(),
            id: None,
            name: None,
            args: Vec::new(),
            kwargs: Map::new(),
            trigger: None,
            executor: None,
            job_store: None,
            policy: PolicyPatch::default(),
            tags: Vec::new(),
            first_run: FirstRun::ByTrigger,
            on_conflict: OnConflict::Error,
            allow_unknown_task: false,
            is_declared: false,
            args_error: None,
        }
    }

    /// A job that makes a call. That its arguments cannot be JSON is said when it is added.
    pub fn of_call(task: impl Into<String>, args: Result<JobArgs, serde_json::Error>) -> Self {
        let job = Self::new(task);
        match args {
            Ok(JobArgs { args, kwargs }) => job.args(args).kwargs(kwargs),
            Err(error) => Self {
                args_error: Some(format!("cannot be stored as JSON: {error}")),
                ..job
            },
        }
    }

    /// The id; random unless given.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The name for people; the id unless given.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// One more positional argument.
    ///
    /// # Panics
    ///
    /// When it cannot be JSON: a map whose keys are no strings, or a type whose `Serialize` fails.
    pub fn arg(mut self, value: impl Serialize) -> Self {
        self.args
            .push(serde_json::to_value(value).expect("an argument is JSON"));
        self
    }

    /// All positional arguments.
    pub fn args(mut self, args: Vec<Value>) -> Self {
        self.args = args;
        self
    }

    /// All arguments by name.
    pub fn kwargs(mut self, kwargs: Map<String, Value>) -> Self {
        self.kwargs = kwargs;
        self
    }

    /// When it runs.
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = Some(trigger);
        self
    }

    /// The executor; `default` unless given.
    pub fn executor(mut self, alias: impl Into<String>) -> Self {
        self.executor = Some(alias.into());
        self
    }

    /// The job store; `default` unless given.
    pub fn job_store(mut self, alias: impl Into<String>) -> Self {
        self.job_store = Some(alias.into());
        self
    }

    /// One more label.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Runs first at this moment, and then by the trigger.
    pub fn next_run_time(mut self, at: Timestamp) -> Self {
        self.first_run = FirstRun::At(at);
        self
    }

    /// Is paused from the beginning.
    pub fn paused(mut self) -> Self {
        self.first_run = FirstRun::Paused(PauseRequest::default());
        self
    }

    /// Replaces a job with the same id. Keeps a pause, and cursor and phase where the trigger is the same.
    pub fn replace_existing(mut self) -> Self {
        self.on_conflict = OnConflict::Replace;
        self
    }

    /// Is added even where no node has its task; it waits for one that has.
    pub fn allow_unknown_task(mut self) -> Self {
        self.allow_unknown_task = true;
        self
    }

    policy_setters!();
}

/// Changes of a job; what is not mentioned stays.
#[derive(Clone, Debug, Default)]
pub struct JobUpdate {
    pub(crate) name: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) args: Option<Vec<Value>>,
    pub(crate) kwargs: Option<Map<String, Value>>,
    pub(crate) trigger: Option<Trigger>,
    pub(crate) executor: Option<String>,
    pub(crate) policy: PolicyPatch,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) next_run_time: Option<Timestamp>,
    pub(crate) expected_revision: Option<u64>,
    pub(crate) allow_unknown_task: bool,
    pub(crate) args_error: Option<String>,
}

impl JobUpdate {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Another task.
    pub fn task(mut self, task: impl Into<String>) -> Self {
        self.task = Some(task.into());
        self
    }

    /// Another call: the task of `call`, with its arguments in place of all that the job has.
    pub fn call(mut self, call: impl IntoNewJob) -> Self {
        let NewJob {
            task,
            args,
            kwargs,
            args_error,
            ..
        } = call.into_new_job();
        self.args_error = args_error;
        self.task = Some(task);
        self.args = Some(args);
        self.kwargs = Some(kwargs);
        self
    }

    /// Other positional arguments.
    pub fn args(mut self, args: Vec<Value>) -> Self {
        self.args = Some(args);
        self
    }

    /// Other arguments by name.
    pub fn kwargs(mut self, kwargs: Map<String, Value>) -> Self {
        self.kwargs = Some(kwargs);
        self
    }

    /// Another trigger: it starts from now, unless it is the one the job has.
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = Some(trigger);
        self
    }

    /// Another executor.
    pub fn executor(mut self, alias: impl Into<String>) -> Self {
        self.executor = Some(alias.into());
        self
    }

    /// Other labels.
    pub fn tags(mut self, tags: Vec<String>) -> Self {
        self.tags = Some(tags);
        self
    }

    /// Runs next at this moment, and then by the trigger.
    pub fn next_run_time(mut self, at: Timestamp) -> Self {
        self.next_run_time = Some(at);
        self
    }

    /// Is refused where the job was changed since it had this revision.
    pub fn expected_revision(mut self, revision: u64) -> Self {
        self.expected_revision = Some(revision);
        self
    }

    /// Takes also a task that no node has.
    pub fn allow_unknown_task(mut self) -> Self {
        self.allow_unknown_task = true;
        self
    }

    policy_setters!();
}
