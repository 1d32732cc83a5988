//! The scheduler itself.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use punctual_core::scheduler::{Error, Shutdown, StartMode};
use serde_json::{Value, json};

use super::health::state_word;
use crate::app::{App, Asked};
use crate::fields::Fields;
use crate::problem::{Answer, ok};

fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

pub(super) async fn show(app: &App) -> Answer {
    let scheduler = &app.scheduler;
    let health = scheduler.health();
    let stores: Vec<Value> = health
        .iter()
        .map(|(alias, health)| {
            json!({ "alias": &**alias, "ready": health.ready, "error": health.error })
        })
        .collect();
    let zones = scheduler.zones();
    // Whether the cluster is paused is unknown while a store is away; the rest is not.
    let paused = scheduler.is_paused().await.ok();
    Ok(ok(&json!({
        "allowed_hosts": ["*"],
        "current_host": app.options.host_name,
        "running": scheduler.is_running(),
        "state": state_word(scheduler.state()),
        "paused": paused,
        "node": scheduler.node().to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "timezone": zones.default_zone(),
        "timezone_data": zones.version(),
        "tasks": scheduler.registry().names(),
        "executors": scheduler.executors(),
        "jobstores": stores,
    })))
}

pub(super) async fn pause(app: &App) -> Answer {
    app.scheduler.pause().await?;
    Ok(done())
}

pub(super) async fn resume(app: &App) -> Answer {
    app.scheduler.resume().await?;
    Ok(done())
}

pub(super) fn start(app: &App) -> Answer {
    app.scheduler.start(StartMode::Running)?;
    Ok(done())
}

/// With `{"wait": false}` answers at once; the runs still end as they would.
pub(super) async fn shutdown(app: &App, asked: &Asked<'_>) -> Answer {
    let mut fields = Fields::new(asked.json_or_nothing()?)?;
    fields.only(&["wait"], &[])?;
    let wait = fields.flag("wait")?.unwrap_or(true);
    if !app.scheduler.is_running() {
        return Err(Error::NotRunning.into());
    }
    let scheduler = app.scheduler.clone();
    // A task of its own: a client that hangs up does not stop it half way.
    let ended = tokio::spawn(async move { scheduler.shutdown(Shutdown::Wait).await });
    if wait {
        let _ = ended.await;
    }
    Ok(done())
}
