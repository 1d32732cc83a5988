//! What `PostgreSQL` spells its own way: connections, types, arrays for many rows.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use punctual_core::id::RunId;
use punctual_core::store::StoreError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, ConnectOptions as _, Connection as _, Either, Executor as _,
    Row as _, TypeInfo as _, ValueRef as _,
};
use uuid::Uuid;

use crate::server::address::Address;
use crate::server::cell::{Answer, Cell, Column, Kind, Value};
use crate::server::dialect::{Conflict, Dialect, Gate, Raise, Trouble};
use crate::server::link::Link;
use crate::server::schema::Table;
use crate::server::statement::{Param, Statement};

/// What may stand in an address after the `?`.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// How long a transaction may wait for its node.
const FROZEN_MILLIS: u128 = 5_000;

/// `PostgreSQL`.
pub(crate) struct Postgres {
    options: PgConnectOptions,
    address: String,
    settings: String,
    channel: String,
    /// Tells the notifications of this process from those of others.
    sender: String,
}

/// The driver's options show the password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.address).finish()
    }
}

impl Postgres {
    pub(super) fn new(url: &str, prefix: &str, timeout: Duration) -> Result<Self, StoreError> {
        let address = Address::parse(url, &["postgres", "postgresql"], PARAMETERS)?;
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| address.refuse(&error))?
            .disable_statement_logging();
        let options = match options.get_application_name() {
            None => options.application_name("punctual"),
            Some(_) => options,
        };
        let millis = timeout.as_millis().clamp(1, 3_600_000);
        // A node that says nothing within a transaction is frozen or cut off; what it holds is free after this.
        let idle = millis.min(FROZEN_MILLIS);
        // Every statement has its index, in the order it needs; a planner that has never seen the tables full may think
        // otherwise.
        let settings = format!(
            "SET statement_timeout = {millis}; SET lock_timeout = {millis}; \
             SET idle_in_transaction_session_timeout = {idle}; SET default_transaction_isolation = 'read committed'; \
             SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; \
             SET enable_mergejoin = off; SET jit = off; \
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        );
        Ok(Self {
            options,
            address: address.shown().to_owned(),
            settings,
            channel: format!("{prefix}changed"),
            sender: format!("{:016x}", fastrand::u64(..)),
        })
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn sender(&self) -> &str {
        &self.sender
    }

    pub(super) fn judge(&self, error: &sqlx::Error) -> Trouble {
        judge(error).at(&self.address)
    }
}

/// Sorts errors by what follows from them.
fn judge(error: &sqlx::Error) -> Trouble {
    let text = error.to_string();
    match error {
        sqlx::Error::Database(database) => {
            let Some(postgres) = database.try_downcast_ref::<PgDatabaseError>() else {
                return Trouble::Failed(text);
            };
            let code = postgres.code();
            let text = format!("{} ({code})", postgres.message());
            match code {
                "40001" | "40P01" => Trouble::Again(text),
                "23505" => Trouble::Duplicate(text),
                // A plan of before a migration.
                "0A000" if text.contains("cached plan") => Trouble::Lost(text),
                // Over a new connection, the address may lead to the primary by now.
                "25006" => Trouble::Lost(format!(
                    "{text}; the server takes no writes: it is a standby, or was made one. Name the primary"
                )),
                "26000" | "42P05" => Trouble::Failed(format!(
                    "{text}; a connection pooler in transaction mode is in between: connect to the server itself, or set \
                     the pooler to session mode"
                )),
                "42501" => Trouble::Failed(format!(
                    "{text}; the user must own the tables, or may be given CREATE on the schema"
                )),
                "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Trouble::Lost(text),
                "57014" | "55P03" => Trouble::Unavailable(text),
                _ if code.starts_with("08") => Trouble::Lost(text),
                _ if code.starts_with("53") || code.starts_with("58") => Trouble::Unavailable(text),
                _ => Trouble::Failed(text),
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Trouble::Lost(text),
        _ => Trouble::Failed(text),
    }
}

impl Dialect for Postgres {
    type Connection = PgConnection;

    const NAME: &'static str = "PostgreSQL";
    const IDLE_MAX: Duration = Duration::from_mins(5);
    const NOTIFIES: bool = true;
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL READ COMMITTED";
    const NOW: &'static str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    const COUNTS_UPDATES: bool = true;

    const SCHEMA: &'static str = "current_schema()";
    const TABLE_OPTIONS: &'static str = "";
    const LIVE_JOB: &'static str = "job_id";
    const ODD_STATE: &'static str = "state";

    fn fill(text: &str) -> String {
        let compared = "text COLLATE \"C\"";
        text.replace("{name}", compared)
            .replace("{key}", compared)
            .replace("{word}", compared)
            .replace("{text}", "text")
            .replace("{run}", "uuid")
            .replace("{flag}", "boolean")
    }

    fn create(table: &Table) -> Vec<String> {
        let Table {
            name,
            columns,
            postgres_options,
            ..
        } = table;
        let create = format!("CREATE TABLE @{name} ({columns}) {postgres_options}");
        let indexes = table.postgres.iter().map(|&index| index.to_owned());
        std::iter::once(create).chain(indexes).collect()
    }

    /// Tables are changed in one transaction, which holds the lock.
    async fn lock_schema(link: &mut Link<Self>, prefix: &str) -> Result<(), Trouble> {
        link.begin().await?;
        let text = format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('punctual:' || current_schema() || ':{prefix}', 0))"
        );
        link.run(Statement::script(text)).await.map(drop)
    }

    async fn unlock_schema(link: &mut Link<Self>, _: &str, is_done: bool) -> Result<(), Trouble> {
        if is_done { link.commit().await } else { Ok(()) }
    }

    async fn examine(&self, link: &mut Link<Self>, _: &str) -> Result<(), StoreError> {
        super::examine::examine(link).await
    }

    fn by_index(_: &str) -> String {
        String::new()
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn connect(&self) -> Result<PgConnection, Trouble> {
        let judge = |error: sqlx::Error| match self.judge(&error) {
            // None was there before.
            Trouble::Lost(why) => Trouble::Unavailable(why),
            trouble => trouble,
        };
        let mut connection = self.options.connect().await.map_err(judge)?;
        let settings = AssertSqlSafe(self.settings.clone());
        connection.execute(settings).await.map_err(judge)?;
        Ok(connection)
    }

    async fn disconnect(connection: PgConnection) {
        // It goes either way.
        let _ = connection.close().await;
    }

    async fn run(connection: &mut PgConnection, statement: Statement) -> Result<Answer, Trouble> {
        let mut answer = Answer::default();
        let text = AssertSqlSafe(statement.text);
        let mut steps = if statement.is_script {
            connection.fetch_many(sqlx::raw_sql(text))
        } else {
            let values = arguments(statement.params).map_err(|error| judge(&error))?;
            connection.fetch_many(sqlx::query_with(text, values))
        };
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
        statement.params.push(Param::One(value));
        push_number(statement);
    }

    fn put_among(statement: &mut Statement, values: Vec<Value>) {
        let kind = values.first().map_or(Kind::Int, kind_of);
        statement.params.push(Param::Column(kind, values));
        statement.text.push_str(" = ANY(");
        push_number(statement);
        statement.text.push_str(array_of(kind));
        statement.text.push(')');
    }

    fn insert(
        table: &str,
        columns: &[Column],
        rows: Vec<Vec<Value>>,
        conflict: Conflict,
    ) -> Statement {
        let mut statement = Statement::prepared(format!("INSERT INTO {table} ("));
        push_names(&mut statement.text, columns);
        statement.text.push_str(") SELECT * FROM ");
        push_unnest(&mut statement, columns, rows);
        if conflict == Conflict::Keep {
            statement.text.push_str(" ON CONFLICT DO NOTHING");
        }
        statement
    }

    fn update(
        table: &str,
        columns: &[Column],
        set: &[&str],
        mut rows: Vec<Vec<Value>>,
    ) -> Statement {
        let wanted: Vec<bool> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| at == 0 || set.contains(&column.name))
            .collect();
        for row in &mut rows {
            let mut wanted = wanted.iter();
            row.retain(|_| *wanted.next().unwrap_or(&false));
        }
        let mut wanted = wanted.iter();
        let mut columns = columns.to_vec();
        columns.retain(|_| *wanted.next().unwrap_or(&false));

        let mut statement = Statement::prepared(format!("UPDATE {table} AS t SET "));
        for (at, column) in columns[1..].iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let text = format!("{comma}{0} = v.{0}", column.name);
            statement.text.push_str(&text);
        }
        statement.text.push_str(" FROM ");
        push_unnest(&mut statement, &columns, rows);
        statement.text.push_str(" AS v (");
        push_names(&mut statement.text, &columns);
        statement.text.push_str(") WHERE t.id = v.id");
        statement
    }

