//! What is open to everybody: is it alive, is it ready, what does it offer.

use axum::http::StatusCode;
use axum::response::Response;
use punctual_core::scheduler::SchedulerState;
use serde_json::{Value, json};

use crate::app::App;
use crate::openapi;
use crate::problem::{json_response, ok};

/// The handler of an open path.
pub(crate) fn find(path: &str) -> Option<fn(&App) -> Response> {
    match path {
        "/healthz" => Some(|_| ok(&json!({ "status": "ok" }))),
        "/readyz" => Some(ready),
        "/openapi.json" => Some(|app| ok(&openapi::document(&app.options.prefix))),
        _ => None,
    }
}

/// The word for what a scheduler is doing.
pub(crate) fn state_word(state: SchedulerState) -> &'static str {
    match state {
        SchedulerState::Stopped => "stopped",
        SchedulerState::Running => "running",
        SchedulerState::Paused => "paused",
        SchedulerState::Draining => "draining",
    }
}

/// Says which store fails, but not why: that is for those who have a token.
fn ready(app: &App) -> Response {
    let health = app.scheduler.health();
    let stores: Vec<Value> = health
        .iter()
        .map(|(alias, health)| {
            json!({ "jobstore": &**alias, "ready": health.ready && health.error.is_none() })
        })
        .collect();
    let state = app.scheduler.state();
    let works = matches!(state, SchedulerState::Running | SchedulerState::Paused);
    let ready = works && stores.iter().all(|store| store["ready"] == true);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({ "ready": ready, "scheduler": state_word(state), "jobstores": stores });
    json_response(status, &body)
}
