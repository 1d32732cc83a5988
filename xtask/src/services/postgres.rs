//! PostgreSQL.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::address::Address;
use super::server::{Launch, Place, Server, on_path, run, version_of};

pub(super) struct Postgres;

impl Server for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["postgresql"]
    }

    fn find(&self) -> Option<PathBuf> {
        on_path(&["postgres"])
            .filter(|program| beside(program, "initdb").is_ok())
            .or_else(newest_of_debian)
    }

    fn user(&self) -> Option<&'static str> {
        Some("postgres")
    }

    fn prepare(&self, program: &Path, place: &Place) -> Result<Launch> {
        let data = place.folder.join("data");
        let initdb = beside(program, "initdb")?;
        let password_file = place.write("password", &place.password)?;
        run(place
            .command(&initdb)
            .arg("--pgdata")
            .arg(&data)
            .args([
                "--username=admin",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
            ])
            .args(["--locale=C", "--no-sync"])
            .arg(format!("--pwfile={}", password_file.display())))?;

        // Single-user mode needs no client program. An ordinary role, so that tests see the rights that users have.
        let mut single = place
            .command(program)
            .arg("--single")
            .arg("-D")
            .arg(&data)
            .args(["-c", "fsync=off", "postgres"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("postgres --single could not be started")?;
        let statements = format!(
            "CREATE ROLE punctual LOGIN CREATEDB PASSWORD '{}'\nCREATE DATABASE punctual_test OWNER punctual\n",
            place.password
        );
        let mut input = single.stdin.take().expect("it is piped");
        input.write_all(statements.as_bytes())?;
        drop(input);
        let output = single.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || said.contains("ERROR") {
            bail!("the database could not be created: {}", said.trim());
        }

        Ok(Launch {
            arguments: vec![
                "-D".into(),
                data.into(),
                "-p".into(),
                place.port.to_string().into(),
                "-clisten_addresses=127.0.0.1".into(),
                // A socket in a folder of the system could collide with a server of the system.
                "-cunix_socket_directories=".into(),
                "-cmax_connections=300".into(),
                // What a power cut would leave is not under test. That a commit waits for its record is: stores check it.
                "-cfsync=off".into(),
                "-cfull_page_writes=off".into(),
                "-csynchronous_commit=on".into(),
            ],
            url: format!("postgres://{}/punctual_test", place.account("punctual")),
        })
    }

    /// The first message of a session: a server that is still starting answers it with an error.
    fn ping(&self, url: &str) -> Result<Option<String>> {
        let address = Address::parse(url, 5432)?;
        let mut body = 0x0003_0000_u32.to_be_bytes().to_vec();
        for text in ["user", &address.user, "database", &address.database] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        let mut message = (body.len() as u32 + 4).to_be_bytes().to_vec();
        message.extend(body);
        let answer = address.ask(&message)?;
        match answer.first() {
            // It asks for the password, or lets us in.
            Some(b'R') => Ok(None),
            Some(b'E') => bail!("it answers: {}", error_text(&answer)),
            _ => bail!("what answers does not speak PostgreSQL's protocol"),
        }
    }

    /// It tells its version only to those who have signed in.
    fn version(&self, program: &Path) -> Option<String> {
        let version = version_of(program)?;
        let number = version.strip_prefix("postgres (PostgreSQL) ")?;
        Some(format!("PostgreSQL {}", number.split(' ').next()?))
    }

    /// The fast shutdown: SIGTERM would wait for clients to leave.
    fn stop_signal(&self) -> Signal {
        Signal::INT
    }
}

/// Debian keeps each release in a folder of its own, off the path.
fn newest_of_debian() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib/postgresql").ok()?;
    let release = |folder: &fs::DirEntry| folder.file_name().to_str()?.parse::<u32>().ok();
    folders
        .flatten()
        .filter_map(|folder| Some((release(&folder)?, folder.path().join("bin/postgres"))))
        .filter(|(_, program)| program.is_file())
        .max()
        .map(|(_, program)| program)
}

/// A program of the same release; `program` may be a link into its folder.
fn beside(program: &Path, name: &str) -> Result<PathBuf> {
    let found = fs::canonicalize(program)?.with_file_name(name);
    if !found.is_file() {
        bail!("{} has no {name} beside it", program.display());
    }
    Ok(found)
}

/// The message field of an error response.
fn error_text(answer: &[u8]) -> String {
    answer
        .get(5..)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"M"))
        .map_or_else(
            || "an error without a message".to_owned(),
            |text| String::from_utf8_lossy(text).into_owned(),
        )
}