    fn raise_meta(prefix: &str, name: &str, value: i64, how: Raise) -> Statement {
        let new = match how {
            Raise::To => "GREATEST(m.value, excluded.value)",
            Raise::By => "m.value + excluded.value",
        };
        let mut statement = Statement::prepared(format!(
            "INSERT INTO {prefix}meta AS m (name, value) VALUES ("
        ));
        Self::put(&mut statement, Value::Name(name.to_owned()));
        statement.text.push_str(", ");
        Self::put(&mut statement, Value::Int(value));
        let end = [
            ") ON CONFLICT (name) DO UPDATE SET value = ",
            new,
            " RETURNING value",
        ];
        statement.text.extend(end);
        statement
    }

    fn gate(prefix: &str, who: Gate) -> String {
        let how = match who {
            Gate::Claim => "_shared",
            Gate::Pause => "",
        };
        format!(
            "SELECT pg_advisory_xact_lock{how}(hashtextextended('punctual:claims:' || current_schema() || ':{prefix}', 0))"
        )
    }

    fn announce(&self) -> Option<Statement> {
        let mut statement = Statement::prepared("SELECT pg_notify(".to_owned());
        Self::put(&mut statement, Value::Text(self.channel.clone()));
        statement.text.push_str(", ");
        Self::put(&mut statement, Value::Text(self.sender.clone()));
        statement.text.push(')');
        Some(statement)
    }
}

