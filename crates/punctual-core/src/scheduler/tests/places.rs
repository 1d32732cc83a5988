//! Several nodes, job stores and executors.

use super::*;

#[test]
fn two_nodes_on_one_store_share_the_work() {
    let first = Bench::new();
    let store = Arc::clone(&first.scheduler.jobstores()[0].1);
    let sim = first.sim.clone();
    let mut registry = Registry::new();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    registry
        .add("note", move || {
            let counted = Arc::clone(&counted);
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        })
        .unwrap();
    let builder = Scheduler::builder()
        .registry(registry)
        .clock(Arc::new(sim.clock().clone()))
        .job_store("default", store);
    let second = sim.run(builder.build(Arc::new(sim.clone()))).unwrap();
    first.scheduler.start(StartMode::Running).unwrap();
    second.start(StartMode::Running).unwrap();
    first.add(NewJob::new("note").id("job").trigger(every(1)));
    first.advance(100);
    assert_eq!(first.called().len() + count.load(Ordering::SeqCst), 100);
    assert_eq!(first.ledger(), ["succeeded"; 100]);
}

/// Without an alias the store that was added first is meant; with one, that store alone.
#[test]
fn one_id_in_two_stores() {
    let bench = Bench::started();
    let store = Arc::new(MemoryStore::new(Arc::new(bench.sim.clock().clone())));
    bench.scheduler.add_jobstore("other", store).unwrap();
    for job_store in ["default", "other"] {
        let job = NewJob::new("note").id("job").trigger(every(60));
        bench.add(job.job_store(job_store).name(job_store));
    }
    let job = id("job");
    bench.run(|s| async move {
        let other = ("other", &job);
        let name = |found: Option<Located>| {
            found.and_then(|found| Some(found.job.into_job()?.definition.name().to_owned()))
        };
        assert_eq!(name(s.get_job(&job).await.unwrap()).unwrap(), "default");
        assert_eq!(name(s.get_job(other).await.unwrap()).unwrap(), "other");

        s.modify_job(other, JobUpdate::new().name("changed"))
            .await
            .unwrap();
        s.reschedule_job(other, every(90)).await.unwrap();
        let paused = s.pause_job(other, PauseRequest::default()).await.unwrap();
        assert_eq!(paused.definition.name(), "changed");
        assert_eq!(paused.definition.declared_trigger(), &every(90));
        let untouched = s.get_job(&job).await.unwrap().unwrap();
        assert!(untouched.job.into_job().unwrap().state.paused.is_none());
        assert!(s.resume_job(other).await.unwrap().is_some());
        assert_eq!(
            s.run_job(other).await.unwrap().0.definition.name(),
            "changed"
        );

        let found = s.get_job(other).await.unwrap().unwrap();
        s.remove_job(&found).await.unwrap();
        assert_eq!(s.get_job(other).await.unwrap(), None);
        assert!(s.get_job(&job).await.unwrap().is_some());
        assert!(matches!(
            s.remove_job(other).await,
            Err(Error::NoSuchJob { .. })
        ));
        assert!(matches!(
            s.get_job(("others", &job)).await,
            Err(Error::UnknownJobStore { .. })
        ));
    });
}

#[test]
fn several_stores_and_executors_by_name() {
    let bench = Bench::started();
    let store = Arc::new(MemoryStore::new(Arc::new(bench.sim.clock().clone())));
    bench.scheduler.add_jobstore("other", store).unwrap();
    bench
        .scheduler
        .add_executor("few", Arc::new(AsyncExecutor::new(1)))
        .unwrap();
    bench.add(
        NewJob::new("note")
            .id("job")
            .job_store("other")
            .executor("few")
            .trigger(every(10)),
    );
    bench.advance(10);
    assert_eq!(bench.called(), [10]);
    let found = bench
        .run(|s| async move { s.get_job(&id("job")).await })
        .unwrap()
        .unwrap();
    assert_eq!(&*found.job_store, "other");
    assert!(matches!(
        bench
            .scheduler
            .add_executor("few", Arc::new(AsyncExecutor::new(1))),
        Err(Error::AliasTaken { .. })
    ));
    bench.scheduler.remove_executor("few").unwrap();
    bench
        .run(|s| async move { s.remove_jobstore("other").await })
        .unwrap();
    bench.advance(20);
    assert_eq!(bench.called(), [10]);
}

