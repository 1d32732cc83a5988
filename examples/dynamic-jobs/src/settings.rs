//! The settings: those of an environment, changed by a file. The keys are the tutorial's.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use punctual::address::{StoreAddress, StoreKind};
use punctual::scheduler::{DEFAULT_ALIAS, nearest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::database;
use crate::extensions::BY_URL;

const DEFAULT_LISTEN: &str = "127.0.0.1:5000";
const DEFAULT_STORE: &str = "sqlite:dynamic-jobs.db";

/// A job store by its URL. Shown without its password.
#[derive(Clone)]
pub(crate) struct StoreUrl {
    text: String,
    address: StoreAddress,
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.address, f)
    }
}

impl StoreUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let address = text
            .parse()
            .map_err(|error: punctual::address::AddressError| error.to_string())?;
        Ok(Self {
            text: text.to_owned(),
            address,
        })
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// One of the `jobstores`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobStoreSettings {
    /// Where it is.
    pub(crate) url: StoreUrl,
    /// What the names of its tables, keys or collections begin with; `punctual_` unless given.
    pub(crate) prefix: Option<String>,
}

impl JobStoreSettings {
    fn at(url: StoreUrl) -> Self {
        Self { url, prefix: None }
    }
}

/// Everything the service goes by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Whether the routes of Flask-APScheduler are there, under `/scheduler`.
    pub(crate) api_enabled: bool,
    /// Names by which clients call it, beside the loopback names and its own address.
    pub(crate) hosts: Vec<String>,
    /// The file that holds the token.
    pub(crate) token_file: Option<PathBuf>,
    /// The file of the application's own database.
    pub(crate) database: PathBuf,
    /// The zone of times that name none; the machine's unless given.
    pub(crate) timezone: Option<String>,
    /// How long a process may show no sign of life before others take over its runs.
    pub(crate) lease: Duration,
    /// How long runs may go on when the service is to end.
    pub(crate) drain: Duration,
    /// What is logged, as `RUST_LOG` says it.
    pub(crate) log: String,
    /// The job stores, by alias.
    pub(crate) jobstores: BTreeMap<String, JobStoreSettings>,
    /// The executors, as `APScheduler` writes them.
    pub(crate) executors: Map<String, Value>,
    /// What a new job gets.
    pub(crate) job_defaults: Map<String, Value>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl Settings {
    /// Those of the tutorial, for work on the service.
    pub(crate) fn development() -> Self {
        let store = StoreUrl::parse(DEFAULT_STORE).expect("the default is an address");
        Self {
            listen: DEFAULT_LISTEN.parse().expect("the default is an address"),
            api_enabled: false,
            hosts: Vec::new(),
            token_file: None,
            database: database::default_path(),
            timezone: None,
            lease: Duration::from_secs(30),
            drain: Duration::from_secs(3),
            log: "info,dynamic_jobs=debug".to_owned(),
            jobstores: [(DEFAULT_ALIAS.to_owned(), JobStoreSettings::at(store))].into(),
            executors: object(json!({ "default": { "type": "threadpool", "max_workers": 10 } })),
            job_defaults: object(json!({ "coalesce": true, "max_instances": 3 })),
        }
    }

    /// Those of the tutorial, for the service at work.
    pub(crate) fn production() -> Self {
        Self {
            drain: Duration::from_secs(20),
            log: "info".to_owned(),
            ..Self::development()
        }
    }

    /// The store of jobs that name none.
    pub(crate) fn default_store(&self) -> &StoreAddress {
        &self.jobstores[DEFAULT_ALIAS].url.address
    }

    /// Whether other processes can work on the same jobs.
    pub(crate) fn is_shared(&self) -> bool {
        self.jobstores
            .values()
            .all(|store| store.url.address.kind() != StoreKind::Memory)
    }

    /// What the scheduler is configured with, under `APScheduler`'s keys.
    pub(crate) fn scheduler_keys(&self) -> Map<String, Value> {
        let store = |store: &JobStoreSettings| {
            let mut keys = object(json!({ "type": BY_URL, "url": store.url.text }));
            if let Some(prefix) = &store.prefix {
                keys.insert("prefix".to_owned(), prefix.as_str().into());
            }
            Value::Object(keys)
        };
        let stores: Map<String, Value> = self
            .jobstores
            .iter()
            .map(|(alias, settings)| (alias.clone(), store(settings)))
            .collect();
        let mut keys = object(json!({
            "jobstores": stores,
            "executors": self.executors,
            "job_defaults": self.job_defaults,
        }));
        if let Some(timezone) = &self.timezone {
            keys.insert("timezone".to_owned(), timezone.as_str().into());
        }
        keys
    }

    fn set(&mut self, key: &str, value: toml::Value) -> Result<(), String> {
        match key {
            "listen" => self.listen = listen(&read::<String>(value)?)?,
            "api_enabled" => self.api_enabled = read(value)?,
            "hosts" => self.hosts = read(value)?,
            "token_file" => self.token_file = Some(read(value)?),
            "database" => self.database = read(value)?,
            "timezone" => self.timezone = Some(read(value)?),
            "lease_seconds" => self.lease = seconds(value)?,
            "drain_seconds" => self.drain = seconds(value)?,
            "log" => self.log = read(value)?,
            "jobstores" => self.jobstores.extend(read::<BTreeMap<_, _>>(value)?),
            "executors" => self.executors.extend(read::<Map<_, _>>(value)?),
            "job_defaults" => self.job_defaults.extend(read::<Map<_, _>>(value)?),
            _ => {
                let guess = match nearest(key, KEYS.iter().copied()).first() {
                    Some(guess) => format!("did you mean {guess}?"),
                    None => format!("these are known: {}", KEYS.join(", ")),
                };
                return Err(format!("unknown setting; {guess}"));
            }
        }
        Ok(())
    }

    /// Changes what a file says.
    pub(crate) fn read_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the settings {shown} cannot be read"))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // Its own text quotes the line, and that may hold the password of a store.
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            anyhow!("{shown} is not TOML: line {line}: {}", error.message())
        })?;
        for (key, value) in table {
            self.set(&key, value)
                .map_err(|why| anyhow!("{shown}: {key}: {why}"))?;
        }
        Ok(())
    }
}

/// The keys of the file.
const KEYS: &[&str] = &[
    "listen",
    "api_enabled",
    "hosts",
    "token_file",
    "database",
    "timezone",
    "lease_seconds",
    "drain_seconds",
    "log",
    "jobstores",
    "executors",
    "job_defaults",
];

fn read<T: DeserializeOwned>(value: toml::Value) -> Result<T, String> {
    // Not the whole error: it quotes the value.
    value.try_into().map_err(|error| error.message().to_owned())
}

fn seconds(value: toml::Value) -> Result<Duration, String> {
    let number = match value {
        toml::Value::Integer(number) => number as f64,
        other => read(other)?,
    };
    Duration::try_from_secs_f64(number)
        .map_err(|_| format!("{number} is no number of seconds; write one such as 30 or 2.5"))
}

/// Reads an address to listen on.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        format!(
            "{text:?} is no address; write an IP address and a port, such as {DEFAULT_LISTEN} or [::1]:5000"
        )
    })
}

#[cfg(test)]
mod tests;
