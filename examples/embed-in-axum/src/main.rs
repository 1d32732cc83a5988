//! A web program of your own with jobs in it: its routes add some, and Punctual's REST API under `/scheduler` manages them all.
//!
//! Run with: `cargo run -p embed-in-axum`. It prints a token, and what to ask with it. Ctrl-C lets what runs end. `TOKEN=…`
//! gives it a token of yours.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Path, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::Result;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use punctual::prelude::*;
use punctual_server::{Auth, Secret, ServerOptions, Tokens};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;

#[cfg(test)]
mod tests;

/// What the program's jobs do.
#[task]
async fn greet(name: String, run: RunContext) {
    run.log(&format!("hello, {name}"));
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let token = match std::env::var("TOKEN") {
        Ok(text) => Secret::given(&text).context("TOKEN does not do")?,
        Err(_) => Secret::random(),
    };
    let scheduler = scheduler().await?;
    let router = app(&scheduler, &token);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    scheduler.start(StartMode::Running)?;

    let address = listener.local_addr()?;
    let token = token.reveal();
    writeln!(
        std::io::stdout(),
        "listening on http://{address}; try\n\
         curl -X POST http://{address}/greetings/ann\n\
         curl -H 'Authorization: Bearer {token}' http://{address}/scheduler/runs"
    )?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    // After the last request, which may have added a job.
    scheduler.shutdown(Shutdown::Wait).await;
    Ok(())
}

/// Not started yet. Its jobs are gone with the process; with `.job_store("default", punctual::sqlite("jobs.db")?)` they stay.
async fn scheduler() -> anyhow::Result<TokioScheduler> {
    let builder = Scheduler::builder().register::<greet>()?;
    Ok(TokioScheduler::build(builder).await?)
}

/// The program's own routes, and the API beside them.
fn app(scheduler: &Scheduler, token: &Secret) -> Router {
    let auth = Auth::Tokens(Arc::new(Tokens::given(token)));
    let api = punctual_server::router(scheduler.clone(), ServerOptions::new(auth));
    // All methods. `nest` would take the prefix off, by which the API makes its links.
    let hand_on = any(move |request: Request| api.clone().oneshot(request));
    let mut router = Router::new()
        .route("/", get(overview))
        .route("/greetings/{name}", post(add_greeting))
        .with_state(scheduler.clone());
    for path in [
        "/scheduler",
        "/scheduler/",
        "/scheduler/{*below}",
        "/healthz",
        "/readyz",
    ] {
        router = router.route(path, hand_on.clone());
    }
    router
}

async fn overview(Shared(scheduler): Shared<Scheduler>) -> Result<Json<Value>> {
    let jobs = scheduler.get_jobs().await.map_err(|error| refuse(&error))?;
    Ok(Json(json!({ "greetings": jobs.len() })))
}

/// A job added by the program itself.
async fn add_greeting(
    Shared(scheduler): Shared<Scheduler>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let job = scheduler.add(greet(name.as_str())).id(name);
    job.every(Duration::from_secs(10))
        .await
        .map_err(|error| refuse(&error))?;
    Ok(StatusCode::CREATED)
}

fn refuse(error: &punctual::scheduler::Error) -> (StatusCode, String) {
    use punctual::scheduler::Error;
    let status = match error {
        Error::Exists { .. } => StatusCode::CONFLICT,
        Error::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, error.to_string())
}
