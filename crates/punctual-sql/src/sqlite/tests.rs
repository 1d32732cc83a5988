//! What the outside cannot see: which indexes the statements use, and that none reads a whole table.

use punctual_core::clock::SimClock;
use punctual_core::run::RunState;
use punctual_core::zones::Zones;
use rusqlite::Connection;

use super::sql::{self, Statements};
use super::*;

fn options() -> SqliteOptions {
    let clock = SimClock::new(Timestamp::from_second(1_767_225_600).unwrap());
    SqliteOptions::new(Arc::new(clock), Zones::system())
}

fn plan(db: &Connection, statement: &str) -> String {
    let mut query = db
        .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
        .unwrap();
    let mut rows = query.raw_query();
    let mut plan = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        plan.push(row.get::<_, String>(3).unwrap());
    }
    plan.join("; ")
}

/// Claims, next due, leases and pages find their rows by index, in the right order, however many there are.
#[test]
fn statements_use_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, db) = open::open(&folder.path().join("a.db"), &options()).unwrap();
    let sql = Statements::new(DEFAULT_PREFIX);
    for (statement, index) in [
        (
            &sql.due_in_class,
            "punctual_jobs_wake (task=? AND executor=? AND (wake_at,id)>(?,?) AND wake_at<?)",
        ),
        (
            &sql.first_in_class,
            "punctual_jobs_wake (task=? AND executor=?",
        ),
        (&sql.list_by_next_run, "punctual_jobs_listed ("),
        (&sql.runs_live, "punctual_runs_live (job_id=?)"),
        (&sql.runs_running_of, "punctual_runs_running (node=?)"),
        (
            &sql.runs_expired,
            "punctual_runs_running (node=? AND lease_until<?)",
        ),
        (&sql.owner_after, "punctual_runs_running (node>?)"),
        (
            &sql.count_over,
            "COVERING INDEX punctual_runs_over (finished_at>?)",
        ),
        (
            &sql.prune_old,
            "COVERING INDEX punctual_runs_over (finished_at<?)",
        ),
        (&sql.prune_of_job, "punctual_runs_job (job_id=?)"),
        (
            &sql.jobs_with_rows,
            "COVERING INDEX punctual_runs_job (job_id>?)",
        ),
        (
            &sql::runs_page(DEFAULT_PREFIX, true, None, false, false),
            "punctual_runs_job (job_id=? AND id<?)",
        ),
        (
            &sql::runs_page(DEFAULT_PREFIX, false, Some(RunState::Failed), true, true),
            "punctual_runs_state (state=? AND id<?)",
        ),
        (
            &sql::runs_page(DEFAULT_PREFIX, false, Some(RunState::Running), false, false),
            "punctual_runs_live",
        ),
    ] {
        let plan = plan(&db, statement);
        assert!(plan.contains(index), "{statement}\n{plan}");
    }
    let sorted = [
        &sql.due_in_class,
        &sql.first_in_class,
        &sql.list_by_next_run,
        &sql.list_by_id,
    ];
    for statement in sorted {
        assert!(
            !plan(&db, statement).contains("TEMP B-TREE"),
            "{statement} sorts"
        );
    }
}

/// No statement but those that mean every row reads a whole table.
#[test]
fn no_statement_reads_a_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let (_, db) = open::open(&folder.path().join("a.db"), &options()).unwrap();
    for (name, statement) in Statements::new(DEFAULT_PREFIX).all() {
        let plan = plan(&db, statement);
        let whole = plan.split("; ").any(|step| {
            step.starts_with("SCAN")
                && !step.contains("INDEX")
                && !step.contains("CONSTANT ROW")
                && !step.contains("subquery")
        });
        let is_meant = ["jobs_delete", "fence_max"].contains(&name);
        assert!(!whole || is_meant, "{name}: {plan}");
    }
}

/// A fault inside a request is that request's error; the thread lives on, and nothing of the request is kept.
#[test]
#[expect(clippy::panic, reason = "the panic is what is tested")]
fn a_panic_is_one_request_s_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("a.db"), options()).unwrap();
    let value = serde_json::json!(1);
    let broken = store.writes.call(move |session| {
        session.put_record("a", "b", Some(&value), Expect::Any)?;
        if session.sql.record.is_empty() {
            return Ok(());
        }
        panic!("on purpose");
    });
    let error = async_io::block_on(broken).unwrap_err();
    assert!(error.to_string().contains("report"), "{error}");
    assert_eq!(async_io::block_on(store.record("a", "b")).unwrap(), None);
    assert_eq!(
        async_io::block_on(store.append_log("a", serde_json::json!(1))).unwrap(),
        1
    );
}

/// A question that waits behind a long one sees what was acknowledged before it was asked.
#[test]
fn reads_see_what_was_written_before_they_were_asked() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("a.db"), options()).unwrap();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let long = store.reads.call(move |reader| {
                let found = reader.records("a")?.len();
                begun.send(()).unwrap();
                may_go_on.recv().unwrap();
                Ok(found)
            });
            assert_eq!(async_io::block_on(long).unwrap(), 0);
        });
        has_begun.recv().unwrap();
        let written = store.put_record("a", "b", Some(Value::Null), Expect::Any);
        assert!(async_io::block_on(written).unwrap());
        let mut read = store.records("a");
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(read.as_mut().poll(&mut context).is_pending());
        go_on.send(()).unwrap();
        assert_eq!(async_io::block_on(read).unwrap().len(), 1);
    });
}
