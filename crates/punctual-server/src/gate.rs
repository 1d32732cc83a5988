//! What answers before there is a scheduler: a server whose job store is away listens, and says so.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tower::ServiceExt;

use crate::guard::{self, Hosts};
use crate::problem::{Problem, json_response, ok};

/// A router that can be served before the scheduler exists. Until it is [opened](Self::open), `/healthz` is well,
/// `/readyz` answers 503 with the reason, and everything else 503 with `Retry-After`; from then on the given router
/// answers. Cheap to clone; all clones are one gate.
///
/// ```
/// use std::time::Duration;
/// use punctual_server::{Gate, Hosts};
///
/// let gate = Gate::new(Hosts::Loopback, "the job store is being opened");
/// let app: axum::Router = gate.router();
/// // … axum::serve(listener, app) …
/// gate.waits("the job store is unavailable", Duration::from_secs(4));
/// // … and once there is a scheduler:
/// # let api = axum::Router::new();
/// gate.open(api);
/// ```
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hosts: Hosts,
    waits: Mutex<Waits>,
    open: OnceLock<Router>,
}

#[derive(Clone, Debug)]
struct Waits {
    reason: String,
    retry_after: Duration,
}

impl Gate {
    /// A closed gate. `hosts` are those that a request may name, as in [`ServerOptions`](crate::ServerOptions); anybody may
    /// read the `reason`, so it names no more than what is waited for.
    pub fn new(hosts: Hosts, reason: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            hosts,
            waits: Mutex::new(Waits {
                reason: reason.into(),
                retry_after: Duration::from_secs(1),
            }),
            open: OnceLock::new(),
        }))
    }

    /// What to serve.
    pub fn router(&self) -> Router {
        Router::new().fallback(entry).with_state(self.clone())
    }

    /// Says why it is closed, and after how long asking again makes sense; in `Retry-After` that is whole seconds, at least
    /// one.
    pub fn waits(&self, reason: impl Into<String>, retry_after: Duration) {
        let waits = Waits {
            reason: reason.into(),
            retry_after,
        };
        *self.0.waits.lock().unwrap_or_else(PoisonError::into_inner) = waits;
    }

    /// Lets requests through to `router` from now on. Another one later changes nothing.
    pub fn open(&self, router: Router) {
        let _ = self.0.open.set(router);
    }

    fn closed(&self, request: &Request) -> Response {
        if let Err(problem) = guard::check_host(&self.0.hosts, request.headers()) {
            return problem.into_response();
        }
        let waits = self.0.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let Waits {
            reason,
            retry_after,
        } = waits.clone();
        drop(waits);
        let is_look = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz" if is_look => ok(&json!({ "status": "ok" })),
            "/readyz" if is_look => {
                let body = json!({
                    "ready": false,
                    "scheduler": "starting",
                    "jobstores": [{ "jobstore": "default", "ready": false }],
                    "reason": reason,
                });
                json_response(StatusCode::SERVICE_UNAVAILABLE, &body)
            }
            _ => {
                let seconds = retry_after.as_secs_f64().ceil().max(1.0) as u64;
                Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("the server is starting: {reason}"),
                )
                .header(header::RETRY_AFTER, &seconds.to_string())
                .into_response()
            }
        }
    }
}

async fn entry(State(gate): State<Gate>, request: Request) -> Response {
    if let Some(open) = gate.0.open.get() {
        let Ok(response) = open.clone().oneshot(request).await;
        return response;
    }
    let mut response = gate.closed(&request);
    guard::harden(response.headers_mut());
    response
}
