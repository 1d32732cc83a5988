//! When runs start, what is left out, and how they end.

use super::*;

#[test]
fn interval_fires_on_time_and_the_ledger_says_so() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("tick").trigger(every(10)));
    bench.advance(35);
    assert_eq!(bench.called(), [10, 20, 30]);
    assert_eq!(bench.ledger(), ["succeeded"; 3]);
    let next = bench.get("tick").unwrap().next_run_time().unwrap();
    assert_eq!(next.to_string(), "2026-01-01T00:00:40Z");
}

#[test]
fn a_year_of_daily_runs_passes_in_a_blink() {
    let settings = Settings {
        sleep_max: Duration::from_hours(24),
        ..Settings::default()
    };
    let bench = Bench::with(|builder| builder.settings(settings));
    bench.scheduler.start(StartMode::Running).unwrap();
    bench.add(
        NewJob::new("note")
            .id("daily")
            .trigger(Trigger::crontab("0 9 * * *").unwrap()),
    );
    bench
        .sim
        .advance_to("2027-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(bench.called().len(), 365);
}

#[test]
fn a_job_without_trigger_runs_once_and_is_gone() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("once"));
    bench.advance(1);
    assert_eq!(bench.called(), [0]);
    assert_eq!(bench.get("once"), None);
    assert_eq!(bench.ledger(), ["succeeded"]);
}

#[test]
fn a_past_date_runs_now_with_a_warning() {
    let bench = Bench::started();
    let past = Trigger::date("2025-06-01T00:00:00Z".parse().unwrap());
    let added = bench.add(NewJob::new("note").id("late").trigger(past.clone()));
    assert!(
        added.warnings[0].contains("has passed"),
        "{:?}",
        added.warnings
    );
    bench.advance(1);
    assert_eq!(bench.ledger(), ["succeeded"]);

    let added = bench.add(
        NewJob::new("note")
            .id("too-late")
            .trigger(past.clone())
            .misfire_grace_time(Duration::from_mins(1)),
    );
    assert!(
        added.warnings[0].contains("skipped"),
        "{:?}",
        added.warnings
    );
    bench.advance(1);
    assert_eq!(bench.ledger(), ["succeeded", "skipped misfired"]);
    assert_eq!(bench.get("too-late"), None);

    // What the warning says is what happens: without coalescing, only a day is caught up with.
    let job = NewJob::new("note").id("day-old").trigger(past);
    let added = bench.add(job.coalesce(Coalesce::Off));
    assert!(added.warnings[0].contains("24 h"), "{:?}", added.warnings);
    bench.advance(1);
    assert_eq!(bench.ledger().len(), 3);
    assert_eq!(bench.ledger()[2], "skipped misfired");
}

#[test]
fn overlap_policies_hold() {
    let ledger = |overlap| {
        let bench = Bench::started();
        bench.add(
            NewJob::new("slow")
                .id("job")
                .arg(16)
                .trigger(every(10))
                .overlap(overlap),
        );
        bench.advance(41);
        bench.ledger()
    };
    // Due at 10, 20, 30 and 40; each run takes 16; this is the ledger at 41.
    let max = "skipped max_instances";
    assert_eq!(ledger(Overlap::Skip), ["succeeded", max, "running", max]);
    assert_eq!(
        ledger(Overlap::QueueOne),
        ["succeeded", "running", "pending", max]
    );
    // The task winds up when it is asked to, so each of them ends as it should.
    assert_eq!(
        ledger(Overlap::CancelRunning),
        ["succeeded", "succeeded", "succeeded", "running"]
    );
}

#[test]
fn late_runs_coalesce_to_the_latest_unless_told_otherwise() {
    let ledger = |job: NewJob| {
        let bench = Bench::new();
        bench.add(job.id("job").trigger(every(10)));
        bench.sim.clock().advance(Duration::from_secs(35));
        bench.scheduler.start(StartMode::Running).unwrap();
        bench.advance(0);
        (bench.called(), bench.ledger())
    };
    let (called, rows) = ledger(NewJob::new("note"));
    assert_eq!(called, [30]);
    assert_eq!(
        rows,
        ["skipped coalesced", "skipped coalesced", "succeeded"]
    );
    let (called, rows) = ledger(NewJob::new("note").coalesce(Coalesce::Off));
    assert_eq!(called, [10, 20, 30]);
    assert_eq!(rows, ["succeeded"; 3]);
    let (called, rows) = ledger(
        NewJob::new("note")
            .coalesce(Coalesce::Off)
            .misfire_grace_time(Duration::from_secs(20)),
    );
    assert_eq!(called, [20, 30]);
    assert_eq!(rows, ["skipped misfired", "succeeded", "succeeded"]);
}

#[test]
fn catching_up_with_a_year_of_seconds_leaves_a_summary() {
    let bench = Bench::new();
    bench.add(
        NewJob::new("note")
            .id("job")
            .trigger(Trigger::cron().second("*").build().unwrap()),
    );
    bench.sim.clock().advance(Duration::from_hours(24 * 365));
    bench.scheduler.start(StartMode::Running).unwrap();
    bench.advance(0);
    let page = bench
        .run(|scheduler| async move { scheduler.runs("default", &RunQuery::default()).await })
        .unwrap();
    assert_eq!(page.items.len(), 102);
    let total: u64 = page.items.iter().map(|run| run.count).sum();
    assert_eq!(total, 365 * 24 * 3600 + 1);
}

