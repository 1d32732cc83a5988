//! Weeks of mail. Nothing here sleeps: time passes when a test says so, and everything that is due in it has happened when
//! `advance` returns.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use punctual::clock::SimClock;
use punctual::prelude::*;
use punctual::testing::TestScheduler;
use testing::{Mailer, agenda, builder, schedule};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(7 * 24);

/// A mail server as a test wants it. All clones are one.
#[derive(Clone, Default)]
struct Outbox(Arc<Mutex<Post>>);

#[derive(Default)]
struct Post {
    sent: Vec<String>,
    /// How many mails are refused before one is taken again.
    refusals: usize,
}

impl Outbox {
    fn refuse(&self, mails: usize) {
        self.0.lock().unwrap().refusals = mails;
    }

    fn sent(&self) -> Vec<String> {
        self.0.lock().unwrap().sent.clone()
    }
}

impl Mailer for Outbox {
    fn send(&self, to: &str, subject: &str) -> Result<(), String> {
        let mut post = self.0.lock().unwrap();
        if post.refusals > 0 {
            post.refusals -= 1;
            return Err("421 try again later".to_owned());
        }
        post.sent.push(format!("{to}: {subject}"));
        Ok(())
    }
}

/// The program from this moment on, and what it sends.
fn from(start: &str) -> (TestScheduler, Outbox) {
    let outbox = Outbox::default();
    let builder = builder(Box::new(outbox.clone())).unwrap();
    let clock = SimClock::new(start.parse().unwrap());
    let test = TestScheduler::start_on(builder, clock).unwrap();
    let scheduler = Scheduler::clone(&test);
    test.run(async move { schedule(&scheduler).await }).unwrap();
    (test, outbox)
}

/// What the ledger says of a job: for when each run was, and what became of it.
fn ledger(test: &TestScheduler, id: &str) -> Vec<String> {
    let line = |run: &Run| match run.reason {
        Some(reason) => format!("{} {} {reason}", run.scheduled_at, run.state()),
        None => format!("{} {}", run.scheduled_at, run.state()),
    };
    test.runs_of(id).iter().map(line).collect()
}

#[test]
fn a_week_has_five_agendas_and_a_newsletter() {
    let (test, outbox) = from("2026-01-05T00:00:00Z"); // a Monday
    test.advance(WEEK);
    assert_eq!(
        ledger(&test, "agenda"),
        [
            "2026-01-05T06:00:00Z succeeded", // seven in Paris
            "2026-01-06T06:00:00Z succeeded",
            "2026-01-07T06:00:00Z succeeded",
            "2026-01-08T06:00:00Z succeeded",
            "2026-01-09T06:00:00Z succeeded",
        ]
    );
    assert_eq!(
        ledger(&test, "newsletter"),
        ["2026-01-11T01:30:00Z succeeded"]
    );
    let sent = outbox.sent();
    assert_eq!(sent.len(), 7);
    assert_eq!(sent[..2], ["ann@example.com: your day"; 2]);
    assert_eq!(
        sent[5..],
        ["ann@example.com: the week", "ben@example.com: the week"]
    );
}

#[test]
fn the_newsletter_leaves_the_mail_server_time() {
    let (test, _) = from("2026-01-11T00:00:00Z");
    test.advance(DAY);
    let runs = test.runs_of("newsletter");
    let took = runs[0].finished_at.unwrap() - runs[0].scheduled_at;
    assert_eq!(took.get_seconds(), 2, "a second for each of two");
    let output = runs[0].output.as_deref();
    assert_eq!(
        output,
        Some("sent to ann@example.com\nsent to ben@example.com\n")
    );
}

