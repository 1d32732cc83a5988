//! The tables, and how they come about: numbered steps, each taken once, by one node at a time.

use punctual_core::clock::{Clock, SystemClock};
use punctual_core::store::StoreError;

use super::cell::{Cell, Value};
use super::dialect::{Dialect, Trouble};
use super::link::{Link, Links};
use super::statement::{Sql, Statement};

/// A table, as both databases have it. `@` is the prefix, words in braces are types.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static str,
    /// Further columns and the indexes, within the parentheses.
    pub(crate) mysql: &'static str,
    /// Statements that follow.
    pub(crate) postgres: &'static [&'static str],
    /// What stands after the parentheses.
    pub(crate) postgres_options: &'static str,
}

/// A step from one version of the tables to the next.
#[derive(Debug)]
pub(crate) struct Migration {
    name: &'static str,
    tables: &'static [Table],
}

/// All steps; the version of the tables is how many were taken. A step that was released is never changed.
///
/// Times are microseconds since 1970. A row of `jobs` without a definition is the trace of a job that went while runs of it
/// were live. Where `MySQL` has no index over a part of the rows, a column that is null for the others stands in.
const MIGRATIONS: &[Migration] = &[Migration {
    name: "jobs, runs, records",
    tables: &[
        Table {
            name: "jobs",
            columns: "
                id {name} NOT NULL PRIMARY KEY,
                version BIGINT NOT NULL,
                task {name},
                executor {name},
                name {text},
                tags {text},
                job_key BIGINT,
                cursor_at BIGINT,
                due_at BIGINT,
                extra BIGINT,
                manual_at BIGINT,
                paused {text},
                phase {word},
                revision BIGINT,
                seq BIGINT,
                fence BIGINT NOT NULL,
                wake_at BIGINT,
                live BIGINT NOT NULL,
                listed_at BIGINT,
                definition {text}",
            mysql: "
                INDEX jobs_wake (executor, task, wake_at, id),
                INDEX jobs_listed (listed_at, id)",
            postgres: &[
                "CREATE INDEX @jobs_wake ON @jobs (executor, task, wake_at, id) WHERE wake_at IS NOT NULL",
                "CREATE INDEX @jobs_listed ON @jobs (listed_at, id) WHERE listed_at IS NOT NULL",
            ],
            // Room for the next version of a row on its own page, so that a finish touches no index. Swept early: claims read
            // the index from its front, which is where the entries of past fires lie.
            postgres_options: "WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, \
                               autovacuum_vacuum_threshold = 1000)",
        },
        Table {
            name: "runs",
            columns: "
                id {run} NOT NULL PRIMARY KEY,
                job_id {name} NOT NULL,
                job_key BIGINT NOT NULL,
                kind {word} NOT NULL,
                scheduled_at BIGINT NOT NULL,
                due_at BIGINT NOT NULL,
                attempt BIGINT NOT NULL,
                crashes BIGINT NOT NULL,
                instance BIGINT NOT NULL,
                state {word} NOT NULL,
                reason {word},
                node BIGINT,
                fence BIGINT NOT NULL,
                lease_until BIGINT,
                started_at BIGINT,
                finished_at BIGINT,
                output {text},
                error {text},
                cancel_requested {flag} NOT NULL,
                scheduled_until BIGINT,
                count BIGINT NOT NULL,
                superseded_at BIGINT",
            mysql: "
                live_job VARBINARY(764) AS (CASE WHEN state IN ('pending', 'running') THEN job_id END) STORED,
                odd_state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin
                    AS (CASE WHEN state NOT IN ('pending', 'running', 'succeeded') THEN state END) STORED,
                UNIQUE INDEX runs_occurrence (job_key, scheduled_at, kind, attempt),
                INDEX runs_job (job_id, id),
                INDEX runs_live (live_job, id),
                INDEX runs_lease (lease_until, node),
                INDEX runs_over (finished_at, state),
                INDEX runs_state (odd_state, id)",
            postgres: &[
                "CREATE UNIQUE INDEX @runs_occurrence ON @runs (job_key, scheduled_at, kind, attempt)",
                "CREATE INDEX @runs_job ON @runs (job_id, id)",
                "CREATE INDEX @runs_live ON @runs (job_id, id) WHERE state IN ('pending', 'running')",
                "CREATE INDEX @runs_lease ON @runs (lease_until, node) WHERE lease_until IS NOT NULL",
                "CREATE INDEX @runs_over ON @runs (finished_at, state) WHERE finished_at IS NOT NULL",
                "CREATE INDEX @runs_state ON @runs (state, id) WHERE state NOT IN ('pending', 'running', 'succeeded')",
            ],
            postgres_options: "",
        },
        Table {
            name: "records",
            columns: "
                namespace {key} NOT NULL,
                name {key} NOT NULL,
                value {text} NOT NULL,
                version BIGINT NOT NULL,
                PRIMARY KEY (namespace, name)",
            mysql: "",
            postgres: &[],
            postgres_options: "",
        },
        Table {
            name: "log",
            columns: "
                log {key} NOT NULL,
                position BIGINT NOT NULL,
                at BIGINT NOT NULL,
                value {text} NOT NULL,
                PRIMARY KEY (log, position)",
            mysql: "",
            postgres: &[],
            postgres_options: "",
        },
        Table {
            name: "meta",
            columns: "
                name {key} NOT NULL PRIMARY KEY,
                value BIGINT NOT NULL",
            mysql: "",
            postgres: &[],
            postgres_options: "WITH (fillfactor = 50)",
        },
    ],
}];

