//! What `MySQL` and `MariaDB` spell their own way: connections, types, values within the text.
//!
//! Values stand in the text, as numbers and as hexadecimal digits, which nothing in a value can end: a batch of any size is
//! one statement and one round trip, without a prepared statement for every number of rows.

use std::fmt::{self, Write as _};
use std::str::FromStr as _;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use punctual_core::store::StoreError;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Either, Executor as _, Row as _,
    TypeInfo as _, ValueRef as _,
};

use crate::server::address::Address;
use crate::server::cell::{Answer, Cell, Column, Value};
use crate::server::dialect::{Conflict, Dialect, GATE, Gate, Raise, Trouble};
use crate::server::link::Link;
use crate::server::schema::Table;
use crate::server::statement::Statement;

/// What may stand in an address after the `?`.
const PARAMETERS: &[&str] = &[
    "sslmode", "ssl-mode", "sslca", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key", "socket",
];

/// How long to wait for another node that changes tables.
const LOCK_SECONDS: u32 = 5;

/// How long a transaction may wait for its node, on `MariaDB`. A node that says nothing meanwhile is frozen or cut off.
const FROZEN_SECONDS: u64 = 5;
/// How long a connection may wait for its node. On `MySQL`, nothing else ends what a frozen node holds.
const WAIT_SECONDS: u64 = 20;

/// `MySQL` or `MariaDB`.
pub(crate) struct Mysql {
    options: MySqlConnectOptions,
    address: String,
    settings: String,
}

/// The driver's options show the password.
impl fmt::Debug for Mysql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mysql").field(&self.address).finish()
    }
}

impl Mysql {
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, StoreError> {
        let address = Address::parse(url, &["mysql", "mariadb"], PARAMETERS)?;
        // The modes that the driver would add are set below, all of them.
        let options = MySqlConnectOptions::from_str(url)
            .map_err(|error| address.refuse(&error))?
            .charset("utf8mb4")
            .timezone(Some("+00:00".to_owned()))
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .disable_statement_logging();
        if options.get_database().is_none() {
            return Err(StoreError::failed(format!(
                "{} names no database; it goes after the last slash: mysql://user:password@host:3306/database",
                address.shown()
            )));
        }
        let seconds = timeout.as_secs().clamp(1, 3600);
        let settings = format!(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO', \
             SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds}, SESSION autocommit = 1 \
             /*M!100301 , SESSION max_statement_time = {seconds}, SESSION idle_transaction_timeout = {idle} */ \
             /*!80000 , SESSION max_execution_time = {millis} */, SESSION wait_timeout = {WAIT_SECONDS}; \
             SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION TRANSACTION READ WRITE",
            idle = seconds.min(FROZEN_SECONDS),
            millis = seconds * 1000,
        );
        Ok(Self {
            options,
            address: address.shown().to_owned(),
            settings,
        })
    }
}

