//! Why a verb of the scheduler was refused. In every case the stores are unchanged.

use std::path::PathBuf;

use punctual_trigger::TriggerError;

use crate::id::{JobId, NameError, RunId, TaskName};
use crate::store::StoreError;

/// Why a verb was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value that does not fit its field.
    #[error("{field}: {message}")]
    Invalid {
        /// The field, as a path: `trigger.hour`, `retry.attempts`.
        field: String,
        /// The value, what is allowed and, where known, the likely cure.
        message: String,
    },
    /// A job with this id is stored already.
    #[error("Job {id} already exists.")]
    Exists {
        /// The id.
        id: JobId,
    },
    /// The trigger has no fire to come.
    #[error("job {id} would never run: {reason}")]
    NeverRuns {
        /// The id.
        id: JobId,
        /// Why.
        reason: String,
    },
    /// No node that is alive has the task.
    #[error("task {task:?} is not known{}; register it, or say `allow_unknown_task` to add it for a node that comes later", nearest_text(.nearest))]
    UnknownTask {
        /// The task asked for.
        task: TaskName,
        /// Names like it.
        nearest: Vec<String>,
    },
    /// No job has this id.
    #[error("Job {id} not found")]
    NoSuchJob {
        /// The id.
        id: JobId,
    },
    /// The job is stored, but cannot be read.
    #[error("job {id} cannot be read back ({reason}); it is kept as it is: remove or replace it")]
    Unreadable {
        /// The id.
        id: JobId,
        /// Why.
        reason: String,
    },
    /// The ledger has no such run.
    #[error("run {id} not found")]
    NoSuchRun {
        /// The id.
        id: RunId,
    },
    /// The job was changed by somebody else since it was read.
    #[error("job {id} was changed meanwhile: its revision is {revision}; read it again")]
    Conflict {
        /// The id.
        id: JobId,
        /// Its revision now.
        revision: u64,
    },
    /// No job store has this alias.
    #[error("job store {alias:?} is not known{}", likely_text(.likely))]
    UnknownJobStore {
        /// The alias asked for.
        alias: String,
        /// Names like it, or all there are.
        likely: Vec<String>,
    },
    /// No executor has this alias.
    #[error("executor {alias:?} is not known{}", likely_text(.likely))]
    UnknownExecutor {
        /// The alias asked for.
        alias: String,
        /// Names like it, or all there are.
        likely: Vec<String>,
    },
    /// The alias of an executor or job store is taken.
    #[error("{what} {alias:?} exists already; remove it first or choose another alias")]
    AliasTaken {
        /// `executor` or `job store`.
        what: &'static str,
        /// The alias.
        alias: String,
    },
    /// The scheduler runs already.
    #[error("Scheduler is already running")]
    AlreadyRunning,
    /// The scheduler is being shut down: it can be started when that is over.
    #[error("Scheduler is shutting down; start it when that is over")]
    ShuttingDown,
    /// Another process holds the lock file, and runs the jobs.
    #[error("another process holds {} and runs the jobs; this one can still add jobs to a store that both share", .path.display())]
    OtherInstance {
        /// The lock file.
        path: PathBuf,
    },
    /// The job would be kept where the process that runs the jobs does not see it.
    #[error("job store {job_store:?} belongs to this process alone, and {} is not held by it, so the job would never run; share a store such as sqlite:FILE, or start this scheduler", .path.display())]
    OutOfReach {
        /// The alias of the store.
        job_store: String,
        /// The lock file.
        path: PathBuf,
    },
    /// The scheduler does not run.
    #[error("Scheduler is not running")]
    NotRunning,
    /// The job store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn likely_text(likely: &[String]) -> String {
    if likely.is_empty() {
        return "; there is none".to_owned();
    }
    nearest_text(likely)
}

fn nearest_text(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

impl Error {
    /// A value that does not fit its field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            message: message.into(),
        }
    }

    /// The field at fault, where one is.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } => Some(field),
            Self::UnknownTask { .. } => Some("task"),
            Self::UnknownJobStore { .. } | Self::OutOfReach { .. } => Some("jobstore"),
            Self::UnknownExecutor { .. } => Some("executor"),
            Self::NeverRuns { .. } => Some("trigger"),
            Self::Exists { .. } => Some("id"),
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_retryable())
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::invalid(error.field, error.to_string())
    }
}

impl From<TriggerError> for Error {
    fn from(error: TriggerError) -> Self {
        let field = error
            .field()
            .map_or_else(|| "trigger".to_owned(), |field| format!("trigger.{field}"));
        Self::invalid(field, error.message())
    }
}

/// The nearest of `known`, or all of them where none is near.
pub(super) fn nearest_or_all<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Vec<String> {
    let near = nearest(name, known.clone());
    if near.is_empty() {
        known.map(str::to_owned).collect()
    } else {
        near
    }
}

/// Up to three of `known` that look like `name`, best first.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let name = name.to_lowercase();
    let score = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        // The one knows beginnings, the other swapped letters.
        strsim::jaro_winkler(&name, &candidate)
            .max(strsim::normalized_damerau_levenshtein(&name, &candidate))
    };
    let mut scored: Vec<_> = known
        .map(|candidate| (score(candidate), candidate))
        .filter(|&(score, candidate)| score > if candidate.len() < 5 { 0.65 } else { 0.75 })
        .collect();
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    scored.dedup_by_key(|&mut (_, candidate)| candidate);
    scored
        .into_iter()
        .take(3)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}
