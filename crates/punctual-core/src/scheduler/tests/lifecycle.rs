//! Building, configuring, starting, pausing and ending a scheduler.

use super::*;

#[test]
fn a_lease_that_is_too_short_or_too_long_is_refused() {
    let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
    let sim = SimRuntime::new(clock);
    let build = |lease| {
        let builder = Scheduler::builder().lease(Duration::from_millis(lease));
        sim.run(builder.build(Arc::new(sim.clone())))
    };
    let refused = build(1999).unwrap_err();
    assert_eq!(refused.field(), Some("lease"));
    assert!(refused.to_string().contains("1.999 s"), "{refused}");
    for long in [86_400_001, u64::MAX] {
        assert_eq!(build(long).unwrap_err().field(), Some("lease"));
    }
    let settings = *build(2000).unwrap().settings();
    assert_eq!(settings.lease, Duration::from_secs(2));
}

#[test]
fn pause_of_the_scheduler_is_followed_by_catching_up() {
    let bench = Bench::started();
    bench.add(NewJob::new("note").id("job").trigger(every(10)));
    bench.run(|s| async move { s.pause().await }).unwrap();
    bench.advance(35);
    assert_eq!(bench.called(), [0; 0]);
    assert!(bench.run(|s| async move { s.is_paused().await }).unwrap());
    bench.run(|s| async move { s.resume().await }).unwrap();
    bench.advance(0);
    assert_eq!(bench.called(), [30]);
}

#[test]
fn shutdown_waits_then_cancels_then_hands_back() {
    let bench = Bench::started();
    bench.add(NewJob::new("slow").id("quick").arg(10));
    bench.add(NewJob::new("stubborn").id("stuck"));
    bench.advance(1);
    let before = bench.sim.clock().now();
    bench.run(|s| async move { s.shutdown(Shutdown::Wait).await });
    let took = crate::clock::until(before, bench.sim.clock().now());
    assert_eq!(
        took,
        Duration::from_secs(25),
        "20 s of patience, 5 s of grace"
    );
    assert_eq!(
        bench.ledger(),
        ["succeeded", "cancelled shutdown", "pending"]
    );
    bench.run(|s| async move { s.shutdown(Shutdown::Wait).await });
    assert!(!bench.scheduler.is_running());
    bench.scheduler.start(StartMode::Running).unwrap();
    bench.advance(1);
    assert_eq!(
        bench.ledger()[2],
        "running",
        "whoever starts next takes it up"
    );
}

#[test]
fn configure_takes_the_original_keys_and_refuses_others() {
    let config = json!({
        "apscheduler.timezone": "Europe/Paris",
        "job_defaults.coalesce": "false",
        "job_defaults": { "max_instances": "3", "misfire_grace_time": 30 },
        "executors": { "default": { "type": "threadpool", "max_workers": "20" } },
        "apscheduler.jobstores.second.type": "memory"
    });
    let builder = Scheduler::builder()
        .configure(config.as_object().unwrap())
        .unwrap();
    assert_eq!(builder.zones.default_zone(), "Europe/Paris");
    assert_eq!(builder.settings.job_defaults.coalesce, Some(Coalesce::Off));
    assert_eq!(builder.settings.job_defaults.max_instances, Some(3));
    assert_eq!(builder.executors["default"].capacity(), 20);
    for (config, key, words) in [
        (
            json!({ "misfire_grace_time": 1 }),
            "misfire_grace_time",
            "allowed here",
        ),
        (
            json!({ "job_defaults": { "coalese": true } }),
            "job_defaults.coalese",
            "did you mean coalesce?",
        ),
        (
            json!({ "job_defaults": { "coalesce": "maybe" } }),
            "job_defaults.coalesce",
            "neither",
        ),
        (
            json!({ "executors": { "default": { "type": "pool" } } }),
            "executors.default.type",
            "threadpool",
        ),
        (
            json!({ "jobstores.default.type": "zookeeper" }),
            "jobstores.default.type",
            "memory",
        ),
        (json!({ "timezone": "Mars/Base" }), "timezone", "Mars/Base"),
    ] {
        let error = Scheduler::builder()
            .configure(config.as_object().unwrap())
            .unwrap_err();
        assert_eq!(error.key, key);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn background_scheduler_runs_blocking_tasks_on_threads() {
    let (send, called) = mpsc::channel();
    let send = Mutex::new(send);
    let mut registry = Registry::new();
    registry
        .add_blocking("hello", move |Args(name): Args<String>| {
            let _ = send
                .lock()
                .unwrap()
                .send((name, std::thread::current().name().map(str::to_owned)));
        })
        .unwrap();
    let builder = Scheduler::builder()
        .registry(registry)
        .executor("pool", Arc::new(ThreadPoolExecutor::new(2)));
    let scheduler = BackgroundScheduler::build(builder).unwrap();
    scheduler.shutdown(Shutdown::Wait);
    scheduler.start(StartMode::Running).unwrap();
    for executor in ["default", "pool"] {
        scheduler
            .add_job(NewJob::new("hello").arg("world").executor(executor))
            .unwrap();
        let (name, thread) = called.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(
            (name.as_str(), thread.as_deref()),
            ("world", Some("punctual-worker"))
        );
    }
    scheduler.shutdown(Shutdown::Wait);
    scheduler.shutdown(Shutdown::Wait);
    scheduler.start(StartMode::Running).unwrap();
    scheduler
        .add_job(NewJob::new("hello").arg("again"))
        .unwrap();
    assert_eq!(
        called.recv_timeout(Duration::from_secs(10)).unwrap().0,
        "again"
    );
}

#[test]
fn blocking_scheduler_returns_when_a_job_shuts_it_down() {
    let slot: Arc<Mutex<Option<Scheduler>>> = Arc::default();
    let inner = Arc::clone(&slot);
    let mut registry = Registry::new();
    registry
        .add("stop", move || {
            let scheduler = inner.lock().unwrap().clone();
            async move {
                let scheduler: Scheduler = scheduler.expect("set before the start");
                // From inside a job one cannot wait for that very job: the shutdown goes on beside it.
                std::thread::spawn(move || scheduler.blocking().shutdown(Shutdown::Wait));
            }
        })
        .unwrap();
    let scheduler = BlockingScheduler::build(Scheduler::builder().registry(registry)).unwrap();
    *slot.lock().unwrap() = Some(scheduler.scheduler().clone());
    scheduler.add_job(NewJob::new("stop")).unwrap();
    scheduler.start(StartMode::Running).unwrap();
    assert!(!scheduler.scheduler().is_running());
}

#[test]
fn a_dropped_scheduler_is_gone_though_it_had_to_stop_a_run() {
    struct Held(mpsc::Sender<()>);
    impl Drop for Held {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (release, released) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let builder = Scheduler::builder().state(Held(release));
    let builder = builder.task("wait", move |run: RunContext| {
        let begin = begin.clone();
        async move {
            begin.send(()).unwrap();
            run.cancel_token().cancelled().await;
        }
    });
    let scheduler = BackgroundScheduler::build(builder.unwrap()).unwrap();
    scheduler.start(StartMode::Running).unwrap();
    let job = NewJob::new("wait").timeout(Duration::from_hours(1));
    scheduler.add_job(job).unwrap();
    begun.recv().unwrap();
    drop(scheduler);
    // The thread that ran it may be about to let go.
    let gone = released.recv_timeout(Duration::from_secs(10));
    gone.expect("nothing holds the scheduler, and what it was given");
}
