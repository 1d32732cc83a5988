//! The checker is proven on histories made by hand: clean ones, and one for each promise that is broken.

use std::collections::BTreeMap;

use punctual_core::run::{Reason, RunKind, RunState};
use serde_json::{Value, json};

use super::check;
use crate::torture::api::snapshot;
use crate::torture::history::{
    History, JobHistory, Kind, Micros, NodeLife, Paused, Profile, Request, Row, SECOND, Snapshot,
    Step, Verb, Window,
};

/// 2026-01-01T00:00:00Z.
const T0: Micros = 1_767_225_600 * SECOND;
const MS: Micros = 1000;

fn at(second: Micros) -> Micros {
    T0 + second * SECOND
}

fn window(from: Micros) -> Window {
    Window {
        from,
        to: from + 10 * MS,
    }
}

/// Every second, from the first on.
fn every_second() -> Value {
    json!({ "trigger": "interval", "seconds": 1, "start_date": "2026-01-01T00:00:01+00:00", "timezone": "UTC" })
}

fn every_two_seconds() -> Value {
    json!({ "trigger": "interval", "seconds": 2, "start_date": "2026-01-01T00:00:02+00:00", "timezone": "UTC" })
}

fn shot(trigger: &Value, next: Option<Micros>) -> Snapshot {
    let mut job = trigger.clone();
    job["max_instances"] = 1.into();
    Snapshot {
        next_run: next,
        ..snapshot(&job).unwrap()
    }
}

fn step(verb: Verb, from: Micros, after: Option<Snapshot>) -> Step {
    Step {
        window: window(from),
        verb,
        certain: true,
        after,
    }
}

fn key(life: &str, kind: RunKind, scheduled_at: Micros) -> String {
    format!("{life}-{kind}-{scheduled_at}")
}

/// A run that succeeded within 50 ms.
fn row(second: Micros, fence: u64) -> Row {
    let scheduled_at = at(second);
    Row {
        id: format!("{second}.{fence}"),
        job: "job-1".to_owned(),
        life: "a".to_owned(),
        key: key("a", RunKind::Scheduled, scheduled_at),
        kind: RunKind::Scheduled,
        scheduled_at,
        due_at: scheduled_at,
        attempt: 1,
        state: RunState::Succeeded,
        reason: None,
        node: Some("n1".to_owned()),
        fence,
        started_at: Some(scheduled_at + 5 * MS),
        finished_at: Some(scheduled_at + 50 * MS),
        count: 1,
        scheduled_until: None,
        superseded: false,
        cancel_requested: false,
    }
}

/// The request of a row, within its time.
fn request(row: &Row, status: u16) -> Request {
    Request {
        job: row.job.clone(),
        key: row.key.clone(),
        fence: row.fence,
        began: row.started_at.unwrap() + 5 * MS,
        ended: row.started_at.unwrap() + 20 * MS,
        status: Some(status),
    }
}

fn skipped(second: Micros, reason: Reason) -> Row {
    Row {
        state: RunState::Skipped,
        reason: Some(reason),
        node: None,
        fence: 0,
        started_at: None,
        finished_at: Some(at(second) + 5 * MS),
        id: format!("{second}.skipped"),
        ..row(second, 0)
    }
}

/// The next attempt after a row, a second later.
fn again(former: &Row, fence: u64) -> Row {
    let due_at = former.finished_at.unwrap() + SECOND;
    Row {
        id: format!("{}.again", former.id),
        attempt: former.attempt + 1,
        fence,
        due_at,
        state: RunState::Succeeded,
        reason: None,
        started_at: Some(due_at + 5 * MS),
        finished_at: Some(due_at + 50 * MS),
        ..former.clone()
    }
}

