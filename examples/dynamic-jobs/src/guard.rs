//! What stands before the views: whom the service answers, and what browsers must not be talked into.
//!
//! The tutorial changes things by `GET`, so that a link or an image on any page could do it for whoever looks at that page,
//! and by names that are made to resolve to 127.0.0.1 (DNS rebinding) any page could read the answers. Neither works here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use punctual_server::{Secret, Tokens};

use crate::refusal::{Answer, Refusal};
use crate::settings::Settings;

/// Whom the service answers.
#[derive(Debug)]
pub(crate) struct Guard {
    listen: SocketAddr,
    hosts: Vec<String>,
    token: Option<Tokens>,
}

/// The host of an authority, without port and brackets.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn forbidden(msg: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, msg)
}

/// The host that a request names: the only one, for proxies differ on which of several counts.
fn named(headers: &HeaderMap) -> Answer<&str> {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(authority)), None) => Ok(authority),
        _ => Err(forbidden("Host: is missing or not clear; name one host")),
    }
}

impl Guard {
    /// By the settings, and the token that was given.
    pub(crate) fn new(settings: &Settings, token: Option<&Secret>) -> Self {
        Self {
            listen: settings.listen,
            hosts: settings.hosts.clone(),
            token: token.map(Tokens::given),
        }
    }

    /// Stands before a router.
    pub(crate) fn around(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), every))
    }

    async fn check(&self, headers: &HeaderMap) -> Answer<()> {
        let host = host_of(named(headers)?);
        let is_local = is_loopback(host);
        let is_ours = self
            .hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(host))
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address == self.listen.ip());
        if !is_local && !is_ours {
            return Err(forbidden(format!(
                "Host: {host:?} is not a name of this service; it takes localhost, a loopback address, or one of the \
                 setting hosts"
            )));
        }
        // From another machine a loopback name can be written, too; to a loopback address nobody else can connect.
        if is_local && self.listen.ip().is_loopback() {
            return Ok(());
        }
        let Some(tokens) = &self.token else {
            return Err(forbidden("this service has no token that would let you in"));
        };
        match tokens.allow(headers).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Authorization: a token is needed, and it is the one in token_file; send Bearer and the token",
            )),
            Err(error) => Err(Refusal::internal(error)),
        }
    }
}

/// Before every request.
async fn every(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.check(request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    const FIXED: [(HeaderName, &str); 4] = [
        // What a GET has done once it must do again when it is asked again.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in FIXED {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Before every request that changes something, by whatever method.
pub(crate) async fn change(request: Request, next: Next) -> Response {
    match check_site(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Refuses what a page of another site asks for, and what a browser asks for before anybody has clicked.
fn check_site(headers: &HeaderMap) -> Answer<()> {
    for site in headers.get_all("sec-fetch-site") {
        if site != "same-origin" && site != "none" {
            return Err(forbidden(format!(
                "Sec-Fetch-Site: {site:?}: a page of another site asked for this; ask from a page of this service, the \
                 address bar, or a program"
            )));
        }
    }
    for name in ["sec-purpose", "purpose"] {
        let purpose = headers.get(name).and_then(|value| value.to_str().ok());
        if purpose.is_some_and(|purpose| purpose.contains("prefetch")) {
            return Err(forbidden("a browser guessed that this might be wanted"));
        }
    }
    // Browsers that know no Sec-Fetch-Site send this with every form.
    for origin in headers.get_all(header::ORIGIN) {
        let authority = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"));
        let is_same = authority.is_some_and(|(_, authority)| {
            named(headers).is_ok_and(|host| host.eq_ignore_ascii_case(authority))
        });
        if !is_same {
            return Err(forbidden(format!(
                "Origin: {origin:?} is not this service, so a page of another site asked for this"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    fn guard(listen: &str, hosts: &[&str], token: Option<&str>) -> Guard {
        Guard {
            listen: listen.parse().unwrap(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            token: token.map(|token| Tokens::given(&Secret::given(token).unwrap())),
        }
    }

    #[tokio::test]
    async fn hosts_and_tokens() {
        const TOKEN: &str = "0123456789abcdef";
        let local = guard("127.0.0.1:5000", &["jobs.example"], Some(TOKEN));
        let open = guard("127.0.0.1:5000", &[], None);
        let public = guard("192.0.2.1:5000", &[], Some(TOKEN));
        let right = format!("Bearer {TOKEN}");
        let wrong = "Bearer fedcba9876543210";
        for (guard, host, token, status) in [
            (&open, "127.0.0.1:5000", "", 200),
            (&open, "localhost", "", 200),
            (&open, "LOCALHOST:1", "", 200),
            (&open, "[::1]:5000", "", 200),
            (&open, "evil.example", "", 403),
            (&open, "localhost.evil.example", "", 403),
            (&open, "127.0.0.1.evil.example:5000", "", 403),
            (&open, "", "", 403),
            (&local, "localhost:5000", "", 200),
            (&local, "jobs.example", "", 401),
            (&local, "JOBS.example:443", right.as_str(), 200),
            (&local, "jobs.example", wrong, 401),
            (&local, "evil.example", right.as_str(), 403),
            (&public, "192.0.2.1:5000", "", 401),
            (&public, "192.0.2.1:5000", right.as_str(), 200),
            (&public, "localhost", "", 401),
            (&public, "192.0.2.2", right.as_str(), 403),
        ] {
            let mut given = headers(&[("host", host)]);
            if !token.is_empty() {
                given.insert(header::AUTHORIZATION, token.parse().unwrap());
            }
            let answer = guard.check(&given).await;
            let found = answer.map_or_else(|refusal| refusal.status.as_u16(), |()| 200);
            assert_eq!(found, status, "{host} {token}");
        }
        for unclear in [
            headers(&[]),
            headers(&[("host", "localhost"), ("host", "x")]),
        ] {
            assert!(open.check(&unclear).await.is_err(), "{unclear:?}");
        }
    }

    #[test]
    fn other_sites_change_nothing() {
        let host = ("host", "127.0.0.1:5000");
        for (extra, allowed) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "")], false),
            (
                &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
                false,
            ),
            (&[("origin", "http://127.0.0.1:5000")], true),
            (&[("origin", "http://127.0.0.1:9000")], false),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "null")], false),
            (
                &[
                    ("sec-fetch-site", "none"),
                    ("sec-purpose", "prefetch;prerender"),
                ],
                false,
            ),
            (&[("purpose", "prefetch")], false),
        ] {
            let headers = headers(&[&[host], extra].concat());
            assert_eq!(check_site(&headers).is_ok(), allowed, "{extra:?}");
        }
    }
}
