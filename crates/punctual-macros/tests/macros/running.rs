//! Tasks in a scheduler, on a simulated clock.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use punctual::job::JobArgs;
use punctual::prelude::*;
use punctual::task::{ArgsError, IntoNewJob, Parameter, RegisterError, TaskInput};
use punctual::testing::TestScheduler;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the tasks say they did.
#[derive(Clone, Debug, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    size: u8,
}

/// Who runs a job, by a tag that it must have.
struct Owner(String);

impl Parameter for Owner {
    fn make(input: &TaskInput) -> Result<Self, ArgsError> {
        let tags = &input.context.job().tags;
        let owner = tags
            .first()
            .ok_or_else(|| ArgsError::new("tags", "there are none"))?;
        Ok(Self(owner.to_string()))
    }

    fn check(args: &JobArgs) -> Result<(), ArgsError> {
        match args.kwargs.get("owner") {
            Some(_) => Err(ArgsError::new("kwargs.owner", "is a tag")),
            None => Ok(()),
        }
    }
}

static DEFAULTS: AtomicU32 = AtomicU32::new(0);

fn next_default() -> u32 {
    DEFAULTS.fetch_add(1, Ordering::SeqCst)
}

#[task]
async fn cleanup(
    days: u32,
    #[default = 10] limit: u32,
    filter: Option<Filter>,
    journal: State<Journal>,
    run: RunContext,
) -> Result<u32, String> {
    let size = filter.map_or(0, |filter| filter.size);
    journal.note(format!("{days} {limit} {size}"));
    run.log("done");
    if days == 0 {
        Err("nothing is that new".to_owned())
    } else {
        Ok(days)
    }
}

#[task]
fn blocking(mut text: String, run: Run, journal: State<Journal>) {
    text.push('!');
    journal.note(format!("{text} {}", run.attempt));
}

#[task]
async fn counted(#[default = next_default()] number: u32, journal: State<Journal>) {
    journal.note(number.to_string());
}

#[task]
async fn owned(#[inject] owner: Owner, journal: State<Journal>) {
    journal.note(owner.0);
}

/// More than a function without the macro could take.
#[task]
async fn wide(
    first: State<Journal>,
    second: RunContext,
    third: Run,
    fourth: RunContext,
    fifth: Run,
    sixth: State<Journal>,
) {
    let ids = [second.run().id, third.id, fourth.run().id, fifth.id];
    sixth.note(format!(
        "{} {}",
        first.0.lock().unwrap().len(),
        ids == [third.id; 4]
    ));
}

#[task]
async fn panics(#[default = panic!("no default today")] number: u32) {
    let _ = number;
}

/// A scheduler, and what its tasks note.
fn scheduler() -> (TestScheduler, Journal) {
    let journal = Journal::default();
    let builder = Scheduler::builder()
        .state(journal.clone())
        .register::<cleanup>()
        .and_then(SchedulerBuilder::register::<blocking>)
        .and_then(SchedulerBuilder::register::<counted>)
        .and_then(SchedulerBuilder::register::<owned>)
        .and_then(SchedulerBuilder::register::<wide>)
        .and_then(SchedulerBuilder::register::<panics>);
    (TestScheduler::start(builder.unwrap()).unwrap(), journal)
}

/// A job as front ends without types add it.
fn job(task: &str, args: Value, kwargs: Value) -> NewJob {
    let args = serde_json::from_value(args).unwrap();
    let kwargs = serde_json::from_value(kwargs).unwrap();
    NewJob::new(task).args(args).kwargs(kwargs)
}

/// Runs a job now: what its task noted; or else how its run ended.
fn outcome(job: impl IntoNewJob) -> String {
    let (scheduler, journal) = scheduler();
    scheduler.add(job).id("it").tag("Ann").wait().unwrap();
    let runs = scheduler.runs_of("it");
    let [run] = runs.as_slice() else {
        panic!("{runs:?}")
    };
    if let Some(error) = &run.error {
        return format!("{}: {error}", run.state());
    }
    journal.0.lock().unwrap().join(", ")
}

#[test]
fn arguments_reach_the_function() {
    for (job, noted) in [
        (cleanup(30).into_new_job(), "30 10 0"),
        (
            cleanup(30)
                .limit(5)
                .filter(Filter { size: 2 })
                .into_new_job(),
            "30 5 2",
        ),
        (job("cleanup", json!([30]), json!({})), "30 10 0"),
        (
            job("cleanup", json!([30, 5]), json!({"filter": {"size": 2}})),
            "30 5 2",
        ),
        (
            job("cleanup", json!([]), json!({"filter": null, "days": 1})),
            "1 10 0",
        ),
        (blocking("hey").into_new_job(), "hey! 1"),
        (owned().into_new_job(), "Ann"),
        (wide().into_new_job(), "0 true"),
    ] {
        assert_eq!(outcome(job), noted);
    }
}

