//! The ledger.

use punctual_core::id::{JobId, RunId};
use punctual_core::run::{Run, RunState};
use punctual_core::store::RunQuery;
use serde_json::Value;

use super::jobs::job_id;
use crate::app::{App, Asked};
use crate::problem::{Answer, Problem, ok, page};
use crate::query::{LIMIT_DEFAULT, Query};
use crate::wire::{run as wire, trigger};

const FILTERS: &[&str] = &["state", "from", "until", "limit", "cursor", "job_id"];

fn run_id(text: &str) -> Answer<RunId> {
    text.parse()
        .map_err(|_| Problem::not_found(format!("run {text} not found")))
}

/// The runs of one job, which may be gone.
pub(super) async fn of_job(app: &App, id: &str, asked: &Asked<'_>) -> Answer {
    let id = job_id(id)?;
    let query = Query::read(asked.uri, &FILTERS[..5])?;
    let found = newest(app, &query, Some(id.clone())).await?;
    if found.0.is_empty() && query.get("cursor").is_none() {
        // Nothing at all: either the job has not run yet, or there never was one.
        let unfiltered = app.scheduler.get_job(&id).await?.is_some() || ever_ran(app, &id).await?;
        if !unfiltered {
            return Err(Problem::not_found(format!("Job {id} not found")));
        }
    }
    Ok(page(&found.0, found.1.as_deref()))
}

async fn ever_ran(app: &App, id: &JobId) -> Answer<bool> {
    let query = RunQuery {
        job_id: Some(id.clone()),
        limit: 1,
        ..RunQuery::default()
    };
    for (alias, _) in app.scheduler.jobstores() {
        if !app.scheduler.runs(&alias, &query).await?.items.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn list(app: &App, asked: &Asked<'_>) -> Answer {
    let query = Query::read(asked.uri, FILTERS)?;
    let id = query.parsed("job_id", "the id of a job", |text| JobId::new(text).ok())?;
    let (items, next_cursor) = newest(app, &query, id).await?;
    Ok(page(&items, next_cursor.as_deref()))
}

async fn newest(
    app: &App,
    query: &Query,
    job_id: Option<JobId>,
) -> Answer<(Vec<Value>, Option<String>)> {
    let zones = app.scheduler.zones();
    let moment = |key: &str| {
        let text = query.get(key);
        text.map(|text| trigger::moment(key, text, zones.default_zone(), zones))
            .transpose()
    };
    let states: Vec<&str> = RunState::ALL.iter().map(|state| state.as_str()).collect();
    let limit = query.limit()?.unwrap_or(LIMIT_DEFAULT);
    let filter = RunQuery {
        job_id,
        state: query.parsed(
            "state",
            &format!("one of {}", states.join(", ")),
            RunState::parse,
        )?,
        from: moment("from")?,
        until: moment("until")?,
        cursor: query.parsed("cursor", "a cursor of this list", |text| {
            text.parse::<RunId>().ok().map(|id| id.to_string())
        })?,
        limit,
    };
    let mut runs: Vec<Run> = Vec::new();
    let mut more = false;
    for (alias, _) in app.scheduler.jobstores() {
        let page = app.scheduler.runs(&alias, &filter).await?;
        more |= page.next_cursor.is_some();
        runs.extend(page.items);
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.id));
    more |= runs.len() > limit;
    runs.truncate(limit);
    let last = runs.last().map(|run| run.id.to_string());
    Ok((runs.iter().map(wire::run).collect(), last.filter(|_| more)))
}

pub(super) async fn show(app: &App, id: &str) -> Answer {
    let run = app.scheduler.get_run(run_id(id)?).await?;
    Ok(ok(&wire::run(&run)))
}

pub(super) async fn cancel(app: &App, id: &str) -> Answer {
    let run = app.scheduler.cancel_run(run_id(id)?).await?;
    Ok(ok(&wire::run(&run)))
}