/// The version of the tables that this program reads and writes.
const VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings the tables to [`VERSION`]. Nodes that open at once take turns.
pub(crate) async fn migrate<D: Dialect>(links: &Links<D>, prefix: &str) -> Result<(), StoreError> {
    let mut link = links.link().await?;
    // Whoever finds everything in place needs no right to change tables.
    if is_made::<D>(&mut link, prefix).await? && version::<D>(&mut link, prefix).await? == VERSION {
        return Ok(());
    }
    D::lock_schema(&mut link, prefix).await?;
    let done = take_steps::<D>(&mut link, prefix).await;
    let unlocked = D::unlock_schema(&mut link, prefix, done.is_ok()).await;
    done.and(unlocked.map_err(Into::into))
}

async fn take_steps<D: Dialect>(link: &mut Link<D>, prefix: &str) -> Result<(), StoreError> {
    if !is_made::<D>(link, prefix).await? {
        let text = D::fill(
            "CREATE TABLE IF NOT EXISTS @migrations
                (version BIGINT NOT NULL PRIMARY KEY, name {text} NOT NULL, applied_at BIGINT NOT NULL)",
        );
        let sql = Sql::<D>::new(prefix, &text).add(D::TABLE_OPTIONS);
        link.run(as_script(sql.done())).await?;
    }
    let found = version::<D>(link, prefix).await?;
    if found > VERSION {
        return Err(StoreError::failed(format!(
            "the tables {prefix}* are version {found}, written by a newer Punctual; this one knows up to {VERSION}: \
             upgrade Punctual, or restore a backup from before its upgrade"
        )));
    }
    for (migration, version) in MIGRATIONS.iter().zip(1_i64..).skip(found as usize) {
        for table in migration.tables {
            for text in D::create(table) {
                let sql = Sql::<D>::new(prefix, &D::fill(&text));
                link.run(as_script(sql.done())).await?;
            }
        }
        let now = SystemClock.now().as_microsecond();
        let sql = Sql::<D>::new(
            prefix,
            "INSERT INTO @migrations (version, name, applied_at) VALUES (",
        );
        let sql = sql.int(version).add(", ");
        let sql = sql.value(Value::Text(migration.name.to_owned())).add(", ");
        link.run(sql.int(now).add(")").done()).await?;
    }
    Ok(())
}

/// Changes of tables are no statements to be prepared.
fn as_script(statement: Statement) -> Statement {
    Statement::script(statement.text)
}

async fn is_made<D: Dialect>(link: &mut Link<D>, prefix: &str) -> Result<bool, Trouble> {
    let text = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ";
    let sql = Sql::<D>::new(prefix, text).add(D::SCHEMA);
    let sql = sql.add(" AND table_name = '@migrations'").done();
    let answer = link.run(sql).await?;
    Ok(answer.one().is_some_and(|count| count.int() == Ok(1)))
}

async fn version<D: Dialect>(link: &mut Link<D>, prefix: &str) -> Result<i64, Trouble> {
    let text = "SELECT COALESCE(MAX(version), 0) FROM @migrations";
    let answer = link.run(Sql::<D>::new(prefix, text).done()).await?;
    let version = answer.one().map_or(Ok(0), Cell::int);
    version.map_err(|error| Trouble::Failed(format!("version of the tables: {error}")))
}