/// One job that ran each second for nine seconds, added at 0.5 s, on one node.
fn clean() -> History {
    let rows: Vec<Row> = (1..10).map(|second| row(second, second as u64)).collect();
    let requests = rows.iter().map(|row| request(row, 200)).collect();
    let job = JobHistory {
        profile: Profile {
            http: true,
            attempts: 1,
            rerun: true,
            grace: None,
        },
        steps: vec![
            step(
                Verb::Add,
                T0 + SECOND / 2,
                Some(shot(&every_second(), Some(at(1)))),
            ),
            step(
                Verb::Look,
                at(9) + SECOND / 2,
                Some(shot(&every_second(), Some(at(10)))),
            ),
        ],
        manual: Vec::new(),
        manual_unsure: 0,
    };
    History {
        lease: 3 * SECOND,
        lag: SECOND,
        jobs: BTreeMap::from([("job-1".to_owned(), job)]),
        rows,
        requests,
        nodes: BTreeMap::from([("n1".to_owned(), NodeLife::default())]),
        settled: at(8),
        end: window(at(9) + SECOND / 4),
    }
}

impl History {
    fn job(&mut self) -> &mut JobHistory {
        self.jobs.get_mut("job-1").unwrap()
    }

    fn row(&mut self, second: Micros) -> &mut Row {
        self.rows
            .iter_mut()
            .find(|row| row.scheduled_at == at(second))
            .unwrap()
    }

    /// Takes the rows and requests of some seconds out.
    fn forget(&mut self, seconds: std::ops::RangeInclusive<Micros>) {
        let gone = |moment: Micros| (at(*seconds.start())..=at(*seconds.end())).contains(&moment);
        self.rows.retain(|row| !gone(row.scheduled_at));
        let keys: Vec<String> = self.rows.iter().map(|row| row.key.clone()).collect();
        self.requests.retain(|request| keys.contains(&request.key));
    }

    /// Puts a step in its place.
    fn step(&mut self, step: Step) {
        let steps = &mut self.job().steps;
        steps.push(step);
        steps.sort_by_key(|step| step.window.from);
    }

    /// What is lost with a node that was killed in the middle of a run, and the attempt after it.
    fn lose(&mut self, second: Micros, reason: Reason) {
        let row = self.row(second);
        row.state = RunState::Lost;
        row.reason = Some(reason);
        row.finished_at = Some(at(second) + 60 * MS);
        let next = Row {
            due_at: at(second) + 60 * MS,
            started_at: Some(at(second) + 70 * MS),
            finished_at: Some(at(second) + 90 * MS),
            ..again(row, 100)
        };
        self.requests.push(Request {
            began: at(second) + 75 * MS,
            ended: at(second) + 80 * MS,
            ..request(&next, 200)
        });
        self.rows.push(next);
    }
}

fn kinds(history: &History) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = check(history)
        .into_iter()
        .map(|violation| violation.kind)
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[track_caller]
fn expect(change: impl FnOnce(&mut History), expected: &[Kind]) {
    let mut history = clean();
    change(&mut history);
    assert_eq!(kinds(&history), expected, "{:#?}", check(&history));
}

#[test]
fn what_went_well_is_no_violation() {
    expect(|_| (), &[]);
}

#[test]
fn every_occurrence_has_a_row() {
    expect(|history| history.forget(4..=4), &[Kind::Missing]);
    // Also the first, and the last before the next.
    expect(|history| history.forget(1..=1), &[Kind::Missing]);
    expect(|history| history.forget(9..=9), &[Kind::Missing]);
    // A skipped one is decided too, and so is what a summary row counts.
    for reason in [Reason::Coalesced, Reason::MaxInstances] {
        expect(
            |history| {
                history.forget(4..=4);
                history.rows.push(skipped(4, reason));
            },
            &[],
        );
    }
    let summary = |count| Row {
        count,
        scheduled_until: Some(at(6)),
        ..skipped(3, Reason::Coalesced)
    };
    expect(
        |history| {
            history.forget(3..=6);
            history.rows.push(summary(4));
        },
        &[],
    );
    expect(
        |history| {
            history.forget(3..=6);
            history.rows.push(summary(3));
        },
        &[Kind::WrongCount],
    );
}

#[test]
fn a_schedule_that_stands_still_is_seen() {
    expect(
        |history| {
            history.forget(6..=9);
            history.job().steps.last_mut().unwrap().after =
                Some(shot(&every_second(), Some(at(6))));
        },
        &[Kind::Missing],
    );
}

