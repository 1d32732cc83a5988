//! `APScheduler`'s configuration keys.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::builder::{DEFAULT_MAX_WORKERS, SchedulerBuilder};
use super::error::{Error, nearest};
use crate::document::seconds;
#[cfg(unix)]
use crate::executor::ProcessPoolExecutor;
use crate::executor::{AsyncExecutor, DebugExecutor, Executor, ThreadPoolExecutor};
use crate::job::Coalesce;
use crate::memory::MemoryStore;
use crate::store::JobStore;

/// Makes a job store from its settings (without `type`).
#[derive(Clone)]
pub struct JobStoreFactory(Arc<Make>);

type Make = dyn Fn(&Map<String, Value>) -> Result<Arc<dyn JobStore>, String> + Send + Sync;

impl JobStoreFactory {
    /// A factory from a function; its error is for people.
    pub fn new(
        make: impl Fn(&Map<String, Value>) -> Result<Arc<dyn JobStore>, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(make))
    }
}

impl fmt::Debug for JobStoreFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobStoreFactory")
    }
}

/// A key or value of a configuration that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// The key, as a path.
    pub key: String,
    /// What is wrong with it, and what is allowed.
    pub problem: String,
}

fn error(key: impl Into<String>, problem: impl Into<String>) -> ConfigError {
    ConfigError {
        key: key.into(),
        problem: problem.into(),
    }
}

/// Nests dotted keys: `{"a.b": 1}` and `{"a": {"b": 1}}` are the same.
fn nested(config: &Map<String, Value>) -> Result<Map<String, Value>, ConfigError> {
    let mut tree = Map::new();
    for (key, value) in config {
        let path = key.strip_prefix("apscheduler.").unwrap_or(key);
        let value = match value {
            Value::Object(inner) => Value::Object(nested(inner)?),
            other => other.clone(),
        };
        let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
        let mut level = &mut tree;
        for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
            let entry = level
                .entry(parent)
                .or_insert_with(|| Value::Object(Map::new()));
            level = entry
                .as_object_mut()
                .ok_or_else(|| error(key, "is given both a value and keys below it"))?;
        }
        match (level.get_mut(last), value) {
            (None, value) => {
                level.insert(last.to_owned(), value);
            }
            (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
            (Some(_), _) => return Err(error(key, "is given twice")),
        }
    }
    Ok(tree)
}

fn unknown(path: &str, key: &str, known: &[&str]) -> ConfigError {
    let close = nearest(key, known.iter().copied());
    let hint = close
        .first()
        .map_or(String::new(), |name| format!("; did you mean {name}?"));
    error(
        format!("{path}{key}"),
        format!("is not known; allowed here: {}{hint}", known.join(", ")),
    )
}

fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>, ConfigError> {
    value
        .as_object()
        .ok_or_else(|| error(path, format!("{value} is no table of keys")))
}

pub(super) fn apply(
    mut builder: SchedulerBuilder,
    config: &Map<String, Value>,
) -> Result<SchedulerBuilder, ConfigError> {
    for (key, value) in &nested(config)? {
        builder = match key.as_str() {
            "timezone" => {
                let name = value
                    .as_str()
                    .ok_or_else(|| error("timezone", format!("{value} is no text")))?;
                builder.timezone(name).map_err(|problem| match problem {
                    Error::Invalid { field, message } => error(field, message),
                    other => error("timezone", other.to_string()),
                })?
            }
            "job_defaults" => job_defaults(builder, object(key, value)?)?,
            "executors" => {
                for (alias, value) in object(key, value)? {
                    let path = format!("executors.{alias}");
                    let executor = executor(&path, object(&path, value)?)?;
                    builder = builder.executor(alias, executor);
                }
                builder
            }
            "jobstores" => {
                for (alias, value) in object(key, value)? {
                    let path = format!("jobstores.{alias}");
                    let store = job_store(&builder, &path, object(&path, value)?)?;
                    builder = builder.job_store(alias, store);
                }
                builder
            }
            _ => {
                return Err(unknown(
                    "",
                    key,
                    &["timezone", "job_defaults", "executors", "jobstores"],
                ));
            }
        };
    }
    Ok(builder)
}

