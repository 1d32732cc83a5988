//! Whether a `PostgreSQL` server can keep what the store promises.

use punctual_core::store::StoreError;

use super::dialect::Postgres;
use crate::server::link::Link;
use crate::server::statement::Statement;

/// The oldest release: 12. Older ones got their last fixes in 2023.
const VERSION_MIN: i64 = 120_000;

pub(super) async fn examine(link: &mut Link<Postgres>) -> Result<(), StoreError> {
    let text = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), \
                pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('fsync'), \
                current_setting('server_encoding'), current_setting('synchronous_commit'), current_schema()";
    let answer = link.run(Statement::script(text)).await?;
    let refuse = |why: String| Err(StoreError::failed(why));
    let Some(row) = answer.rows.first() else {
        return refuse("the server does not say what it is".to_owned());
    };
    let shown = |at: usize| row[at].text().unwrap_or("?").to_owned();
    let number = row[0].int().unwrap_or(0);
    if number < VERSION_MIN {
        return refuse(format!(
            "PostgreSQL {} is too old; the job store needs 12 or newer",
            shown(1)
        ));
    }
    if row[2].int() != Ok(0) {
        return refuse(
            "this PostgreSQL server is a standby, which takes no writes; name the primary, or name all servers' common \
             address that leads to it"
                .to_owned(),
        );
    }
    if shown(3) == "on" {
        return refuse(
            "default_transaction_read_only is on for this user or database; set it off: ALTER ROLE … SET \
             default_transaction_read_only = off"
                .to_owned(),
        );
    }
    if shown(5) != "UTF8" {
        return refuse(format!(
            "the database's encoding is {}; ids and definitions need UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE \
             template0",
            shown(5)
        ));
    }
    if row[7].text().is_err() {
        return refuse(
            "no schema of the search_path exists, so there is no place for tables; create one, or set search_path"
                .to_owned(),
        );
    }
    if shown(4) == "off" {
        tracing::warn!(
            "fsync is off: after a crash of the server's machine, decisions may be lost and made again"
        );
    }
    Ok(())
}
