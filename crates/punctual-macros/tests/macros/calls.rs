//! Calls: what they take, and what they are stored as.

use punctual::prelude::*;
use punctual::scheduler::JobUpdate;
use punctual::task::{IntoNewJob, TaskFunction};
use punctual::testing::TestScheduler;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Filter {
    size: u32,
}

#[task]
async fn tick() {}

/// Removes what is older.
#[task(name = "files:cleanup")]
pub(crate) async fn cleanup(
    days: u32,
    filter: Filter,
    #[default = 10] limit: u32,
) -> Result<u32, String> {
    Ok(days + filter.size + limit)
}

#[task]
fn greet(
    name: String,
    #[default = "Hello"] greeting: String,
    sign: Option<String>,
    #[default = Some(3)] times: Option<u8>,
    r#type: Option<Filter>,
) -> Result<String, String> {
    let sign = sign.unwrap_or_default();
    let times = times.map_or(0, usize::from);
    Ok(format!("{greeting} {name}{sign}{type:?}").repeat(times))
}

/// What a call is stored as.
fn stored(call: impl TaskFunction) -> Value {
    let args = call.into_args().unwrap();
    assert_eq!(args.args, Vec::<Value>::new());
    args.kwargs.into()
}

#[task]
fn count(to: u128) {
    let _ = to;
}

#[test]
fn that_are_no_json_are_refused_when_they_are_added() {
    let builder = Scheduler::builder().register::<count>().unwrap();
    let test = TestScheduler::start(builder).unwrap();
    let added = test.add(count(5)).cron("hour=3").wait().unwrap();
    let error = test.add(count(u128::MAX)).wait().unwrap_err();
    assert_eq!(error.field(), Some("kwargs"), "{error}");
    let change = JobUpdate::new().call(count(u128::MAX));
    let error = test.blocking().modify_job(added.job.id(), change);
    assert_eq!(error.unwrap_err().field(), Some("kwargs"));
}

#[test]
fn hold_what_is_given_and_no_default() {
    let small = || Filter { size: 1 };
    for (call, wanted) in [
        (stored(tick()), json!({})),
        (
            stored(cleanup(30, small())),
            json!({"days": 30, "filter": {"size": 1}}),
        ),
        (
            stored(cleanup(30, small()).limit(5)),
            json!({"days": 30, "filter": {"size": 1}, "limit": 5}),
        ),
        (stored(greet("Ann")), json!({"name": "Ann"})),
        (
            stored(greet("Ann".to_owned()).greeting("Hi").sign("!")),
            json!({"name": "Ann", "greeting": "Hi", "sign": "!"}),
        ),
        // `None` is a value where the default is another.
        (
            stored(greet("Ann").times(None)),
            json!({"name": "Ann", "times": null}),
        ),
        (
            stored(greet("Ann").times(2)),
            json!({"name": "Ann", "times": 2}),
        ),
        (
            stored(greet("Ann").r#type(small())),
            json!({"name": "Ann", "type": {"size": 1}}),
        ),
    ] {
        assert_eq!(call, wanted);
    }
}

#[test]
fn have_the_name_of_the_function_unless_given_another() {
    assert_eq!(tick::NAME, "tick");
    assert_eq!(cleanup::NAME, "files:cleanup");
}

#[test]
fn are_printed_by_name() {
    let call = cleanup(30, Filter { size: 1 }).limit(5);
    let text = r#"files:cleanup { days: 30, filter: {"size":1}, limit: 5 }"#;
    assert_eq!(format!("{call:?}"), text);
}

#[test]
fn are_data() {
    let value = json!({"name": "Ann", "times": null});
    let call: greet = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&call).unwrap(), value);
    let error = serde_json::from_value::<greet>(json!({"name": "Ann", "tmes": 1})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "kwargs.tmes: is no argument of task \"greet\"; did you mean times?"
    );
}

#[test]
fn become_jobs() {
    let job = format!("{:?}", greet("Ann").into_new_job());
    assert!(job.contains("task: \"greet\""), "{job}");
}

#[test]
fn the_function_itself_can_be_called() {
    let text = greet::call("Ann".into(), "Hi".into(), None, Some(1), None);
    assert_eq!(text.unwrap(), "Hi AnnNone");
}