#[test]
fn no_occurrence_is_decided_twice() {
    // In another life of the job.
    expect(
        |history| {
            let twice = Row {
                life: "b".to_owned(),
                key: key("b", RunKind::Scheduled, at(4)),
                started_at: Some(at(4) + 60 * MS),
                finished_at: Some(at(4) + 90 * MS),
                ..row(4, 50)
            };
            history.requests.push(request(&twice, 200));
            history.rows.push(twice);
        },
        &[Kind::DecidedTwice],
    );
    // By itself, and in a summary.
    expect(
        |history| {
            history.forget(4..=5);
            history.rows.push(Row {
                count: 3,
                scheduled_until: Some(at(6)),
                ..skipped(4, Reason::Coalesced)
            });
        },
        &[Kind::DecidedTwice],
    );
    // It has a row, and is announced as the next.
    expect(
        |history| {
            history.job().steps.last_mut().unwrap().after =
                Some(shot(&every_second(), Some(at(9))));
        },
        &[Kind::DecidedTwice],
    );
    // Two rows of one attempt.
    expect(
        |history| {
            let twice = Row {
                id: "twin".to_owned(),
                started_at: Some(at(4) + 60 * MS),
                finished_at: Some(at(4) + 90 * MS),
                ..row(4, 50)
            };
            history.requests.push(request(&twice, 200));
            history.rows.push(twice);
        },
        &[Kind::AttemptGap],
    );
}

#[test]
fn a_row_needs_an_occurrence() {
    expect(
        |history| {
            let mut odd = row(4, 50);
            odd.scheduled_at += SECOND / 2;
            odd.due_at = odd.scheduled_at;
            odd.started_at = Some(odd.due_at + 5 * MS);
            odd.finished_at = Some(odd.due_at + 50 * MS);
            odd.key = key("a", RunKind::Scheduled, odd.scheduled_at);
            history.requests.push(request(&odd, 200));
            history.rows.push(odd);
        },
        &[Kind::Phantom],
    );
    expect(
        |history| {
            history.rows.push(Row {
                job: "job-2".to_owned(),
                ..skipped(4, Reason::Coalesced)
            });
        },
        &[Kind::Phantom],
    );
}

#[test]
fn attempts_are_a_chain() {
    let retried = |history: &mut History| {
        history.job().profile.attempts = 2;
        history.row(4).state = RunState::Failed;
        history.requests[3].status = Some(503);
        let mut next = again(history.row(4), 50);
        next.due_at = at(4) + 200 * MS;
        next.started_at = Some(at(4) + 300 * MS);
        next.finished_at = Some(at(4) + 350 * MS);
        history.requests.push(request(&next, 200));
        history.rows.push(next);
    };
    expect(retried, &[]);
    let changed = |change: fn(&mut History, usize)| {
        move |history: &mut History| {
            retried(history);
            let last = history.rows.len() - 1;
            change(history, last);
        }
    };
    expect(
        changed(|history, last| history.rows[last].attempt = 3),
        &[Kind::AttemptGap],
    );
    // After one that was final.
    expect(
        changed(|history, _| {
            history.row(4).state = RunState::Succeeded;
            history.requests[3].status = Some(200);
        }),
        &[Kind::AttemptOverlap],
    );
    // Before the one before it was over.
    expect(
        changed(|history, last| {
            history.row(4).finished_at = Some(at(4) + 320 * MS);
            history.rows[last].started_at = Some(at(4) + 310 * MS);
            history.requests.last_mut().unwrap().began = at(4) + 315 * MS;
        }),
        &[Kind::AttemptOverlap, Kind::MaxInstances],
    );
    expect(
        changed(|history, last| {
            history.rows[last].fence = 4;
            history.requests.last_mut().unwrap().fence = 4;
        }),
        &[Kind::Fence, Kind::StartedTwice, Kind::WrongResult],
    );
    // More than the job asks for, and fewer.
    expect(
        changed(|history, last| {
            history.job().profile.attempts = 1;
            history.rows[last].state = RunState::Failed;
            history.requests.last_mut().unwrap().status = Some(503);
        }),
        &[Kind::WrongRetry],
    );
    expect(
        changed(|history, last| {
            history.rows.remove(last);
            history.requests.pop();
        }),
        &[Kind::WrongRetry],
    );
}