#[test]
fn a_mail_server_that_is_down_for_a_while_delays_the_agenda() {
    let (test, outbox) = from("2026-01-05T00:00:00Z");
    outbox.refuse(2);
    test.advance(DAY);
    let runs = test.runs_of("agenda");
    let told: Vec<_> = runs
        .iter()
        .map(|run| {
            (
                run.attempt,
                run.state(),
                run.finished_at.unwrap().to_string(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, RunState::Failed, "2026-01-05T06:00:00Z".to_owned()),
            (2, RunState::Failed, "2026-01-05T06:10:00Z".to_owned()),
            (3, RunState::Succeeded, "2026-01-05T06:20:00Z".to_owned()),
        ]
    );
    assert_eq!(runs[0].error.as_deref(), Some("421 try again later"));
    assert_eq!(runs[0].idempotency_key(), runs[2].idempotency_key());
    assert_eq!(outbox.sent().len(), 1);
}

#[test]
fn a_mail_server_that_stays_down_costs_one_day() {
    let (test, outbox) = from("2026-01-05T00:00:00Z");
    outbox.refuse(3);
    test.advance(2 * DAY);
    assert_eq!(
        ledger(&test, "agenda"),
        [
            "2026-01-05T06:00:00Z failed",
            "2026-01-05T06:00:00Z failed",
            "2026-01-05T06:00:00Z failed",
            "2026-01-06T06:00:00Z succeeded",
        ]
    );
}

#[test]
fn summer_time_moves_the_agenda_and_the_night_without_half_past_two_has_its_newsletter() {
    let (test, _) = from("2026-03-27T00:00:00Z"); // a Friday; on Sunday the clock goes from two to three
    test.advance(4 * DAY);
    assert_eq!(
        ledger(&test, "agenda"),
        [
            "2026-03-27T06:00:00Z succeeded",
            "2026-03-30T05:00:00Z succeeded",
        ]
    );
    assert_eq!(
        ledger(&test, "newsletter"),
        ["2026-03-29T01:00:00Z succeeded"]
    );
}

#[test]
fn the_night_with_two_half_past_twos_has_one_newsletter() {
    let (test, _) = from("2026-10-24T00:00:00Z");
    test.advance(2 * DAY);
    assert_eq!(
        ledger(&test, "newsletter"),
        ["2026-10-25T00:30:00Z succeeded"]
    );
}

#[test]
fn an_agenda_that_is_too_late_is_not_sent() {
    let (test, outbox) = from("2026-01-05T05:00:00Z");
    // The laptop sleeps past seven, until eleven in Paris: no time has passed for the program, and the wall clock is another.
    test.step_clock("2026-01-05T10:00:00Z".parse().unwrap());
    test.advance(MINUTE);
    assert_eq!(
        ledger(&test, "agenda"),
        ["2026-01-05T06:00:00Z skipped misfired"]
    );
    assert_eq!(outbox.sent().len(), 0);
}

#[test]
fn one_that_is_late_but_in_time_is() {
    let (test, outbox) = from("2026-01-05T05:00:00Z");
    test.step_clock("2026-01-05T08:00:00Z".parse().unwrap());
    test.advance(MINUTE);
    assert_eq!(ledger(&test, "agenda"), ["2026-01-05T06:00:00Z succeeded"]);
    assert_eq!(outbox.sent().len(), 1);
}

#[test]
fn a_pause_sends_nothing_and_makes_up_nothing() {
    let (test, outbox) = from("2026-01-05T00:00:00Z");
    let (jobs, id) = (test.blocking(), JobId::new("agenda").unwrap());
    jobs.pause_job(&id, PauseRequest::default()).unwrap();
    test.advance(2 * DAY);
    jobs.resume_job(&id).unwrap();
    test.advance(DAY);
    assert_eq!(outbox.sent().len(), 1);
    let runs = test.runs_of("agenda");
    assert_eq!(runs[0].reason, Some(Reason::Paused));
    assert_eq!((runs[0].count, runs[1].state()), (2, RunState::Succeeded));
}

/// A task may be tested without the job that calls it at some time.
#[test]
fn an_agenda_for_somebody_else_at_once() {
    let (test, outbox) = from("2026-01-10T00:00:00Z");
    test.add(agenda("eve@example.com")).wait().unwrap();
    test.settle();
    assert_eq!(outbox.sent(), ["eve@example.com: your day"]);
    let at: Timestamp = test.runs()[0].scheduled_at;
    assert_eq!(at, test.now());
}
