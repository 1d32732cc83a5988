//! What browsers must not be talked into: cross-site requests, DNS rebinding, framing.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::auth::Credentials;
use crate::problem::{Answer, Problem};

/// Which `Host` a request may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// Any.
    #[default]
    Any,
    /// Only this machine by its loopback names: a page whose name is made to resolve to 127.0.0.1 gets nothing.
    Loopback,
}

fn forbidden(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// The host of `authority`, without port and brackets.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn host(headers: &HeaderMap) -> &str {
    let value = headers.get(header::HOST);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Refuses a `Host` that this server is not.
pub(crate) fn check_host(hosts: &Hosts, headers: &HeaderMap) -> Answer<()> {
    let host = host(headers);
    if *hosts == Hosts::Any || !headers.contains_key(header::HOST) || is_loopback(host_of(host)) {
        return Ok(());
    }
    Err(forbidden(format!(
        "host {host:?} is not this machine's loopback address, on which the server listens"
    )))
}

/// Refuses a change that another site's page asks for with credentials that the browser added by itself.
pub(crate) fn check_site(
    method: &Method,
    headers: &HeaderMap,
    credentials: Credentials,
) -> Answer<()> {
    if method.is_safe() || credentials == Credentials::Bearer {
        return Ok(());
    }
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return Err(forbidden(
            "a page of another site asked for this; send the token as Bearer".to_owned(),
        ));
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or("");
    let authority = origin.split_once("://").map_or("", |(_, rest)| rest);
    if !authority.is_empty() && authority.eq_ignore_ascii_case(host(headers)) {
        return Ok(());
    }
    Err(forbidden(format!(
        "origin {origin:?} is not this server; send the token as Bearer"
    )))
}

/// Headers of every answer.
pub(crate) fn harden(headers: &mut HeaderMap) {
    const FIXED: [(HeaderName, &str); 6] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_loopback_names_reach_a_loopback_server() {
        for (host, allowed) in [
            ("127.0.0.1:8377", true),
            ("localhost", true),
            ("[::1]:8377", true),
            ("127.8.8.8", true),
            ("evil.example:8377", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.nip.io", false),
            ("", false),
        ] {
            let headers = headers(&[("host", host)]);
            assert_eq!(
                check_host(&Hosts::Loopback, &headers).is_ok(),
                allowed,
                "{host}"
            );
            assert!(check_host(&Hosts::Any, &headers).is_ok());
        }
    }

    #[test]
    fn other_sites_change_nothing() {
        let host = ("host", "127.0.0.1:8377");
        for (extra, allowed) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("origin", "http://127.0.0.1:8377")], true),
            (&[("origin", "http://127.0.0.1:9000")], false),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "null")], false),
        ] {
            let headers = headers(&[&[host], extra].concat());
            let check = |method, credentials| check_site(&method, &headers, credentials).is_ok();
            assert_eq!(
                check(Method::POST, Credentials::Basic),
                allowed,
                "{extra:?}"
            );
            assert!(check(Method::POST, Credentials::Bearer));
            assert!(check(Method::GET, Credentials::Basic));
        }
    }
}
