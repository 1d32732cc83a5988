//! The program as a function from request to response; its scheduler works for real.

use axum::body::{Body, to_bytes};
use axum::http::header;
use tokio::sync::mpsc;

use super::*;

const TOKEN: &str = "a-token-for-tests";

async fn answer(
    router: &Router,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

async fn embedded() -> (TokioScheduler, Router) {
    let scheduler = scheduler().await.unwrap();
    let router = app(&scheduler, &Secret::given(TOKEN).unwrap());
    (scheduler, router)
}

#[tokio::test]
async fn a_job_is_added_runs_and_is_in_the_ledger() {
    let (scheduler, router) = embedded().await;
    let (ended, mut ends) = mpsc::unbounded_channel();
    scheduler.add_listener(&[EventKind::JobExecuted], move |event| {
        let _ = ended.send(event.job_id.clone());
    });
    scheduler.start(StartMode::Running).unwrap();
    let ask = |method, path, body| answer(&router, method, path, Some(TOKEN), body);

    let job = json!({ "id": "once", "func": "greet", "kwargs": { "name": "ann" } });
    let (status, added) = ask("POST", "/scheduler/jobs", job).await;
    assert_eq!(status, StatusCode::OK, "{added}");
    assert_eq!(ends.recv().await, Some(JobId::new("once").ok()));

    let (status, runs) = ask("GET", "/scheduler/runs?job_id=once", Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let [run] = runs["items"].as_array().unwrap().as_slice() else {
        panic!("one run: {runs}");
    };
    assert_eq!(run["state"], "succeeded");
    assert_eq!(run["output"], "hello, ann\n");
    scheduler.shutdown(Shutdown::Wait).await;
}

#[tokio::test]
async fn both_ways_lead_to_the_same_jobs() {
    let (_scheduler, router) = embedded().await;
    let (status, _) = answer(&router, "POST", "/greetings/ben", None, Value::Null).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, _) = answer(&router, "POST", "/greetings/ben", None, Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT);

    let (_, job) = answer(
        &router,
        "GET",
        "/scheduler/jobs/ben",
        Some(TOKEN),
        Value::Null,
    )
    .await;
    assert_eq!(job["seconds"], 10);
    let (_, overview) = answer(&router, "GET", "/", None, Value::Null).await;
    assert_eq!(overview, json!({ "greetings": 1 }));
}

#[tokio::test]
async fn the_api_takes_a_token_and_the_rest_stays_the_programs() {
    let (_scheduler, router) = embedded().await;
    for (path, token, expected) in [
        ("/scheduler", None, StatusCode::UNAUTHORIZED),
        ("/scheduler/jobs", None, StatusCode::UNAUTHORIZED),
        (
            "/scheduler/jobs",
            Some("not-the-token-at-all"),
            StatusCode::UNAUTHORIZED,
        ),
        ("/scheduler/", Some(TOKEN), StatusCode::OK),
        ("/scheduler/jobs", Some(TOKEN), StatusCode::OK),
        ("/healthz", None, StatusCode::OK),
        // Not started yet.
        ("/readyz", None, StatusCode::SERVICE_UNAVAILABLE),
        ("/", None, StatusCode::OK),
        ("/nothing", None, StatusCode::NOT_FOUND),
    ] {
        let (status, _) = answer(&router, "GET", path, token, Value::Null).await;
        assert_eq!(status, expected, "{path} with {token:?}");
    }
}
