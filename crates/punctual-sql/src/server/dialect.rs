//! What databases spell differently.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use punctual_core::store::StoreError;

use punctual_backend::BackendError;

use super::cell::{Answer, Column, Value};
use super::link::Link;
use super::schema::Table;
use super::statement::Statement;

/// Why a statement was not done.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// Another transaction was in the way; this one is undone.
    Again(String),
    /// A row with the same key is there.
    Duplicate(String),
    /// The connection is of no use any more.
    Lost(String),
    /// It may pass.
    Unavailable(String),
    /// It will not pass by itself.
    Failed(String),
}

impl Trouble {
    /// Says where it happened.
    pub(crate) fn at(self, address: &str) -> Self {
        let at = |why| format!("{address}: {why}");
        match self {
            Self::Again(why) => Self::Again(at(why)),
            Self::Duplicate(why) => Self::Duplicate(at(why)),
            Self::Lost(why) => Self::Lost(at(why)),
            Self::Unavailable(why) => Self::Unavailable(at(why)),
            Self::Failed(why) => Self::Failed(at(why)),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Again(why) | Trouble::Lost(why) | Trouble::Unavailable(why) => {
                Self::unavailable(why)
            }
            Trouble::Duplicate(why) | Trouble::Failed(why) => Self::failed(why),
        }
    }
}

impl From<Trouble> for BackendError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Again(why) => Self::Again(why),
            other => Self::Store(other.into()),
        }
    }
}

/// What becomes of a new row whose key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The statement fails.
    Fail,
    /// The old row stays as it is.
    Keep,
}

/// A database: how to reach it, and how it spells what is not the same everywhere.
pub(crate) trait Dialect: fmt::Debug + Send + Sync + Sized + 'static {
    /// A connection.
    type Connection: fmt::Debug + Send + 'static;

    /// What it is called.
    const NAME: &'static str;
    /// How long a connection may lie unused: firewalls forget quiet ones, and a server ends them.
    const IDLE_MAX: Duration;
    /// Whether it can tell other nodes of a change.
    const NOTIFIES: bool;
    /// Begins a transaction at READ COMMITTED.
    const BEGIN: &'static str;
    /// The server's time in microseconds since 1970.
    const NOW: &'static str;
    /// The schema or database that the tables are in.
    const SCHEMA: &'static str;
    /// What stands after the columns of every table.
    const TABLE_OPTIONS: &'static str;
    /// The column that is a job's id where the run is live, and has an index.
    const LIVE_JOB: &'static str;
    /// The column of the state that has an index for the rare ones.
    const ODD_STATE: &'static str;

    /// Puts types where their names stand in braces.
    fn fill(text: &str) -> String;

    /// The statements that make a table.
    fn create(table: &Table) -> Vec<String>;

    /// Waits until no other node changes tables.
    fn lock_schema(
        link: &mut Link<Self>,
        prefix: &str,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Lets others change tables; where not `is_done`, what was begun is undone as far as the database can.
    fn unlock_schema(
        link: &mut Link<Self>,
        prefix: &str,
        is_done: bool,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Refuses a server that cannot keep what the store promises: too old, a replica, settings that lose writes.
    fn examine(
        &self,
        link: &mut Link<Self>,
        prefix: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forces the index of this name (after the prefix) onto a table; empty where the planner needs no help.
    fn by_index(index: &str) -> String;

    /// Where it connects to, without a password.
    fn address(&self) -> String;

    /// Connects, and sets what every connection needs.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Trouble>> + Send;

    /// Says good-bye.
    fn disconnect(connection: Self::Connection) -> impl Future<Output = ()> + Send;

    /// Sends a statement and reads the whole answer.
    fn run(
        connection: &mut Self::Connection,
        statement: Statement,
    ) -> impl Future<Output = Result<Answer, Trouble>> + Send;

    /// Puts a value into a statement.
    fn put(statement: &mut Statement, value: Value);

    /// Puts ` IN (…)`, or the same in other words, into a statement.
    fn put_among(statement: &mut Statement, values: Vec<Value>);

    /// Inserts rows. The table's name stands with its prefix.
    fn insert(
        table: &str,
        columns: &[Column],
        rows: Vec<Vec<Value>>,
        conflict: Conflict,
    ) -> Statement;

    /// Writes the columns `set` of rows that are there and locked, by their first column, `id`. The rows have all columns
    /// that must not be null.
    fn update(table: &str, columns: &[Column], set: &[&str], rows: Vec<Vec<Value>>) -> Statement;

    /// Whether an update says how many rows there were.
    const COUNTS_UPDATES: bool;

    /// Inserts into `@meta` a number under a name, or raises the one that is there: to the number, or by it.
    fn raise_meta(prefix: &str, name: &str, value: i64, how: Raise) -> Statement;

    /// Locks, until the end of the transaction, what all claims share and the pause of the scheduler has alone: so a pause
    /// that was acknowledged is followed by no start. Returns at most one row, which holds no text.
    fn gate(prefix: &str, who: Gate) -> String;

    /// Tells other nodes; sent within the transaction. `None` where there is no such thing.
    fn announce(&self) -> Option<Statement>;
}

/// Who passes [`Dialect::gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// A claim, beside others.
    Claim,
    /// A pause, alone.
    Pause,
}

/// The name in `@meta` of a row that stands for the gate, where a row has to.
pub(crate) const GATE: &str = "claims";

/// How a number in `@meta` is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raise {
    /// To the new one, if that is higher.
    To,
    /// By the new one.
    By,
}
