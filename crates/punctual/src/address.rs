//! Job stores by their address.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use punctual_core::clock::SystemClock;
use punctual_core::memory::MemoryStore;
use punctual_core::store::{JobStore, StoreError};
use punctual_core::zones::Zones;

/// The kinds of job stores, and the words that addresses begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// `memory:`; gone with the process.
    Memory,
    /// `sqlite:FILE`.
    Sqlite,
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, also `postgresql://`.
    Postgres,
    /// `mysql://USER:PASSWORD@HOST:PORT/DATABASE`, also `mariadb://`.
    Mysql,
    /// `redis://USER:PASSWORD@HOST:PORT/NUMBER`; `rediss://` with TLS.
    Redis,
    /// `mongodb://USER:PASSWORD@HOST:PORT/DATABASE`. The store refuses `mongodb+srv://` and says to name the hosts.
    Mongodb,
}

impl StoreKind {
    /// The word, such as `postgres`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
        }
    }
}

/// Where a job store is: `memory:`, `sqlite:FILE`, or the URL of a server. Shown without its password.
///
/// ```
/// use punctual::address::{StoreAddress, StoreKind};
///
/// let address: StoreAddress = "postgres://ann:secret@db.example/jobs".parse()?;
/// assert_eq!(address.kind(), StoreKind::Postgres);
/// assert_eq!(address.to_string(), "postgres://ann@db.example/jobs");
/// # Ok::<(), punctual::address::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoreAddress {
    kind: StoreKind,
    /// A file's path, or a URL with the scheme that its driver knows.
    text: String,
}

/// A text that is no [`StoreAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

const ALLOWED: &str =
    "memory:, sqlite:FILE, postgres://…, mysql://…, redis://…, rediss://… or mongodb://…";

impl FromStr for StoreAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refuse = |why: String| Err(AddressError(why));
        let Some((scheme, rest)) = text.split_once(':') else {
            // Perhaps a password; so the text itself is not repeated.
            return refuse(format!("this names no store; write {ALLOWED}"));
        };
        let scheme = scheme.to_ascii_lowercase();
        // SQLAlchemy names a driver after the dialect; ours is always the same.
        let dialect = match scheme.split_once('+') {
            Some(("mongodb", "srv")) | None => scheme.as_str(),
            Some((dialect, _)) => dialect,
        };
        let (kind, driver) = match dialect {
            "memory" => (StoreKind::Memory, "memory"),
            "sqlite" => (StoreKind::Sqlite, "sqlite"),
            "postgres" | "postgresql" => (StoreKind::Postgres, "postgres"),
            "mysql" | "mariadb" => (StoreKind::Mysql, "mysql"),
            "redis" | "rediss" => (StoreKind::Redis, dialect),
            "mongodb" | "mongodb+srv" => (StoreKind::Mongodb, dialect),
            other => return refuse(format!("{other:?} is no kind of store; write {ALLOWED}")),
        };
        match kind {
            StoreKind::Memory if rest.is_empty() => Ok(Self {
                kind,
                text: String::new(),
            }),
            StoreKind::Memory => refuse("memory: takes nothing after the colon".to_owned()),
            StoreKind::Sqlite => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path == ":memory:" {
                    return refuse(format!(
                        "{text:?} names no file; write sqlite:punctual.db, or memory:"
                    ));
                }
                Ok(Self {
                    kind,
                    text: path.to_owned(),
                })
            }
            _ => match rest.strip_prefix("//") {
                Some(place) if !place.is_empty() => Ok(Self {
                    kind,
                    text: format!("{driver}://{place}"),
                }),
                _ => refuse(format!(
                    "{dialect}: is followed by //HOST, such as {dialect}://127.0.0.1"
                )),
            },
        }
    }
}

impl StoreAddress {
    /// What kind of store is there.
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// The file of an `SQLite` store.
    pub fn path(&self) -> Option<&Path> {
        (self.kind == StoreKind::Sqlite).then(|| Path::new(&self.text))
    }

    /// The URL of a server, with its password: for drivers, not for people.
    pub fn url(&self) -> Option<&str> {
        let is_url = !matches!(self.kind, StoreKind::Memory | StoreKind::Sqlite);
        is_url.then_some(self.text.as_str())
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            StoreKind::Memory => return f.write_str("memory:"),
            StoreKind::Sqlite => return write!(f, "sqlite:{}", self.text),
            _ => {}
        }
        let (scheme, rest) = self.text.split_once("://").unwrap_or(("", &self.text));
        // A password may hold any character, also unescaped; and drivers take passwords as parameters, too.
        let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let user = login.split(':').next().unwrap_or_default();
        let place = place.split(['?', '#']).next().unwrap_or_default();
        let at = if user.is_empty() { "" } else { "@" };
        write!(f, "{scheme}://{user}{at}{place}")
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreAddress({self})")
    }
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The time zones of triggers. Default: those of the machine.
    pub zones: Zones,
    /// What the names of all tables, keys or collections begin with. Default `punctual_`. Up to 32 ASCII letters, digits
    /// and underscores. A store in memory has none.
    pub prefix: String,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            zones: Zones::system(),
            prefix: "punctual_".to_owned(),
        }
    }
}

