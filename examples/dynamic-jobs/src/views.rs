//! The views: what clients ask for.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::routing::{MethodRouter, any, get, post};
use axum::{Json, Router, middleware};
use punctual::prelude::*;
use punctual::scheduler::Error;
use punctual_server::json;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::body::{self, NewTask};
use crate::database::Database;
use crate::guard;
use crate::refusal::{Answer, Refusal};
use crate::tasks::TASK1;

/// The longest body; the tutorial's have a hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take to send it.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// How many runs are answered where the request does not say.
const RUNS_DEFAULT: usize = 100;
/// How many at most.
const RUNS_MAX: usize = 1000;

/// What the views work with.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) scheduler: Scheduler,
    pub(crate) database: Database,
}

type TaskId = Result<Path<String>, PathRejection>;

/// All views, and the API beside them, where it is switched on.
pub(crate) fn router(app: App, api: Option<Router>) -> Router {
    let has_api = api.is_some();
    let mut router = Router::new()
        .route("/addCron", post(add_cron))
        .route("/{task_id}/pause", get(pause).post(pause).head(no_head))
        .route("/{task_id}/resume", get(resume).post(resume).head(no_head))
        .route("/{task_id}/remove", get(remove).post(remove).head(no_head))
        // Whatever changes something stands above this line.
        .route_layer(middleware::from_fn(guard::change))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route("/jobs", get(list))
        .route("/jobs/{task_id}", get(show))
        .route("/jobs/{task_id}/runs", get(runs))
        .with_state(app);
    if let Some(api) = api {
        for path in [
            "/scheduler",
            "/scheduler/",
            "/scheduler/{*rest}",
            "/openapi.json",
            "/healthz",
            "/readyz",
        ] {
            router = router.route(path, hand_on(api.clone()));
        }
    }
    router
        .fallback(
            move |method: Method, uri: Uri| async move { nothing_here(&method, &uri, has_api) },
        )
        .method_not_allowed_fallback(not_allowed)
}

/// All methods, as they come: nesting would take the prefix off, by which the API makes its links.
fn hand_on(api: Router) -> MethodRouter {
    any(move |request: Request| api.clone().oneshot(request))
}

fn nothing_here(method: &Method, uri: &Uri, has_api: bool) -> Refusal {
    let is_api = uri.path() == "/scheduler" || uri.path().starts_with("/scheduler/");
    let msg = if is_api && !has_api {
        "the API under /scheduler is switched off; api_enabled = true in the settings switches it on".to_owned()
    } else {
        format!(
            "there is nothing at {method} {}; there are POST /addCron, GET or POST /TASK_ID/pause, /TASK_ID/resume and \
             /TASK_ID/remove, GET /jobs, /jobs/TASK_ID and /jobs/TASK_ID/runs; a slash in a task_id is written %2F",
            uri.path()
        )
    };
    Refusal::new(StatusCode::NOT_FOUND, msg)
}

async fn not_allowed(method: Method) -> Refusal {
    let msg = format!("{method} is not possible here; the header Allow says what is");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, msg)
}

/// A HEAD comes from link checkers and previews, and must change nothing: else axum would answer it as a GET.
async fn no_head(method: Method) -> Refusal {
    not_allowed(method).await
}

/// `POST /addCron`: adds a job, or replaces the one that has its id and sets it going again.
async fn add_cron(State(app): State<App>, request: Request) -> Answer<Json<Value>> {
    check_content_type(request.headers())?;
    let NewTask { task_id, trigger } = body::read(&read_body(request).await?)?;
    let (database, id) = (app.database, task_id.clone());
    tokio::task::spawn_blocking(move || database.ensure(&id))
        .await
        .map_err(Refusal::internal)?
        .map_err(Refusal::database)?;
    let when = trigger.describe();
    let mut new = NewJob::new(TASK1)
        .id(&task_id)
        .arg(&task_id)
        .replace_existing();
    if trigger.kind() == "date" {
        // One moment, so that there is nothing to coalesce; but without it runs that are more than a day late are skipped.
        new = new.coalesce(Coalesce::Latest);
    }
    let new = new.trigger(trigger);
    let mut added = app.scheduler.add_job(new.clone()).await?;
    let mut next = added.job.next_run_time();
    if added.job.state.paused.is_some() {
        // To replace a job keeps its pause. A resumed one makes up nothing, so that of a time that has passed nothing is
        // left: then the job is gone, and is added as if it had never been there.
        match app.scheduler.resume_job(added.job.id()).await {
            Ok(Some(job)) => next = job.next_run_time(),
            // Or another client was faster: the last who speaks is right, and that is this one.
            Ok(None) | Err(Error::NoSuchJob { .. }) => {
                added.job = app.scheduler.add_job(new).await?.job;
                next = added.job.next_run_time();
            }
            Err(error) => return Err(error.into()),
        }
    }
    let verb = if added.replaced { "replaced" } else { "added" };
    let next = match next {
        None => "its last run is under way".to_owned(),
        Some(at) if added.warnings.is_empty() => format!("next run at {at}"),
        Some(_) => added.warnings.join("; ").replace("run_date", "run_time"),
    };
    Ok(Json(
        json!({ "msg": format!("job {task_id} {verb}: {when}; {next}") }),
    ))
}