#[test]
fn a_fence_is_given_once() {
    expect(
        |history| {
            history.row(5).fence = 4;
            history.requests[4].fence = 4;
        },
        &[Kind::Fence],
    );
}

#[test]
fn nothing_starts_before_it_is_due() {
    expect(
        |history| history.row(4).started_at = Some(at(4) - MS),
        &[Kind::Early],
    );
}

#[test]
fn what_is_lost_has_lost_its_node() {
    let killed = |history: &mut History| {
        history.lose(4, Reason::NodeDied);
        history.nodes.get_mut("n1").unwrap().killed = Some(window(at(4) + 20 * MS));
    };
    expect(killed, &[]);
    expect(
        |history| history.lose(4, Reason::NodeDied),
        &[Kind::LostWithoutFault],
    );
    // A frozen node lives.
    let frozen = |history: &mut History, reason| {
        history.lose(4, reason);
        let span = Window {
            from: at(1),
            to: at(6),
        };
        history.nodes.get_mut("n1").unwrap().frozen.push(span);
    };
    expect(|history| frozen(history, Reason::LeaseExpired), &[]);
    expect(
        |history| frozen(history, Reason::NodeDied),
        &[Kind::LostWithoutFault],
    );
    // Its lease cannot have ended yet.
    expect(
        |history| {
            history.lose(4, Reason::LeaseExpired);
            let span = Window {
                from: at(4),
                to: at(8),
            };
            history.nodes.get_mut("n1").unwrap().frozen.push(span);
        },
        &[Kind::LostWithoutFault],
    );
    // It is run again where the job wants that, and not where it does not.
    expect(
        |history| {
            killed(history);
            history.job().profile.rerun = false;
        },
        &[Kind::WrongRetry],
    );
    expect(
        |history| {
            killed(history);
            history.rows.pop();
            history.requests.pop();
        },
        &[Kind::WrongRetry],
    );
}

#[test]
fn the_receiver_sees_each_attempt_once() {
    expect(
        |history| {
            let mut twice = history.requests[3].clone();
            twice.began += 100 * MS;
            twice.ended += 100 * MS;
            history.requests.push(twice);
        },
        &[Kind::StartedTwice],
    );
    expect(
        |history| {
            let mut unknown = history.requests[3].clone();
            unknown.fence = 77;
            unknown.began += 100 * MS;
            unknown.ended += 100 * MS;
            history.requests.push(unknown);
        },
        &[Kind::UnknownStart],
    );
}

#[test]
fn a_result_is_that_of_its_own_fence() {
    expect(
        |history| {
            history.requests.remove(3);
        },
        &[Kind::WrongResult],
    );
    expect(
        |history| history.requests[3].status = Some(503),
        &[Kind::WrongResult],
    );
    expect(
        |history| history.row(4).state = RunState::Failed,
        &[Kind::WrongResult],
    );
    // The result of a former owner was taken for that of the present one.
    expect(
        |history| {
            history.lose(4, Reason::NodeDied);
            history.nodes.get_mut("n1").unwrap().killed = Some(window(at(4) + 20 * MS));
            history.requests.pop();
        },
        &[Kind::WrongResult],
    );
}