/// Opens the job store at an address.
///
/// ```
/// # async_io::block_on(async {
/// let store = punctual::open_store(&"memory:".parse()?, punctual::OpenOptions::default()).await?;
/// # let _ = store;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// [`StoreError::Unavailable`] where the server cannot be reached: trying again may help. [`StoreError::Failed`] where it
/// refuses, or cannot keep what the store promises, and where this build has no such store.
pub async fn open_store(
    address: &StoreAddress,
    options: OpenOptions,
) -> Result<Arc<dyn JobStore>, StoreError> {
    let OpenOptions { zones, prefix } = options;
    #[cfg(any(
        feature = "postgres",
        feature = "mysql",
        feature = "redis",
        feature = "mongodb"
    ))]
    let server = punctual_backend::StoreOptions::default()
        .zones(zones.clone())
        .prefix(&prefix);
    match address.kind {
        StoreKind::Memory => Ok(Arc::new(MemoryStore::new(Arc::new(SystemClock)))),
        #[cfg(feature = "sqlite")]
        StoreKind::Sqlite => {
            let options =
                punctual_sql::SqliteOptions::new(Arc::new(SystemClock), zones).prefix(prefix);
            let store = punctual_sql::SqliteStore::open(&address.text, options)?;
            Ok(Arc::new(store))
        }
        #[cfg(feature = "postgres")]
        StoreKind::Postgres => {
            let store = punctual_sql::PostgresStore::open(&address.text, server).await?;
            Ok(Arc::new(store))
        }
        #[cfg(feature = "mysql")]
        StoreKind::Mysql => {
            let store = punctual_sql::MysqlStore::open(&address.text, server).await?;
            Ok(Arc::new(store))
        }
        #[cfg(feature = "redis")]
        StoreKind::Redis => {
            let store = punctual_redis::RedisStore::open(&address.text, server).await?;
            Ok(Arc::new(store))
        }
        #[cfg(feature = "mongodb")]
        StoreKind::Mongodb => {
            let store = punctual_mongodb::MongoStore::open(&address.text, server).await?;
            Ok(Arc::new(store))
        }
        #[allow(
            unreachable_patterns,
            reason = "with all features there is no other kind"
        )]
        kind => {
            drop((zones, prefix));
            let kind = kind.as_str();
            Err(StoreError::failed(format!(
                "this program was built without {kind} stores; build it with the feature {kind}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        use StoreKind::{Memory, Mongodb, Mysql, Postgres, Redis, Sqlite};
        for (text, kind, shown) in [
            ("memory:", Memory, "memory:"),
            ("sqlite:a.db", Sqlite, "sqlite:a.db"),
            ("sqlite:///var/a.db", Sqlite, "sqlite:/var/a.db"),
            ("postgresql://h/d", Postgres, "postgres://h/d"),
            (
                "mysql+mysqlconnector://u:p%40@h:3306/d",
                Mysql,
                "mysql://u@h:3306/d",
            ),
            ("mariadb://u:a@b:c@h/d?x=y", Mysql, "mysql://u@h/d"),
            ("redis://:secret@h:6379/1", Redis, "redis://h:6379/1"),
            ("rediss://h", Redis, "rediss://h"),
            (
                "postgres://me:s3c@r/e?t#@db/jobs",
                Postgres,
                "postgres://me@db/jobs",
            ),
            ("mysql://db/jobs?password=secret", Mysql, "mysql://db/jobs"),
            (
                "mongodb+srv://u:p@h/d?authSource=x",
                Mongodb,
                "mongodb+srv://u@h/d",
            ),
            ("POSTGRES://h", Postgres, "postgres://h"),
        ] {
            let address: StoreAddress = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                (address.kind(), address.to_string()),
                (kind, shown.to_owned())
            );
            assert!(!format!("{address:?}").contains("secret"));
        }
    }

    #[test]
    fn others_are_refused() {
        for (text, word) in [
            ("", "write memory:"),
            ("secret", "write memory:"),
            ("memory:x", "nothing after"),
            ("sqlite:", "names no file"),
            ("sqlite::memory:", "names no file"),
            ("postgres:", "//HOST"),
            ("mysql://", "//HOST"),
            ("oracle://h", "oracle"),
        ] {
            let error = text.parse::<StoreAddress>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
            assert!(!error.contains("secret"));
        }
    }
}
