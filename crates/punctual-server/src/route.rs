//! From method and raw path to what is asked for.
//!
//! The path is taken apart before it is decoded, so that `/jobs/a%2Frun` is the job `a/run` while `/jobs/a/run` runs the
//! job `a`.

use axum::http::{Method, StatusCode, header};

use crate::percent::decode_path;
use crate::problem::{Answer, Problem};

/// What can be asked for, below the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Scheduler,
    PauseScheduler,
    ResumeScheduler,
    StartScheduler,
    ShutdownScheduler,
    ListJobs,
    AddJob,
    GetJob(String),
    ModifyJob(String),
    RemoveJob(String),
    PauseJob(String),
    ResumeJob(String),
    RunJob(String),
    JobRuns(String),
    ListRuns,
    GetRun(String),
    CancelRun(String),
    NextFires,
}

type Make = fn(String) -> Endpoint;

/// The methods of one path.
struct Methods {
    id: String,
    made: &'static [(&'static str, Make)],
}

const SCHEDULER: &[(&str, Make)] = &[("GET", |_| Endpoint::Scheduler)];
const PAUSE: &[(&str, Make)] = &[("POST", |_| Endpoint::PauseScheduler)];
const RESUME: &[(&str, Make)] = &[("POST", |_| Endpoint::ResumeScheduler)];
const START: &[(&str, Make)] = &[("POST", |_| Endpoint::StartScheduler)];
const SHUTDOWN: &[(&str, Make)] = &[("POST", |_| Endpoint::ShutdownScheduler)];
const JOBS: &[(&str, Make)] = &[
    ("GET", |_| Endpoint::ListJobs),
    ("POST", |_| Endpoint::AddJob),
];
const JOB: &[(&str, Make)] = &[
    ("GET", Endpoint::GetJob),
    ("PATCH", Endpoint::ModifyJob),
    ("DELETE", Endpoint::RemoveJob),
];
const JOB_PAUSE: &[(&str, Make)] = &[("POST", Endpoint::PauseJob)];
const JOB_RESUME: &[(&str, Make)] = &[("POST", Endpoint::ResumeJob)];
const JOB_RUN: &[(&str, Make)] = &[("POST", Endpoint::RunJob)];
const JOB_RUNS: &[(&str, Make)] = &[("GET", Endpoint::JobRuns)];
const RUNS: &[(&str, Make)] = &[("GET", |_| Endpoint::ListRuns)];
const RUN: &[(&str, Make)] = &[("GET", Endpoint::GetRun)];
const CANCEL: &[(&str, Make)] = &[("POST", Endpoint::CancelRun)];
const NEXT: &[(&str, Make)] = &[("POST", |_| Endpoint::NextFires)];

fn methods(path: &str) -> Option<Answer<Methods>> {
    let fixed = |made| {
        Some(Ok(Methods {
            id: String::new(),
            made,
        }))
    };
    let with_id = |raw: &str, made| Some(decode_path(raw).map(|id| Methods { id, made }));
    match path {
        "" | "/" => return fixed(SCHEDULER),
        "/pause" => return fixed(PAUSE),
        "/resume" => return fixed(RESUME),
        "/start" => return fixed(START),
        "/shutdown" => return fixed(SHUTDOWN),
        "/jobs" | "/jobs/" => return fixed(JOBS),
        "/runs" | "/runs/" => return fixed(RUNS),
        "/triggers/next" => return fixed(NEXT),
        _ => {}
    }
    if let Some(tail) = path.strip_prefix("/jobs/") {
        let (id, action) = match tail.rsplit_once('/') {
            Some((id, "pause")) => (id, JOB_PAUSE),
            Some((id, "resume")) => (id, JOB_RESUME),
            Some((id, "run")) => (id, JOB_RUN),
            Some((id, "runs")) => (id, JOB_RUNS),
            _ => (tail, JOB),
        };
        return with_id(id, action);
    }
    let tail = path.strip_prefix("/runs/")?;
    match tail.rsplit_once('/') {
        Some((id, "cancel")) => with_id(id, CANCEL),
        Some(_) => None,
        None => with_id(tail, RUN),
    }
}

/// Finds what `method` asks of `path`, which is raw and without the prefix.
///
/// # Errors
///
/// 404, 405 with `Allow`, or 400 where the path cannot be decoded.
pub(crate) fn find(method: &Method, path: &str) -> Answer<Endpoint> {
    let Some(methods) = methods(path) else {
        return Err(Problem::not_found(
            "there is nothing here; the endpoints are listed in /openapi.json",
        ));
    };
    let Methods { id, made } = methods?;
    let wanted = if method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    match made.iter().find(|(name, _)| *name == wanted) {
        Some((_, make)) => Ok(make(id)),
        None => Err(not_allowed(method, made)),
    }
}

fn not_allowed(method: &Method, made: &[(&str, Make)]) -> Problem {
    let mut allowed: Vec<&str> = made.iter().map(|(name, _)| *name).collect();
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    let allowed = allowed.join(", ");
    let detail = format!("{method} is not possible here; {allowed} is");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).header(header::ALLOW, &allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_before_they_are_decoded() {
        let job = |id: &str| Ok(Endpoint::GetJob(id.to_owned()));
        let run = |id: &str| Ok(Endpoint::RunJob(id.to_owned()));
        let runs = |id: &str| Ok(Endpoint::JobRuns(id.to_owned()));
        for (method, path, expected) in [
            (Method::GET, "", Ok(Endpoint::Scheduler)),
            (Method::GET, "/", Ok(Endpoint::Scheduler)),
            (Method::HEAD, "/jobs/", Ok(Endpoint::ListJobs)),
            (Method::GET, "/jobs/a%2Fb", job("a/b")),
            (Method::GET, "/jobs/a/b", job("a/b")),
            (Method::GET, "/jobs/a%2Frun", job("a/run")),
            (Method::GET, "/jobs/run", job("run")),
            (Method::GET, "/jobs/a%252F", job("a%2F")),
            (Method::GET, "/jobs/%72un", job("run")),
            (Method::POST, "/jobs/a/run", run("a")),
            (Method::POST, "/jobs/a%2Frun/run", run("a/run")),
            (Method::POST, "/jobs/a/b/run", run("a/b")),
            (Method::GET, "/jobs/a%2Fb/runs", runs("a/b")),
            (Method::GET, "/jobs/a/run", Err(405)),
            (Method::PUT, "/jobs", Err(405)),
            (Method::GET, "/jobs/%zz", Err(400)),
            (Method::GET, "/jobs/%ff", Err(400)),
            (Method::GET, "/nothing", Err(404)),
            (Method::GET, "/runs/a/b", Err(404)),
        ] {
            let found = find(&method, path).map_err(|problem| problem.status().as_u16());
            assert_eq!(found, expected, "{method} {path}");
        }
    }
}