/// A form, or a script of another site that asks nobody, can send any body, but not as JSON.
fn check_content_type(headers: &HeaderMap) -> Answer<()> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = value.to_str().unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let msg = format!(
        "Content-Type: {essence:?} is not taken; send application/json (curl: -H 'Content-Type: application/json')"
    );
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, msg))
}

async fn read_body(request: Request) -> Answer<Bytes> {
    let reading = Bytes::from_request(request, &());
    match tokio::time::timeout(BODY_WAIT, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) => {
            let msg = format!(
                "the body cannot be read ({}); it has at most {BODY_BYTES_MAX} bytes",
                rejection.body_text()
            );
            Err(Refusal::new(rejection.status(), msg))
        }
        Err(_) => {
            let msg = format!("the body did not arrive within {} s", BODY_WAIT.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, msg))
        }
    }
}

/// The id in a path. What cannot be an id is the id of no job.
fn job_id(task_id: TaskId) -> Answer<JobId> {
    let Path(text) = task_id.map_err(|rejection| {
        let msg = format!("task_id: {}", rejection.body_text());
        Refusal::new(StatusCode::BAD_REQUEST, msg)
    })?;
    JobId::new(&text).map_err(|_| Refusal::no_job(&text))
}

fn done(msg: &str) -> Json<Value> {
    Json(json!({ "status": true, "msg": msg }))
}

/// `/{task_id}/pause`.
async fn pause(State(app): State<App>, task_id: TaskId) -> Answer<Json<Value>> {
    let id = job_id(task_id)?;
    app.scheduler
        .pause_job(&id, PauseRequest::default())
        .await?;
    Ok(done(&format!(
        "job {id} paused: nothing of it starts until it is resumed"
    )))
}

/// `/{task_id}/resume`.
async fn resume(State(app): State<App>, task_id: TaskId) -> Answer<Json<Value>> {
    let id = job_id(task_id)?;
    let msg = match app.scheduler.resume_job(&id).await? {
        None => format!("job {id} resumed: its time had passed while it was paused, so it is gone"),
        Some(job) => match job.next_run_time() {
            Some(at) => format!("job {id} resumed: next run at {at}"),
            None => format!("job {id} resumed: its last run is under way"),
        },
    };
    Ok(done(&msg))
}

/// `/{task_id}/remove`.
async fn remove(State(app): State<App>, task_id: TaskId) -> Answer<Json<Value>> {
    let id = job_id(task_id)?;
    app.scheduler.remove_job(&id).await?;
    let path = punctual_server::encode(id.as_str());
    Ok(done(&format!(
        "job {id} removed; its runs stay at /jobs/{path}/runs"
    )))
}

/// `GET /jobs`.
async fn list(State(app): State<App>) -> Answer<Json<Value>> {
    let found = app.scheduler.get_jobs().await?;
    Ok(Json(json::jobs(&app.scheduler, &found).await.into()))
}

/// `GET /jobs/{task_id}`.
async fn show(State(app): State<App>, task_id: TaskId) -> Answer<Json<Value>> {
    let id = job_id(task_id)?;
    let found = app.scheduler.get_job(&id).await?;
    let found = found.ok_or_else(|| Refusal::no_job(id.as_str()))?;
    Ok(Json(json::jobs(&app.scheduler, &[found]).await.remove(0)))
}

/// The query of [`runs`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    limit: Option<usize>,
}

/// `GET /jobs/{task_id}/runs`: the newest first, also of a job that is gone.
async fn runs(
    State(app): State<App>,
    task_id: TaskId,
    query: Result<Query<Limit>, QueryRejection>,
) -> Answer<Json<Value>> {
    let id = job_id(task_id)?;
    let wanted =
        format!("?limit= takes a whole number from 1 to {RUNS_MAX}, and there is no other");
    let wrong = |why: String| Refusal::new(StatusCode::BAD_REQUEST, format!("{why}; {wanted}"));
    let Query(Limit { limit }) = query.map_err(|rejection| wrong(rejection.body_text()))?;
    let limit = limit.unwrap_or(RUNS_DEFAULT);
    if !(1..=RUNS_MAX).contains(&limit) {
        return Err(wrong(format!("limit: {limit} does not fit")));
    }
    let query = RunQuery {
        job_id: Some(id.clone()),
        limit,
        ..RunQuery::default()
    };
    let mut found: Vec<Run> = Vec::new();
    for (alias, _) in app.scheduler.jobstores() {
        found.extend(app.scheduler.runs(&alias, &query).await?.items);
    }
    if found.is_empty() && app.scheduler.get_job(&id).await?.is_none() {
        return Err(Refusal::no_job(id.as_str()));
    }
    found.sort_by_key(|run| std::cmp::Reverse(run.id));
    found.truncate(limit);
    Ok(Json(found.iter().map(json::run).collect()))
}
