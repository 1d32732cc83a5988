//! Redis or Valkey.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::address::Address;
use super::server::{Launch, Place, Server, on_path};

pub(super) struct Redis;

impl Server for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["redis-server"]
    }

    fn find(&self) -> Option<PathBuf> {
        on_path(&["redis-server", "valkey-server"])
    }

    fn prepare(&self, _program: &Path, place: &Place) -> Result<Launch> {
        let data = place.make_folder("data")?;
        // In a file, not in arguments, which every user of the machine can read.
        let settings = place.write(
            "redis.conf",
            &format!(
                "bind 127.0.0.1\n\
                 port {}\n\
                 dir \"{}\"\n\
                 requirepass \"{}\"\n\
                 daemonize no\n\
                 maxmemory-policy noeviction\n\
                 appendonly yes\n\
                 appendfsync everysec\n\
                 save \"\"\n",
                place.port,
                data.display(),
                place.password,
            ),
        )?;
        Ok(Launch {
            arguments: vec![settings.into()],
            url: format!("redis://{}/0", place.account("default")),
        })
    }

    fn ping(&self, url: &str) -> Result<Option<String>> {
        let address = Address::parse(url, 6379)?;
        if address.is_tls() {
            return address.connect().map(|_| None);
        }
        let mut request = Vec::new();
        if !address.password.is_empty() {
            let account = [&address.user, &address.password];
            let account = account.into_iter().filter(|part| !part.is_empty());
            request.extend(command(
                std::iter::once("AUTH").chain(account.map(String::as_str)),
            ));
        }
        request.extend(command(["INFO", "server"].into_iter()));
        let answer = address.ask(&request)?;
        let answer = String::from_utf8_lossy(&answer);
        if let Some(error) = answer.lines().find_map(|line| line.strip_prefix('-')) {
            bail!("it answers: {error}");
        }
        let field = |name| answer.lines().find_map(|line| line.strip_prefix(name));
        let Some(version) = field("redis_version:") else {
            bail!("what answers does not speak Redis's protocol");
        };
        Ok(Some(match field("valkey_version:") {
            Some(valkey) => format!("Valkey {valkey}"),
            None => format!("Redis {version}"),
        }))
    }
}

/// A command in Redis's protocol.
fn command<'a>(words: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let words: Vec<&str> = words.collect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}
