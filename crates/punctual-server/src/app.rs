//! The router: one entry, through which every request goes in the same order.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header, request::Parts};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use punctual_core::scheduler::Scheduler;
use serde_json::Value;

use crate::auth::Auth;
use crate::guard::{self, Hosts};
use crate::handlers;
use crate::problem::{Answer, Problem};
use crate::route;

/// How long a client may take to send a body.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// How the API is served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The path before every endpoint but `/healthz`, `/readyz` and `/openapi.json`. Default `/scheduler`.
    pub prefix: String,
    /// Who may use it.
    pub auth: Auth,
    /// Which hosts a request may name. Default any.
    pub hosts: Hosts,
    /// The longest body, in bytes. Default 1 MiB.
    pub body_bytes_max: usize,
    /// The name of this machine, for `GET /scheduler`.
    pub host_name: String,
}

impl ServerOptions {
    /// The defaults, for these users.
    pub fn new(auth: Auth) -> Self {
        Self {
            prefix: "/scheduler".to_owned(),
            auth,
            hosts: Hosts::default(),
            body_bytes_max: 1 << 20,
            host_name: host_name(),
        }
    }
}

#[cfg(unix)]
fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "localhost".to_owned())
}

/// What handlers work with.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) scheduler: Scheduler,
    pub(crate) options: ServerOptions,
}

/// The API of a scheduler, to be served or mounted.
///
/// It answers every path that reaches it: mount it with `nest`, or as the last one with `merge` or `fallback_service`.
///
/// ```
/// use punctual_core::runtime::TokioRuntime;
/// use punctual_core::scheduler::Scheduler;
/// use punctual_server::{Auth, ServerOptions, router};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let runtime = TokioRuntime::current();
/// let scheduler = Scheduler::builder().build(std::sync::Arc::new(runtime)).await?;
/// let app: axum::Router = router(scheduler, ServerOptions::new(Auth::Open));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn router(scheduler: Scheduler, options: ServerOptions) -> Router {
    let app = Arc::new(App { scheduler, options });
    Router::new().fallback(entry).with_state(app)
}

async fn entry(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = AssertUnwindSafe(app.answer(&parts, body))
        .catch_unwind()
        .await;
    let answer = answer.unwrap_or_else(|_| {
        tracing::error!(method = %parts.method, "a handler panicked");
        Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server made a mistake; its log says more",
        ))
    });
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    guard::harden(response.headers_mut());
    tracing::debug!(
        method = %parts.method,
        path = parts.uri.path(),
        status = response.status().as_u16(),
        "answered"
    );
    response
}

impl App {
    async fn answer(&self, parts: &Parts, body: Body) -> Answer {
        guard::check_host(&self.options.hosts, &parts.headers)?;
        let path = parts.uri.path();
        if let Some(open) = handlers::health::find(path) {
            if !matches!(parts.method, Method::GET | Method::HEAD) {
                let detail = format!("{} is not possible here; GET is", parts.method);
                return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
                    .header(header::ALLOW, "GET, HEAD"));
            }
            return Ok(open(self));
        }
        if let Auth::Tokens(tokens) = &self.options.auth {
            let credentials = tokens.check(&parts.headers).await?;
            guard::check_site(&parts.method, &parts.headers, credentials)?;
        }
        let below = path
            .strip_prefix(self.options.prefix.as_str())
            .filter(|below| below.is_empty() || below.starts_with('/'))
            .unwrap_or("/?");
        let endpoint = route::find(&parts.method, below)?;
        let request = Asked {
            uri: &parts.uri,
            body: self.read_body(body).await?,
        };
        handlers::answer(self, endpoint, request).await
    }

    async fn read_body(&self, body: Body) -> Answer<Bytes> {
        let max = self.options.body_bytes_max;
        match tokio::time::timeout(BODY_WAIT, to_bytes(body, max)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if is_too_long(&error) => Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is longer than {max} bytes"),
            )),
            Ok(Err(_)) => Err(Problem::malformed("the body ended too early")),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            )),
        }
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// The rest of a request, once it is known what it asks for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) uri: &'a Uri,
    body: Bytes,
}

impl Asked<'_> {
    /// The body as JSON, whatever its content type says: Flask-APScheduler's clients do not always send one.
    pub(crate) fn json(&self) -> Answer<Value> {
        if self.body.is_empty() {
            return Err(Problem::malformed(
                "the body is empty; it takes a JSON object",
            ));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))
    }

    /// The same, where nothing is an empty object.
    pub(crate) fn json_or_nothing(&self) -> Answer<Value> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        self.json()
    }
}
