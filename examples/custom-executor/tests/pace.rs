//! The executor in a simulation, where time passes in a blink; and the program, which takes its two seconds.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custom_executor::PacedExecutor;
use jiff::Timestamp;
use punctual::clock::{Clock, SimClock};
use punctual::prelude::*;
use punctual::testing::{START, TestScheduler};

/// When runs started, in milliseconds since the scheduler did.
#[derive(Clone)]
struct Starts {
    clock: SimClock,
    at_ms: Arc<Mutex<Vec<u128>>>,
}

#[task]
async fn work(starts: State<Starts>) {
    let now_ms = starts.clock.monotonic().as_millis();
    starts.at_ms.lock().unwrap().push(now_ms);
}

/// A scheduler with the executor at two starts a second.
fn paced() -> (TestScheduler, Starts) {
    let clock = SimClock::new(START.parse().unwrap());
    let starts = Starts {
        clock: clock.clone(),
        at_ms: Arc::default(),
    };
    let executor = PacedExecutor::new(2, 10, Arc::new(clock.clone()));
    let builder = Scheduler::builder().state(starts.clone());
    let test = TestScheduler::start_on(builder.register::<work>().unwrap(), clock).unwrap();
    // Added now, it is used as it is: those of the builder are replaced by the simulation's own.
    test.add_executor("paced", Arc::new(executor)).unwrap();
    (test, starts)
}

fn add(test: &TestScheduler, id: &str, second: u64) {
    let at = test.now() + Duration::from_secs(second);
    let job = test.add(work()).id(id).at(at);
    job.executor("paced").wait().unwrap();
}

fn check(jobs: &[(&str, u64)], expected: &[u128]) {
    let (test, starts) = paced();
    for (id, second) in jobs {
        add(&test, id, *second);
    }
    test.advance(Duration::from_mins(1));
    assert_eq!(*starts.at_ms.lock().unwrap(), expected);
}

#[test]
fn what_is_due_at_once_starts_at_the_rate() {
    let jobs = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)];
    check(&jobs, &[1000, 1500, 2000, 2500, 3000]);
}

#[test]
fn a_lull_earns_no_burst() {
    check(&[("a", 1), ("b", 20), ("c", 20)], &[1000, 20_000, 20_500]);
}

#[test]
fn a_run_that_is_cancelled_while_it_waits_never_starts() {
    let (test, starts) = paced();
    add(&test, "a", 1);
    add(&test, "b", 1);
    test.advance(Duration::from_millis(1100));
    let waiting = test.runs_of("b").remove(0);
    let scheduler = Scheduler::clone(&test);
    test.run(async move { scheduler.cancel_run(waiting.id).await })
        .unwrap();
    test.settle();
    assert_eq!(test.runs_of("b")[0].state(), RunState::Cancelled, "at once");
    test.advance(Duration::from_secs(10));
    assert_eq!(*starts.at_ms.lock().unwrap(), [1000]);
}

#[test]
fn the_program_makes_its_calls_and_ends() {
    let output = Command::new(env!("CARGO_BIN_EXE_custom-executor")).output();
    let output = output.expect("it was built");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let starts: Vec<Timestamp> = said
        .lines()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(starts.len(), 5, "{said}");
    let took = starts[4].duration_since(starts[0]);
    // Timers may be late on a busy machine, the first one, too.
    assert!(took.as_millis() > 1000, "{said}");
}