#[test]
fn a_pause_lasts_from_its_answer_to_the_request_that_ends_it() {
    let paused = |until| {
        let mut shot = shot(&every_second(), None);
        shot.paused = Some(Paused { until });
        Some(shot)
    };
    let paused_for_two_seconds = |history: &mut History| {
        history.step(step(Verb::Pause, at(4) + SECOND / 2, paused(None)));
        history.step(step(
            Verb::Resume,
            at(6) + SECOND / 2,
            Some(shot(&every_second(), Some(at(7)))),
        ));
    };
    // What was due meanwhile is one row.
    let summary = || Row {
        count: 2,
        scheduled_until: Some(at(6)),
        finished_at: Some(at(6) + SECOND / 2),
        ..skipped(5, Reason::Paused)
    };
    expect(
        |history| {
            paused_for_two_seconds(history);
            history.forget(5..=6);
            history.rows.push(summary());
        },
        &[],
    );
    expect(paused_for_two_seconds, &[Kind::StartedWhilePaused]);
    // Without the row they are missing.
    expect(
        |history| {
            paused_for_two_seconds(history);
            history.forget(5..=6);
        },
        &[Kind::Missing],
    );
    // Nobody paused it.
    expect(
        |history| {
            history.forget(5..=6);
            history.rows.push(summary());
        },
        &[Kind::WrongSkip],
    );
    // To the end.
    expect(
        |history| {
            history.step(step(Verb::Pause, at(4) + SECOND / 2, paused(None)));
            history.job().steps.last_mut().unwrap().after = paused(None);
            history.forget(5..=9);
        },
        &[],
    );
    // A pause that ends by itself.
    expect(
        |history| {
            let until = at(5) + SECOND / 2;
            history.step(step(Verb::Pause, at(4) + SECOND / 2, paused(Some(until))));
            history.forget(5..=5);
            let mut row = skipped(5, Reason::Paused);
            row.finished_at = Some(until + 5 * MS);
            history.rows.push(row);
        },
        &[],
    );
    // A start while the request is under way may come before it or after it.
    expect(
        |history| {
            history.step(step(Verb::Pause, at(4) + MS, paused(None)));
            history.step(step(
                Verb::Resume,
                at(4) + 100 * MS,
                Some(shot(&every_second(), Some(at(5)))),
            ));
        },
        &[],
    );
    // All nodes were paused.
    expect(
        |history| history.end = window(at(8) + SECOND / 2),
        &[Kind::StartedWhilePaused],
    );
}

#[test]
fn what_is_removed_starts_no_more() {
    let removed = |history: &mut History| {
        history.step(step(Verb::Remove, at(4) + SECOND / 2, None));
        history.job().steps.last_mut().unwrap().after = None;
    };
    expect(
        |history| {
            removed(history);
            history.forget(5..=9);
        },
        &[],
    );
    expect(
        |history| {
            removed(history);
            history.forget(6..=9);
        },
        &[Kind::Phantom, Kind::StartedAfterRemoval],
    );
    // Added again under the same id: what is of the former life stays still.
    let added_again = |history: &mut History| {
        history.step(step(Verb::Remove, at(4) + SECOND / 2, None));
        history.step(step(
            Verb::Add,
            at(5) + SECOND / 2,
            Some(shot(&every_second(), Some(at(6)))),
        ));
        history.forget(5..=5);
    };
    let renamed = |history: &mut History| {
        for (row, request) in history.rows.iter_mut().zip(&mut history.requests) {
            if row.scheduled_at > at(5) {
                row.life = "b".to_owned();
                row.key = key("b", RunKind::Scheduled, row.scheduled_at);
                request.key.clone_from(&row.key);
            }
        }
    };
    expect(
        |history| {
            added_again(history);
            renamed(history);
        },
        &[],
    );
    expect(added_again, &[Kind::StartedAfterRemoval]);
}

#[test]
fn jobs_change_only_when_they_are_asked_to() {
    // It is gone, though it has occurrences to come.
    expect(
        |history| {
            history.step(step(Verb::Look, at(4) + SECOND / 2, None));
            history.job().steps.last_mut().unwrap().after = None;
            history.forget(5..=9);
        },
        &[Kind::JobChanged],
    );
    // One with an end goes by itself, when all of its occurrences are decided.
    let ends = || {
        let mut trigger = every_second();
        trigger["end_date"] = "2026-01-01T00:00:04+00:00".into();
        trigger
    };
    let ended = |history: &mut History| {
        history.job().steps[0].after = Some(shot(&ends(), Some(at(1))));
        history.job().steps[1].after = None;
        history.forget(5..=9);
    };
    expect(ended, &[]);
    expect(
        |history| {
            ended(history);
            history.forget(4..=4);
        },
        &[Kind::Missing],
    );
    // A rename is no other schedule, and the same trigger again keeps its phase.
    for verb in [Verb::Rename, Verb::Replace { same_trigger: true }] {
        let mut history = clean();
        history.step(step(
            verb,
            at(4) + SECOND / 2,
            Some(shot(&every_two_seconds(), Some(at(6)))),
        ));
        assert!(kinds(&history).contains(&Kind::JobChanged));
    }
}

