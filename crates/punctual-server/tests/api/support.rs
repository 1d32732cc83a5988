//! A router over a memory store, and one call to ask it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use jiff::tz::TimeZoneDatabase;
use punctual_core::runtime::TokioRuntime;
use punctual_core::scheduler::{Scheduler, StartMode};
use punctual_core::task::{Args, Registry, RunContext};
use punctual_core::zones::Zones;
use punctual_server::tasks::{self, TaskOptions};
use punctual_server::{Auth, ServerOptions, router};
use serde_json::Value;
use tower::ServiceExt;

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// An API with its scheduler.
pub(crate) struct Api {
    pub(crate) scheduler: Scheduler,
    pub(crate) router: Router,
}

/// A task that waits until it is told to stop.
async fn wait(_: Args<Value>, context: RunContext) -> Result<(), String> {
    context.cancel_token().cancelled().await;
    Err("stopped".to_owned())
}

pub(crate) async fn scheduler(options: TaskOptions) -> Scheduler {
    let mut registry = Registry::new();
    tasks::register(&mut registry, options).unwrap();
    registry.add("wait", wait).unwrap();
    let zones = Zones::new(TimeZoneDatabase::bundled(), "test")
        .with_default("UTC")
        .unwrap();
    let runtime = TokioRuntime::current();
    Scheduler::builder()
        .registry(registry)
        .zones(zones)
        .build(Arc::new(runtime))
        .await
        .unwrap()
}

/// An API that is open to everybody; its scheduler runs.
pub(crate) async fn api() -> Api {
    api_with(TaskOptions::default()).await
}

pub(crate) async fn api_with(options: TaskOptions) -> Api {
    let scheduler = scheduler(options).await;
    scheduler.start(StartMode::Running).unwrap();
    Api {
        router: router(scheduler.clone(), ServerOptions::new(Auth::Open)),
        scheduler,
    }
}

/// Sends a request through a router.
pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).expect("every body is JSON")
    };
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

impl Api {
    pub(crate) async fn raw(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        send(&self.router, request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.raw(method, path, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, body).await
    }

    /// The run at a path, once it is over.
    pub(crate) async fn ended(&self, path: &str) -> Value {
        for _ in 0..500 {
            let run = self.get(path).await.body;
            if !matches!(run["state"].as_str(), Some("pending" | "running")) {
                return run;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the run did not end");
    }

    /// Adds a job far in the future, runs it, and returns the run once it is over.
    pub(crate) async fn run_once(&self, task: &str, kwargs: Value) -> Value {
        let job = serde_json::json!({"id": "once", "func": task, "kwargs": kwargs, "trigger": "date",
            "run_date": "2099-01-01", "replace_existing": true});
        let added = self.post("/scheduler/jobs", job).await;
        assert_eq!(added.status, 200, "{}", added.body);
        let started = self.post("/scheduler/jobs/once/run", Value::Null).await;
        self.ended(started.headers["location"].to_str().unwrap())
            .await
    }
}
