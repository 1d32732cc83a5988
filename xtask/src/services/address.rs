//! The address of a server, as far as asking it for a sign of life needs it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long a server may take to accept a connection, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The parts of `scheme://user:password@host:port/database`.
pub(super) struct Address {
    scheme: String,
    pub(super) user: String,
    pub(super) password: String,
    host: String,
    port: u16,
    pub(super) database: String,
}

impl Address {
    /// Reads a URL; of several hosts, the first. No error text repeats the URL: it may hold a password.
    pub(super) fn parse(url: &str, default_port: u16) -> Result<Self> {
        let (scheme, rest) = url
            .split_once("://")
            .context("no URL: expected scheme://user:password@host:port/database")?;
        let (authority, path) = match rest.find(['/', '?']) {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        let (account, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = account.split_once(':').unwrap_or((account, ""));
        let host = hosts.split(',').next().unwrap_or_default();
        let (host, port) = match host.rsplit_once(':') {
            // A colon inside brackets belongs to an IPv6 address.
            Some((host, port)) if !port.ends_with(']') => (
                host,
                port.parse()
                    .with_context(|| format!("the port {port:?} is no number up to 65535"))?,
            ),
            _ => (host, default_port),
        };
        let database = path.trim_start_matches('/');
        let database = database.split('?').next().unwrap_or_default();
        Ok(Self {
            scheme: scheme.to_owned(),
            user: percent_decoded(user),
            password: percent_decoded(password),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            database: percent_decoded(database),
        })
    }

    /// Whether the connection begins with TLS, behind which nothing can be asked from here.
    pub(super) fn is_tls(&self) -> bool {
        self.scheme == "rediss"
    }

    /// A connection with deadlines on both directions.
    pub(super) fn connect(&self) -> Result<TcpStream> {
        let place = format!("{}:{}", self.host, self.port);
        let mut error = None;
        for address in (self.host.as_str(), self.port)
            .to_socket_addrs()
            .with_context(|| format!("{place} cannot be resolved"))?
        {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return Ok(stream);
                }
                Err(refused) => error = Some(refused),
            }
        }
        match error {
            Some(error) => Err(error).with_context(|| format!("nobody answers at {place}")),
            None => bail!("{place} has no address"),
        }
    }

    /// Sends `request` and returns what comes back at first, up to 16 KiB.
    pub(super) fn ask(&self, request: &[u8]) -> Result<Vec<u8>> {
        let mut stream = self.connect()?;
        stream.write_all(request)?;
        first_answer(&mut stream)
    }
}

/// The first bytes that arrive, up to 16 KiB.
pub(super) fn first_answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut answer = vec![0; 16 * 1024];
    let length = stream
        .read(&mut answer)
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs())
            }
            _ => error.into(),
        })?;
    if length == 0 {
        bail!("the connection was closed without an answer");
    }
    answer.truncate(length);
    Ok(answer)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(hex.unwrap_or(first));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[track_caller]
    fn check(url: &str, expected: [&str; 5]) {
        let address = Address::parse(url, 1234).unwrap();
        let port = address.port.to_string();
        let found = [
            &address.user,
            &address.password,
            &address.host,
            &port,
            &address.database,
        ];
        assert_eq!(found, expected, "{url}");
    }

    #[test]
    fn reads_every_part() {
        check("redis://localhost", ["", "", "localhost", "1234", ""]);
        check("redis://:pw@[::1]:6379/0", ["", "pw", "::1", "6379", "0"]);
        check("redis://[::1]", ["", "", "::1", "1234", ""]);
        check(
            "postgres://ann:a%40b%3A@db:5432/jobs?sslmode=require",
            ["ann", "a@b:", "db", "5432", "jobs"],
        );
        check(
            "mongodb://one:1,two:2/?replicaSet=r",
            ["", "", "one", "1", ""],
        );
    }

    #[test]
    fn an_error_keeps_the_password_to_itself() {
        for url in ["me:secret@host", "redis://me:secret@host:99999"] {
            let error = Address::parse(url, 1).err().unwrap();
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
