//! The scheduler, made from the settings; and the API of Flask-APScheduler, where they switch it on.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use punctual::OpenOptions;
use punctual::address::StoreAddress;
use punctual::prelude::*;
use punctual::scheduler::JobStoreFactory;
use punctual_server::{Auth, ServerOptions, Tokens};
use serde_json::{Map, Value};

use crate::database::Database;
use crate::settings::Settings;
use crate::tasks;

/// The `type` of a job store that is named by its URL.
pub(crate) const BY_URL: &str = "url";

/// A scheduler that is not started yet.
pub(crate) async fn scheduler(
    settings: &Settings,
    database: Database,
) -> anyhow::Result<TokioScheduler> {
    let mut registry = Registry::new();
    tasks::register(&mut registry)?;
    let builder = Scheduler::builder()
        .registry(registry)
        .state(database)
        .lease(settings.lease)
        .drain(settings.drain)
        .job_store_type(BY_URL, JobStoreFactory::new(open));
    let keys = settings.scheduler_keys();
    // Opening a store waits for its server.
    let configured = tokio::task::spawn_blocking(move || builder.configure(&keys));
    let builder = configured.await.context("opening the job stores")??;
    let scheduler = TokioScheduler::build(builder).await?;
    scheduler.add_listener(&[EventKind::JobError, EventKind::JobLost], tell);
    Ok(scheduler)
}

/// Opens a job store by its URL. To be called where waiting is allowed.
fn open(keys: &Map<String, Value>) -> Result<Arc<dyn JobStore>, String> {
    let text = |key: &str| keys.get(key).and_then(Value::as_str);
    let address: StoreAddress = text("url")
        .ok_or("url is missing")?
        .parse()
        .map_err(|error| format!("url: {error}"))?;
    let mut options = OpenOptions::default();
    if let Some(prefix) = text("prefix") {
        prefix.clone_into(&mut options.prefix);
    }
    let opening = punctual::open_store(&address, options);
    tokio::runtime::Handle::current()
        .block_on(opening)
        .map_err(|error| format!("{address} cannot be opened: {error}"))
}

fn tell(event: &Event) {
    let job = event.job_id.as_ref().map(tracing::field::display);
    let run = event.run.as_ref();
    let error = run.and_then(|run| run.error.as_deref());
    let state = run.map(|run| tracing::field::display(run.state()));
    tracing::warn!(job, state, error, "a run did not succeed");
}

/// The routes of Flask-APScheduler, under `/scheduler`.
pub(crate) fn api(scheduler: &Scheduler, tokens: Arc<Tokens>) -> Router {
    let options = ServerOptions::new(Auth::Tokens(tokens));
    punctual_server::router(scheduler.clone(), options)
}