/// Sorts errors by what follows from them.
fn judge(error: &sqlx::Error) -> Trouble {
    let text = error.to_string();
    match error {
        sqlx::Error::Database(database) => {
            let Some(mysql) = database.try_downcast_ref::<MySqlDatabaseError>() else {
                return Trouble::Failed(text);
            };
            let text = mysql.to_string();
            match mysql.number() {
                // A deadlock; a row that changed in between (MariaDB).
                1213 | 1020 => Trouble::Again(text),
                1062 => Trouble::Duplicate(text),
                // Over a new connection, the address may lead to the primary by now.
                1290 | 1836 | 3100 | 1792 => Trouble::Lost(format!(
                    "{text}; the server takes no writes: it is a replica, or was made one. Name the primary"
                )),
                1665 => Trouble::Failed(format!(
                    "{text}; set binlog_format to ROW (or MIXED): READ COMMITTED needs it"
                )),
                1142 | 1044 => Trouble::Failed(format!(
                    "{text}; the user needs SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER and INDEX on the database"
                )),
                // Shutdown, killed connections.
                1053 | 1077 | 1079 | 1152 | 1158 | 1159 | 1160 | 1161 | 1184 | 1927 | 2006
                | 2013 | 4031 => Trouble::Lost(text),
                // Too many connections, a lock that did not come, killed statements, timeouts, a full disk, Galera that is
                // not ready.
                1040 | 1203 | 1205 | 1226 | 1317 | 1969 | 3024 | 1021 | 1114 | 1041 | 1047 => {
                    Trouble::Unavailable(text)
                }
                _ => Trouble::Failed(text),
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Trouble::Lost(text),
        _ => Trouble::Failed(text),
    }
}

impl Dialect for Mysql {
    type Connection = MySqlConnection;

    const NAME: &'static str = "MySQL";
    const IDLE_MAX: Duration = Duration::from_secs(WAIT_SECONDS / 2);
    const NOTIFIES: bool = false;
    const BEGIN: &'static str = "START TRANSACTION";
    const NOW: &'static str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";
    const COUNTS_UPDATES: bool = false;

    const SCHEMA: &'static str = "DATABASE()";
    const TABLE_OPTIONS: &'static str =
        " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ROW_FORMAT=DYNAMIC";
    const LIVE_JOB: &'static str = "live_job";
    const ODD_STATE: &'static str = "odd_state";

    fn fill(text: &str) -> String {
        text.replace("{name}", "VARBINARY(764)")
            .replace("{key}", "VARBINARY(764)")
            .replace(
                "{word}",
                "VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin",
            )
            .replace("{text}", "LONGTEXT")
            .replace("{run}", "BINARY(16)")
            .replace("{flag}", "BOOLEAN")
    }

    /// One statement, with all indexes: a change of tables cannot be undone, so it is whole or not there.
    fn create(table: &Table) -> Vec<String> {
        let Table {
            name,
            columns,
            mysql,
            ..
        } = table;
        let comma = if mysql.is_empty() { "" } else { "," };
        let options = Self::TABLE_OPTIONS;
        vec![format!(
            "CREATE TABLE IF NOT EXISTS @{name} ({columns}{comma}{mysql}){options}"
        )]
    }

    async fn lock_schema(link: &mut Link<Self>, prefix: &str) -> Result<(), Trouble> {
        let text = format!("SELECT GET_LOCK({}, {LOCK_SECONDS})", lock_name(prefix));
        let answer = link.run(Statement::script(text)).await?;
        match answer.one() {
            Some(Cell::Int(1)) => Ok(()),
            _ => Err(Trouble::Unavailable(format!(
                "another node has been changing the tables for {LOCK_SECONDS} s"
            ))),
        }
    }

    async fn unlock_schema(link: &mut Link<Self>, prefix: &str, _: bool) -> Result<(), Trouble> {
        let text = format!("SELECT RELEASE_LOCK({})", lock_name(prefix));
        link.run(Statement::script(text)).await.map(drop)
    }

    async fn examine(&self, link: &mut Link<Self>, prefix: &str) -> Result<(), StoreError> {
        super::examine::examine(link, prefix).await
    }

    fn by_index(index: &str) -> String {
        format!(" FORCE INDEX ({index})")
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn connect(&self) -> Result<MySqlConnection, Trouble> {
        let judge = |error: sqlx::Error| match judge(&error).at(&self.address) {
            // None was there before.
            Trouble::Lost(why) => Trouble::Unavailable(why),
            trouble => trouble,
        };
        let mut connection = self.options.connect().await.map_err(judge)?;
        let settings = AssertSqlSafe(self.settings.clone());
        connection.execute(settings).await.map_err(judge)?;
        Ok(connection)
    }

    async fn disconnect(connection: MySqlConnection) {
        // It goes either way.
        let _ = connection.close().await;
    }

    async fn run(
        connection: &mut MySqlConnection,
        statement: Statement,
    ) -> Result<Answer, Trouble> {
        debug_assert!(statement.params.is_empty());
        let mut answer = Answer::default();
        let text = AssertSqlSafe(statement.text);
        let mut steps = connection.fetch_many(sqlx::raw_sql(text));
        while let Some(step) = steps.try_next().await.map_err(|error| judge(&error))? {
            match step {
                Either::Left(done) => answer.affected += done.rows_affected(),
                Either::Right(row) => answer
                    .rows
                    .push(cells(&row).map_err(|error| judge(&error))?),
            }
        }
        Ok(answer)
    }

    fn put(statement: &mut Statement, value: Value) {
        push(&mut statement.text, &value);
    }

    fn put_among(statement: &mut Statement, values: Vec<Value>) {
        statement.text.push_str(" IN ");
        push_tuple(&mut statement.text, &values);
    }

    fn insert(
        table: &str,
        columns: &[Column],
        rows: Vec<Vec<Value>>,
        conflict: Conflict,
    ) -> Statement {
        let mut text = insert(table, columns, &rows);
        if conflict == Conflict::Keep {
            text.push_str(" ON DUPLICATE KEY UPDATE id = ");
            text.push_str(table);
            text.push_str(".id");
        }
        Statement::script(text)
    }

    /// The rows are there, so they are only changed: the one way to change many that both databases take.
    fn update(table: &str, columns: &[Column], set: &[&str], rows: Vec<Vec<Value>>) -> Statement {
        let mut text = insert(table, columns, &rows);
        text.push_str(" ON DUPLICATE KEY UPDATE ");
        for (at, name) in set.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            text.extend([comma, name, " = VALUES(", name, ")"]);
        }
        Statement::script(text)
    }

    fn raise_meta(prefix: &str, name: &str, value: i64, how: Raise) -> Statement {
        let new = match how {
            Raise::To => "GREATEST(value, VALUES(value))",
            Raise::By => "value + VALUES(value)",
        };
        let mut text = format!("INSERT INTO {prefix}meta (name, value) VALUES ");
        let name = Value::Name(name.to_owned());
        push_tuple(&mut text, &[name.clone(), Value::Int(value)]);
        text.extend([" ON DUPLICATE KEY UPDATE value = ", new]);
        text.extend(["; SELECT value FROM ", prefix, "meta WHERE name = "]);
        push(&mut text, &name);
        text.push_str(" FOR UPDATE");
        Statement::script(text)
    }

    fn gate(prefix: &str, who: Gate) -> String {
        let how = match who {
            Gate::Claim => "LOCK IN SHARE MODE",
            Gate::Pause => "FOR UPDATE",
        };
        let mut text = format!("SELECT value FROM {prefix}meta WHERE name = ");
        push(&mut text, &Value::Name(GATE.to_owned()));
        text.extend([" ", how]);
        text
    }

    fn announce(&self) -> Option<Statement> {
        None
    }
}

/// Of a length that `MySQL` takes, and the same for all nodes on these tables. `MySQL` 9.6 and newer have no MD5.
fn lock_name(prefix: &str) -> String {
    format!("CONCAT('punctual:', LEFT(SHA2(CONCAT(DATABASE(), ':{prefix}'), 256), 32))")
}

fn insert(table: &str, columns: &[Column], rows: &[Vec<Value>]) -> String {
    let size: usize = rows
        .iter()
        .flatten()
        .map(|value| 2 * value.size() + 4)
        .sum();
    let mut text = String::with_capacity(size + 400);
    text.push_str("INSERT INTO ");
    text.push_str(table);
    text.push_str(" (");
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(column.name);
    }
    text.push_str(") VALUES ");
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        push_tuple(&mut text, row);
    }
    text
}

