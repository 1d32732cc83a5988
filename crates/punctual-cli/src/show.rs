//! Answers, put for people.

use std::fmt::Write;

use serde_json::Value;

use crate::table::{harmless, render};

/// A value as text: nothing for null, no quotes around a string.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn job_state(job: &Value) -> &str {
    if job["error"].is_string() {
        "unreadable"
    } else if job["no_node_has_task"] == true {
        "no node has its task"
    } else if job["paused"].is_object() {
        "paused"
    } else {
        job["state"].as_str().unwrap_or_default()
    }
}

/// A table of jobs.
pub(crate) fn jobs(answer: &Value) -> String {
    let jobs = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = jobs
        .iter()
        .map(|job| {
            [
                text(&job["id"]),
                text(&job["func"]),
                text(&job["next_run_time"]),
                job_state(job).to_owned(),
                text(&job["description"]),
            ]
        })
        .collect();
    render(["ID", "TASK", "NEXT RUN", "STATE", "WHEN"], &rows)
}

/// Every field of an object, one a line; what is empty is left out.
pub(crate) fn details(answer: &Value) -> String {
    let Some(fields) = answer.as_object() else {
        return text(answer);
    };
    let given: Vec<_> = fields
        .iter()
        .filter(|(_, value)| match value {
            Value::Null => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        })
        .collect();
    let width = given.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for (key, value) in given {
        let _ = writeln!(lines, "{key:width$}  {}", harmless(&text(value)));
    }
    lines.pop();
    lines
}

/// A job, with what matters first.
pub(crate) fn job(job: &Value) -> String {
    details(job)
}

/// What happened to a job, in a line.
pub(crate) fn sentence(verb: &str, job: &Value) -> String {
    let id = harmless(&text(&job["id"]));
    match job["next_run_time"].as_str() {
        Some(next) => format!("{verb} {id}; next run {next}"),
        None if job.is_null() => format!("{verb}; nothing was left to run, so it is gone"),
        None => format!("{verb} {id}; no next run"),
    }
}

/// What became of a run, in a line.
pub(crate) fn run_sentence(run: &Value) -> String {
    let mut line = format!(
        "run {} of {}: {}",
        text(&run["id"]),
        harmless(&text(&run["job_id"])),
        text(&run["state"])
    );
    if run["cancel_requested"] == true {
        line.push_str(", asked to stop");
    }
    if let Some(reason) = run["reason"].as_str() {
        let _ = write!(line, " ({reason})");
    }
    line
}

/// A run with its output.
pub(crate) fn run(run: &Value) -> String {
    let mut lines = run_sentence(run);
    for key in ["error", "output"] {
        if let Some(text) = run[key].as_str() {
            let _ = write!(lines, "\n{}", harmless(text.trim_end()));
        }
    }
    lines
}

/// A table of runs.
pub(crate) fn runs(answer: &Value) -> String {
    let items = answer["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows: Vec<_> = items
        .iter()
        .map(|run| {
            let mut state = text(&run["state"]);
            if run["count"].as_u64().unwrap_or(1) > 1 {
                let _ = write!(state, " ×{}", run["count"]);
            }
            let why = if run["error"].is_string() {
                &run["error"]
            } else {
                &run["reason"]
            };
            [
                text(&run["id"]),
                text(&run["job_id"]),
                text(&run["scheduled_at"]),
                text(&run["attempt"]),
                state,
                text(why),
            ]
        })
        .collect();
    render(
        ["RUN", "JOB", "SCHEDULED", "ATTEMPT", "STATE", "WHY"],
        &rows,
    )
}
