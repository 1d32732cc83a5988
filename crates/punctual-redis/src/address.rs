//! Where the server is.

use std::fmt;
use std::time::Duration;

use punctual_core::store::StoreError;
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// An address that was understood. Prints without its password.
pub(crate) struct Address {
    client: Client,
    pub(crate) database: i64,
    shown: String,
}

impl Address {
    pub(crate) fn parse(url: &str, timeout: Duration) -> Result<Self, StoreError> {
        let info: ConnectionInfo = url.into_connection_info().map_err(|error| refuse(&error))?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            // The client takes the one of the process. Where the program has chosen, that stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let database = info.redis_settings().db();
        let shown = format!("{}/{database}", info.addr());
        let settings = TcpSettings::default().set_nodelay(true);
        #[cfg(target_os = "linux")]
        let settings = settings.set_user_timeout(timeout);
        #[cfg(not(target_os = "linux"))]
        let _ = timeout;
        let client =
            Client::open(info.set_tcp_settings(settings)).map_err(|error| refuse(&error))?;
        Ok(Self {
            client,
            database,
            shown,
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// The client's words only, never the address: it may hold a password.
fn refuse(error: &redis::RedisError) -> StoreError {
    StoreError::failed(format!(
        "the address of the Redis server makes no sense ({}); it looks like redis://user:password@host:6379/0, or \
         rediss:// for TLS, with reserved characters of the password percent-encoded",
        error.category()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        let address = Address::parse(
            "redis://ann:se%40cret@localhost:7000/3",
            Duration::from_secs(1),
        )
        .unwrap();
        assert_eq!(address.to_string(), "localhost:7000/3");
        assert_eq!(address.database, 3);
        assert!(!format!("{address:?}").contains("cret"));
        for bad in [
            "redis://ann:secret@localhost/x",
            "postgres://ann:secret@localhost",
            "secret",
            "",
            "redis://:secret@",
        ] {
            let error = Address::parse(bad, Duration::from_secs(1)).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(error.to_string().contains("redis://"), "{error}");
        }
    }
}