#[test]
fn a_changed_schedule_starts_from_the_change() {
    let changed = |history: &mut History| {
        let after = Some(shot(&every_two_seconds(), Some(at(6))));
        history.step(step(Verb::SetTrigger, at(4) + SECOND / 2, after));
        history.job().steps.last_mut().unwrap().after =
            Some(shot(&every_two_seconds(), Some(at(10))));
        for second in [5, 7, 9] {
            history.forget(second..=second);
        }
    };
    expect(changed, &[]);
    expect(
        |history| {
            changed(history);
            history.forget(6..=6);
        },
        &[Kind::Missing],
    );
    expect(
        |history| {
            changed(history);
            history.forget(3..=3);
        },
        &[Kind::Missing],
    );
    // An answer that was lost with its node: all that is known is when it was asked for.
    expect(
        |history| {
            changed(history);
            history.job().steps[1].certain = false;
            history.job().steps[1].window.to = at(6) + SECOND / 2;
            history.forget(6..=6);
        },
        &[],
    );
}

#[test]
fn what_nobody_saw_may_have_been() {
    // A date was given, and its answer lost; when somebody looked, it had run and the job was gone.
    let gone = |verb| {
        move |history: &mut History| {
            let mut lost = step(verb, at(4) + SECOND / 2, None);
            lost.certain = false;
            lost.window.to = at(6) + SECOND / 2;
            history.step(lost);
            history.job().steps.last_mut().unwrap().after = None;
            history.forget(7..=9);
            history.forget(5..=5);
        }
    };
    expect(gone(Verb::SetTrigger), &[]);
    expect(
        gone(Verb::Replace {
            same_trigger: false,
        }),
        &[],
    );
    expect(gone(Verb::Rename), &[Kind::Missing, Kind::JobChanged]);
    let added = |history: &mut History| {
        history.step(step(Verb::Remove, at(3) + SECOND / 2, None));
        gone(Verb::Add)(history);
        history.forget(4..=4);
        for (row, request) in history.rows.iter_mut().zip(&mut history.requests) {
            if row.scheduled_at > at(4) {
                row.life = "b".to_owned();
                row.key = key("b", RunKind::Scheduled, row.scheduled_at);
                request.key.clone_from(&row.key);
            }
        }
    };
    expect(added, &[]);
}

#[test]
fn a_next_run_passes_over_what_lies_before_it() {
    let extra = at(6) + SECOND / 2;
    let set = |history: &mut History| {
        let after = Some(shot(&every_second(), Some(extra)));
        history.step(step(Verb::SetNextRun(extra), at(4) + SECOND / 2, after));
        history.forget(5..=6);
        let mut row = row(6, 60);
        row.scheduled_at = extra;
        row.due_at = extra;
        row.key = key("a", RunKind::Scheduled, extra);
        row.started_at = Some(extra + 5 * MS);
        row.finished_at = Some(extra + 50 * MS);
        history.requests.push(request(&row, 200));
        history.rows.push(row);
    };
    expect(set, &[]);
    expect(
        |history| {
            set(history);
            history.rows.pop();
            history.requests.pop();
        },
        &[Kind::Missing],
    );
}

