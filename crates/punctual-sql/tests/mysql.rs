//! The `MySQL` store runs the suite of all job stores, and the tests that only a server can fail.
#![cfg(feature = "mysql")]

use std::sync::Arc;

use punctual_core::store::{BoxFuture, JobStore, StoreResult};
use punctual_sql::{MysqlStore, StoreOptions};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::runtime::Runtime;

mod server;

/// A `MySQL` or `MariaDB` server.
struct Mysql;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

impl server::Server for Mysql {
    const NAME: &'static str = "MYSQL";

    fn open(
        url: String,
        options: StoreOptions,
    ) -> BoxFuture<'static, StoreResult<Arc<dyn JobStore>>> {
        Box::pin(async move {
            let store = MysqlStore::open(&url, options).await?;
            Ok(Arc::new(store) as Arc<dyn JobStore>)
        })
    }

    fn sql(url: &str, text: &str) -> Result<Vec<String>, String> {
        runtime().block_on(async {
            let mut connection = MySqlConnection::connect(url)
                .await
                .map_err(|e| e.to_string())?;
            let text = format!("SET SESSION lock_wait_timeout = 5; {text}");
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

mod mysql {
    use std::any::Any;

    use super::*;
    use crate::server::Fresh;

    punctual_conformance::job_store_suite!(Fresh::<Mysql>(std::marker::PhantomData));

    crate::server_tests!(
        Mysql: ten_nodes_open_at_once, newer_tables_are_refused, wrong_addresses_are_refused, ids_are_bytes,
        output_of_any_kind_is_kept, a_storm_doubles_nothing,  lost_connections_come_back,
        silent_connections_cost_one_wait, a_contradiction_holds_up_no_other_run,
        time_is_the_servers,
    );

    /// A transaction that has sent this.
    fn hold(url: &str, text: &str) -> Box<dyn Any> {
        let runtime = runtime();
        let connection = runtime.block_on(async {
            let mut connection = MySqlConnection::connect(url).await.unwrap();
            connection.execute("START TRANSACTION").await.unwrap();
            let text = AssertSqlSafe(text.to_owned());
            connection.execute(text).await.unwrap();
            connection
        });
        Box::new((connection, runtime))
    }

    #[test]
    fn a_held_job_is_stepped_over() {
        server::a_held_job_is_stepped_over::<Mysql>(hold);
    }

    #[test]
    fn slow_questions_leave_room() {
        server::slow_questions_leave_room::<Mysql>(hold);
    }

    #[test]
    fn a_pause_waits_for_claims() {
        server::a_pause_waits_for_claims::<Mysql>(hold);
    }
}
