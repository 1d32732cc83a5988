//! A job's definition as a JSON document: what stores keep and exports hold. Data only, never code.

use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::Trigger;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{ExecutorName, JobId, TaskName};
use crate::job::{
    Backoff, Coalesce, CompiledSchedule, JobArgs, JobDefinition, OnCrash, Overlap, Policy,
    RETRY_ATTEMPTS, Retry,
};
use crate::zones::Zones;

/// The version of the document written today. A newer one is not read.
pub const DOCUMENT_VERSION: u32 = 1;

/// A duration as a JSON number of seconds, whole where it is.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Number;

    /// The most seconds a setting takes: some thirty years.
    pub const MAX: f64 = 1e9;

    /// The number of seconds in a duration.
    pub fn to_number(duration: Duration) -> Number {
        if duration.subsec_micros() == 0 {
            return duration.as_secs().into();
        }
        Number::from_f64(duration.as_secs_f64()).expect("a duration is a finite number of seconds")
    }

    /// The duration of a number of seconds, to the microsecond; `None` where it is negative, too large or no number.
    pub fn from_f64(seconds: f64) -> Option<Duration> {
        if !(0.0..=MAX).contains(&seconds) {
            return None;
        }
        Some(Duration::from_micros((seconds * 1e6).round() as u64))
    }

    /// For `#[serde(with)]`.
    pub fn serialize<S: Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
        serde::Serialize::serialize(&to_number(*duration), s)
    }

    /// For `#[serde(with)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(d)?;
        from_f64(seconds).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{seconds} is not a number of seconds from 0 to {MAX}"
            ))
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Seconds(#[serde(with = "seconds")] Duration);

/// The wire form of a [`Retry`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryDocument {
    attempts: u32,
    #[serde(with = "seconds", default = "ten_seconds")]
    delay: Duration,
    #[serde(default)]
    backoff: Backoff,
    #[serde(with = "seconds", default = "one_hour")]
    max_delay: Duration,
    #[serde(with = "seconds", default, skip_serializing_if = "Duration::is_zero")]
    jitter: Duration,
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn one_hour() -> Duration {
    Duration::from_hours(1)
}

impl Serialize for Retry {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let Self {
            attempts,
            delay,
            backoff,
            max_delay,
            jitter,
        } = *self;
        RetryDocument {
            attempts,
            delay,
            backoff,
            max_delay,
            jitter,
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for Retry {
    /// From `{"attempts": 3, "delay": 10, "backoff": "fixed|linear|exponential", "max_delay": 3600, "jitter": 0}`; all but
    /// `attempts` (2 to 100, the first included) may be left out.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let RetryDocument {
            attempts,
            delay,
            backoff,
            max_delay,
            jitter,
        } = RetryDocument::deserialize(d)?;
        if !RETRY_ATTEMPTS.contains(&attempts) {
            let text =
                format!("attempts is {attempts}; it counts the first one too and takes 2 to 100");
            return Err(serde::de::Error::custom(text));
        }
        Ok(Self {
            attempts,
            delay,
            backoff,
            max_delay,
            jitter,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct JobDocument {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Box<str>>,
    task: TaskName,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    kwargs: Map<String, Value>,
    trigger: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    declared: Option<Value>,
    executor: ExecutorName,
    misfire_grace_time: Option<Seconds>,
    coalesce: bool,
    max_instances: u32,
    overlap: Overlap,
    retry: Option<Retry>,
    timeout: Option<Seconds>,
    on_crash: OnCrash,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    tags: Box<[Box<str>]>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// The document of a definition. The id is not in it: it is the key.
pub fn write(definition: &JobDefinition) -> Value {
    let JobDefinition {
        given_name,
        task,
        args,
        trigger,
        declared,
        executor,
        policy,
        tags,
        ..
    } = definition;
    let document = JobDocument {
        version: DOCUMENT_VERSION,
        name: given_name.clone(),
        task: task.clone(),
        args: args.args.clone(),
        kwargs: args.kwargs.clone(),
        trigger: trigger.to_json(),
        declared: declared.as_ref().map(|declared| declared.to_json()),
        executor: executor.clone(),
        misfire_grace_time: policy.misfire_grace_time.map(Seconds),
        coalesce: policy.coalesce == Coalesce::Latest,
        max_instances: policy.max_instances,
        overlap: policy.overlap,
        retry: policy.retry,
        timeout: policy.timeout.map(Seconds),
        on_crash: policy.on_crash,
        tags: tags.clone(),
        created_at: definition.created_at,
        updated_at: definition.updated_at,
    };
    serde_json::to_value(document).expect("a definition is made of JSON types")
}

/// Reads a document back. The error is for people: it names what does not fit.
pub fn read(id: &JobId, document: &Value, zones: &Zones) -> Result<JobDefinition, String> {
    if let Some(version) = document.get("version").and_then(Value::as_u64)
        && version > u64::from(DOCUMENT_VERSION)
    {
        return Err(format!(
            "its format is version {version}; this program reads up to {DOCUMENT_VERSION}"
        ));
    }
    let document = JobDocument::deserialize(document).map_err(|error| error.to_string())?;
    let trigger =
        Trigger::from_json(&document.trigger).map_err(|error| format!("trigger: {error}"))?;
    let declared = document
        .declared
        .as_ref()
        .map(Trigger::from_json)
        .transpose();
    let declared = declared.map_err(|error| format!("declared: {error}"))?;
    let schedule = trigger
        .compile(zones.db())
        .map_err(|error| format!("trigger: {error}"))?;
    Ok(JobDefinition {
        id: id.clone(),
        given_name: document.name,
        task: document.task,
        args: JobArgs {
            args: document.args,
            kwargs: document.kwargs,
        }
        .shared(),
        trigger,
        declared: declared.map(Box::new),
        executor: document.executor,
        policy: Policy {
            misfire_grace_time: document.misfire_grace_time.map(|Seconds(grace)| grace),
            coalesce: if document.coalesce {
                Coalesce::Latest
            } else {
                Coalesce::Off
            },
            max_instances: document.max_instances,
            overlap: document.overlap,
            retry: document.retry,
            timeout: document.timeout.map(|Seconds(timeout)| timeout),
            on_crash: document.on_crash,
        }
        .shared(),
        tags: document.tags,
        created_at: document.created_at,
        updated_at: document.updated_at,
        schedule: CompiledSchedule(schedule),
    })
}