fn job_defaults(
    mut builder: SchedulerBuilder,
    keys: &Map<String, Value>,
) -> Result<SchedulerBuilder, ConfigError> {
    let defaults = &mut builder.settings.job_defaults;
    for (key, value) in keys {
        let path = format!("job_defaults.{key}");
        match key.as_str() {
            "misfire_grace_time" => {
                defaults.misfire_grace_time = Some(match value {
                    Value::Null => None,
                    value => Some(positive_seconds(&path, value)?),
                });
            }
            "coalesce" => {
                let on = truth(value)
                    .ok_or_else(|| error(&path, format!("{value} is neither true nor false")))?;
                defaults.coalesce = Some(if on { Coalesce::Latest } else { Coalesce::Off });
            }
            "max_instances" => defaults.max_instances = Some(count(&path, value)? as u32),
            _ => {
                return Err(unknown(
                    "job_defaults.",
                    key,
                    &["misfire_grace_time", "coalesce", "max_instances"],
                ));
            }
        }
    }
    Ok(builder)
}

fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

fn positive_seconds(path: &str, value: &Value) -> Result<Duration, ConfigError> {
    let duration = number(value)
        .and_then(seconds::from_f64)
        .filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| {
        error(
            path,
            format!("{value} is no number of seconds above 0; null is no limit"),
        )
    })
}

fn count(path: &str, value: &Value) -> Result<u64, ConfigError> {
    let count = value
        .as_u64()
        .or_else(|| value.as_str()?.trim().parse().ok());
    count
        .filter(|count| (1..=100_000).contains(count))
        .ok_or_else(|| error(path, format!("{value} is no whole number from 1 to 100000")))
}

/// As `APScheduler` reads truth: the words of ini files too.
fn truth(value: &Value) -> Option<bool> {
    if let Some(truth) = value.as_bool() {
        return Some(truth);
    }
    match value.as_str()?.trim().to_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "f" | "0" => Some(false),
        _ => None,
    }
}

fn type_of<'a>(path: &str, keys: &'a Map<String, Value>) -> Result<&'a str, ConfigError> {
    keys.get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| error(format!("{path}.type"), "is missing"))
}

fn executor(path: &str, keys: &Map<String, Value>) -> Result<Arc<dyn Executor>, ConfigError> {
    let max_workers = keys
        .get("max_workers")
        .map(|value| count(&format!("{path}.max_workers"), value))
        .transpose()?;
    if let Some(key) = keys
        .keys()
        .find(|key| !["type", "max_workers"].contains(&key.as_str()))
    {
        return Err(unknown(&format!("{path}."), key, &["type", "max_workers"]));
    }
    let max = |default: usize| max_workers.map_or(default, |max| max as usize);
    Ok(match type_of(path, keys)? {
        "threadpool" => Arc::new(ThreadPoolExecutor::new(max(10))),
        "asyncio" => Arc::new(AsyncExecutor::new(max(DEFAULT_MAX_WORKERS))),
        "debug" => Arc::new(DebugExecutor::new()),
        #[cfg(unix)]
        "processpool" => Arc::new(ProcessPoolExecutor::new(max(10))),
        other => {
            let process_pool = if cfg!(unix) { ", processpool" } else { "" };
            let problem = format!(
                "{other:?} is not known; allowed: asyncio, threadpool{process_pool}, debug"
            );
            return Err(error(format!("{path}.type"), problem));
        }
    })
}

fn job_store(
    builder: &SchedulerBuilder,
    path: &str,
    keys: &Map<String, Value>,
) -> Result<Arc<dyn JobStore>, ConfigError> {
    let kind = type_of(path, keys)?;
    let mut rest = keys.clone();
    rest.remove("type");
    if let Some(JobStoreFactory(make)) = builder.store_types.get(kind) {
        return make(&rest).map_err(|problem| error(path, problem));
    }
    if kind == "memory" {
        if let Some(key) = rest.keys().next() {
            return Err(unknown(&format!("{path}."), key, &["type"]));
        }
        return Ok(Arc::new(MemoryStore::new(Arc::clone(&builder.clock))));
    }
    let known: Vec<_> = builder
        .store_types
        .keys()
        .map(String::as_str)
        .chain(["memory"])
        .collect();
    let problem = format!("{kind:?} is not known; allowed: {}", known.join(", "));
    Err(error(format!("{path}.type"), problem))
}
