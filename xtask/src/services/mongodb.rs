//! MongoDB, or FerretDB, which speaks its protocol and keeps its data in SQLite files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::address::Address;
use super::server::{Launch, Place, Server, on_path, run};

pub(super) struct Mongodb;

/// The program that embeds FerretDB.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ferretdb");
const GO_MODULE: &str = include_str!("../../ferretdb/go.mod");

impl Server for Mongodb {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    /// Debian has no MongoDB, but Go, which builds FerretDB.
    fn packages(&self) -> &'static [&'static str] {
        &["golang-go"]
    }

    /// `mongod`, or Go, which builds FerretDB.
    fn find(&self) -> Option<PathBuf> {
        on_path(&["mongod"])
            .or_else(|| is_built().then(binary))
            .or_else(|| on_path(&["go"]))
    }

    fn prepare(&self, program: &Path, place: &Place) -> Result<Launch> {
        let data = place.make_folder("data")?;
        let url = format!("mongodb://127.0.0.1:{}/punctual_test", place.port);
        if program.ends_with("mongod") {
            return Ok(Launch {
                arguments: vec![
                    "--dbpath".into(),
                    data.into(),
                    "--bind_ip".into(),
                    "127.0.0.1".into(),
                    "--port".into(),
                    place.port.to_string().into(),
                    "--nounixsocket".into(),
                ],
                url,
            });
        }
        Ok(Launch {
            arguments: vec![
                "-listen".into(),
                format!("127.0.0.1:{}", place.port).into(),
                "-data".into(),
                data.into(),
            ],
            url,
        })
    }

    fn build(&self, program: PathBuf) -> Result<PathBuf> {
        if !program.ends_with("go") {
            return Ok(program);
        }
        super::say("mongodb: building FerretDB; the first time takes a minute or two");
        run(Command::new(program)
            .current_dir(SOURCES)
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"])
            .args(["-tags=ferretdb_no_postgresql", "-o"])
            .arg(binary())
            .arg("."))
        .context("FerretDB could not be built: it needs Go 1.24 or newer, and the first time Go's module proxy")?;
        Ok(binary())
    }

    fn ping(&self, url: &str) -> Result<Option<String>> {
        let address = Address::parse(url, 27017)?;
        let answer = address.ask(&op_msg(&document(&[
            ("buildInfo", None),
            ("$db", Some("admin")),
        ])))?;
        if answer.get(12..16) != Some(&2013_u32.to_le_bytes()) {
            bail!("what answers does not speak MongoDB's protocol");
        }
        let Some(version) = text_field(&answer, "version") else {
            bail!(
                "it does not tell its version: {}",
                text_field(&answer, "errmsg").unwrap_or_default()
            );
        };
        Ok(Some(match text_field(&answer, "ferretdbVersion") {
            Some(_) => format!("FerretDB, as MongoDB {version}"),
            None => format!("MongoDB {version}"),
        }))
    }

    /// An embedded FerretDB does not know its version.
    fn version(&self, program: &Path) -> Option<String> {
        let (_, version) = GO_MODULE.split_once("github.com/FerretDB/FerretDB v")?;
        let version = version.split_whitespace().next()?;
        (program == binary()).then(|| format!("FerretDB {version}"))
    }
}

/// FerretDB, once it is built.
fn binary() -> PathBuf {
    crate::root().join("target/ferretdb")
}

/// Whether the binary is there and newer than what it is built from.
fn is_built() -> bool {
    let changed = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    let Some(built) = changed(&binary()) else {
        return false;
    };
    let sources =
        ["main.go", "go.mod", "go.sum"].map(|file| changed(&Path::new(SOURCES).join(file)));
    sources.iter().flatten().all(|source| *source <= built)
}

/// A BSON document; a field without a text is the number 1.
fn document(fields: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, text) in fields {
        body.push(if text.is_some() { 0x02 } else { 0x10 });
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        match text {
            Some(text) => {
                body.extend((text.len() as u32 + 1).to_le_bytes());
                body.extend_from_slice(text.as_bytes());
                body.push(0);
            }
            None => body.extend(1_u32.to_le_bytes()),
        }
    }
    let mut whole = (body.len() as u32 + 5).to_le_bytes().to_vec();
    whole.extend(body);
    whole.push(0);
    whole
}

/// A message of MongoDB's protocol with one document.
fn op_msg(document: &[u8]) -> Vec<u8> {
    let length = 16 + 4 + 1 + document.len() as u32;
    let mut message = Vec::new();
    for number in [length, 1, 0, 2013, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend_from_slice(document);
    message
}

/// The first text field of that name. A search is enough for the answer of one known command.
fn text_field(message: &[u8], name: &str) -> Option<String> {
    let head = [&[0x02], name.as_bytes(), &[0]].concat();
    let at = message
        .windows(head.len())
        .position(|window| window == head)?
        + head.len();
    let length = u32::from_le_bytes(message.get(at..at + 4)?.try_into().ok()?) as usize;
    let text = message.get(at + 4..at + 4 + length.checked_sub(1)?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}