/// A job that nobody here could run is looked at again as soon as it can be, not after the longest sleep.
#[test]
fn an_overdue_job_runs_once_its_task_is_one_that_is_here() {
    let bench = Bench::started();
    bench.add(
        NewJob::new("nobody_has_this")
            .id("job")
            .allow_unknown_task()
            .trigger(every(10)),
    );
    bench.advance(31);
    assert!(bench.called().is_empty());
    let update = JobUpdate::new().task("note");
    bench
        .run(move |s| async move { s.modify_job(&id("job"), update).await })
        .unwrap();
    bench.advance(1);
    assert_eq!(bench.called(), [30]);
}

/// An executor with a fault: it drops what it gets, and panics at its `fuse`th look.
#[derive(Debug, Default)]
struct Faulty {
    fuse: AtomicU32,
}

impl Executor for Faulty {
    fn capacity(&self) -> usize {
        let fuse = self.fuse.load(Ordering::SeqCst);
        self.fuse.store(fuse.saturating_sub(1), Ordering::SeqCst);
        assert_ne!(fuse, 1, "a fault");
        1
    }

    fn start(&self, _: crate::executor::ExecutorEnv) {}

    fn submit(&self, work: crate::executor::Work) {
        drop(work);
    }

    fn shutdown(&self) {}
}

#[test]
fn a_run_that_its_executor_drops_has_failed() {
    let bench = Bench::started();
    bench
        .scheduler
        .add_executor("faulty", Arc::<Faulty>::default())
        .unwrap();
    bench.add(
        NewJob::new("note")
            .id("job")
            .executor("faulty")
            .trigger(every(10)),
    );
    bench.advance(30);
    assert_eq!(bench.ledger(), ["failed"; 3]);
}

/// A loop that panicked after a claim has left runs behind that nobody works on: the next gives them back.
#[test]
fn runs_of_a_loop_that_panicked_are_not_left_running() {
    let bench = Bench::started();
    let faulty = Arc::new(Faulty::default());
    bench
        .scheduler
        .add_executor("faulty", Arc::clone(&faulty) as Arc<dyn Executor>)
        .unwrap();
    bench.add(
        NewJob::new("note")
            .id("a")
            .executor("faulty")
            .trigger(every(10)),
    );
    bench.add(NewJob::new("note").id("b").trigger(every(10)));
    bench.advance(9);
    // The first look is before the claim, the second when a run is to be handed over.
    faulty.fuse.store(2, Ordering::SeqCst);
    bench.advance(3);
    assert!(bench.called().is_empty(), "the loop is gone");
    bench.advance(7);
    assert_eq!(bench.called(), [10]);
    assert_eq!(bench.ledger(), ["failed", "succeeded"]);
}

/// Whatever store the runs come from, an executor gets no more than it can take, and whoever waits for it is woken.
#[test]
fn an_executor_is_shared_by_several_stores() {
    let bench = Bench::started();
    let store = Arc::new(MemoryStore::new(Arc::new(bench.sim.clock().clone())));
    bench.scheduler.add_jobstore("other", store).unwrap();
    bench
        .scheduler
        .add_executor("one", Arc::new(AsyncExecutor::new(1)))
        .unwrap();
    for job_store in ["default", "other"] {
        let job = NewJob::new("slow").id(job_store).job_store(job_store);
        let job = job.executor("one").arg(3).trigger(every(60));
        bench.add(job);
    }
    let running = || {
        ["default", "other"].map(|job_store| {
            let query = RunQuery {
                state: Some(RunState::Running),
                ..RunQuery::default()
            };
            bench
                .run(move |s| async move { s.runs(job_store, &query).await })
                .unwrap()
                .items
                .len()
        })
    };
    bench.advance(60);
    assert_eq!(running().iter().sum::<usize>(), 1);
    bench.advance(4);
    assert_eq!(bench.called(), [60, 60], "the second follows the first");
    bench.advance(3);
    assert_eq!(running(), [0, 0]);
}