#[test]
fn a_manual_run_does_not_disturb_the_schedule() {
    let bench = Bench::started();
    bench.add(NewJob::new("slow").id("job").arg(3).trigger(every(10)));
    bench.advance(5);
    let (_, run) = bench
        .run(|s| async move { s.run_job(&id("job")).await })
        .unwrap();
    assert_eq!(
        (run.kind, run.state()),
        (RunKind::Manual, RunState::Pending)
    );
    bench.advance(1);
    let (_, second) = bench
        .run(|s| async move { s.run_job(&id("job")).await })
        .unwrap();
    assert_eq!(
        (second.state(), second.reason),
        (RunState::Skipped, Some(Reason::MaxInstances))
    );
    bench.advance(14);
    assert_eq!(bench.called(), [5, 10, 20]);
}

#[test]
fn retries_back_off_with_one_idempotency_key() {
    let bench = Bench::started();
    bench.add(
        NewJob::new("flaky")
            .id("job")
            .arg(2)
            .retry(Retry::fixed(3, Duration::from_secs(30))),
    );
    bench.advance(100);
    let page = bench
        .run(|s| async move { s.runs("default", &RunQuery::default()).await })
        .unwrap();
    let runs: Vec<_> = page.items.iter().rev().collect();
    assert_eq!(bench.ledger(), ["failed", "failed", "succeeded"]);
    assert_eq!(
        runs.iter().map(|run| run.attempt).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(
        runs.iter()
            .all(|run| run.idempotency_key() == runs[0].idempotency_key())
    );
    assert!(runs.is_sorted_by_key(|run| run.fence));
    assert_eq!(runs[2].output.as_deref(), Some("\"done\"\n"));
    assert_eq!(
        bench.get("job"),
        None,
        "a job is finishing until its last attempt is over"
    );
}

#[test]
fn timeouts_end_a_run_that_does_not_listen() {
    let bench = Bench::started();
    bench.add(
        NewJob::new("stubborn")
            .id("job")
            .timeout(Duration::from_secs(10)),
    );
    bench.advance(14);
    assert_eq!(
        bench.ledger(),
        ["running"],
        "it has five seconds to wind up"
    );
    bench.advance(2);
    assert_eq!(bench.ledger(), ["timed_out"]);
}

#[test]
fn the_timer_of_a_timeout_ends_with_its_run() {
    let bench = Bench::started();
    let before = bench.sim.timers();
    let job = NewJob::new("note").id("job").trigger(every(1));
    bench.add(job.timeout(Duration::from_hours(24)));
    bench.advance(100);
    assert_eq!(bench.called().len(), 100);
    let left = bench.sim.timers() - before;
    assert!(left < 5, "{left} timers");
}

#[test]
fn a_panic_is_that_runs_error() {
    let bench = Bench::started();
    bench.add(NewJob::new("explode").id("bad"));
    bench.add(NewJob::new("note").id("good").trigger(every(1)));
    bench.advance(2);
    let query = RunQuery {
        job_id: Some(id("bad")),
        ..RunQuery::default()
    };
    let page = bench
        .run(|s| async move { s.runs("default", &query).await })
        .unwrap();
    assert_eq!(
        page.items[0].error.as_deref(),
        Some("the task panicked: boom")
    );
    assert_eq!(bench.called(), [1, 2]);
}

#[test]
fn cancelling_a_run_stops_it() {
    let bench = Bench::started();
    bench.add(NewJob::new("stubborn").id("job"));
    bench.advance(1);
    let page = bench
        .run(|s| async move { s.runs("default", &RunQuery::default()).await })
        .unwrap();
    let run = page.items[0].id;
    bench
        .run(move |s| async move { s.cancel_run(run).await })
        .unwrap();
    bench.advance(6);
    assert_eq!(bench.ledger(), ["cancelled requested"]);
}

#[test]
fn events_of_a_run_come_in_order() {
    let bench = Bench::new();
    let (send, events) = mpsc::channel();
    bench
        .scheduler
        .add_listener(&[], move |event| send.send(event.kind).unwrap());
    bench
        .scheduler
        .add_listener(&[], |_| panic!("a listener that hurts nobody"));
    bench.add(NewJob::new("note").id("once"));
    bench.scheduler.start(StartMode::Running).unwrap();
    bench.advance(1);
    bench.run(|s| async move { s.shutdown(Shutdown::Wait).await });
    let kinds: Vec<_> = (0..7)
        .map(|_| events.recv_timeout(Duration::from_secs(10)).unwrap())
        .collect();
    use EventKind::{
        JobAdded, JobExecuted, JobRemoved, JobStarted, JobSubmitted, SchedulerShutdown,
        SchedulerStarted,
    };
    assert_eq!(
        kinds,
        [
            JobAdded,
            SchedulerStarted,
            JobSubmitted,
            JobStarted,
            JobExecuted,
            JobRemoved,
            SchedulerShutdown
        ]
    );
}

#[test]
fn a_clock_step_doubles_nothing_and_loses_nothing() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(10)));
    bench.advance(25);
    bench
        .sim
        .clock()
        .step_wall("2025-12-31T23:00:00Z".parse().unwrap());
    bench.advance(60);
    assert_eq!(
        bench.called(),
        [10, 20],
        "an hour back: nothing fires again"
    );
    bench
        .sim
        .clock()
        .step_wall("2026-01-01T00:00:35Z".parse().unwrap());
    bench.advance(30);
    assert_eq!(
        bench.called(),
        [10, 20, 40, 50, 60],
        "forward: noticed within the longest sleep, and coalesced"
    );
}

#[test]
fn the_last_moment_there_is_is_one() {
    let bench = Bench::started();
    let job = NewJob::new("note").id("job");
    let added = bench.add(job.next_run_time(Timestamp::MAX).trigger(every(60)));
    assert!(added.job.next_run_time().unwrap() < Timestamp::MAX);
    bench.advance(60);
    assert!(bench.called().is_empty());
}
