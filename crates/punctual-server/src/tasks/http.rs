//! `http`: sends one request, once.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, StatusCode, Uri};
use punctual_core::output::OUTPUT_BYTES;
use punctual_core::task::{Args, RunContext, State, TaskEnd};
use serde::Deserialize;
use serde_json::{Number, Value};
use tokio::time::timeout;

use crate::client::{self, Outgoing, Policy, Target};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How many redirects are followed.
const REDIRECTS_MAX: usize = 5;
/// How much of a response is read: what the ledger keeps, head and tail.
const RESPONSE_BYTES_MAX: usize = 2 * OUTPUT_BYTES;

/// How far requests may reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Loopback, private and link-local addresses too.
    pub(crate) private: bool,
}

/// The arguments of `http`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Given")]
pub(crate) struct HttpArgs {
    method: Method,
    target: Target,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
    expected: Expected,
    timeout: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    expected_status: Option<Value>,
    #[serde(default)]
    timeout: Option<Number>,
}

/// Headers that are ours to set.
const OWN_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "idempotency-key",
    "punctual-fence",
];

impl TryFrom<Given> for HttpArgs {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        let method = given.method.as_deref().unwrap_or("GET").to_uppercase();
        let method = Method::from_bytes(method.as_bytes())
            .ok()
            .filter(|method| *method != Method::CONNECT)
            .ok_or_else(|| format!("method {method:?} is not one such as GET or POST"))?;
        let uri: Uri = given
            .url
            .parse()
            .map_err(|error| format!("url {:?} is not a URL: {error}", given.url))?;
        let mut headers = Vec::new();
        for (name, value) in given.headers {
            if OWN_HEADERS.contains(&name.to_lowercase().as_str()) {
                return Err(format!(
                    "headers: {name} is set by the server; leave it out"
                ));
            }
            let parsed = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("headers: {name:?} is not the name of a header"))?;
            // The value may be a secret: it is not repeated.
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                format!("headers: the value of {name} has characters that no header takes")
            })?;
            value.set_sensitive(true);
            headers.push((parsed, value));
        }
        let body = match given.body {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => text.into_bytes(),
            Some(json) => {
                if !headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
                    headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
                }
                json.to_string().into_bytes()
            }
        };
        Ok(Self {
            method,
            target: Target::new(uri).map_err(|error| format!("url: {error}"))?,
            headers,
            body,
            expected: Expected::read(given.expected_status)?,
            timeout: match &given.timeout {
                Some(number) => super::timeout(number)?,
                None => TIMEOUT_DEFAULT,
            },
        })
    }
}

/// Which status is success: one in these ranges, inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected(Vec<(u16, u16)>);

impl Expected {
    fn read(value: Option<Value>) -> Result<Self, String> {
        let ranges = match value {
            None | Some(Value::Null) => vec![(200, 299)],
            Some(Value::Array(list)) if !list.is_empty() => {
                list.iter().map(range).collect::<Result<_, _>>()?
            }
            Some(one) => vec![range(&one)?],
        };
        Ok(Self(ranges))
    }

    fn holds(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        self.0
            .iter()
            .any(|&(from, to)| (from..=to).contains(&status))
    }
}

fn range(value: &Value) -> Result<(u16, u16), String> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.as_bytes() {
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                let from = u16::from(class - b'0') * 100;
                return Ok((from, from + 99));
            }
            _ => text.parse().ok(),
        },
        _ => None,
    };
    let number = number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| (100..=599).contains(number))
        .ok_or_else(|| {
            format!(
                "expected_status: {value} is not a status; write 200, \"2xx\" or a list of them"
            )
        })?;
    Ok((number, number))
}

pub(crate) async fn run(
    Args(args): Args<HttpArgs>,
    reach: State<Reach>,
    context: RunContext,
) -> TaskEnd {
    let policy = if reach.private {
        Policy::Anywhere
    } else {
        Policy::PublicOnly
    };
    let limit = args.timeout;
    tokio::select! {
        answered = timeout(limit, exchange(args, policy, &context)) => match answered {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => TaskEnd::Failed(error.to_string()),
            Err(_) => TaskEnd::TimedOut(format!("no complete answer within {} s", limit.as_secs_f64())),
        },
        () = context.cancel_token().cancelled() => TaskEnd::Failed("stopped, as it was asked to".to_owned()),
    }
}

