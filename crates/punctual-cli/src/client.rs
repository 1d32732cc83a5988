//! Talking to a server.
#![expect(clippy::doc_markdown, reason = "help texts are read as they are")]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use clap::Args;
use punctual_server::Secret;
use punctual_server::client::{ClientError, Outgoing, Policy, Target, send};
use serde_json::Value;

use crate::exit::{Code, Failure, Outcome};
use crate::{settings, token};

/// The most that is read of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Which server, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerFlags {
    /// The server; with a path where its API has another prefix than /scheduler [default: http://127.0.0.1:8377]
    #[arg(long, value_name = "URL", env = "PUNCTUAL_SERVER")]
    server: Option<String>,
    /// A file with the token [default: PUNCTUAL_TOKEN, then the file that a local server left]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Answer with the server's JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A server with a token for it.
#[derive(Debug)]
pub(crate) struct Client {
    base: String,
    token: Option<Secret>,
}

impl Client {
    /// Finds server and token.
    pub(crate) fn new(flags: &ServerFlags) -> Outcome<Self> {
        let default = format!("http://{}", settings::DEFAULT_LISTEN);
        let server = flags
            .server
            .as_deref()
            .filter(|server| !server.is_empty())
            .unwrap_or(&default);
        let trimmed = server.trim_end_matches('/');
        let target =
            Target::parse(trimmed).map_err(|error| Failure::usage(format!("--server: {error}")))?;
        let has_path = trimmed
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('/'));
        let base = if has_path {
            trimmed.to_owned()
        } else {
            format!("{trimmed}/scheduler")
        };
        let token = match &flags.token_file {
            Some(path) => Some(token::read(path)?),
            None => token::from_environment()?.or_else(|| local_token(&target)),
        };
        Ok(Self { base, token })
    }

    /// Sends a request and returns the JSON of the answer; null where there is none.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Outcome<Value> {
        let target = Target::parse(&format!("{}{path}", self.base)).map_err(Failure::usage)?;
        let mut outgoing = Outgoing::new(method, target);
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
                .map_err(|_| Failure::usage("the token has characters that no header takes"))?;
            value.set_sensitive(true);
            outgoing.headers.push((header::AUTHORIZATION, value));
        }
        if let Some(body) = body {
            let json = HeaderValue::from_static("application/json");
            outgoing
                .headers
                .push((HeaderName::from_static("content-type"), json));
            outgoing.body = body.to_string().into_bytes();
        }
        let answer = send(outgoing, Policy::Anywhere, ANSWER_BYTES_MAX)
            .await
            .map_err(|error| self.unreachable(&error))?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let body = serde_json::from_slice(&answer.body);
        if answer.status.is_success() {
            return body.map_err(|error| {
                Failure::plain(format!("{} did not answer with JSON: {error}", self.base))
            });
        }
        Err(refused(answer.status, &body.unwrap_or_default()))
    }

    fn unreachable(&self, error: &ClientError) -> Failure {
        let failure = Failure::new(Code::Unreachable, error);
        if error.is_unreachable() {
            return failure.hint(format!(
                "is a server at {}? start one with `punctual serve`, or name it with --server",
                self.base.trim_end_matches("/scheduler")
            ));
        }
        failure
    }
}

/// The token that a server on this machine left in a file. It goes to no other machine.
fn local_token(target: &Target) -> Option<Secret> {
    let host = target.host();
    let address: IpAddr = if host.eq_ignore_ascii_case("localhost") {
        IpAddr::from([127, 0, 0, 1])
    } else {
        host.parse().ok()?
    };
    if !address.is_loopback() {
        return None;
    }
    token::of_local_server(SocketAddr::new(address, target.port()))
}

fn refused(status: StatusCode, problem: &Value) -> Failure {
    let detail = problem["detail"].as_str();
    let detail = detail.map_or_else(
        || format!("the server answered {status}"),
        crate::table::harmless,
    );
    let code = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Code::Unauthorised,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::Conflict,
        status if status.is_client_error() => Code::Invalid,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unreachable,
        _ => Code::Failure,
    };
    let failure = Failure::new(code, detail);
    match (code, problem["field"].as_str()) {
        (Code::Unauthorised, _) => failure.hint(
            "give the token that the server showed on its first start: --token-file, or PUNCTUAL_TOKEN",
        ),
        (Code::NotFound, _) => failure.hint("`punctual list` shows the jobs, `punctual runs` the runs"),
        (Code::Conflict, Some("id")) => failure.hint("`punctual add --replace` puts this job in its place"),
        _ => failure,
    }
}
