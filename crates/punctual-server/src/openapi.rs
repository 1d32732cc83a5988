//! The `OpenAPI` document, from one table of endpoints.

use serde_json::{Map, Value, json};

/// One endpoint: method, path below the prefix, what it does, its body's schema, its answer's schema (none is 204),
/// and its query parameters.
struct Documented(
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    &'static [&'static str],
);

const JOB_FILTERS: &[&str] = &["text", "tag", "paused", "task", "limit", "cursor"];
const RUN_FILTERS: &[&str] = &["job_id", "state", "from", "until", "limit", "cursor"];
const RUN_FILTERS_OF_JOB: &[&str] = &["state", "from", "until", "limit", "cursor"];

#[rustfmt::skip]
const TABLE: &[Documented] = &[
    Documented("get", "", "How the scheduler does", None, Some("Scheduler"), &[]),
    Documented("post", "/pause", "Start no runs, on any node, until resumed", None, None, &[]),
    Documented("post", "/resume", "Start runs again, on every node", None, None, &[]),
    Documented("post", "/start", "Start this node's scheduler", None, None, &[]),
    Documented("post", "/shutdown", "Stop this node's scheduler; the API goes on", Some("Shutdown"), None, &[]),
    Documented("get", "/jobs", "List jobs by next run", None, Some("Jobs"), JOB_FILTERS),
    Documented("post", "/jobs", "Add a job", Some("NewJob"), Some("Job"), &[]),
    Documented("get", "/jobs/{id}", "Show a job", None, Some("Job"), &[]),
    Documented("patch", "/jobs/{id}", "Change a job; what is not given stays", Some("JobChange"), Some("Job"), &[]),
    Documented("delete", "/jobs/{id}", "Remove a job; its runs stay in the ledger", None, None, &[]),
    Documented("post", "/jobs/{id}/pause", "Let no run of a job start", Some("Pause"), Some("Job"), &[]),
    Documented("post", "/jobs/{id}/resume", "Let a paused job run again; null where nothing was left to run", None, Some("Job"), &[]),
    Documented("post", "/jobs/{id}/run", "Run a job now, once, beside its schedule", None, Some("Job"), &[]),
    Documented("get", "/jobs/{id}/runs", "List the runs of a job, gone or not, newest first", None, Some("Runs"), RUN_FILTERS_OF_JOB),
    Documented("get", "/runs", "List runs, newest first", None, Some("Runs"), RUN_FILTERS),
    Documented("get", "/runs/{id}", "Show a run", None, Some("Run"), &[]),
    Documented("post", "/runs/{id}/cancel", "Ask a run to stop", None, Some("Run"), &[]),
    Documented("post", "/triggers/next", "When would a trigger fire?", Some("NextFires"), Some("Fires"), &[]),
];

/// The document for an API below `prefix`.
pub(crate) fn document(prefix: &str) -> Value {
    let mut paths = Map::new();
    for endpoint in TABLE {
        let path = match format!("{prefix}{}", endpoint.1) {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        };
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[endpoint.0] = operation(endpoint);
    }
    for (path, summary) in [
        ("/healthz", "Is the process alive?"),
        (
            "/readyz",
            "Does the scheduler work, and does each store answer? 503 where not",
        ),
        ("/openapi.json", "This document"),
    ] {
        let answer = json!({ "200": { "description": "yes" } });
        paths.insert(
            path.to_owned(),
            json!({ "get": { "summary": summary, "security": [], "responses": answer } }),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Punctual",
            "description": "A job scheduler. A superset of Flask-APScheduler's API.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "security": [{ "bearer": [] }, { "basic": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic", "description": "the token as password" },
            },
            "schemas": schemas(),
        },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn operation(Documented(_, path, summary, body, answer, filters): &Documented) -> Value {
    let success = match answer {
        None => json!({ "204": { "description": "done" } }),
        Some(name) => json!({ "200": {
            "description": "done",
            "content": { "application/json": { "schema": reference(name) } },
        } }),
    };
    let mut operation = json!({ "summary": summary, "responses": success });
    operation["responses"]["default"] = json!({
        "description": "why not",
        "content": { "application/problem+json": { "schema": reference("Problem") } },
    });
    if let Some(name) = body {
        operation["requestBody"] = json!({
            "required": !matches!(*name, "Pause" | "Shutdown"),
            "content": { "application/json": { "schema": reference(name) } },
        });
    }
    let mut parameters: Vec<Value> = filters.iter().map(|name| parameter(name)).collect();
    if path.contains("{id}") {
        let id =
            json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } });
        parameters.insert(0, id);
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    operation
}

