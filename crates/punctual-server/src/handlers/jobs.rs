//! Jobs.

use std::fmt::Write;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use punctual_core::id::{JobId, TaskName};
use punctual_core::job::{Job, StoredJob};
use punctual_core::plan::PauseRequest;
use punctual_core::scheduler::{Error, Located};
use punctual_core::store::{JobOrder, JobQuery};
use serde_json::Value;

use crate::app::{App, Asked};
use crate::fields::Fields;
use crate::json;
use crate::percent::encode;
use crate::problem::{Answer, Problem, ok};
use crate::query::{LIMIT_DEFAULT, Query};
use crate::tasks;
use crate::wire::{definition, trigger};

/// An id from a path. What cannot be an id is the id of no job.
pub(super) fn job_id(text: &str) -> Answer<JobId> {
    JobId::new(text).map_err(|_| Problem::not_found(format!("Job {text} not found")))
}

async fn one(app: &App, found: &Job) -> Answer<Value> {
    let store = app.scheduler.get_job(found.id()).await?;
    let located = Located {
        job_store: store.map_or_else(|| "default".into(), |located| located.job_store),
        job: StoredJob::Job(found.clone()),
    };
    Ok(json::jobs(&app.scheduler, &[located]).await.remove(0))
}

pub(super) async fn list(app: &App, asked: &Asked<'_>) -> Answer {
    const KNOWN: &[&str] = &["text", "tag", "paused", "task", "limit", "cursor"];
    let query = Query::read(asked.uri, KNOWN)?;
    let cursor = query.parsed("cursor", "a cursor of this list", |text| {
        JobOrder::parse_cursor(text).ok().map(|_| text.to_owned())
    })?;
    let limit = match query.limit()? {
        None if cursor.is_some() => LIMIT_DEFAULT,
        // Flask-APScheduler's clients expect all of them.
        limit => limit.unwrap_or(0),
    };
    let filter = JobQuery {
        text: query.get("text").map(str::to_owned),
        tags: query.all("tag"),
        paused: query.parsed("paused", "true or false", |text| text.parse().ok())?,
        task: query.parsed("task", "the name of a task", |text| {
            TaskName::new(text).ok()
        })?,
        order: JobOrder::NextRun,
        cursor,
        limit,
    };
    let mut found = Vec::new();
    let mut more = false;
    for (alias, _) in app.scheduler.jobstores() {
        let page = app.scheduler.query_jobs(&alias, &filter).await?;
        more |= page.next_cursor.is_some();
        found.extend(page.items.into_iter().map(|job| Located {
            job_store: alias.clone(),
            job,
        }));
    }
    found.sort_by_cached_key(|located| JobOrder::NextRun.key(&located.job));
    if limit > 0 {
        more |= found.len() > limit;
        found.truncate(limit);
    }
    let mut response = ok(&Value::Array(json::jobs(&app.scheduler, &found).await));
    if more && let Some(last) = found.last() {
        let cursor = JobOrder::cursor(&JobOrder::NextRun.key(&last.job));
        response
            .headers_mut()
            .insert(header::LINK, next_link(app, &query, limit, &cursor));
    }
    Ok(response)
}