async fn exchange(
    args: HttpArgs,
    policy: Policy,
    context: &RunContext,
) -> Result<TaskEnd, client::ClientError> {
    let HttpArgs {
        mut method,
        mut target,
        mut headers,
        mut body,
        expected,
        ..
    } = args;
    let mut own = vec![
        ("idempotency-key", context.idempotency_key()),
        ("punctual-fence", context.run().fence.to_string()),
    ];
    for _ in 0..=REDIRECTS_MAX {
        let mut outgoing = Outgoing::new(method.clone(), target.clone());
        outgoing.headers.clone_from(&headers);
        for (name, value) in &own {
            if let Ok(value) = HeaderValue::from_str(value) {
                outgoing
                    .headers
                    .push((HeaderName::from_static(name), value));
            }
        }
        outgoing.body.clone_from(&body);
        let answer = client::send(outgoing, policy, RESPONSE_BYTES_MAX).await?;
        let status = answer.status;
        let next = answer
            .headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        // A redirect that the job expects is an answer.
        let Some(location) = next.filter(|_| status.is_redirection() && !expected.holds(status))
        else {
            return Ok(conclude(&answer, &expected, context));
        };
        let safe = matches!(method, Method::GET | Method::HEAD);
        if !safe && status != StatusCode::SEE_OTHER {
            return Ok(TaskEnd::Failed(format!(
                "status {status}: it redirects to {location}, and a {method} is not sent twice; give that address"
            )));
        }
        if !safe {
            method = Method::GET;
            body.clear();
            headers.retain(|(name, _)| name != CONTENT_TYPE);
        }
        let followed = target.join(location)?;
        if !followed.same_origin(&target) {
            // Secrets for one server are nothing for another.
            headers.clear();
            own.clear();
        }
        target = followed;
    }
    Ok(TaskEnd::Failed(format!(
        "more than {REDIRECTS_MAX} redirects"
    )))
}

fn conclude(answer: &client::Incoming, expected: &Expected, context: &RunContext) -> TaskEnd {
    context.output().write(&answer.body);
    if answer.truncated {
        context.log("\n[... the rest of the response was not read ...]");
    }
    if expected.holds(answer.status) {
        TaskEnd::Succeeded
    } else {
        TaskEnd::Failed(format!("status {}", answer.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_are_checked_when_the_job_is_added() {
        let check = |value: Value| HttpArgs::deserialize(value).map_err(|error| error.to_string());
        assert!(check(json!({"url": "http://example.com/"})).is_ok());
        for (value, word) in [
            (json!({}), "missing field `url`"),
            (json!({"url": "ftp://example.com"}), "http"),
            (json!({"url": "/path"}), "http"),
            (
                json!({"url": "http://user:pw@example.com/"}),
                "Authorization",
            ),
            (
                json!({"url": "http://x/", "methd": "GET"}),
                "unknown field `methd`",
            ),
            (json!({"url": "http://x/", "method": "G T"}), "method"),
            (json!({"url": "http://x/", "timeout": 0}), "above 0"),
            (
                json!({"url": "http://x/", "expected_status": 42}),
                "not a status",
            ),
            (
                json!({"url": "http://x/", "expected_status": "6xx"}),
                "not a status",
            ),
            (
                json!({"url": "http://x/", "headers": {"Host": "y"}}),
                "set by the server",
            ),
            (
                json!({"url": "http://x/", "headers": {"A": "b\nc"}}),
                "no header takes",
            ),
        ] {
            let error = check(value.clone()).unwrap_err();
            assert!(error.contains(word), "{value}: {error}");
        }
    }

    #[test]
    fn expected_status_is_a_number_a_class_or_a_list() {
        let holds = |value: Option<Value>, status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            Expected::read(value).unwrap().holds(status)
        };
        assert!(holds(None, 204) && !holds(None, 302));
        assert!(holds(Some(json!(404)), 404) && !holds(Some(json!(404)), 200));
        assert!(holds(Some(json!(["2xx", 409])), 409) && !holds(Some(json!(["2xx", 409])), 410));
    }
}
