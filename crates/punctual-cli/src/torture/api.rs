//! The REST API of a node, asked by somebody who notes when.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::{HeaderValue, Method, header};
use jiff::tz::TimeZoneDatabase;
use punctual_core::clock::{Clock, SystemClock};
use punctual_server::client::{Outgoing, Policy, Target, send};
use punctual_server::read_trigger;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::history::{Micros, Paused, Snapshot, micros};

/// How long a node may take to answer: one that is frozen answers when it is thawed.
const PATIENCE: Duration = Duration::from_mins(1);
const ANSWER_BYTES_MAX: usize = 1 << 28;

/// Every parameter of a trigger that the API shows beside the fields of a job.
const TRIGGER_KEYS: &[&str] = &[
    "run_date",
    "weeks",
    "days",
    "hours",
    "minutes",
    "seconds",
    "year",
    "month",
    "day",
    "week",
    "day_of_week",
    "hour",
    "minute",
    "second",
    "expr",
    "dialect",
    "years",
    "months",
    "triggers",
    "start_date",
    "end_date",
    "timezone",
    "dst",
    "jitter",
];

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Somebody with a token.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    token: String,
}

/// What a node answered, and when, by the clock of this process.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) sent: Micros,
    pub(crate) answered: Micros,
}

/// The present, in microseconds.
pub(crate) fn now() -> Micros {
    SystemClock.now().as_microsecond()
}

impl Api {
    pub(crate) fn new(token: &str) -> Self {
        Self {
            token: token.to_owned(),
        }
    }

    /// Sends one request, once.
    ///
    /// # Errors
    ///
    /// Where no whole answer came: what was asked for may have been done, or not.
    pub(crate) async fn ask(
        &self,
        base: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let target = Target::parse(&format!("{base}{path}")).map_err(|error| error.to_string())?;
        let mut outgoing = Outgoing::new(method, target);
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token));
        outgoing.headers.push((
            header::AUTHORIZATION,
            bearer.map_err(|error| error.to_string())?,
        ));
        if let Some(body) = body {
            outgoing.body = body.to_string().into_bytes();
        }
        let sent = now();
        let answer = timeout(PATIENCE, send(outgoing, Policy::Anywhere, ANSWER_BYTES_MAX))
            .await
            .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
            .map_err(|error| error.to_string())?;
        let answered = now();
        Ok(Answer {
            status: answer.status.as_u16(),
            body: serde_json::from_slice(&answer.body).unwrap_or_default(),
            sent,
            answered,
        })
    }
}

/// Reads a job as the API shows it.
///
/// # Errors
///
/// What cannot be read.
pub(crate) fn snapshot(job: &Value) -> Result<Snapshot, String> {
    let mut trigger: Map<String, Value> = TRIGGER_KEYS
        .iter()
        .filter_map(|&key| Some((key.to_owned(), job.get(key)?.clone())))
        .collect();
    trigger.insert("type".to_owned(), job["trigger"].clone());
    let moment = |value: &Value| value.as_str().map(micros).transpose();
    let schedule = read_trigger(trigger.clone())
        .and_then(|trigger| trigger.compile(&ZONES))
        .map_err(|error| {
            format!(
                "the trigger {} cannot be read: {error}",
                Value::Object(trigger.clone())
            )
        })?;
    let max_instances = job["max_instances"]
        .as_u64()
        .and_then(|max| u32::try_from(max).ok());
    Ok(Snapshot {
        trigger: Value::Object(trigger),
        schedule,
        paused: match &job["paused"] {
            Value::Null => None,
            paused => Some(Paused {
                until: moment(&paused["until"])?,
            }),
        },
        next_run: moment(&job["next_run_time"])?,
        max_instances: max_instances
            .ok_or_else(|| format!("max_instances is {}", job["max_instances"]))?,
    })
}