#[test]
fn an_error_or_a_panic_is_the_runs() {
    assert_eq!(outcome(cleanup(0)), "failed: nothing is that new");
    assert_eq!(
        outcome(panics()),
        "failed: the task panicked: no default today"
    );
}

#[test]
fn a_value_is_the_runs_output() {
    let (scheduler, _) = scheduler();
    scheduler.add(cleanup(30)).id("it").wait().unwrap();
    let runs = scheduler.runs_of("it");
    assert_eq!(runs[0].output.as_deref(), Some("done\n30\n"));
}

#[test]
fn a_default_is_evaluated_for_each_run() {
    let (scheduler, journal) = scheduler();
    scheduler
        .add(counted())
        .id("by default")
        .every(Duration::from_mins(1))
        .wait()
        .unwrap();
    scheduler
        .add(counted().number(77))
        .id("given")
        .wait()
        .unwrap();
    scheduler.advance(Duration::from_secs(150));
    assert_eq!(*journal.0.lock().unwrap(), ["77", "0", "1"]);
}

#[test]
fn what_does_not_fit_is_refused_when_it_is_added() {
    let (scheduler, _) = scheduler();
    for (job, error) in [
        (
            job("cleanup", json!([]), json!({})),
            "kwargs.days: is missing: task \"cleanup\" needs it",
        ),
        (
            job("cleanup", json!(["30"]), json!({})),
            "args[0]: does not fit: invalid type: string \"30\", expected a whole number from 0 to 4294967295; write 30 without quotes",
        ),
        (
            job("cleanup", json!([30, 5, null, 4]), json!({})),
            "args[3]: is one too many: task \"cleanup\" takes days, limit and filter",
        ),
        (
            job("cleanup", json!([30]), json!({"limti": 5})),
            "kwargs.limti: is no argument of task \"cleanup\"; did you mean limit?",
        ),
        (
            job("cleanup", json!([30]), json!({"days": 5})),
            "kwargs.days: is given twice, as args[0] too; give it once",
        ),
        (
            job("cleanup", json!([30]), json!({"filter": {"size": 256}})),
            "kwargs.filter.size: does not fit: invalid value: integer `256`, expected a whole number from 0 to 255",
        ),
        (
            job("cleanup", json!([30]), json!({"limit": null})),
            "kwargs.limit: does not fit: invalid type: null, expected a whole number from 0 to 4294967295; leave it out for the default",
        ),
        (
            job("wide", json!([1]), json!({})),
            "args[0]: is one too many: task \"wide\" takes none",
        ),
        (
            job("owned", json!([]), json!({"owner": "Ann"})),
            "kwargs.owner: is no argument: task \"owned\" takes none",
        ),
        (
            job("claenup", json!([30]), json!({})),
            "task \"claenup\" is not known; did you mean cleanup?; register it, or say `allow_unknown_task` to add it for a node that comes later",
        ),
    ] {
        let refused = scheduler.add(job).wait().unwrap_err();
        assert_eq!(refused.to_string(), error);
    }
}

#[test]
fn a_task_is_registered_once() {
    let mut registry = Registry::new();
    registry.register::<cleanup>().unwrap();
    let error = registry.register::<cleanup>().unwrap_err();
    assert!(matches!(&error, RegisterError::Taken(name) if name.as_str() == "cleanup"));
    let text = "task \"cleanup\" is registered twice; give one of them another name";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_call_is_also_a_parameter() {
    let mut registry = Registry::new();
    let journal = Journal::default();
    registry.state(journal.clone());
    let by_hand = async |call: blocking, journal: State<Journal>| journal.note(format!("{call:?}"));
    registry
        .add::<(blocking, State<Journal>)>("by hand", by_hand)
        .unwrap();
    let builder = Scheduler::builder().registry(registry);
    let scheduler = TestScheduler::start(builder).unwrap();
    scheduler
        .add(job("by hand", json!(["hey"]), json!({})))
        .wait()
        .unwrap();
    scheduler.settle();
    assert_eq!(*journal.0.lock().unwrap(), ["blocking { text: \"hey\" }"]);
}