fn push_tuple(text: &mut String, values: &[Value]) {
    text.push('(');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        push(text, value);
    }
    text.push(')');
}

fn push(text: &mut String, value: &Value) {
    let push_bytes = |text: &mut String, bytes: &[u8]| {
        text.push_str("x'");
        push_hex(text, bytes);
        text.push('\'');
    };
    match value {
        Value::Int(int) | Value::MaybeInt(Some(int)) => push_int(text, *int),
        Value::MaybeInt(None) | Value::MaybeText(None) => text.push_str("NULL"),
        Value::Flag(flag) => push_int(text, i64::from(*flag)),
        Value::Run(id) => push_bytes(text, &id.0.to_be_bytes()),
        Value::Name(name) => push_bytes(text, name.as_bytes()),
        Value::Text(value) | Value::MaybeText(Some(value)) => {
            text.push_str("_utf8mb4 ");
            push_bytes(text, value.as_bytes());
        }
    }
}

/// Bytes as hexadecimal digits.
fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.reserve(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

/// A number as decimal digits.
fn push_int(text: &mut String, value: i64) {
    write!(text, "{value}").expect("a text takes every number");
}

fn cells(row: &MySqlRow) -> Result<Vec<Cell>, sqlx::Error> {
    (0..row.len())
        .map(|at| {
            let raw = row.try_get_raw(at)?;
            if raw.is_null() {
                return Ok(Cell::Null);
            }
            let kind = raw.type_info();
            let name = kind.name();
            Ok(if name.ends_with("INT UNSIGNED") {
                Cell::Int(row.try_get::<u64, _>(at)? as i64)
            } else if name.contains("INT") || name == "BOOLEAN" {
                Cell::Int(row.try_get(at)?)
            } else if name.contains("BINARY") || name.contains("BLOB") {
                Cell::Bytes(row.try_get(at)?)
            } else {
                Cell::Text(row.try_get(at)?)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use punctual_core::id::RunId;

    use super::*;

    #[test]
    fn no_password_is_shown() {
        let dialect = Mysql::new("mysql://me:hunter2@db/x", Duration::from_secs(1)).unwrap();
        let shown = format!("{dialect:?}");
        assert!(shown.contains("me@db"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    /// Columns of an explanation: `table`, `key`, `Extra`.
    #[test]
    fn questions_find_their_indexes() {
        crate::server::tests::questions_find_their_indexes(
            "MYSQL",
            |url, options| Mysql::new(url, options.timeout).unwrap(),
            |what, plan, table, index| {
                let texts = |row: &Vec<Cell>| -> Vec<String> {
                    row.iter()
                        .map(|cell| cell.text().unwrap_or_default().to_owned())
                        .collect()
                };
                let plan: Vec<Vec<String>> = plan.iter().map(texts).collect();
                let of_table = |row: &&Vec<String>| row.iter().any(|cell| cell == table);
                let scans: Vec<_> = plan.iter().filter(of_table).collect();
                assert!(!scans.is_empty(), "{what}: {plan:#?}");
                for scan in scans {
                    assert!(scan.iter().any(|cell| cell == index), "{what}: {plan:#?}");
                    let extra = scan.last().unwrap();
                    // What is live is little, and its index goes by job.
                    let is_sorted = extra.contains("filesort") && what != "running";
                    assert!(!is_sorted, "{what}: {plan:#?}");
                }
            },
        );
    }

    #[test]
    fn no_value_ends_its_literal() {
        let rows = [
            (
                Value::Text("'; DROP --\\".to_owned()),
                "_utf8mb4 x'273b2044524f50202d2d5c'",
            ),
            (Value::Name("ä'".to_owned()), "x'c3a427'"),
            (Value::Text(String::new()), "_utf8mb4 x''"),
            (Value::MaybeText(None), "NULL"),
            (Value::Int(i64::MIN), "-9223372036854775808"),
            (Value::Flag(true), "1"),
            (
                Value::Run(RunId(255)),
                "x'000000000000000000000000000000ff'",
            ),
        ];
        for (value, literal) in rows {
            let mut text = String::new();
            push(&mut text, &value);
            assert_eq!(text, literal);
        }
    }
}
