//! Where jobs are kept, and opening that, however long it takes to answer.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::clock::SystemClock;
use punctual_core::memory::MemoryStore;
use punctual_core::store::{JobStore, StoreError};
use punctual_core::zones::Zones;
use punctual_server::Gate;
use punctual_sql::{SqliteOptions, SqliteStore};

use crate::exit::{Failure, Outcome};

/// The schemes of stores that are servers.
const SERVERS: &[&str] = &[
    "postgres",
    "postgresql",
    "mysql",
    "redis",
    "rediss",
    "mongodb",
];
/// How long one attempt to open a store may take: it may have tables to bring up to date.
const OPEN_DEADLINE: Duration = Duration::from_mins(1);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Where jobs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    Sqlite(PathBuf),
    Server(ServerUrl),
}

/// The address of a store that is a server. It may hold a password, so it prints without.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(String);

impl ServerUrl {
    /// All of it, for whoever connects.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        // A password may hold any character, also unescaped: all that can belong to one goes.
        let shown = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
        let shown = shown.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{scheme}://{shown}")
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Server(url) => url.fmt(f),
        }
    }
}

impl Store {
    /// Reads a setting. The error repeats nothing that may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let known = "write sqlite:FILE, postgres://…, mysql://…, redis://…, rediss://…, mongodb://… or memory:";
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(format!("{text:?} is not a store; {known}"));
        };
        match scheme {
            "memory" if matches!(rest, "" | "//") => Ok(Self::Memory),
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path == ":memory:" {
                    return Err(format!(
                        "{text:?} names no file; write sqlite:punctual.db, or memory:"
                    ));
                }
                Ok(Self::Sqlite(path.into()))
            }
            server if SERVERS.contains(&server) => match rest.strip_prefix("//") {
                Some(address) if !address.is_empty() => {
                    Ok(Self::Server(ServerUrl(text.to_owned())))
                }
                _ => Err(format!(
                    "{server}: takes an address: {server}://USER:PASSWORD@HOST/DATABASE"
                )),
            },
            _ => Err(format!("{scheme:?} is not a kind of store; {known}")),
        }
    }
}

/// Tries once.
async fn open_once(
    store: &Store,
    prefix: &str,
    zones: &Zones,
) -> Result<Arc<dyn JobStore>, StoreError> {
    match store {
        Store::Memory => Ok(Arc::new(MemoryStore::new(Arc::new(SystemClock)))),
        Store::Sqlite(path) => {
            let (path, options) = (
                path.clone(),
                SqliteOptions::new(Arc::new(SystemClock), zones.clone()).prefix(prefix),
            );
            // It waits for locks of the file.
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(path, options));
            let store = opened.await.map_err(StoreError::failed)??;
            Ok(Arc::new(store))
        }
        Store::Server(url) => {
            let _ = url.reveal();
            Err(StoreError::failed("this build has no store of that kind"))
        }
    }
}

/// How long to wait after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1));
    doubled.map_or(RETRY_MAX, |factor| (RETRY_FIRST * factor).min(RETRY_MAX))
}

/// Opens the store and asks `then` of it, again and again while it is away; the gate and the log tell about it.
///
/// # Errors
///
/// Where the store refuses: trying again would not help.
pub(crate) async fn open<T>(
    store: &Store,
    prefix: &str,
    zones: &Zones,
    gate: &Gate,
    then: impl AsyncFn(Arc<dyn JobStore>) -> Result<T, StoreError>,
) -> Outcome<(Arc<dyn JobStore>, T)> {
    let mut failures = 0;
    loop {
        let attempt = async {
            let opened = open_once(store, prefix, zones).await?;
            let answer = then(Arc::clone(&opened)).await?;
            Ok((opened, answer))
        };
        let deadline = tokio::time::timeout(OPEN_DEADLINE, attempt).await;
        let error = match deadline {
            Ok(Ok(opened)) => {
                if failures > 0 {
                    tracing::info!(%store, "the job store answers");
                }
                return Ok(opened);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                StoreError::unavailable(format!("no answer within {} s", OPEN_DEADLINE.as_secs()))
            }
        };
        if !error.is_retryable() {
            return Err(Failure::plain(format!(
                "the store {store} cannot be opened: {error}"
            )));
        }
        failures += 1;
        let pause = pause_after(failures);
        let seconds = pause.as_secs();
        tracing::warn!(%store, %error, "the job store cannot be opened; trying again in {seconds} s");
        let times = if failures == 1 { "time" } else { "times" };
        gate.waits(
            format!(
                "the job store is unavailable; tried {failures} {times}, and again in {seconds} s"
            ),
            pause,
        );
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_no_password() {
        for (text, shown) in [
            (
                "postgres://me:s3cret@db.example:5432/jobs",
                "postgres://db.example:5432/jobs",
            ),
            ("postgresql://me:s3c@r/e?t#@db/jobs", "postgresql://db/jobs"),
            ("mysql://db/jobs?password=s3cret", "mysql://db/jobs"),
            (
                "redis://:s3cret@127.0.0.1:6379/0",
                "redis://127.0.0.1:6379/0",
            ),
            ("rediss://h#s3cret", "rediss://h"),
            ("mongodb://a,b,c/jobs", "mongodb://a,b,c/jobs"),
        ] {
            let store = Store::parse(text).unwrap();
            assert_eq!(store.to_string(), shown);
            assert_eq!(format!("{store:?}"), format!("Server({shown})"));
            assert!(matches!(store, Store::Server(url) if url.reveal() == text));
        }
        for (text, word) in [
            (
                "postgress://me:s3cret@db/jobs",
                "\"postgress\" is not a kind of store",
            ),
            ("postgres:me:s3cret@db/jobs", "takes an address"),
            ("mysql+pymysql://me:s3cret@db", "not a kind of store"),
            ("punctual.db", "sqlite:FILE"),
            ("sqlite:", "names no file"),
            ("sqlite::memory:", "names no file"),
        ] {
            let refused = Store::parse(text).unwrap_err();
            assert!(refused.contains(word), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
        assert_eq!(Store::parse("memory:"), Ok(Store::Memory));
        assert_eq!(
            Store::parse("sqlite:///x.db"),
            Ok(Store::Sqlite("/x.db".into()))
        );
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses = [1, 2, 3, 4, 5, 6, 100].map(|failures| pause_after(failures).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 15, 15, 15]);
    }
}
