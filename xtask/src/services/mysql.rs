//! MariaDB or MySQL.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::address::{Address, first_answer};
use super::server::{Launch, Place, Server, on_path, run, version_of};

pub(super) struct Mysql;

impl Server for Mysql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    /// Without the start scripts of `mariadb-server`. What makes a data folder needs a program of the client.
    fn packages(&self) -> &'static [&'static str] {
        &["mariadb-server-core", "mariadb-client"]
    }

    fn find(&self) -> Option<PathBuf> {
        let program = on_path(&["mariadbd", "mysqld"])?;
        let is_whole = !is_mariadb(&program) || on_path(&["my_print_defaults"]).is_some();
        is_whole.then_some(program)
    }

    fn user(&self) -> Option<&'static str> {
        Some("mysql")
    }

    fn prepare(&self, program: &Path, place: &Place) -> Result<Launch> {
        let data = place.folder.join("data");
        if is_mariadb(program) {
            let installer = on_path(&["mariadb-install-db", "mysql_install_db"])
                .context("mariadb-install-db is missing: it comes with MariaDB's server")?;
            run(place
                .command(&installer)
                .arg("--no-defaults")
                .arg(format!("--datadir={}", data.display()))
                .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
                // Host names would be looked up for accounts that nobody uses.
                .arg("--skip-name-resolve"))?;
        } else {
            run(place
                .command(program)
                .args(["--no-defaults", "--initialize-insecure"])
                .arg(format!("--datadir={}", data.display())))?;
        }

        // Run before the first connection is taken. The account may make databases of its own beside punctual_test.
        let first = place.write(
            "first.sql",
            &format!(
                "CREATE DATABASE punctual_test;\n\
                 CREATE USER 'punctual'@'127.0.0.1' IDENTIFIED BY '{}';\n\
                 GRANT ALL ON `punctual\\_test%`.* TO 'punctual'@'127.0.0.1';\n",
                place.password
            ),
        )?;
        Ok(Launch {
            arguments: vec![
                "--no-defaults".into(),
                format!("--datadir={}", data.display()).into(),
                format!("--port={}", place.port).into(),
                "--bind-address=127.0.0.1".into(),
                format!("--socket={}", place.folder.join("socket").display()).into(),
                format!("--pid-file={}", place.folder.join("pid").display()).into(),
                format!("--init-file={}", first.display()).into(),
                // MySQL will not start without the folder that its package would have made for imports.
                format!("--secure-file-priv={}", place.folder.display()).into(),
                "--skip-name-resolve".into(),
                "--max-connections=300".into(),
                "--character-set-server=utf8mb4".into(),
                // What a power cut would leave is not under test; a killed server still keeps every commit.
                "--innodb-flush-log-at-trx-commit=2".into(),
                "--loose-skip-log-bin".into(),
                "--loose-mysqlx=OFF".into(),
            ],
            url: format!("mysql://{}/punctual_test", place.account("punctual")),
        })
    }

    /// The greeting, which the server sends by itself and which names its version.
    fn ping(&self, url: &str) -> Result<Option<String>> {
        let address = Address::parse(url, 3306)?;
        let mut stream = address.connect()?;
        let greeting = first_answer(&mut stream)?;
        match greeting.get(4..).and_then(<[u8]>::split_first) {
            Some((10, rest)) => {
                let version = rest.split(|byte| *byte == 0).next().unwrap_or_default();
                let version = String::from_utf8_lossy(version);
                // MariaDB puts a version before its own that old replicas can read.
                let version = version.strip_prefix("5.5.5-").unwrap_or(&version);
                Ok(Some(match version.split_once("-MariaDB") {
                    Some((number, _)) => format!("MariaDB {number}"),
                    None => format!("MySQL {version}"),
                }))
            }
            Some((0xff, rest)) => bail!(
                "it answers: {}",
                String::from_utf8_lossy(rest.get(2..).unwrap_or_default())
            ),
            _ => bail!("what answers does not speak MySQL's protocol"),
        }
    }
}

fn is_mariadb(program: &Path) -> bool {
    version_of(program).is_some_and(|version| version.contains("MariaDB"))
}
