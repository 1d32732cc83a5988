//! Every error that the API answers: problem+json (RFC 9457), with a field path, and Flask-APScheduler's `error_message`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use punctual_core::scheduler::Error;
use serde_json::{Map, Value, json};

/// Why a request was not answered as asked.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    field: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a handler returns.
pub(crate) type Answer<T = Response> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            field: None,
            headers: Vec::new(),
        }
    }

    /// The body is no JSON, or the request is otherwise not to be understood.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Understood, but a value does not fit.
    pub(crate) fn invalid(field: impl Into<String>, message: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self {
            detail: format!("{field}: {message}"),
            field: Some(field),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "")
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Invalid { .. }
            | Error::NeverRuns { .. }
            | Error::UnknownTask { .. }
            | Error::UnknownExecutor { .. }
            | Error::UnknownJobStore { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Exists { .. }
            | Error::Conflict { .. }
            | Error::Unreadable { .. }
            | Error::AliasTaken { .. }
            | Error::ShuttingDown => StatusCode::CONFLICT,
            Error::NoSuchJob { .. } | Error::NoSuchRun { .. } => StatusCode::NOT_FOUND,
            // As Flask-APScheduler has it.
            Error::AlreadyRunning | Error::NotRunning => StatusCode::BAD_REQUEST,
            error if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(%error, "a request could not be answered");
        }
        let problem = Self::new(status, error.to_string());
        match error.field() {
            Some(field) => problem.field(field),
            None => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("type".to_owned(), "about:blank".into());
        let title = self.status.canonical_reason().unwrap_or("Error");
        body.insert("title".to_owned(), title.into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("detail".to_owned(), self.detail.as_str().into());
        if let Some(field) = self.field {
            body.insert("field".to_owned(), field.into());
        }
        body.insert("error_message".to_owned(), self.detail.into());
        let mut response = json_response(self.status, &Value::Object(body));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::SERVICE_UNAVAILABLE
            && !self
                .headers
                .iter()
                .any(|(name, _)| name == header::RETRY_AFTER)
        {
            // By then a store that is back has been asked again.
            let seconds = HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// A JSON body with a status.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (status, headers, body.to_string()).into_response()
}

/// 200 with a JSON body.
pub(crate) fn ok(body: &Value) -> Response {
    json_response(StatusCode::OK, body)
}

/// A list with its continuation.
pub(crate) fn page(items: &[Value], next_cursor: Option<&str>) -> Response {
    ok(&json!({ "items": items, "next_cursor": next_cursor }))
}