/// `Link: <…>; rel="next"`, with the filters of this page.
fn next_link(app: &App, query: &Query, limit: usize, cursor: &str) -> HeaderValue {
    let mut link = format!("<{}/jobs?limit={limit}", app.options.prefix);
    for key in ["text", "tag", "paused", "task"] {
        for value in query.all(key) {
            let _ = write!(link, "&{key}={}", encode(&value));
        }
    }
    let _ = write!(link, "&cursor={}>; rel=\"next\"", encode(cursor));
    HeaderValue::from_str(&link).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Says why, where the task is one that the operator has not turned on; and names the field as the request did.
fn explain(problem: Error, body: &Value) -> Problem {
    let renamed = if body.get("func").is_some() {
        "func"
    } else {
        "task"
    };
    if let Error::UnknownTask { task, .. } = &problem
        && task.as_str() == tasks::COMMAND
    {
        return Problem::invalid(
            renamed,
            "the task \"command\" is turned off; start the server with --allow-command",
        );
    }
    let is_trigger = |field: &str| {
        body.get("trigger").is_none_or(Value::is_string) && field.starts_with("trigger.")
    };
    match &problem {
        Error::UnknownTask { .. } => Problem::from(problem).field(renamed),
        Error::Invalid { field, .. } if field == "task" => Problem::from(problem).field(renamed),
        // The request has the parameters inline.
        Error::Invalid { field, message } if is_trigger(field) => {
            let field = field.trim_start_matches("trigger.").to_owned();
            Problem::from(Error::invalid(field, message))
        }
        _ => problem.into(),
    }
}

pub(super) async fn add(app: &App, asked: &Asked<'_>) -> Answer {
    let body = asked.json()?;
    let new = definition::new_job(body.clone(), app.scheduler.zones())?;
    let added = app.scheduler.add_job(new).await;
    let added = added.map_err(|error| explain(error, &body))?;
    let mut shown = one(app, &added.job).await?;
    if !added.warnings.is_empty() {
        shown["warnings"] = added.warnings.into();
    }
    Ok(ok(&shown))
}

pub(super) async fn show(app: &App, id: &str) -> Answer {
    let id = job_id(id)?;
    let found = app.scheduler.get_job(&id).await?;
    let found = found.ok_or(Error::NoSuchJob { id })?;
    Ok(ok(&json::jobs(&app.scheduler, &[found]).await[0]))
}

pub(super) async fn modify(app: &App, id: &str, asked: &Asked<'_>) -> Answer {
    let id = job_id(id)?;
    let body = asked.json()?;
    let change = definition::update(body.clone(), id.as_str(), app.scheduler.zones())?;
    let changed = app.scheduler.modify_job(&id, change.update).await;
    let mut changed = changed.map_err(|error| explain(error, &body))?;
    if change.pause {
        let request = PauseRequest::default();
        changed = Some(app.scheduler.pause_job(&id, request).await?);
    }
    match changed {
        Some(job) => Ok(ok(&one(app, &job).await?)),
        None => Ok(ok(&Value::Null)),
    }
}

pub(super) async fn remove(app: &App, id: &str) -> Answer {
    app.scheduler.remove_job(&job_id(id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn pause_request(app: &App, asked: &Asked<'_>) -> Answer<PauseRequest> {
    let mut fields = Fields::new(asked.json_or_nothing()?)?;
    fields.only(&["by", "note", "until"], &[])?;
    let zones = app.scheduler.zones();
    let until = fields.text("until")?;
    let until = until.map(|text| trigger::moment("until", &text, zones.default_zone(), zones));
    let until: Option<Timestamp> = until.transpose()?;
    let request = PauseRequest {
        by: fields.text("by")?,
        note: fields.text("note")?,
        until,
    };
    Ok(request)
}

pub(super) async fn pause(app: &App, id: &str, asked: &Asked<'_>) -> Answer {
    let id = job_id(id)?;
    let request = pause_request(app, asked)?;
    let paused = app.scheduler.pause_job(&id, request).await?;
    Ok(ok(&one(app, &paused).await?))
}

pub(super) async fn resume(app: &App, id: &str) -> Answer {
    match app.scheduler.resume_job(&job_id(id)?).await? {
        Some(job) => Ok(ok(&one(app, &job).await?)),
        // Nothing was left to run, so it is gone: as Flask-APScheduler says it.
        None => Ok(ok(&Value::Null)),
    }
}

pub(super) async fn run(app: &App, id: &str) -> Answer {
    let (job, run) = app.scheduler.run_job(&job_id(id)?).await?;
    let mut shown = one(app, &job).await?;
    shown["run"] = json::run(&run);
    let location = format!("{}/runs/{}", app.options.prefix, run.id);
    let mut response: Response = ok(&shown);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}