#[test]
fn no_more_instances_than_allowed() {
    let long = |history: &mut History| {
        history.row(4).finished_at = Some(at(5) + 20 * MS);
    };
    expect(long, &[Kind::MaxInstances]);
    expect(
        |history| {
            long(history);
            for step in &mut history.job().steps {
                step.after.as_mut().unwrap().max_instances = 2;
            }
        },
        &[],
    );
    // A claim that began before the run that it followed was over: its request came afterwards.
    expect(
        |history| {
            history.row(5).started_at = Some(at(5));
            history.row(4).finished_at = Some(at(5) + 5 * MS);
        },
        &[],
    );
    // The ledger looks well, and the receiver was busy with two.
    expect(
        |history| {
            history.requests[3].ended = at(5) + 15 * MS;
        },
        &[Kind::MaxInstances],
    );
}

#[test]
fn every_run_now_is_one_run() {
    let manual = |history: &mut History| {
        let mut row = row(4, 60);
        row.scheduled_at += SECOND / 2;
        row.due_at = row.scheduled_at;
        row.kind = RunKind::Manual;
        row.key = key("a", RunKind::Manual, row.scheduled_at);
        row.started_at = Some(row.due_at + 5 * MS);
        row.finished_at = Some(row.due_at + 50 * MS);
        let key = row.key.clone();
        history.requests.push(request(&row, 200));
        history.rows.push(row);
        key
    };
    expect(
        |history| {
            let key = manual(history);
            history.job().manual.push(key);
        },
        &[],
    );
    // Nobody asked for it; or somebody may have, whose answer was lost.
    expect(
        |history| {
            manual(history);
        },
        &[Kind::Manual],
    );
    expect(
        |history| {
            manual(history);
            history.job().manual_unsure = 1;
        },
        &[],
    );
    expect(
        |history| history.job().manual.push("a-manual-7".to_owned()),
        &[Kind::Manual],
    );
    expect(
        |history| {
            let key = manual(history);
            history.job().manual = vec![key.clone(), key];
        },
        &[Kind::Manual],
    );
}

#[test]
fn in_the_end_nothing_is_left_over() {
    expect(
        |history| {
            let row = history.row(9);
            row.state = RunState::Running;
            row.finished_at = None;
        },
        &[Kind::Unfinished],
    );
    // It waits since long, and nothing of its job runs.
    expect(
        |history| {
            history.forget(7..=9);
            for second in 7..=9 {
                history.rows.push(skipped(second, Reason::MaxInstances));
            }
            let row = history.row(7);
            row.state = RunState::Pending;
            row.reason = None;
            row.finished_at = None;
        },
        &[Kind::Unfinished],
    );
}

#[test]
fn a_skip_has_a_reason() {
    let misfired = |history: &mut History, grace| {
        history.forget(4..=4);
        let mut row = skipped(4, Reason::Misfired);
        row.finished_at = Some(at(6));
        history.rows.push(row);
        history.job().profile.grace = grace;
    };
    expect(|history| misfired(history, Some(SECOND)), &[]);
    expect(
        |history| misfired(history, Some(3 * SECOND)),
        &[Kind::WrongSkip],
    );
    expect(|history| misfired(history, None), &[Kind::WrongSkip]);
}

#[test]
fn rows_are_read_as_the_api_writes_them() {
    let run = json!({
        "id": "01a2", "job_id": "job-1", "kind": "manual", "scheduled_at": "2026-01-01T00:00:01Z",
        "due_at": "2026-01-01T00:00:01.5Z", "attempt": 2, "state": "lost", "reason": "node_died", "node": "n1", "fence": 7,
        "started_at": "2026-01-01T00:00:02Z", "finished_at": null, "output": null, "error": null, "count": 1,
        "scheduled_until": null, "superseded_at": "2026-01-01T00:00:03Z", "idempotency_key": "ab12-manual-1767225601000000",
        "cancel_requested": false
    });
    let row = Row::read(&run).unwrap();
    assert_eq!((row.life.as_str(), row.fence, row.attempt), ("ab12", 7, 2));
    assert_eq!((row.scheduled_at, row.due_at), (at(1), at(1) + SECOND / 2));
    assert!(row.superseded && row.state == RunState::Lost && row.finished_at.is_none());
    let mut odd = run;
    odd["state"] = "confused".into();
    assert!(Row::read(&odd).unwrap_err().contains("state"));
}
