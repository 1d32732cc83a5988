//! Who may do what, and from where.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use punctual_server::tasks::TaskOptions;
use punctual_server::{Auth, Hosts, Secret, ServerOptions, TOKENS_NAMESPACE, Tokens, router};

use crate::support::{scheduler, send};

async fn guarded() -> (Router, String) {
    let scheduler = scheduler(TaskOptions::default()).await;
    let (_, store) = scheduler.jobstores().remove(0);
    let token = Secret::random();
    let make = async |token: &Secret| {
        let made = Tokens::first_start(&*store, token, scheduler.now()).await;
        made.unwrap()
    };
    assert!(make(&token).await);
    assert!(make(&token).await, "the answer may have got lost");
    assert!(!make(&Secret::random()).await, "the token is made once");
    let stored = store.records(TOKENS_NAMESPACE).await.unwrap();
    assert!(
        !format!("{stored:?}").contains(token.reveal()),
        "only the hash is stored"
    );
    let mut options = ServerOptions::new(Auth::Tokens(Arc::new(Tokens::stored(store))));
    options.hosts = Hosts::Loopback;
    (router(scheduler, options), token.reveal().to_owned())
}

async fn status(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = send(router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    if answer.status == 401 {
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 2);
    }
    answer.status.as_u16()
}

#[tokio::test]
async fn only_who_has_the_token_gets_in() {
    let (router, token) = guarded().await;
    let bearer = format!("Bearer {token}");
    let basic =
        |password: &str| format!("Basic {}", STANDARD.encode(format!("anybody:{password}")));
    let right = basic(&token);
    for (path, authorization, expected) in [
        ("/healthz", None, 200),
        ("/readyz", None, 503),
        ("/openapi.json", None, 200),
        ("/scheduler/jobs", None, 401),
        ("/elsewhere", None, 401),
        ("/healthz/", None, 401),
        ("/scheduler/jobs", Some(bearer.as_str()), 200),
        (
            "/scheduler/jobs",
            Some(&bearer.replace("Bearer", "bearer")),
            200,
        ),
        ("/scheduler/jobs", Some(&right), 200),
        ("/scheduler/jobs", Some(&bearer[..bearer.len() - 1]), 401),
        ("/scheduler/jobs", Some(&format!("{bearer}0")), 401),
        ("/scheduler/jobs", Some("Bearer "), 401),
        ("/scheduler/jobs", Some("Bearer"), 401),
        ("/scheduler/jobs", Some(&basic("")), 401),
        ("/scheduler/jobs", Some("Basic !!!"), 401),
        ("/scheduler/jobs", Some(&token), 401),
    ] {
        let headers: Vec<_> = authorization
            .map(|value| ("authorization", value))
            .into_iter()
            .collect();
        assert_eq!(
            status(&router, "GET", path, &headers).await,
            expected,
            "{path} {authorization:?}"
        );
    }
}

#[tokio::test]
async fn other_sites_and_other_hosts_get_nothing() {
    let (router, token) = guarded().await;
    let bearer = format!("Bearer {token}");
    let basic = format!("Basic {}", STANDARD.encode(format!(":{token}")));
    let here = ("host", "127.0.0.1:8377");
    for (method, headers, expected) in [
        ("POST", vec![here, ("authorization", basic.as_str())], 400),
        (
            "POST",
            vec![
                here,
                ("authorization", &basic),
                ("sec-fetch-site", "cross-site"),
            ],
            403,
        ),
        (
            "POST",
            vec![
                here,
                ("authorization", &basic),
                ("sec-fetch-site", "same-site"),
            ],
            403,
        ),
        (
            "POST",
            vec![
                here,
                ("authorization", &basic),
                ("sec-fetch-site", "same-origin"),
            ],
            400,
        ),
        (
            "POST",
            vec![
                here,
                ("authorization", &basic),
                ("origin", "http://evil.example"),
            ],
            403,
        ),
        (
            "POST",
            vec![
                here,
                ("authorization", &basic),
                ("origin", "http://127.0.0.1:8377"),
            ],
            400,
        ),
        (
            "GET",
            vec![
                here,
                ("authorization", &basic),
                ("sec-fetch-site", "cross-site"),
            ],
            200,
        ),
        (
            "POST",
            vec![
                here,
                ("authorization", &bearer),
                ("sec-fetch-site", "cross-site"),
            ],
            400,
        ),
        (
            "GET",
            vec![("host", "evil.example"), ("authorization", &bearer)],
            403,
        ),
        (
            "GET",
            vec![("host", "localhost:8377"), ("authorization", &bearer)],
            200,
        ),
    ] {
        assert_eq!(
            status(&router, method, "/scheduler/jobs", &headers).await,
            expected,
            "{method} {headers:?}"
        );
    }
    assert_eq!(
        status(&router, "GET", "/healthz", &[("host", "evil.example")]).await,
        403
    );
}

#[tokio::test]
async fn a_given_token_is_the_only_one() {
    let scheduler = scheduler(TaskOptions::default()).await;
    let (_, store) = scheduler.jobstores().remove(0);
    let stored = Secret::random();
    let made = Tokens::first_start(&*store, &stored, scheduler.now()).await;
    assert!(made.unwrap());
    let given = Secret::given("correct-horse-battery-staple").unwrap();
    let auth = Auth::Tokens(Arc::new(Tokens::given(&given)));
    let router = router(scheduler, ServerOptions::new(auth));
    for (token, expected) in [(&given, 200), (&stored, 401)] {
        let bearer = format!("Bearer {}", token.reveal());
        let found = status(
            &router,
            "GET",
            "/scheduler/jobs",
            &[("authorization", &bearer)],
        )
        .await;
        assert_eq!(found, expected);
    }
}
