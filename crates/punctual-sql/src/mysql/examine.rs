//! Whether a `MySQL` or `MariaDB` server can keep what the store promises.

use punctual_core::store::StoreError;

use super::dialect::Mysql;
use crate::server::link::Link;
use crate::server::statement::{Sql, Statement};

/// Room for a batch of rows in one statement.
const PACKET_MIN: i64 = 8 << 20;

pub(super) async fn examine(link: &mut Link<Mysql>, prefix: &str) -> Result<(), StoreError> {
    let text = "SELECT VERSION(), CAST(@@global.read_only AS CHAR), CAST(@@max_allowed_packet AS SIGNED), \
                CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)";
    let answer = link.run(Statement::script(text)).await?;
    let refuse = |why: String| Err(StoreError::failed(why));
    let Some([version, read_only, packet, flush]) = answer.rows.first().map(Vec::as_slice) else {
        return refuse("the server does not say what it is".to_owned());
    };
    let version = version.text().unwrap_or("?");
    check_version(version)?;
    if !matches!(read_only.text(), Ok("0" | "OFF")) {
        return refuse(format!(
            "this server ({version}) is read-only, as replicas are; name the primary, or set read_only off"
        ));
    }
    let packet = packet.int().unwrap_or(i64::MAX);
    if packet < PACKET_MIN {
        return refuse(format!(
            "max_allowed_packet is {packet} bytes; the job store writes batches of up to {PACKET_MIN}: set it to 16M"
        ));
    }
    if flush.int() != Ok(1) {
        tracing::warn!(
            "innodb_flush_log_at_trx_commit is not 1: after a crash of the server's machine, decisions may be lost and \
             made again"
        );
    }
    check_engine(link, prefix).await
}

/// `MySQL` 8.0.1 and `MariaDB` 10.6 brought `SKIP LOCKED`.
fn check_version(version: &str) -> Result<(), StoreError> {
    // Old clients of MariaDB were told that it is a MySQL 5.5.5.
    let plain = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = plain
        .split(['.', '-', '+'])
        .map_while(|part| part.parse::<u32>().ok());
    let mut next = || numbers.next().unwrap_or(0);
    let found = (next(), next(), next());
    let (name, least) = if version.to_lowercase().contains("mariadb") {
        ("MariaDB", (10, 6, 0))
    } else {
        ("MySQL", (8, 0, 1))
    };
    if found >= least {
        return Ok(());
    }
    let (major, minor, patch) = least;
    Err(StoreError::failed(format!(
        "{name} {version} is too old: it has no SKIP LOCKED, without which nodes would wait for one another; the job store \
         needs {name} {major}.{minor}.{patch} or newer"
    )))
}

/// Tables that somebody made, or converted, may be of an engine without transactions.
async fn check_engine(link: &mut Link<Mysql>, prefix: &str) -> Result<(), StoreError> {
    let text = "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN \
                ('@jobs', '@runs', '@records', '@log', '@meta', '@migrations') AND engine <> 'InnoDB'";
    let answer = link.run(Sql::<Mysql>::new(prefix, text).done()).await?;
    match answer.rows.first() {
        None => Ok(()),
        Some(row) => {
            let table = row[0].text().unwrap_or("?");
            let engine = row[1].text().unwrap_or("?");
            Err(StoreError::failed(format!(
                "table {table} is of the engine {engine}, which has no transactions; convert it: ALTER TABLE {table} \
                 ENGINE=InnoDB"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused() {
        let rows = [
            ("8.0.1-dmr", true),
            ("8.0.36", true),
            ("8.4.3", true),
            ("9.1.0", true),
            ("10.6.0-MariaDB", true),
            ("10.11.19-MariaDB-0+deb12u1", true),
            ("5.5.5-10.6.12-MariaDB-log", true),
            ("11.4.2-MariaDB", true),
            ("8.0.0-dmr", false),
            ("5.7.44-log", false),
            ("10.5.29-MariaDB", false),
            ("5.5.5-10.4.1-MariaDB", false),
            ("unheard of", false),
        ];
        for (version, is_good) in rows {
            let checked = check_version(version);
            assert_eq!(checked.is_ok(), is_good, "{version}: {checked:?}");
        }
    }
}
