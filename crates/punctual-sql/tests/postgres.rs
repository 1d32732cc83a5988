//! The `PostgreSQL` store runs the suite of all job stores, and the tests that only a server can fail.
#![cfg(feature = "postgres")]

use std::sync::Arc;

use punctual_core::store::{BoxFuture, JobStore, StoreResult};
use punctual_sql::{PostgresStore, StoreOptions};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::runtime::Runtime;

mod server;

/// A `PostgreSQL` server.
struct Postgres;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

impl server::Server for Postgres {
    const NAME: &'static str = "POSTGRES";

    fn open(
        url: String,
        options: StoreOptions,
    ) -> BoxFuture<'static, StoreResult<Arc<dyn JobStore>>> {
        Box::pin(async move {
            let store = PostgresStore::open(&url, options).await?;
            Ok(Arc::new(store) as Arc<dyn JobStore>)
        })
    }

    fn sql(url: &str, text: &str) -> Result<Vec<String>, String> {
        runtime().block_on(async {
            let mut connection = PgConnection::connect(url)
                .await
                .map_err(|e| e.to_string())?;
            let text = format!("SET lock_timeout = '5s'; {text}");
            let rows = sqlx::raw_sql(AssertSqlSafe(text))
                .fetch_all(&mut connection)
                .await;
            let rows = rows.map_err(|error| error.to_string())?;
            Ok(rows
                .iter()
                .map(|row| row.try_get(0).unwrap_or_default())
                .collect())
        })
    }
}

mod postgres {
    use std::any::Any;
    use std::time::Duration;

    use async_io::block_on;
    use punctual_core::clock::{Clock, SystemClock};

    use super::*;
    use crate::server::{Fresh, Server as _, add, clock, tables};

    punctual_conformance::job_store_suite!(Fresh::<Postgres>(std::marker::PhantomData));

    crate::server_tests!(
        Postgres: ten_nodes_open_at_once, newer_tables_are_refused, wrong_addresses_are_refused, ids_are_bytes,
        output_of_any_kind_is_kept, a_storm_doubles_nothing,  lost_connections_come_back,
        silent_connections_cost_one_wait, a_contradiction_holds_up_no_other_run,
        time_is_the_servers,
    );

    /// A transaction that has sent this.
    fn hold(url: &str, text: &str) -> Box<dyn Any> {
        let runtime = runtime();
        let connection = runtime.block_on(async {
            let mut connection = PgConnection::connect(url).await.unwrap();
            connection.execute("BEGIN").await.unwrap();
            let text = AssertSqlSafe(text.to_owned());
            connection.execute(text).await.unwrap();
            connection
        });
        Box::new((connection, runtime))
    }

    #[test]
    fn a_held_job_is_stepped_over() {
        server::a_held_job_is_stepped_over::<Postgres>(hold);
    }

    #[test]
    fn slow_questions_leave_room() {
        server::slow_questions_leave_room::<Postgres>(hold);
    }

    #[test]
    fn a_pause_waits_for_claims() {
        server::a_pause_waits_for_claims::<Postgres>(hold);
    }

    /// A user or database that may only read is refused when the store opens, with the cure; so is a login that is wrong.
    #[test]
    fn what_takes_no_writes_is_refused() {
        let Some(tables) = tables::<Postgres>() else {
            return;
        };
        let url = format!(
            "{}?options=-c%20default_transaction_read_only%3Don",
            tables.url
        );
        let error = block_on(Postgres::open(url, tables.options(&clock()))).unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains("ALTER ROLE"), "{error}");
    }

    /// Connections that the server ends are replaced.
    #[test]
    fn ended_backends_are_replaced() {
        let Some(tables) = tables::<Postgres>() else {
            return;
        };
        let clock = clock();
        let url = format!("{}?application_name={}", tables.url, tables.prefix);
        let store = Postgres::open(url, tables.options(&clock));
        let store = block_on(store).unwrap();
        let text = format!(
            "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = '{}'",
            tables.prefix
        );
        server::outlives(&store, &clock, || {
            Postgres::sql(&tables.url, &text).unwrap().len()
        });
    }

    /// A job that one node adds is known to another within 100 ms; so it is after the connection that listens was lost.
    #[test]
    fn an_addition_is_heard_by_other_nodes() {
        let Some(tables) = tables::<Postgres>() else {
            return;
        };
        let clock = clock();
        let here = tables.open(&clock);
        let url = format!("{}?application_name={}", tables.url, tables.prefix);
        let there = block_on(Postgres::open(url, tables.options(&clock))).unwrap();
        // It listens once its own first word has come back.
        std::thread::sleep(Duration::from_millis(300));
        let heard_within = |id: &str| {
            let changed = there.changed();
            add(&here, &clock, id);
            let began = SystemClock.monotonic();
            let late = async_io::Timer::after(Duration::from_secs(5));
            block_on(async {
                let late = async {
                    late.await;
                    panic!("nothing was heard of {id}");
                };
                futures_util::pin_mut!(late);
                futures_util::future::select(changed, late).await;
            });
            SystemClock.monotonic().checked_sub(began).unwrap()
        };
        let first = heard_within("a");
        assert!(first < Duration::from_millis(100), "{first:?}");
        let again = there.changed();
        let killed = Postgres::sql(
            &tables.url,
            &format!(
                "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = '{}' AND \
                 query LIKE '%pg_notify%'",
                tables.prefix
            ),
        );
        assert!(!killed.unwrap().is_empty());
        // It says so when it is back: something may have been missed.
        block_on(again);
        std::thread::sleep(Duration::from_millis(300));
        let second = heard_within("b");
        assert!(second < Duration::from_millis(100), "{second:?}");
    }
}
