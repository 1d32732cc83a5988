//! An HTTP client that sends one request over one connection, once: nothing is ever repeated behind the caller's back.
//!
//! The host is resolved once, each address is judged, and the connection goes to one that passed; a name that
//! resolves to something else a moment later changes nothing.

mod address;
mod target;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) use self::address::is_public;
pub use self::target::{Target, TargetError};

/// Where requests may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everywhere.
    Anywhere,
    /// Not to loopback, private, link-local and other addresses that are not of the public Internet.
    PublicOnly,
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address of a redirect is none.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The host has no address.
    #[error("{host} cannot be resolved: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The host has no address that may be reached.
    #[error(
        "{host} is at {address}, which is not a public address; start the server with --allow-private-http to allow it"
    )]
    Refused {
        /// The host.
        host: String,
        /// One of its addresses.
        address: SocketAddr,
    },
    /// Nobody answers there.
    #[error("{host} cannot be reached: {source}")]
    Connect {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("no answer from {host}: {source}")]
    Exchange {
        /// The host.
        host: String,
        /// Why.
        source: hyper::Error,
    },
}

impl ClientError {
    /// Whether nothing was sent, for nobody is there.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Resolve { .. } | Self::Connect { .. })
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Where to.
    pub target: Target,
    /// Headers beside `Host`, `Content-Length` and `User-Agent`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Outgoing {
    /// A request without headers and body.
    pub fn new(method: Method, target: Target) -> Self {
        Self {
            method,
            target,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

/// A response.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or its beginning.
    pub body: Vec<u8>,
    /// Whether there was more of it.
    pub truncated: bool,
}

/// Sends a request and reads at most `body_bytes_max` of the answer. Dropping the future closes the connection.
pub async fn send(
    outgoing: Outgoing,
    policy: Policy,
    body_bytes_max: usize,
) -> Result<Incoming, ClientError> {
    let host = outgoing.target.host().to_owned();
    let tcp = connect(&outgoing.target, policy).await?;
    if outgoing.target.is_https() {
        let failed = |source| ClientError::Connect {
            host: host.clone(),
            source,
        };
        let name =
            ServerName::try_from(host.clone()).map_err(|error| failed(io::Error::other(error)))?;
        let tls = TlsConnector::from(tls_config())
            .connect(name, tcp)
            .await
            .map_err(failed)?;
        exchange(tls, outgoing, body_bytes_max).await
    } else {
        exchange(tcp, outgoing, body_bytes_max).await
    }
    .map_err(|source| ClientError::Exchange { host, source })
}

async fn connect(target: &Target, policy: Policy) -> Result<TcpStream, ClientError> {
    let host = || target.host().to_owned();
    let found = tokio::net::lookup_host((target.host(), target.port()))
        .await
        .map_err(|source| ClientError::Resolve {
            host: host(),
            source,
        })?;
    let found: Vec<SocketAddr> = found.collect();
    let allowed: Vec<SocketAddr> = found
        .iter()
        .copied()
        .filter(|address| policy == Policy::Anywhere || is_public(address.ip()))
        .collect();
    if let (Some(&address), true) = (found.first(), allowed.is_empty()) {
        return Err(ClientError::Refused {
            host: host(),
            address,
        });
    }
    let mut last = io::Error::other("it has no address");
    for address in allowed {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(ClientError::Connect {
        host: host(),
        source: last,
    })
}

/// The roots of the host, read once.
fn tls_config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    });
    Arc::clone(config)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    outgoing: Outgoing,
    body_bytes_max: usize,
) -> Result<Incoming, hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let Outgoing {
        method,
        target,
        headers,
        body,
    } = outgoing;
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = target.path();
    request.headers_mut().insert(HOST, target.authority());
    let agent = concat!("punctual/", env!("CARGO_PKG_VERSION"));
    request
        .headers_mut()
        .insert(USER_AGENT, HeaderValue::from_static(agent));
    for (name, value) in headers {
        request.headers_mut().insert(name, value);
    }
    let answer = async move {
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let (body, truncated) = read(body, body_bytes_max).await?;
        Ok(Incoming {
            status: parts.status,
            headers: parts.headers,
            body,
            truncated,
        })
    };
    // Both in one future, so that dropping it leaves no connection behind.
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    }
}

async fn read(
    mut body: hyper::body::Incoming,
    max: usize,
) -> Result<(Vec<u8>, bool), hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = max - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((bytes, true));
            }
        }
    }
    Ok((bytes, false))
}
