//! A server whose job store is not there yet.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use punctual_server::{Gate, Hosts};
use serde_json::json;

use crate::support::{api, send};

#[tokio::test]
async fn it_says_why_until_there_is_a_scheduler() {
    let gate = Gate::new(Hosts::Loopback, "the job store is being opened");
    let router = gate.router();
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(ask("GET", "/healthz").await.status, 200);
    let ready = ask("GET", "/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body["reason"], "the job store is being opened");
    gate.waits("the job store is unavailable", Duration::from_millis(3_500));
    let ready = ask("GET", "/readyz").await;
    assert_eq!(ready.body["reason"], "the job store is unavailable");
    assert_eq!(ready.body["jobstores"][0]["ready"], false);
    for (method, path) in [
        ("GET", "/scheduler/jobs"),
        ("POST", "/scheduler/jobs"),
        ("GET", "/"),
        ("DELETE", "/healthz"),
    ] {
        let answer = ask(method, path).await;
        assert_eq!(answer.status, 503, "{method} {path}");
        assert_eq!(answer.headers[header::RETRY_AFTER], "4");
        assert_eq!(
            answer.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(
            answer.body["detail"],
            "the server is starting: the job store is unavailable"
        );
    }
    let rebound = Request::builder()
        .uri("/readyz")
        .header(header::HOST, "evil.example");
    let refused = send(&router, rebound.body(Body::empty()).unwrap()).await;
    assert_eq!(refused.status, 403);

    let api = api().await;
    gate.open(api.router.clone());
    let jobs = ask("GET", "/scheduler/jobs").await;
    assert_eq!((jobs.status.as_u16(), jobs.body), (200, json!([])));
}
