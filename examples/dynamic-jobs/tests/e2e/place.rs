//! Job stores for the tests.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use punctual::id::NodeId;

/// A job store for one test.
pub(crate) struct Place {
    /// As the settings have it: `url = "…"`, perhaps with a prefix.
    pub(crate) settings: String,
    tables: Option<(String, String)>,
}

impl Place {
    /// A file in the test's folder.
    pub(crate) fn sqlite() -> Self {
        Self {
            settings: "url = \"sqlite:dynamic-jobs.db\"".to_owned(),
            tables: None,
        }
    }

    /// Tables of their own on the tests' server, with a URL as `SQLAlchemy` writes it; dropped in the end. A loud word,
    /// where there is no server.
    pub(crate) fn mysql() -> Option<Self> {
        let Some(url) = punctual_conformance::server_url("mysql") else {
            let test = thread::current();
            let name = test.name().unwrap_or("a test");
            let _ = writeln!(std::io::stderr(), "SKIPPED {name}: no mysql server");
            return None;
        };
        let prefix = format!("d{:08x}_", NodeId::random().0 as u32);
        let alchemy = url.replacen("mysql://", "mysql+mysqlconnector://", 1);
        Some(Self {
            settings: format!("url = \"{alchemy}\"\nprefix = \"{prefix}\""),
            tables: Some((url, prefix)),
        })
    }

    /// A file of settings with this job store as the default.
    pub(crate) fn write(&self, folder: &Path, more: &str) -> PathBuf {
        let path = folder.join("settings.toml");
        let text = format!("{more}\n[jobstores.default]\n{}\n", self.settings);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((url, prefix)) = &self.tables else {
            return;
        };
        // What stays behind disturbs nobody.
        let _ = drop_tables(url, prefix);
    }
}

fn drop_tables(url: &str, prefix: &str) -> Result<(), Box<dyn std::error::Error>> {
    use sqlx::{AssertSqlSafe, Connection};
    let names = ["jobs", "runs", "records", "log", "meta", "migrations"];
    let names = names.map(|name| format!("{prefix}{name}")).join(", ");
    let text = format!("SET SESSION lock_wait_timeout = 5; DROP TABLE IF EXISTS {names}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut connection = sqlx::MySqlConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(text))
            .execute(&mut connection)
            .await?;
        Ok(())
    })
}
