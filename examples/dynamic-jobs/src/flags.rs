//! The command line, which goes before the settings' file.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::{Parser, ValueEnum};
use punctual::scheduler::DEFAULT_ALIAS;

use crate::settings::{JobStoreSettings, Settings, StoreUrl, listen};

/// A web service that manages its jobs at run time.
#[derive(Debug, Parser)]
#[command(name = "dynamic-jobs", version)]
pub(crate) struct Flags {
    /// Address and port; port 0 takes a free one [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where the jobs are kept: memory:, sqlite:FILE, postgres://…, mysql://…, redis://… or mongodb://…
    /// [default: sqlite:dynamic-jobs.db]
    // A URL with a password is better given by the variable: the command line is there for everybody to read.
    #[arg(
        long,
        value_name = "URL",
        env = "DYNAMIC_JOBS_STORE",
        hide_env_values = true
    )]
    store: Option<String>,
    /// The application's own database [default: dynamic-jobs-app.db]
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// A file that holds the token of clients on other machines, and of the API under /scheduler
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A TOML file of settings
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Which settings to begin with
    #[arg(long, default_value = "development")]
    env: Environment,
}

/// The environments of the tutorial.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Environment {
    /// Says more, and ends sooner.
    Development,
    /// Lets work end before the service does.
    Production,
}

impl Flags {
    /// Settles every setting.
    pub(crate) fn resolve(self) -> anyhow::Result<Settings> {
        let mut settings = match self.env {
            Environment::Development => Settings::development(),
            Environment::Production => Settings::production(),
        };
        if let Some(path) = &self.settings {
            settings.read_file(path)?;
        }
        if let Some(text) = self.listen {
            settings.listen = listen(&text).map_err(|why| anyhow!("--listen: {why}"))?;
        }
        if let Some(text) = self.store {
            let url = StoreUrl::parse(&text).map_err(|why| anyhow!("--store: {why}"))?;
            let prefix = settings.jobstores.remove(DEFAULT_ALIAS);
            let prefix = prefix.and_then(|store| store.prefix);
            let store = JobStoreSettings { url, prefix };
            settings.jobstores.insert(DEFAULT_ALIAS.to_owned(), store);
        }
        if let Some(path) = self.database {
            settings.database = path;
        }
        if self.token_file.is_some() {
            settings.token_file = self.token_file;
        }
        if let Some(host) = settings.hosts.iter().find(|host| !is_host(host)) {
            bail!(
                "hosts: {host:?} is no name; write it without scheme and port, such as jobs.example"
            );
        }
        Ok(settings)
    }
}

fn is_host(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !text.is_empty() && text.chars().all(fits) || text.parse::<std::net::IpAddr>().is_ok()
}