fn push_number(statement: &mut Statement) {
    let number = statement.params.len();
    statement.text.push('$');
    statement.text.push_str(&number.to_string());
}

fn push_names(text: &mut String, columns: &[Column]) {
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(column.name);
    }
}

/// Rows as one array for each column: the text is the same for any number of them.
fn push_unnest(statement: &mut Statement, columns: &[Column], rows: Vec<Vec<Value>>) {
    let mut arrays: Vec<Vec<Value>> = columns
        .iter()
        .map(|_| Vec::with_capacity(rows.len()))
        .collect();
    for row in rows {
        debug_assert_eq!(row.len(), columns.len());
        for (array, value) in arrays.iter_mut().zip(row) {
            array.push(value);
        }
    }
    statement.text.push_str("unnest(");
    for (at, (column, array)) in columns.iter().zip(arrays).enumerate() {
        if at > 0 {
            statement.text.push_str(", ");
        }
        statement.params.push(Param::Column(column.kind, array));
        push_number(statement);
        statement.text.push_str(array_of(column.kind));
    }
    statement.text.push(')');
}

fn array_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "::bigint[]",
        Kind::Text | Kind::Name => "::text[]",
        Kind::Run => "::uuid[]",
        Kind::Flag => "::boolean[]",
    }
}

fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Int(_) | Value::MaybeInt(_) => Kind::Int,
        Value::Text(_) | Value::MaybeText(_) => Kind::Text,
        Value::Name(_) => Kind::Name,
        Value::Run(_) => Kind::Run,
        Value::Flag(_) => Kind::Flag,
    }
}