fn parameter(name: &str) -> Value {
    let schema = match name {
        "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 1000 }),
        "paused" => json!({ "type": "boolean" }),
        _ => json!({ "type": "string" }),
    };
    json!({ "name": name, "in": "query", "schema": schema })
}

/// An object with these fields: each a name and a type, `?` after it where it may be null.
fn object(fields: &[(&str, &str)]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, kind)| {
            let schema = match kind.strip_suffix('?') {
                Some(kind) => json!({ "type": [kind, "null"] }),
                None => json!({ "type": kind }),
            };
            ((*name).to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties })
}

const DEFINITION: &[(&str, &str)] = &[
    ("name", "string"),
    ("func", "string"),
    ("args", "array"),
    ("kwargs", "object"),
    ("executor", "string"),
    ("tags", "array"),
    ("max_instances", "integer"),
    ("coalesce", "boolean"),
    ("misfire_grace_time", "number?"),
    ("overlap", "string"),
    ("retry", "object?"),
    ("timeout", "number?"),
    ("on_crash", "string"),
    ("next_run_time", "string?"),
];

fn with(fields: &[(&str, &str)]) -> Value {
    object(&[DEFINITION, fields].concat())
}

fn schemas() -> Value {
    // A trigger is its type with its parameters beside it, or an object that holds both.
    let trigger = json!({ "description": "a type with its parameters beside it, or one object", "type": ["string", "object"] });
    let mut new_job = with(&[
        ("id", "string"),
        ("task", "string"),
        ("jobstore", "string"),
        ("replace_existing", "boolean"),
        ("paused", "boolean"),
        ("allow_unknown_task", "boolean"),
    ]);
    new_job["properties"]["trigger"] = trigger.clone();
    let mut change = with(&[
        ("task", "string"),
        ("revision", "integer"),
        ("allow_unknown_task", "boolean"),
    ]);
    change["properties"]["trigger"] = trigger.clone();
    let mut next = object(&[("now", "string"), ("n", "integer")]);
    next["properties"]["trigger"] = trigger;
    let mut job = with(&[
        ("id", "string"),
        ("trigger", "string?"),
        ("jobstore", "string"),
        ("paused", "object?"),
        ("state", "string"),
        ("revision", "integer"),
        ("created_at", "string"),
        ("updated_at", "string"),
        ("description", "string"),
        ("no_node_has_task", "boolean"),
        ("error", "string"),
        ("warnings", "array"),
    ]);
    job["properties"]["run"] = reference("Run");
    json!({
        "Problem": object(&[
            ("type", "string"), ("title", "string"), ("status", "integer"), ("detail", "string"),
            ("field", "string"), ("error_message", "string"),
        ]),
        "Scheduler": object(&[
            ("allowed_hosts", "array"), ("current_host", "string"), ("running", "boolean"), ("state", "string"),
            ("paused", "boolean?"), ("node", "string"), ("version", "string"), ("timezone", "string"),
            ("timezone_data", "string"), ("tasks", "array"), ("executors", "array"), ("jobstores", "array"),
        ]),
        "Shutdown": object(&[("wait", "boolean")]),
        "Pause": object(&[("by", "string"), ("note", "string"), ("until", "string")]),
        "NewJob": new_job,
        "JobChange": change,
        "Job": job,
        "Jobs": { "type": "array", "items": reference("Job") },
        "Run": object(&[
            ("id", "string"), ("job_id", "string"), ("kind", "string"), ("scheduled_at", "string"),
            ("due_at", "string"), ("attempt", "integer"), ("state", "string"), ("reason", "string?"),
            ("node", "string?"), ("fence", "integer"), ("started_at", "string?"), ("finished_at", "string?"),
            ("output", "string?"), ("error", "string?"), ("count", "integer"), ("scheduled_until", "string?"),
            ("superseded_at", "string?"), ("idempotency_key", "string"), ("cancel_requested", "boolean"),
        ]),
        "Runs": {
            "type": "object",
            "properties": {
                "items": { "type": "array", "items": reference("Run") },
                "next_cursor": { "type": ["string", "null"] },
            },
        },
        "NextFires": next,
        "Fires": object(&[
            ("fires", "array"), ("description", "string"), ("trigger", "object"), ("never_fires", "string"),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::route;

    #[test]
    fn what_is_documented_is_routed() {
        for Documented(method, path, ..) in TABLE {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let path = path.replace("{id}", "x");
            assert!(route::find(&method, &path).is_ok(), "{method} {path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document("/scheduler");
        let text = document.to_string();
        let names = text.split("#/components/schemas/").skip(1);
        for name in names.map(|rest| rest.split('"').next().unwrap()) {
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name}"
            );
        }
    }
}
