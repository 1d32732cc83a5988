//! The API over a real socket, through the outgoing client.

use axum::http::Method;
use punctual_server::client::{Outgoing, Policy, Target, send};
use serde_json::{Value, json};

use crate::support::api;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_added_run_and_removed_over_a_socket() {
    let api = api().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = api.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let ask = async |method: Method, path: &str, body: Value| {
        let mut outgoing = Outgoing::new(method, Target::parse(&format!("{base}{path}")).unwrap());
        if !body.is_null() {
            outgoing.body = body.to_string().into_bytes();
        }
        let answer = send(outgoing, Policy::Anywhere, 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status.as_u16(), answer.headers, body)
    };
    let job = json!({"id": "a/ü", "func": "log", "args": ["x"], "trigger": "interval", "hours": 1});
    assert_eq!(ask(Method::POST, "/scheduler/jobs", job).await.0, 200);
    let (_, _, list) = ask(Method::GET, "/scheduler/jobs", Value::Null).await;
    assert_eq!(list[0]["id"], "a/ü");
    let (_, headers, _) = ask(Method::POST, "/scheduler/jobs/a%2F%C3%BC/run", Value::Null).await;
    let location = headers["location"].to_str().unwrap();
    assert_eq!(api.ended(location).await["state"], "succeeded");
    assert_eq!(
        ask(Method::DELETE, "/scheduler/jobs/a%2F%C3%BC", Value::Null)
            .await
            .0,
        204
    );
    assert_eq!(
        ask(Method::HEAD, "/scheduler/jobs", Value::Null).await.0,
        200
    );
    assert_eq!(
        ask(Method::GET, "/openapi.json", Value::Null).await.2["openapi"],
        "3.1.0"
    );
}