/// The one character that `PostgreSQL` cannot store becomes the one that stands for what cannot be shown.
fn storable(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

fn int(value: Value) -> Option<i64> {
    match value {
        Value::Int(int) => Some(int),
        Value::MaybeInt(int) => int,
        other => unreachable!("{other:?} in a column of numbers"),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Name(text) | Value::MaybeText(Some(text)) => {
            Some(storable(text))
        }
        Value::MaybeText(None) => None,
        other => unreachable!("{other:?} in a column of texts"),
    }
}

fn uuid(value: &Value) -> Uuid {
    match value {
        Value::Run(id) => Uuid::from_u128(id.0),
        other => unreachable!("{other:?} in a column of ids"),
    }
}

fn flag(value: &Value) -> bool {
    match value {
        Value::Flag(flag) => *flag,
        other => unreachable!("{other:?} in a column of flags"),
    }
}

fn arguments(params: Vec<Param>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for param in params {
        let added = match param {
            Param::One(value) => match kind_of(&value) {
                Kind::Int => arguments.add(int(value)),
                Kind::Text | Kind::Name => arguments.add(text(value)),
                Kind::Run => arguments.add(uuid(&value)),
                Kind::Flag => arguments.add(flag(&value)),
            },
            Param::Column(kind, values) => {
                let values = values.into_iter();
                match kind {
                    Kind::Int => arguments.add(values.map(int).collect::<Vec<_>>()),
                    Kind::Text | Kind::Name => arguments.add(values.map(text).collect::<Vec<_>>()),
                    Kind::Run => arguments.add(values.map(|v| uuid(&v)).collect::<Vec<_>>()),
                    Kind::Flag => arguments.add(values.map(|v| flag(&v)).collect::<Vec<_>>()),
                }
            }
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn cells(row: &PgRow) -> Result<Vec<Cell>, sqlx::Error> {
    (0..row.len())
        .map(|at| {
            let raw = row.try_get_raw(at)?;
            if raw.is_null() {
                return Ok(Cell::Null);
            }
            let kind = raw.type_info();
            Ok(match kind.name() {
                "INT8" => Cell::Int(row.try_get(at)?),
                "INT4" => Cell::Int(row.try_get::<i32, _>(at)?.into()),
                "BOOL" => Cell::Int(row.try_get::<bool, _>(at)?.into()),
                "UUID" => Cell::Run(RunId(row.try_get::<Uuid, _>(at)?.as_u128())),
                "VOID" => Cell::Null,
                _ => Cell::Text(row.try_get(at)?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let dialect =
            Postgres::new("postgres://me:hunter2@db/x", "p_", Duration::from_secs(1)).unwrap();
        let shown = format!("{dialect:?}");
        assert!(shown.contains("me@db"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn questions_find_their_indexes() {
        crate::server::tests::questions_find_their_indexes(
            "POSTGRES",
            |url, options| Postgres::new(url, &options.prefix, options.timeout).unwrap(),
            |what, plan, table, index| {
                let lines: Vec<&str> = plan.iter().map(|row| row[0].text().unwrap()).collect();
                let of_table = |line: &&&str| line.contains(&format!(" on {table}"));
                let scans: Vec<_> = lines.iter().filter(of_table).collect();
                assert!(!scans.is_empty(), "{what}: {lines:#?}");
                let prefix = table.trim_end_matches("jobs").trim_end_matches("runs");
                let wanted = format!("using {prefix}{index} ");
                let goes_by_it = |scan: &&&str| scan.contains(&wanted);
                assert!(scans.iter().all(goes_by_it), "{what}: {lines:#?}");
            },
        );
    }
}
