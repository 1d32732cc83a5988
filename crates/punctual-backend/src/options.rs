//! What can be said of a store on a server.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::clock::Clock;
use punctual_core::store::StoreError;
use punctual_core::zones::Zones;

/// The prefix of tables, keys and collections, unless told otherwise.
pub const DEFAULT_PREFIX: &str = "punctual_";

/// The most characters a prefix may have.
const PREFIX_CHARS_MAX: usize = 32;

/// How a job store on a server is opened; the same words for all of them.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// What the names of all tables, keys or collections begin with.
    pub prefix: String,
    /// The clock that the store's time is read from; `None` is the server's own.
    pub clock: Option<Arc<dyn Clock>>,
    /// The time zones of triggers.
    pub zones: Zones,
    /// The most connections.
    pub connections: u32,
    /// How long to wait for a connection, or for the answer to a statement.
    pub timeout: Duration,
    /// How many definitions stay in memory, read and compiled.
    pub definitions_cached: usize,
}

impl Default for StoreOptions {
    /// The server's clock, the zones of the machine, 8 connections, 10 s, 16,384 definitions.
    fn default() -> Self {
        Self {
            prefix: DEFAULT_PREFIX.to_owned(),
            clock: None,
            zones: Zones::system(),
            connections: 8,
            timeout: Duration::from_secs(10),
            definitions_cached: 16_384,
        }
    }
}

impl StoreOptions {
    /// What the names of all tables, keys or collections begin with: up to 32 ASCII letters, digits and underscores.
    /// Default `punctual_`. Schedulers that are to share their jobs have the same prefix.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Reads the store's time from this clock rather than from the server: for tests that set the time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The time zones of triggers. Default: those of the machine.
    #[must_use]
    pub fn zones(mut self, zones: Zones) -> Self {
        self.zones = zones;
        self
    }

    /// The most connections to the server, at least 2. Default 8.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(2);
        self
    }

    /// How long to wait for a connection, or for the answer to a statement. Default 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many definitions stay in memory, read and compiled. Default 16,384.
    #[must_use]
    pub fn definitions_cached(mut self, count: usize) -> Self {
        self.definitions_cached = count;
        self
    }

    /// Refuses a prefix that is not the beginning of a plain name: it becomes part of every statement.
    pub fn check_prefix(&self) -> Result<(), StoreError> {
        let prefix = &self.prefix;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let begins_well = prefix
            .chars()
            .next()
            .is_none_or(|first| !first.is_ascii_digit());
        if prefix.chars().all(plain) && begins_well && prefix.len() <= PREFIX_CHARS_MAX {
            return Ok(());
        }
        Err(StoreError::failed(format!(
            "prefix {prefix:?} is not a plain name; it takes up to {PREFIX_CHARS_MAX} ASCII letters, digits and \
             underscores, and does not begin with a digit"
        )))
    }
}
