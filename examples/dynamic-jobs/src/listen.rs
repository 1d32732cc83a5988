//! The port, which several processes may share.

use std::net::SocketAddr;

use anyhow::{Context, anyhow};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// How many connections may wait to be taken.
const BACKLOG: i32 = 1024;

/// A port that is ours, and not open yet.
#[derive(Debug)]
pub(crate) struct Port {
    socket: Socket,
    address: SocketAddr,
    is_shared: bool,
}

impl Port {
    /// Takes a port. Where `is_shared`, other processes of the same user may take it too (`SO_REUSEPORT`), and the system
    /// deals the connections out among them: to be asked for only where all of them answer from one store.
    pub(crate) fn bind(address: SocketAddr, is_shared: bool) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
            .context("no socket can be made")?;
        #[cfg(unix)]
        {
            // The port of a process that has just ended may be taken at once.
            socket.set_reuse_address(true)?;
            // With port 0 everybody gets a port of their own.
            socket.set_reuse_port(is_shared && address.port() != 0)?;
        }
        #[cfg(not(unix))]
        let _ = is_shared;
        socket.set_nonblocking(true)?;
        socket
            .bind(&address.into())
            .map_err(|error| explain(address, is_shared, &error))?;
        let address = socket
            .local_addr()?
            .as_socket()
            .context("the address is unknown")?;
        Ok(Self {
            socket,
            address,
            is_shared,
        })
    }

    /// The address, with the port that was found where 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens it.
    pub(crate) fn listen(self) -> anyhow::Result<TcpListener> {
        let Self {
            socket,
            address,
            is_shared,
        } = self;
        // Where two bound it before either was open, the second finds out here.
        socket
            .listen(BACKLOG)
            .map_err(|error| explain(address, is_shared, &error))?;
        Ok(TcpListener::from_std(socket.into())?)
    }
}

fn explain(address: SocketAddr, is_shared: bool, error: &std::io::Error) -> anyhow::Error {
    if error.kind() != std::io::ErrorKind::AddrInUse {
        return anyhow!("cannot listen on {address}: {error}");
    }
    let advice = if is_shared {
        "another program uses that port, or this one with jobs in memory"
    } else {
        "another process uses that port, and jobs in memory cannot be shared with it: give all processes one --store, \
         such as sqlite:dynamic-jobs.db"
    };
    anyhow!(
        "cannot listen on {address}: {error}; {advice}; or choose another port with --listen, or 0 for any"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_shared_only_where_the_jobs_are() {
        let open = |address, is_shared| Port::bind(address, is_shared)?.listen();
        let free = Port::bind("127.0.0.1:0".parse().unwrap(), true).unwrap();
        let address = free.address();
        drop(free);

        let shared = open(address, true).unwrap();
        let second = open(address, true);
        assert_eq!(second.is_ok(), cfg!(unix));
        let error = format!("{:#}", open(address, false).unwrap_err());
        assert!(error.contains("jobs in memory cannot be shared"), "{error}");
        drop((shared, second));

        let early = Port::bind(address, false).unwrap();
        let alone = open(address, false);
        let late = early.listen();
        assert!(alone.is_err() || late.is_err());
        let error = format!("{:#}", open(address, true).unwrap_err());
        assert!(error.contains("choose another port"), "{error}");
    }
}
