//! Every error that the service answers: JSON with `msg`, and `status` for the views that have one.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::HeaderValue};
use punctual::scheduler::Error;
use serde_json::json;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) msg: String,
}

/// What a view returns.
pub(crate) type Answer<T = Response> = Result<T, Refusal>;

impl Refusal {
    pub(crate) fn new(status: StatusCode, msg: impl Into<String>) -> Self {
        Self {
            status,
            msg: msg.into(),
        }
    }

    /// A value that does not fit its field.
    pub(crate) fn field(field: &str, why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{field}: {why}"))
    }

    /// Nobody has such a job.
    pub(crate) fn no_job(task_id: &str) -> Self {
        let msg = format!("there is no job {task_id:?}; GET /jobs lists those there are");
        Self::new(StatusCode::NOT_FOUND, msg)
    }

    /// The application's own database does not do its part.
    pub(crate) fn database(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "the application's database cannot be used");
        let msg = format!("the application's database cannot be used: {error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, msg)
    }

    /// The service itself failed.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a request could not be answered");
        let msg = "the service made a mistake; its log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, msg)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NoSuchJob { id } => return Self::no_job(id.as_str()),
            Error::Invalid { .. } | Error::NeverRuns { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Conflict { .. } | Error::Unreadable { .. } => StatusCode::CONFLICT,
            error if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            error => return Self::internal(error),
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({ "status": false, "msg": self.msg }));
        let mut response = (self.status, body).into_response();
        let header = match self.status {
            // By then a store that is back has been asked again.
            StatusCode::SERVICE_UNAVAILABLE => (header::RETRY_AFTER, "5"),
            StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer"),
            _ => return response,
        };
        let (name, value) = header;
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        response
    }
}
