//! What goes to a worker and comes back.

use punctual_core::run::RunState;
use punctual_core::scheduler::NewJob;
use serde_json::{Value, json};

use crate::bench::{Bench, await_file};

cases! {
    arguments_and_results_cross,
    long_arguments_cross_and_too_long_ones_are_refused,
    state_is_made_in_the_worker,
    the_run_arrives_whole,
    async_tasks_run,
    output_comes_back_within_its_bounds,
    ends_that_are_no_crash_cross,
    a_late_logger_hurts_nobody,
}

fn arguments_and_results_cross() {
    let bench = Bench::new(1);
    let value = json!({ "text": "ü\n\u{0}\"", "numbers": [1, -2.5, u64::MAX], "nothing": null });
    let output = bench.output("echo", &value);
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), value);
    assert_eq!(bench.output("nothing", ()), "");
    let named = json!({ "name": "Ann" });
    let job = NewJob::new("echo").kwargs(named.as_object().unwrap().clone());
    let row = bench.end_of(bench.add(job));
    assert_eq!(row.output.as_deref(), Some("{\"name\":\"Ann\"}\n"));
}

fn long_arguments_cross_and_too_long_ones_are_refused() {
    let bench = Bench::new(1);
    for bytes in [10_000, 1 << 20, 15 << 20] {
        let length = bench.output("length", "x".repeat(bytes));
        assert_eq!(length, bytes.to_string());
    }
    let worker = bench.pid();
    let error = bench.error("length", "x".repeat(16 << 20));
    assert!(error.contains("a worker process takes 16777216"), "{error}");
    let error = bench.error("long_error", 17 << 20);
    assert!(error.contains("a message of 17825814 bytes"), "{error}");
    assert_eq!(bench.pid(), worker, "it was not the worker's fault");
}

fn state_is_made_in_the_worker() {
    let bench = Bench::new(1);
    assert_eq!(bench.output("greet", "Ann"), "\"good morning, Ann\"");
    assert_ne!(bench.pid(), std::process::id());
}

fn the_run_arrives_whole() {
    let bench = Bench::new(1);
    let row = bench.end_of(bench.add(NewJob::new("row").id("the job").tag("a tag")));
    let seen: Value = serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
    let expected = json!({
        "id": row.id.to_string(),
        "key": row.idempotency_key(),
        "state": "running",
        "fence": row.fence.0,
        "node": row.node.unwrap().0,
        "attempt": 1,
        "job": "the job",
        "tags": ["a tag"],
        "lease": false,
    });
    assert_eq!(seen, expected);
}

fn async_tasks_run() {
    let bench = Bench::new(1);
    assert_eq!(bench.output("async_sleep", 30), "30");
    let error = bench.error("async_panic", ());
    assert_eq!(error, "the task panicked: it was too much, too");
    let started = bench.path("started");
    let job = bench.start("async_polite", &started);
    await_file(&started);
    bench.cancel(&job);
    assert_eq!(bench.end_of(job).state(), RunState::Cancelled);
}

fn output_comes_back_within_its_bounds() {
    let bench = Bench::new(1);
    let output = bench.output("flood", 100_000);
    assert!(output.starts_with("the first line\nline 00000000\n"));
    assert!(output.ends_with("line 00099999\nthe last line"));
    assert!(output.contains("bytes left out"), "{}", output.len());
}

fn ends_that_are_no_crash_cross() {
    let bench = Bench::new(1);
    assert_eq!(bench.error("end", "failed"), "as asked");
    let row = bench.run("end", "timed_out");
    assert_eq!(row.state(), RunState::TimedOut);
    assert_eq!(row.error.as_deref(), Some("waited for a lorry"));
}

fn a_late_logger_hurts_nobody() {
    let bench = Bench::new(1);
    let worker = bench.output("background", ());
    let worker = worker.lines().last().unwrap().to_owned();
    for _ in 0..20 {
        assert_eq!(bench.output("pid", ()), worker);
    }
}
