//! Whether each question finds its index: asked of the server's planner, with the statements as they are sent.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use punctual_backend::{Awaited, Due, StoreOptions};
use punctual_core::id::{ExecutorName, JobId, NodeId, TaskName};
use punctual_core::run::RunState;
use punctual_core::store::RunQuery;

use super::backend::SqlBackend;
use super::cell::{Cell, Value};
use super::dialect::{Conflict, Dialect};
use super::rows::{JOB_COLUMNS, RUN_COLUMNS};
use super::statement::Statement;

const ROWS: i64 = 20_000;
const CHUNK: i64 = 1000;

fn micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap()
}

/// A job of one of four tasks, awake at its number.
fn job(n: i64) -> Vec<Value> {
    let cells = JOB_COLUMNS.iter().map(|column| match column.name {
        "id" => Value::Name(format!("job-{n:06}")),
        "task" => Value::Name(format!("task-{}", n % 4)),
        "executor" => Value::Name("default".to_owned()),
        "phase" => Value::Text("active".to_owned()),
        "definition" => Value::Text("{}".to_owned()),
        "name" | "tags" | "paused" => Value::MaybeText(None),
        "live" => Value::Int(0),
        _ => Value::Int(n),
    });
    cells.collect()
}

/// A run of it: one in a hundred is running, one has failed.
fn run(n: i64) -> Vec<Value> {
    let (is_running, is_failed) = (n % 100 == 0, n % 100 == 1);
    let cells = RUN_COLUMNS.iter().map(|column| match column.name {
        "id" => Value::Run(punctual_core::id::RunId(n as u128)),
        "job_id" => Value::Name(format!("job-{:06}", n % 1000)),
        "kind" => Value::Text("scheduled".to_owned()),
        "state" if is_running => Value::Text("running".to_owned()),
        "state" if is_failed => Value::Text("failed".to_owned()),
        "state" => Value::Text("succeeded".to_owned()),
        "lease_until" => Value::MaybeInt(is_running.then_some(n)),
        "finished_at" => Value::MaybeInt((!is_running).then_some(n)),
        "reason" | "output" | "error" => Value::MaybeText(None),
        "cancel_requested" => Value::Flag(false),
        _ => Value::Int(n),
    });
    cells.collect()
}

/// Fills tables, and has every question explained. `check` gets the plan, the table and the index that it must go by.
pub(crate) fn questions_find_their_indexes<D: Dialect>(
    server: &str,
    make: impl FnOnce(&str, &StoreOptions) -> D,
    check: impl Fn(&str, &[Vec<Cell>], &str, &str),
) {
    let Some(url) = punctual_conformance::server_url(server) else {
        return;
    };
    let prefix = format!("e{:08x}_", NodeId::random().0 as u32);
    let options = StoreOptions::default().prefix(&prefix);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let backend = SqlBackend::open(make(&url, &options), &options)
            .await
            .unwrap();
        for first in (0..ROWS).step_by(CHUNK as usize) {
            let (jobs, runs) = (format!("{prefix}jobs"), format!("{prefix}runs"));
            let rows = (first..first + CHUNK).map(job).collect();
            let insert = D::insert(&jobs, JOB_COLUMNS, rows, Conflict::Fail);
            backend.links.execute(insert).await.unwrap();
            let rows = (first..first + CHUNK).map(run).collect();
            let insert = D::insert(&runs, RUN_COLUMNS, rows, Conflict::Fail);
            backend.links.execute(insert).await.unwrap();
        }
        for (what, statement, table, index) in questions(&backend) {
            let text = format!("EXPLAIN {}", statement.text);
            let answer = backend
                .links
                .ask(Statement { text, ..statement })
                .await
                .unwrap();
            check(what, &answer.rows, &format!("{prefix}{table}"), index);
        }
        let tables = ["jobs", "runs", "records", "log", "meta", "migrations"];
        for table in tables {
            let drop = Statement::script(format!("DROP TABLE {prefix}{table}"));
            backend.links.execute(drop).await.unwrap();
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn questions<D: Dialect>(
    backend: &SqlBackend<D>,
) -> Vec<(&'static str, Statement, &'static str, &'static str)> {
    let tasks: BTreeSet<TaskName> = ["task-0", "task-2", "task-9"]
        .map(|task| task.try_into().unwrap())
        .into();
    let executor = ExecutorName::default();
    let after = (500, "job-000500".to_owned());
    let due = |after| {
        let due = Due {
            tasks: &tasks,
            executor: &executor,
            except: &[],
            after: None,
            limit: 100,
        };
        backend.due_places(micros(ROWS / 2), &due, after, 100)
    };
    let except = [JobId::new("job-000000").unwrap()];
    let awaited = Awaited {
        tasks: &tasks,
        executors: &[&executor],
        except: &except,
    };
    let runs = |job_id: Option<&str>, state| {
        let query = RunQuery {
            job_id: job_id.map(|id| id.try_into().unwrap()),
            state,
            ..RunQuery::default()
        };
        backend.runs_page(&query, None, 50)
    };
    vec![
        ("due", due(None), "jobs", "jobs_wake"),
        ("due after a place", due(Some(&after)), "jobs", "jobs_wake"),
        ("next wake", backend.wakes(&awaited), "jobs", "jobs_wake"),
        (
            "runs of a job",
            runs(Some("job-000007"), None),
            "runs",
            "runs_job",
        ),
        (
            "running",
            runs(None, Some(RunState::Running)),
            "runs",
            "runs_live",
        ),
        (
            "failed",
            runs(None, Some(RunState::Failed)),
            "runs",
            "runs_state",
        ),
    ]
}
